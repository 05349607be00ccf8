/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disk identity: pages that are copies of blocks of their VM's disks.  docs/disk-identity.md has
 * the proofs.
 *
 *     space_watch()        D is cleared, one shootdown: from now on a write of the guest's sets it
 *         |  the device moves the page
 *     space_unpin_copy()   nothing else has written to it?  Then it is a copy of the block
 *         |
 *     reclaim              still clean: dropped, its place is DISK
 *         |  space_block_write(), before anybody writes to the block
 *     no copy any more: a resident page has to be written if it leaves; a dropped one is read first
 */
#include "mm/content/disk_map.h"
#include "mm/content/page_io.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

static uint64_t memory_of(const struct space *space)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < space->memslots; i++) {
        pages += space->memslot[i].pages;
    }
    return pages;
}

bool space_add_disk(struct space *space, struct block_device *device, unsigned *disk)
{
    bool added;

    spin_lock(&space->lock);
    added = (space->disks.buckets != 0 || disk_map_init(&space->disks, memory_of(space))) &&
            disk_map_add(&space->disks, device, disk);
    space->owner.disks = &space->disks;
    spin_unlock(&space->lock);
    return added;
}

/* ---- how a page becomes a copy -------------------------------------------------------------- */

/* From now on a guest's write shows in D.  True: the TLBs have to be flushed for that. */
static bool watch_page(struct space *space, gfn_t page)
{
    const struct table_format *format = space->table.format;
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    struct frame *frame = frame_get(entry_frame(space, table_entry_get(entry), level));

    if (level > 1) {
        return false; /* one D for all of its pages */
    }
    frame->flags |= FRAME_WATCHED;
    if (!table_entry_clear_dirty(format, entry)) {
        return false;
    }
    frame->flags |= FRAME_DIRTY;
    return true;
}

void space_watch(struct space *space, const gfn_t *pages, unsigned count)
{
    bool flush = false;

    spin_lock(&space->lock);
    for (unsigned i = 0; i < count; i++) {
        flush |= watch_page(space, pages[i]);
    }
    if (flush) {
        mm_tlb_shootdown(space);
    }
    spin_unlock(&space->lock);
}

/* Has nobody but the device that holds the only pin written to it since space_watch()?  Another pin
 * that there has been meanwhile has ended the watch when it ended. */
static bool is_untouched(const struct space *space, uint64_t value, unsigned level,
                         const struct frame *frame)
{
    return level == 1 && frame->flags & FRAME_WATCHED && frame->pins == 1 &&
           !(frame->flags & (FRAME_IO_READ | FRAME_IO_WRITE)) &&
           !(space->table.format->flags(value) & LEAF_DIRTY);
}

static void become_copy(struct space *space, struct frame *frame, gfn_t page, unsigned disk,
                        uint64_t block)
{
    uint32_t number = disk_map_put(&space->disks, disk, block, page.v);

    if (number == DISK_MAP_NONE) {
        return;
    }
    page_io_drop_copy(&space->owner, frame);
    frame->slot = number;
    frame->flags = (uint8_t)((frame->flags | FRAME_ON_DISK) & ~FRAME_DIRTY);
}

void space_unpin_copy(struct space *space, gfn_t page, bool written, unsigned disk, uint64_t block)
{
    struct frame *frame;
    uint64_t *entry;
    unsigned level;
    bool untouched;

    spin_lock(&space->lock);
    entry = table_leaf(&space->table, page, &level);
    frame = frame_get(entry_frame(space, table_entry_get(entry), level));
    untouched = is_untouched(space, table_entry_get(entry), level, frame);
    space_end_pin(space, entry, level, written);
    if (untouched && !space->disks.disk[disk].doubted) {
        become_copy(space, frame, page, disk, block);
    }
    spin_unlock(&space->lock);
}

/* ---- how it ends ---------------------------------------------------------------------------- */

bool space_copy_holds(const struct space *space, const struct frame *frame)
{
    const struct disk_map_entry *copy = disk_map_at(&space->disks, frame->slot);

    return !space->disks.disk[disk_map_disk(copy)].doubted;
}

/* The page is no copy any more; MM_WAIT: it is being read, or will be. */
static enum mm_result end_copy(struct space *space, uint32_t number, struct mm_waiter *waiter)
{
    struct disk_map_entry *copy = disk_map_at(&space->disks, number);
    gfn_t page = gfn(copy->page);
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    uint64_t value = table_entry_get(entry);

    if (entry_kind(space, value, level) == PLACE_FRAME) {
        struct frame *frame = frame_get(entry_frame(space, value, level));

        ASSERT(level == 1 && frame->flags & FRAME_ON_DISK && frame->slot == number);
        page_io_drop_copy(&space->owner, frame);
        return MM_OK;
    }
    copy->key |= DISK_MAP_ENDING;
    return fault_page(space, page, ACCESS_READ, NULL, waiter, &entry, &level);
}

enum mm_result space_block_write(struct space *space, unsigned disk, uint64_t block,
                                 uint64_t blocks, struct mm_waiter *waiter)
{
    enum mm_result result = MM_OK;

    spin_lock(&space->lock);
    for (uint64_t end = block + blocks; block < end && result == MM_OK; block++) {
        uint32_t number = DISK_MAP_NONE;

        while (result == MM_OK &&
               (number = disk_map_find(&space->disks, disk, block, number)) != DISK_MAP_NONE) {
            result = end_copy(space, number, waiter);
        }
    }
    spin_unlock(&space->lock);
    return result;
}

void space_doubt_disk(struct space *space, unsigned disk)
{
    spin_lock(&space->lock);
    space->disks.disk[disk].doubted = true;
    spin_unlock(&space->lock);
}
