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

/* The frame that the leaf begins with has the count, as it has all that is said of the leaf. */
static struct frame *frame_of_leaf(struct space *space, const uint64_t *entry, unsigned level)
{
    return frame_get(entry_frame(space, table_entry_get(entry), level));
}

static void pin_leaf(struct space *space, const uint64_t *entry, unsigned level)
{
    pfn_t first = entry_frame(space, table_entry_get(entry), level);
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
 * space_watch() has been called.  A page of a large one has no D bit of its own; and where memory
 * never runs short, what a flush would cost is not worth it. */
static void watch(struct space *space, uint64_t *entry, unsigned level)
{
    struct frame *frame = frame_of_leaf(space, entry, level);

    if (level != 1 || frame->pins != 1 || frame->flags & FRAME_IO_WRITE ||
        space->identities.disks == 0 || !space_may_run_short(space)) {
        return;
    }
    if (space->table.format->flags(table_entry_get(entry)) & LEAF_DIRTY) {
        table_entry_clear_dirty(space->table.format, entry);
        frame->flags |= FRAME_DIRTY;
        space->identities.unflushed = true;
    }
    frame->flags |= FRAME_WATCHED;
}

/* A leaf of one page, if there is a frame for the table: if not, more is held than need be. */
static uint64_t *make_small(struct space *space, gfn_t page, uint64_t *entry, unsigned *level)
{
    pfn_t first = entry_frame(space, table_entry_get(entry), *level);

    if (*level == 1 || (frame_get(first)->flags & FRAME_PINNED)) {
        return entry;
    }
    (void)space_split_large(space, page, first);
    return table_leaf(&space->table, page, level);
}

enum mm_result space_pin(struct space *space, gfn_t page, unsigned how, pfn_t *frame,
                         struct mm_waiter *waiter)
{
    static const char zeroes[PAGE_SIZE]; /* what is in no frame need not come: this does */
    const void *content = how & SPACE_PIN_OVERWRITE ? zeroes : NULL;
    enum mm_result result;
    uint64_t *entry;
    unsigned level, access;

    /* Of a device the D bit tells nothing; the end of the pin does. */
    access = content == NULL ? (how & ACCESSES & ~ACCESS_WRITE) | ACCESS_READ : ACCESS_READ;
    spin_lock(&space->lock);
    result = fault_page(space, page, access, content, waiter, &entry, &level);
    if (result == MM_OK) {
        if (how & SPACE_PIN_LASTING || (how & SPACE_PIN_COPY && space_may_run_short(space))) {
            entry = make_small(space, page, entry, &level);
        }
        pin_leaf(space, entry, level);
        if (how & SPACE_PIN_COPY) {
            watch(space, entry, level);
        }
        *frame = pfn(entry_frame(space, table_entry_get(entry), level).v +
                     (page.v & (table_level_pages(level) - 1)));
    }
    spin_unlock(&space->lock);
    return result;
}

/* The page is that block, if nobody has written to it beside the transfer that ends. */
static bool note_copy(struct space *space, gfn_t page, const uint64_t *entry,
                      const struct space_block *block)
{
    struct frame *frame = frame_of_leaf(space, entry, 1);

    if (space->table.format->flags(table_entry_get(entry)) & LEAF_DIRTY ||
        !identity_note(space, page, frame, block)) {
        return false;
    }
    page_io_drop_copy(&space->owner, frame);
    frame->flags &= (uint8_t)~FRAME_DIRTY;
    return true;
}

static void unpin_leaf(struct space *space, gfn_t page, bool written,
                       const struct space_block *block)
{
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    struct frame *frame = frame_of_leaf(space, entry, level);
    bool watched = frame->flags & FRAME_WATCHED;

    ASSERT((frame->flags & FRAME_PINNED) && frame->pins > 0 && space->pins > 0);
    frame->flags &= (uint8_t)~FRAME_WATCHED;
    if (!(block != NULL && watched && note_copy(space, page, entry, block)) && written) {
        frame->flags |= FRAME_DIRTY; /* a device's write sets no D bit in the table */
    }
    space->pins--;
    if (--frame->pins == 0) {
        frame->flags &= (uint8_t)~FRAME_PINNED;
        generation_add(&space->generations, entry_frame(space, table_entry_get(entry), level),
                       space_kind_of(frame), 0);
    }
}

void space_unpin(struct space *space, gfn_t page, bool written)
{
    spin_lock(&space->lock);
    unpin_leaf(space, page, written, NULL);
    spin_unlock(&space->lock);
}

void space_unpin_copy(struct space *space, gfn_t page, bool written,
                      const struct space_block *block)
{
    spin_lock(&space->lock);
    unpin_leaf(space, page, written, block);
    spin_unlock(&space->lock);
}
