/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/wait.h"

#include "base/lock.h"
#include "mm/env.h"
#include "mm/space_internal.h"

static struct spinlock wait_lock = SPINLOCK_INIT(RANK_PAGE_IO, "mm waiters");
static struct list frame_queue = LIST_INIT(frame_queue);
/* The waiter whose wake() each CPU is calling; set under the lock, cleared without. */
static _Atomic(struct mm_waiter *) waking[MM_MAX_CPUS];

/* The lock is held. */
static void unlink_waiter(struct mm_waiter *waiter)
{
    list_remove(&waiter->link);
    waiter->space = NULL;
}

void wait_add(struct list *queue, struct mm_waiter *waiter, struct space *space)
{
    spin_lock(&wait_lock);
    if (waiter->space != NULL) {
        unlink_waiter(waiter);
    }
    waiter->space = space;
    list_push_back(queue, &waiter->link);
    spin_unlock(&wait_lock);
}

void wait_move(struct list *to, struct list *queue)
{
    spin_lock(&wait_lock);
    list_splice(to, queue);
    spin_unlock(&wait_lock);
}

/* The lock is held; it is dropped around wake(). */
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

void wait_wake_all(struct list *queue)
{
    spin_lock(&wait_lock);
    while (!list_empty(queue)) {
        wake_one(LIST_ENTRY(queue->next, struct mm_waiter, link));
    }
    spin_unlock(&wait_lock);
}

void wait_for_frame(struct mm_waiter *waiter, struct space *space)
{
    wait_add(&frame_queue, waiter, space);
    mm_pager_wake();
}

bool wait_frames_wanted(void)
{
    return __atomic_load_n(&frame_queue.next, __ATOMIC_RELAXED) != &frame_queue;
}

uint64_t wait_frames_count(void)
{
    uint64_t count = 0;

    spin_lock(&wait_lock);
    LIST_FOR_EACH (item, &frame_queue) {
        count++;
    }
    spin_unlock(&wait_lock);
    return count;
}

uint64_t wait_wake_for_frames(uint64_t limit)
{
    struct list chosen = LIST_INIT(chosen);
    uint64_t count = 0;

    spin_lock(&wait_lock);
    LIST_FOR_EACH_SAFE (item, next, &frame_queue) {
        struct mm_waiter *waiter = LIST_ENTRY(item, struct mm_waiter, link);

        if (count == limit) {
            break;
        }
        /* A space does not go away before its waiters have been cancelled. */
        if (space_may_grow(waiter->space)) {
            list_remove(item);
            list_push_back(&chosen, item);
            count++;
        }
    }
    spin_unlock(&wait_lock);
    wait_wake_all(&chosen);
    return count;
}

void space_cancel_wait(struct mm_waiter *waiter)
{
    spin_lock(&wait_lock);
    if (waiter->space != NULL) {
        unlink_waiter(waiter);
    }
    spin_unlock(&wait_lock);
    for (unsigned cpu = 0; cpu < MM_MAX_CPUS; cpu++) {
        while (atomic_load_explicit(&waking[cpu], memory_order_acquire) == waiter) {
            __builtin_ia32_pause();
        }
    }
}
