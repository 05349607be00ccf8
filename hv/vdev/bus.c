/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/bus.h"

#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/lines.h"
#include "hv/vdev/testdev.h"

#define ALL_ONES 0xffffffffu

/* ---- ports ---- */

/* Device lock held.  False: not a port of theirs. */
typedef bool (*port_in_handler)(struct vm_devices *devices, uint16_t port, unsigned size,
                                uint32_t *value);
typedef bool (*port_out_handler)(struct vm_devices *devices, uint16_t port, unsigned size,
                                 uint32_t value, enum platform_action *action);

/* An access wider than a byte reaches consecutive registers, as a PC's bus splits it. */
static bool uart_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned reg = port - VUART_PORT + i;
        uint8_t byte = reg < VUART_PORTS ? vuart_read(&devices->uart, reg) : 0xff;

        *value |= (uint32_t)byte << (8 * i);
    }
    return true;
}

static bool uart_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                     enum platform_action *action)
{
    *action = PLATFORM_NONE;
    for (unsigned i = 0; i < size && port - VUART_PORT + i < VUART_PORTS; i++) {
        vuart_write(&devices->uart, port - VUART_PORT + i, (uint8_t)(value >> (8 * i)));
    }
    return true;
}

static bool pm_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    uint64_t now = arch_clock_ns();

    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned offset = port - VPM_PORT + i;
        uint8_t byte = offset < VPM_PORTS ? vpm_read(&devices->pm, offset, now) : 0xff;

        *value |= (uint32_t)byte << (8 * i);
    }
    return true;
}

static bool pm_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                   enum platform_action *action)
{
    *action = PLATFORM_NONE;
    for (unsigned i = 0; i < size && port - VPM_PORT + i < VPM_PORTS; i++) {
        if (vpm_write(&devices->pm, port - VPM_PORT + i, (uint8_t)(value >> (8 * i)))) {
            *action = PLATFORM_POWER_OFF;
        }
    }
    return true;
}

static bool pic_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        uint16_t at = (uint16_t)(port + i);
        uint8_t byte = vpic_owns_port(at) ? vpic_read(&devices->pic, at) : 0xff;

        *value |= (uint32_t)byte << (8 * i);
    }
    return true;
}

static bool pic_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                    enum platform_action *action)
{
    *action = PLATFORM_NONE;
    for (unsigned i = 0; i < size && vpic_owns_port((uint16_t)(port + i)); i++) {
        vpic_write(&devices->pic, (uint16_t)(port + i), (uint8_t)(value >> (8 * i)));
    }
    return true;
}

/* A narrower access is of the reset register, or of nobody. */
static bool pci_address_in(struct vm_devices *devices, uint16_t port, unsigned size,
                           uint32_t *value)
{
    if (size != 4 || port != VPCI_ADDRESS_PORT) {
        return vdev_platform_in(&devices->platform, port, size, value);
    }
    *value = vpci_read_address(&devices->pci);
    return true;
}

static bool pci_address_out(struct vm_devices *devices, uint16_t port, unsigned size,
                            uint32_t value, enum platform_action *action)
{
    if (size != 4 || port != VPCI_ADDRESS_PORT) {
        return vdev_platform_out(&devices->platform, port, size, value, action);
    }
    *action = PLATFORM_NONE;
    vpci_write_address(&devices->pci, value);
    return true;
}

static bool pci_data_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned lane = port - VPCI_DATA_PORT + i;

        *value |= (uint32_t)(lane < 4 ? vpci_read(&devices->pci, lane) : 0xff) << (8 * i);
    }
    return true;
}

/* The host bridge has nothing that can be written. */
static bool pci_data_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                         enum platform_action *action)
{
    (void)devices;
    (void)port;
    (void)size;
    (void)value;
    *action = PLATFORM_NONE;
    return true;
}

static bool platform_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    return vdev_platform_in(&devices->platform, port, size, value);
}

static bool platform_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                         enum platform_action *action)
{
    return vdev_platform_out(&devices->platform, port, size, value, action);
}

/* What a timer of the devices does shows there: lines_settle() before and after the access. */
#define SETTLE_IN  1u
#define SETTLE_OUT 2u
#define SETTLE     (SETTLE_IN | SETTLE_OUT)

/* A guest calibrates by the PIT and the PM timer, and an exit takes its time already: reading them
 * settles nothing. */
