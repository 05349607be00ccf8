/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a frame's struct tells what the frame is:
 *
 *     state      order            links
 *     FREE       of the block     buddy list of that order: first frame of a free block
 *     CACHED     0                none: in one CPU's cache
 *     allocated  of the block     the owner's: first frame of an allocated block
 *     any        ORDER_TAIL       none: some other frame of a block, free or allocated
 *
 * The buddy algorithm asks only for the buddy of a block that is not free as a whole: the frame
 * there begins a block of the same order or a smaller one, so that its state and order are current.
 */
#include "mm/frame/frame_alloc.h"

#include <string.h>

#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame.h"

#define CACHE_FRAMES 64u /* a CPU keeps so many at most ... */
#define CACHE_BATCH  32u /* ... and gets or gives so many at a time */

/* Watermarks: min is 1/256 of memory within these bounds, low twice, high three times that. */
#define MIN_SHARE 256u
#define MIN_LEAST 64u
#define MIN_MOST  4096u

_Static_assert(FRAME_STATE_META + ALLOC_COMPRESSED == FRAME_STATE_COMPRESSED &&
                   FRAME_STATE_META + ALLOC_GUEST == FRAME_STATE_GUEST &&
                   FRAME_STATE_META + ALLOC_TMEM == FRAME_STATE_TMEM,
               "state and use are in the same order");

static struct {
    struct spinlock lock;               /* all of this */
    uint32_t head[FRAME_ORDER_MAX + 1]; /* of the lists of free blocks */
    uint64_t free;                      /* frames in them */
    uint64_t left;                      /* of them not promised; read without the lock as a hint */
    uint64_t frames;
    uint64_t promised;
    int64_t used[ALLOC_USE_COUNT]; /* by blocks; like the caches' figures */
    struct frame_watermarks {
        uint64_t min, low, high;
    } mark;
} buddy;

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

/* Others read `state` while its owner changes it: to them both values mean "not FREE". */
static void set_state(struct frame *frame, enum frame_state state)
{
    __atomic_store_n(&frame->state, (uint8_t)state, __ATOMIC_RELAXED);
}

static enum frame_state state_of(const struct frame *frame)
{
    return (enum frame_state)__atomic_load_n(&frame->state, __ATOMIC_RELAXED);
}

static bool is_allocated(enum frame_state state)
{
    return state >= FRAME_STATE_META;
}

/* ---- free lists: buddy.lock is held --------------------------------------------------------- */

static void push_block(uint32_t number, unsigned order)
{
    struct frame *frame = &frame_db[number];
    uint32_t head = buddy.head[order];

    frame->order = (uint8_t)order;
    frame->prev = FRAME_NONE;
    frame->next = head;
    set_state(frame, FRAME_STATE_FREE);
    if (head != FRAME_NONE) {
        frame_db[head].prev = number;
    }
    buddy.head[order] = number;
}

static void unlink_block(uint32_t number)
{
    struct frame *frame = &frame_db[number];

    if (frame->prev == FRAME_NONE) {
        buddy.head[frame->order] = frame->next;
    } else {
        frame_db[frame->prev].next = frame->next;
    }
    if (frame->next != FRAME_NONE) {
        frame_db[frame->next].prev = frame->prev;
    }
    frame->order = FRAME_ORDER_TAIL;
}

/* Others read what is left without the lock. */
static void unlock_buddy(void)
{
    uint64_t left = buddy.free > buddy.promised ? buddy.free - buddy.promised : 0;

    __atomic_store_n(&buddy.left, left, __ATOMIC_RELAXED);
    spin_unlock(&buddy.lock);
}

static bool is_free_block(uint64_t number, unsigned order)
{
    return frame_db_covers(pfn(number)) && state_of(&frame_db[number]) == FRAME_STATE_FREE &&
           frame_db[number].order == order;
}

static void give_block(uint32_t number, unsigned order)
{
    buddy.free += 1ull << order;
    for (; order < FRAME_ORDER_MAX; order++) {
        uint32_t other = number ^ (1u << order);

        if (!is_free_block(other, order)) {
            break;
        }
        unlink_block(other);
        /* The upper half becomes an inner frame: whoever frees it twice shall not get through. */
        frame_db[number | other].order = FRAME_ORDER_TAIL;
        number &= other;
    }
    push_block(number, order);
}

