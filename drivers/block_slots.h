/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands in flight of one hardware queue that takes many at once: which slot holds which slice,
 * how often it was tried, and when its answer is overdue.
 *
 * Pure logic, for drivers whose command has a small number of its own (NVMe, virtio).  All under
 * the lock of the block queue.
 */
#ifndef SPILLWAY_DRIVERS_BLOCK_SLOTS_H
#define SPILLWAY_DRIVERS_BLOCK_SLOTS_H

#include "drivers/block_queue.h"

#define BLOCK_SLOTS 64 /* bits of one word */

struct block_slot {
    struct block_slice slice;
    uint64_t deadline; /* platform_clock_ns; set by the driver when it issues the command */
    uint8_t retries;
    bool aborted; /* for the driver: it has asked the device to give it up */
};

struct block_slots {
    uint64_t free;       /* bit i: slot[i] is free */
    uint64_t used;       /* bit i: slot[i] is in flight */
    uint64_t next_check; /* when to look for time-outs; may be looked at without the lock */
    struct block_slot slot[BLOCK_SLOTS];
};

/*
 * Commands in flight that each queue of a device with so many of them is worth memory for.  Nobody
 * has more than 128 requests at a time: many queues, each as deep as a single one, would be idle.
 */
unsigned block_slots_for(unsigned queues);
/* count: 1..BLOCK_SLOTS. */
void block_slots_init(struct block_slots *slots, unsigned count);
/* Puts the slice into a free slot, of which there must be one; its index. */
unsigned block_slots_take(struct block_slots *slots, const struct block_slice *slice);
/* The slot's slice has ended; the slot is free. */
void block_slots_end(struct block_slots *slots, unsigned index, struct block_queue *queue,
                     enum block_status status);
/* The slot's command shall be issued once more; false: that was done BLOCK_RETRIES times. */
bool block_slots_retry(struct block_slots *slots, unsigned index);
/* A slot whose deadline is more than `grace` ns ago, or -1; looks every BLOCK_TIMEOUT_CHECK_NS. */
int block_slots_overdue(struct block_slots *slots, uint64_t now, uint64_t grace);

#endif
