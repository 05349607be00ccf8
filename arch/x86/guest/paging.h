/* SPDX-License-Identifier: BSD-2-Clause */
/* Effects of control-register and MSR writes on the CPU that runs the vCPU (guest/cr.c,
 * guest/hardware.c). */
#ifndef SPILLWAY_ARCH_X86_GUEST_PAGING_H
#define SPILLWAY_ARCH_X86_GUEST_PAGING_H

#include "base/types.h"

struct vcpu;

/* The next entry flushes all translations of the vCPU: emulated writes of CR0, CR3, CR4 and EFER do
 * not flush by themselves. */
void guest_flush_translations(struct vcpu *vcpu);
/* Sets bits of DR6 that say why there is a debug exception.  vCPU loaded; VMX. */
void guest_debug_cause(uint64_t bits);
/* vcpu->msr_tsc_aux into the hardware; vCPU loaded. */
void guest_load_tsc_aux(struct vcpu *vcpu);
/* vcpu->xcr0 into the hardware; vCPU loaded; checked by the caller. */
void guest_load_xcr0(struct vcpu *vcpu);
/* CPU -> vcpu->xcr0.  vcpu loaded. */
void guest_store_xcr0(struct vcpu *vcpu);

#endif
