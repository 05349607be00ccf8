/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/bus.h"

#include "hv/vcpu.h"
#include "hv/vdev/devices.h"
#include "hv/vm.h"

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

/* Eight bits wide: the other byte lanes float. */
static bool button_in(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t *value)
{
    (void)port;
    (void)size;
    *value = ~UINT32_C(0xff) | power_button_read(&devices->button);
    return true;
}

static bool button_out(struct vm_devices *devices, uint16_t port, unsigned size, uint32_t value,
                       enum platform_action *action)
{
    (void)port;
    (void)size;
    *action = PLATFORM_NONE;
    power_button_write(&devices->button, (uint8_t)value);
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

/* The first range that has the port is asked; the last one is everything else. */
static const struct port_range {
    uint16_t first, last;
    port_in_handler in;
    port_out_handler out;
} ports[] = {
    {VUART_PORT, VUART_PORT + VUART_PORTS - 1, uart_in, uart_out},
    {ACPI_EVENT_PORT, ACPI_EVENT_PORT, button_in, button_out},
    {0, UINT16_MAX, platform_in, platform_out},
};

static const struct port_range *find_port(uint16_t port)
{
    const struct port_range *range = ports;

    while (port < range->first || port > range->last) {
        range++;
    }
    return range;
}

uint32_t bus_port_in(struct vcpu *vcpu, uint16_t port, unsigned size)
{
    struct vm_devices *devices = vcpu->vm->devices;
    uint32_t value = ALL_ONES;
    bool owned;

    spin_lock(&devices->lock);
    owned = find_port(port)->in(devices, port, size, &value);
    spin_unlock(&devices->lock);
    if (!owned) {
        atomic_fetch_add_explicit(&vcpu->vm->unowned_io, 1, memory_order_relaxed);
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
    struct vm_devices *devices = vcpu->vm->devices;
    enum platform_action action = PLATFORM_NONE;
    bool owned;

    if (size < 4) {
        value &= (uint32_t)(BIT(size * 8) - 1);
    }
    spin_lock(&devices->lock);
    owned = find_port(port)->out(devices, port, size, value, &action);
    spin_unlock(&devices->lock);
    if (!owned) {
        atomic_fetch_add_explicit(&vcpu->vm->unowned_io, 1, memory_order_relaxed);
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
    spin_unlock(&devices->lock);
}

uint64_t bus_mmio_read(struct vcpu *vcpu, gpa_t address, unsigned size)
{
    unsigned offset = address.v & ~PAGE_MASK;

    if (lapic_owns_mmio(vcpu, address)) {
        return lapic_mmio_read(vcpu, offset, size);
    }
    if (is_ioapic(address)) {
        return ioapic_mmio_read(vcpu->vm->devices, offset, size);
    }
    atomic_fetch_add_explicit(&vcpu->vm->unowned_mmio, 1, memory_order_relaxed);
    return size == 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

void bus_mmio_write(struct vcpu *vcpu, gpa_t address, unsigned size, uint64_t value)
{
    unsigned offset = address.v & ~PAGE_MASK;

    if (size < 8) {
        value &= BIT(size * 8) - 1;
    }
    if (lapic_owns_mmio(vcpu, address)) {
        lapic_mmio_write(vcpu, offset, size, value);
    } else if (is_ioapic(address)) {
        ioapic_mmio_write(vcpu->vm->devices, offset, size, value);
    } else {
        atomic_fetch_add_explicit(&vcpu->vm->unowned_mmio, 1, memory_order_relaxed);
    }
}
