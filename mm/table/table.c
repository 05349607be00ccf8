/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every store to an entry, of linked tables and of new ones, is a table_entry_*() operation: the
 * unit test records them and proves that any prefix of their sequence is a table that is safe.
 */
#include "mm/table/table.h"

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "mm/table/descend.h"

#define HOLE 0ull /* the entry */

static uint64_t *entries_of(pfn_t self)
{
    return mm_frame_ptr(self);
}

static enum entry_class class_of(const struct table *table, uint64_t value, unsigned level)
{
    return table->format->classify(value, level);
}

/* ---- making tables -------------------------------------------------------------------------- */

static void fill_table(uint64_t *entries, uint64_t value)
{
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        table_entry_set(&entries[i], value);
    }
}

bool table_init(struct table *table, const struct table_format *format)
{
    table->format = format;
    table->pages = 0;
    if (!frame_alloc(0, ALLOC_META, 0, &table->root)) {
        return false;
    }
    table->pages = 1;
    fill_table(entries_of(table->root), HOLE);
    return true;
}

/* The way down to one page: its entry at level `down`, or the one above that decides it. */
static uint64_t *descend(const struct table *table, gfn_t page, unsigned down, unsigned *level)
{
    ASSERT(page.v < TABLE_GFN_LIMIT);
    return table->format->descend(table->root, page, down, level);
}

uint64_t *table_leaf(const struct table *table, gfn_t page, unsigned *level)
{
    return descend(table, page, 1, level);
}

/*
 * The ABSENT entry at `level` gets tables down to level `down`; all of their entries inherit it.
 * Returns the page's entry at that level, or NULL: out of memory.  The one store that links the
 * chain comes last, so that a walker sees the old entry or all of the new tables.
 */
static uint64_t *grow(struct table *table, uint64_t *entry, unsigned level, gfn_t page,
                      unsigned down, struct frame_promise *promise)
{
    uint64_t inherited = table_entry_get(entry), link = inherited;
    pfn_t made[TABLE_LEVELS];
    uint64_t *lowest = entry;

    for (unsigned at = down; at < level; at++) {
        if (!frame_alloc_promised(promise, ALLOC_META, &made[at])) {
            while (at-- > down) {
                frame_free(made[at]);
            }
            return NULL;
        }
    }
    for (unsigned at = down; at < level; at++) {
        uint64_t *slot = &entries_of(made[at])[table_index(page.v, at)];

        fill_table(entries_of(made[at]), inherited);
        if (at == down) {
            lowest = slot;
        } else {
            table_entry_set(slot, link);
        }
        link = table->format->make_table(made[at]);
    }
    if (level > down) {
        table_entry_set(entry, link);
    }
    table->pages += level - down;
    return lowest;
}

/* ---- large leaves --------------------------------------------------------------------------- */

static bool split_leaf(struct table *table, uint64_t *entry, unsigned level)
{
    const struct table_format *format = table->format;
    uint64_t value = table_entry_get(entry);
    pfn_t made, first = format->pfn(value, level);

    if (!frame_alloc(0, ALLOC_META, ALLOC_RESERVE, &made)) {
        return false;
    }
    /* Hardware may set A and D of the large leaf while it is being copied: then copy again.  Once
     * the table is linked, a CPU with an old translation sets them by a new walk, that is below. */
    do {
        for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
            pfn_t part = pfn(first.v + i * table_level_pages(level - 1));

            table_entry_set(&entries_of(made)[i],
                            format->make_leaf(part, level - 1, format->flags(value)));
        }
    } while (!table_entry_cmpxchg(entry, &value, format->make_table(made)));
    table->pages++;
    return true;
}

bool table_split(struct table *table, gfn_t page)
{
    unsigned level;
    uint64_t *entry = table_leaf(table, page, &level);

    while (level > 1 && class_of(table, table_entry_get(entry), level) == ENTRY_LEAF) {
        if (!split_leaf(table, entry, level)) {
            return false;
        }
        entry = table_leaf(table, page, &level);
    }
    return true;
}

