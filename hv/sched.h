/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: which vCPU runs on which CPU.
 *
 * One queue for the machine, the least virtual run time first, with a small
 * preference for the CPU that a vCPU ran on last.  A vCPU that wakes is not
 * given credit for more than one slice of sleep, but takes the CPU from one
 * that has run more: whoever waits for pages computes little and waits often.
 * Lock: RANK_SCHED.
 */
#ifndef SPILLWAY_HV_SCHED_H
#define SPILLWAY_HV_SCHED_H

#include "base/types.h"

struct vcpu;

#define SCHED_SLICE_NS 10000000ull

/* The next vCPU for this CPU, now RUNNING; or NULL. */
struct vcpu *sched_pick(void);
/* Is there a runnable vCPU that nobody runs?  Unlocked hint. */
bool sched_waiting(void);
/* STOPPED -> RUNNABLE: the VM starts or resumes. */
void sched_start(struct vcpu *vcpu);
/* RUNNING -> RUNNABLE: its slice is over.  After backend->put(). */
void sched_yield(struct vcpu *vcpu);
/* RUNNING -> SLEEPING unless something is pending for it by now (then RUNNABLE). */
void sched_sleep(struct vcpu *vcpu);
/* RUNNING -> PARKED unless its waiter was woken by now (then RUNNABLE). */
void sched_park(struct vcpu *vcpu);
/* RUNNING -> STOPPED. */
void sched_stop(struct vcpu *vcpu);
/* SLEEPING -> RUNNABLE; RUNNING elsewhere: kicks it. */
void sched_notify(struct vcpu *vcpu);
/* PARKED -> RUNNABLE; remembered when it is still RUNNING. */
void sched_unpark(struct vcpu *vcpu);
/* Adds to its run time.  From its own CPU. */
void sched_account(struct vcpu *vcpu, uint64_t ns);
/* This CPU is about to idle (true) or works again (false): who to kick for a wake-up. */
void sched_set_idle(bool idle);
/* Shall this CPU give up its vCPU for one that waits?  Cheap. */
bool sched_should_yield(uint64_t ran_ns);

#endif
