/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame_alloc.h"

#include <stdatomic.h>
#include <string.h>

#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "mm/env.h"

#define CACHE_FRAMES 64u
#define CACHE_BATCH  32u
/* min = 1/512 of memory, low = 3 x, high = 4 x that, within bounds. */
#define MIN_SHARE 512u
#define MIN_LEAST 128u
#define MIN_MOST  4096u

static struct {
    struct spinlock lock; /* head[], and the structs of FREE frames that are not in a cache */
    uint32_t head[FRAME_ORDER_MAX + 1];
} buddy;

/* One CPU's single frames; FREE, but not in the buddy lists. */
static struct cache {
    struct spinlock lock; /* frame[], count */
    uint32_t count;
    uint32_t frame[CACHE_FRAMES];
    /* What this CPU has taken minus what it has given back, by use.  Only sums mean anything. */
    _Atomic int64_t used[FRAME_STATE_COUNT];
} __attribute__((aligned(64))) caches[MM_MAX_CPUS];

static uint64_t total_frames;
static _Atomic uint64_t free_frames;
static struct frame_watermarks watermarks;
static bool initialised;

/* ---- buddy lists, under buddy.lock ---- */

static void list_push(unsigned order, uint32_t number)
{
    struct frame *frame = frame_get(pfn(number));

    frame->state = FRAME_STATE_FREE;
    frame->order = (uint8_t)order;
    frame->prev = FRAME_NONE;
    frame->next = buddy.head[order];
    if (frame->next != FRAME_NONE) {
        frame_get(pfn(frame->next))->prev = number;
    }
    buddy.head[order] = number;
}

static void list_take(unsigned order, uint32_t number)
{
    struct frame *frame = frame_get(pfn(number));

    if (frame->prev == FRAME_NONE) {
        buddy.head[order] = frame->next;
    } else {
        frame_get(pfn(frame->prev))->next = frame->next;
    }
    if (frame->next != FRAME_NONE) {
        frame_get(pfn(frame->next))->prev = frame->prev;
    }
    /* Not the first frame of a free block any more. */
    frame->order = UINT8_MAX;
}

static bool is_free_block(uint32_t number, unsigned order)
{
    if (number > frame_highest().v) {
        return false;
    }
    const struct frame *frame = frame_get(pfn(number));

    return frame->state == FRAME_STATE_FREE && frame->order == order;
}

static void buddy_give(uint32_t number, unsigned order)
{
    while (order < FRAME_ORDER_MAX) {
        uint32_t other = number ^ (1u << order);

        if (!is_free_block(other, order)) {
            break;
        }
        list_take(order, other);
        frame_get(pfn(number))->order = UINT8_MAX;
        number = MIN(number, other);
        order++;
    }
    list_push(order, number);
}

static bool buddy_take(unsigned order, uint32_t *number)
{
    unsigned from = order;

    while (from <= FRAME_ORDER_MAX && buddy.head[from] == FRAME_NONE) {
        from++;
    }
    if (from > FRAME_ORDER_MAX) {
        return false;
    }
    *number = buddy.head[from];
    list_take(from, *number);
    while (from > order) {
        from--;
        list_push(from, *number + (1u << from));
    }
    return true;
}

/* ---- caches ---- */

/* Frames in a cache are FREE with an order that no free block has, so that they do not merge. */
static void cache_refill(struct cache *cache)
{
    uint32_t number;

    spin_lock(&buddy.lock);
    while (cache->count < CACHE_BATCH && buddy_take(0, &number)) {
        cache->frame[cache->count++] = number;
    }
    spin_unlock(&buddy.lock);
}

static void cache_drain(struct cache *cache, uint32_t keep)
{
    spin_lock(&buddy.lock);
    while (cache->count > keep) {
        buddy_give(cache->frame[--cache->count], 0);
    }
    spin_unlock(&buddy.lock);
}

/* Memory is short: what other CPUs keep goes back to the lists.  A busy cache is left alone. */
static void drain_all_caches(void)
{
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        if (caches[i].count != 0 && spin_trylock(&caches[i].lock)) {
            cache_drain(&caches[i], 0);
            spin_unlock(&caches[i].lock);
        }
    }
}

static bool cache_take(uint32_t *number)
{
    struct cache *cache = &caches[mm_cpu_id()];
    bool found = false;

    spin_lock(&cache->lock);
    if (cache->count == 0) {
        cache_refill(cache);
    }
    if (cache->count != 0) {
        *number = cache->frame[--cache->count];
        found = true;
    }
    spin_unlock(&cache->lock);
    return found;
}

static void cache_give(uint32_t number)
{
    struct cache *cache = &caches[mm_cpu_id()];

    frame_get(pfn(number))->order = UINT8_MAX;
    spin_lock(&cache->lock);
    if (cache->count == CACHE_FRAMES) {
        cache_drain(cache, CACHE_FRAMES - CACHE_BATCH);
    }
    cache->frame[cache->count++] = number;
    spin_unlock(&cache->lock);
}

/* ---- the interface ---- */

static void initialise(void)
{
    spin_init(&buddy.lock, RANK_BUDDY, "buddy");
    for (unsigned i = 0; i <= FRAME_ORDER_MAX; i++) {
        buddy.head[i] = FRAME_NONE;
    }
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        spin_init(&caches[i].lock, RANK_FRAME_CACHE, "frame cache");
    }
    initialised = true;
}

