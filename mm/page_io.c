/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/page_io.h"

#include "mm/env.h"

#define POOL_SIZE     128u
#define READS_RESERVE 48u /* of the pool, never used for writes */
#define SINGLE_NONE   UINT32_MAX

static struct page_io pool[POOL_SIZE];
static struct spinlock pool_lock = SPINLOCK_INIT(RANK_PAGE_IO, "page I/O pool");
static struct list pool_free = LIST_INIT(pool_free);
static uint32_t pool_busy;      /* taken from the pool now */
static uint32_t pool_untouched; /* first one that was never used */

static struct page_io *pool_take(uint32_t limit)
{
    struct page_io *io = NULL;

    spin_lock(&pool_lock);
    if (pool_busy < limit) {
        struct list *item = list_pop_front(&pool_free);

        if (item != NULL) {
            io = LIST_ENTRY(item, struct page_io, link);
        } else {
            io = &pool[pool_untouched++];
            list_init(&io->link);
            list_init(&io->waiters);
            list_init(&io->request.link);
        }
        pool_busy++;
    }
    spin_unlock(&pool_lock);
    return io;
}

struct page_io *page_io_get(struct space *space, enum block_op op)
{
    struct page_io *io = pool_take(op == BLOCK_WRITE ? POOL_SIZE - READS_RESERVE : POOL_SIZE);

    if (io != NULL) {
        io->space = space;
        io->request.op = op;
        io->request.owner = io;
        io->count = 0;
        io->single = SINGLE_NONE;
        io->wanted = 0;
        io->wanted_how = 0;
        space->ios++;
    }
    return io;
}

void page_io_put(struct page_io *io)
{
    ASSERT(list_empty(&io->waiters));
    io->space->ios--;
    spin_lock(&pool_lock);
    pool_busy--;
    list_push_front(&pool_free, &io->link);
    spin_unlock(&pool_lock);
}

bool page_io_available(void)
{
    return __atomic_load_n(&pool_busy, __ATOMIC_RELAXED) < POOL_SIZE;
}

