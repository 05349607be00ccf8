/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD APM volume 2, "Nested Paging": long-mode page tables; every access counts as a user one. */
#include "arch/x86/svm/npt_format.h"

#define NPT_PRESENT  BIT(0)
#define NPT_WRITE    BIT(1)
#define NPT_USER     BIT(2) /* needed at every level */
#define NPT_ACCESSED BIT(5)
#define NPT_DIRTY    BIT(6)
#define NPT_LARGE    BIT(7)
#define NPT_ADDRESS  BITS(51, 12)
#define NPT_NX       BIT(63)

/* Not present: bit 0 is clear and all others are ignored by hardware. */
#define NPT_ABSENT_KIND    BITS(4, 1)
#define NPT_ABSENT_PAYLOAD BITS(60, 5)

static uint64_t make_table(pfn_t table)
{
    return pfn_to_hpa(table).v | NPT_PRESENT | NPT_WRITE | NPT_USER;
}

static uint64_t make_leaf(pfn_t frame, unsigned level, unsigned flags)
{
    uint64_t entry = pfn_to_hpa(frame).v | NPT_PRESENT | NPT_USER;

    entry |= level > 1 ? NPT_LARGE : 0;
    entry |= flags & LEAF_WRITABLE ? NPT_WRITE : 0;
    entry |= flags & LEAF_EXEC ? 0 : NPT_NX;
    entry |= flags & LEAF_ACCESSED ? NPT_ACCESSED : 0;
    entry |= flags & LEAF_DIRTY ? NPT_DIRTY : 0;
    return entry;
}

static uint64_t make_absent(unsigned kind, uint64_t payload)
{
    return FIELD_PREP(NPT_ABSENT_KIND, kind) | FIELD_PREP(NPT_ABSENT_PAYLOAD, payload);
}

static enum entry_class classify(uint64_t entry, unsigned level)
{
    if (!(entry & NPT_PRESENT)) {
        return ENTRY_ABSENT;
    }
    return level == 1 || (entry & NPT_LARGE) ? ENTRY_LEAF : ENTRY_TABLE;
}

static pfn_t entry_pfn(uint64_t entry, unsigned level)
{
    (void)level;
    return pfn(FIELD_GET(NPT_ADDRESS, entry));
}

static unsigned entry_flags(uint64_t entry)
{
    unsigned flags = 0;

    flags |= entry & NPT_WRITE ? LEAF_WRITABLE : 0;
    flags |= entry & NPT_NX ? 0 : LEAF_EXEC;
    flags |= entry & NPT_ACCESSED ? LEAF_ACCESSED : 0;
    flags |= entry & NPT_DIRTY ? LEAF_DIRTY : 0;
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
    .accessed_bit = NPT_ACCESSED,
    .dirty_bit = NPT_DIRTY,
};
