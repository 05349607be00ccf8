/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single frames come from the CPU's own cache, which takes and gives them in batches; blocks from
 * the free lists (mm/frame/buddy.h).
 */
#include "mm/frame/frame_alloc.h"

#include <string.h>

#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/buddy.h"
#include "mm/frame/frame.h"

#define CACHE_FRAMES 64u /* a CPU keeps so many at most ... */
#define CACHE_BATCH  32u /* ... and gets or gives so many at a time */

_Static_assert(FRAME_STATE_META + ALLOC_COMPRESSED == FRAME_STATE_COMPRESSED &&
                   FRAME_STATE_META + ALLOC_GUEST == FRAME_STATE_GUEST &&
                   FRAME_STATE_META + ALLOC_TMEM == FRAME_STATE_TMEM,
               "state and use are in the same order");

/* One CPU's free single frames.  The lock is for drains and snapshots by other CPUs. */
static struct cache {
    struct spinlock lock; /* all of this */
    uint32_t count;
    /* Frames in use, by use: those taken on this CPU less those given back here.  One CPU's figure
     * may be negative, the sum of all is true. */
    int64_t used[ALLOC_USE_COUNT];
    uint32_t frame[CACHE_FRAMES];
    struct frame_promise *promise; /* the CPU's own: see frame_promise_use() */
} __attribute__((aligned(64))) caches[MM_MAX_CPUS];

/* ---- caches: cache->lock is held ------------------------------------------------------------ */

/* Others look at `count` without the lock, to see whether a drain is worth it. */
static void cache_push(struct cache *cache, uint32_t number)
{
    cache->frame[cache->count] = number;
    frame_set_state(&frame_db[number], FRAME_STATE_CACHED);
    __atomic_store_n(&cache->count, cache->count + 1, __ATOMIC_RELAXED);
}

static uint32_t cache_pop(struct cache *cache)
{
    uint32_t left = cache->count - 1;

    __atomic_store_n(&cache->count, left, __ATOMIC_RELAXED);
    return cache->frame[left];
}

static void drain_cache(struct cache *cache, uint32_t keep)
{
    spin_lock(&buddy.lock);
    while (cache->count > keep) {
        buddy_give(cache_pop(cache), 0);
    }
    buddy_unlock();
}

static bool spend(struct frame_promise *promise)
{
    if (promise == NULL || promise->frames == 0 || buddy.free <= buddy.mark.min) {
        return false;
    }
    promise->frames--;
    buddy.promised--;
    return true;
}

/* Fills an empty cache: by a batch as long as that leaves the reserve and what is promised alone,
 * else by one frame, so that nobody without a right to it finds it here.  True: the pager shall
 * know. */
static bool refill_cache(struct cache *cache, unsigned flags, struct frame_promise *promise)
{
    uint64_t batch;
    bool low;

    spin_lock(&buddy.lock);
    batch = MIN(buddy_allowance(0), CACHE_BATCH);
    if (batch == 0) {
        batch = spend(promise) ? 1 : MIN(buddy_allowance(flags), 1u);
    }
    __atomic_store_n(&cache->count, buddy_take_singles(cache->frame, (unsigned)batch),
                     __ATOMIC_RELAXED);
    low = buddy.free < buddy.mark.low + buddy.promised;
    buddy_unlock();
    return low;
}

/* ---- taking --------------------------------------------------------------------------------- */

static void reset_frame(struct frame *frame, enum alloc_use use, uint8_t order)
{
    frame->next = FRAME_NONE;
    frame->prev = FRAME_NONE;
    frame->slot = FRAME_NONE;
    frame->io = FRAME_NONE;
    frame->page = 0;
    frame->part = 0;
    frame->map_count = 0;
    frame->order = order;
    frame->generation = 0;
    frame->flags = 0;
    frame_set_state(frame, FRAME_STATE_META + use);
}

