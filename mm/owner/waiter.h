/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thing that waits for memory: a vCPU, or the loading of an image.
 *
 * Whoever gives one to a function of mm/ and is told MM_WAIT is woken once when it is worth trying
 * again.  What it was waiting for is then kept for it, until it has asked again and
 * waiter_end_turn() says that this was it: mm/owner/wait.h.
 *
 * Life: zero but for `wake`; free again after waiter_cancel().
 */
#ifndef SPILLWAY_MM_OWNER_WAITER_H
#define SPILLWAY_MM_OWNER_WAITER_H

#include "base/list.h"
#include "base/types.h"
#include "mm/frame/frame_alloc.h"

struct wait_room;

enum mm_waits_for {
    MM_WAITS_NOT,
    MM_WAITS_READ,  /* for a page to come from the store */
    MM_WAITS_FRAME, /* for frames, or a request to read with */
    MM_WAITS_ROOM,  /* for its space to be below its max */
};

/* Used by one thread at a time. */
struct mm_waiter {
    struct list link;
    enum mm_waits_for queue; /* others may look at it, as a hint */
    bool served;             /* frames have been promised to it ... */
    bool asked;              /* ... and it has come for them */
    bool has_room;           /* one page's room has been promised to it ... */
    struct wait_room *room;  /* ... there; or it waits there for that */
    struct frame_promise promise;
    /* Called with no lock held, at most once per MM_WAIT. */
    void (*wake)(struct mm_waiter *waiter);
};

/* Its own thread: whatever it waited for it has got, or does not want; others may have the rest. */
void waiter_end_turn(struct mm_waiter *waiter);
/* Any thread: takes the waiter out of any queue; after the return wake() is not called and is not
 * running. */
void waiter_stop(struct mm_waiter *waiter);
/* Both.  Its own thread, or there is none any more. */
void waiter_cancel(struct mm_waiter *waiter);

#endif
