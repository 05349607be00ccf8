/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables for the hypervisor's first instructions.
 *
 *   PML4[0..]    identity, executable ---+
 *   PML4[256..]  direct map, NX       ---+--> the same page directory pointer tables
 *   PML4[511]    image, 4 KiB pages, by segment
 *
 * The first 4 GiB are mapped by 2 MiB pages, since a 1 GiB page there would span memory types (SDM
 * volume 3, section 12.11.9, Large Page Size Considerations); above, 1 GiB pages where the CPU has
 * them.
 */
#include "arch/x86/hw/cpuid.h"
#include "arch/x86/hw/msr.h"
#include "arch/x86/hw/paging.h"
#include "arch/x86/hw/registers.h"
#include "boot/loader.h"

#define GIB          (1ull << 30)
#define MIB2         (2ull << 20)
#define PML4_SHIFT   39
#define DIRECT_INDEX ((HANDOVER_DIRECT_BASE >> PML4_SHIFT) & 511)

static bool have_1gb;

static uint64_t *table_new(void)
{
    return pages_alloc(1, 0);
}

static uint64_t *table_at(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & PTE_ADDRESS);
}

/* The table below an entry, made when it is not there yet. */
static uint64_t *table_next(uint64_t *entry)
{
    if (*entry == 0) {
        *entry = (uint64_t)(uintptr_t)table_new() | PTE_P | PTE_W;
    }
    return table_at(*entry);
}

static void detect_features(void)
{
    uint32_t out[4];

    cpuid(0x80000001, 0, out);
    if (!(out[3] & CPUID_81_EDX_NX)) {
        loader_fail("loader",
                    "spillway: this CPU lacks: NX (CPUID 80000001 EDX bit 20), or the firmware has "
                    "switched it off");
    }
    have_1gb = out[3] & CPUID_81_EDX_PAGE1GB;
}

static void map_identity_gib(uint64_t *pml4, uint64_t base)
{
    uint64_t *pdpt = table_next(&pml4[base >> PML4_SHIFT]);
    uint64_t *slot = &pdpt[(base / GIB) & 511];

    if (have_1gb && base >= 4 * GIB) {
        *slot = base | PTE_P | PTE_W | PTE_PS;
        return;
    }
    uint64_t *directory = table_next(slot);
    for (unsigned i = 0; i < 512; i++) {
        directory[i] = (base + i * MIB2) | PTE_P | PTE_W | PTE_PS;
    }
}

static void map_image_page(uint64_t *pml4, uint64_t address, uint64_t entry)
{
    uint64_t *pdpt = table_next(&pml4[(address >> PML4_SHIFT) & 511]);
    uint64_t *directory = table_next(&pdpt[(address >> 30) & 511]);
    uint64_t *table = table_next(&directory[(address >> 21) & 511]);

    table[(address >> 12) & 511] = entry;
}

static void map_segment(uint64_t *pml4, const struct image_segment *segment)
{
    uint64_t flags = PTE_P | (segment->writable ? PTE_W : 0) | (segment->executable ? 0 : PTE_NX);

    for (uint64_t i = 0; i < segment->pages; i++) {
        map_image_page(pml4, segment->address + i * PAGE_BYTES,
                       (segment->physical + i * PAGE_BYTES) | flags);
    }
}

void tables_build(const struct image *image, uint64_t top)
{
    /* A CPU that starts loads CR3 by a 32-bit move (arch/x86/trampoline.asm). */
    uint64_t *pml4 = pages_alloc(1, 4 * GIB - 1);
    uint64_t *firmware = table_new();

    detect_features();
    if (top > DIRECT_INDEX << PML4_SHIFT) {
        loader_fail("loader", "spillway: RAM ends at %lx: more than the direct map holds", top);
    }
    for (uint64_t base = 0; base < top; base += GIB) {
        map_identity_gib(pml4, base);
    }
    /* NX in an upper entry covers all that is below it (SDM volume 3, section 4.6, Access Rights).
     */
    for (unsigned i = 0; i < DIRECT_INDEX && pml4[i] != 0 && DIRECT_INDEX + i < 511; i++) {
        pml4[DIRECT_INDEX + i] = pml4[i] | PTE_NX;
    }
    for (unsigned i = 0; i < image->count; i++) {
        map_segment(pml4, &image->segment[i]);
    }
    memcpy(firmware, pml4, PAGE_BYTES);
    loader.handover->page_table = (uint64_t)(uintptr_t)pml4;
    loader.handover->firmware_page_table = (uint64_t)(uintptr_t)firmware;

    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    if (cr4 & CR4_LA57) {
        loader_fail("loader", "spillway: the firmware left 5-level paging on, expected 4-level");
    }
}

static void enable_protection(void)
{
    uint64_t cr0, cr4;
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_EFER));
    __asm__ volatile("wrmsr" : : "a"(low | EFER_NXE), "d"(high), "c"(MSR_EFER));
    /* No translation of the firmware's tables may survive as a global one. */
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 & ~(CR4_PGE | CR4_PCIDE)) : "memory");
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | CR0_WP) : "memory");
}

void tables_enter(void)
{
    uint64_t handover = HANDOVER_DIRECT_BASE + (uint64_t)(uintptr_t)loader.handover;

    enable_protection();
    /* RSP as after a call, so that the entry point may be C: 8 below a multiple of 16. */
    __asm__ volatile("cli\n\t"
                     "cld\n\t"
                     "mov %0, %%cr3\n\t"
                     "mov %1, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "push %%rbp\n\t"
                     "jmp *%2"
                     :
                     : "r"(loader.handover->page_table), "r"(loader.stack), "r"(loader.entry),
                       "D"(handover)
                     : "memory");
    __builtin_unreachable();
}
