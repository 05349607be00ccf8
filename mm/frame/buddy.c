/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/buddy.h"

#include <string.h>

#include "base/log.h"
#include "mm/frame/frame_alloc.h"

/* Watermarks: min is 1/256 of memory within these bounds, low twice, high three times that. */
#define MIN_SHARE 256u
#define MIN_LEAST 64u
#define MIN_MOST  4096u

struct buddy buddy;

/* ---- free lists ----------------------------------------------------------------------------- */

static void push_block(uint32_t number, unsigned order)
{
    struct frame *frame = &frame_db[number];
    uint32_t head = buddy.head[order];

    frame->order = (uint8_t)order;
    frame->prev = FRAME_NONE;
    frame->next = head;
    frame_set_state(frame, FRAME_STATE_FREE);
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

void buddy_unlock(void)
{
    uint64_t left = buddy.free > buddy.promised ? buddy.free - buddy.promised : 0;

    __atomic_store_n(&buddy.left, left, __ATOMIC_RELAXED);
    spin_unlock(&buddy.lock);
}

static bool is_free_block(uint64_t number, unsigned order)
{
    return frame_db_covers(pfn(number)) && frame_state_of(&frame_db[number]) == FRAME_STATE_FREE &&
           frame_db[number].order == order;
}

void buddy_give(uint32_t number, unsigned order)
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

bool buddy_take(unsigned order, uint32_t *number)
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

unsigned buddy_take_singles(uint32_t *numbers, unsigned most)
{
    unsigned taken = 0;

    while (taken < most && buddy_take(0, &numbers[taken])) {
        frame_set_state(&frame_db[numbers[taken]], FRAME_STATE_CACHED);
        taken++;
    }
    return taken;
}

uint64_t buddy_allowance(unsigned flags)
{
    if (flags & ALLOC_RESERVE) {
        return buddy.free;
    }
    uint64_t kept = buddy.mark.min + buddy.promised;

    return buddy.free > kept ? buddy.free - kept : 0;
}

uint32_t buddy_promise(uint32_t least, uint32_t most)
{
    uint32_t frames;

    spin_lock(&buddy.lock);
    frames = (uint32_t)MIN(buddy_allowance(0), most);
    if (frames < least) {
        frames = 0;
    }
    buddy.promised += frames;
    buddy_unlock();
    return frames;
}

/* ---- figures -------------------------------------------------------------------------------- */

uint64_t frame_alloc_free_count(void)
{
    return __atomic_load_n(&buddy.left, __ATOMIC_RELAXED);
}

uint64_t frame_alloc_total(void)
{
    return buddy.frames;
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
    buddy_unlock();
}

/* ---- boot ----------------------------------------------------------------------------------- */

void buddy_init(void)
{
    memset(&buddy, 0, sizeof(buddy));
    spin_init(&buddy.lock, RANK_BUDDY, "buddy");
    for (unsigned i = 0; i <= FRAME_ORDER_MAX; i++) {
        buddy.head[i] = FRAME_NONE;
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
        ASSERT(frame_state_of(&frame_db[number]) == FRAME_STATE_RESERVED);
        for (uint64_t i = 0; i < 1ull << order; i++) {
            frame_db[number + i].order = FRAME_ORDER_TAIL;
        }
        buddy_give((uint32_t)number, order);
        number += 1ull << order;
    }
    buddy.frames += count;
    buddy_unlock();
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
