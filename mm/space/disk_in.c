/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that were dropped because a block of a disk holds the same come back from it, and with them
 * those that stand for the blocks beside it, wherever these pages are. */
#include "mm/content/page_io.h"
#include "mm/space/fault_internal.h"

#define OUTCOMES 32u /* pages read ahead of which it is known whether they were of use */

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

/* Half of them used: twice as many next time.  Less than a quarter: half as many. */
static void adapt(struct disk_ahead *ahead)
{
    unsigned all = ahead->used + ahead->unused;

    if (all < OUTCOMES) {
        return;
    }
    if (ahead->used * 2 >= all) {
        ahead->window = MIN(ahead->window * 2, READ_WINDOW_MAX);
    } else if (ahead->used * 4 < all) {
        ahead->window = MAX(ahead->window / 2, 1u);
    }
    ahead->used = 0;
    ahead->unused = 0;
}

/* Blocks, aligned. */
static unsigned choose_window(struct space *space, unsigned disk, uint32_t block)
{
    struct disk_ahead *ahead = &space->disk_ahead;

    if (ahead->window == 0) {
        ahead->window = READ_WINDOW_START;
    }
    adapt(ahead);
    if (ahead->window == 1 && ahead->next == ((uint64_t)disk << 32 | block)) {
        ahead->window = READ_WINDOW_RESTART; /* a sequence begins */
    }
    return space_memory_is_plenty() ? READ_WINDOW_MAX : ahead->window;
}

static void gather(const struct fault *fault, pfn_t frame, uint32_t block, struct disk_run *run)
{
    uint64_t window = choose_window(fault->space, run->disk, block);
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
    fault_count_refault(space, GENERATION_COPY, FIELD_GET(PLACE_DISK_OWNERS, from.payload),
                        FIELD_GET(PLACE_DISK_OWNERS, UINT64_MAX));
    space->identities.disk_reads += run.pages;
    space->readahead += run.pages - 1;
    space->disk_ahead.next = (uint64_t)run.disk << 32 | (run.first + run.pages);
    page_io_want(io, place_block(from) - run.first, fault->how, fault->waiter);
    page_io_submit(io);
    return MM_WAIT;
}
