/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/paging.h"

#include "arch/x86/cpu.h"
#include "base/log.h"

#define POOL_PAGES         16
#define ENTRIES            512
#define LARGE_PAGE         (2ull << 20)
#define DIRECT_ALWAYS      (4ull << 30) /* the direct map covers at least this */
#define LEVEL_SHIFT(l)     (12 + 9 * ((l)-1))
#define LEVEL_INDEX(va, l) ((va) >> LEVEL_SHIFT(l) & (ENTRIES - 1))

static const struct handover *handover;
static uint64_t root; /* physical */
static unsigned top_level;
static uint64_t next_va = PAGING_WINDOW_BASE;
static uint64_t pool[POOL_PAGES][ENTRIES] __attribute__((aligned(4096)));
static unsigned pool_used;

void paging_init(const struct handover *given)
{
    handover = given;
    root = handover->page_table & PTE_ADDRESS;
    top_level = read_cr4() & CR4_LA57 ? 5 : 4;
}

uint64_t paging_root(void)
{
    return root;
}

void *arch_ptr(hpa_t address)
{
    return (void *)(HANDOVER_DIRECT_BASE + address.v);
}

hpa_t paging_image_address(const void *p)
{
    return hpa(handover->image_address + ((uintptr_t)p - HANDOVER_IMAGE_BASE));
}

bool paging_direct_covers(hpa_t address, uint64_t bytes)
{
    uint64_t end = address.v + bytes;

    if (end < address.v) {
        return false;
    }
    if (end <= DIRECT_ALWAYS) {
        return true;
    }
    for (uint32_t i = 0; i < handover->range_count; i++) {
        const struct handover_range *r = &handover->range[i];

        if (r->kind != HANDOVER_DEVICE && address.v >= r->base &&
            end <= r->base + r->pages * PAGE_SIZE) {
            return true;
        }
    }
    return false;
}

static uint64_t *table_of(uint64_t entry)
{
    return arch_ptr(hpa(entry & PTE_ADDRESS));
}

/* The entry for `va` at `level`, with tables above it made as needed.  NULL: the pool is empty, or
 * a large page is in the way. */
static uint64_t *entry_for(uint64_t va, unsigned level)
{
    uint64_t *table = table_of(root);

    for (unsigned l = top_level; l > level; l--) {
        uint64_t *entry = &table[LEVEL_INDEX(va, l)];

        if (!(*entry & PTE_P)) {
            if (pool_used == POOL_PAGES) {
                return NULL;
            }
            *entry = paging_image_address(pool[pool_used++]).v | PTE_P | PTE_W | PTE_A;
        } else if (l < 4 && *entry & PTE_PS) {
            return NULL;
        }
        table = table_of(*entry);
    }
    return &table[LEVEL_INDEX(va, level)];
}

static bool map_run(uint64_t va, uint64_t address, uint64_t end, uint64_t flags)
{
    while (address < end) {
        bool large = IS_ALIGNED(address, LARGE_PAGE) && IS_ALIGNED(va, LARGE_PAGE) &&
                     end - address >= LARGE_PAGE;
        uint64_t *entry = entry_for(va, large ? 2 : 1);

        if (entry == NULL) {
            return false;
        }
        *entry = address | flags | (large ? PTE_PS : 0);
        va += large ? LARGE_PAGE : PAGE_SIZE;
        address += large ? LARGE_PAGE : PAGE_SIZE;
    }
    return true;
}

volatile void *paging_map(hpa_t address, uint64_t bytes, enum paging_kind kind)
{
    uint64_t begin = ALIGN_DOWN(address.v, PAGE_SIZE);
    uint64_t end = ALIGN_UP(address.v + bytes, PAGE_SIZE);
    /* PWT and PCD both set select PAT3, UC in the PAT that start.c loads. */
    uint64_t flags =
        PTE_P | PTE_W | PTE_NX | PTE_A | PTE_D | (kind == PAGING_DEVICE ? PTE_PWT | PTE_PCD : 0);
    uint64_t va = next_va + PAGE_SIZE; /* the guard page */

    if (bytes == 0 || end <= begin) {
        return NULL;
    }
    if (end - begin >= LARGE_PAGE) {
        /* The same offset in a large page as the address has, so that large pages fit. */
        va = ALIGN_UP(va, LARGE_PAGE) + (begin & (LARGE_PAGE - 1));
    }
    if (!map_run(va, begin, end, flags)) {
        return NULL;
    }
    next_va = va + (end - begin);
    return (volatile void *)(va + (address.v - begin));
}

volatile void *arch_map_mmio(hpa_t address, uint64_t bytes)
{
    return paging_map(address, bytes, PAGING_DEVICE);
}

bool paging_lookup(uint64_t va, hpa_t *address)
{
    uint64_t entry = root;

    for (unsigned l = top_level; l >= 1; l--) {
        uint64_t offset = BIT(LEVEL_SHIFT(l)) - 1;

        entry = table_of(entry)[LEVEL_INDEX(va, l)];
        if (!(entry & PTE_P)) {
            return false;
        }
        if (l == 1 || (l < 4 && entry & PTE_PS)) {
            *address = hpa((entry & PTE_ADDRESS & ~offset) | (va & offset));
            return true;
        }
    }
    return false;
}

void paging_flush(void)
{
    uint64_t cr4 = read_cr4();

    /* Changing CR4.PGE drops global translations too: SDM 4.10.4.1 "Operations that Invalidate TLBs
     * and Paging-Structure Caches". */
    write_cr4(cr4 ^ CR4_PGE);
    write_cr4(cr4);
    write_cr3(root);
}

void paging_remove_identity(void)
{
    uint64_t *table = table_of(root);

    for (unsigned i = 0; i < ENTRIES / 2; i++) {
        table[i] = 0;
    }
    paging_flush();
}

/* Pages below this table that are writable and executable; `allowed` is what all levels above
 * allow. */
static uint64_t count_wx(const uint64_t *table, unsigned level, uint64_t allowed)
{
    uint64_t bad = 0;

    for (unsigned i = level == top_level ? ENTRIES / 2 : 0; i < ENTRIES; i++) {
        uint64_t entry = table[i];
        /* NX is turned round, so that both are permissions that each level can take away. */
        uint64_t rights = allowed & (entry ^ PTE_NX);

        if (!(entry & PTE_P) || rights != (PTE_W | PTE_NX)) {
            continue;
        }
        if (level == 1 || (level < 4 && entry & PTE_PS)) {
            bad++;
        } else {
            bad += count_wx(table_of(entry), level - 1, rights);
        }
    }
    return bad;
}

void paging_check_wx(void)
{
    uint64_t bad = count_wx(table_of(root), top_level, PTE_W | PTE_NX);

    if (bad != 0) {
        panic("%lu pages of the hypervisor are both writable and executable", bad);
    }
}