void frame_alloc_add_range(pfn_t first, uint64_t count)
{
    if (!initialised) {
        initialise();
    }
    total_frames += count;
    atomic_fetch_add(&free_frames, count);
    spin_lock(&buddy.lock);
    for (uint64_t number = first.v, end = first.v + count; number < end;) {
        unsigned order = FRAME_ORDER_MAX;

        while (!IS_ALIGNED(number, 1ull << order) || number + (1ull << order) > end) {
            order--;
        }
        buddy_give((uint32_t)number, order);
        number += 1ull << order;
    }
    spin_unlock(&buddy.lock);
}

void frame_alloc_ready(void)
{
    uint64_t min = MIN(MAX(total_frames / MIN_SHARE, MIN_LEAST), MIN_MOST);

    watermarks = (struct frame_watermarks){.min = min, .low = 3 * min, .high = 4 * min};
}

static bool take_block(unsigned order, uint32_t *number)
{
    bool found;

    if (order == 0 && cache_take(number)) {
        return true;
    }
    spin_lock(&buddy.lock);
    found = buddy_take(order, number);
    spin_unlock(&buddy.lock);
    if (!found) {
        drain_all_caches();
        spin_lock(&buddy.lock);
        found = buddy_take(order, number);
        spin_unlock(&buddy.lock);
    }
    return found;
}

/* Takes `count` off the free frames if the caller may have so many. */
static bool reserve(uint64_t count, unsigned flags)
{
    uint64_t floor = flags & ALLOC_RESERVE ? 0 : watermarks.min;
    uint64_t before = atomic_fetch_sub_explicit(&free_frames, count, memory_order_relaxed);

    if (before < count + watermarks.low || before > INT64_MAX) {
        mm_pager_wake();
    }
    if ((int64_t)before < (int64_t)(count + floor)) {
        atomic_fetch_add_explicit(&free_frames, count, memory_order_relaxed);
        return false;
    }
    return true;
}

static void init_frame(struct frame *frame, unsigned order, enum alloc_use use)
{
    *frame = (struct frame){.next = FRAME_NONE,
                            .prev = FRAME_NONE,
                            .slot = FRAME_NONE,
                            .io = FRAME_NONE,
                            .state = (uint8_t)use,
                            .order = (uint8_t)order};
}

bool frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    uint64_t count = 1ull << order;
    uint32_t number;

    ASSERT(order <= FRAME_ORDER_MAX);
    if (!reserve(count, flags)) {
        return false;
    }
    if (!take_block(order, &number)) {
        atomic_fetch_add_explicit(&free_frames, count, memory_order_relaxed);
        mm_pager_wake();
        return false;
    }
    init_frame(frame_get(pfn(number)), order, use);
    atomic_fetch_add_explicit(&caches[mm_cpu_id()].used[use], (int64_t)count, memory_order_relaxed);
    *out = pfn(number);
    return true;
}

bool frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    if (!frame_alloc(order, use, flags, out)) {
        return false;
    }
    for (uint64_t i = 0; i < 1ull << order; i++) {
        memset(mm_frame_ptr(pfn(out->v + i)), 0, PAGE_SIZE);
    }
    return true;
}

void frame_free(pfn_t first)
{
    struct frame *frame = frame_get(first);
    unsigned order = frame->order;

    ASSERT(frame->state > FRAME_STATE_FREE && order <= FRAME_ORDER_MAX);
    atomic_fetch_sub_explicit(&caches[mm_cpu_id()].used[frame->state], (int64_t)(1ull << order),
                              memory_order_relaxed);
    frame->state = FRAME_STATE_FREE;
    if (order == 0) {
        cache_give((uint32_t)first.v);
    } else {
        spin_lock(&buddy.lock);
        buddy_give((uint32_t)first.v, order);
        spin_unlock(&buddy.lock);
    }
    atomic_fetch_add_explicit(&free_frames, 1ull << order, memory_order_relaxed);
}

void frame_split(pfn_t first)
{
    struct frame *frame = frame_get(first);
    uint64_t count = 1ull << frame->order;

    frame->order = 0;
    for (uint64_t i = 1; i < count; i++) {
        frame[i] = *frame;
        frame[i].gfn += i;
    }
}

uint64_t frame_free_count(void)
{
    uint64_t count = atomic_load_explicit(&free_frames, memory_order_relaxed);

    return count > INT64_MAX ? 0 : count;
}

/* Sum over the CPUs; one that is caught between two CPUs counts for neither. */
static uint64_t used_by(enum alloc_use use)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        sum += atomic_load_explicit(&caches[i].used[use], memory_order_relaxed);
    }
    return sum > 0 ? (uint64_t)sum : 0;
}

struct frame_stats frame_stats_get(void)
{
    struct frame_stats stats = {
        .frames = total_frames,
        .guest = used_by(ALLOC_GUEST),
        .compressed = used_by(ALLOC_COMPRESSED),
        .tmem = used_by(ALLOC_TMEM),
        .meta = used_by(ALLOC_META),
    };
    uint64_t used = stats.guest + stats.compressed + stats.tmem + stats.meta;

    stats.free = total_frames - MIN(used, total_frames);
    return stats;
}

const struct frame_watermarks *frame_get_watermarks(void)
{
    return &watermarks;
}

void frame_set_watermarks(struct frame_watermarks marks)
{
    ASSERT(marks.min <= marks.low && marks.low <= marks.high);
    watermarks = marks;
}
