/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration space, whoever has it: the machine's, which drivers/pci.c reads, and a guest's,
 * which hv/vdev/pci/ is.  PCI Local Bus Specification 3.0, chapter 6 "Configuration Space".
 */
#ifndef SPILLWAY_ARCH_X86_HW_PCI_H
#define SPILLWAY_ARCH_X86_HW_PCI_H

#include "base/bits.h"

/* 6.1 "Configuration Space Organization": offsets of a device's header. */
enum pci_register {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_CLASS = 0x08, /* the lowest byte is the revision */
    PCI_HEADER = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_HEADER_END = 0x40,
};

#define PCI_BARS         6
#define PCI_CONFIG_BYTES 256
#define PCI_FUNCTIONS    256 /* of a bus: 32 devices of 8 */

/* 6.2.2 "Device Control", 6.2.3 "Device Status". */
#define PCI_COMMAND_IO      0x0001
#define PCI_COMMAND_MEMORY  0x0002
#define PCI_COMMAND_MASTER  0x0004
#define PCI_COMMAND_NO_INTX 0x0400
#define PCI_STATUS_INTX     0x0008 /* the function asks for an interrupt */
#define PCI_STATUS_CAP_LIST 0x0010

#define PCI_HEADER_MULTI 0x80
#define PCI_HEADER_TYPE  0x7f

/* 6.2.5.1 "Address Maps". */
#define PCI_BAR_IO      0x1u
#define PCI_BAR_TYPE    0x6u
#define PCI_BAR_TYPE_64 0x4u
#define PCI_BAR_FLAGS   0xfu /* of one for memory */

#define PCI_CAP_MSI    0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX   0x11
#define PCI_CAP_AF     0x13

/* 6.8.2 "MSI-X Capability and Table Structures": message control, table, PBA. */
#define PCI_MSIX_CONTROL      2
#define PCI_MSIX_TABLE        4
#define PCI_MSIX_PENDING      8
#define PCI_MSIX_BYTES        12
#define PCI_MSIX_ENABLE       0x8000
#define PCI_MSIX_MASK_ALL     0x4000
#define PCI_MSIX_SIZE         0x07ff
#define PCI_MSIX_BIR          0x7u
#define PCI_MSIX_ENTRY_WORDS  4 /* address, its upper half, data, control */
#define PCI_MSIX_ENTRY_MASKED 1u

/* "Advanced Capabilities for Conventional PCI", an ECN of 2006: function level reset. */
#define PCI_AF_LENGTH     2
#define PCI_AF_CAPABILITY 3
#define PCI_AF_CONTROL    4
#define PCI_AF_BYTES      6
#define PCI_AF_PENDING    0x01 /* of its capabilities: transactions that are pending are shown */
#define PCI_AF_FLR        0x02 /* ... and there is a reset */
#define PCI_AF_INITIATE   0x01 /* of its control */

/* SDM Vol. 3A, "Message Address Register Format", "Message Data Register Format". */
#define MSI_ADDRESS             0xfee00000u
#define MSI_ADDRESS_MASK        0xfff00000u
#define MSI_ADDRESS_DESTINATION BITS(19, 12)
#define MSI_ADDRESS_LOGICAL     BIT(2)
#define MSI_DATA_VECTOR         BITS(7, 0)
#define MSI_DATA_DELIVERY       BITS(10, 8)
#define MSI_DATA_LEVEL          BIT(15)

#endif
