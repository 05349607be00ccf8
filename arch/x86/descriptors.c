/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/descriptors.h"

#include "arch/x86/cpu.h"
#include "arch/x86/hw/segment.h"

#define DESCRIPTOR_TSS 0x0000890000000000ull /* P, DPL 0, available 64-bit TSS */

static void fill_tss_descriptor(uint64_t gdt[2], const struct tss *tss)
{
    uint64_t base = (uintptr_t)tss;

    gdt[0] = DESCRIPTOR_TSS | (sizeof(*tss) - 1) | FIELD_PREP(BITS(39, 16), base) |
             FIELD_PREP(BITS(63, 56), base >> 24);
    gdt[1] = base >> 32;
}

void descriptors_load(struct cpu_tables *tables, const uint64_t ist_top[IST_COUNT])
{
    struct descriptor_pointer gdtr = {sizeof(tables->gdt) - 1, (uintptr_t)tables->gdt};

    tables->gdt[0] = 0;
    tables->gdt[SELECTOR_CODE / 8] = DESCRIPTOR_CODE64;
    tables->gdt[SELECTOR_DATA / 8] = DESCRIPTOR_DATA;
    fill_tss_descriptor(&tables->gdt[SELECTOR_TSS / 8], &tables->tss);
    for (unsigned i = 0; i < IST_COUNT; i++) {
        tables->tss.ist[i] = ist_top[i];
    }
    tables->tss.io_map = sizeof(struct tss);

    lgdt(&gdtr);
    /* CS by a far return, the rest by MOV. */
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %1, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs\n\t"
                     :
                     : "i"(SELECTOR_CODE), "i"(SELECTOR_DATA)
                     : "rax", "memory");
    lldt(0);
    ltr(SELECTOR_TSS);
}
