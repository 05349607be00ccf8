/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/timer.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/arch.h"

/*
 * Per CPU: a list sorted by deadline.  A machine has a few timers a vCPU, so a list is enough.
 * `running` is the timer whose fire() this CPU is in.
 */
static struct {
    struct spinlock lock; /* list, and the link/deadline/cpu of the timers in it */
    struct list list;
    _Atomic(struct timer *) running;
    _Atomic uint64_t next; /* first deadline of the list */
} __attribute__((aligned(64))) timers_of[MAX_CPUS];

void timer_init_cpus(void)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        spin_init(&timers_of[i].lock, RANK_TIMER, "timers");
        list_init(&timers_of[i].list);
        atomic_init(&timers_of[i].next, TIMER_NEVER);
    }
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    list_init(&timer->link);
    timer->deadline_ns = TIMER_NEVER;
    timer->cpu = 0;
    timer->fire = fire;
}

static void unlock(unsigned cpu)
{
    struct list *head = &timers_of[cpu].list;
    uint64_t next = TIMER_NEVER;

    if (!list_empty(head)) {
        next = LIST_ENTRY(head->next, struct timer, link)->deadline_ns;
    }
    atomic_store_explicit(&timers_of[cpu].next, next, memory_order_relaxed);
    spin_unlock(&timers_of[cpu].lock);
}

/* Takes the lock of the CPU that has the timer now. */
static unsigned lock_owner(struct timer *timer)
{
    for (;;) {
        unsigned cpu = __atomic_load_n(&timer->cpu, __ATOMIC_RELAXED);

        spin_lock(&timers_of[cpu].lock);
        if (__atomic_load_n(&timer->cpu, __ATOMIC_RELAXED) == cpu) {
            return cpu;
        }
        spin_unlock(&timers_of[cpu].lock);
    }
}

static void insert_sorted(struct list *head, struct timer *timer)
{
    struct list *at = head;

    while (at->prev != head &&
           LIST_ENTRY(at->prev, struct timer, link)->deadline_ns > timer->deadline_ns) {
        at = at->prev;
    }
    list_push_back(at, &timer->link);
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    unsigned self = arch_cpu_id();
    unsigned cpu = lock_owner(timer);

    list_remove(&timer->link);
    timer->deadline_ns = TIMER_NEVER;
    __atomic_store_n(&timer->cpu, self, __ATOMIC_RELAXED);
    unlock(cpu);

    cpu = lock_owner(timer);
    list_remove(&timer->link);
    timer->deadline_ns = deadline_ns;
    if (deadline_ns != TIMER_NEVER) {
        insert_sorted(&timers_of[cpu].list, timer);
    }
    unlock(cpu);
}

void timer_cancel(struct timer *timer)
{
    unsigned cpu = lock_owner(timer);

    list_remove(&timer->link);
    timer->deadline_ns = TIMER_NEVER;
    unlock(cpu);
}

void timer_cancel_sync(struct timer *timer)
{
    timer_cancel(timer);
    for (unsigned cpu = 0; cpu < arch_cpu_count(); cpu++) {
        while (cpu != arch_cpu_id() && atomic_load(&timers_of[cpu].running) == timer) {
            __builtin_ia32_pause();
        }
    }
    /* fire() may have armed it again before it ended. */
    timer_cancel(timer);
}

uint64_t timer_next(void)
{
    return atomic_load_explicit(&timers_of[arch_cpu_id()].next, memory_order_relaxed);
}

/* The first timer that is due, taken off this CPU's list; or NULL. */
static struct timer *take_due(unsigned cpu)
{
    struct timer *due = NULL;

    spin_lock(&timers_of[cpu].lock);
    if (!list_empty(&timers_of[cpu].list)) {
        struct timer *first = LIST_ENTRY(timers_of[cpu].list.next, struct timer, link);

        if (first->deadline_ns <= arch_clock_ns()) {
            due = first;
            list_remove(&due->link);
            due->deadline_ns = TIMER_NEVER;
            atomic_store(&timers_of[cpu].running, due);
        }
    }
    unlock(cpu);
    return due;
}

void timer_run(void)
{
    unsigned cpu = arch_cpu_id();
    struct timer *due;

    while (timer_next() <= arch_clock_ns() && (due = take_due(cpu)) != NULL) {
        due->fire(due);
        atomic_store(&timers_of[cpu].running, NULL);
    }
}