enum port_owner {
    PORT_PLATFORM, /* all the rest, nobody's ports among it */
    PORT_UART,
    PORT_PM,
    PORT_PM_TIMER,
    PORT_PIC,
    PORT_CMOS,
    PORT_PCI_ADDRESS,
    PORT_PCI_DATA,
};

static const struct port_handlers {
    port_in_handler in;
    port_out_handler out;
    unsigned settles;
} handlers[] = {
    [PORT_PLATFORM] = {platform_in, platform_out, SETTLE_OUT},
    [PORT_UART] = {uart_in, uart_out, 0},
    [PORT_PM] = {pm_in, pm_out, SETTLE},
    [PORT_PM_TIMER] = {pm_in, pm_out, 0},
    [PORT_PIC] = {pic_in, pic_out, SETTLE},
    [PORT_CMOS] = {platform_in, platform_out, SETTLE},
    [PORT_PCI_ADDRESS] = {pci_address_in, pci_address_out, 0},
    [PORT_PCI_DATA] = {pci_data_in, pci_data_out, 0},
};

/* Looked up at each access: a byte a port costs less than any search. */
static const uint8_t owner_of[] = {
    [VPIC_MASTER_PORT... VPIC_MASTER_PORT + 1] = PORT_PIC,
    [PLATFORM_CMOS_PORT... PLATFORM_CMOS_PORT + 1] = PORT_CMOS,
    [VPIC_SLAVE_PORT... VPIC_SLAVE_PORT + 1] = PORT_PIC,
    [VPIC_TRIGGER_PORT... VPIC_TRIGGER_PORT + 1] = PORT_PIC,
    [VUART_PORT... VUART_PORT + VUART_PORTS - 1] = PORT_UART,
    [VPCI_ADDRESS_PORT... VPCI_ADDRESS_PORT + 3] = PORT_PCI_ADDRESS,
    [VPCI_DATA_PORT... VPCI_DATA_PORT + 3] = PORT_PCI_DATA,
    [VPM_PORT... VPM_PORT + VPM_TIMER - 1] = PORT_PM,
    [VPM_PORT + VPM_TIMER... VPM_PORT + VPM_PORTS - 1] = PORT_PM_TIMER,
};

static const struct port_handlers *find_port(uint16_t port)
{
    return &handlers[port < sizeof(owner_of) ? owner_of[port] : PORT_PLATFORM];
}

static void settle(const struct port_handlers *owner, unsigned access, struct vm_devices *devices)
{
    if (owner->settles & access) {
        lines_settle(devices);
    }
}

uint32_t bus_port_in(struct vcpu *vcpu, uint16_t port, unsigned size)
{
    struct vm_devices *devices = vcpu->vm->run.devices;
    const struct port_handlers *owner = find_port(port);
    uint32_t value = ALL_ONES;
    bool owned;

    spin_lock(&devices->lock);
    settle(owner, SETTLE_IN, devices);
    owned = owner->in(devices, port, size, &value);
    settle(owner, SETTLE_IN, devices);
    spin_unlock(&devices->lock);
    if (!owned && !testdev_port_in(vcpu, port, size, &value)) {
        atomic_fetch_add_explicit(&vcpu->vm->run.unowned_io, 1, memory_order_relaxed);
        value = ALL_ONES;
    }
    return size == 4 ? value : value & (uint32_t)(BIT(size * 8) - 1);
}

/* What a port write asked of the whole VM.  No locks held. */
static void act(struct vm *vm, enum platform_action action, uint32_t value)
{
    switch (action) {
    case PLATFORM_NONE:
        break;
    case PLATFORM_RESET:
        vm_reset_request(vm);
        break;
    case PLATFORM_POWER_OFF:
        vm_end(vm, VM_OUTCOME_OK, 0);
        break;
    case PLATFORM_STATUS:
        vm_end(vm, value == 0 ? VM_OUTCOME_OK : VM_OUTCOME_FAILED, value);
        break;
    }
}

void bus_port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    struct vm_devices *devices = vcpu->vm->run.devices;
    const struct port_handlers *owner = find_port(port);
    enum platform_action action = PLATFORM_NONE;
    bool owned;

    if (size < 4) {
        value &= (uint32_t)(BIT(size * 8) - 1);
    }
    spin_lock(&devices->lock);
    settle(owner, SETTLE_OUT, devices);
    owned = owner->out(devices, port, size, value, &action);
    settle(owner, SETTLE_OUT, devices);
    spin_unlock(&devices->lock);
    if (!owned && !testdev_port_out(vcpu, port, size, value)) {
        atomic_fetch_add_explicit(&vcpu->vm->run.unowned_io, 1, memory_order_relaxed);
    }
    act(vcpu->vm, action, value);
}

