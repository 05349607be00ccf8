/* SPDX-License-Identifier: BSD-2-Clause */
/* Intercepts of both backends, and the MSRs that they leave to their guests. */
#ifndef SPILLWAY_ARCH_X86_GUEST_INTERCEPT_H
#define SPILLWAY_ARCH_X86_GUEST_INTERCEPT_H

#include "arch/x86/guest/event.h"

/*
 * #DB and #AC exit although the guest gets them: delivering one can raise the next, for ever, and
 * no interrupt is taken in between.
 */
#define INTERCEPT_EXCEPTIONS ((uint32_t)(BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC)))
/* These exit too while a vCPU steps one instruction: all that it may raise. */
#define INTERCEPT_STEP ((uint32_t)VECTORS_FAULTS & ~INTERCEPT_EXCEPTIONS)

/* PAUSEs count as a loop if each comes within so many clocks of the last. */
#define INTERCEPT_PAUSE_GAP 128u

/* MSRs that a guest reads and writes without an exit.  VMX switches the first of them when it loads
 * a vCPU and puts it; the others are in the VMCS, and all of them in the VMCB. */
#define INTERCEPT_MSRS_LOADED 5u
#define INTERCEPT_MSRS_PASSED 11u
extern const uint32_t intercept_msrs_passed[INTERCEPT_MSRS_PASSED];

#endif
