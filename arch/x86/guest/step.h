/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SPILLWAY_ARCH_X86_GUEST_STEP_H
#define SPILLWAY_ARCH_X86_GUEST_STEP_H

#include "arch/x86/guest/guest.h"

/*
 * The instruction at RIP touches `at`, where nothing is: its next execution finds ones there.
 * GUEST_OK, GUEST_RETRY: enter the guest; GUEST_PARK: memory is short; GUEST_FAIL: a device is
 * there, or the instruction touches too many such pages.  Nothing is pending in vcpu->event.
 */
enum guest_result guest_step_over(struct vcpu *vcpu, gpa_t at);

#endif
