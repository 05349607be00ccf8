/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical allocator: blocks of 2^order frames, 4 KiB to 1 GiB, naturally aligned.
 *
 *     frame_alloc(order 0) --> this CPU's cache --\   refilled and drained in batches
 *     frame_alloc(order n) ------------------------+--> buddy free lists, one per order
 *
 * It never waits and never reclaims.  Free memory is measured against three watermarks:
 *
 *     high   the pager stops reclaiming, pages may be handed out generously
 *     low    below: mm_pager_wake() on every refill, freed frames bypass the caches
 *     min    the reserve: only for ALLOC_RESERVE (reclaim's own needs)
 *
 * Free frames above min can be promised to somebody who waits for memory: nobody else gets them
 * then, however fast he is.
 *
 * Life: frame_db_init(), frame_alloc_add_range() for each range of RAM, frame_alloc_ready(); then
 * use, from any CPU.
 * Locks: one per CPU cache (RANK_FRAME_CACHE), one for the free lists (RANK_BUDDY), taken inside.
 */
#ifndef SPILLWAY_MM_FRAME_FRAME_ALLOC_H
#define SPILLWAY_MM_FRAME_FRAME_ALLOC_H

#include "base/types.h"

#define FRAME_ORDER_2M  9u
#define FRAME_ORDER_MAX 18u /* 1 GiB */

enum alloc_use {
    ALLOC_META,
    ALLOC_GUEST,
    ALLOC_TMEM,
    ALLOC_COMPRESSED,
    ALLOC_USE_COUNT,
};

/* May take what is below the min watermark. */
#define ALLOC_RESERVE (1u << 0)

struct frame_promise {
    uint32_t frames; /* left; 0: none was made */
};

struct frame_stats {
    uint64_t frames; /* == free + guest + compressed + tmem + meta */
    uint64_t free, guest, compressed, tmem, meta;
};

/* Of the smallest block that holds so many bytes; it may be greater than FRAME_ORDER_MAX. */
static inline unsigned frame_order(uint64_t bytes)
{
    unsigned order = 0;

    while (order < 64 - PAGE_SHIFT && (PAGE_SIZE << order) < bytes) {
        order++;
    }
    return order;
}

/* Forgets all memory.  Called by frame_db_init(). */
void frame_alloc_init(void);
/* Frames first..first+count-1, RESERVED until now, become free memory.  Boot. */
void frame_alloc_add_range(pfn_t first, uint64_t count);
/* All ranges are there: sets the watermarks that suit the amount of memory.  Boot. */
void frame_alloc_ready(void);

/*
 * A block of 2^order frames; false: none (the pager has been woken).  Its contents are whatever was
 * there.  All fields of all its frames are reset: links, slot, io: FRAME_NONE, the rest 0.
 * Locks below RANK_FRAME_CACHE may be held.
 */
bool frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);
/* The same, filled with zeroes. */
bool frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);
/* Sets so many frames aside, free and above the reserve; false: there are not so many. */
bool frame_promise_make(struct frame_promise *promise, uint32_t frames);
/* Raises it towards `frames`, as far as can be now; false: call again, the pager is at it. */
bool frame_promise_gather(struct frame_promise *promise, uint32_t frames);
/* From now on this CPU has that promise for each single frame that it allocates; NULL: not any
 * more.  For code that allocates here and there without waiting. */
void frame_promise_use(struct frame_promise *promise);
/* Ends it: what has not been taken of it is anybody's again. */
void frame_promise_end(struct frame_promise *promise);
/* A single frame, as frame_alloc(); of the promise (NULL: none) when there is no other. */
bool frame_alloc_promised(struct frame_promise *promise, enum alloc_use use, pfn_t *out);
/* Gives the block that begins at `first` back, whatever its order.  Freeing what is not the
 * beginning of an allocated block panics. */
void frame_free(pfn_t first);

/* Makes an allocated block 2^order blocks of one frame each; the new ones have reset fields, the
 * first keeps its own. */
void frame_alloc_split(pfn_t first);
/* The reverse: 2^order single frames, aligned, all allocated for the same use, become one block. */
void frame_alloc_join(pfn_t first, unsigned order);

/* In frames; min <= low <= high. */
void frame_alloc_set_watermarks(uint64_t min, uint64_t low, uint64_t high);
/* Free frames, those in the caches of CPUs, and those that are promised, not counted.  No lock: a
 * hint. */
uint64_t frame_alloc_free_count(void);
/* All frames that were ever free: what the machine has for guests, and for what they cost. */
uint64_t frame_alloc_total(void);
uint64_t frame_alloc_min(void);
uint64_t frame_alloc_low(void);
uint64_t frame_alloc_high(void);
/* The high watermark that suits a machine of so many frames. */
uint64_t frame_alloc_high_of(uint64_t frames);

/* Gives what all CPUs' caches hold back to the free lists. */
void frame_alloc_drain(void);

/* One consistent snapshot: the sum rule holds.  Takes every lock: not for hot paths. */
void frame_alloc_get_stats(struct frame_stats *stats);

static inline struct frame_stats frame_stats_get(void)
{
    struct frame_stats stats;

    frame_alloc_get_stats(&stats);
    return stats;
}

#endif
