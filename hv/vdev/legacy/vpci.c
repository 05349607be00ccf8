/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vpci.h"

#include "base/bits.h"

#define DATA_PORTS 4

#define ADDRESS_FUNCTION BITS(23, 8) /* bus, device, function */
#define ADDRESS_REGISTER BITS(7, 2)
#define ADDRESS_KEPT     (PCI_ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

/* 6.2 "PCI Configuration Space Organization": what is not zero of the host bridge's header. */
#define BRIDGE_ID    0x00081b36u /* a generic host bridge */
#define BRIDGE_CLASS 0x06000000u /* host bridge, revision 0 */
#define REG_ID       0
#define REG_CLASS    2 /* in words */

static uint32_t bridge_register(unsigned number)
{
    switch (number) {
    case REG_ID:
        return BRIDGE_ID;
    case REG_CLASS:
        return BRIDGE_CLASS;
    default:
        return 0;
    }
}

/* Nobody answers at other addresses, nor when it is not enabled: all ones. */
static uint8_t data_byte(struct bus_access *access, unsigned lane)
{
    const struct vpci *pci = access->range->owner;
    uint32_t word = UINT32_MAX;

    if ((pci->address & PCI_ADDRESS_ENABLE) && FIELD_GET(ADDRESS_FUNCTION, pci->address) == 0) {
        word = bridge_register(FIELD_GET(ADDRESS_REGISTER, pci->address));
    }
    return (uint8_t)(word >> (8 * lane));
}

static enum bus_result read_data(struct bus_access *access)
{
    bus_read_bytes(access, DATA_PORTS, data_byte);
    return BUS_DONE;
}

/* The host bridge has nothing that can be written. */
static enum bus_result write_data(struct bus_access *access)
{
    (void)access;
    return BUS_DONE;
}

static enum bus_result read_address(struct bus_access *access)
{
    const struct vpci *pci = access->range->owner;

    access->value = pci->address;
    return access->size == 4 ? BUS_DONE : BUS_NOBODY;
}

static enum bus_result write_address(struct bus_access *access)
{
    struct vpci *pci = access->range->owner;

    if (access->size != 4) {
        return BUS_NOBODY;
    }
    pci->address = (uint32_t)(access->value & ADDRESS_KEPT);
    return BUS_DONE;
}

static const struct bus_ops address_ops = {.read = read_address, .write = write_address};
static const struct bus_ops data_ops = {.read = read_data, .write = write_data};

void vpci_reset(struct vpci *pci)
{
    spin_lock(&pci->lock);
    pci->address = 0;
    spin_unlock(&pci->lock);
}

bool vpci_init(struct vpci *pci, struct bus_map *ports)
{
    spin_init(&pci->lock, RANK_VDEV, "vpci");
    vpci_reset(pci);
    pci->address_range = (struct bus_range){.ops = &address_ops, .owner = pci, .lock = &pci->lock};
    pci->data_range = (struct bus_range){.ops = &data_ops, .owner = pci, .lock = &pci->lock};
    return bus_add(ports, &pci->address_range, IOPORT_PCI_ADDRESS, 1) &&
           bus_add(ports, &pci->data_range, IOPORT_PCI_DATA, DATA_PORTS);
}
