/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands in flight of one hardware queue that takes many at once: which tag holds which slice,
 * how often it was tried, and when its answer is overdue.
 *
 * A tag is an entry of the hardware's queue; its number is that by which the hardware names the
 * command.  Pure logic.  All under the lock of the block queue, but for block_tags_next_check().
 */
#ifndef SPILLWAY_DRIVERS_BLOCK_TAGS_H
#define SPILLWAY_DRIVERS_BLOCK_TAGS_H

#include "drivers/block_queue.h"

#define BLOCK_TAGS 64 /* bits of one word */

struct block_tag {
    struct block_slice slice;
    uint64_t deadline; /* platform_clock_ns; set by whoever issues the command */
    uint8_t retries;
    bool aborted; /* so, too: the hardware was asked to give it up */
};

struct block_tags {
    uint64_t free; /* bit i: tag[i] is free */
    uint64_t used; /* bit i: tag[i] is in flight */
    _Atomic uint64_t next_check;
    struct block_tag tag[BLOCK_TAGS];
};

/*
 * Commands in flight that each queue of a device with so many of them is worth memory for.  Nobody
 * has more than 128 requests at a time: many queues, each as deep as a single one, would be idle.
 */
unsigned block_tags_for(unsigned queues);
/* count: 1..BLOCK_TAGS. */
void block_tags_init(struct block_tags *tags, unsigned count);
/* Takes a free tag, of which there must be one, for a slice that the caller puts there; its index.
 */
unsigned block_tags_take(struct block_tags *tags);
/* The tag's slice has ended; the tag is free. */
void block_tags_end(struct block_tags *tags, unsigned index, struct block_queue *queue,
                    enum block_status status);
/* The tag's command shall be issued once more; false: that was done BLOCK_RETRIES times. */
bool block_tags_retry(struct block_tags *tags, unsigned index);
/* A tag whose deadline is more than `grace` ns ago, or -1; looks every BLOCK_TIMEOUT_CHECK_NS. */
int block_tags_overdue(struct block_tags *tags, uint64_t now, uint64_t grace);

/* When block_tags_overdue() will look again.  A hint, no lock taken. */
static inline uint64_t block_tags_next_check(const struct block_tags *tags)
{
    return atomic_load_explicit(&tags->next_check, memory_order_relaxed);
}

#endif