uint64_t *table_leaf_alloc(struct table *table, gfn_t page, struct frame_promise *promise)
{
    unsigned level;
    uint64_t *entry = table_leaf(table, page, &level);

    if (level == 1) {
        return entry;
    }
    if (class_of(table, table_entry_get(entry), level) == ENTRY_LEAF) {
        return table_split(table, page) ? table_leaf(table, page, &level) : NULL;
    }
    return grow(table, entry, level, page, 1, promise);
}

bool table_map_large(struct table *table, gfn_t page, pfn_t first, unsigned flags)
{
    unsigned level;
    uint64_t *entry = table_leaf(table, page, &level);

    ASSERT(IS_ALIGNED(page.v, TABLE_ENTRIES) && IS_ALIGNED(first.v, TABLE_ENTRIES));
    if (level == 1 || table_entry_get(entry) != HOLE) {
        return false;
    }
    entry = grow(table, entry, level, page, 2, NULL);
    if (entry == NULL) {
        return false;
    }
    table_entry_set(entry, table->format->make_leaf(first, 2, flags));
    return true;
}

/* Do the 512 leaves map one block?  *flags: its permissions, and A and D if any has them. */
static bool is_one_block(const struct table *table, const uint64_t *entries, unsigned *flags)
{
    const struct table_format *format = table->format;
    const unsigned rights = LEAF_WRITABLE | LEAF_EXEC;
    uint64_t head = table_entry_get(&entries[0]);

    if (format->classify(head, 1) != ENTRY_LEAF ||
        !IS_ALIGNED(format->pfn(head, 1).v, TABLE_ENTRIES)) {
        return false;
    }
    *flags = 0;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t value = table_entry_get(&entries[i]);

        if (format->classify(value, 1) != ENTRY_LEAF ||
            format->pfn(value, 1).v != format->pfn(head, 1).v + i ||
            (format->flags(value) & rights) != (format->flags(head) & rights)) {
            return false;
        }
        *flags |= format->flags(value);
    }
    return true;
}

bool table_collapse(struct table *table, gfn_t page, pfn_t *old)
{
    const struct table_format *format = table->format;
    unsigned level, flags;
    uint64_t *entry = descend(table, page, 2, &level);

    if (level != 2 || class_of(table, table_entry_get(entry), 2) != ENTRY_TABLE) {
        return false;
    }
    *old = format->pfn(table_entry_get(entry), 2);
    if (!is_one_block(table, entries_of(*old), &flags)) {
        return false;
    }
    table_entry_set(entry, format->make_leaf(format->pfn(entries_of(*old)[0], 1), 2, flags));
    return true;
}

void table_collapse_end(struct table *table, gfn_t page, pfn_t old)
{
    const struct table_format *format = table->format;
    unsigned level;
    uint64_t *entry = descend(table, page, 2, &level);
    uint64_t late = 0;

    ASSERT(level == 2 && class_of(table, table_entry_get(entry), 2) == ENTRY_LEAF);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        late |= table_entry_get(&entries_of(old)[i]);
    }
    table_entry_add(entry, late & (format->accessed_bit | format->dirty_bit));
    frame_free(old);
    table->pages--;
}

/* ---- ranges --------------------------------------------------------------------------------- */

struct walk {
    struct table *table;
    uint64_t next, end; /* pages still to be seen */
    struct table_scan *scan;
};

/* Sees the entries of one table from walk->next on.  False: the scan has been ended. */
static bool scan_entries(struct walk *walk, pfn_t self, unsigned level)
{
    const struct table_format *format = walk->table->format;
    struct table_scan *scan = walk->scan;
    uint64_t span = table_level_pages(level);

    for (unsigned i = table_index(walk->next, level); i < TABLE_ENTRIES && walk->next < walk->end;
         i++) {
        uint64_t *entry = &entries_of(self)[i];
        uint64_t value = table_entry_get(entry);
        enum entry_class class = format->classify(value, level);
        uint64_t first = ALIGN_DOWN(walk->next, span);
        bool go_on = true;

        if (class == ENTRY_TABLE &&
            (scan->enter == NULL || scan->enter(scan, gfn(walk->next), entry, level))) {
            go_on = scan_entries(walk, format->pfn(value, level), level - 1);
        } else {
            if (class == ENTRY_LEAF) {
                go_on = scan->leaf(scan, gfn(first), entry, level);
            }
            walk->next = first + span;
        }
        if (!go_on) {
            return false;
        }
        if (class == ENTRY_TABLE && scan->leave != NULL) {
            scan->leave(scan, entry, level);
        }
    }
    return true;
}

