/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Steal time: the guest sees in a word of its memory how long its vCPU has wanted a CPU in vain,
 * and whether it is without one now (Linux, Documentation/virt/kvm/x86/msr.rst,
 * "MSR_KVM_STEAL_TIME").  What it waited for memory counts, too, and while its VM was paused: the
 * guest's clocks went on, and the process that has been on the CPU shall not pay for that.
 *
 *     runs:        preempted = 0    a sibling that wants translations flushed sends an interrupt
 *     does not:    preempted = 1    ... or sets FLUSH there, and does not wait: we flush when it
 *                                   comes to run (cpuid.rst, KVM_FEATURE_PV_TLB_FLUSH)
 *
 * The word's page is pinned while it is in use.  Own CPU, no locks held.
 */
#ifndef SPILLWAY_HV_VDEV_KVMSTEAL_H
#define SPILLWAY_HV_VDEV_KVMSTEAL_H

#include "mm/space/space.h"

struct vcpu;

/* WRMSR to MSR_KVM_STEAL_TIME.  MM_NO_MEMSLOT: bad address, #GP.  MM_WAIT: nothing has changed. */
enum mm_result kvmsteal_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter);
/* The vCPU, which is loaded, is about to run, or has run. */
void kvmsteal_begin_run(struct vcpu *vcpu);
void kvmsteal_end_run(struct vcpu *vcpu);
/* As after power-on; at INIT, and before the vCPU is destroyed. */
void kvmsteal_release(struct vcpu *vcpu);

#endif
