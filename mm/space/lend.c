/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages where nothing is, which a CPU reads as ones and writes in vain: for the one instruction
 * that is about to touch them they are all the same frame, filled with ones.  They belong to no
 * memslot, so that nobody else who walks the table comes by them.
 */
#include <string.h>

#include "mm/env.h"
#include "mm/space/space_internal.h"

static void fill_with_ones(const struct space *space)
{
    memset(mm_frame_ptr(space->ones), 0xff, PAGE_SIZE);
}

static bool get_ones(struct space *space, struct mm_waiter *waiter)
{
    if (!space->has_ones) {
        space->has_ones = wait_take_frame(waiter, ALLOC_META, &space->ones);
        if (space->has_ones) {
            fill_with_ones(space);
        }
    }
    return space->has_ones;
}

static bool lend(struct space *space, gfn_t page, struct mm_waiter *waiter)
{
    uint64_t *entry = NULL;

    if (get_ones(space, waiter) && wait_may_take(waiter)) {
        entry = table_leaf_alloc(&space->table, page, wait_promise(waiter));
    }
    if (entry == NULL) {
        return false;
    }
    table_entry_set(entry,
                    space->table.format->make_leaf(space->ones, 1, LEAF_WRITABLE | LEAF_EXEC));
    return true;
}

enum mm_result space_lend_ones(struct space *space, gfn_t page, struct mm_waiter *waiter)
{
    enum mm_result result = MM_OK;

    if (page.v >= GFN_LIMIT) {
        return MM_NO_MEMSLOT;
    }
    ASSERT(!space_owns(space, page));
    spin_lock(&space->lock);
    if (space->owner.closed) {
        result = MM_LOST;
    } else if (!lend(space, page, waiter)) {
        wait_for_frame(waiter);
        result = MM_WAIT;
    }
    spin_unlock(&space->lock);
    return result;
}

void space_take_ones(struct space *space, const gfn_t *pages, unsigned count)
{
    struct table_trash trash;

    table_trash_init(&trash);
    spin_lock(&space->lock);
    for (unsigned i = 0; i < count; i++) {
        unsigned level;
        uint64_t *entry = table_leaf(&space->table, pages[i], &level);

        if (level == 1 && entry_kind(space, table_entry_get(entry), 1) == PLACE_FRAME) {
            table_entry_exchange(entry, space->table.format->make_absent(PLACE_HOLE, 0));
        }
        table_prune(&space->table, pages[i], gfn(pages[i].v + 1), &trash);
    }
    mm_tlb_shootdown(space);
    table_trash_free(&trash);
    fill_with_ones(space);
    spin_unlock(&space->lock);
}
