/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * put, get and flush of one page.
 *
 * put copies into a frame of its own first, without a lock, and then puts that frame in the place
 * of what the handle had: nobody ever sees half a page.  get copies out with the shard's lock held,
 * so that the page cannot go or be taken by another get before it has been delivered.
 */
#include "mm/content/page_io.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/owner/wait.h"
#include "mm/space/space_internal.h"
#include "mm/tmem/internal.h"

/* One operation on one handle, looked up once. */
struct operation {
    struct tmem *tmem;
    struct tmem_pool *pool;
    const struct tmem_handle *handle;
    uint64_t object_hash, hash;
    struct tmem_shard *shard;
    struct mm_waiter *waiter;
};

/* False: no such pool.  It may go as soon as this has returned: see lock_live(). */
static bool begin(struct operation *op, struct tmem *tmem, const struct tmem_handle *handle,
                  struct mm_waiter *waiter)
{
    op->tmem = tmem;
    op->handle = handle;
    op->waiter = waiter;
    op->pool = tmem_pool_at(tmem, handle->pool);
    if (!tmem_pool_live(op->pool, handle->pool)) {
        return false;
    }
    op->object_hash = tmem_object_hash(tmem, handle);
    op->hash = tmem_page_hash(op->object_hash, handle->index);
    op->shard = tmem_shard_of(tmem, op->hash);
    return true;
}

/* With the lock of its shard held, a pool that is alive stays so for this handle: who ends it marks
 * it dead first and comes to this shard afterwards. */
static bool lock_live(const struct operation *op)
{
    spin_lock(&op->shard->lock);
    if (tmem_pool_live(op->pool, op->handle->pool)) {
        return true;
    }
    spin_unlock(&op->shard->lock);
    return false;
}

static bool begin_locked(struct operation *op, struct tmem *tmem, const struct tmem_handle *handle,
                         struct mm_waiter *waiter)
{
    return begin(op, tmem, handle, waiter) && lock_live(op);
}

/* The rest is done with the lock held, where it does not say otherwise. */

static struct tmem_page *find(const struct operation *op)
{
    return tmem_find(op->shard, op->hash, op->handle);
}

static void remove_page(const struct operation *op, struct tmem_page *page)
{
    tmem_page_remove(op->tmem, op->shard, page);
}

/* What the handle holds goes, if it holds something. */
static void drop(const struct operation *op)
{
    struct tmem_page *page = find(op);

    if (page != NULL) {
        remove_page(op, page);
    }
}

enum tmem_result tmem_of_memory(enum mm_result result)
{
    switch (result) {
    case MM_OK:
        return TMEM_OK;
    case MM_WAIT:
        return TMEM_WAIT;
    case MM_NO_MEMSLOT:
        return TMEM_FAULT;
    case MM_LOST:
        break;
    }
    return TMEM_LOST;
}

/* ---- put ------------------------------------------------------------------------------------ */

static bool is_persistent(const struct operation *op)
{
    return op->pool->flags & TMEM_PERSISTENT;
}

/* A put fails, without the lock: what the handle held must not be read any more. */
static enum tmem_result fail_put(const struct operation *op, enum tmem_result result)
{
    if (!lock_live(op)) {
        return TMEM_BAD_POOL;
    }
    drop(op);
    tmem_count(op->pool, TMEM_REFUSALS);
    spin_unlock(&op->shard->lock);
    return result;
}

/* No frame, and no lock.  Persistent pages have been promised, so it is worth waiting for the
 * pager; ephemeral ones would be the first to go. */
static enum tmem_result no_memory(const struct operation *op)
{
    if (!is_persistent(op)) {
        return fail_put(op, TMEM_REFUSED);
    }
    wait_for_frame(op->waiter);
    return TMEM_WAIT;
}

static bool take_frame(const struct operation *op, pfn_t *frame)
{
    if (!is_persistent(op) &&
        (wait_frames_wanted() || frame_alloc_free_count() <= frame_alloc_low())) {
        mm_pager_wake();
        return false;
    }
    return wait_take_frame(op->waiter, ALLOC_TMEM, frame);
}

static bool take_quota(struct tmem *tmem)
{
    uint64_t held = atomic_load(&tmem->persistent);

    do {
        if (held >= atomic_load(&tmem->quota)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&tmem->persistent, &held, held + 1));
    return true;
}

/* For one more ephemeral page: the oldest makes room. */
static bool has_room(const struct operation *op)
{
    const struct tmem *tmem = op->tmem;

    return atomic_load(&tmem->ephemeral) < tmem->ephemeral_max ||
           tmem_evict_one(op->tmem, op->shard);
}

/* A new page for the handle. */
static enum tmem_result add_page(const struct operation *op, struct tmem_page **page)
{
    bool persistent = is_persistent(op);

    if (persistent ? !take_quota(op->tmem) : !has_room(op)) {
        return TMEM_REFUSED;
    }
    *page = tmem_page_add(op->tmem, op->shard, op->object_hash, op->handle, persistent, op->waiter);
    if (*page != NULL) {
        return TMEM_OK;
    }
    if (!persistent) {
        return TMEM_REFUSED;
    }
    atomic_fetch_sub(&op->tmem->persistent, 1);
    wait_for_frame(op->waiter);
    return TMEM_WAIT;
}

/* What the handle holds from now on. */
static enum tmem_result install(const struct operation *op, struct place at)
{
    struct tmem_page *page = find(op);
    enum tmem_result result = TMEM_OK;

