/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI configuration space.  PCI Local Bus Specification 3.0, chapter 6 "Configuration Space". */
#include "drivers/pci.h"

#include "arch/x86/hw/pci.h"
#include "arch/x86/hw/ports.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "drivers/platform.h"

#define MSI_ENABLE 0x0001
#define MSI_COUNT  0x0070
#define MSI_64     0x0080

static struct pci_device devices[PCI_MAX_DEVICES];
static unsigned device_count;
static struct spinlock config_lock = SPINLOCK_INIT(RANK_BLOCK, "pci configuration");

/* The lock is held. */
static void config_select(const struct pci_device *dev, unsigned offset)
{
    port_out32(IOPORT_PCI_ADDRESS, (uint32_t)PCI_ADDRESS_ENABLE | (uint32_t)dev->bus << 16 |
                                       (uint32_t)dev->slot << 11 | (uint32_t)dev->function << 8 |
                                       (offset & 0xfcu));
}

uint32_t pci_read32(const struct pci_device *dev, unsigned offset)
{
    spin_lock(&config_lock);
    config_select(dev, offset);
    uint32_t value = port_in32(IOPORT_PCI_DATA);
    spin_unlock(&config_lock);
    return value;
}

uint16_t pci_read16(const struct pci_device *dev, unsigned offset)
{
    return (uint16_t)(pci_read32(dev, offset) >> (offset & 2) * 8);
}

uint8_t pci_read8(const struct pci_device *dev, unsigned offset)
{
    return (uint8_t)(pci_read32(dev, offset) >> (offset & 3) * 8);
}

void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value)
{
    spin_lock(&config_lock);
    config_select(dev, offset);
    port_out32(IOPORT_PCI_DATA, value);
    spin_unlock(&config_lock);
}

void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value)
{
    spin_lock(&config_lock);
    config_select(dev, offset);
    port_out16((uint16_t)(IOPORT_PCI_DATA + (offset & 2)), value);
    spin_unlock(&config_lock);
}

