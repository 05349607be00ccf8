/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table engine: second-level page tables over any format (mm/table/format.h).
 *
 *     root (level 4) -> table (3) -> table (2) -> table (1) -> 4 KiB frame
 *                                       \-> 2 MiB block        ABSENT at any level
 *
 * Life: table_init, use, table_destroy.
 *
 * Locks: the caller holds the lock of the space that owns the table.  Hardware walks the table all
 * the time and sets accessed and dirty flags, so that every store to an entry is atomic, and every
 * intermediate state of an update translates all other pages as before.
 *
 * TLB: nothing here flushes.  A page of a table that is no longer linked may still be walked by a
 * CPU that has cached the way to it: such pages are handed back as struct table_trash, and freed
 * after the caller has called mm_tlb_shootdown().
 */
#ifndef SPILLWAY_MM_TABLE_TABLE_H
#define SPILLWAY_MM_TABLE_TABLE_H

#include "mm/frame/frame_alloc.h"
#include "mm/table/format.h"

#define TABLE_GFN_BITS  36u /* 48-bit addresses */
#define TABLE_GFN_LIMIT BIT(TABLE_GFN_BITS)

struct table {
    const struct table_format *format;
    pfn_t root;
    uint64_t pages; /* of all levels, the root too */
};

/* Unlinked pages of tables, waiting for a shootdown. */
struct table_trash {
    uint32_t head; /* linked by frame->next; FRAME_NONE: empty */
    uint32_t count;
};

/* ---- entries: always through these ---------------------------------------------------------- */

static inline uint64_t table_entry_get(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

/* Release: what the entry points to has been written before a walker can see it.  For entries that
 * hardware cannot change meanwhile: ABSENT ones, and those of tables not yet linked. */
static inline void table_entry_set(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* Returns the old value, with whatever flags hardware had set until now. */
static inline uint64_t table_entry_exchange(uint64_t *entry, uint64_t value)
{
    return __atomic_exchange_n(entry, value, __ATOMIC_ACQ_REL);
}

/* False: *expected is what is there now. */
static inline bool table_entry_cmpxchg(uint64_t *entry, uint64_t *expected, uint64_t value)
{
    return __atomic_compare_exchange_n(entry, expected, value, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* Adds flags that hardware might have set. */
static inline void table_entry_add(uint64_t *entry, uint64_t flags)
{
    __atomic_fetch_or(entry, flags, __ATOMIC_ACQ_REL);
}

/* Clears the accessed flag of a LEAF or TABLE entry; was it set?  No flush: a CPU that has the
 * translation cached does not set it again until it walks again, which costs accuracy only. */
static inline bool table_entry_clear_accessed(const struct table_format *format, uint64_t *entry)
{
    uint64_t bit = format->accessed_bit;

    /* The load first: most pages of an idle guest are clear, and a locked operation is dear. */
    return (table_entry_get(entry) & bit) &&
           (__atomic_fetch_and(entry, ~bit, __ATOMIC_ACQ_REL) & bit);
}

/* The same for the dirty flag of a LEAF.  A CPU that has the translation cached sets it again only
 * when it walks again: before anything is made of the flag, mm_tlb_shootdown(). */
static inline void table_entry_clear_dirty(const struct table_format *format, uint64_t *entry)
{
    __atomic_fetch_and(entry, ~format->dirty_bit, __ATOMIC_ACQ_REL);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* An empty table: one page.  False: out of memory. */
bool table_init(struct table *table, const struct table_format *format);
/* Frees all pages of the table; what its leaves map is the caller's.  No CPU may use it any more.
 */
void table_destroy(struct table *table);

/* All gfns below TABLE_GFN_LIMIT. */

/* The entry that decides the page: a LEAF or ABSENT at *level.  Never NULL. */
uint64_t *table_leaf(const struct table *table, gfn_t page, unsigned *level);
/*
 * The level-1 entry of the page, making tables down to it.  A large leaf on the way is split, an
 * ABSENT one is inherited by all entries of the new tables.  NULL: out of memory (the reserve is
 * not touched, but for splits) and the table is as it was.  The tables come out of `promise`, if
 * it is not NULL.
 */
uint64_t *table_leaf_alloc(struct table *table, gfn_t page, struct frame_promise *promise);

/* Maps 2 MiB: both numbers aligned to 512.  False: out of memory, or the 2 MiB are not one HOLE
 * entry (a table is there already). */
bool table_map_large(struct table *table, gfn_t page, pfn_t first, unsigned flags);
/* Turns the 2 MiB leaf of that page into 512 leaves with the same flags.  May use the reserve.
 * False: out of memory, nothing changed.  True also if there is no large leaf. */
bool table_split(struct table *table, gfn_t page);

/*
 * Turns the 512 leaves of a level-1 table into one 2 MiB leaf, if they map an aligned block with
 * the same permissions; false if not.  The caller then shoots the TLB down and calls
 * table_collapse_end() with the same arguments, which collects the A and D flags that came late.
 */
bool table_collapse(struct table *table, gfn_t page, pfn_t *old);
void table_collapse_end(struct table *table, gfn_t page, pfn_t old);

/* ---- ranges --------------------------------------------------------------------------------- */

struct table_scan {
    /* A TABLE entry of level 2..4 that decides pages from `first` on: false skips all of them.
     * NULL: enter all. */
    bool (*enter)(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level);
    /* A LEAF; `first` is the first page that it maps.  False ends the scan. */
    bool (*leaf)(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level);
    /* A TABLE entry again, behind the entries of its table, or if it was not entered.  May take the
     * table away.  NULL: nothing to do. */
    void (*leave)(struct table_scan *scan, uint64_t *entry, unsigned level);
    void *owner; /* the caller's */
};

/*
 * Visits the leaves that decide pages of [first, end) in address order.  The callbacks may change
 * the entry, but no other tables.  Returns where to go on: `end`, or the page after the leaf that
 * ended the scan.
 */
gfn_t table_scan(struct table *table, gfn_t first, gfn_t end, struct table_scan *scan);

/* Gets each entry that table_unmap takes away: all that were not a HOLE. */
typedef void table_unmapped(void *owner, gfn_t first, uint64_t entry, unsigned level);

/* Makes all of [first, end) holes; large leaves that straddle its ends are split first.  False:
 * out of memory, only splits may have been made. */
bool table_unmap(struct table *table, gfn_t first, gfn_t end, table_unmapped *unmapped,
                 void *owner);
/* Unlinks the tables below the root that decide pages of [first, end) and hold only holes. */
void table_prune(struct table *table, gfn_t first, gfn_t end, struct table_trash *trash);

static inline void table_trash_init(struct table_trash *trash)
{
    *trash = (struct table_trash){.head = UINT32_MAX};
}

/* After the shootdown. */
void table_trash_free(struct table_trash *trash);

#endif
