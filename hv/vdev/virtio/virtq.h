/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueue, device side: VIRTIO 1.1, 2.6 "Split Virtqueues".  The guest that fills it is
 * hostile: whatever it writes, each call here is bounded, and touches the pages of the ring only.
 *
 *     descriptors --> avail --> virtq_take() --> the device --> virtq_give() --> used
 *                                   ^               |
 *                                   '-- virtq_untake()
 *
 * From virtq_enable() to virtq_disable() the pages of the ring are pinned in their frames
 * (space_pin()), so the ring can be used in any context and never waits.  Tables of indirect
 * descriptors are not pinned; what they point to is the device's matter.
 *
 * Locks: the device's (RANK_VDEV), for all calls.
 */
#ifndef SPILLWAY_HV_VDEV_VIRTIO_VIRTQ_H
#define SPILLWAY_HV_VDEV_VIRTIO_VIRTQ_H

#include "arch/x86/hw/virtio.h"
#include "mm/space/space.h"

#define VIRTQ_SIZE_MAX     256 /* descriptors of a ring; no part of it lies in more than two pages */
#define VIRTQ_SEGMENTS_MAX 130 /* of a chain, whatever the size of the ring */
#define VIRTQ_PART_PAGES   2
#define VIRTQ_PINS_MAX     (VIRTQ_PARTS * VIRTQ_PART_PAGES) /* pages that a ring holds */

enum virtq_part_number {
    VIRTQ_DESCRIPTORS,
    VIRTQ_AVAIL,
    VIRTQ_USED,
    VIRTQ_PARTS,
};

enum virtq_result {
    VIRTQ_CHAIN,  /* one has been taken */
    VIRTQ_EMPTY,  /* none is there; the guest will notify of the next one, unless it is quiet */
    VIRTQ_PARK,   /* nothing has changed; the waiter is registered: try again when it is woken */
    VIRTQ_BROKEN, /* the guest breaks the rules: until it resets the device this stays so */
};

/* Guest-physical; nobody has looked whether memory is there. */
struct virtq_segment {
    gpa_t address;
    uint32_t bytes; /* not 0; does not go beyond the last address */
    bool device_writes;
};

/* All that the device reads comes before what it writes. */
struct virtq_chain {
    uint16_t head; /* its name, for virtq_give() */
    unsigned count;
    uint32_t readable, writable; /* bytes */
    struct virtq_segment segment[VIRTQ_SEGMENTS_MAX];
};

/* One part of a ring. */
struct virtq_part {
    gpa_t address;
    unsigned pinned; /* pages, of ... */
    uint8_t *page[VIRTQ_PART_PAGES];
};

struct virtq {
    uint16_t size_max;               /* of the device's choice: a power of two */
    struct virtio_descriptor *table; /* for a copy of an indirect table, during one call */
    /* As the guest has set it up */
    uint16_t size, vector;
    bool enabled;
    struct virtq_part part[VIRTQ_PARTS];
    /* Since it was enabled */
    struct space *space;
    bool indirect, event_index; /* negotiated */
    bool broken;
    bool signalled_once;
    bool quiet;          /* virtq_set_quiet() */
    uint16_t avail_next; /* of the next chain to take */
    uint16_t used_next;  /* of the next entry to write */
    uint16_t signalled;  /* used_next at the last look whether the guest wants an interrupt */
    uint16_t in_flight;
    uint64_t taken[VIRTQ_SIZE_MAX / 64]; /* heads of chains that the device has */
};

/* Not in use.  `size_max`: a power of two, at most VIRTQ_SIZE_MAX.  `table`: VIRTQ_SEGMENTS_MAX
 * entries, which queues that have a lock in common may share. */
void virtq_init(struct virtq *queue, uint16_t size_max, struct virtio_descriptor *table);
/*
 * Takes the ring into use, at the addresses and with the size that are set.  Unless it is MM_OK,
 * nothing is pinned, and with MM_WAIT it is worth trying again when the waiter was woken; with
 * another answer there can be no ring there.
 */
enum mm_result virtq_enable(struct virtq *queue, struct space *space, uint64_t features,
                            struct mm_waiter *waiter);
/* Gives its pages back, and is as after virtq_init().  Also one that was not in use. */
void virtq_disable(struct virtq *queue);

/* The next chain.  waiter: of the vCPU that is here, or of the device. */
enum virtq_result virtq_take(struct virtq *queue, struct virtq_chain *chain,
                             struct mm_waiter *waiter);
/*
 * A guest notifies of nothing that it adds once virtq_take() has found a quiet queue empty; whoever
 * wants that has to look again by himself.  It does so again once the queue has been found empty
 * and is not quiet any more.  Only with VIRTIO_F_EVENT_INDEX; else it is never quiet.
 */
void virtq_set_quiet(struct virtq *queue, bool quiet);
/* Puts back the one that was taken last, of which the guest is to see nothing; and then perhaps the
 * one before it. */
void virtq_untake(struct virtq *queue, uint16_t head);
/* The device has done with the chain, and has written that many bytes, from its first on. */
void virtq_give(struct virtq *queue, uint16_t head, uint32_t written);
/* The same for several chains, in that order: the guest sees none of them before it sees all. */
struct virtq_used {
    uint16_t head;
    uint32_t written;
};
void virtq_give_all(struct virtq *queue, const struct virtq_used *used, unsigned count);
/* Since the last call: has something been given of which the guest wants to hear? */
bool virtq_wants_signal(struct virtq *queue);

#endif
