/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of tmem: age lists, what they hold, and the sweeps over all of them. */
#include "base/log.h"
#include "mm/content/page_io.h"
#include "mm/content/store_internal.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/owner/wait.h"
#include "mm/tmem/internal.h"

#define SWEEP_BUDGET 4096u /* pages and shards of one call */
#define SWEEP_HOLD   64u   /* of them, with the shard's lock held */

/* ---- ages ----------------------------------------------------------------------------------- */

static void note_oldest(struct tmem_shard *shard, enum tmem_age which)
{
    uint64_t stamp = TMEM_NEVER;

    if (!list_empty(&shard->age[which])) {
        stamp = LIST_ENTRY(shard->age[which].next, struct tmem_page, age)->stamp;
    }
    atomic_store_explicit(&shard->oldest[which], stamp, memory_order_relaxed);
}

void tmem_page_age(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    enum tmem_age which = tmem_page_persistent(page) ? TMEM_AGE_PERSISTENT : TMEM_AGE_EPHEMERAL;

    if (which == TMEM_AGE_PERSISTENT) {
        if (tmem_page_place(page).kind != PLACE_FRAME) {
            return;
        }
        atomic_fetch_add_explicit(&tmem->resident, 1, memory_order_relaxed);
    }
    page->stamp = atomic_fetch_add_explicit(&tmem->clock, 1, memory_order_relaxed);
    list_push_back(&shard->age[which], &page->age);
    if (shard->age[which].next == &page->age) {
        note_oldest(shard, which);
    }
}

void tmem_page_unage(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    enum tmem_age which = tmem_page_persistent(page) ? TMEM_AGE_PERSISTENT : TMEM_AGE_EPHEMERAL;

    if (list_empty(&page->age)) {
        return;
    }
    list_remove(&page->age);
    note_oldest(shard, which);
    if (which == TMEM_AGE_PERSISTENT) {
        atomic_fetch_sub_explicit(&tmem->resident, 1, memory_order_relaxed);
    }
}

/* ---- pages ---------------------------------------------------------------------------------- */

static _Atomic uint64_t *held_count(struct tmem *tmem, bool persistent)
{
    return persistent ? &tmem->persistent : &tmem->ephemeral;
}

struct tmem_page *tmem_page_add(struct tmem *tmem, struct tmem_shard *shard, uint64_t object_hash,
                                const struct tmem_handle *handle, bool persistent,
                                struct mm_waiter *waiter)
{
    struct tmem_page *page = NULL;

    if (wait_may_take(waiter)) {
        page = tmem_table_add(shard, object_hash, handle, wait_promise(waiter));
    }

    if (page == NULL) {
        return NULL;
    }
    page->value |= persistent ? TMEM_VALUE_PERSISTENT : 0;
    tmem_page_set(page, place(PLACE_LOST, 0));
    atomic_fetch_add(&tmem_pool_at(tmem, handle->pool)->pages, 1);
    if (!persistent) { /* of a persistent page the caller has taken quota */
        atomic_fetch_add(&tmem->ephemeral, 1);
    }
    return page;
}

static void release_frame(struct tmem *tmem, pfn_t frame)
{
    if (!page_io_forget(frame)) {
        page_io_drop_copy(&tmem->owner, frame_get(frame));
        frame_free(frame);
    }
}

void tmem_page_release(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    struct place at = tmem_page_place(page);

    tmem_page_unage(tmem, shard, page);
    if (place_has_frame(at.kind)) {
        release_frame(tmem, place_frame(at));
    } else if (tier_holds(at.kind)) {
        tier_drop(&tmem->owner, at);
    }
    tmem_page_set(page, place(PLACE_LOST, 0));
}

void tmem_page_remove(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    tmem_page_release(tmem, shard, page);
    atomic_fetch_sub(held_count(tmem, tmem_page_persistent(page)), 1);
    atomic_fetch_sub(&tmem_pool_at(tmem, page->handle.pool)->pages, 1);
    tmem_table_remove(shard, page);
}

/* ---- sweeps --------------------------------------------------------------------------------- */

/*
 * A sweep looks at the pages of each shard from the last one down.  What it has not seen lies below
 * what it has seen, and stays there, whatever comes or goes in the meantime: a page that moves is
 * the last one.
 *
 * Its position: the shard, and how many pages of it are left to see; 0: it begins with the shard.
 */
