/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's tmem: life, limits, figures, and its pools. */
#include "mm/tmem/tmem.h"

#include <string.h>

#include "base/log.h"
#include "mm/content/store_internal.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "mm/tmem/internal.h"

/* ---- creation ------------------------------------------------------------------------------- */

/* Structures are cut from single frames, as many as fit. */
struct cutter {
    struct frame_array *frames;
    char *at;
    size_t left; /* bytes */
};

/* Zeroed; NULL: no memory. */
static void *cut(struct cutter *cutter, size_t bytes)
{
    void *piece;

    if (cutter->left < bytes) {
        cutter->at = frame_array_grow(cutter->frames, NULL);
        cutter->left = cutter->at == NULL ? 0 : PAGE_SIZE;
        if (cutter->at == NULL) {
            return NULL;
        }
        memset(cutter->at, 0, PAGE_SIZE);
    }
    piece = cutter->at;
    cutter->at += bytes;
    cutter->left -= bytes;
    return piece;
}

static bool init_shard(struct tmem_shard *shard, unsigned number)
{
    shard->number = (uint16_t)number;
    spin_init(&shard->lock, RANK_TMEM, "tmem shard");
    for (unsigned i = 0; i < TMEM_AGES; i++) {
        list_init(&shard->age[i]);
        atomic_init(&shard->oldest[i], TMEM_NEVER);
    }
    return tmem_table_init(shard);
}

/* In this order, so that every piece is aligned as it has to be. */
static bool alloc_parts(struct tmem *tmem)
{
    struct cutter cutter = {.frames = &tmem->parts};

    for (unsigned i = 0; i < TMEM_SHARDS; i++) {
        tmem->shard[i] = cut(&cutter, sizeof(*tmem->shard[i]));
        if (tmem->shard[i] == NULL || !init_shard(tmem->shard[i], i)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < TMEM_POOLS; i++) {
        tmem->pool[i] = cut(&cutter, sizeof(*tmem->pool[i]));
        if (tmem->pool[i] == NULL) {
            return false;
        }
        atomic_init(&tmem->pool[i]->state, POOL_FREE | (TMEM_POOLS + i));
    }
    return true;
}

#define PARTS_PER_FRAME(type)  (PAGE_SIZE / sizeof(type))
#define FRAMES_OF(type, count) (((count) + PARTS_PER_FRAME(type) - 1) / PARTS_PER_FRAME(type))

static uint64_t cost(uint64_t pages)
{
    uint64_t parts =
        FRAMES_OF(struct tmem_shard, TMEM_SHARDS) + FRAMES_OF(struct tmem_pool, TMEM_POOLS);

    return tmem_table_cost(pages) + frame_array_cost(parts) + 1;
}

uint64_t tmem_create_cost(uint64_t quota)
{
    return quota == 0 ? 0 : cost(0);
}

uint64_t tmem_overhead(uint64_t quota)
{
    return quota == 0 ? 0 : cost(quota);
}

static void free_parts(struct tmem *tmem)
{
    for (unsigned i = 0; i < TMEM_SHARDS && tmem->shard[i] != NULL; i++) {
        tmem_table_free(tmem->shard[i]);
    }
    frame_array_free(&tmem->parts);
    frame_free(tmem->self);
}

static void init_tmem(struct tmem *tmem, const struct tmem_config *config, pfn_t self)
{
    tmem->self = self;
    page_owner_init(&tmem->owner, &tmem_pages, config->name, config->store);
    tmem->space = config->space;
    tmem->seed = config->seed;
    tmem->ephemeral_max = config->ephemeral_max;
    tmem->cluster = STORE_NONE;
    tmem->copies_position = UINT32_MAX;
    atomic_init(&tmem->quota, config->quota);
    atomic_init(&tmem->shares, MAX(config->shares, 1u));
}

struct tmem *tmem_create(const struct tmem_config *config)
{
    struct tmem *tmem;
    pfn_t self;

    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &self)) {
        return NULL;
    }
    tmem = mm_frame_ptr(self);
    init_tmem(tmem, config, self);
    if (!alloc_parts(tmem) || !pager_add_tmem(tmem)) {
        free_parts(tmem);
        return NULL;
    }
    return tmem;
}

/* ---- tear-down ------------------------------------------------------------------------------ */

void tmem_close(struct tmem *tmem)
{
    pager_remove_tmem(tmem);
    page_owner_close(&tmem->owner);
}

bool tmem_drain(struct tmem *tmem)
{
    static const struct tmem_match everything = {.all = true};

    ASSERT(tmem->owner.closed);
    return page_owner_idle(&tmem->owner) && tmem_sweep(tmem, &everything, &tmem->drain_position);
}

void tmem_free(struct tmem *tmem)
{
    ASSERT(tmem->owner.closed && page_owner_idle(&tmem->owner));
    ASSERT(tmem->persistent == 0 && tmem->ephemeral == 0);
    if (tmem->cluster != STORE_NONE) {
        store_cluster_give(tmem->owner.store, tmem->cluster);
    }
    free_parts(tmem);
}

/* ---- limits and figures --------------------------------------------------------------------- */

bool tmem_set_quota(struct tmem *tmem, uint64_t quota)
{
    uint64_t before = atomic_exchange(&tmem->quota, quota);

    /* Puts see the new quota from here on, but for those that have just read the old one. */
    if (atomic_load(&tmem->persistent) > quota) {
        atomic_store(&tmem->quota, before);
        return false;
    }
    return true;
}

uint64_t tmem_quota(const struct tmem *tmem)
{
    return atomic_load_explicit(&tmem->quota, memory_order_relaxed);
}

