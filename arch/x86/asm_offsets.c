/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Constants and structure offsets for NASM.  Never linked: compiled to assembly, from which the
 * Makefile takes the "->NAME value" lines for asm_offsets.inc.
 */
#include "arch/x86/descriptors.h"
#include "arch/x86/idt.h"
#include "arch/x86/trampoline.h"

#define DEFINE(name, value) __asm__ volatile("\n.ascii \"->" #name " %0\"" : : "i"(value))

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
    DEFINE(TRAMPOLINE_ENTRY, TRAMPOLINE_DATA + offsetof(struct trampoline, entry));
}
