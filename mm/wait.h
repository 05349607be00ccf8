/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who waits for memory: queues of struct mm_waiter.
 *
 * A waiter is on one queue at most: that of the page I/O which brings its page, or the one of those
 * who need a frame (or a page I/O) and found none.  Life: free -> queued -> being woken -> free.
 *
 * Locks: one lock for all queues (RANK_PAGE_IO), taken inside.  wake() is called without it, since
 * it takes the scheduler's lock; a waiter that is being woken is published per CPU, and
 * space_cancel_wait() waits until no CPU is at it any more.
 */
#ifndef SPILLWAY_MM_WAIT_H
#define SPILLWAY_MM_WAIT_H

#include "base/list.h"
#include "mm/space.h"

/* Queues the waiter; one that is queued already moves.  Locks below RANK_PAGE_IO may be held. */
void wait_add(struct list *queue, struct mm_waiter *waiter, struct space *space);
/* All of the queue goes to the end of `to`. */
void wait_move(struct list *to, struct list *queue);
/* Wakes all, first come first.  No locks at RANK_SCHED or above held. */
void wait_wake_all(struct list *queue);

/* Queues on those who wait for a frame, and wakes the pager. */
void wait_for_frame(struct mm_waiter *waiter, struct space *space);
/* Does anybody wait for a frame?  A hint, no lock taken. */
bool wait_frames_wanted(void);
/* How many wait for a frame. */
uint64_t wait_frames_count(void);
/* Wakes up to `limit` of those whose space may have more frames; returns how many.  No locks. */
uint64_t wait_wake_for_frames(uint64_t limit);

#endif