void tmem_set_shares(struct tmem *tmem, uint32_t shares)
{
    atomic_store(&tmem->shares, MAX(shares, 1u));
}

void tmem_get_stats(struct tmem *tmem, struct tmem_stats *stats)
{
    struct tmem_pool_stats pool;

    *stats = (struct tmem_stats){
        .quota = atomic_load(&tmem->quota),
        .persistent = atomic_load(&tmem->persistent),
        .ephemeral = atomic_load(&tmem->ephemeral),
        .resident = atomic_load(&tmem->resident),
    };
    for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
        stats->count[c] = atomic_load(&tmem->past[c]);
    }
    for (unsigned i = 0; i < TMEM_POOLS; i++) {
        if (tmem_get_pool_stats(tmem, i, &pool)) {
            stats->pools++;
            for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
                stats->count[c] += pool.count[c];
            }
        }
    }
}

bool tmem_get_pool_stats(struct tmem *tmem, unsigned place, struct tmem_pool_stats *stats)
{
    struct tmem_pool *pool = tmem->pool[place];
    uint64_t state = atomic_load(&pool->state), phase = state & ~POOL_ID;

    if (phase != POOL_LIVE && phase != POOL_DYING) {
        return false;
    }
    *stats = (struct tmem_pool_stats){
        .id = (uint32_t)(state & POOL_ID),
        .flags = pool->flags,
        .pages = atomic_load(&pool->pages),
    };
    for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
        stats->count[c] = atomic_load(&pool->count[c]);
    }
    return true;
}

/* ---- pools ---------------------------------------------------------------------------------- */

static bool set_up(struct tmem_pool *pool, uint32_t flags, uint32_t *id)
{
    uint64_t state = atomic_load(&pool->state);

    if ((state & ~POOL_ID) != POOL_FREE ||
        !atomic_compare_exchange_strong(&pool->state, &state, POOL_SETUP | (state & POOL_ID))) {
        return false;
    }
    *id = (uint32_t)(state & POOL_ID);
    pool->flags = flags;
    for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
        atomic_store(&pool->count[c], 0);
    }
    atomic_store(&pool->state, POOL_LIVE | *id);
    return true;
}

enum tmem_result tmem_pool_create(struct tmem *tmem, uint32_t flags, uint32_t *id)
{
    for (unsigned i = 0; i < TMEM_POOLS; i++) {
        if (set_up(tmem->pool[i], flags, id)) {
            return TMEM_OK;
        }
    }
    return TMEM_REFUSED;
}

/* LIVE -> DYING, or it is already.  False: no such pool. */
static bool begin_end(struct tmem_pool *pool, uint32_t id)
{
    uint64_t live = POOL_LIVE | id;

    return atomic_compare_exchange_strong(&pool->state, &live, POOL_DYING | id) ||
           live == (POOL_DYING | id);
}

/* All pages are gone, and none can come: DYING -> FREE with the next id, by one of the callers. */
static void finish_end(struct tmem *tmem, struct tmem_pool *pool, uint32_t id)
{
    uint64_t dying = POOL_DYING | id;
    uint64_t count[TMEM_COUNTERS];
    uint32_t next = id + TMEM_POOLS;

    for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
        count[c] = atomic_load(&pool->count[c]);
    }
    if (!atomic_compare_exchange_strong(&pool->state, &dying,
                                        next > id ? POOL_FREE | next : POOL_RETIRED)) {
        return;
    }
    for (unsigned c = 0; c < TMEM_COUNTERS; c++) {
        atomic_fetch_add(&tmem->past[c], count[c]);
    }
}

enum tmem_result tmem_pool_destroy(struct tmem *tmem, uint32_t id, uint32_t *position)
{
    const struct tmem_match match = {.pool = id};
    struct tmem_pool *pool = tmem_pool_at(tmem, id);

    if (!begin_end(pool, id)) {
        /* Somebody else has done the rest of what was begun here. */
        return *position != 0 ? TMEM_OK : TMEM_BAD_POOL;
    }
    if (!tmem_sweep(tmem, &match, position)) {
        return TMEM_AGAIN;
    }
    if (atomic_load(&pool->pages) != 0) {
        *position = 0; /* it did not begin at 0: the caller made it up */
        return TMEM_AGAIN;
    }
    finish_end(tmem, pool, id);
    return TMEM_OK;
}

/* A flush can begin or go on: TMEM_OK.  *nothing: it has ended, too. */
static enum tmem_result begin_flush(struct tmem *tmem, uint32_t id, bool *nothing)
{
    const struct tmem_pool *pool = tmem_pool_at(tmem, id);

    if (!tmem_pool_live(pool, id)) {
        return TMEM_BAD_POOL;
    }
    *nothing = atomic_load(&pool->pages) == 0;
    return TMEM_OK;
}

enum tmem_result tmem_pool_flush(struct tmem *tmem, uint32_t id, uint32_t *position)
{
    const struct tmem_match match = {.pool = id};
    bool nothing;
    enum tmem_result result = begin_flush(tmem, id, &nothing);

    if (result != TMEM_OK || nothing) {
        return result;
    }
    return tmem_sweep(tmem, &match, position) ? TMEM_OK : TMEM_AGAIN;
}

enum tmem_result tmem_object_flush(struct tmem *tmem, const struct tmem_handle *handle,
                                   uint32_t *position)
{
    bool nothing;
    enum tmem_result result = begin_flush(tmem, handle->pool, &nothing);

    if (result != TMEM_OK || nothing) {
        return result;
    }
    return tmem_object_sweep(tmem, handle, position) ? TMEM_OK : TMEM_AGAIN;
}