gfn_t table_scan(struct table *table, gfn_t first, gfn_t end, struct table_scan *scan)
{
    struct walk walk = {.table = table, .next = first.v, .end = end.v, .scan = scan};

    ASSERT(end.v <= TABLE_GFN_LIMIT);
    if (first.v < end.v) {
        scan_entries(&walk, table->root, table->format->levels);
    }
    return gfn(MIN(walk.next, end.v));
}

/* Splits an entry that decides pages on both sides of `page`. */
static bool cut_before(struct table *table, gfn_t page)
{
    unsigned level;
    uint64_t *entry;

    if (page.v >= TABLE_GFN_LIMIT) {
        return true;
    }
    entry = table_leaf(table, page, &level);
    if (table_entry_get(entry) == HOLE || IS_ALIGNED(page.v, table_level_pages(level))) {
        return true;
    }
    return table_leaf_alloc(table, page, NULL) != NULL;
}

bool table_unmap(struct table *table, gfn_t first, gfn_t end, table_unmapped *unmapped, void *owner)
{
    if (!cut_before(table, first) || !cut_before(table, end)) {
        return false;
    }
    for (uint64_t page = first.v; page < end.v;) {
        unsigned level;
        uint64_t *entry = table_leaf(table, gfn(page), &level);
        uint64_t span = table_level_pages(level);

        if (table_entry_get(entry) != HOLE) {
            unmapped(owner, gfn(page), table_entry_exchange(entry, HOLE), level);
        }
        page = ALIGN_DOWN(page, span) + span;
    }
    return true;
}

static void trash_push(struct table_trash *trash, pfn_t self)
{
    frame_get(self)->next = trash->head;
    trash->head = (uint32_t)self.v;
    trash->count++;
}

static bool is_empty(const uint64_t *entries)
{
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        if (table_entry_get(&entries[i]) != HOLE) {
            return false;
        }
    }
    return true;
}

struct prune {
    struct table *table;
    struct table_trash *trash;
};

/* Level-1 tables are looked at as a whole, by is_empty(). */
static bool enter_tables(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    (void)scan;
    (void)first;
    (void)entry;
    return level > 2;
}

static bool pass_leaf(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    (void)scan;
    (void)first;
    (void)entry;
    (void)level;
    return true;
}

static void prune_leave(struct table_scan *scan, uint64_t *entry, unsigned level)
{
    const struct prune *prune = scan->owner;
    pfn_t lower = prune->table->format->pfn(table_entry_get(entry), level);

    if (is_empty(entries_of(lower))) {
        table_entry_exchange(entry, HOLE);
        trash_push(prune->trash, lower);
        prune->table->pages--;
    }
}

void table_prune(struct table *table, gfn_t first, gfn_t end, struct table_trash *trash)
{
    struct prune prune = {.table = table, .trash = trash};
    struct table_scan scan = {
        .enter = enter_tables, .leaf = pass_leaf, .leave = prune_leave, .owner = &prune};

    table_scan(table, first, end, &scan);
}

static void free_leave(struct table_scan *scan, uint64_t *entry, unsigned level)
{
    const struct table *table = scan->owner;

    frame_free(table->format->pfn(table_entry_get(entry), level));
}

void table_destroy(struct table *table)
{
    struct table_scan scan = {
        .enter = enter_tables, .leaf = pass_leaf, .leave = free_leave, .owner = table};

    table_scan(table, gfn(0), gfn(TABLE_GFN_LIMIT), &scan);
    frame_free(table->root);
    table->pages = 0;
}

void table_trash_free(struct table_trash *trash)
{
    while (trash->head != FRAME_NONE) {
        pfn_t self = pfn(trash->head);

        trash->head = frame_get(self)->next;
        frame_free(self);
    }
    trash->count = 0;
}
