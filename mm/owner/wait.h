/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who waits for memory: queues of struct mm_waiter.
 *
 *     queue of a page I/O   until that has ended, then all of it is woken
 *     room                  until the space, which is at its max, may have one more page
 *     frames                until there are frames, and a request to read with
 *
 * The last two are served first come, first served.  Who is served has frames of its own
 * (mm/frame/frame_alloc.h), a request, and room in its space, until its turn is over: so nobody who
 * comes later can take them, and being woken means getting on.  Who comes while others queue for
 * frames queues behind them, even if he would find one.  One that was served and needs more still
 * comes before all the others.
 *
 * A waiter is on one queue at most.  Life: free -> queued -> being woken -> served -> free.
 *
 * Locks: one lock for all queues (RANK_PAGE_IO), taken inside.  wake() is called without it, since
 * it takes the scheduler's lock; a waiter that is being woken is published per CPU, and
 * who takes it off waits until no CPU is at it any more.
 */
#ifndef SPILLWAY_MM_OWNER_WAIT_H
#define SPILLWAY_MM_OWNER_WAIT_H

#include "base/list.h"
#include "mm/owner/waiter.h"

/* What a space that is at its max lets its waiters into.  Both counts are mm/owner/wait.c's, under
 * its lock; others read them as hints. */
struct wait_room {
    uint32_t waiters;  /* who queue for it */
    uint32_t promised; /* pages, to those who are served */
    /* Is there room for one more page, and so many others?  A hint, no lock taken. */
    bool (*free)(struct wait_room *room, uint64_t others);
};

/* Frames that one turn may need: three tables and the page; for tmem a page, a frame of descriptors
 * and the directories that lead to it; and as many again for what is read or copied on the way. */
#define WAIT_TURN_FRAMES 8u

/* Queues the waiter; one that is queued already moves, and a turn is over.  Locks below
 * RANK_PAGE_IO may be held. */
void wait_add(struct list *queue, struct mm_waiter *waiter);
/* All of the queue goes to the end of `to`. */
void wait_move(struct list *to, struct list *queue);
/* `from` waits for a read: `to`, which is free, waits for it in its place.  False: it does not, or
 * not any more, and nothing has changed.  The thread of both. */
bool wait_hand_over(struct mm_waiter *from, struct mm_waiter *to);
/* Wakes all, first come first.  No locks at RANK_SCHED or above held. */
void wait_wake_all(struct list *queue);

/* Queues on those who wait for frames or for a request, and wakes the pager.  Locks as above. */
void wait_for_frame(struct mm_waiter *waiter);
/* The same for room there. */
void wait_for_room(struct mm_waiter *waiter, struct wait_room *room);
extern struct list wait_frame_queue; /* for the next one only */
/* Does anybody wait for frames?  Then nothing is spent on what is not needed.  A hint, no lock
 * taken. */
static inline bool wait_frames_wanted(void)
{
    return __atomic_load_n(&wait_frame_queue.next, __ATOMIC_RELAXED) != &wait_frame_queue;
}
/* ... or for room? */
bool wait_anybody(void);
/* May the waiter (NULL: nobody in particular) take frames now, or does it have to queue? */
bool wait_may_take(const struct mm_waiter *waiter);
/* What it takes them from: for frame_alloc_promised().  NULL, too, is good there. */
struct frame_promise *wait_promise(struct mm_waiter *waiter);
/* Both, and takes one.  False: it has to queue. */
static inline bool wait_take_frame(struct mm_waiter *waiter, enum alloc_use use, pfn_t *out)
{
    /* Nearly always nobody waits, and nobody is served. */
    if (waiter == NULL || !waiter->served) {
        return !wait_frames_wanted() && frame_alloc(0, use, 0, out);
    }
    return wait_may_take(waiter) && frame_alloc_promised(wait_promise(waiter), use, out);
}
/* Of those who are served now, how many may want a request, besides this waiter. */
uint32_t wait_served(const struct mm_waiter *waiter);
/*
 * Serves as many as can be, in order: while there are frames, and `requests` more than are served.
 * Woken without locks.
 */
void wait_serve(uint32_t requests);

#endif
