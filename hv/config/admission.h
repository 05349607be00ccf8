/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Admission: memory is promised only when it can be kept.
 *
 *     pool:   | kept | fixed: tables, structures | floors | the rest |        store: | slots |
 *
 * Two sums over all VMs decide, and who would break one is refused, with the figures:
 *
 *     fixed + floors  <=  pool - kept                         each VM can always go on
 *     pages           <=  slots + min(pool - kept - fixed, caps)    each page has a place
 *
 * `kept` is what guests cannot have: the allocator's reserve, and room to move for reclaim.
 * Pure, so that it is tested on the host.
 */
#ifndef SPILLWAY_HV_CONFIG_ADMISSION_H
#define SPILLWAY_HV_CONFIG_ADMISSION_H

#include "base/types.h"

/* The promise that a VM asks for; all in 4 KiB pages. */
struct admission_terms {
    uint64_t memory, min, max; /* max 0: none */
    uint64_t tmem;             /* quota */
    unsigned vcpus;
    unsigned disks;
    unsigned nics;
};

/* The cost of one promise, or of all; in 4 KiB pages. */
struct admission_demand {
    uint64_t pages; /* each in a frame or in a slot */
    uint64_t cap;   /* of them in frames, at most */
    uint64_t floor; /* frames that are not taken for others */
    uint64_t fixed; /* frames for what is not paged */
};

struct admission_supply {
    uint64_t pool;  /* frames, without what the hypervisor itself has taken */
    uint64_t kept;  /* of them, as above */
    uint64_t slots; /* of the store, without the retired ones */
};

/* Frames that each vCPU needs to go on: what one instruction may touch, its page tables included,
 * more than once over. */
#define ADMISSION_WORKING 64u

/* Frames beyond the allocator's high watermark that are kept: a read-ahead window for each of a few
 * CPUs, and what their caches hold. */
#define ADMISSION_ROOM 128u

/* Of each disk: frames for its requests (hv/vdev/disk/), and guest pages that its queues are in,
 * which stay in their frames. */
#define ADMISSION_DISK_FRAMES 32u
#define ADMISSION_DISK_PINS   48u

/* Of each VM, likewise: pages that the queues of its balloon, its virtio-console and
 * of virtio-rng are in. */
#define ADMISSION_VM_PINS 54u

/* Of each NIC: guest pages that its queues are in, and one frame that is sent. */
#define ADMISSION_NET_PINS 128u
/* Frames that received bytes may wait in (hv/net/). */
#define ADMISSION_NET_FRAMES 128u

/* Pages of a VM that are not taken for others, beyond its min. */
uint64_t admission_working(const struct admission_terms *terms);
struct admission_demand admission_demand(const struct admission_terms *terms);
/* Frames, of the fixed ones, that it takes to start such a VM: not one table yet. */
uint32_t admission_start_cost(const struct admission_terms *terms);
struct admission_demand admission_add(const struct admission_demand *a,
                                      const struct admission_demand *b);
struct admission_demand admission_subtract(const struct admission_demand *a,
                                           const struct admission_demand *b);
/*
 * May somebody be promised `want` where the others have been promised `others`?  False: message
 * holds one line with the figures, and what would fit.
 */
bool admission_check(const struct admission_supply *supply, const struct admission_demand *others,
                     const struct admission_demand *want, char *message, size_t message_bytes);
/* Counts the promised pages that have no place any more. */
uint64_t admission_missing(const struct admission_supply *supply,
                           const struct admission_demand *all);

#endif
