/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Translations of an address space that CPUs may hold, and how they go away.
 *
 *   space->flush_gen      raised by whoever removes or narrows a mapping
 *   cpu guest_space/gen   what the CPU in the guest may be using
 *   vcpu->tlb_gen         generation that the vCPU's VPID/ASID was flushed for
 *
 * Entry (tlb_enter, called by backend->run right before the entry):
 *   guest_space = space; full fence; gen = flush_gen; if gen != vcpu->tlb_gen or the vCPU last ran
 *   elsewhere: flush the tag; guest_gen = gen.
 * Exit (tlb_leave): guest_space = NULL.
 * Shootdown: ++flush_gen; full fence; every other CPU whose guest_space is the space and whose
 *   guest_gen is older is kicked and waited for.
 * A kick that comes between tlb_enter and the entry makes the guest exit at once, since interrupts
 * are off and the interrupt stays pending.  Waiting is safe with any lock held: a CPU in a guest
 * needs no lock to leave it, and a CPU in the hypervisor is not waited for.  On VMX it is bounded
 * even if the kick gets lost, by the longest stay in a guest (GUEST_STAY_MAX_NS).
 */
#ifndef SPILLWAY_HV_TLB_H
#define SPILLWAY_HV_TLB_H

#include "base/types.h"

struct vcpu;

/* True: the caller must flush every translation tagged with this vCPU (VPID and EPTP, or ASID)
 * before it enters.  Interrupts off; no exit path may skip tlb_leave. */
bool tlb_enter(struct vcpu *vcpu);
/* First thing after an exit. */
void tlb_leave(void);

#endif
