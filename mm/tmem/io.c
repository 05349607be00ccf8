/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem and the paging store: reading pages back, and what the pager does with tmem.
 *
 * Requests are a VM's own, fixed in number, found by a bit mask: no lock, and no allocation when
 * memory is short.  A page that cannot be written stays in its frame.
 */
#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/space/space_internal.h"
#include "mm/space/wait.h"
#include "mm/tmem/internal.h"

#define EVICT_PAGES 512u         /* of one step, should they have no frames */
#define GRACE_NS    100000000ull /* a page that was read for a get stays so long for it to come */

/* ---- requests ------------------------------------------------------------------------------- */

static bool more_than(uint32_t bits, unsigned count)
{
    while (count-- > 0) {
        bits &= bits - 1;
    }
    return bits != 0;
}

/* `kept` are left to others. */
static struct tmem_io *io_take(struct tmem *tmem, enum block_op op, unsigned kept)
{
    uint32_t vacant = atomic_load(&tmem->io_free);
    unsigned index;

    do {
        if (!more_than(vacant, kept)) {
            return NULL;
        }
        index = (unsigned)__builtin_ctz(vacant);
    } while (!atomic_compare_exchange_weak(&tmem->io_free, &vacant, vacant & ~(1u << index)));

    struct tmem_io *io = tmem->io[index];

    atomic_fetch_add(&tmem->ios, 1);
    io->io.request.op = op;
    io->io.request.urgent = false;
    io->io.count = 0;
    return io;
}

/* The last thing that is done with a request, and maybe with the tmem: no locks held. */
static void io_give(struct tmem_io *io)
{
    struct tmem *tmem = io->tmem;
    struct list readers = LIST_INIT(readers), starved = LIST_INIT(starved);

    if (io->io.request.op == BLOCK_WRITE) {
        atomic_fetch_sub(&tmem->writes, 1);
    }
    wait_move(&readers, &io->waiters);
    atomic_fetch_or(&tmem->io_free, 1u << io->number);
    wait_move(&starved, &tmem->io_waiters);
    wait_wake_all(&readers);
    wait_wake_all(&starved);
    if (wait_anybody()) {
        mm_pager_wake();
    }
    /* Release: who sees 0 may free all of it. */
    atomic_fetch_sub_explicit(&tmem->ios, 1, memory_order_release);
}

struct tmem_io *tmem_io_of(struct tmem *tmem, const struct tmem_page *page)
{
    uint32_t index = frame_get(pfn(tmem_page_payload(page)))->io;

    ASSERT(index < TMEM_IOS);
    return tmem->io[index];
}

void tmem_io_wait(struct tmem *tmem, struct mm_waiter *waiter)
{
    struct list starved = LIST_INIT(starved);

    wait_add(&tmem->io_waiters, waiter, tmem->space);
    /* One that was given back before we were queued has woken nobody. */
    if (atomic_load(&tmem->io_free) != 0) {
        wait_move(&starved, &tmem->io_waiters);
        wait_wake_all(&starved);
    }
}

/* Where the request that works on the page's frame has the page. */
static struct tmem_page **place_in_io(struct tmem *tmem, const struct tmem_page *page)
{
    struct tmem_io *io = tmem_io_of(tmem, page);

    for (uint32_t i = 0; i < io->io.count; i++) {
        if (io->page[i] == page) {
            return &io->page[i];
        }
    }
    panic("tmem %s: a page in flight is in no request", tmem->name);
}

void tmem_io_cut(struct tmem *tmem, struct tmem_page *page)
{
    *place_in_io(tmem, page) = NULL;
}

void tmem_io_moved(struct tmem *tmem, struct tmem_page *from, struct tmem_page *to)
{
    enum tmem_where where = tmem_page_where(from);

    if ((where == TMEM_AT_FRAME || where == TMEM_AT_READING) &&
        frame_get(pfn(tmem_page_payload(from)))->flags & (FRAME_IO_READ | FRAME_IO_WRITE)) {
        *place_in_io(tmem, from) = to;
    }
}

