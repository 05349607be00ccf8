/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One-shot timers, run by the CPUs' main loops.
 *
 * A timer belongs to the CPU that set it last.  fire() runs on that CPU, from
 * its main loop, no locks held, at or after the deadline.
 */
#ifndef SPILLWAY_HV_TIMER_H
#define SPILLWAY_HV_TIMER_H

#include "base/tree.h"
#include "base/types.h"

#define TIMER_NEVER UINT64_MAX

struct timer {
    RB_ENTRY(timer) link; /* in a CPU's tree while it is armed */
    uint64_t deadline_ns; /* TIMER_NEVER: not armed */
    uint64_t order;       /* of those with the same deadline, who was set first */
    unsigned cpu;         /* whose tree holds it */
    void (*fire)(struct timer *timer);
};

/* Once, before any other call. */
void timer_init_cpus(void);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));
/* (Re)arms on this CPU; a deadline in the past fires from the next main-loop turn.  Locks below
 * RANK_TIMER may be held. */
void timer_set(struct timer *timer, uint64_t deadline_ns);
/* After the return the timer is not armed; its fire() may still be running on another CPU. */
void timer_cancel(struct timer *timer);
/* As timer_cancel, and waits until fire() is not running anywhere.  Not from fire() itself. */
void timer_cancel_sync(struct timer *timer);
/* Next deadline of this CPU, or TIMER_NEVER.  Cheap. */
uint64_t timer_next(void);
/* Main loop: runs what is due on this CPU. */
void timer_run(void);

#endif
