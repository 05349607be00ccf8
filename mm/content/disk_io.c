/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/disk_io.h"

#include "base/bits.h"
#include "base/lock.h"
#include "mm/env.h"

#define PAUSE_NS     10000000ull /* before the second try; twice as long before each next one */
#define PAUSE_MAX_NS 1000000000ull
#define NEVER        UINT64_MAX

static struct spinlock waiting_lock = SPINLOCK_INIT(RANK_STORE, "disk reads");
static struct list waiting = LIST_INIT(waiting); /* to be tried again */

static void read_done(struct block_request *request, enum block_status status);

/* All that is left, or the next page alone. */
static void send(struct store_io *io)
{
    uint32_t count = io->single ? 1 : io->count;

    io->first = io->single ? (uint32_t)__builtin_ctzll(io->left) : 0;
    io->request.pages = count;
    io->request.done = read_done;
    io->request.owner = io;
    io->request.block = io->block + io->first;
    for (uint32_t i = 0; i < count; i++) {
        io->request.page[i] = pfn(io->frame[io->first + i]);
    }
    block_submit(io->device, &io->request);
}

void disk_io_submit(struct store_io *io)
{
    io->left = BITS(io->count - 1, 0);
    io->single = false;
    io->tries = 0;
    io->due_ns = io->give_up_ns = 0;
    send(io);
}

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

static void wait_until(struct store_io *io, uint64_t due_ns)
{
    io->due_ns = due_ns;
    spin_lock(&waiting_lock);
    list_push_back(&waiting, &io->link);
    spin_unlock(&waiting_lock);
    mm_pager_wake();
}

/* Some page has not come.  `answered`: something else has. */
static void try_again(struct store_io *io, bool answered, uint64_t now)
{
    bool alone = io->single;
    uint64_t pause = PAUSE_NS << MIN(io->tries, 7u);

    io->single = true;
    io->give_up_ns = io->give_up_ns == 0 ? now + DISK_IO_PATIENCE_NS : io->give_up_ns;
    if (alone && ((answered && io->tries + 1u >= DISK_IO_TRIES) || now >= io->give_up_ns)) {
        if (!end_pages(io, BIT(io->first), STORE_GIVEN_UP)) {
            send(io);
        }
        return;
    }
    io->tries = (uint8_t)MIN(io->tries + alone, UINT8_MAX);
    wait_until(io, now + MIN(pause, PAUSE_MAX_NS));
}

/* Which of the pages that have been read are what was dropped.  The frames are the request's alone,
 * so no lock is needed. */
static uint64_t verify(struct store_io *io)
{
    uint64_t good = 0;

    for (uint32_t i = io->first; i < io->first + io->request.pages; i++) {
        good |= io->owner->verify(io, i) ? BIT(i) : 0;
    }
    return good;
}

static void read_done(struct block_request *request, enum block_status status)
{
    struct store_io *io = request->owner;
    uint64_t moved = BITS(io->first + request->pages - 1, io->first);
    uint64_t good = status == BLOCK_OK ? verify(io) : 0;

    if (good != 0 && end_pages(io, good, STORE_DONE)) {
        return;
    }
    if (good == moved) {
        send(io); /* the next one alone */
    } else {
        try_again(io, status == BLOCK_OK, mm_clock_ns());
    }
}

/* ---- what waits ----------------------------------------------------------------------------- */

static struct store_io *take_ready(uint64_t now)
{
    struct store_io *ready = NULL;

    spin_lock(&waiting_lock);
    LIST_FOR_EACH (link, &waiting) {
        struct store_io *io = LIST_ENTRY(link, struct store_io, link);

        if (now >= io->due_ns || io->owner->unwanted(io)) {
            list_remove(&io->link);
            ready = io;
            break;
        }
    }
    spin_unlock(&waiting_lock);
    return ready;
}

/* Each one that is taken is sent, or over: what fails again is not due before the next poll. */
void disk_io_poll(uint64_t now_ns)
{
    struct store_io *io;

    if (disk_io_deadline(now_ns) == NEVER) {
        return;
    }
    while ((io = take_ready(now_ns)) != NULL) {
        if (io->owner->unwanted(io)) {
            end_pages(io, io->left, STORE_GIVEN_UP);
        } else {
            send(io);
        }
    }
}

uint64_t disk_io_deadline(uint64_t now_ns)
{
    bool none = __atomic_load_n(&waiting.next, __ATOMIC_RELAXED) == &waiting;

    return none ? NEVER : now_ns + PAUSE_NS;
}
