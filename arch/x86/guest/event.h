/* SPDX-License-Identifier: BSD-2-Clause */
/* Prepares an event for its injection, for both backends. */
#ifndef SPILLWAY_ARCH_X86_GUEST_EVENT_H
#define SPILLWAY_ARCH_X86_GUEST_EVENT_H

#include "arch/x86/cpu.h"
#include "hv/guest/vcpu.h"

/* The exceptions that are faults, but for #DB. */
#define VECTORS_FAULTS                                                                             \
    (BIT(VECTOR_DE) | BIT(VECTOR_BR) | BIT(VECTOR_UD) | BIT(VECTOR_NM) | BIT(VECTOR_TS) |          \
     BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) | BIT(VECTOR_PF) | BIT(VECTOR_MF) |          \
     BIT(VECTOR_AC) | BIT(VECTOR_XM) | BIT(VECTOR_VE) | BIT(VECTOR_CP))

/* Sets RF in the flags that a fault pushes, since an entry does not.  Else a breakpoint at the
 * instruction would stop it once more when the handler returns: SDM Vol. 3B 17.3.1.1
 * "Instruction-Breakpoint Exception Condition". */
static inline void guest_set_resume_flag(struct vcpu *vcpu)
{
    if (vcpu->event.type == EVENT_EXCEPTION && (VECTORS_FAULTS >> vcpu->event.vector & 1)) {
        vcpu->regs.rflags |= RFLAGS_RF;
    }
}

#endif
