/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD APM volume 2, "Nested Paging": long-mode page tables.  Every access counts as a user one, so
 * PTE_U is needed at every level. */
#include "arch/x86/svm/npt_format.h"

#include "arch/x86/hw/paging.h"
#include "mm/table/descend.h"

/* Not present: bit 0 is clear and all others are ignored by hardware. */
#define NPT_ABSENT_KIND    BITS(4, 1)
#define NPT_ABSENT_PAYLOAD BITS(60, 5)

static uint64_t make_table(pfn_t table)
{
    return pfn_to_hpa(table).v | PTE_P | PTE_W | PTE_U;
}

static uint64_t make_leaf(pfn_t frame, unsigned level, unsigned flags)
{
    uint64_t entry = pfn_to_hpa(frame).v | PTE_P | PTE_U;

    entry |= level > 1 ? PTE_PS : 0;
    entry |= flags & LEAF_WRITABLE ? PTE_W : 0;
    entry |= flags & LEAF_EXEC ? 0 : PTE_NX;
    entry |= flags & LEAF_ACCESSED ? PTE_A : 0;
    entry |= flags & LEAF_DIRTY ? PTE_D : 0;
    return entry;
}

static uint64_t make_absent(unsigned kind, uint64_t payload)
{
    return FIELD_PREP(NPT_ABSENT_KIND, kind) | FIELD_PREP(NPT_ABSENT_PAYLOAD, payload);
}

static enum entry_class classify(uint64_t entry, unsigned level)
{
    if (!(entry & PTE_P)) {
        return ENTRY_ABSENT;
    }
    return level == 1 || (entry & PTE_PS) ? ENTRY_LEAF : ENTRY_TABLE;
}

static pfn_t entry_pfn(uint64_t entry, unsigned level)
{
    (void)level;
    return pfn(FIELD_GET(PTE_ADDRESS, entry));
}

static unsigned entry_flags(uint64_t entry)
{
    unsigned flags = 0;

    flags |= entry & PTE_W ? LEAF_WRITABLE : 0;
    flags |= entry & PTE_NX ? 0 : LEAF_EXEC;
    flags |= entry & PTE_A ? LEAF_ACCESSED : 0;
    flags |= entry & PTE_D ? LEAF_DIRTY : 0;
    return flags;
}

static unsigned absent_kind(uint64_t entry)
{
    return (unsigned)FIELD_GET(NPT_ABSENT_KIND, entry);
}

static uint64_t absent_payload(uint64_t entry)
{
    return FIELD_GET(NPT_ABSENT_PAYLOAD, entry);
}

static uint64_t *descend(pfn_t root, gfn_t page, unsigned down, unsigned *level)
{
    return table_descend(classify, entry_pfn, root, page, down, level);
}

const struct table_format npt_format = {
    .name = "NPT",
    .levels = TABLE_LEVELS,
    .large_levels = 3,
    .nonleaf_accessed = true,
    .make_table = make_table,
    .make_leaf = make_leaf,
    .make_absent = make_absent,
    .classify = classify,
    .pfn = entry_pfn,
    .flags = entry_flags,
    .absent_kind = absent_kind,
    .absent_payload = absent_payload,
    .descend = descend,
    .accessed_bit = PTE_A,
    .dirty_bit = PTE_D,
};
