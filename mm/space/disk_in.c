/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that were dropped because a block of a disk holds the same come back from it, and with them
 * those that stand for the blocks beside it, wherever these pages are. */
#include "mm/content/page_io.h"
#include "mm/space/fault_internal.h"

#define WINDOW_SHORT 8u /* blocks, aligned, while memory is short */

/* Pages that are read together, of neighbouring blocks. */
struct disk_run {
    unsigned disk;
    uint32_t first; /* block */
    unsigned pages;
    struct {
        uint64_t *entry;
        pfn_t frame;
    } page[READ_WINDOW_MAX];
};

/* Does a page that was dropped stand for this block?  Then a frame for it. */
static bool join(const struct fault *fault, unsigned disk, uint64_t block, uint64_t **entry,
                 pfn_t *frame)
{
    gfn_t page;

    *entry = identity_dropped(fault->space, disk, (uint32_t)block, &page);
    return *entry != NULL && *entry != fault->entry && fault_spare_frame(fault, page.v, frame);
}

static void gather(const struct fault *fault, pfn_t frame, uint32_t block, struct disk_run *run)
{
    uint64_t window = space_memory_is_plenty() ? READ_WINDOW_MAX : WINDOW_SHORT;
    uint64_t low = ALIGN_DOWN((uint64_t)block, window), high = low + window;
    uint64_t *entry[READ_WINDOW_MAX];
    pfn_t below[READ_WINDOW_MAX];
    unsigned down = 0;

    while (block - down > low &&
           join(fault, run->disk, block - down - 1, &entry[down], &below[down])) {
        down++;
    }
    run->first = block - down;
    for (run->pages = 0; run->pages < down; run->pages++) {
        run->page[run->pages].entry = entry[down - 1 - run->pages];
        run->page[run->pages].frame = below[down - 1 - run->pages];
    }
    run->page[run->pages].entry = fault->entry;
    run->page[run->pages++].frame = frame;
    while ((uint64_t)run->first + run->pages < high &&
           join(fault, run->disk, (uint64_t)run->first + run->pages, &run->page[run->pages].entry,
                &run->page[run->pages].frame)) {
        run->pages++;
    }
}

static void add_run(struct space *space, struct page_io *io, const struct disk_run *run)
{
    for (unsigned i = 0; i < run->pages; i++) {
        page_io_add(io, run->page[i].frame);
        entry_set_place(space, run->page[i].entry, place(PLACE_READING, run->page[i].frame.v));
    }
    space_move(space, PLACE_DISK, PLACE_READING, run->pages);
}

enum mm_result fault_from_disk(const struct fault *fault, struct place from)
{
    struct space *space = fault->space;
    struct disk_run run = {.disk = place_disk(from)};
    struct page_io *io;
    pfn_t frame;

    if (!fault_begin_read(fault, &io, &frame)) {
        return MM_WAIT;
    }
    gather(fault, frame, place_block(from), &run);
    page_io_start_on_disk(io, space->identities.disk[run.disk].store, run.first);
    add_run(space, io, &run);
    fault_count_refault(space, FIELD_GET(PLACE_DISK_OWNERS, from.payload),
                        FIELD_GET(PLACE_DISK_OWNERS, UINT64_MAX));
    space->identities.disk_reads += run.pages;
    space->readahead += run.pages - 1;
    page_io_want(io, place_block(from) - run.first, fault->how, fault->waiter);
    page_io_submit(io);
    return MM_WAIT;
}
