/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's tmem: life, limits, figures, and its pools. */
#include "mm/tmem.h"

#include <string.h>

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame_alloc.h"
#include "mm/store_internal.h"
#include "mm/tmem_internal.h"

#define BUCKETS_MIN      (PAGE_SIZE / sizeof(struct tmem_page *)) /* per shard */
#define CHAIN            4u                                       /* pages per bucket aimed at */
#define OVERHEAD_PAGES   128u /* table, requests, slabs that are not full */
#define BUCKET_ORDER_MAX 6u

/* ---- creation ------------------------------------------------------------------------------- */

uint64_t tmem_overhead(uint64_t quota)
{
    /* A descriptor each, and for every few a bucket and a chain of objects. */
    return quota == 0 ? 0 : quota / TMEM_SLAB_PAGES + quota / 512 + OVERHEAD_PAGES;
}

static unsigned order_of(size_t bytes)
{
    unsigned order = 0;

    while ((PAGE_SIZE << order) < bytes) {
        order++;
    }
    return order;
}

static void *alloc_zeroed(size_t bytes, pfn_t *frames)
{
    unsigned order = order_of(bytes);

    if (!frame_alloc(order, ALLOC_META, 0, frames)) {
        return NULL;
    }
    return memset(mm_frame_ptr(*frames), 0, PAGE_SIZE << order);
}

static void init_shard(struct tmem_shard *shard)
{
    spin_init(&shard->lock, RANK_TMEM, "tmem shard");
    list_init(&shard->slabs);
    for (unsigned i = 0; i < TMEM_AGES; i++) {
        list_init(&shard->age[i]);
        atomic_init(&shard->oldest[i], TMEM_NEVER);
    }
}

static bool alloc_buckets(struct tmem *tmem)
{
    for (unsigned i = 0; i < TMEM_SHARDS; i++) {
        struct tmem_shard *shard = &tmem->shard[i];

        shard->bucket =
            alloc_zeroed(2 * tmem->buckets * sizeof(*shard->bucket), &shard->bucket_frames);
        if (shard->bucket == NULL) {
            return false;
        }
        shard->object = shard->bucket + tmem->buckets;
    }
    return true;
}

static void free_buckets(struct tmem *tmem)
{
    for (unsigned i = 0; i < TMEM_SHARDS; i++) {
        if (tmem->shard[i].bucket != NULL) {
            frame_free(tmem->shard[i].bucket_frames);
            tmem->shard[i].bucket = NULL;
        }
    }
}

static bool alloc_requests(struct tmem *tmem)
{
    tmem->io = alloc_zeroed(TMEM_IOS * sizeof(*tmem->io), &tmem->io_frames);
    if (tmem->io == NULL) {
        return false;
    }
    for (unsigned i = 0; i < TMEM_IOS; i++) {
        tmem_io_init(tmem, &tmem->io[i]);
    }
    atomic_init(&tmem->io_free, (uint32_t)BITS(TMEM_IOS - 1, 0));
    return true;
}

static uint32_t choose_buckets(uint64_t quota)
{
    uint32_t buckets = BUCKETS_MIN;

    while (buckets < BUCKETS_MIN << BUCKET_ORDER_MAX &&
           (uint64_t)buckets * TMEM_SHARDS * CHAIN < quota) {
        buckets *= 2;
    }
    return buckets;
}

static bool alloc_parts(struct tmem *tmem)
{
    if (!alloc_requests(tmem)) {
        return false;
    }
    if (alloc_buckets(tmem)) {
        return true;
    }
    /* Memory is in pieces: longer chains do as well. */
    free_buckets(tmem);
    tmem->buckets = BUCKETS_MIN;
    return alloc_buckets(tmem);
}

static void free_parts(struct tmem *tmem)
{
    free_buckets(tmem);
    if (tmem->io != NULL) {
        frame_free(tmem->io_frames);
    }
    frame_free(tmem->self);
}

static void init_tmem(struct tmem *tmem, const struct tmem_config *config, pfn_t self)
{
    tmem->self = self;
    tmem->name = config->name;
    tmem->space = config->space;
    tmem->store = config->store;
    tmem->seed = config->seed;
    tmem->buckets = choose_buckets(config->quota);
    tmem->cluster = STORE_NONE;
    atomic_init(&tmem->quota, config->quota);
    atomic_init(&tmem->shares, MAX(config->shares, 1u));
    list_init(&tmem->io_waiters);
    for (unsigned i = 0; i < TMEM_SHARDS; i++) {
        init_shard(&tmem->shard[i]);
    }
    for (uint32_t i = 0; i < TMEM_POOLS; i++) {
        atomic_init(&tmem->pool[i].state, POOL_FREE | (TMEM_POOLS + i));
    }
}

struct tmem *tmem_create(const struct tmem_config *config)
{
    pfn_t self;
    struct tmem *tmem = alloc_zeroed(sizeof(*tmem), &self);

    if (tmem == NULL) {
        return NULL;
    }
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
    tmem->closed = true;
}

bool tmem_drain(struct tmem *tmem)
{
    static const struct tmem_match everything = {.all = true};

    ASSERT(tmem->closed);
    /* Acquire: pairs with the release by which the last request ends. */
    return atomic_load_explicit(&tmem->ios, memory_order_acquire) == 0 &&
           tmem_sweep(tmem, &everything, &tmem->drain_position);
}

void tmem_free(struct tmem *tmem)
{
    ASSERT(tmem->closed && tmem->ios == 0 && tmem->persistent == 0 && tmem->ephemeral == 0);
    if (tmem->cluster != STORE_NONE) {
        store_cluster_give(tmem->store, tmem->cluster);
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
    struct tmem_pool *pool = &tmem->pool[place];
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
        if (set_up(&tmem->pool[i], flags, id)) {
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
