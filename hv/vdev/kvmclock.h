/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kvmclock: the guest reads time from its TSC and a page that says how
 * (Linux, Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_SYSTEM_TIME_NEW").
 *
 * Every vCPU of a VM gets the same line through the same point, so the stable
 * flag holds.  Time goes on while a VM is paused.  Functions may answer MM_WAIT: nothing that the
 * guest relies on has changed, call again.  Own CPU, no locks held.
 */
#ifndef SPILLWAY_HV_VDEV_KVMCLOCK_H
#define SPILLWAY_HV_VDEV_KVMCLOCK_H

#include "base/bits.h"
#include "mm/space/space.h"

struct vcpu;

#define KVMCLOCK_ENABLE BIT(0) /* of the system time MSR */

/* WRMSR to MSR_KVM_SYSTEM_TIME(_NEW): writes the page, then takes the value over into
 * vcpu->msr_kvm_system_time.  MM_NO_MEMSLOT: bad address, #GP. */
enum mm_result kvmclock_set_system_time(struct vcpu *vcpu, uint64_t value,
                                        struct mm_waiter *waiter);
/* WRMSR to MSR_KVM_WALL_CLOCK(_NEW), likewise. */
enum mm_result kvmclock_set_wall_clock(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter);
/* Writes the page again for another offset of the guest's TSC, before it takes effect.  Nothing to
 * do (MM_OK) when the guest has not enabled the clock. */
enum mm_result kvmclock_update(struct vcpu *vcpu, uint64_t tsc_offset, struct mm_waiter *waiter);
/* As kvmclock_update with the present offset; tries again by VCPU_REQUEST_CLOCK when the page is
 * not there. */
void kvmclock_refresh(struct vcpu *vcpu);

/* The vCPU, which is stopped, has been paused and goes on: its page will say so, and the guest's
 * watchdogs know that nothing has hung.  Locks below RANK_SCHED may be held. */
void kvmclock_paused(struct vcpu *vcpu);

/* Multiplier and shift of the pvclock ABI for a TSC of that frequency: ns = (tsc << shift) * mul
 * >> 32. */
void kvmclock_scale(uint64_t tsc_khz, uint32_t *multiplier, int8_t *shift);

#endif
