/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: pages that stay in their frames while a device uses them, or the hypervisor without a lock.
 *
 * A pinned frame is on no list of generations, so reclaim does not come by it.  The count is that
 * of the leaf: in a large page one pin holds all of it.
 */
#include "mm/content/page_io.h"
#include "mm/space/space_internal.h"

#define ACCESSES (ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC)

/* Where pages are, one after the other, while the lock is held: the next one's leaf is mostly in
 * the same table as the one before, or the same large one. */
struct walk {
    struct space *space;
    const struct memslot *memslot; /* of a page before; NULL: none yet */
    uint64_t *entry;               /* the leaf of `page`; NULL: none yet */
    uint64_t page;
    unsigned level;
};

static void walk_to(struct walk *walk, uint64_t page)
{
    if (walk->entry != NULL && walk->level <= 2 &&
        page / REGION_PAGES == walk->page / REGION_PAGES) {
        walk->entry += walk->level == 1 ? (int64_t)(page - walk->page) : 0;
    } else {
        walk->entry = table_leaf(&walk->space->table, gfn(page), &walk->level);
    }
    walk->page = page;
}

/* The frame that the leaf begins with has all that is said of it. */
static pfn_t walk_frame(const struct walk *walk)
{
    return entry_frame(walk->space, table_entry_get(walk->entry), walk->level);
}

static void pin_frame(struct space *space, pfn_t first)
{
    struct frame *frame = frame_get(first);

    if (!(frame->flags & FRAME_PINNED)) {
        space_note_access(space, frame);
        generation_remove(&space->generations, first);
        frame->flags |= FRAME_PINNED;
        frame->pins = 0;
    }
    frame->pins++;
    space->pins++;
    frame->flags &= (uint8_t)~FRAME_WATCHED; /* two who use it know nothing of each other */
}

/* Nobody has written to the page since: how it is with the D bit from now on says so, once
 * space_watch() has been called.  A page of a large one has no D bit of its own. */
static void watch(const struct walk *walk, struct frame *frame)
{
    const struct table_format *format = walk->space->table.format;

    if (walk->level != 1 || frame->pins != 1 || frame->flags & FRAME_IO_WRITE) {
        return;
    }
    if (format->flags(table_entry_get(walk->entry)) & LEAF_DIRTY) {
        table_entry_clear_dirty(format, walk->entry);
        frame->flags |= FRAME_DIRTY;
        walk->space->identities.unflushed = true;
    }
    frame->flags |= FRAME_WATCHED;
}

/* A leaf of one page, if there is a frame for the table: if not, more is held than need be.  True:
 * it was a part of a large one. */
static bool make_small(struct walk *walk)
{
    pfn_t first = walk_frame(walk);

    if (walk->level == 1 || (frame_get(first)->flags & FRAME_PINNED)) {
        return false;
    }
    (void)space_split_large(walk->space, gfn(walk->page), first);
    walk->entry = NULL;
    walk_to(walk, walk->page);
    return true;
}

/* Goes to the page.  False: it is not in a frame, or may not be used. */
static bool find(struct walk *walk, uint64_t page)
{
    struct space *space = walk->space;

    if (walk->memslot == NULL || page - walk->memslot->base >= walk->memslot->pages) {
        walk->memslot = space_find_memslot(space, page);
    }
    if (walk->memslot == NULL || space->owner.closed) {
        return false;
    }
    walk_to(walk, page);
    return entry_kind(space, table_entry_get(walk->entry), walk->level) == PLACE_FRAME;
}

/* A page that is in no frame comes: MM_OK, with the walk at it. */
static enum mm_result bring(struct walk *walk, gfn_t page, unsigned how, struct mm_waiter *waiter)
{
    static const char zeroes[PAGE_SIZE]; /* what is in no frame need not come: this does */
    const void *content = how & SPACE_PIN_OVERWRITE ? zeroes : NULL;
    /* Of a device the D bit tells nothing; the end of the pin does. */
    unsigned access =
        content == NULL ? (how & ACCESSES & ~ACCESS_WRITE) | ACCESS_READ : ACCESS_READ;

    return fault_page(walk->space, page, access, content, waiter, &walk->entry, &walk->level);
}

/* The walk is at a page that is there. */
static pfn_t pin_here(const struct walk *walk, bool watched)
{
    pfn_t first = walk_frame(walk);

    pin_frame(walk->space, first);
    if (watched) {
        watch(walk, frame_get(first));
    }
    return pfn(first.v + (walk->page & (table_level_pages(walk->level) - 1)));
}

unsigned space_pin_pages(struct space *space, const gfn_t *pages, unsigned count, unsigned how,
                         pfn_t *frames, struct mm_waiter *waiter, enum mm_result *result)
{
    struct walk walk = {.space = space};
    unsigned pinned = 0;
    bool copy, last = false;

    *result = MM_OK;
    spin_lock(&space->lock);
    /* Where memory never runs short, what splits and flushes cost is not worth it. */
    copy = how & SPACE_PIN_COPY && space_may_run_short(space);
    while (pinned < count && !last) {
        last = !find(&walk, pages[pinned].v);
        if (last && (*result = bring(&walk, pages[pinned], how, waiter)) != MM_OK) {
            break;
        }
        if (how & SPACE_PIN_LASTING || copy) {
            last |= make_small(&walk);
        }
        frames[pinned++] = pin_here(&walk, copy && space->identities.disks != 0);
    }
    spin_unlock(&space->lock);
    return pinned;
}

/* The walk's page, of a frame of its own, is that block, if nobody has written to it beside the
 * transfer that ends. */
static bool note_copy(const struct walk *walk, struct frame *frame, const struct space_block *block)
{
    struct space *space = walk->space;

    if (space->table.format->flags(table_entry_get(walk->entry)) & LEAF_DIRTY ||
        !identity_note(space, gfn(walk->page), frame, block)) {
        return false;
    }
    page_io_drop_copy(&space->owner, frame);
    frame->flags &= (uint8_t)~FRAME_DIRTY;
    return true;
}

static void unpin(const struct walk *walk, bool written, const struct space_block *block)
{
    struct space *space = walk->space;
    pfn_t first = walk_frame(walk);
    struct frame *frame = frame_get(first);
    bool watched = frame->flags & FRAME_WATCHED;

    ASSERT((frame->flags & FRAME_PINNED) && frame->pins > 0 && space->pins > 0);
    frame->flags &= (uint8_t)~FRAME_WATCHED;
    if (!(block != NULL && watched && note_copy(walk, frame, block)) && written) {
        frame->flags |= FRAME_DIRTY; /* a device's write sets no D bit in the table */
    }
    space->pins--;
    if (--frame->pins == 0) {
        frame->flags &= (uint8_t)~FRAME_PINNED;
        generation_add(&space->generations, first, space_kind_of(frame), 0);
    }
}

void space_unpin_pages(struct space *space, const gfn_t *pages, unsigned count, bool written,
                       const struct space_block *block)
{
    struct walk walk = {.space = space};
    struct space_block at = block != NULL ? *block : (struct space_block){0};

    spin_lock(&space->lock);
    for (unsigned i = 0; i < count; i++) {
        walk_to(&walk, pages[i].v);
        unpin(&walk, written, block != NULL ? &at : NULL);
        at.block++;
    }
    spin_unlock(&space->lock);
}
