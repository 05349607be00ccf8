/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page below 1 MiB in which a started CPU begins: code of trampoline.asm at its start, and this
 * at its end.  One CPU at a time: whoever comes first after `claim` was set takes it, and one that
 * comes too late, when nobody waits for it any more, finds it 0 and halts in the page.
 */
#ifndef SPILLWAY_ARCH_X86_TRAMPOLINE_H
#define SPILLWAY_ARCH_X86_TRAMPOLINE_H

#include <stddef.h>
#include <stdint.h>

#define TRAMPOLINE_DATA 0xf00 /* offset of the struct in the page */

struct trampoline {
    uint16_t gdt_limit;
    uint32_t gdt_base; /* of gdt[] below, physical */
    uint16_t reserved_06;
    uint32_t far_offset; /* operand of the jump to long mode */
    uint16_t far_selector;
    uint16_t reserved_0e;
    uint64_t gdt[3];
    uint64_t page_table; /* below 4 GiB */
    uint64_t efer, cr4, cr0;
    uint64_t stack;
    uint64_t percpu;
    uint64_t entry;
    uint32_t claim; /* 1: a CPU may come; it swaps that for 0 before it does anything else */
} __attribute__((packed));
_Static_assert(offsetof(struct trampoline, claim) % 4 == 0, "exchanged atomically");
_Static_assert(sizeof(struct trampoline) <= 0x100, "fits behind the code");

/* The code, in .rodata, to be copied. */
extern const uint8_t trampoline_start[], trampoline_end[];
/* Offset of its 64-bit part from its start. */
extern const uint8_t trampoline_long_mode[];

#endif