    if (page != NULL) {
        tmem_page_release(op->tmem, op->shard, page);
    } else {
        result = add_page(op, &page);
    }
    if (result == TMEM_OK) {
        tmem_page_set(page, at);
        if (at.kind == PLACE_FRAME) {
            tmem_page_bind(op->shard, page, place_frame(at));
        }
        tmem_page_age(op->tmem, op->shard, page);
        tmem_count(op->pool, TMEM_PUTS);
    } else if (result == TMEM_REFUSED) {
        tmem_count(op->pool, TMEM_REFUSALS);
    }
    return result;
}

static void drop_place(struct page_owner *owner, struct place at)
{
    if (at.kind == PLACE_FRAME) {
        frame_free(place_frame(at));
    } else {
        tier_drop(owner, at);
    }
}

/* The frame holds the new data and is ours.  Takes the lock. */
static enum tmem_result put_frame(const struct operation *op, pfn_t frame)
{
    struct page_owner *owner = &op->tmem->owner;
    struct place at = place(PLACE_FRAME, frame.v);
    enum tmem_result result = TMEM_BAD_POOL;

    frame_get(frame)->when_ns = 0;
    if (tier_take(owner, mm_frame_ptr(frame), &at)) {
        frame_free(frame);
    }
    if (lock_live(op)) {
        result = install(op, at);
        spin_unlock(&op->shard->lock);
    }
    if (result != TMEM_OK) {
        drop_place(owner, at);
    }
    return result;
}

enum tmem_result tmem_put(struct tmem *tmem, const struct tmem_handle *handle, gpa_t from,
                          struct mm_waiter *waiter)
{
    struct operation op;
    enum tmem_result result;
    pfn_t frame;

    if (!begin(&op, tmem, handle, waiter)) {
        return TMEM_BAD_POOL;
    }
    if (!take_frame(&op, &frame)) {
        return no_memory(&op);
    }
    result = tmem_of_memory(space_read(tmem->space, from, mm_frame_ptr(frame), PAGE_SIZE, waiter));
    if (result == TMEM_OK) {
        return put_frame(&op, frame);
    }
    frame_free(frame);
    return result == TMEM_FAULT ? fail_put(&op, result) : result;
}

/* ---- get ------------------------------------------------------------------------------------ */

/* The page is in the store. */
static enum tmem_result bring(const struct operation *op, struct tmem_page *page)
{
    if (!tmem_io_read(op->tmem, op->shard, page, op->waiter)) {
        wait_for_frame(op->waiter);
    }
    return TMEM_WAIT;
}

static enum tmem_result deliver_frame(const struct operation *op, pfn_t frame, gpa_t to)
{
    enum mm_result result =
        space_write(op->tmem->space, to, mm_frame_ptr(frame), PAGE_SIZE, op->waiter);

    if (result == MM_OK) {
        frame_get(frame)->when_ns = 0;
    }
    return tmem_of_memory(result);
}

static enum tmem_result deliver(const struct operation *op, struct tmem_page *page, gpa_t to)
{
    struct place at = tmem_page_place(page);

    switch (at.kind) {
    case PLACE_FRAME:
    case PLACE_WRITING: /* the frame still holds it */
        return deliver_frame(op, place_frame(at), to);
    case PLACE_READING:
        page_io_join(place_frame(at), ACCESS_READ, op->waiter);
        return TMEM_WAIT;
    case PLACE_LOST:
        return TMEM_BROKEN;
    default:
        break;
    }
    if (!tier_at_once(at.kind)) {
        return bring(op, page);
    }
    return tmem_of_memory(
        space_write_place(op->tmem->space, gpa_to_gfn(to), &op->tmem->owner, at, op->waiter));
}

static void count_get(struct tmem_pool *pool, enum tmem_result result)
{
    if (result == TMEM_WAIT) {
        return; /* it comes again */
    }
    tmem_count(pool, TMEM_GETS);
    if (result == TMEM_OK) {
        tmem_count(pool, TMEM_HITS);
    } else if (result == TMEM_MISS) {
        tmem_count(pool, TMEM_MISSES);
    }
}

enum tmem_result tmem_get(struct tmem *tmem, const struct tmem_handle *handle, gpa_t to,
                          struct mm_waiter *waiter)
{
    enum tmem_result result = TMEM_MISS;
    struct operation op;
    struct tmem_page *page;

    if (!begin_locked(&op, tmem, handle, waiter)) {
        return TMEM_BAD_POOL;
    }
    page = find(&op);
    if (page != NULL) {
        result = deliver(&op, page, to);
    }
    if (result == TMEM_OK && !(op.pool->flags & (TMEM_PERSISTENT | TMEM_SHARED_GET))) {
        remove_page(&op, page);
    }
    count_get(op.pool, result);
    spin_unlock(&op.shard->lock);
    return result;
}

void tmem_prefetch(struct tmem *tmem, const struct tmem_handle *handle)
{
    struct operation op;
    struct tmem_page *page;

    if (!begin_locked(&op, tmem, handle, NULL)) {
        return;
    }
    page = find(&op);
    if (page != NULL && tmem_page_place(page).kind == PLACE_SLOT) {
        tmem_io_read(tmem, op.shard, page, NULL);
    }
    spin_unlock(&op.shard->lock);
}

/* ---- flush ---------------------------------------------------------------------------------- */

enum tmem_result tmem_page_flush(struct tmem *tmem, const struct tmem_handle *handle)
{
    struct operation op;

    if (!begin_locked(&op, tmem, handle, NULL)) {
        return TMEM_BAD_POOL;
    }
    drop(&op);
    spin_unlock(&op.shard->lock);
    return TMEM_OK;
}
