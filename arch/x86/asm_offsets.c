/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constants and structure offsets for NASM.  Never linked: compiled to assembly, from which the
 * Makefile takes the "->NAME value" lines for asm_offsets.inc.
 */
#include "arch/x86/descriptors.h"
#include "arch/x86/idt.h"
#include "arch/x86/trampoline.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/guest/vcpu.h"

#define DEFINE(name, value) __asm__ volatile("\n.ascii \"->" #name " %0\"" : : "i"(value))

#define GUEST_GPR(index) (offsetof(struct guest_registers, gpr) + 8 * (index))

void asm_offsets(void);

void asm_offsets(void)
{
    DEFINE(SELECTOR_DATA_VALUE, SELECTOR_DATA);

    DEFINE(FRAME_RIP, offsetof(struct interrupt_frame, rip));

    DEFINE(TRAMPOLINE_GDT_LIMIT, TRAMPOLINE_DATA + offsetof(struct trampoline, gdt_limit));
    DEFINE(TRAMPOLINE_FAR_POINTER, TRAMPOLINE_DATA + offsetof(struct trampoline, far_offset));
    DEFINE(TRAMPOLINE_PAGE_TABLE, TRAMPOLINE_DATA + offsetof(struct trampoline, page_table));
    DEFINE(TRAMPOLINE_EFER, TRAMPOLINE_DATA + offsetof(struct trampoline, efer));
    DEFINE(TRAMPOLINE_CR0, TRAMPOLINE_DATA + offsetof(struct trampoline, cr0));
    DEFINE(TRAMPOLINE_CR4, TRAMPOLINE_DATA + offsetof(struct trampoline, cr4));
    DEFINE(TRAMPOLINE_STACK, TRAMPOLINE_DATA + offsetof(struct trampoline, stack));
    DEFINE(TRAMPOLINE_PERCPU, TRAMPOLINE_DATA + offsetof(struct trampoline, percpu));
    DEFINE(TRAMPOLINE_CLAIM, TRAMPOLINE_DATA + offsetof(struct trampoline, claim));
    DEFINE(TRAMPOLINE_ENTRY, TRAMPOLINE_DATA + offsetof(struct trampoline, entry));

    /* {svm,vmx}/entry.asm */
    DEFINE(GUEST_RAX, GUEST_GPR(GPR_RAX));
    DEFINE(GUEST_RCX, GUEST_GPR(GPR_RCX));
    DEFINE(GUEST_RDX, GUEST_GPR(GPR_RDX));
    DEFINE(GUEST_RBX, GUEST_GPR(GPR_RBX));
    DEFINE(GUEST_RSP, GUEST_GPR(GPR_RSP));
    DEFINE(GUEST_RBP, GUEST_GPR(GPR_RBP));
    DEFINE(GUEST_RSI, GUEST_GPR(GPR_RSI));
    DEFINE(GUEST_RDI, GUEST_GPR(GPR_RDI));
    DEFINE(GUEST_R8, GUEST_GPR(GPR_R8));
    DEFINE(GUEST_R9, GUEST_GPR(GPR_R9));
    DEFINE(GUEST_R10, GUEST_GPR(GPR_R10));
    DEFINE(GUEST_R11, GUEST_GPR(GPR_R11));
    DEFINE(GUEST_R12, GUEST_GPR(GPR_R12));
    DEFINE(GUEST_R13, GUEST_GPR(GPR_R13));
    DEFINE(GUEST_R14, GUEST_GPR(GPR_R14));
    DEFINE(GUEST_R15, GUEST_GPR(GPR_R15));
    DEFINE(VMCS_HOST_RSP_FIELD, VMCS_HOST_RSP);
}
