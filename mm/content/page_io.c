/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/page_io.h"

#include "base/log.h"
#include "mm/content/store_internal.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

struct page_io {
    struct store_io run;
    struct list link;    /* in the pool's list while free */
    struct list waiters; /* mm/owner/wait.h */
    struct page_owner *owner;
    struct store *disk;  /* of a guest, which it is read from; NULL: the owner's store */
    uint32_t wanted;     /* read: index of the page that was asked for, the others come along */
    unsigned wanted_how; /* as for page_io_want() */
};

static struct page_io pool[PAGE_IO_REQUESTS];
static struct spinlock pool_lock = SPINLOCK_INIT(RANK_PAGE_IO, "page I/O pool");
static struct list pool_free = LIST_INIT(pool_free);
static uint32_t pool_busy;      /* taken from the pool now */
static uint32_t pool_untouched; /* first one that was never used */

static void run_ended(struct store_io *run, uint64_t pages, enum store_answer answer);

static bool run_unwanted(struct store_io *run)
{
    return page_owner_closed(CONTAINER_OF(run, struct page_io, run)->owner);
}

/* ---- the pool ------------------------------------------------------------------------------- */

static struct page_io *pool_take(uint32_t limit)
{
    static const struct store_io_owner engine = {.ended = run_ended, .unwanted = run_unwanted};
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
            store_io_init_request(&io->run, &engine);
        }
        pool_busy++;
    }
    spin_unlock(&pool_lock);
    return io;
}

static void pool_give(struct page_io *io)
{
    ASSERT(list_empty(&io->waiters));
    spin_lock(&pool_lock);
    pool_busy--;
    list_push_front(&pool_free, &io->link);
    spin_unlock(&pool_lock);
}

uint32_t page_io_vacant(void)
{
    return PAGE_IO_REQUESTS - __atomic_load_n(&pool_busy, __ATOMIC_RELAXED);
}

struct page_io *page_io_get(struct page_owner *owner, enum block_op op,
                            const struct mm_waiter *waiter)
{
    struct page_io *io;
    uint32_t kept = wait_served(waiter);

    if (op == BLOCK_WRITE && !store_takes_writes(owner->store)) {
        return NULL;
    }
    if (waiter == NULL) {
        kept = MAX(kept, PAGE_IO_RESERVE);
    }
    io = pool_take(PAGE_IO_REQUESTS - MIN(kept, PAGE_IO_REQUESTS));
    if (io != NULL) {
        io->owner = owner;
        io->disk = NULL;
        io->run.request.op = op;
        io->run.request.urgent = op == BLOCK_READ && waiter != NULL;
        io->run.count = 0;
        io->wanted = 0;
        io->wanted_how = 0;
        atomic_fetch_add(&owner->ios, 1);
    }
    return io;
}

/* Release: who sees that it was the last one may free the owner. */
static void leave_owner(struct page_owner *owner)
{
    atomic_fetch_sub_explicit(&owner->ios, 1, memory_order_release);
}

void page_io_put(struct page_io *io)
{
    struct page_owner *owner = io->owner;

    ASSERT(io->run.count == 0);
    pool_give(io);
    leave_owner(owner);
}

/* ---- pages of a request --------------------------------------------------------------------- */

static bool is_read(const struct page_io *io)
{
    return io->run.request.op == BLOCK_READ;
}

void page_io_start_at(struct page_io *io, uint32_t slot)
{
    ASSERT(io->run.count == 0);
    io->run.slot = slot;
}

void page_io_start_on_disk(struct page_io *io, struct store *disk, uint32_t block)
{
    ASSERT(is_read(io));
    io->disk = disk;
    page_io_start_at(io, block);
}

bool page_io_goes_on(const struct page_io *io, uint32_t slot)
{
    return io->run.count < BLOCK_MAX_PAGES && slot == io->run.slot + io->run.count;
}

void page_io_add(struct page_io *io, pfn_t number)
{
    struct frame *frame = frame_get(number);

    ASSERT(io->run.count < BLOCK_MAX_PAGES);
    frame->io = (uint32_t)(io - pool);
    frame->slot = io->disk != NULL ? FRAME_NONE : io->run.slot + io->run.count;
    if (io->disk != NULL) {
        frame->flags |= FRAME_IO_READ | FRAME_ON_DISK;
    } else if (is_read(io)) {
        frame->flags |= FRAME_IO_READ;
    } else {
        frame->flags = (uint8_t)((frame->flags | FRAME_IO_WRITE) & ~FRAME_DIRTY);
        store_slot_seal(io->owner->store, frame->slot, mm_frame_ptr(number));
        atomic_fetch_add_explicit(&io->owner->out_pages, 1, memory_order_relaxed);
    }
    io->run.frame[io->run.count++] = (uint32_t)number.v;
}

void page_io_want(struct page_io *io, uint32_t index, unsigned how, struct mm_waiter *waiter)
{
    io->wanted = index;
    io->wanted_how = how;
    wait_add(&io->waiters, waiter);
}

