/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * x87, SSE and extended state of guests.
 *
 * The hypervisor itself never touches these registers (-mgeneral-regs-only), so they are switched
 * when a vCPU is loaded and put, not at every exit.  Between fpu_load() and fpu_put() the CPU holds
 * the guest's state and the guest's XCR0.
 *
 * Life: fpu_cpu_enable() once on each CPU; fpu_create, load and put as often as needed,
 * fpu_destroy.
 */
#ifndef SPILLWAY_ARCH_X86_GUEST_FPU_H
#define SPILLWAY_ARCH_X86_GUEST_FPU_H

#include "base/types.h"

struct vcpu;

/* Lets this CPU save and restore everything that guests may have: CR0, CR4, XCR0. */
void fpu_cpu_enable(void);
/* vcpu->fpu in its state after RESET, vcpu->xcr0 = 1.  False: out of memory. */
bool fpu_create(struct vcpu *vcpu);
void fpu_destroy(struct vcpu *vcpu);
/* Memory -> CPU.  The state of another vCPU in the CPU must have been saved. */
void fpu_load(struct vcpu *vcpu);
/* CPU -> memory. */
void fpu_put(struct vcpu *vcpu);

/*
 * One register of the vCPU that is loaded: an MMX register (8 bytes, and the x87 becomes what MMX
 * instructions make of it when it is written), or an XMM register with, where the CPU has it, the
 * upper half of its YMM register (32 bytes).
 */
void fpu_get_register(struct vcpu *vcpu, bool mmx, unsigned number, uint8_t bytes[32]);
void fpu_set_register(struct vcpu *vcpu, bool mmx, unsigned number, const uint8_t bytes[32]);
/* Clears what a ZMM register has above these 32 bytes. */
void fpu_clear_above(struct vcpu *vcpu, unsigned number);
/* Its XCR0; 0: the CPU has none. */
uint64_t fpu_xcr0(struct vcpu *vcpu);

#endif
