/* SPDX-License-Identifier: BSD-2-Clause */
/* What both backends intercept, and which MSRs they leave to their guests. */
#ifndef SPILLWAY_ARCH_X86_GUEST_INTERCEPT_H
#define SPILLWAY_ARCH_X86_GUEST_INTERCEPT_H

#include "arch/x86/guest/event.h"

/*
 * #DB and #AC although their guest gets them: delivering one can raise the next, for ever, without
 * an interrupt being taken in between.
 */
#define INTERCEPT_EXCEPTIONS ((uint32_t)(BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC)))
/* While a vCPU steps one instruction: what that may raise, too. */
#define INTERCEPT_STEP ((uint32_t)VECTORS_FAULTS & ~INTERCEPT_EXCEPTIONS)

/* PAUSEs are in a loop if none is further from the last, in clocks. */
#define INTERCEPT_PAUSE_GAP 128u

/* MSRs that a guest reads and writes without an exit.  VMX switches the first of them when it loads
 * a vCPU and puts it; the others are in the VMCS, and all of them in the VMCB. */
#define INTERCEPT_MSRS_LOADED 5u
#define INTERCEPT_MSRS_PASSED 11u
extern const uint32_t intercept_msrs_passed[INTERCEPT_MSRS_PASSED];

#endif