static void io_add(struct tmem_io *io, struct tmem_shard *shard, struct tmem_page *page,
                   pfn_t number)
{
    struct frame *frame = frame_get(number);

    frame->flags |= io->io.request.op == BLOCK_READ ? FRAME_IO_READ : FRAME_IO_WRITE;
    frame->io = io->number;
    frame->slot = io->io.slot + io->io.count;
    io->io.frame[io->io.count] = (uint32_t)number.v;
    io->shard[io->io.count] = shard;
    io->page[io->io.count] = page;
    io->io.count++;
}

/* ---- completion ----------------------------------------------------------------------------- */

/* The request has ended badly for this frame: its slot holds nothing that is worth keeping. */
static void disown_slot(struct tmem *tmem, struct frame *frame, enum store_answer answer)
{
    if (answer == STORE_BAD_SLOT) {
        store_slot_retire(tmem->store, frame->slot);
    } else {
        store_slot_give(tmem->store, frame->slot);
    }
    frame->slot = FRAME_NONE;
}

static void free_with_slot(struct tmem *tmem, pfn_t number)
{
    struct frame *frame = frame_get(number);

    if (frame->slot != FRAME_NONE) {
        store_slot_give(tmem->store, frame->slot);
    }
    frame_free(number);
}

/* The shard's lock is held, the page is still wanted. */
static void read_into_page(struct tmem_io *io, struct tmem_page *page, pfn_t number)
{
    struct tmem *tmem = io->tmem;
    struct frame *frame = frame_get(number);

    if (frame->slot == FRAME_NONE) {
        log_error("%s: a tmem page is lost: slot %u of %s cannot be read back", tmem->name,
                  io->io.slot, store_device_name(tmem->store));
        frame_free(number);
        tmem_page_set(page, TMEM_AT_LOST, 0);
        return;
    }
    if (store_is_tight(tmem->store)) {
        store_slot_give(tmem->store, frame->slot);
        frame->slot = FRAME_NONE;
    }
    frame->gfn = mm_clock_ns();
    tmem_page_set(page, TMEM_AT_FRAME, number.v);
    tmem_page_age(tmem, io->shard[0], page);
}

/* The shard's lock is held, the page is still wanted. */
static void written_page(struct tmem_io *io, uint32_t index, pfn_t number)
{
    struct tmem *tmem = io->tmem;
    struct tmem_page *page = io->page[index];

    if (frame_get(number)->slot == FRAME_NONE) { /* it stays */
        tmem_page_age(tmem, io->shard[index], page);
        return;
    }
    tmem_page_set(page, TMEM_AT_SLOT, frame_get(number)->slot);
    frame_free(number);
}

static void finish_page(struct tmem_io *io, uint32_t index, enum store_answer answer)
{
    pfn_t number = pfn(io->io.frame[index]);
    struct frame *frame = frame_get(number);
    struct tmem_shard *shard = io->shard[index];
    bool reading = io->io.request.op == BLOCK_READ;

    if (!reading) {
        atomic_fetch_sub(&io->tmem->out_pages, 1);
    }
    spin_lock(&shard->lock);
    frame->flags &= (uint8_t) ~(FRAME_IO_READ | FRAME_IO_WRITE);
    frame->io = FRAME_NONE;
    if (answer != STORE_DONE) {
        disown_slot(io->tmem, frame, answer);
    }
    if (io->page[index] == NULL) {
        free_with_slot(io->tmem, number);
    } else if (reading) {
        read_into_page(io, io->page[index], number);
    } else {
        written_page(io, index, number);
    }
    io->page[index] = NULL;
    spin_unlock(&shard->lock);
}

static void run_ended(struct store_io *run, uint64_t pages, enum store_answer answer)
{
    struct tmem_io *io = CONTAINER_OF(run, struct tmem_io, io);

    for (uint32_t i = 0; i < run->count; i++) {
        if (pages >> i & 1) {
            finish_page(io, i, answer);
        }
    }
    if (run->left == 0) {
        io_give(io);
    }
}