static bool take_single(enum alloc_use use, unsigned flags, struct frame_promise *promise,
                        uint32_t *number)
{
    struct cache *cache = &caches[mm_cpu_id()];
    bool found = false, low = false;

    spin_lock(&cache->lock);
    if (cache->count == 0) {
        low = refill_cache(cache, flags, promise != NULL ? promise : cache->promise);
    }
    if (cache->count != 0) {
        *number = cache_pop(cache);
        cache->used[use]++;
        reset_frame(&frame_db[*number], use, 0);
        found = true;
    }
    spin_unlock(&cache->lock);
    if (low) {
        mm_pager_wake();
    }
    return found;
}

static bool take_large(unsigned order, enum alloc_use use, unsigned flags, uint32_t *number)
{
    bool found, low;

    spin_lock(&buddy.lock);
    found = buddy_allowance(flags) >= 1ull << order && buddy_take(order, number);
    if (found) {
        buddy.used[use] += (int64_t)(1ull << order);
        for (uint32_t i = 0; i < 1u << order; i++) {
            reset_frame(&frame_db[*number + i], use, i == 0 ? (uint8_t)order : FRAME_ORDER_TAIL);
        }
    }
    low = buddy.free < buddy.mark.low + buddy.promised;
    buddy_unlock();
    if (low) {
        mm_pager_wake();
    }
    return found;
}

static bool take(unsigned order, enum alloc_use use, unsigned flags, struct frame_promise *promise,
                 uint32_t *number)
{
    return order == 0 ? take_single(use, flags, promise, number)
                      : take_large(order, use, flags, number);
}

static bool alloc(unsigned order, enum alloc_use use, unsigned flags, struct frame_promise *promise,
                  pfn_t *out)
{
    uint32_t number;

    ASSERT(use < ALLOC_USE_COUNT);
    if (order > FRAME_ORDER_MAX) {
        return false;
    }
    if (!take(order, use, flags, promise, &number)) {
        /* Other CPUs may keep the missing frames. */
        frame_alloc_drain();
        if (!take(order, use, flags, promise, &number)) {
            mm_pager_wake();
            return false;
        }
    }
    *out = pfn(number);
    return true;
}

bool frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    uint32_t number;

    /* Nearly all are single, and there is one. */
    if (order == 0 && take_single(use, flags, NULL, &number)) {
        *out = pfn(number);
        return true;
    }
    return alloc(order, use, flags, NULL, out);
}

bool frame_alloc_promised(struct frame_promise *promise, enum alloc_use use, pfn_t *out)
{
    return alloc(0, use, 0, promise, out);
}

bool frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    if (!frame_alloc(order, use, flags, out)) {
        return false;
    }
    memset(mm_frame_ptr(*out), 0, PAGE_SIZE << order);
    return true;
}

/* ---- promises ------------------------------------------------------------------------------- */

bool frame_promise_make(struct frame_promise *to, uint32_t frames)
{
    ASSERT(to->frames == 0);
    to->frames = buddy_promise(frames, frames);
    if (to->frames == 0) {
        frame_alloc_drain(); /* CPUs may keep the missing frames */
        to->frames = buddy_promise(frames, frames);
    }
    return to->frames == frames;
}

bool frame_promise_gather(struct frame_promise *to, uint32_t frames)
{
    if (to->frames < frames) {
        frame_alloc_drain();
        to->frames += buddy_promise(0, frames - to->frames);
    }
    if (to->frames < frames) {
        mm_pager_wake();
    }
    return to->frames >= frames;
}

void frame_promise_use(struct frame_promise *from)
{
    caches[mm_cpu_id()].promise = from;
}

void frame_promise_end(struct frame_promise *of)
{
    spin_lock(&buddy.lock);
    ASSERT(buddy.promised >= of->frames);
    buddy.promised -= of->frames;
    buddy_unlock();
    of->frames = 0;
}

/* ---- giving back ---------------------------------------------------------------------------- */

static void free_single(uint32_t number, enum alloc_use use)
{
    struct cache *cache = &caches[mm_cpu_id()];
    /* Somebody may be waiting for it on another CPU. */
    bool is_short = buddy_is_short();

    spin_lock(&cache->lock);
    if (cache->count == CACHE_FRAMES) {
        drain_cache(cache, CACHE_FRAMES - CACHE_BATCH);
    }
    cache_push(cache, number);
    cache->used[use]--;
    if (is_short) {
        drain_cache(cache, 0);
    }
    spin_unlock(&cache->lock);
}

