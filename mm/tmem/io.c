/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem as the owner of its pages: what becomes of one whose I/O has ended, reading pages back, and
 * what the pager does with tmem.  A page that cannot be written stays in its frame. */
#include "base/log.h"
#include "mm/content/page_io.h"
#include "mm/content/store_internal.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/owner/wait.h"
#include "mm/space/space_internal.h"
#include "mm/tmem/internal.h"

#define EVICT_PAGES 512u         /* of one step, should they have no frames */
#define GRACE_NS    100000000ull /* a page that was read for a get stays so long for it to come */

/* ---- pages whose I/O has ended (mm/owner/owner.h) -------------------------------------------- */

static struct tmem *tmem_of(struct page_owner *owner)
{
    return CONTAINER_OF(owner, struct tmem, owner);
}

static struct spinlock *lock_of_page(struct page_owner *owner, const struct frame *frame)
{
    return &tmem_of(owner)->shard[rmap_part(frame)]->lock;
}

static struct tmem_page *page_at(const struct rmap_entry *user)
{
    return (struct tmem_page *)(uintptr_t)user->page;
}

static void lose_page(const struct tmem *tmem, struct tmem_page *page, const struct frame *frame)
{
    log_error("%s: a tmem page is lost: slot %u of %s cannot be read back", tmem->owner.name,
              frame->slot, store_device_name(tmem->owner.store));
    tmem_page_set(page, place(PLACE_LOST, 0));
}

static void page_has_come(struct page_owner *owner, pfn_t number, bool good, unsigned how)
{
    struct tmem *tmem = tmem_of(owner);
    struct frame *frame = frame_get(number);

    (void)how;
    rmap_for_each (user, frame) {
        struct tmem_page *page = page_at(&user);

        if (!good) {
            lose_page(tmem, page, frame);
            continue;
        }
        frame->when_ns = mm_clock_ns();
        tmem_page_set(page, place(PLACE_FRAME, number.v));
        tmem_page_age(tmem, tmem->shard[user.part], page);
    }
}

static bool page_has_gone(struct page_owner *owner, pfn_t number, bool good)
{
    struct tmem *tmem = tmem_of(owner);

    rmap_for_each (user, frame_get(number)) {
        struct tmem_page *page = page_at(&user);

        if (good) {
            tmem_page_set(page, place_of_slot(frame_get(number)->slot, 0));
        } else {
            tmem_page_set(page, place(PLACE_FRAME, number.v));
            tmem_page_age(tmem, tmem->shard[user.part], page);
        }
    }
    return good;
}

const struct page_owner_ops tmem_pages = {
    .lock = lock_of_page,
    .read_done = page_has_come,
    .write_done = page_has_gone,
};

/* ---- reading -------------------------------------------------------------------------------- */

bool tmem_io_read(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                  struct mm_waiter *waiter)
{
    struct page_io *io = page_io_get(&tmem->owner, BLOCK_READ, waiter);
    pfn_t frame;

    if (io == NULL) {
        return false;
    }
    if (!wait_take_frame(waiter, ALLOC_TMEM, &frame)) {
        page_io_put(io);
        return false;
    }
    page_io_start_at(io, place_slot(tmem_page_place(page)));
    page_io_add(io, frame);
    tmem_page_bind(shard, page, frame);
    tmem_page_set(page, place(PLACE_READING, frame.v));
    if (waiter != NULL) {
        page_io_want(io, 0, ACCESS_READ, waiter);
    }
    page_io_submit(io);
    return true;
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
    *freed += tmem_page_place(page).kind == PLACE_FRAME;
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
        store_cluster_give(tmem->owner.store, tmem->cluster);
        tmem->cluster = STORE_NONE;
    }
    if (tmem->cluster == STORE_NONE) {
        tmem->cluster = store_cluster_take(tmem->owner.store);
        tmem->cluster_next = 0;
    }
    slot = store_slot_take(tmem->owner.store, tmem->cluster, tmem->cluster_next);
    if (tmem->cluster != STORE_NONE && slot != STORE_NONE) {
        tmem->cluster_next++;
    }
    if (slot == STORE_NONE && !tmem->no_store_room) {
        tmem->no_store_room = true;
        log_warn("%s: the store %s is full: tmem pages stay in memory", tmem->owner.name,
                 store_device_name(tmem->owner.store));
    }
    return slot;
}

/* A write under construction. */
struct writing {
    struct tmem *tmem;
    struct page_io *io; /* NULL: none yet */
    bool stuck;         /* no slot, or no request: enough for now */
};

static void submit_writing(struct writing *writing)
{
    if (writing->io != NULL) {
        page_io_submit(writing->io);
        writing->io = NULL;
    }
}

static bool begin_writing(struct writing *writing, uint32_t slot)
{
    writing->io = page_io_get(&writing->tmem->owner, BLOCK_WRITE, NULL);
    if (writing->io == NULL) {
        return false;
    }
    page_io_start_at(writing->io, slot);
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
    if (writing->io != NULL && !page_io_goes_on(writing->io, slot)) {
        submit_writing(writing);
    }
    if (writing->io == NULL && !begin_writing(writing, slot)) {
        store_slot_give(tmem->owner.store, slot);
        writing->stuck = true;
        return;
    }
    tmem_page_unage(tmem, shard, page);
    tmem_page_set(page, place(PLACE_WRITING, frame.v));
    page_io_add(writing->io, frame);
}

/* What needs no write: it has a clean copy, or a tier takes it. */
static bool leave_at_once(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                          pfn_t number)
{
    struct frame *frame = frame_get(number);
    struct place at;

    if (frame->slot != FRAME_NONE) {
        at = place_of_slot(frame->slot, 0);
        frame->slot = FRAME_NONE;
    } else if (!tier_take(&tmem->owner, mm_frame_ptr(number), &at)) {
        return false;
    }
    tmem_page_unage(tmem, shard, page);
    tmem_page_set(page, at);
    frame_free(number);
    return true;
}

/* The oldest page of the shard leaves.  False: it did not. */
static bool leave(struct writing *writing, struct tmem_shard *shard)
{
    struct tmem_page *page = first_page(shard, TMEM_AGE_PERSISTENT);

    if (page == NULL) {
        return false;
    }
    pfn_t frame = place_frame(tmem_page_place(page));
    uint64_t read_ns = frame_get(frame)->when_ns;

    /* Else memory that is short for long would take it again and again before it is fetched. */
    if (read_ns != 0 && mm_clock_ns() < read_ns + GRACE_NS) {
        writing->stuck = true;
        return false;
    }
    if (leave_at_once(writing->tmem, shard, page, frame)) {
        return true;
    }
    write_page(writing, shard, page, frame);
    return !writing->stuck;
}

unsigned tmem_write_out(struct tmem *tmem, unsigned target)
{
    struct writing writing = {.tmem = tmem};
    unsigned leaving = 0;

    for (unsigned tries = 0; tries < target && !writing.stuck && tmem->owner.store != NULL;
         tries++) {
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