static bool run_unwanted(struct store_io *run)
{
    return __atomic_load_n(&CONTAINER_OF(run, struct tmem_io, io)->tmem->closed, __ATOMIC_RELAXED);
}

void tmem_io_init(struct tmem *tmem, struct tmem_io *io, unsigned number)
{
    static const struct store_io_owner owner = {.ended = run_ended, .unwanted = run_unwanted};

    list_init(&io->waiters);
    store_io_init_request(&io->io, &owner);
    io->tmem = tmem;
    io->number = number;
}

/* ---- reading -------------------------------------------------------------------------------- */

enum tmem_read tmem_io_read(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                            struct mm_waiter *waiter)
{
    pfn_t number;

    if (!wait_take_frame(waiter, ALLOC_TMEM, &number)) {
        return TMEM_READ_NO_FRAME;
    }
    struct tmem_io *io = io_take(tmem, BLOCK_READ, waiter == NULL ? TMEM_READS : 0);

    if (io == NULL) {
        frame_free(number);
        return TMEM_READ_NO_IO;
    }
    io->io.request.urgent = waiter != NULL;
    io->io.slot = (uint32_t)tmem_page_payload(page);
    io_add(io, shard, page, number);
    tmem_page_set(page, TMEM_AT_READING, number.v);
    store_io_submit(tmem->store, &io->io);
    return TMEM_READ_STARTED;
}

/* ---- for the pager -------------------------------------------------------------------------- */

/* By hints, so it may be wrong now and then.  NULL: none has any. */
static struct tmem_shard *oldest_shard(struct tmem *tmem, enum tmem_age which)
{
    struct tmem_shard *oldest = NULL;
    uint64_t least = TMEM_NEVER;

    for (unsigned i = 0; i < TMEM_SHARDS; i++) {
        uint64_t stamp = atomic_load_explicit(&tmem->shard[i]->oldest[which], memory_order_relaxed);

        if (stamp < least) {
            least = stamp;
            oldest = tmem->shard[i];
        }
    }
    return oldest;
}

/* The lock is held; NULL: the hint was old. */
static struct tmem_page *first_page(struct tmem_shard *shard, enum tmem_age which)
{
    if (list_empty(&shard->age[which])) {
        return NULL;
    }
    return LIST_ENTRY(shard->age[which].next, struct tmem_page, age);
}

/* Adds the frames that this frees. */
static bool evict_oldest(struct tmem *tmem, struct tmem_shard *shard, unsigned *freed)
{
    struct tmem_page *page = first_page(shard, TMEM_AGE_EPHEMERAL);
    uint32_t before = shard->page_frames.frames;

    if (page == NULL) {
        return false;
    }
    *freed += tmem_page_where(page) == TMEM_AT_FRAME;
    tmem_count(tmem_pool_at(tmem, page->handle.pool), TMEM_EVICTIONS);
    tmem_page_remove(tmem, shard, page);
    *freed += before - shard->page_frames.frames;
    return true;
}

bool tmem_evict_one(struct tmem *tmem, struct tmem_shard *shard)
{
    unsigned freed = 0;

    return evict_oldest(tmem, shard, &freed);
}

unsigned tmem_evict(struct tmem *tmem, unsigned target)
{
    unsigned evicted = 0, freed = 0;

    while (freed < target && evicted < EVICT_PAGES) {
        struct tmem_shard *shard = oldest_shard(tmem, TMEM_AGE_EPHEMERAL);
        bool gone;

        if (shard == NULL) {
            break;
        }
        spin_lock(&shard->lock);
        gone = evict_oldest(tmem, shard, &freed);
        spin_unlock(&shard->lock);
        if (!gone) {
            break; /* somebody else was faster */
        }
        evicted++;
    }
    return evicted;
}

