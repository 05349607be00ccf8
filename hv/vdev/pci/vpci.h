/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's PCI bus: one root bus, number 0, behind a host bridge that is its first function.
 *
 *     ports CF8H, CFCH    configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2
 *                         "Software Generation of Configuration Transactions")
 *     VPCI_ECAM_BASE      4 KiB for each function (PCI Express Base Specification, 7.2.2 "PCI
 *                         Express Enhanced Configuration Access Mechanism"); what lies behind the
 *                         256 bytes of a conventional function reads as zero
 *     VPCI_WINDOW_BASE    where BARs lie after power-on, as firmware would have put them; the
 *                         guest may put them anywhere.  One that overlaps another range is not
 *                         seen until that one has gone
 *
 * Its lock (RANK_VPCI) is taken by the guest's buses around an access.
 */
#ifndef SPILLWAY_HV_VDEV_PCI_VPCI_H
#define SPILLWAY_HV_VDEV_PCI_VPCI_H

#include "arch/x86/hw/ports.h"
#include "hv/vdev/pci/vpci_function.h"

/* In the hole that guest_layout() leaves below 4 GiB.  dsdt.asl and docs/memory-layout.md, too. */
#define VPCI_ECAM_BASE   0xc0000000ull
#define VPCI_ECAM_BYTES  0x100000ull /* one bus */
#define VPCI_WINDOW_BASE 0xc1000000ull
#define VPCI_WINDOW_END  0xfe000000ull

struct vpci {
    struct vm *vm;
    struct lines *lines;
    struct bus_map *memory;
    struct bus_range address_range, data_range, ecam_range;
    struct spinlock lock; /* what follows, and the configurations of all functions */
    uint32_t address;
    uint64_t window; /* behind the last BAR */
    struct vpci_function *function[PCI_FUNCTIONS];
    struct vpci_function bridge;
};

/* Once, in power-on state.  False: no room on the buses. */
bool vpci_init(struct vpci *pci, struct vm *vm, struct lines *lines, struct bus_map *ports,
               struct bus_map *memory);
/* Puts a function there (device << 3 | function), where none is, in power-on state.  A device of
 * several has one with number 0.  No vCPU runs. */
void vpci_attach(struct vpci *pci, struct vpci_function *function, uint8_t devfn);
/* Takes it out; none of its handlers runs after that.  No vCPU runs. */
void vpci_detach(struct vpci *pci, struct vpci_function *function);
/* Power-on state of the bus and of all functions.  No vCPU runs. */
void vpci_reset(struct vpci *pci);

#endif
