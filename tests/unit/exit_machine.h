/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU of either backend whose exits a test makes up.
 *
 * The backends run as they are.  VMREAD, VMWRITE and MOV DR trap in a process; the signal's handler
 * does them on a VMCS and on debug registers of its own, and counts what would have changed
 * something.
 */
#ifndef SPILLWAY_TESTS_UNIT_EXIT_MACHINE_H
#define SPILLWAY_TESTS_UNIT_EXIT_MACHINE_H

#include <setjmp.h>

#include "arch/x86/svm/vcpu.h"
#include "arch/x86/vmx/vcpu.h"
#include "hv/run/vcpu.h"

#define FIELDS 0x8000u

struct exit_machine {
    uint64_t vmcs[FIELDS]; /* by the field's encoding */
    struct vmcb vmcb;
    uint64_t dr6;
    unsigned changes; /* instructions that change the CPU's state */
    unsigned nmis, machine_checks, kicks;
    struct vcpu vcpu;
    struct vmx_vcpu vmx;
    struct svm_vcpu svm;
};

extern struct exit_machine machine;
/* Where a machine check goes. */
extern jmp_buf exit_machine_stopped;

/* The machine anew, with a vCPU of that backend. */
void exit_machine_reset(bool svm);

#endif
