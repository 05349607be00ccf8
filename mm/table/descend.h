/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way down to a page's entry, for the formats: each has it with its own classify() and pfn()
 * inlined, which is half of what calls by pointer at every level cost.
 */
#ifndef SPILLWAY_MM_TABLE_DESCEND_H
#define SPILLWAY_MM_TABLE_DESCEND_H

#include "mm/env.h"
#include "mm/table/table.h"

/* Of the entry in its table, at that level. */
static inline unsigned table_index(uint64_t page, unsigned level)
{
    return (unsigned)(page >> (TABLE_INDEX_BITS * (level - 1))) & (TABLE_ENTRIES - 1);
}

/* As struct table_format's descend(). */
static inline __attribute__((always_inline)) uint64_t *
table_descend(enum entry_class (*classify)(uint64_t, unsigned), pfn_t (*pfn_of)(uint64_t, unsigned),
              pfn_t root, gfn_t page, unsigned down, unsigned *level)
{
    uint64_t *entries = (uint64_t *)mm_frame_ptr(root);

    for (unsigned at = TABLE_LEVELS; at > down; at--) {
        uint64_t *entry = &entries[table_index(page.v, at)];
        uint64_t value = table_entry_get(entry);

        if (classify(value, at) != ENTRY_TABLE) {
            *level = at;
            return entry;
        }
        entries = (uint64_t *)mm_frame_ptr(pfn_of(value, at));
    }
    *level = down;
    return &entries[table_index(page.v, down)];
}

#endif
