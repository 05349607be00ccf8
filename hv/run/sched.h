/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: which vCPU runs on which CPU.
 *
 * One queue for the machine.  VMs share the CPUs by their weights and vCPUs share their VM's part,
 * as hv/fair.h has it; this file knows states, CPUs and whom to kick.  Time is charged at every
 * tick, not only when a vCPU leaves its CPU: one that is alone there must not find a debt when
 * others come.
 *
 * Inside its VM's turn a vCPU that only waits for a sibling gives way to it
 * (sched_yield_to_sibling), at no cost to other VMs.
 *
 * Lock: RANK_SCHED.
 */
#ifndef SPILLWAY_HV_RUN_SCHED_H
#define SPILLWAY_HV_RUN_SCHED_H

#include "base/types.h"
#include "hv/guest/vm.h"

struct vcpu;
struct vm;

/* Once, when the CPUs are up. */
void sched_init(unsigned cpus);
/* Before the VM's vCPUs are made.  Weight as shares: 1 .. 10000. */
void sched_add_vm(struct vm *vm, uint32_t weight);
void sched_add_vcpu(struct vcpu *vcpu);
/* Live. */
void sched_set_weight(struct vm *vm, uint32_t weight);

/* The next vCPU for this CPU, now RUNNING, its time counts from here; or NULL. */
struct vcpu *sched_pick(void);
/* Is there a runnable vCPU that nobody runs?  Unlocked hint. */
bool sched_waiting(void);
/* Is there one of the same VM?  Unlocked hint. */
static inline bool sched_sibling_waits(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->vm->share.waiting, __ATOMIC_RELAXED) != 0;
}

/* ---- of the vCPU that this CPU runs ---- */

/* Charges what it ran since the last tick. */
void sched_tick(struct vcpu *vcpu);
/* Shall it give way to one that waits?  Cheap. */
bool sched_should_yield(uint64_t now_ns);
/* The time at which this CPU asks that again at the latest, while others wait. */
uint64_t sched_slice_end(void);

/* RUNNING -> RUNNABLE: its slice is over.  This and those below: after backend->put(). */
void sched_yield(struct vcpu *vcpu);
/* Likewise, because it only waits for a sibling: those that wait come first; and when there is
 * none, other VMs. */
void sched_yield_to_sibling(struct vcpu *vcpu);
/* RUNNING -> SLEEPING unless something is pending for it by now (then RUNNABLE). */
void sched_sleep(struct vcpu *vcpu);
/* RUNNING -> PARKED unless its waiter was woken by now (then RUNNABLE). */
void sched_park(struct vcpu *vcpu);
/* RUNNING -> STOPPED. */
void sched_stop(struct vcpu *vcpu);

/* ---- of any vCPU ---- */

/* STOPPED -> RUNNABLE: the VM starts or resumes.  Of a vCPU that is not halted the pause counts as
 * a wait for a CPU. */
void sched_start(struct vcpu *vcpu);
/* SLEEPING -> RUNNABLE; RUNNING elsewhere: kicks it; RUNNABLE: it is wanted, and comes before its
 * siblings. */
void sched_notify(struct vcpu *vcpu);
/* It comes before its siblings.  False: it does not wait for a CPU. */
bool sched_prefer(struct vcpu *vcpu);
/* PARKED -> RUNNABLE; remembered when it is still RUNNING. */
void sched_unpark(struct vcpu *vcpu);
/* This CPU is about to idle (true) or works again (false): who to kick for a wake-up. */
void sched_set_idle(bool idle);

#endif
