/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel SDM volume 3C, "EPT Translation Mechanism", tables "Format of an EPT ... Entry". */
#include "arch/x86/vmx/ept_format.h"

#include "arch/x86/hw/paging.h"
#include "mm/table/descend.h"

#define EPT_READ     BIT(0)
#define EPT_WRITE    BIT(1)
#define EPT_EXEC     BIT(2)
#define EPT_PRESENT  (EPT_READ | EPT_WRITE | EPT_EXEC)
#define EPT_TYPE     BITS(5, 3) /* memory type of a leaf */
#define EPT_LARGE    BIT(7)
#define EPT_ACCESSED BIT(8)
#define EPT_DIRTY    BIT(9)
#define EPT_ADDRESS  BITS(51, 12)

/* Not present: bits 2:0 are clear and all others are ignored by hardware. */
#define EPT_ABSENT_KIND    BITS(6, 3)
#define EPT_ABSENT_PAYLOAD BITS(62, 7)

static uint64_t make_table(pfn_t table)
{
    return pfn_to_hpa(table).v | EPT_PRESENT;
}

static uint64_t make_leaf(pfn_t frame, unsigned level, unsigned flags)
{
    uint64_t entry = pfn_to_hpa(frame).v | EPT_READ | FIELD_PREP(EPT_TYPE, MEMORY_TYPE_WB);

    entry |= level > 1 ? EPT_LARGE : 0;
    entry |= flags & LEAF_WRITABLE ? EPT_WRITE : 0;
    entry |= flags & LEAF_EXEC ? EPT_EXEC : 0;
    entry |= flags & LEAF_ACCESSED ? EPT_ACCESSED : 0;
    entry |= flags & LEAF_DIRTY ? EPT_DIRTY : 0;
    return entry;
}

static uint64_t make_absent(unsigned kind, uint64_t payload)
{
    return FIELD_PREP(EPT_ABSENT_KIND, kind) | FIELD_PREP(EPT_ABSENT_PAYLOAD, payload);
}

static enum entry_class classify(uint64_t entry, unsigned level)
{
    if (!(entry & EPT_PRESENT)) {
        return ENTRY_ABSENT;
    }
    return level == 1 || (entry & EPT_LARGE) ? ENTRY_LEAF : ENTRY_TABLE;
}

static pfn_t entry_pfn(uint64_t entry, unsigned level)
{
    (void)level;
    return pfn(FIELD_GET(EPT_ADDRESS, entry));
}

static unsigned entry_flags(uint64_t entry)
{
    unsigned flags = 0;

    flags |= entry & EPT_WRITE ? LEAF_WRITABLE : 0;
    flags |= entry & EPT_EXEC ? LEAF_EXEC : 0;
    flags |= entry & EPT_ACCESSED ? LEAF_ACCESSED : 0;
    flags |= entry & EPT_DIRTY ? LEAF_DIRTY : 0;
    return flags;
}

static unsigned absent_kind(uint64_t entry)
{
    return (unsigned)FIELD_GET(EPT_ABSENT_KIND, entry);
}

static uint64_t absent_payload(uint64_t entry)
{
    return FIELD_GET(EPT_ABSENT_PAYLOAD, entry);
}

static uint64_t *descend(pfn_t root, gfn_t page, unsigned down, unsigned *level)
{
    return table_descend(classify, entry_pfn, root, page, down, level);
}

const struct table_format ept_format = {
    .name = "EPT",
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
    .accessed_bit = EPT_ACCESSED,
    .dirty_bit = EPT_DIRTY,
};
