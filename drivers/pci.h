/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI: enumeration, BARs, capabilities, MSI and MSI-X.
 *
 * Configuration mechanism 1 (ports 0xcf8 and 0xcfc).  The firmware has assigned
 * the BARs; this code sizes them and never moves them.  Everything here is for the
 * boot CPU, at boot, but for pci_master_disable(), which may meet itself on another CPU: the pair
 * of ports has a lock (RANK_BLOCK; no block queue's lock is held).
 */
#ifndef SPILLWAY_DRIVERS_PCI_H
#define SPILLWAY_DRIVERS_PCI_H

#include "arch/x86/hw/pci.h"
#include "base/types.h"

#define PCI_MAX_DEVICES 128

struct pci_device {
    uint8_t bus;
    uint8_t slot;
    uint8_t function;
    uint8_t header; /* 0: device, 1: bridge */
    uint16_t vendor;
    uint16_t device;
    uint32_t class_code; /* class << 16 | subclass << 8 | programming interface */
    uint8_t msi;         /* offset of the capability, 0: none */
    uint8_t msix;
    uint16_t msix_entries;         /* 0: no MSI-X */
    volatile uint32_t *msix_table; /* mapped by pci_msix_enable */
};

struct pci_bar {
    uint64_t address; /* physical address or port */
    uint64_t size;    /* 0: BAR absent or not assigned */
    bool is_io;
};

/* Walks all buses; returns the number of functions found. */
unsigned pci_init(void);
/* Functions in bus order: NULL starts, NULL ends. */
struct pci_device *pci_next(struct pci_device *previous);

/* Configuration space; offset aligned to the size, below 256. */
uint8_t pci_read8(const struct pci_device *dev, unsigned offset);
uint16_t pci_read16(const struct pci_device *dev, unsigned offset);
uint32_t pci_read32(const struct pci_device *dev, unsigned offset);
void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value);
void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value);

/* Offset of the next capability `id` after `previous` (0: from the start), or 0. */
unsigned pci_find_capability(const struct pci_device *dev, uint8_t id, unsigned previous);

/* Address and size of BAR `index`; decoding is off for a moment. */
struct pci_bar pci_bar_read(const struct pci_device *dev, unsigned index);
/* Maps `bytes` of memory BAR `index` from `offset`; NULL if it is smaller or no memory BAR. */
volatile void *pci_bar_map(const struct pci_device *dev, unsigned index, uint64_t offset,
                           uint64_t bytes);

/* Lets the device decode its BARs and write to memory. */
void pci_enable(const struct pci_device *dev);
/* Stops all DMA of a device that cannot be reset.  The one call allowed after boot, by the one CPU
 * that gives the device up. */
void pci_master_disable(const struct pci_device *dev);

/* Switches MSI-X on with every entry masked.  False: the device has none. */
bool pci_msix_enable(struct pci_device *dev);
/* Sends MSI-X entry `entry` to a vector of platform_irq_alloc and unmasks it. */
bool pci_msix_route(struct pci_device *dev, unsigned entry, int vector);
/* Switches MSI on, one message, to the vector.  False: the device has none. */
bool pci_msi_route(struct pci_device *dev, int vector);

#endif
