/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free memory in blocks of 2^n frames, for mm/frame/ only; and what of it is set aside.
 *
 * How a frame's struct tells what the frame is:
 *
 *     state      order            links
 *     FREE       of the block     buddy list of that order: first frame of a free block
 *     CACHED     0                none: in one CPU's cache
 *     allocated  of the block     the owner's: first frame of an allocated block
 *     any        ORDER_TAIL       none: some other frame of a block, free or allocated
 *
 * The buddy algorithm asks only for the buddy of a block that is not free as a whole: the frame
 * there begins a block of the same order or a smaller one, so that its state and order are current.
 */
#ifndef SPILLWAY_MM_FRAME_BUDDY_H
#define SPILLWAY_MM_FRAME_BUDDY_H

#include "base/bits.h"
#include "base/lock.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"

struct buddy {
    struct spinlock lock;               /* all of this */
    uint32_t head[FRAME_ORDER_MAX + 1]; /* of the lists of free blocks */
    uint64_t free;                      /* frames in them */
    uint64_t left;                      /* of them not promised; read without the lock as a hint */
    uint64_t frames;
    uint64_t promised;
    int64_t used[ALLOC_USE_COUNT]; /* by blocks; like the caches' figures */
    struct frame_watermarks {
        uint64_t min, low, high;
    } mark;
};

extern struct buddy buddy;

/* Forgets all. */
void buddy_init(void);

/* ---- buddy.lock is held ---- */

/* Takes a block that nobody has any more, and joins it with its free neighbours. */
void buddy_give(uint32_t number, unsigned order);
/* False: there is no block as large. */
bool buddy_take(unsigned order, uint32_t *number);
/* Gives a cache as many single frames as there are, at most `most`: how many.  They are CACHED
 * now. */
unsigned buddy_take_singles(uint32_t *numbers, unsigned most);
/* Frames that may be taken now; flags: ALLOC_*. */
uint64_t buddy_allowance(unsigned flags);
/* Gives the lock back; others read what is left without it. */
void buddy_unlock(void);

/* ---- without ---- */

/* Sets aside, of `most` frames, as many as there are, but not less than `least`: then none. */
uint32_t buddy_promise(uint32_t least, uint32_t most);
/* Is the rest below the low watermark?  A hint. */
static inline bool buddy_is_short(void)
{
    return __atomic_load_n(&buddy.left, __ATOMIC_RELAXED) <
           __atomic_load_n(&buddy.mark.low, __ATOMIC_RELAXED);
}

/* Others read `state` while its owner changes it: to them both values mean "not FREE". */
static inline void frame_set_state(struct frame *frame, enum frame_state state)
{
    __atomic_store_n(&frame->state, (uint8_t)state, __ATOMIC_RELAXED);
}

static inline enum frame_state frame_state_of(const struct frame *frame)
{
    return (enum frame_state)__atomic_load_n(&frame->state, __ATOMIC_RELAXED);
}

static inline bool frame_is_allocated(enum frame_state state)
{
    return state >= FRAME_STATE_META;
}

#endif
