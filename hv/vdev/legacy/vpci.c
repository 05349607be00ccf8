/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/legacy/vpci.h"

#include "base/bits.h"

#define ADDRESS_FUNCTION BITS(23, 8) /* bus, device, function */
#define ADDRESS_REGISTER BITS(7, 2)
#define ADDRESS_KEPT     (PCI_ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

/* 6.2 "PCI Configuration Space Organization": what is not zero of the host bridge's header. */
#define BRIDGE_ID    0x00081b36u /* a generic host bridge */
#define BRIDGE_CLASS 0x06000000u /* host bridge, revision 0 */
#define REG_ID       0
#define REG_CLASS    2 /* in words */

void vpci_reset(struct vpci *pci)
{
    pci->address = 0;
}

uint32_t vpci_read_address(const struct vpci *pci)
{
    return pci->address;
}

void vpci_write_address(struct vpci *pci, uint32_t value)
{
    pci->address = value & (uint32_t)ADDRESS_KEPT;
}

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
uint8_t vpci_read(const struct vpci *pci, unsigned lane)
{
    uint32_t word = UINT32_MAX;

    if ((pci->address & PCI_ADDRESS_ENABLE) && FIELD_GET(ADDRESS_FUNCTION, pci->address) == 0) {
        word = bridge_register(FIELD_GET(ADDRESS_REGISTER, pci->address));
    }
    return (uint8_t)(word >> (8 * (lane % 4)));
}
