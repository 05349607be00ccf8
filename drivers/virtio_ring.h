/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueue, driver side.  Pure memory: notification is the caller's.
 * Virtual I/O Device (VIRTIO) Version 1.1, 2.6 "Split Virtqueues".
 *
 *   free list -> descriptors (or one that points to an indirect table) -> avail -> device
 *             <------------------------------------------------- used <-
 *
 * Locks: the owner's queue lock; virtio_ring_pending alone may be called without.
 */
#ifndef SPILLWAY_DRIVERS_VIRTIO_RING_H
#define SPILLWAY_DRIVERS_VIRTIO_RING_H

#include "arch/x86/hw/virtio.h"
#include "base/types.h"

#define VIRTIO_RING_MAX 256 /* descriptors; a power of two */

struct virtio_avail {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[VIRTIO_RING_MAX];
};

struct virtio_used {
    uint16_t flags;
    uint16_t index;
    struct virtio_used_entry ring[VIRTIO_RING_MAX];
};
_Static_assert(offsetof(struct virtio_used, ring) == 4, "virtq_used");

struct virtio_ring {
    struct virtio_descriptor *descriptors;
    struct virtio_avail *avail;
    struct virtio_used *used;
    uint16_t size; /* a power of two */
    uint16_t free_head;
    uint16_t free_count;
    uint16_t avail_index;            /* of the next entry to publish */
    uint16_t used_index;             /* of the next entry to take */
    bool in_use[VIRTIO_RING_MAX];    /* heads of chains the device has */
    uint16_t token[VIRTIO_RING_MAX]; /* the caller's, by head */
};

/* One piece of physically contiguous memory. */
struct virtio_segment {
    hpa_t address;
    uint32_t bytes;
    bool device_writes;
};

/* Empties the ring; `interrupts` says whether the device shall send any. */
void virtio_ring_reset(struct virtio_ring *ring, bool interrupts);
/* Offers a chain made of `count` descriptors of the ring; at least that many are free. */
void virtio_ring_add(struct virtio_ring *ring, const struct virtio_segment *segments,
                     unsigned count, uint16_t token);
/* Offers a chain through an indirect table of `count` entries; at least one descriptor is free. */
void virtio_ring_add_indirect(struct virtio_ring *ring, const struct virtio_segment *segments,
                              unsigned count, struct virtio_descriptor *table, hpa_t table_address,
                              uint16_t token);
/* Shows the device what was added.  True: it wants to be notified. */
bool virtio_ring_publish(struct virtio_ring *ring);
bool virtio_ring_pending(const struct virtio_ring *ring);
/* Takes the next used chain: its token, -1 if there is none, -2 if the device returned nonsense. */
int virtio_ring_pop(struct virtio_ring *ring);
/* The same, and how many bytes the device says it has written: any number. */
int virtio_ring_pop_bytes(struct virtio_ring *ring, uint32_t *bytes);
/* Shall the device interrupt?  A wish; look at virtio_ring_pending() behind a full fence. */
void virtio_ring_interrupts(struct virtio_ring *ring, bool on);

#endif
