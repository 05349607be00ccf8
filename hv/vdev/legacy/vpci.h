/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI bus of a guest, which is empty but for its host bridge: configuration mechanism #1 (PCI
 * Local Bus Specification 3.0, 3.2.2.3.2 "Software Generation of Configuration Transactions").  A
 * guest that looks for a bus finds one, and nobody on it.
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VPCI_H
#define SPILLWAY_HV_VDEV_LEGACY_VPCI_H

#include "arch/x86/hw/ports.h"
#include "base/lock.h"
#include "base/types.h"
#include "hv/vdev/bus/bus.h"

struct vpci {
    struct bus_range address_range, data_range;
    struct spinlock lock; /* what follows */
    uint32_t address;
};

/* Once, in power-on state.  False: no room on the bus of ports. */
bool vpci_init(struct vpci *pci, struct bus_map *ports);
/* Power-on state. */
void vpci_reset(struct vpci *pci);

#endif