/* ---- memory ---- */

static bool is_ioapic(gpa_t address)
{
    return (address.v & PAGE_MASK) == IOAPIC_BASE;
}

/* Registers are 32 bits wide at the start of 16 bytes; narrower reads get their bytes of it. */
static uint64_t ioapic_mmio_read(struct vm_devices *devices, unsigned offset, unsigned size)
{
    unsigned byte = offset & 0xf;
    uint64_t value;

    if (byte >= 4) {
        return 0;
    }
    spin_lock(&devices->lock);
    value = ioapic_read(&devices->ioapic, offset & 0xff0) >> (byte * 8);
    spin_unlock(&devices->lock);
    return size >= 4 ? value : value & (BIT(size * 8) - 1);
}

static void ioapic_mmio_write(struct vm_devices *devices, unsigned offset, unsigned size,
                              uint64_t value)
{
    /* The select register may be written with a byte; everything else takes whole words. */
    if ((offset & 0xf) != 0 || (size < 4 && (offset & 0xff0) != 0)) {
        return;
    }
    spin_lock(&devices->lock);
    ioapic_write(&devices->ioapic, offset & 0xff0, (uint32_t)value);
    lines_settle(devices); /* somebody may hear a timer now */
    spin_unlock(&devices->lock);
}

static bool is_hpet(gpa_t address)
{
    return (address.v & PAGE_MASK) == VHPET_BASE;
}

static uint64_t hpet_mmio_read(struct vm_devices *devices, unsigned offset, unsigned size)
{
    uint64_t value;

    spin_lock(&devices->lock);
    value = vhpet_read(&devices->hpet, offset, size);
    spin_unlock(&devices->lock);
    return value;
}

static void hpet_mmio_write(struct vm_devices *devices, unsigned offset, unsigned size,
                            uint64_t value)
{
    spin_lock(&devices->lock);
    lines_settle(devices);
    vhpet_write(&devices->hpet, offset, size, value);
    lines_settle(devices);
    spin_unlock(&devices->lock);
}

enum mmio_device {
    MMIO_NOTHING,
    MMIO_LAPIC,
    MMIO_IOAPIC,
    MMIO_HPET,
    MMIO_TEST,
};

static enum mmio_device device_at(const struct vcpu *vcpu, gpa_t address)
{
    if (lapic_owns_mmio(vcpu, address)) {
        return MMIO_LAPIC;
    }
    if (is_ioapic(address)) {
        return MMIO_IOAPIC;
    }
    if (is_hpet(address)) {
        return MMIO_HPET;
    }
    return testdev_owns_mmio(address) ? MMIO_TEST : MMIO_NOTHING;
}

bool bus_mmio_owned(const struct vcpu *vcpu, gpa_t address)
{
    return device_at(vcpu, address) != MMIO_NOTHING;
}

uint64_t bus_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size)
{
    unsigned offset = address.v & ~PAGE_MASK;

    switch (device_at(vcpu, address)) {
    case MMIO_LAPIC:
        return lapic_mmio_read(vcpu, offset, size);
    case MMIO_IOAPIC:
        return ioapic_mmio_read(vcpu->vm->run.devices, offset, size);
    case MMIO_HPET:
        return hpet_mmio_read(vcpu->vm->run.devices, offset, size);
    case MMIO_TEST:
        return testdev_mmio_read(vcpu, address, size);
    case MMIO_NOTHING:
        break;
    }
    atomic_fetch_add_explicit(&vcpu->vm->run.unowned_mmio, 1, memory_order_relaxed);
    return size == 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

void bus_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    unsigned offset = address.v & ~PAGE_MASK;

    if (size < 8) {
        value &= BIT(size * 8) - 1;
    }
    switch (device_at(vcpu, address)) {
    case MMIO_LAPIC:
        lapic_mmio_write(vcpu, offset, size, value);
        break;
    case MMIO_IOAPIC:
        ioapic_mmio_write(vcpu->vm->run.devices, offset, size, value);
        break;
    case MMIO_HPET:
        hpet_mmio_write(vcpu->vm->run.devices, offset, size, value);
        break;
    case MMIO_TEST:
        testdev_mmio_write(vcpu, address, size, value);
        break;
    case MMIO_NOTHING:
        atomic_fetch_add_explicit(&vcpu->vm->run.unowned_mmio, 1, memory_order_relaxed);
        break;
    }
}
