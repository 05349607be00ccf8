/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/table.h"

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame_alloc.h"

static uint64_t *entries_of(pfn_t table)
{
    return mm_frame_ptr(table);
}

static unsigned index_at(uint64_t page, unsigned level)
{
    return (unsigned)(page >> (TABLE_INDEX_BITS * (level - 1))) & (TABLE_ENTRIES - 1);
}

static bool new_table(struct table *table, unsigned flags, pfn_t *out)
{
    if (!frame_alloc_zeroed(0, ALLOC_META, flags, out)) {
        return false;
    }
    table->pages++;
    return true;
}

bool table_init(struct table *table, const struct table_format *format)
{
    table->format = format;
    table->pages = 0;
    return new_table(table, 0, &table->root);
}

static void free_tables(struct table *table, pfn_t self, unsigned level)
{
    const struct table_format *format = table->format;

    for (unsigned i = 0; level > 1 && i < TABLE_ENTRIES; i++) {
        uint64_t entry = entries_of(self)[i];

        if (format->classify(entry, level) == ENTRY_TABLE) {
            free_tables(table, format->pfn(entry, level), level - 1);
        }
    }
    frame_free(self);
    table->pages--;
}

void table_destroy(struct table *table)
{
    free_tables(table, table->root, table->format->levels);
}

uint64_t *table_leaf(const struct table *table, gfn_t page, unsigned *level)
{
    const struct table_format *format = table->format;
    pfn_t self = table->root;

    for (unsigned at = format->levels;; at--) {
        uint64_t *entry = &entries_of(self)[index_at(page.v, at)];
        uint64_t value = table_entry_get(entry);

        if (at == 1 || format->classify(value, at) != ENTRY_TABLE) {
            *level = at;
            return entry;
        }
        self = format->pfn(value, at);
    }
}

uint64_t *table_entry_alloc(struct table *table, gfn_t page, unsigned level)
{
    const struct table_format *format = table->format;
    pfn_t self = table->root;

    for (unsigned at = format->levels; at > level; at--) {
        uint64_t *entry = &entries_of(self)[index_at(page.v, at)];
        uint64_t value = table_entry_get(entry);

        switch (format->classify(value, at)) {
        case ENTRY_TABLE:
            self = format->pfn(value, at);
            break;
        case ENTRY_ABSENT:
            /* An empty table says the same as the hole it replaces.  Those made before a failure
             * stay: they change nothing, and the next attempt uses them. */
            ASSERT(value == 0);
            if (!new_table(table, 0, &self)) {
                return NULL;
            }
            table_entry_set(entry, format->make_table(self));
            break;
        case ENTRY_LEAF:
            panic("table: page 0x%lx is inside a large leaf", (unsigned long)page.v);
        }
    }
    return &entries_of(self)[index_at(page.v, level)];
}

uint64_t *table_leaf_alloc(struct table *table, gfn_t page)
{
    return table_entry_alloc(table, page, 1);
}

/* Hardware has set these on the large leaf after its copy was made. */
static void carry_over(const struct table_format *format, pfn_t small, uint64_t copied,
                       uint64_t replaced)
{
    uint64_t late = replaced & ~copied & (format->accessed_bit | format->dirty_bit);

    for (unsigned i = 0; late != 0 && i < TABLE_ENTRIES; i++) {
        __atomic_fetch_or(&entries_of(small)[i], late, __ATOMIC_RELAXED);
    }
}

bool table_split(struct table *table, gfn_t page)
{
    const struct table_format *format = table->format;
    unsigned level;
    uint64_t *entry = table_leaf(table, page, &level);
    uint64_t value = table_entry_get(entry);
    pfn_t small, first = format->pfn(value, level);

    ASSERT(level > 1 && format->classify(value, level) == ENTRY_LEAF);
    if (!new_table(table, ALLOC_RESERVE, &small)) {
        return false;
    }
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        pfn_t frame = pfn(first.v + i * table_span(level - 1));

        entries_of(small)[i] = format->make_leaf(frame, level - 1, format->flags(value));
    }
    /* One store: before it the large leaf translates, after it the small ones do, to the same. */
    carry_over(format, small, value, table_entry_exchange(entry, format->make_table(small)));
    return true;
}

/* The flags that all 512 leaves share, or'ed; false: they are not one aligned block. */
static bool collapsible(const struct table_format *format, const uint64_t *small, unsigned *flags)
{
    pfn_t first;
    unsigned rights;

    if (format->classify(table_entry_get(small), 1) != ENTRY_LEAF) {
        return false;
    }
    first = format->pfn(small[0], 1);
    rights = format->flags(small[0]) & (LEAF_WRITABLE | LEAF_EXEC);
    *flags = 0;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t value = table_entry_get(&small[i]);

        if (format->classify(value, 1) != ENTRY_LEAF || format->pfn(value, 1).v != first.v + i ||
            (format->flags(value) & (LEAF_WRITABLE | LEAF_EXEC)) != rights) {
            return false;
        }
        *flags |= format->flags(value);
    }
    return IS_ALIGNED(first.v, TABLE_ENTRIES);
}

bool table_collapse(struct table *table, gfn_t page, pfn_t *freed)
{
    const struct table_format *format = table->format;
    uint64_t *entry = table_entry_alloc(table, page, 2);
    uint64_t value = entry != NULL ? table_entry_get(entry) : 0;
    unsigned flags;
    uint64_t *small;

    if (format->classify(value, 2) != ENTRY_TABLE) {
        return false;
    }
    *freed = format->pfn(value, 2);
    small = entries_of(*freed);
    if (!collapsible(format, small, &flags)) {
        return false;
    }
    table_entry_set(entry, format->make_leaf(format->pfn(small[0], 1), 2, flags));
    /* A walk that was under way may have set bits in the old table until now. */
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t late = table_entry_get(&small[i]) & (format->accessed_bit | format->dirty_bit);

        __atomic_fetch_or(entry, late, __ATOMIC_RELAXED);
    }
    table->pages--;
    return true;
}

struct scan {
    const struct table *table;
    uint64_t next, end;
    table_visitor visit;
    void *context;
};

/* Scans one table from scan->next on; false: stopped. */
static bool scan_table(struct scan *scan, pfn_t self, unsigned level)
{
    const struct table_format *format = scan->table->format;
    uint64_t span = table_span(level);
    unsigned index = index_at(scan->next, level);

    for (; index < TABLE_ENTRIES && scan->next < scan->end; index++) {
        uint64_t *entry = &entries_of(self)[index];
        uint64_t value = table_entry_get(entry);
        enum entry_class class = format->classify(value, level);
        enum table_step step = TABLE_SKIP;

        if (class != ENTRY_ABSENT) {
            step = scan->visit(scan->context, gfn(scan->next), level, entry, class);
        }
        if (step == TABLE_STOP) {
            return false;
        }
        if (step == TABLE_NEXT && class == ENTRY_TABLE) {
            if (!scan_table(scan, format->pfn(value, level), level - 1)) {
                return false;
            }
        } else {
            scan->next = ALIGN_DOWN(scan->next, span) + span;
        }
    }
    return true;
}

gfn_t table_scan(const struct table *table, gfn_t first, gfn_t end, table_visitor visit,
                 void *context)
{
    struct scan scan = {
        .table = table, .next = first.v, .end = end.v, .visit = visit, .context = context};

    scan_table(&scan, table->root, table->format->levels);
    return gfn(MIN(scan.next, end.v));
}
