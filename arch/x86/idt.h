/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts and exceptions of the hypervisor itself.
 *
 * One IDT for all CPUs.  An exception is a bug and ends in panic().  Interrupts are taken in
 * arch_take_interrupts() and arch_idle() only, so a handler interrupts nothing but those two.
 * NMI, #DF and #MC have stacks of their own (IST).
 */
#ifndef SPILLWAY_ARCH_X86_IDT_H
#define SPILLWAY_ARCH_X86_IDT_H

#include "base/types.h"

/* Vectors: 0x00-0x1f exceptions, 0x20-0x2f the masked 8259s, then what drivers get, then ours. */
#define VECTOR_PIC          0x20
#define VECTOR_DRIVER_FIRST 0x30
#define VECTOR_DRIVER_LAST  0xef
#define VECTOR_KICK         0xf0
#define VECTOR_TIMER        0xf1
#define VECTOR_APIC_ERROR   0xf2
#define VECTOR_SPURIOUS     0xff

/* What vectors.asm leaves on the stack. */
struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector;
    uint64_t error_code; /* 0 where the CPU pushes none */
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct interrupt_frame) == 22 * 8, "vectors.asm pushes this");

typedef void (*interrupt_handler)(void *owner);

/* Fills the table, once, on the boot CPU. */
void idt_init(void);
/* Loads IDTR of this CPU. */
void idt_load(void);
/* Handler of an interrupt vector, called with interrupts off; the EOI follows it. */
void interrupt_set_handler(unsigned vector, interrupt_handler handler, void *owner);
/*
 * Takes a pending NMI of the host through the IDT: for a backend that was told of one by an exit.
 * IRET at its end lets further NMIs in.
 */
void interrupt_take_nmi(void);
/* From vectors.asm. */
void interrupt_dispatch(struct interrupt_frame *frame);

#endif
