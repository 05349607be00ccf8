/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio over PCI, the modern transport.
 * VIRTIO 1.1, 4.1.4 "Virtio Structure PCI Capabilities", 3.1.1 "Driver Requirements:
 * Device Initialization".
 */
#ifndef SPILLWAY_DRIVERS_VIRTIO_PCI_H
#define SPILLWAY_DRIVERS_VIRTIO_PCI_H

#include "arch/x86/hw/virtio.h"
#include "base/bits.h"
#include "drivers/pci.h"
#include "drivers/virtio_ring.h"

struct virtio_pci {
    struct pci_device *pci;
    volatile struct virtio_common *common;
    volatile uint8_t *notify;
    uint64_t notify_bytes;
    uint32_t notify_multiplier;
    volatile uint8_t *config; /* of the device type */
    uint64_t config_bytes;
};

/* Finds and maps the structures.  False: not a modern device. */
bool virtio_pci_map(struct virtio_pci *v, struct pci_device *pci);
/* Begins a reset and does not wait; it is over when virtio_pci_reset_done() says so. */
void virtio_pci_reset_begin(struct virtio_pci *v);
/* One look. */
bool virtio_pci_reset_done(const struct virtio_pci *v);
/* After a reset: acknowledge, negotiate VERSION_1 and what of `wanted` is offered.  Result in
 * *features. */
bool virtio_pci_negotiate(struct virtio_pci *v, uint64_t wanted, uint64_t *features);
/* Size of queue `index`, limited to VIRTIO_RING_MAX; 0: there is no such queue. */
uint16_t virtio_pci_queue_size(struct virtio_pci *v, unsigned index);
/* Tells the device of a ring and of its MSI-X entry (or VIRTIO_NO_VECTOR); where to notify it,
 * or NULL.  *has_vector: the device took the entry. */
volatile uint16_t *virtio_pci_queue_enable(struct virtio_pci *v, unsigned index, uint16_t size,
                                           const hpa_t parts[3], uint16_t vector, bool *has_vector);
/* The last step: the device may work. */
void virtio_pci_run(struct virtio_pci *v);

#endif
