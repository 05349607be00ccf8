/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies: a resident page that came from the store keeps its slot there, so that it need not be
 * written if it leaves unchanged.  That only helps, and other pages may have been promised the
 * slot.  So while the store is tight no copies are kept (mm/content/page_io.c), and when it becomes
 * so, those that are there go, from all spaces, whether they are at their min or not, until it is
 * not tight any more.  Then slots are held by pages that are nowhere else.
 */
#include "mm/content/page_io.h"
#include "mm/space/space_internal.h"

#define SLICE_ENTRIES 4096u  /* leaves looked at */
#define SLICE_PAGES   65536u /* of address space walked */

struct slice {
    struct space *space;
    unsigned budget;
};

static bool visit_leaf(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    struct slice *slice = scan->owner;
    struct space *space = slice->space;
    struct frame *frame = frame_get(entry_frame(space, table_entry_get(entry), level));

    (void)first;
    if (!(frame->flags & FRAME_IO_WRITE)) {
        page_io_drop_copy(&space->owner, frame);
    }
    return --slice->budget != 0;
}

static void walk_slice(struct space *space)
{
    struct slice slice = {.space = space, .budget = SLICE_ENTRIES};
    struct table_scan scan = {.leaf = visit_leaf, .owner = &slice};
    const struct memslot *memslot = space_memslot_from(space, space->copies_gfn);

    if (memslot == NULL) {
        space->copies_gfn = GFN_LIMIT;
        return;
    }
    uint64_t first = MAX(space->copies_gfn, memslot->base);
    uint64_t end = MIN(first + SLICE_PAGES, memslot->base + memslot->pages);

    space->copies_gfn = table_scan(&space->table, gfn(first), gfn(end), &scan).v;
}

bool copies_step(struct space *space)
{
    bool walks;

    if (space->owner.store == NULL || !store_is_tight(space->owner.store)) {
        return false;
    }
    spin_lock(&space->lock);
    if (space->copies_tightened != store_tightened(space->owner.store)) {
        space->copies_tightened = store_tightened(space->owner.store);
        space->copies_gfn = 0;
    }
    walks = space->copies_gfn != GFN_LIMIT;
    if (walks) {
        walk_slice(space);
    }
    spin_unlock(&space->lock);
    return walks;
}