void page_io_submit(struct page_io *io)
{
    store_io_submit(io->disk != NULL ? io->disk : io->owner->store, &io->run);
}

void page_io_join(pfn_t number, unsigned how, struct mm_waiter *waiter)
{
    const struct frame *frame = frame_get(number);
    struct page_io *io = &pool[frame->io];

    ASSERT(frame->io < PAGE_IO_REQUESTS && frame->flags & FRAME_IO_READ);
    if (io->run.frame[io->wanted] == number.v && io->wanted_how != 0) {
        io->wanted_how |= how;
    }
    wait_add(&io->waiters, waiter);
}

/* ---- what has ended ------------------------------------------------------------------------- */

_Static_assert(FRAME_NONE == STORE_NONE, "frame->slot and slots share their `none`");

/* The slot of a request that has not gone well holds nothing that is worth keeping. */
static void leave_slot(struct page_owner *owner, struct frame *frame, enum store_answer answer)
{
    if (answer == STORE_BAD_SLOT && frame->slot != FRAME_NONE) {
        store_slot_retire(owner->store, frame->slot);
        frame->slot = FRAME_NONE;
    } else {
        page_io_drop_copy(owner, frame);
    }
}

/* Copies only help.  While the store is tight none is kept: its slot may be promised to others. */
static void keep_copy(struct page_owner *owner, struct frame *frame)
{
    if (frame->slot != FRAME_NONE && store_is_tight(owner->store)) {
        page_io_drop_copy(owner, frame);
    }
}

static void end_forgotten(struct page_owner *owner, pfn_t frame, enum store_answer answer)
{
    leave_slot(owner, frame_get(frame), answer);
    frame_free(frame);
}

static void end_read(struct page_owner *owner, pfn_t frame, unsigned how, enum store_answer answer)
{
    owner->ops->read_done(owner, frame, answer == STORE_DONE, how);
    if (answer == STORE_DONE) {
        keep_copy(owner, frame_get(frame));
    } else {
        leave_slot(owner, frame_get(frame), answer);
        frame_free(frame);
    }
}

static void end_write(struct page_owner *owner, pfn_t number, enum store_answer answer)
{
    struct frame *frame = frame_get(number);

    if (answer != STORE_DONE) {
        leave_slot(owner, frame, answer);
    }
    if (owner->ops->write_done(owner, number, answer == STORE_DONE)) {
        ASSERT(answer == STORE_DONE);
        frame->slot = FRAME_NONE; /* the place has it */
        frame_free(number);
    } else if (answer == STORE_DONE) {
        keep_copy(owner, frame);
    }
}

/* The lock of the page is held. */
static void end_page(struct page_io *io, uint32_t index, enum store_answer answer)
{
    pfn_t number = pfn(io->run.frame[index]);
    struct frame *frame = frame_get(number);
    struct page_owner *owner = io->owner;

    frame->flags &= (uint8_t) ~(FRAME_IO_READ | FRAME_IO_WRITE);
    frame->io = FRAME_NONE;
    if (!is_read(io)) {
        atomic_fetch_sub_explicit(&owner->out_pages, 1, memory_order_relaxed);
    }
    if (frame->flags & FRAME_FORGOTTEN) {
        end_forgotten(owner, number, answer);
    } else if (is_read(io)) {
        end_read(owner, number, index == io->wanted ? io->wanted_how : 0, answer);
    } else {
        end_write(owner, number, answer);
    }
}

/* Under the lock of each; pages of one request have mostly the same. */
static void end_pages(struct page_io *io, uint64_t pages, enum store_answer answer)
{
    struct spinlock *held = NULL;

    for (; pages != 0; pages &= pages - 1) {
        uint32_t index = (uint32_t)__builtin_ctzll(pages);
        const struct frame *frame = frame_get(pfn(io->run.frame[index]));
        struct spinlock *lock = io->owner->ops->lock(io->owner, frame);

        if (lock != held) {
            if (held != NULL) {
                spin_unlock(held);
            }
            spin_lock(lock);
            held = lock;
        }
        end_page(io, index, answer);
    }
    if (held != NULL) {
        spin_unlock(held);
    }
}

/* Whoever waits for the run looks again, though only some of its pages may be there by now. */
static void run_ended(struct store_io *run, uint64_t pages, enum store_answer answer)
{
    struct page_io *io = CONTAINER_OF(run, struct page_io, run);
    struct page_owner *owner = io->owner;
    struct list waiters = LIST_INIT(waiters);
    bool over = run->left == 0;

    end_pages(io, pages, answer);
    wait_move(&waiters, &io->waiters);
    if (over) {
        pool_give(io);
    }
    wait_wake_all(&waiters);
    if (wait_anybody()) {
        mm_pager_wake();
    }
    if (over) {
        leave_owner(owner);
    }
}
