/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages whose content the guest has given up become holes, whatever they were.
 *
 *     WORD, SLOT, LOST      the tier drops it
 *     READING, WRITING      forgotten: frame and slot go when the I/O ends (mm/content/page_io.h)
 *     FRAME                 unmapped; behind one shootdown for all of a step the frame goes, with
 *                           its copy in the store.  Until then a CPU may still write to it.
 *
 * Tables that hold nothing but holes afterwards go as well, so that the region can be large again.
 */
#include "mm/content/page_io.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

#define STEP_ENTRIES 1024u /* looked at while the lock is held */

/* One step; the lock is held from its begin to its end. */
struct discard {
    struct space *space;
    struct table_trash tables;
    uint32_t frames; /* unmapped, linked by frame->next; FRAME_NONE: none */
    unsigned budget; /* entries */
    uint64_t holes;  /* pages that are holes now, of all steps */
};

/* ---- one entry ------------------------------------------------------------------------------ */

/* Somebody uses it, or always will: mm/space/pin.c. */
static bool frame_stays(pfn_t number)
{
    return frame_get(number)->flags & FRAME_PINNED;
}

static void unmap_frame(struct discard *discard, uint64_t *entry, pfn_t number)
{
    struct space *space = discard->space;
    struct frame *frame = frame_get(number);

    table_entry_exchange(entry, space->table.format->make_absent(PLACE_HOLE, 0));
    generation_remove(&space->generations, number);
    frame->map_count = 0;
    frame->next = discard->frames;
    discard->frames = (uint32_t)number.v;
}

static void drop_place(struct discard *discard, uint64_t *entry, struct place at)
{
    struct space *space = discard->space;

    if (tier_holds(at.kind)) {
        tier_drop(&space->owner, at);
    } else if (place_has_frame(at.kind)) {
        bool in_flight = page_io_forget(place_frame(at));

        ASSERT(in_flight);
    }
    entry_set_place(space, entry, place(PLACE_HOLE, 0));
}

/* The entry decides so many pages, all of which go; false: they stay. */
static bool discard_entry(struct discard *discard, uint64_t *entry, unsigned level)
{
    struct space *space = discard->space;
    struct place at = entry_place(space, table_entry_get(entry), level);

    if (at.kind == PLACE_HOLE) {
        return true;
    }
    if (at.kind != PLACE_FRAME) {
        ASSERT(level == 1);
        drop_place(discard, entry, at);
    } else if (frame_stays(place_frame(at))) {
        return false;
    } else {
        unmap_frame(discard, entry, place_frame(at));
    }
    space_move(space, at.kind, PLACE_HOLE, table_level_pages(level));
    space->discards += table_level_pages(level);
    return true;
}

/* ---- ranges --------------------------------------------------------------------------------- */

/* What the table of `page` decides of [page, end); `entry` is the page's.  Returns the page behind
 * the last one that was looked at. */
static uint64_t discard_small(struct discard *discard, uint64_t *entry, uint64_t page, uint64_t end)
{
    end = MIN(end, ALIGN_DOWN(page, REGION_PAGES) + REGION_PAGES);
    for (; page < end && discard->budget > 0; page++) {
        discard->holes += discard_entry(discard, entry++, 1);
        discard->budget--;
    }
    return page;
}

/* The same where one entry decides a whole region or more. */
static uint64_t discard_large(struct discard *discard, uint64_t *entry, unsigned level,
                              uint64_t page, uint64_t end)
{
    struct space *space = discard->space;
    uint64_t first = ALIGN_DOWN(page, table_level_pages(level));
    uint64_t behind = MIN(end, first + table_level_pages(level));
    uint64_t value = table_entry_get(entry);
    bool whole = behind - page == table_level_pages(level);

    discard->budget--;
    if (whole || entry_kind(space, value, level) == PLACE_HOLE) {
        discard->holes += discard_entry(discard, entry, level) ? behind - page : 0;
        return behind;
    }
    pfn_t frame = entry_frame(space, value, level);

    if (frame_stays(frame) || !space_split_large(space, gfn(page), frame)) {
        return behind;
    }
    return discard_small(discard, table_leaf(&space->table, gfn(page), &level), page, end);
}

/* As far as the budget goes; returns where to go on. */
static uint64_t discard_from(struct discard *discard, uint64_t first, uint64_t end)
{
    struct space *space = discard->space;
    const struct memslot *memslot = space_memslot_from(space, first);
    uint64_t page;

    if (memslot == NULL || memslot->base >= end) {
        return end;
    }
    first = page = MAX(first, memslot->base);
    end = MIN(end, memslot->base + memslot->pages);
    while (page < end && discard->budget > 0) {
        unsigned level;
        uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

        page = level == 1 ? discard_small(discard, entry, page, end)
                          : discard_large(discard, entry, level, page, end);
    }
    table_prune(&space->table, gfn(first), gfn(page), &discard->tables);
    return page;
}

static void free_frames(struct discard *discard)
{
    while (discard->frames != FRAME_NONE) {
        pfn_t number = pfn(discard->frames);
        struct frame *frame = frame_get(number);

        discard->frames = frame->next;
        if (!page_io_forget(number)) {
            page_io_drop_copy(&discard->space->owner, frame);
            frame_free(number);
        }
    }
}

/* What has been unmapped is nobody's any more. */
static void end_step(struct discard *discard)
{
    if (discard->frames != FRAME_NONE || discard->tables.count != 0) {
        mm_tlb_shootdown(discard->space);
    }
    free_frames(discard);
    table_trash_free(&discard->tables);
}

/* One step over the ranges, of which *ranges is the first that is left and *done pages of it have
 * been looked at. */
static void discard_step(struct discard *discard, const struct gfn_range **ranges,
                         const struct gfn_range *behind, uint64_t *done)
{
    discard->budget = STEP_ENTRIES;
    while (*ranges != behind && discard->budget > 0) {
        uint64_t first = MIN((*ranges)->first.v, GFN_LIMIT);
        uint64_t pages = MIN((*ranges)->pages, GFN_LIMIT - first);

        *done = discard_from(discard, first + *done, first + pages) - first;
        if (*done == pages) {
            (*ranges)++;
            *done = 0;
        }
        discard->budget -= discard->budget != 0;
    }
    end_step(discard);
}

uint64_t space_discard(struct space *space, const struct gfn_range *ranges, unsigned count)
{
    struct discard discard = {.space = space, .frames = FRAME_NONE};
    const struct gfn_range *behind = ranges + count;
    uint64_t done = 0;

    table_trash_init(&discard.tables);
    while (ranges != behind) {
        spin_lock(&space->lock);
        if (space->owner.closed) {
            ranges = behind; /* all of it goes anyway */
        }
        discard_step(&discard, &ranges, behind, &done);
        spin_unlock(&space->lock);
    }
    if (wait_anybody()) {
        mm_pager_wake(); /* there is room now */
    }
    return discard.holes;
}
