/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_format.h"

#include "base/log.h"
#include "mm/table/descend.h"

#define FAKE_VALID      BIT(0) /* keeps a present entry from being 0 */
#define FAKE_ABSENT     BIT(2)
#define FAKE_NO_WRITE   BIT(4)
#define FAKE_NO_EXEC    BIT(5)
#define FAKE_TABLE      BIT(6)
#define FAKE_LEVEL      BITS(12, 10)
#define FAKE_DIRTY      BIT(15)
#define FAKE_ACCESSED   BIT(17)
#define FAKE_FRAME      BITS(63, 24)
#define FAKE_KIND       BITS(63, 60)
#define FAKE_PAYLOAD    BITS(59, 4)
#define FAKE_MUST_BE_0  (BIT(1) | BIT(3) | BITS(9, 7) | BITS(14, 13) | BIT(16) | BITS(23, 18))
#define FAKE_TABLE_ZERO (FAKE_NO_WRITE | FAKE_NO_EXEC | FAKE_DIRTY)

static uint64_t make_table(pfn_t table)
{
    return FIELD_PREP(FAKE_FRAME, table.v) | FAKE_TABLE | FAKE_VALID;
}

static uint64_t make_leaf(pfn_t first, unsigned level, unsigned flags)
{
    uint64_t entry = FIELD_PREP(FAKE_FRAME, first.v) | FIELD_PREP(FAKE_LEVEL, level) | FAKE_VALID;

    ASSERT(level >= 1 && level <= 3 && IS_ALIGNED(first.v, table_level_pages(level)));
    entry |= flags & LEAF_WRITABLE ? 0 : FAKE_NO_WRITE;
    entry |= flags & LEAF_EXEC ? 0 : FAKE_NO_EXEC;
    entry |= flags & LEAF_ACCESSED ? FAKE_ACCESSED : 0;
    entry |= flags & LEAF_DIRTY ? FAKE_DIRTY : 0;
    return entry;
}

static uint64_t make_absent(unsigned kind, uint64_t payload)
{
    ASSERT(kind <= ABSENT_KIND_MAX && payload <= ABSENT_PAYLOAD_MAX);
    if (kind == 0 && payload == 0) {
        return 0;
    }
    return FIELD_PREP(FAKE_KIND, kind) | FIELD_PREP(FAKE_PAYLOAD, payload) | FAKE_ABSENT;
}

static enum entry_class classify(uint64_t entry, unsigned level)
{
    ASSERT(level >= 1 && level <= TABLE_LEVELS);
    if (entry == 0 || (entry & FAKE_ABSENT)) {
        return ENTRY_ABSENT;
    }
    ASSERT((entry & FAKE_VALID) && !(entry & FAKE_MUST_BE_0));
    if (entry & FAKE_TABLE) {
        ASSERT(level > 1 && !(entry & FAKE_TABLE_ZERO));
        return ENTRY_TABLE;
    }
    ASSERT(FIELD_GET(FAKE_LEVEL, entry) == level);
    return ENTRY_LEAF;
}

static pfn_t entry_pfn(uint64_t entry, unsigned level)
{
    ASSERT(classify(entry, level) != ENTRY_ABSENT);
    return pfn(FIELD_GET(FAKE_FRAME, entry));
}

static unsigned entry_flags(uint64_t entry)
{
    unsigned flags = 0;

    flags |= entry & FAKE_NO_WRITE ? 0 : LEAF_WRITABLE;
    flags |= entry & FAKE_NO_EXEC ? 0 : LEAF_EXEC;
    flags |= entry & FAKE_ACCESSED ? LEAF_ACCESSED : 0;
    flags |= entry & FAKE_DIRTY ? LEAF_DIRTY : 0;
    return flags;
}

static unsigned absent_kind(uint64_t entry)
{
    ASSERT(entry == 0 || (entry & FAKE_ABSENT));
    return (unsigned)FIELD_GET(FAKE_KIND, entry);
}

static uint64_t absent_payload(uint64_t entry)
{
    /* Callers may look before they know the class, but nothing sensible shall come of it. */
    if (entry != 0 && !(entry & FAKE_ABSENT)) {
        return ABSENT_PAYLOAD_MAX;
    }
    return FIELD_GET(FAKE_PAYLOAD, entry);
}

static uint64_t *descend(pfn_t root, gfn_t page, unsigned down, unsigned *level)
{
    return table_descend(classify, entry_pfn, root, page, down, level);
}

const struct table_format fake_format = {
    .name = "fake",
    .levels = TABLE_LEVELS,
    .large_levels = 3,
    .nonleaf_accessed = false,
    .accessed_bit = FAKE_ACCESSED,
    .dirty_bit = FAKE_DIRTY,
    .make_table = make_table,
    .make_leaf = make_leaf,
    .make_absent = make_absent,
    .classify = classify,
    .pfn = entry_pfn,
    .flags = entry_flags,
    .absent_kind = absent_kind,
    .absent_payload = absent_payload,
    .descend = descend,
};
