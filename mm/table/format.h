/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: what a second-level table entry looks like.  Supplied by arch/x86/vmx/ept_format.c,
 * arch/x86/svm/npt_format.c and tests/unit/fake_format.c.
 *
 * All functions but descend() are pure.
 *
 * An entry is 64 bits; a table has 512 of them; level 1 decides 4 KiB, level 2 2 MiB, level 3
 * 1 GiB, level 4 512 GiB.  An entry is one of
 *     TABLE   points to a table of the next lower level
 *     LEAF    maps a frame (level 1) or a naturally aligned block of frames (level 2, 3)
 *     ABSENT  an access faults; 4 bits of kind and 56 bits of payload belong to software
 * The entry 0 is ABSENT of kind 0, payload 0.
 *
 * Hardware sets the accessed flag of TABLE and LEAF entries and the dirty flag of LEAF entries at
 * any moment: change a live entry only with the atomic helpers of mm/table/table.h.
 */
#ifndef SPILLWAY_MM_TABLE_FORMAT_H
#define SPILLWAY_MM_TABLE_FORMAT_H

#include "base/bits.h"
#include "base/types.h"

#define TABLE_INDEX_BITS 9u
#define TABLE_ENTRIES    512u
#define TABLE_LEVELS     4u

enum entry_class {
    ENTRY_ABSENT,
    ENTRY_TABLE,
    ENTRY_LEAF,
};

#define LEAF_WRITABLE BIT(0)
#define LEAF_EXEC     BIT(1)
#define LEAF_ACCESSED BIT(2)
#define LEAF_DIRTY    BIT(3)

#define ABSENT_KIND_MAX    15u
#define ABSENT_PAYLOAD_MAX BITS(55, 0)

struct table_format {
    const char *name;
    unsigned levels;       /* TABLE_LEVELS */
    unsigned large_levels; /* highest level that may hold a LEAF */
    bool nonleaf_accessed; /* hardware sets the accessed flag of TABLE entries too */
    /* The bit of each flag that hardware sets, the same at all levels, in a TABLE and in a LEAF. */
    uint64_t accessed_bit;
    uint64_t dirty_bit;

    /* All rights, accessed is clear. */
    uint64_t (*make_table)(pfn_t table);
    /* Readable, write-back; flags: LEAF_*.  `first` is aligned to the size of the level. */
    uint64_t (*make_leaf)(pfn_t first, unsigned level, unsigned flags);
    uint64_t (*make_absent)(unsigned kind, uint64_t payload);

    enum entry_class (*classify)(uint64_t entry, unsigned level);
    /* Of a TABLE or LEAF. */
    pfn_t (*pfn)(uint64_t entry, unsigned level);
    /* LEAF_* of a LEAF; of a TABLE only LEAF_ACCESSED has a meaning. */
    unsigned (*flags)(uint64_t entry);
    /* Of an ABSENT. */
    unsigned (*absent_kind)(uint64_t entry);
    uint64_t (*absent_payload)(uint64_t entry);

    /* From the table at `root` down to the page's entry at level `down`, or to the one above that
     * decides it: mm/table/descend.h.  *level is where that is. */
    uint64_t *(*descend)(pfn_t root, gfn_t page, unsigned down, unsigned *level);
};

/* Pages (4 KiB) that one entry of the level decides. */
static inline uint64_t table_level_pages(unsigned level)
{
    return 1ull << (TABLE_INDEX_BITS * (level - 1));
}

#endif