/* In clusters of our own, so that pages that leave together lie together. */
static uint32_t next_slot(struct tmem *tmem)
{
    uint32_t slot;

    if (tmem->cluster != STORE_NONE && tmem->cluster_next == STORE_CLUSTER_SLOTS) {
        store_cluster_give(tmem->store, tmem->cluster);
        tmem->cluster = STORE_NONE;
    }
    if (tmem->cluster == STORE_NONE) {
        tmem->cluster = store_cluster_take(tmem->store);
        tmem->cluster_next = 0;
    }
    slot = store_slot_take(tmem->store, tmem->cluster, tmem->cluster_next);
    if (tmem->cluster != STORE_NONE && slot != STORE_NONE) {
        tmem->cluster_next++;
    }
    if (slot == STORE_NONE && !tmem->no_store_room) {
        tmem->no_store_room = true;
        log_warn("%s: the store %s is full: tmem pages stay in memory", tmem->name,
                 store_device_name(tmem->store));
    }
    return slot;
}

/* A write under construction. */
struct writing {
    struct tmem *tmem;
    struct tmem_io *io; /* NULL: none yet */
    bool stuck;         /* no slot, or no request: enough for now */
};

static void submit_writing(struct writing *writing)
{
    if (writing->io != NULL) {
        store_io_submit(writing->tmem->store, &writing->io->io);
        writing->io = NULL;
    }
}

static bool begin_writing(struct writing *writing, uint32_t slot)
{
    struct tmem *tmem = writing->tmem;

    if (atomic_load(&tmem->writes) == TMEM_WRITES || !store_takes_writes(tmem->store)) {
        return false;
    }
    writing->io = io_take(tmem, BLOCK_WRITE, TMEM_READS);
    if (writing->io == NULL) {
        return false;
    }
    writing->io->io.slot = slot;
    atomic_fetch_add(&tmem->writes, 1);
    return true;
}

/* The shard's lock is held.  The page goes on a request, next to what is there already. */
static void write_page(struct writing *writing, struct tmem_shard *shard, struct tmem_page *page,
                       pfn_t frame)
{
    struct tmem *tmem = writing->tmem;
    uint32_t slot = next_slot(tmem);

    if (slot == STORE_NONE) {
        writing->stuck = true;
        return;
    }
    if (writing->io != NULL && (writing->io->io.count == TMEM_IO_PAGES ||
                                slot != writing->io->io.slot + writing->io->io.count)) {
        submit_writing(writing);
    }
    if (writing->io == NULL && !begin_writing(writing, slot)) {
        store_slot_give(tmem->store, slot);
        writing->stuck = true;
        return;
    }
    tmem_page_unage(tmem, shard, page);
    store_slot_seal(tmem->store, slot, mm_frame_ptr(frame));
    io_add(writing->io, shard, page, frame);
    atomic_fetch_add(&tmem->out_pages, 1);
}

/* The oldest page of the shard leaves, at once if it has a clean copy.  False: it did not. */
static bool leave(struct writing *writing, struct tmem_shard *shard)
{
    struct tmem_page *page = first_page(shard, TMEM_AGE_PERSISTENT);

    if (page == NULL) {
        return false;
    }
    pfn_t number = pfn(tmem_page_payload(page));
    uint32_t copy = frame_get(number)->slot;
    uint64_t read_ns = frame_get(number)->gfn;

    /* Else memory that is short for long would take it again and again before it is fetched. */
    if (read_ns != 0 && mm_clock_ns() < read_ns + GRACE_NS) {
        writing->stuck = true;
        return false;
    }
    if (copy == FRAME_NONE) {
        write_page(writing, shard, page, number);
        return !writing->stuck;
    }
    tmem_page_unage(writing->tmem, shard, page);
    tmem_page_set(page, TMEM_AT_SLOT, copy);
    frame_free(number);
    return true;
}

unsigned tmem_write_out(struct tmem *tmem, unsigned target)
{
    struct writing writing = {.tmem = tmem};
    unsigned leaving = 0;

    for (unsigned tries = 0; tries < target && !writing.stuck && tmem->store != NULL; tries++) {
        struct tmem_shard *shard = oldest_shard(tmem, TMEM_AGE_PERSISTENT);

        if (shard == NULL) {
            break;
        }
        spin_lock(&shard->lock);
        leaving += leave(&writing, shard);
        spin_unlock(&shard->lock);
    }
    submit_writing(&writing);
    return leaving;
}
