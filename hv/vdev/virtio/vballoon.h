/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-balloon of a guest: VIRTIO 1.2, 5.5 "Traditional Memory Balloon Device".
 *
 *     inflate      pages that the guest gives up become holes (space_discard())
 *     deflate      pages that it takes back need nothing: they are filled when it touches them
 *     reporting    pages that are free in the guest become holes at once, and stay the guest's
 *     statistics   what it has free, as it says; asked for by vballoon_poll()
 *
 * Whatever is in the queues, only pages that they name are touched, only if they are memory of the
 * guest, and not while somebody uses them: see space_discard().  A guest that poisons free pages
 * (PAGE_POISON, and a value that is not 0) would find zeroes where it expects that value: what it
 * reports is acknowledged, and stays.
 *
 * Locks: that of its virtio device.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VBALLOON_H
#define SPILLWAY_HV_VDEV_VIRTIO_VBALLOON_H

#include "arch/x86/hw/virtio_balloon.h"
#include "hv/vdev/virtio/virtio.h"
#include "mm/space/space.h"

#define VBALLOON_PAGES_MAX 256u /* of a list that are looked at in one go */

/* Of a chain that is served in several goes. */
struct vballoon_progress {
    unsigned segment;
    uint32_t done; /* pages of that segment; of a list: bytes in all */
};

/* Pages of 4 KiB.  What the guest says is at most its memory. */
struct vballoon_stats {
    uint64_t target, actual;
    uint64_t free, available, cache; /* 0 until `known` */
    bool known;
};

struct vballoon {
    struct virtio_device device; /* its lock is for the rest, too */
    struct virtio_balloon_config config;
    struct vballoon_stats stats; /* but target and actual */
    uint16_t stats_head;         /* the guest's buffer for statistics ... */
    bool has_stats_head;         /* ... which is here until others are wanted */
    uint64_t budget;             /* pages that this exit may look at */
    struct vballoon_progress progress[VIRTIO_BALLOON_QUEUES];
    /* For one call */
    struct virtq_chain chain;
    uint32_t list[VBALLOON_PAGES_MAX];
    struct gfn_range ranges[VBALLOON_PAGES_MAX];
};

/* A balloon on that bus.  NULL: out of memory.  Its life is that of its virtio device, whose end
 * frees it. */
struct vballoon *vballoon_create(struct vpci *pci, uint8_t devfn);

/* The guest is asked to give up so many pages in all, and for new statistics.  From time to time;
 * no locks at or above RANK_VDEV held. */
void vballoon_poll(struct vballoon *balloon, uint32_t target);
/* Likewise. */
void vballoon_get_stats(struct vballoon *balloon, struct vballoon_stats *stats);

#endif
