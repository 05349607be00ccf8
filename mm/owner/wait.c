/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/owner/wait.h"

#include "base/lock.h"
#include "mm/env.h"

static struct spinlock wait_lock = SPINLOCK_INIT(RANK_PAGE_IO, "mm waiters");
struct list wait_frame_queue = LIST_INIT(wait_frame_queue);
static struct list room_queue = LIST_INIT(room_queue);
static uint32_t served; /* waiters that are; read without the lock as a hint */
/* The waiter whose wake() each CPU is calling; set under the lock, cleared without. */
static _Atomic(struct mm_waiter *) waking[MM_MAX_CPUS];

/* ---- with the lock held --------------------------------------------------------------------- */

static void unlink_waiter(struct mm_waiter *waiter)
{
    list_remove(&waiter->link);
    if (waiter->queue == MM_WAITS_ROOM) {
        waiter->room->waiters--;
        waiter->room = NULL;
    }
    waiter->queue = MM_WAITS_NOT;
}

static void link_waiter(struct mm_waiter *waiter, enum mm_waits_for what, struct list *queue,
                        bool first)
{
    if (waiter->queue != MM_WAITS_NOT) {
        unlink_waiter(waiter);
    }
    waiter->queue = what;
    if (first) {
        list_push_front(queue, &waiter->link);
    } else {
        list_push_back(queue, &waiter->link);
    }
}

static void count_served(int change)
{
    __atomic_store_n(&served, served + (uint32_t)change, __ATOMIC_RELAXED);
}

static void give_back_frames(struct mm_waiter *waiter)
{
    if (waiter->served) {
        frame_promise_end(&waiter->promise);
        waiter->served = false;
        waiter->asked = false;
        count_served(-1);
    }
}

static void give_back_room(struct mm_waiter *waiter)
{
    if (waiter->has_room) {
        waiter->room->promised--;
        waiter->room = NULL;
        waiter->has_room = false;
    }
}

/* The lock is dropped around wake(). */
static void wake_one(struct mm_waiter *waiter)
{
    unsigned cpu = mm_cpu_id();

    unlink_waiter(waiter);
    atomic_store(&waking[cpu], waiter);
    spin_unlock(&wait_lock);
    waiter->wake(waiter);
    /* Release: whoever sees NULL may free the waiter, so wake() has to be over by then. */
    atomic_store_explicit(&waking[cpu], NULL, memory_order_release);
    spin_lock(&wait_lock);
}

/* ---- queues of page I/O --------------------------------------------------------------------- */

void wait_add(struct list *queue, struct mm_waiter *waiter)
{
    spin_lock(&wait_lock);
    give_back_frames(waiter);
    give_back_room(waiter);
    link_waiter(waiter, MM_WAITS_READ, queue, false);
    spin_unlock(&wait_lock);
    if (wait_anybody()) {
        mm_pager_wake();
    }
}

bool wait_hand_over(struct mm_waiter *from, struct mm_waiter *to)
{
    bool reads;

    spin_lock(&wait_lock);
    reads = from->queue == MM_WAITS_READ;
    if (reads) {
        list_insert_after(&from->link, &to->link);
        to->queue = MM_WAITS_READ;
        unlink_waiter(from);
    }
    spin_unlock(&wait_lock);
    return reads;
}

void wait_move(struct list *to, struct list *queue)
{
    spin_lock(&wait_lock);
    list_splice(to, queue);
    spin_unlock(&wait_lock);
}

void wait_wake_all(struct list *queue)
{
    spin_lock(&wait_lock);
    while (!list_empty(queue)) {
        wake_one(LIST_ENTRY(queue->next, struct mm_waiter, link));
    }
    spin_unlock(&wait_lock);
}

/* ---- frames and room ------------------------------------------------------------------------ */

void wait_for_frame(struct mm_waiter *waiter)
{
    bool first;

    spin_lock(&wait_lock);
    first = waiter->served;
    give_back_frames(waiter);
    link_waiter(waiter, MM_WAITS_FRAME, &wait_frame_queue, first);
    spin_unlock(&wait_lock);
    mm_pager_wake();
}

