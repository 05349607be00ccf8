/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scanning for accessed bits: in address order, in slices, one new generation per scan.
 *
 * A bits are cleared without a flush: a CPU that still holds a translation may use the page unseen
 * for a while, which costs accuracy only, since reclaim unmaps and flushes before it takes a page.
 * Tables whose own entry has not been accessed since the last scan are passed over whole.
 */
#include "mm/space/space_internal.h"

#define SLICE_ENTRIES 2048u  /* leaves looked at */
#define SLICE_PAGES   32768u /* of address space walked */
#define MOVED_FRAMES  4096u  /* become ancient, to make room for a generation */

struct slice {
    struct space *space;
    uint64_t first;
    unsigned budget;
};

/* A table that the last slice ended in is entered again in the middle: its bit says nothing. */
static bool enter_table(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    const struct slice *slice = scan->owner;
    const struct table_format *format = slice->space->table.format;
    bool resumed = ALIGN_DOWN(first.v, table_level_pages(level)) < slice->first;

    return table_entry_clear_accessed(format, entry) || resumed || !format->nonleaf_accessed;
}

static bool visit_leaf(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    struct slice *slice = scan->owner;
    struct space *space = slice->space;
    pfn_t frame = entry_frame(space, table_entry_get(entry), level);

    (void)first;
    if (!(frame_get(frame)->flags & FRAME_PINNED) &&
        table_entry_clear_accessed(space->table.format, entry)) {
        space_note_access(space, frame_get(frame));
        space->scan_accessed += table_level_pages(level);
        /* One hot page of 512 must not keep the others: under pressure a large page grows old and
         * is split, and its pages are judged one by one. */
        if (level == 1 || frame_alloc_free_count() > frame_alloc_high()) {
            generation_touch(&space->generations, frame);
        }
    }
    return --slice->budget != 0;
}

static bool begin_scan(struct space *space)
{
    if (!generation_make_room(&space->generations, MOVED_FRAMES)) {
        return false;
    }
    generation_advance(&space->generations);
    space->scanning = true;
    space->scan_gfn = 0;
    space->scan_accessed = 0;
    return true;
}

/* True: the scan goes on. */
static bool scan_slice(struct space *space)
{
    struct slice slice = {.space = space, .budget = SLICE_ENTRIES};
    struct table_scan scan = {.enter = enter_table, .leaf = visit_leaf, .owner = &slice};
    const struct memslot *memslot = space_memslot_from(space, space->scan_gfn);

    if (memslot == NULL) {
        space->scanning = false;
        return false;
    }
    uint64_t first = MAX(space->scan_gfn, memslot->base);
    uint64_t end = MIN(first + SLICE_PAGES, memslot->base + memslot->pages);

    slice.first = first;
    space->scan_gfn = table_scan(&space->table, gfn(first), gfn(end), &scan).v;
    return true;
}

bool aging_step(struct space *space)
{
    bool more = true;

    spin_lock(&space->lock);
    if (space->scanning || begin_scan(space)) {
        more = scan_slice(space);
    }
    spin_unlock(&space->lock);
    return more;
}
