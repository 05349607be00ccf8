/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/space/page_io.h"

#include "mm/env.h"

#define POOL_SIZE     128u
#define READS_RESERVE 48u /* of the pool, never used for writes */

static struct page_io pool[POOL_SIZE];
static struct spinlock pool_lock = SPINLOCK_INIT(RANK_PAGE_IO, "page I/O pool");
static struct list pool_free = LIST_INIT(pool_free);
static uint32_t pool_busy;      /* taken from the pool now */
static uint32_t pool_untouched; /* first one that was never used */

static void run_ended(struct store_io *io, uint64_t pages, enum store_answer answer);

static bool run_unwanted(struct store_io *io)
{
    return __atomic_load_n(&CONTAINER_OF(io, struct page_io, io)->space->closed, __ATOMIC_RELAXED);
}

static const struct store_io_owner owner = {.ended = run_ended, .unwanted = run_unwanted};

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
            store_io_init_request(&io->io, &owner);
        }
        pool_busy++;
    }
    spin_unlock(&pool_lock);
    return io;
}

struct page_io *page_io_get(struct space *space, enum block_op op, const struct mm_waiter *waiter)
{
    struct page_io *io;
    uint32_t kept = op == BLOCK_WRITE ? READS_RESERVE : wait_served(waiter);

    if (op == BLOCK_WRITE && !store_takes_writes(space->store)) {
        return NULL;
    }
    io = pool_take(POOL_SIZE - MIN(kept, POOL_SIZE));
    if (io != NULL) {
        io->space = space;
        io->io.request.op = op;
        io->io.count = 0;
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

uint32_t page_io_vacant(void)
{
    return POOL_SIZE - __atomic_load_n(&pool_busy, __ATOMIC_RELAXED);
}

struct page_io *page_io_of(const struct frame *frame)
{
    ASSERT(frame->io < POOL_SIZE);
    return &pool[frame->io];
}

static void leave_slot(struct space *space, uint32_t slot, bool bad)
{
    if (bad) {
        store_slot_retire(space->store, slot);
    } else {
        store_slot_give(space->store, slot);
    }
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* The page is gone, and its VM with it. */
static void lose_page(struct page_io *io, uint32_t slot, uint64_t *entry, gfn_t page, bool bad_slot)
{
    struct space *space = io->space;

    if (!space->closed) {
        log_error("%s: guest page 0x%llx is lost: slot %u of %s cannot be read back", space->name,
                  (unsigned long long)page.v, slot, store_device_name(space->store));
    }
    entry_set_absent(space, entry, PAGE_LOST, 0);
    space_move(space, WHERE_TRANSIT, WHERE_LOST, 1);
    leave_slot(space, slot, bad_slot);
}

/* The lock is held; if the answer is good, the frame holds what the slot held. */
static void finish_read_page(struct page_io *io, uint32_t index, enum store_answer answer)
{
    struct space *space = io->space;
    pfn_t number = pfn(io->io.frame[index]);
    struct frame *frame = frame_get(number);
    gfn_t page = gfn(frame->gfn);
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    uint32_t slot = io->io.slot + index;

    ASSERT(entry_kind(space, table_entry_get(entry), level) == PAGE_IN);
    frame->flags &= (uint8_t)~FRAME_IO_READ;
    if (answer != STORE_DONE) {
        lose_page(io, slot, entry, page, answer == STORE_BAD_SLOT);
        frame_free(number);
        return;
    }
    bool wanted = index == io->wanted;
    unsigned flags = 0;

    if (wanted) {
        flags = io->wanted_how & ACCESS_WRITE ? LEAF_ACCESSED | LEAF_DIRTY : LEAF_ACCESSED;
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

/* ---- writes --------------------------------------------------------------------------------- */

/* The slot that could not be written is no copy of the frame. */
static void disown_slot(struct space *space, struct frame *frame, bool bad_slot)
{
    leave_slot(space, frame->slot, bad_slot);
    frame->slot = FRAME_NONE;
}

/* The lock is held. */
static void finish_write_page(struct page_io *io, uint32_t index, enum store_answer answer)
{
    struct space *space = io->space;
    pfn_t number = pfn(io->io.frame[index]);
    struct frame *frame = frame_get(number);
    gfn_t page = gfn(frame->gfn);
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, page, &level);
    bool leaving = entry_kind(space, table_entry_get(entry), level) == PAGE_OUT;
    bool good = answer == STORE_DONE;

    frame->flags &= (uint8_t)~FRAME_IO_WRITE;
    space->out_pages--;
    if (good) {
        space->page_outs++;
    } else {
        disown_slot(space, frame, answer == STORE_BAD_SLOT);
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

/* Whoever waits for the run looks again, though only some of its pages may be there by now. */
static void run_ended(struct store_io *run, uint64_t pages, enum store_answer answer)
{
    struct page_io *io = CONTAINER_OF(run, struct page_io, io);
    struct space *space = io->space;
    struct list waiters = LIST_INIT(waiters);

    spin_lock(&space->lock);
    for (uint32_t i = 0; i < run->count; i++) {
        if (pages >> i & 1 && run->request.op == BLOCK_READ) {
            finish_read_page(io, i, answer);
        } else if (pages >> i & 1) {
            finish_write_page(io, i, answer);
        }
    }
    wait_move(&waiters, &io->waiters);
    if (run->left == 0) {
        page_io_put(io);
    }
    spin_unlock(&space->lock);
    /* The space may be freed from here on. */
    wait_wake_all(&waiters);
    if (wait_anybody()) {
        mm_pager_wake();
    }
}

void page_io_submit(struct page_io *io)
{
    uint32_t index = (uint32_t)(io - pool);

    for (uint32_t i = 0; i < io->io.count; i++) {
        struct frame *frame = frame_get(pfn(io->io.frame[i]));

        if (io->io.request.op == BLOCK_READ) {
            frame->flags |= FRAME_IO_READ;
            frame->io = index;
        } else {
            frame->flags |= FRAME_IO_WRITE;
        }
    }
    store_io_submit(io->space->store, &io->io);
}