static bool take_block(unsigned order, uint32_t *number)
{
    unsigned from = order;

    while (buddy.head[from] == FRAME_NONE) {
        if (from++ == FRAME_ORDER_MAX) {
            return false;
        }
    }
    *number = buddy.head[from];
    unlink_block(*number);
    while (from > order) {
        from--;
        push_block(*number + (1u << from), from);
    }
    buddy.free -= 1ull << order;
    return true;
}

/* Frames that may be taken now. */
static uint64_t allowance(unsigned flags)
{
    if (flags & ALLOC_RESERVE) {
        return buddy.free;
    }
    uint64_t kept = buddy.mark.min + buddy.promised;

    return buddy.free > kept ? buddy.free - kept : 0;
}

/* ---- caches: cache->lock is held ------------------------------------------------------------ */

/* Others look at `count` without the lock, to see whether a drain is worth it. */
static void cache_push(struct cache *cache, uint32_t number)
{
    cache->frame[cache->count] = number;
    set_state(&frame_db[number], FRAME_STATE_CACHED);
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
        give_block(cache_pop(cache), 0);
    }
    unlock_buddy();
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
    uint32_t number;
    bool low;

    spin_lock(&buddy.lock);
    batch = MIN(allowance(0), CACHE_BATCH);
    if (batch == 0) {
        batch = spend(promise) ? 1 : MIN(allowance(flags), 1u);
    }
    while (cache->count < batch && take_block(0, &number)) {
        cache_push(cache, number);
    }
    low = buddy.free < buddy.mark.low + buddy.promised;
    unlock_buddy();
    return low;
}

/* ---- taking --------------------------------------------------------------------------------- */

