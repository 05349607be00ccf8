/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading from a guest's disk what was dropped as a copy of its blocks. */
#include "mm/content/disk_map.h"
#include "mm/content/page_io.h"
#include "mm/space/fault.h"

#define WINDOW 8u /* aligned group of blocks that are read together */

/* A page to be read: a block, and where it goes. */
struct copy {
    uint64_t *entry;
    uint32_t number; /* in the map */
    pfn_t frame;
};

/* Some page is in no frame and is a copy of that block.  Gives it a frame. */
static bool join_read(const struct fault *fault, unsigned disk, uint64_t block, struct copy *copy)
{
    struct space *space = fault->space;
    uint32_t number = disk_map_find(&space->disks, disk, block, DISK_MAP_NONE);
    unsigned level;

    if (number == DISK_MAP_NONE) {
        return false;
    }
    uint64_t page = disk_map_at(&space->disks, number)->page;

    copy->number = number;
    copy->entry = table_leaf(&space->table, gfn(page), &level);
    return entry_kind(space, table_entry_get(copy->entry), level) == PLACE_DISK &&
           fault_spare_frame(fault, page, &copy->frame);
}

/* The neighbours of run[*first], up to its group's ends. */
static unsigned gather(const struct fault *fault, const struct disk_map_entry *wanted,
                       struct copy run[WINDOW], unsigned *first)
{
    unsigned disk = disk_map_disk(wanted), end = *first + 1;
    uint64_t base = ALIGN_DOWN(disk_map_block(wanted), WINDOW);

    while (end < WINDOW && join_read(fault, disk, base + end, &run[end])) {
        end++;
    }
    while (*first > 0 && join_read(fault, disk, base + *first - 1, &run[*first - 1])) {
        (*first)--;
    }
    return end;
}

static void add_run(struct space *space, struct page_io *io, const struct copy *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        page_io_add_copy(io, run[i].frame, run[i].number);
        entry_set_place(space, run[i].entry, place(PLACE_READING, run[i].frame.v));
    }
    space_move(space, PLACE_DISK, PLACE_READING, count);
    space->disk_reads += count;
    space->readahead += count - 1;
}

enum mm_result fault_read_disk(const struct fault *fault, struct place from)
{
    struct space *space = fault->space;
    struct page_io *io = page_io_get(&space->owner, BLOCK_READ, fault->waiter);
    const struct disk_map_entry *wanted = disk_map_at(&space->disks, place_copy(from));
    unsigned at = (unsigned)(disk_map_block(wanted) % WINDOW), first = at, end;
    struct copy run[WINDOW];

    if (io == NULL) {
        return fault_wait_frame(fault);
    }
    if (fault_take_frame(fault, &run[at].frame) != MM_OK) {
        page_io_put(io);
        return MM_WAIT;
    }
    run[at].entry = fault->entry;
    run[at].number = place_copy(from);
    fault_count_refault(space, from);
    end = gather(fault, wanted, run, &first);
    page_io_start_on_disk(io, space->disks.disk[disk_map_disk(wanted)].device,
                          disk_map_block(wanted) - (at - first));
    add_run(space, io, &run[first], end - first);
    page_io_want(io, at - first, fault->how, fault->waiter);
    page_io_submit(io);
    return MM_WAIT;
}