struct page_io *page_io_of(const struct frame *frame)
{
    ASSERT(frame->io < POOL_SIZE);
    return &pool[frame->io];
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* The lock is held; the frame holds what the slot held. */
static void finish_read_page(struct page_io *io, uint32_t index, bool good)
{
    struct space *space = io->space;
    pfn_t number = pfn(io->frame[index]);
    struct frame *frame = frame_get(number);
    gfn_t page = gfn(frame->gfn);
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    uint32_t slot = io->slot + index;

    ASSERT(entry_kind(space, table_entry_get(entry), level) == PAGE_IN);
    frame->flags &= (uint8_t)~FRAME_IO_READ;
    if (!good) {
        log_error("%s: guest page 0x%llx is lost: slot %u of %s cannot be read back", space->name,
                  (unsigned long long)page.v, slot, store_device_name(space->store));
        entry_set_absent(space, entry, PAGE_LOST, 0);
        space_move(space, WHERE_TRANSIT, WHERE_LOST, 1);
        store_slot_retire(space->store, slot);
        frame_free(number);
        return;
    }
    bool wanted = index == io->wanted;
    unsigned flags = 0;

    if (wanted) {
        flags = io->wanted_how & FAULT_WRITE ? LEAF_ACCESSED | LEAF_DIRTY : LEAF_ACCESSED;
    } else {
        frame->flags |= FRAME_READAHEAD;
    }
    frame->slot = slot;
    space_move(space, WHERE_TRANSIT, WHERE_RESIDENT, 1);
    space_map_frame(space, entry, page, number, 1, flags, wanted ? 0 : 1);
    if (store_is_tight(space->store)) {
        space_drop_copy(space, frame);
    }
}

/* Pages of the request that just ended: first index and how many. */
static uint32_t request_first(const struct page_io *io)
{
    return io->single == SINGLE_NONE ? 0 : io->single;
}

static uint64_t pages_mask(uint32_t first, uint32_t count)
{
    return BITS(first + count - 1, first);
}

/* Compares with the checksums; the frames are ours alone, so no lock is needed.  Bit per page. */
static uint64_t verify_pages(const struct page_io *io, uint32_t first, uint32_t count)
{
    uint64_t good = 0;

    for (uint32_t i = first; i < first + count; i++) {
        if (store_slot_verify(io->space->store, io->slot + i, mm_frame_ptr(pfn(io->frame[i])))) {
            good |= BIT(i);
        }
    }
    return good;
}

/* ---- writes --------------------------------------------------------------------------------- */

/* The lock is held. */
static void finish_write_page(struct page_io *io, uint32_t index, bool good)
{
    struct space *space = io->space;
    pfn_t number = pfn(io->frame[index]);
    struct frame *frame = frame_get(number);
    gfn_t page = gfn(frame->gfn);
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    bool leaving = entry_kind(space, table_entry_get(entry), level) == PAGE_OUT;

    frame->flags &= (uint8_t)~FRAME_IO_WRITE;
    space->out_pages--;
    if (good) {
        space->page_outs++;
    } else {
        store_slot_retire(space->store, frame->slot);
        frame->slot = FRAME_NONE;
    }
    if (leaving && good) {
        space->eviction_clock++;
        entry_set_absent(space, entry, PAGE_SLOT, slot_payload(space, frame->slot));
        space_move(space, WHERE_TRANSIT, WHERE_STORED, 1);
        frame->slot = FRAME_NONE;
        frame_free(number);
    } else if (leaving) {
        space_move(space, WHERE_TRANSIT, WHERE_RESIDENT, 1);
        space_map_frame(space, entry, page, number, 1, 0, 0);
    } else if (good && store_is_tight(space->store)) {
        space_drop_copy(space, frame);
    }
}

/* ---- both ----------------------------------------------------------------------------------- */

static void submit_part(struct page_io *io, uint32_t first, uint32_t count);

static void page_io_done(struct block_request *request, enum block_status status)
{
    struct page_io *io = request->owner;
    struct space *space = io->space;
    struct list waiters = LIST_INIT(waiters);
    bool reading = request->op == BLOCK_READ;
    uint32_t first = request_first(io);
    uint32_t count = request->pages;
    uint64_t good = 0;

    if (status == BLOCK_OK) {
        good = reading ? verify_pages(io, first, count) : ~0ull;
    }
    if (status != BLOCK_OK || (reading && good != pages_mask(first, count))) {
        store_count_error(space->store);
    }
    spin_lock(&space->lock);
    if (status != BLOCK_OK && count > 1) {
        io->single = 0; /* which block is it?  One by one. */
        submit_part(io, 0, 1);
        spin_unlock(&space->lock);
        return;
    }
    for (uint32_t i = first; i < first + count; i++) {
        if (reading) {
            finish_read_page(io, i, good >> i & 1);
        } else {
            finish_write_page(io, i, good >> i & 1);
        }
    }
    if (first + count < io->count) {
        io->single = first + count;
        submit_part(io, io->single, 1);
        spin_unlock(&space->lock);
        return;
    }
    wait_move(&waiters, &io->waiters);
    page_io_put(io);
    spin_unlock(&space->lock);
    /* The space may be freed from here on. */
    wait_wake_all(&waiters);
    if (wait_frames_wanted()) {
        mm_pager_wake();
    }
}

static void submit_part(struct page_io *io, uint32_t first, uint32_t count)
{
    io->request.pages = count;
    io->request.done = page_io_done;
    for (uint32_t i = 0; i < count; i++) {
        io->request.page[i] = pfn(io->frame[first + i]);
    }
    store_submit(io->space->store, &io->request, io->slot + first);
}

void page_io_submit(struct page_io *io)
{
    uint32_t index = (uint32_t)(io - pool);

    ASSERT(io->count > 0 && io->count <= BLOCK_MAX_PAGES);
    for (uint32_t i = 0; i < io->count; i++) {
        struct frame *frame = frame_get(pfn(io->frame[i]));

        if (io->request.op == BLOCK_READ) {
            frame->flags |= FRAME_IO_READ;
            frame->io = index;
        } else {
            frame->flags |= FRAME_IO_WRITE;
        }
    }
    submit_part(io, 0, io->count);
}