static void reset_frame(struct frame *frame, enum alloc_use use, uint8_t order)
{
    frame->next = FRAME_NONE;
    frame->prev = FRAME_NONE;
    frame->slot = FRAME_NONE;
    frame->io = FRAME_NONE;
    frame->gfn = 0;
    frame->space = 0;
    frame->map_count = 0;
    frame->order = order;
    frame->generation = 0;
    frame->flags = 0;
    set_state(frame, FRAME_STATE_META + use);
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
    found = allowance(flags) >= 1ull << order && take_block(order, number);
    if (found) {
        buddy.used[use] += (int64_t)(1ull << order);
        for (uint32_t i = 0; i < 1u << order; i++) {
            reset_frame(&frame_db[*number + i], use, i == 0 ? (uint8_t)order : FRAME_ORDER_TAIL);
        }
    }
    low = buddy.free < buddy.mark.low + buddy.promised;
    unlock_buddy();
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
        /* What other CPUs keep may be what is missing. */
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

/* Of `most` frames as many as there are, but not less than `least`: then none. */
static uint32_t promise(uint32_t least, uint32_t most)
{
    uint32_t frames;

    spin_lock(&buddy.lock);
    frames = (uint32_t)MIN(allowance(0), most);
    if (frames < least) {
        frames = 0;
    }
    buddy.promised += frames;
    unlock_buddy();
    return frames;
}

bool frame_promise_make(struct frame_promise *to, uint32_t frames)
{
    ASSERT(to->frames == 0);
    to->frames = promise(frames, frames);
    if (to->frames == 0) {
        frame_alloc_drain(); /* what CPUs keep may be what is missing */
        to->frames = promise(frames, frames);
    }
    return to->frames == frames;
}

bool frame_promise_gather(struct frame_promise *to, uint32_t frames)
{
    if (to->frames < frames) {
        frame_alloc_drain();
        to->frames += promise(0, frames - to->frames);
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
    unlock_buddy();
    of->frames = 0;
}

/* ---- giving back ---------------------------------------------------------------------------- */

static void free_single(uint32_t number, enum alloc_use use)
{
    struct cache *cache = &caches[mm_cpu_id()];
    /* Somebody may be waiting for it on another CPU. */
    bool is_short = frame_alloc_free_count() < frame_alloc_low();

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
    enum frame_state state = state_of(frame);
    unsigned order = frame->order;

    if (!is_allocated(state) || order > FRAME_ORDER_MAX) {
        panic("frame 0x%lx is freed, but is in state %u, order %u", (unsigned long)first.v,
              (unsigned)state, order);
    }
    if (order == 0) {
        free_single((uint32_t)first.v, (enum alloc_use)(state - FRAME_STATE_META));
        return;
    }
    spin_lock(&buddy.lock);
    buddy.used[state - FRAME_STATE_META] -= (int64_t)(1ull << order);
    give_block((uint32_t)first.v, order);
    unlock_buddy();
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
    enum frame_state state = state_of(frame);
    unsigned order = frame->order;

    if (!is_allocated(state) || order > FRAME_ORDER_MAX) {
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
        if (state_of(&frame[i]) != state_of(frame) || frame[i].order != 0) {
            panic("frames at 0x%lx are no %u single ones", (unsigned long)first.v, 1u << order);
        }
    }
    for (uint32_t i = 1; i < 1u << order; i++) {
        frame[i].order = FRAME_ORDER_TAIL;
    }
    frame->order = (uint8_t)order;
}

/* ---- figures -------------------------------------------------------------------------------- */

uint64_t frame_alloc_free_count(void)
{
    return __atomic_load_n(&buddy.left, __ATOMIC_RELAXED);
}

uint64_t frame_alloc_min(void)
{
    return __atomic_load_n(&buddy.mark.min, __ATOMIC_RELAXED);
}

uint64_t frame_alloc_low(void)
{
    return __atomic_load_n(&buddy.mark.low, __ATOMIC_RELAXED);
}

uint64_t frame_alloc_high(void)
{
    return __atomic_load_n(&buddy.mark.high, __ATOMIC_RELAXED);
}

void frame_alloc_set_watermarks(uint64_t min, uint64_t low, uint64_t high)
{
    ASSERT(min <= low && low <= high);
    spin_lock(&buddy.lock);
    buddy.mark = (struct frame_watermarks){.min = min, .low = low, .high = high};
    unlock_buddy();
}

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
    unlock_buddy();
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
    memset(&buddy, 0, sizeof(buddy));
    memset(caches, 0, sizeof(caches));
    spin_init(&buddy.lock, RANK_BUDDY, "buddy");
    for (unsigned i = 0; i <= FRAME_ORDER_MAX; i++) {
        buddy.head[i] = FRAME_NONE;
    }
    for (unsigned i = 0; i < MM_MAX_CPUS; i++) {
        spin_init(&caches[i].lock, RANK_FRAME_CACHE, "frame cache");
    }
}

void frame_alloc_add_range(pfn_t first, uint64_t count)
{
    uint64_t end = first.v + count;

    if (count != 0 && !frame_db_covers(pfn(end - 1))) {
        panic("RAM up to frame 0x%lx is not in the frame database", (unsigned long)end);
    }
    spin_lock(&buddy.lock);
    for (uint64_t number = first.v; number < end;) {
        unsigned order = 0;

        while (order < FRAME_ORDER_MAX && IS_ALIGNED(number, 2ull << order) &&
               number + (2ull << order) <= end) {
            order++;
        }
        ASSERT(state_of(&frame_db[number]) == FRAME_STATE_RESERVED);
        for (uint64_t i = 0; i < 1ull << order; i++) {
            frame_db[number + i].order = FRAME_ORDER_TAIL;
        }
        give_block((uint32_t)number, order);
        number += 1ull << order;
    }
    buddy.frames += count;
    unlock_buddy();
}

static uint64_t suitable_min(uint64_t frames)
{
    return MIN(MAX(frames / MIN_SHARE, MIN_LEAST), MIN_MOST);
}

uint64_t frame_alloc_high_of(uint64_t frames)
{
    return 3 * suitable_min(frames);
}

void frame_alloc_ready(void)
{
    uint64_t min = suitable_min(buddy.frames);

    frame_alloc_set_watermarks(min, 2 * min, 3 * min);
}
