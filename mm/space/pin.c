/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: pages that stay in their frames while a device uses them, or the hypervisor without a lock.
 *
 * A pinned frame is on no list of generations, so reclaim does not come by it.  The count is that
 * of the leaf: in a large page one pin holds all of it.
 */
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
    unsigned level;

    spin_lock(&space->lock);
    result = fault_page(space, page, how & ACCESSES, content, waiter, &entry, &level);
    if (result == MM_OK) {
        if (how & SPACE_PIN_LASTING) {
            entry = make_small(space, page, entry, &level);
        }
        pin_leaf(space, entry, level);
        *frame = pfn(entry_frame(space, table_entry_get(entry), level).v +
                     (page.v & (table_level_pages(level) - 1)));
    }
    spin_unlock(&space->lock);
    return result;
}

void space_unpin(struct space *space, gfn_t page, bool written)
{
    struct frame *frame;
    uint64_t *entry;
    unsigned level;

    spin_lock(&space->lock);
    entry = table_leaf(&space->table, page, &level);
    frame = frame_of_leaf(space, entry, level);
    ASSERT((frame->flags & FRAME_PINNED) && frame->pins > 0 && space->pins > 0);
    if (written) {
        frame->flags |= FRAME_DIRTY; /* a device's write sets no D bit in the table */
    }
    space->pins--;
    if (--frame->pins == 0) {
        frame->flags &= (uint8_t)~FRAME_PINNED;
        generation_add(&space->generations, entry_frame(space, table_entry_get(entry), level), 0);
    }
    spin_unlock(&space->lock);
}
