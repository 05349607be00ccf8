/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table compared with a plain array: some 2 MiB regions, spread over the address space, of which
 * the array says what each page is.  For the suites of mm/table/table.c, which include it once.
 */
#ifndef SPILLWAY_TESTS_UNIT_TABLE_MODEL_H
#define SPILLWAY_TESTS_UNIT_TABLE_MODEL_H

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "mm/table/table.h"
#include "tests/unit/support.h"

#define REGION_PAGES 512u
#define MODEL_PAGES  (ARRAY_SIZE(region_base) * REGION_PAGES)
#define RIGHTS       (LEAF_WRITABLE | LEAF_EXEC)

/* Neighbours, the same upper tables, other upper tables, first and last. */
static const uint64_t region_base[] = {
    0, 0x200, 0x400, 0x3fe00, 0x40000, 0x8000000, 0x123456600, TABLE_GFN_LIMIT - 0x200,
};

/* What a page is: a leaf of that frame with those rights, or an absent entry's kind and payload. */
struct page_model {
    bool leaf;
    bool dirty; /* the entry must say so; it may say so if it is not */
    unsigned rights;
    unsigned kind;
    uint64_t value; /* frame, or payload */
};

static inline gfn_t model_gfn(unsigned page)
{
    return gfn(region_base[page / REGION_PAGES] + page % REGION_PAGES);
}

/* Where the walker finds the pages of tables: live memory, or a copy. */
typedef uint64_t *model_pointer(pfn_t frame);

static inline uint64_t *model_live(pfn_t frame)
{
    return mm_frame_ptr(frame);
}

/* As hardware walks: an own loop, not the engine's. */
static inline uint64_t *model_walk(const struct table *table, model_pointer *at, gfn_t page,
                                   unsigned *level)
{
    pfn_t self = table->root;

    for (*level = TABLE_LEVELS;; (*level)--) {
        uint64_t *entry = at(self) + (page.v >> (9 * (*level - 1)) & 511);

        if (table->format->classify(*entry, *level) != ENTRY_TABLE) {
            return entry;
        }
        self = table->format->pfn(*entry, *level);
    }
}

static inline struct page_model model_look(const struct table *table, model_pointer *at, gfn_t page)
{
    const struct table_format *f = table->format;
    unsigned level;
    uint64_t entry = *model_walk(table, at, page, &level);

    if (f->classify(entry, level) == ENTRY_LEAF) {
        return (struct page_model){.leaf = true,
                                   .dirty = f->flags(entry) & LEAF_DIRTY,
                                   .rights = f->flags(entry) & RIGHTS,
                                   .value = f->pfn(entry, level).v +
                                            (page.v & (table_level_pages(level) - 1))};
    }
    return (struct page_model){.kind = f->absent_kind(entry), .value = f->absent_payload(entry)};
}

static inline bool model_same(struct page_model is, struct page_model wanted)
{
    return is.leaf == wanted.leaf && is.rights == wanted.rights && is.kind == wanted.kind &&
           is.value == wanted.value && (is.dirty || !wanted.dirty);
}

/* Pages of the table from `self` down. */
static inline uint64_t model_count(const struct table *table, pfn_t self, unsigned level)
{
    uint64_t count = 1;

    for (unsigned i = 0; level > 1 && i < TABLE_ENTRIES; i++) {
        uint64_t entry = model_live(self)[i];

        if (table->format->classify(entry, level) == ENTRY_TABLE) {
            count += model_count(table, table->format->pfn(entry, level), level - 1);
        }
    }
    return count;
}

/* A frame that nothing but the model knows: never touched. */
static inline uint64_t model_random_frame(void)
{
    return ALIGN_DOWN(support_random() >> 28, REGION_PAGES);
}

static inline struct page_model model_random_leaf(void)
{
    return (struct page_model){.leaf = true,
                               .rights = (unsigned)support_random_below(4),
                               .value = model_random_frame() + support_random_below(512)};
}

static inline struct page_model model_random_absent(void)
{
    return (struct page_model){.kind = (unsigned)support_random_below(16),
                               .value = support_random() & ABSENT_PAYLOAD_MAX};
}

static inline uint64_t model_entry(const struct table *table, struct page_model page)
{
    const struct table_format *f = table->format;

    return page.leaf ? f->make_leaf(pfn(page.value), 1,
                                    page.rights | (page.dirty ? (unsigned)LEAF_DIRTY : 0))
                     : f->make_absent(page.kind, page.value);
}

#endif