unsigned pci_find_capability(const struct pci_device *dev, uint8_t id, unsigned previous)
{
    unsigned at;

    if (!(pci_read16(dev, PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return 0;
    }
    at = pci_read8(dev, previous ? previous + 1 : PCI_CAPABILITIES) & 0xfcu;
    /* At most 48 capabilities fit; a device whose list is a ring must not hang us. */
    for (unsigned i = 0; at >= 0x40 && i < 48; i++) {
        if (pci_read8(dev, at) == id) {
            return at;
        }
        at = pci_read8(dev, at + 1) & 0xfcu;
    }
    return 0;
}

/* False when the table is full. */
static bool pci_add_function(const struct pci_device *probe, uint32_t id)
{
    if (device_count == PCI_MAX_DEVICES) {
        log_warn("pci: more than %d functions, the rest is ignored", PCI_MAX_DEVICES);
        return false;
    }
    struct pci_device *dev = &devices[device_count++];

    *dev = *probe;
    dev->vendor = (uint16_t)id;
    dev->device = (uint16_t)(id >> 16);
    dev->class_code = pci_read32(dev, PCI_CLASS) >> 8;
    dev->header = pci_read8(dev, PCI_HEADER) & PCI_HEADER_TYPE;
    dev->msi = (uint8_t)pci_find_capability(dev, PCI_CAP_MSI, 0);
    dev->msix = (uint8_t)pci_find_capability(dev, PCI_CAP_MSIX, 0);
    if (dev->msix) {
        dev->msix_entries = (uint16_t)((pci_read16(dev, dev->msix + 2u) & PCI_MSIX_SIZE) + 1);
    }
    return true;
}

static bool pci_scan_slot(unsigned bus, unsigned slot)
{
    struct pci_device probe = {.bus = (uint8_t)bus, .slot = (uint8_t)slot};
    unsigned functions = 1;

    for (unsigned f = 0; f < functions; f++) {
        probe.function = (uint8_t)f;
        uint32_t id = pci_read32(&probe, PCI_VENDOR);
        if ((id & 0xffff) == 0xffff || id == 0) {
            continue;
        }
        if (f == 0 && (pci_read8(&probe, PCI_HEADER) & PCI_HEADER_MULTI)) {
            functions = 8;
        }
        if (!pci_add_function(&probe, id)) {
            return false;
        }
    }
    return true;
}

/*
 * Every bus number is tried instead of following the bridges: the firmware has numbered them, and
 * a second root bus hangs below no bridge.  8192 reads, 20 ms.
 */
unsigned pci_init(void)
{
    device_count = 0;
    for (unsigned bus = 0; bus < 256; bus++) {
        for (unsigned slot = 0; slot < 32; slot++) {
            if (!pci_scan_slot(bus, slot)) {
                return device_count;
            }
        }
    }
    return device_count;
}

struct pci_device *pci_next(struct pci_device *previous)
{
    struct pci_device *next = previous ? previous + 1 : devices;

    return next < devices + device_count ? next : NULL;
}

/* The answer of the size register pair to all ones; the old value is put back. */
static uint32_t bar_probe(const struct pci_device *dev, unsigned offset)
{
    uint32_t old = pci_read32(dev, offset);

    pci_write32(dev, offset, ~0u);
    uint32_t answer = pci_read32(dev, offset);
    pci_write32(dev, offset, old);
    return answer;
}

/* PCI 3.0, 6.2.5.1 "Address Maps". */
struct pci_bar pci_bar_read(const struct pci_device *dev, unsigned index)
{
    struct pci_bar bar = {0};
    unsigned offset = PCI_BAR0 + 4 * index;
    uint16_t command = pci_read16(dev, PCI_COMMAND);
    uint32_t low, mask;

    if (index >= (dev->header == 0 ? PCI_BARS : 2u)) {
        return bar;
    }
    pci_write16(dev, PCI_COMMAND, command & (uint16_t) ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    low = pci_read32(dev, offset);
    mask = bar_probe(dev, offset);
    if (low & PCI_BAR_IO) {
        bar.is_io = true;
        bar.address = low & 0xfffcu;
        bar.size = (~(mask & 0xfffcu) + 1) & 0xffffu;
    } else if ((low & PCI_BAR_TYPE) == PCI_BAR_TYPE_64 && index + 1 < PCI_BARS) {
        uint64_t wide = (uint64_t)bar_probe(dev, offset + 4) << 32 | (mask & ~0xfu);
        bar.address = (uint64_t)pci_read32(dev, offset + 4) << 32 | (low & ~0xfu);
        bar.size = wide ? ~wide + 1 : 0;
    } else {
        bar.address = low & ~0xfu;
        bar.size = (mask & ~0xfu) ? ~(mask & ~0xfu) + 1u : 0;
    }
    pci_write16(dev, PCI_COMMAND, command);
    if (bar.address == 0) {
        bar.size = 0;
    }
    return bar;
}

volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes)
{
    struct pci_bar bar = pci_bar_read(dev, index);

    if (bar.is_io || offset > bar.size || bytes > bar.size - offset) {
        return NULL;
    }
    return platform_map(hpa(bar.address + offset), bytes);
}

void pci_enable(const struct pci_device *dev)
{
    uint16_t command = pci_read16(dev, PCI_COMMAND);

    pci_write16(dev, PCI_COMMAND,
                command | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void pci_master_disable(const struct pci_device *dev)
{
    uint16_t command = pci_read16(dev, PCI_COMMAND);

    pci_write16(dev, PCI_COMMAND, command & (uint16_t)~PCI_COMMAND_MASTER);
}

static void pci_intx_off(const struct pci_device *dev)
{
    pci_write16(dev, PCI_COMMAND, pci_read16(dev, PCI_COMMAND) | PCI_COMMAND_NO_INTX);
}

/* PCI 3.0, 6.8.2 "MSI-X Capability and Table Structures". */
bool pci_msix_enable(struct pci_device *dev)
{
    if (!dev->msix) {
        return false;
    }
    uint16_t control = pci_read16(dev, dev->msix + 2u);
    uint32_t where = pci_read32(dev, dev->msix + 4u);
    uint64_t bytes = (uint64_t)dev->msix_entries * PCI_MSIX_ENTRY_WORDS * 4;
    volatile void *table = pci_bar_map(dev, where & PCI_MSIX_BIR, where & ~PCI_MSIX_BIR, bytes);

    if (!table) {
        return false;
    }
    dev->msix_table = table;
    /* Enable under the function mask: a masked, disabled device might use INTx meanwhile. */
    pci_write16(dev, dev->msix + 2u, control | PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    for (unsigned i = 0; i < dev->msix_entries; i++) {
        dev->msix_table[i * PCI_MSIX_ENTRY_WORDS + 3] = PCI_MSIX_ENTRY_MASKED;
    }
    pci_intx_off(dev);
    pci_write16(dev, dev->msix + 2u, (uint16_t)((control | PCI_MSIX_ENABLE) & ~PCI_MSIX_MASK_ALL));
    return true;
}

bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector)
{
    uint64_t address;
    uint32_t data;

    if (!dev->msix_table || entry >= dev->msix_entries || vector < 0) {
        return false;
    }
    volatile uint32_t *slot = dev->msix_table + entry * PCI_MSIX_ENTRY_WORDS;

    platform_irq_msi(vector, &address, &data);
    slot[3] = PCI_MSIX_ENTRY_MASKED;
    slot[0] = (uint32_t)address;
    slot[1] = (uint32_t)(address >> 32);
    slot[2] = data;
    slot[3] = 0;
    return true;
}

/* PCI 3.0, 6.8.1 "MSI Capability Structure". */
bool pci_msi_route(struct pci_device *dev, int vector)
{
    uint64_t address;
    uint32_t data;

    if (!dev->msi || vector < 0) {
        return false;
    }
    uint16_t control = pci_read16(dev, dev->msi + 2u);
    unsigned data_at = dev->msi + (control & MSI_64 ? 12u : 8u);

    platform_irq_msi(vector, &address, &data);
    pci_write16(dev, dev->msi + 2u, control & (uint16_t)~MSI_ENABLE);
    pci_write32(dev, dev->msi + 4u, (uint32_t)address);
    if (control & MSI_64) {
        pci_write32(dev, dev->msi + 8u, (uint32_t)(address >> 32));
    }
    pci_write16(dev, data_at, (uint16_t)data);
    pci_intx_off(dev);
    pci_write16(dev, dev->msi + 2u, (uint16_t)((control & ~MSI_COUNT) | MSI_ENABLE));
    return true;
}