#define POSITION_SHARD BITS(31, 26)
#define POSITION_LEFT  BITS(25, 0)

/* What is done with each page; it may remove that one.  The shard's lock is held. */
typedef void visit_page(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                        const void *context);

/* As much as the lock may be held for; returns how many pages are left. */
static uint32_t visit_shard(struct tmem *tmem, struct tmem_shard *shard, uint32_t left,
                            visit_page *visit, const void *context, unsigned *looked)
{
    uint32_t stop;

    spin_lock(&shard->lock);
    left = left == 0 ? shard->pages : MIN(left, shard->pages);
    stop = left > SWEEP_HOLD ? left - SWEEP_HOLD : 0;
    *looked += left - stop + 1;
    while (left > stop) {
        left--;
        visit(tmem, shard, tmem_page_at(shard, left), context);
    }
    spin_unlock(&shard->lock);
    return left;
}

/* Visits on from *position; true: through. */
static bool visit_pages(struct tmem *tmem, visit_page *visit, const void *context,
                        uint32_t *position)
{
    uint32_t number = (uint32_t)FIELD_GET(POSITION_SHARD, *position);
    uint32_t left = (uint32_t)FIELD_GET(POSITION_LEFT, *position);
    unsigned looked = 0;

    while (number < TMEM_SHARDS && looked < SWEEP_BUDGET) {
        left = visit_shard(tmem, tmem->shard[number], left, visit, context, &looked);
        number += left == 0;
    }
    *position = (uint32_t)(FIELD_PREP(POSITION_SHARD, number) | FIELD_PREP(POSITION_LEFT, left));
    return number >= TMEM_SHARDS;
}

static void remove_matching(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                            const void *context)
{
    const struct tmem_match *match = context;

    if (match->all || page->handle.pool == match->pool) {
        tmem_page_remove(tmem, shard, page);
    }
}

bool tmem_sweep(struct tmem *tmem, const struct tmem_match *match, uint32_t *position)
{
    return visit_pages(tmem, remove_matching, match, position);
}

static void drop_copy(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                      const void *context)
{
    struct place at = tmem_page_place(page);

    (void)shard;
    (void)context;
    if (at.kind == PLACE_FRAME) {
        page_io_drop_copy(&tmem->owner, frame_get(place_frame(at)));
    }
}

bool tmem_copies_step(struct tmem *tmem)
{
    if (tmem->owner.store == NULL || !store_is_tight(tmem->owner.store)) {
        return false;
    }
    if (tmem->copies_tightened != store_tightened(tmem->owner.store)) {
        tmem->copies_tightened = store_tightened(tmem->owner.store);
        tmem->copies_position = 0;
    }
    if (tmem->copies_position == UINT32_MAX) {
        return false;
    }
    if (visit_pages(tmem, drop_copy, NULL, &tmem->copies_position)) {
        tmem->copies_position = UINT32_MAX;
    }
    return true;
}

/* The object's pages in the shard, up to as many as the lock may be held for; true: that was all.
 */
static bool sweep_object(struct tmem *tmem, struct tmem_shard *shard, uint64_t object_hash,
                         const struct tmem_handle *handle, unsigned *looked)
{
    struct tmem_page *page = NULL;

    for (unsigned removed = 0; removed < SWEEP_HOLD; removed++) {
        page = tmem_find_object(shard, object_hash, handle);
        ++*looked;
        if (page == NULL) {
            break;
        }
        tmem_page_remove(tmem, shard, page);
    }
    return page == NULL;
}

bool tmem_object_sweep(struct tmem *tmem, const struct tmem_handle *handle, uint32_t *position)
{
    uint64_t object_hash = tmem_object_hash(tmem, handle);
    unsigned looked = 0;

    while (*position < TMEM_SHARDS && looked < SWEEP_BUDGET) {
        struct tmem_shard *shard = tmem->shard[*position];

        spin_lock(&shard->lock);
        if (sweep_object(tmem, shard, object_hash, handle, &looked)) {
            ++*position;
        }
        spin_unlock(&shard->lock);
    }
    return *position >= TMEM_SHARDS;
}