void frame_free(pfn_t first)
{
    struct frame *frame = frame_get(first);
    enum frame_state state = frame_state_of(frame);
    unsigned order = frame->order;

    if (!frame_is_allocated(state) || order > FRAME_ORDER_MAX) {
        panic("frame 0x%lx is freed, but is in state %u, order %u", (unsigned long)first.v,
              (unsigned)state, order);
    }
    if (order == 0) {
        free_single((uint32_t)first.v, (enum alloc_use)(state - FRAME_STATE_META));
        return;
    }
    spin_lock(&buddy.lock);
    buddy.used[state - FRAME_STATE_META] -= (int64_t)(1ull << order);
    buddy_give((uint32_t)first.v, order);
    buddy_unlock();
}

void frame_alloc_drain(void)
{
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        struct cache *cache = &caches[i];

        /* Unlocked look: one that fills just now is as good as one that fills just after. */
        if (__atomic_load_n(&cache->count, __ATOMIC_RELAXED) != 0) {
            spin_lock(&cache->lock);
            drain_cache(cache, 0);
            spin_unlock(&cache->lock);
        }
    }
}

/* ---- blocks and single frames --------------------------------------------------------------- */

void frame_alloc_split(pfn_t first)
{
    struct frame *frame = frame_get(first);
    enum frame_state state = frame_state_of(frame);
    unsigned order = frame->order;

    if (!frame_is_allocated(state) || order > FRAME_ORDER_MAX) {
        panic("frame 0x%lx is no block to split", (unsigned long)first.v);
    }
    frame->order = 0;
    for (uint32_t i = 1; i < 1u << order; i++) {
        reset_frame(&frame[i], (enum alloc_use)(state - FRAME_STATE_META), 0);
    }
}

void frame_alloc_join(pfn_t first, unsigned order)
{
    struct frame *frame = frame_get(first);

    ASSERT(order <= FRAME_ORDER_MAX && IS_ALIGNED(first.v, 1ull << order));
    for (uint32_t i = 0; i < 1u << order; i++) {
        if (frame_state_of(&frame[i]) != frame_state_of(frame) || frame[i].order != 0) {
            panic("frames at 0x%lx are no %u single ones", (unsigned long)first.v, 1u << order);
        }
    }
    for (uint32_t i = 1; i < 1u << order; i++) {
        frame[i].order = FRAME_ORDER_TAIL;
    }
    frame->order = (uint8_t)order;
}

/* ---- figures -------------------------------------------------------------------------------- */

/* All caches at once.  They have one rank, so they are not waited for by spin_lock(): only a
 * snapshot holds more than one, and always takes them in this order, which excludes a deadlock. */
static void lock_all(void)
{
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        while (!spin_trylock(&caches[i].lock)) {
            __builtin_ia32_pause();
        }
    }
    spin_lock(&buddy.lock);
}

static void unlock_all(void)
{
    buddy_unlock();
    for (unsigned i = MM_MAX_CPUS; i-- > 0;) {
        spin_unlock(&caches[i].lock);
    }
}

void frame_alloc_get_stats(struct frame_stats *stats)
{
    int64_t used[ALLOC_USE_COUNT];
    uint64_t cached = 0;

    lock_all();
    memcpy(used, buddy.used, sizeof(used));
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        cached += caches[i].count;
        for (unsigned use = 0; use < ALLOC_USE_COUNT; use++) {
            used[use] += caches[i].used[use];
        }
    }
    *stats = (struct frame_stats){
        .frames = buddy.frames,
        .free = buddy.free + cached,
        .guest = (uint64_t)used[ALLOC_GUEST],
        .compressed = (uint64_t)used[ALLOC_COMPRESSED],
        .tmem = (uint64_t)used[ALLOC_TMEM],
        .meta = (uint64_t)used[ALLOC_META],
    };
    unlock_all();
}

/* ---- boot ----------------------------------------------------------------------------------- */

void frame_alloc_init(void)
{
    buddy_init();
    memset(caches, 0, sizeof(caches));
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        spin_init(&caches[i].lock, RANK_FRAME_CACHE, "frame cache");
    }
}
