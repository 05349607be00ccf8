/* SPDX-License-Identifier: BSD-2-Clause */
/* A space as the owner of its pages (mm/owner/owner.h): what becomes of one whose I/O has ended. */
#include "mm/content/page_io.h"
#include "mm/space/space_internal.h"

static struct space *space_of(struct page_owner *owner)
{
    return CONTAINER_OF(owner, struct space, owner);
}

static struct spinlock *lock_of_page(struct page_owner *owner, const struct frame *frame)
{
    (void)frame;
    return &space_of(owner)->lock;
}

static void report_loss(struct space *space, gfn_t page, const struct frame *frame)
{
    if (frame->flags & FRAME_ON_DISK) {
        const struct identity_node *node = identity_of(space, page);

        log_error("%s: guest page 0x%llx is lost: block %u of %s cannot be read again",
                  space->owner.name, (unsigned long long)page.v, node->block,
                  store_device_name(space->identities.disk[node->disk - 1u].store));
    } else {
        log_error("%s: guest page 0x%llx is lost: slot %u of %s cannot be read back",
                  space->owner.name, (unsigned long long)page.v, frame->slot,
                  store_device_name(space->owner.store));
    }
}

/* The page is gone, and its VM with it. */
static void lose_page(struct space *space, uint64_t *entry, gfn_t page, const struct frame *frame)
{
    if (!space->owner.closed) {
        report_loss(space, page, frame);
    }
    entry_set_place(space, entry, place(PLACE_LOST, 0));
    space_move(space, PLACE_READING, PLACE_LOST, 1);
}

static void page_has_come(struct page_owner *owner, pfn_t number, bool good, unsigned how)
{
    struct space *space = space_of(owner);
    struct frame *frame = frame_get(number);

    rmap_for_each (user, frame) {
        gfn_t page = gfn(user.page);
        unsigned level;
        uint64_t *entry = table_leaf(&space->table, page, &level);

        ASSERT(entry_kind(space, table_entry_get(entry), level) == PLACE_READING);
        if (!good) {
            lose_page(space, entry, page, frame);
            continue;
        }
        if (how == 0) {
            frame->flags |= FRAME_READAHEAD;
        }
        space_move(space, PLACE_READING, PLACE_FRAME, 1);
        space_map_frame(space, entry, page, number, 1, leaf_flags(how), how == 0);
    }
}

static bool page_has_gone(struct page_owner *owner, pfn_t number, bool good)
{
    struct space *space = space_of(owner);
    bool leaves = false;

    space->page_outs += good;
    rmap_for_each (user, frame_get(number)) {
        gfn_t page = gfn(user.page);
        unsigned level;
        uint64_t *entry = table_leaf(&space->table, page, &level);
        bool leaving = entry_kind(space, table_entry_get(entry), level) == PLACE_WRITING;

        if (leaving && good) {
            space->eviction_clock++;
            entry_set_place(space, entry, space_slot_place(space, frame_get(number)->slot));
            space_move(space, PLACE_WRITING, PLACE_SLOT, 1);
            leaves = true;
        } else if (leaving) {
            space_move(space, PLACE_WRITING, PLACE_FRAME, 1);
            space_map_frame(space, entry, page, number, 1, 0, 0);
        }
    }
    return leaves;
}

const struct page_owner_ops space_pages = {
    .lock = lock_of_page,
    .read_done = page_has_come,
    .write_done = page_has_gone,
};