void wait_for_room(struct mm_waiter *waiter, struct wait_room *room)
{
    bool first;

    spin_lock(&wait_lock);
    first = waiter->has_room;
    give_back_frames(waiter);
    give_back_room(waiter);
    link_waiter(waiter, MM_WAITS_ROOM, &room_queue, first);
    waiter->room = room;
    room->waiters++;
    spin_unlock(&wait_lock);
    mm_pager_wake();
}

static bool is_empty(const struct list *queue)
{
    return __atomic_load_n(&queue->next, __ATOMIC_RELAXED) == queue;
}

bool wait_anybody(void)
{
    return wait_frames_wanted() || !is_empty(&room_queue);
}

bool wait_may_take(const struct mm_waiter *waiter)
{
    return (waiter != NULL && waiter->served && waiter->promise.frames > 0) ||
           !wait_frames_wanted();
}

struct frame_promise *wait_promise(struct mm_waiter *waiter)
{
    if (waiter == NULL) {
        return NULL;
    }
    waiter->asked = waiter->served;
    return &waiter->promise;
}

uint32_t wait_served(const struct mm_waiter *waiter)
{
    uint32_t count = __atomic_load_n(&served, __ATOMIC_RELAXED);

    return waiter != NULL && waiter->served && count > 0 ? count - 1 : count;
}

/* Whose space has room moves on to those who wait for frames.  The lock is held. */
static void serve_rooms(void)
{
    LIST_FOR_EACH_SAFE (item, next, &room_queue) {
        struct mm_waiter *waiter = LIST_ENTRY(item, struct mm_waiter, link);
        struct wait_room *room = waiter->room;

        if (room->free(room, room->promised)) {
            link_waiter(waiter, MM_WAITS_FRAME, &wait_frame_queue, false);
            waiter->room = room;
            waiter->has_room = true;
            room->promised++;
        }
    }
}

void wait_serve(uint32_t requests)
{
    struct list chosen = LIST_INIT(chosen);

    if (!wait_anybody()) {
        return;
    }
    spin_lock(&wait_lock);
    serve_rooms();
    while (!list_empty(&wait_frame_queue) && served < requests) {
        struct mm_waiter *waiter = LIST_ENTRY(wait_frame_queue.next, struct mm_waiter, link);

        if (!frame_promise_make(&waiter->promise, WAIT_TURN_FRAMES)) {
            break;
        }
        waiter->served = true;
        count_served(1);
        list_remove(&waiter->link);
        list_push_back(&chosen, &waiter->link);
    }
    spin_unlock(&wait_lock);
    wait_wake_all(&chosen);
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void stop_waking(const struct mm_waiter *waiter)
{
    for (unsigned cpu = 0; cpu < MM_MAX_CPUS; cpu++) {
        while (atomic_load_explicit(&waking[cpu], memory_order_acquire) == waiter) {
            __builtin_ia32_pause();
        }
    }
}

void waiter_stop(struct mm_waiter *waiter)
{
    spin_lock(&wait_lock);
    if (waiter->queue != MM_WAITS_NOT) {
        unlink_waiter(waiter);
    }
    spin_unlock(&wait_lock);
    stop_waking(waiter);
}

void waiter_end_turn(struct mm_waiter *waiter)
{
    /* Of a waiter that is not queued, only its own thread changes these. */
    if (!waiter->served && !waiter->has_room) {
        return;
    }
    spin_lock(&wait_lock);
    give_back_frames(waiter);
    give_back_room(waiter);
    spin_unlock(&wait_lock);
    if (wait_anybody()) {
        mm_pager_wake();
    }
}

void waiter_cancel(struct mm_waiter *waiter)
{
    spin_lock(&wait_lock);
    if (waiter->queue != MM_WAITS_NOT) {
        unlink_waiter(waiter);
    }
    give_back_frames(waiter);
    give_back_room(waiter);
    spin_unlock(&wait_lock);
    stop_waking(waiter);
    if (wait_anybody()) {
        mm_pager_wake();
    }
}
