/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a request that fails.
 *
 * While a way (reads, or writes) is not WELL its requests wait, whole; mm/content/store_health.c
 * says when it is well again, by probes.  Then after DOUBTED  the disk is well and the slots were
 * the cause: the request is tried page by page, with pauses that grow; a page that fails TRIES
 * times, a probe having succeeded each time, ends as BAD_SLOT after AWAY     the request is tried
 * as it was and in GONE and FULL requests end as GIVEN_UP.
 *
 * Data that was read and is not what was written needs no probe: the page is tried again alone.
 *
 * Why each wait ends: a probe ends, since requests of a disk do (drivers/); the time in DOUBTED and
 * AWAY is bounded; in WELL a page is tried TRIES times; and a request whose pages nobody wants ends
 * at the next poll.
 */
#include "mm/content/store_io.h"

#include "mm/content/store_private.h"
#include "mm/env.h"

#define TRIES    5u
#define PAUSE_NS 10000000ull /* before the second try; four times as long before each next one */
#define NEVER    UINT64_MAX

static struct store *stores; /* opened at boot */

static uint64_t bits(uint32_t first, uint32_t count)
{
    return BITS(first + count - 1, first);
}

void store_io_init_request(struct store_io *io, const struct store_io_owner *owner)
{
    list_init(&io->link);
    list_init(&io->request.link);
    io->request.sector = io->request.offset = io->request.cut = 0; /* whole pages */
    io->owner = owner;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void io_done(struct block_request *request, enum block_status status);

static void count_request(struct store *store, const struct store_io *io)
{
    spin_lock(&store->lock);
    if (io->request.op == BLOCK_READ) {
        store->reads++;
        store->read_pages += io->request.pages;
    } else {
        store->writes++;
        store->written_pages += io->request.pages;
    }
    spin_unlock(&store->lock);
}

/* All that is left, or the next page alone. */
static void send(struct store_io *io)
{
    uint32_t count = io->single ? 1 : io->count;

    io->first = io->single ? (uint32_t)__builtin_ctzll(io->left) : 0;
    io->failed = false;
    io->request.pages = count;
    io->request.done = io_done;
    io->request.owner = io;
    io->request.block = (uint64_t)io->store->first + io->slot + io->first;
    for (uint32_t i = 0; i < count; i++) {
        io->request.page[i] = pfn(io->frame[io->first + i]);
    }
    count_request(io->store, io);
    block_submit(io->store->device, &io->request);
}

void store_io_submit(struct store *store, struct store_io *io)
{
    struct store_way *way = store_way_of(store, io->request.op);
    bool held;

    ASSERT(io->count > 0 && io->count <= BLOCK_MAX_PAGES);
    io->store = store;
    io->left = bits(0, io->count);
    io->single = io->failed = false;
    io->tries = 0;
    io->due_ns = 0;
    spin_lock(&store->lock);
    held = way->health != STORE_WELL;
    if (held) {
        list_push_back(&way->waiting, &io->link);
    }
    spin_unlock(&store->lock);
    if (!held) {
        send(io);
    }
}

/* ---- ends of requests ----------------------------------------------------------------------- */

/* Ends pages; true: the request is no longer ours. */
static bool end_pages(struct store_io *io, uint64_t pages, enum store_answer answer)
{
    bool all;

    io->left &= ~pages;
    io->tries = 0;
    all = io->left == 0;
    io->owner->ended(io, pages, answer);
    return all;
}

/* The page tried alone has failed too often.  Is the slot to blame?  Not if no other can be
 * written. */
static bool blame_slot(struct store_io *io)
{
    struct store_way *way = store_way_of(io->store, io->request.op);
    bool blame;

    spin_lock(&io->store->lock);
    blame = io->request.op == BLOCK_READ || way->bad_slots < STORE_FULL_SLOTS;
    if (blame) {
        way->bad_slots++;
        way->bad_block = io->request.block;
    }
    spin_unlock(&io->store->lock);
    return blame;
}

/* The page that is tried alone has failed once more, though the disk is well.  True: it has been
 * too often, and that was all of the request. */
static bool try_failed(struct store_io *io, uint64_t now)
{
    bool alone = io->single;

    io->single = true;
    io->due_ns = 0;
    if (alone && ++io->tries >= TRIES) {
        if (blame_slot(io)) {
            return end_pages(io, BIT(io->first), STORE_BAD_SLOT);
        }
        io->tries = TRIES - 1;
        io->due_ns = now + STORE_BACKOFF_MAX_NS;
    } else if (alone) {
        io->due_ns = now + (PAUSE_NS << 2 * (io->tries - 1));
    }
    return false;
}

/* The disk has failed it: whether the slot is the cause is for a probe to say. */
static void doubt(struct store_io *io, uint64_t now)
{
    struct store *store = io->store;
    struct store_way *way = store_way_of(store, io->request.op);

    spin_lock(&store->lock);
    store->errors++;
    store_way_doubt(way, now);
    io->failed = true;
    io->outages = way->outages;
    list_push_back(&way->waiting, &io->link);
    spin_unlock(&store->lock);
    mm_pager_wake();
}

/* Pages of which the disk says that it has read them, and that are what was written.  The frames
 * are the request's alone, so no lock is needed. */
static uint64_t verify(const struct store_io *io)
{
    uint64_t good = 0;

    for (uint32_t i = io->first; i < io->first + io->request.pages; i++) {
        if (store_slot_verify(io->store, io->slot + i, mm_frame_ptr(pfn(io->frame[i])))) {
            good |= BIT(i);
        }
    }
    return good;
}

/* Some page holds something else than what was written. */
static void read_wrong(struct store_io *io, uint64_t now)
{
    struct store_way *way = store_way_of(io->store, BLOCK_READ);

    store_count_error(io->store);
    if (try_failed(io, now)) {
        return;
    }
    spin_lock(&io->store->lock);
    list_push_back(&way->waiting, &io->link);
    spin_unlock(&io->store->lock);
    mm_pager_wake();
}

static void io_done(struct block_request *request, enum block_status status)
{
    struct store_io *io = request->owner;
    uint64_t moved = bits(io->first, request->pages), good = moved;
    uint64_t now = mm_clock_ns();

    if (status != BLOCK_OK) {
        doubt(io, now);
        return;
    }
    store_way_is_good(io->store, request->op);
    if (request->op == BLOCK_READ) {
        good = verify(io);
    }
    if (good != 0 && end_pages(io, good, STORE_DONE)) {
        return;
    }
    if (good != moved) {
        read_wrong(io, now);
    } else {
        send(io); /* the next one alone */
    }
}

/* ---- stores --------------------------------------------------------------------------------- */

void store_io_init(struct store *store)
{
    for (unsigned i = 0; i < 2; i++) {
        list_init(&store->way[i].waiting);
        list_init(&store->way[i].probe.link);
    }
    store->next = stores;
    stores = store;
}

void store_io_forget(struct store *store)
{
    struct store **at = &stores;

    while (*at != store) {
        at = &(*at)->next;
    }
    *at = store->next;
}

/* ---- what waits ----------------------------------------------------------------------------- */

/* What is to be done with a request that has waited. */
enum verdict {
    VERDICT_WAIT,
    VERDICT_SEND,
    VERDICT_END,
};

static enum verdict judge(const struct store_way *way, struct store_io *io, uint64_t now)
{
    if (way->health == STORE_GONE || way->health == STORE_FULL || io->owner->unwanted(io)) {
        return VERDICT_END;
    }
    return way->health == STORE_WELL && now >= io->due_ns ? VERDICT_SEND : VERDICT_WAIT;
}

/* Takes the next one off the list that need not wait; NULL: none.  The lock is held. */
static struct store_io *take_ready(struct store_way *way, uint64_t now, enum verdict *verdict)
{
    LIST_FOR_EACH (link, &way->waiting) {
        struct store_io *io = LIST_ENTRY(link, struct store_io, link);

        *verdict = judge(way, io, now);
        if (*verdict != VERDICT_WAIT) {
            list_remove(&io->link);
            return io;
        }
    }
    return NULL;
}

/* The way is WELL: was the disk away, or is it this slot?  Without the lock. */
static void resume(struct store_io *io, const struct store_way *way, uint64_t now)
{
    if (io->failed && io->outages == way->outages) {
        if (try_failed(io, now)) {
            return;
        }
        if (io->due_ns > now) {
            io->failed = false; /* counted */
            spin_lock(&io->store->lock);
            list_push_back(&store_way_of(io->store, io->request.op)->waiting, &io->link);
            spin_unlock(&io->store->lock);
            return;
        }
    }
    send(io);
}

static void poll_way(struct store *store, enum block_op op, uint64_t now)
{
    struct store_way *way = store_way_of(store, op);
    enum verdict verdict;
    struct store_io *io;

    store_way_poll(store, op, now);
    for (;;) {
        spin_lock(&store->lock);
        io = take_ready(way, now, &verdict);
        spin_unlock(&store->lock);
        if (io == NULL) {
            break;
        }
        if (verdict == VERDICT_SEND) {
            resume(io, way, now);
        } else {
            end_pages(io, io->left, STORE_GIVEN_UP);
        }
    }
}

/* Looks without the lock: what is missed now is seen by the next poll, which whoever changes it
 * asks for. */
static uint64_t way_deadline(const struct store_way *way, uint64_t now)
{
    enum store_health health = __atomic_load_n(&way->health, __ATOMIC_RELAXED);

    if (__atomic_load_n(&way->waiting.next, __ATOMIC_RELAXED) != &way->waiting) {
        return now + PAUSE_NS;
    }
    return health == STORE_WELL ? NEVER : __atomic_load_n(&way->probe_ns, __ATOMIC_RELAXED);
}

void store_io_poll(uint64_t now_ns)
{
    for (struct store *store = stores; store != NULL; store = store->next) {
        for (enum block_op op = BLOCK_READ; op <= BLOCK_WRITE; op++) {
            if (way_deadline(store_way_of(store, op), now_ns) != NEVER) {
                poll_way(store, op, now_ns);
            }
        }
    }
}

uint64_t store_io_deadline(uint64_t now_ns)
{
    uint64_t next = NEVER;

    for (const struct store *store = stores; store != NULL; store = store->next) {
        next = MIN(next, way_deadline(&store->way[0], now_ns));
        next = MIN(next, way_deadline(&store->way[1], now_ns));
    }
    return next;
}
