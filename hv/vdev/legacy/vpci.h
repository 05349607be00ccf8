/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI bus of a guest, which is empty but for its host bridge: configuration mechanism #1 (PCI
 * Local Bus Specification 3.0, 3.2.2.3.2 "Software Generation of Configuration Transactions").  A
 * guest that looks for a bus finds one, and nobody on it.  All under the VM's device lock.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPCI_H
#define SPILLWAY_HV_VDEV_LEGACY_VPCI_H

#include "arch/x86/hw/ports.h"
#include "base/types.h"

#define VPCI_ADDRESS_PORT                                                                          \
    IOPORT_PCI_ADDRESS                 /* 32 bits; narrower accesses are not of this device        \
                                        */
#define VPCI_DATA_PORT IOPORT_PCI_DATA /* and the next three */

struct vpci {
    uint32_t address;
};

/* Power-on state. */
void vpci_reset(struct vpci *pci);
uint32_t vpci_read_address(const struct vpci *pci);
void vpci_write_address(struct vpci *pci, uint32_t value);
/* One byte of the data port; lane 0 to 3. */
uint8_t vpci_read(const struct vpci *pci, unsigned lane);

#endif
