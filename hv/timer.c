/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/timer.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/arch.h"

RB_HEAD(timer_tree, timer);

/* Per CPU: a tree by deadline.  `running` is the timer whose fire() this CPU is in. */
static struct {
    struct spinlock lock; /* tree, order, and the link/deadline/order/cpu of the timers in it */
    struct timer_tree tree;
    uint64_t order;
    _Atomic(struct timer *) running;
    _Atomic uint64_t next; /* first deadline of the tree */
} __attribute__((aligned(64))) timers_of[MAX_CPUS];

static int compare(const struct timer *a, const struct timer *b)
{
    if (a->deadline_ns != b->deadline_ns) {
        return a->deadline_ns < b->deadline_ns ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

RB_GENERATE_STATIC(timer_tree, timer, link, compare)

void timer_init_cpus(void)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        spin_init(&timers_of[i].lock, RANK_TIMER, "timers");
        RB_INIT(&timers_of[i].tree);
        atomic_init(&timers_of[i].next, TIMER_NEVER);
    }
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    timer->deadline_ns = TIMER_NEVER;
    timer->cpu = 0;
    timer->fire = fire;
}

static void unlock(unsigned cpu)
{
    const struct timer *first = RB_MIN(timer_tree, &timers_of[cpu].tree);

    atomic_store_explicit(&timers_of[cpu].next, first != NULL ? first->deadline_ns : TIMER_NEVER,
                          memory_order_relaxed);
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

/* The lock of that CPU, which has the timer, is held. */
static void disarm(struct timer *timer, unsigned cpu)
{
    if (timer->deadline_ns != TIMER_NEVER) {
        RB_REMOVE(timer_tree, &timers_of[cpu].tree, timer);
        timer->deadline_ns = TIMER_NEVER;
    }
}

static void arm(struct timer *timer, unsigned cpu, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    timer->order = timers_of[cpu].order++;
    if (deadline_ns != TIMER_NEVER) {
        RB_INSERT(timer_tree, &timers_of[cpu].tree, timer);
    }
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
    unsigned self = arch_cpu_id();
    unsigned cpu = lock_owner(timer);

    disarm(timer, cpu);
    __atomic_store_n(&timer->cpu, self, __ATOMIC_RELAXED);
    unlock(cpu);

    cpu = lock_owner(timer);
    disarm(timer, cpu); /* another CPU may have set it in between */
    arm(timer, cpu, deadline_ns);
    unlock(cpu);
}

void timer_cancel(struct timer *timer)
{
    unsigned cpu = lock_owner(timer);

    disarm(timer, cpu);
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

/* The first timer that is due, taken off this CPU's tree; or NULL. */
static struct timer *take_due(unsigned cpu)
{
    struct timer *due;

    spin_lock(&timers_of[cpu].lock);
    due = RB_MIN(timer_tree, &timers_of[cpu].tree);
    if (due != NULL && due->deadline_ns <= arch_clock_ns()) {
        disarm(due, cpu);
        atomic_store(&timers_of[cpu].running, due);
    } else {
        due = NULL;
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
