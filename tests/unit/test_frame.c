/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator: random operations against a map of who owns which frame, every frame handed out
 * once, alignment, merging back to where it began, sum rule, watermarks, reserve, caches of
 * several CPUs, double free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

#define FIRST SUPPORT_FIRST_FRAME

static const enum frame_state state_for[] = {
    [ALLOC_META] = FRAME_STATE_META,
    [ALLOC_GUEST] = FRAME_STATE_GUEST,
    [ALLOC_TMEM] = FRAME_STATE_TMEM,
    [ALLOC_COMPRESSED] = FRAME_STATE_COMPRESSED,
};

static uint64_t used_of(const struct frame_stats *s, enum alloc_use use)
{
    const uint64_t of[] = {[ALLOC_META] = s->meta,
                           [ALLOC_GUEST] = s->guest,
                           [ALLOC_TMEM] = s->tmem,
                           [ALLOC_COMPRESSED] = s->compressed};

    return of[use];
}

static void check_sum(const struct frame_stats *s)
{
    assert_int_equal(s->free + s->guest + s->compressed + s->tmem + s->meta, s->frames);
}

/* ---- random operations against a map ---- */

#define MODEL_FRAMES 5000u /* not a power of two */
#define MODEL_BLOCKS 3000u

struct block {
    pfn_t first;
    unsigned order;
    enum alloc_use use;
};

static struct {
    bool taken[MODEL_FRAMES];
    uint64_t used[ALLOC_USE_COUNT];
    struct block block[MODEL_BLOCKS];
    unsigned blocks;
} model;

static void check_reset(pfn_t first, unsigned order, enum alloc_use use)
{
    for (uint64_t i = 0; i < 1ull << order; i++) {
        const struct frame *f = frame_get(pfn(first.v + i));

        assert_true(f->next == FRAME_NONE && f->prev == FRAME_NONE && f->slot == FRAME_NONE);
        assert_true(f->io == FRAME_NONE && f->page == 0 && f->part == 0 && f->map_count == 0);
        assert_true(f->flags == 0 && f->generation == 0 && f->state == state_for[use]);
        assert_int_equal(f->order, i == 0 ? order : FRAME_ORDER_TAIL);
    }
}

static void model_take(struct block b)
{
    assert_true(IS_ALIGNED(b.first.v, 1ull << b.order));
    assert_true(b.first.v >= FIRST && b.first.v + (1ull << b.order) <= FIRST + MODEL_FRAMES);
    check_reset(b.first, b.order, b.use);
    for (uint64_t i = 0; i < 1ull << b.order; i++) {
        bool *taken = &model.taken[b.first.v - FIRST + i];

        assert_false(*taken);
        *taken = true;
    }
    model.used[b.use] += 1ull << b.order;
    model.block[model.blocks++] = b;
}

static void model_give(unsigned index)
{
    struct block b = model.block[index];

    for (uint64_t i = 0; i < 1ull << b.order; i++) {
        model.taken[b.first.v - FIRST + i] = false;
    }
    model.used[b.use] -= 1ull << b.order;
    model.block[index] = model.block[--model.blocks];
    /* What the owner left in it must not matter. */
    memset(frame_get(b.first), 0xa5, offsetof(struct frame, state));
    frame_get(b.first)->flags = 0xff;
    frame_free(b.first);
}

/* Is there an aligned run of free frames?  Then the allocator, drained, must find it. */
static bool model_has(unsigned order)
{
    for (uint64_t at = ALIGN_UP(FIRST, 1ull << order); at + (1ull << order) <= FIRST + MODEL_FRAMES;
         at += 1ull << order) {
        uint64_t i = 0;

        while (i < 1ull << order && !model.taken[at - FIRST + i]) {
            i++;
        }
        if (i == 1ull << order) {
            return true;
        }
    }
    return false;
}

static void check_figures(void)
{
    struct frame_stats s = frame_stats_get();

    check_sum(&s);
    assert_int_equal(s.frames, MODEL_FRAMES);
    for (unsigned use = 0; use < ALLOC_USE_COUNT; use++) {
        assert_int_equal(used_of(&s, use), model.used[use]);
    }
}

static void model_step(unsigned large_in)
{
    struct block b = {
        .order = support_random_below(large_in) == 0 ? (unsigned)support_random_below(11) : 0,
        .use = (enum alloc_use)support_random_below(ALLOC_USE_COUNT)};

    support_set_cpu((unsigned)support_random_below(4));
    if (model.blocks == MODEL_BLOCKS || support_random_below(5) < 2) {
        if (model.blocks != 0) {
            model_give((unsigned)support_random_below(model.blocks));
        }
    } else if (frame_alloc(b.order, b.use, ALLOC_RESERVE, &b.first)) {
        model_take(b);
    } else {
        assert_false(model_has(b.order));
    }
}

static void test_model(void **state)
{
    (void)state;
    support_seed(1);
    for (unsigned round = 0; round < 6; round++) {
        support_memory_init(MODEL_FRAMES);
        memset(&model, 0, sizeof(model));
        for (unsigned i = 0; i < 40000; i++) {
            model_step(round % 2 == 0 ? 4 : 100);
            if (i % 64 == 0) {
                check_figures();
            }
        }
        while (model.blocks != 0) {
            model_give(model.blocks - 1);
        }
        check_figures();
        frame_alloc_drain();
        assert_int_equal(frame_alloc_free_count(), MODEL_FRAMES);
        support_memory_free();
    }
}

/* ---- ranges, orders ---- */

/* After all is freed every block is as large as it was: drained caches merge completely. */
static void test_merge(void **state)
{
    static pfn_t single[4096];
    pfn_t block;

    (void)state;
    support_memory_init_empty(8192);
    frame_alloc_add_range(pfn(ALIGN_UP(FIRST, 4096)), 4096);
    frame_alloc_set_watermarks(0, 0, 0);
    for (unsigned i = 0; i < 4096; i++) {
        support_set_cpu(i % 5);
        assert_true(frame_alloc(0, ALLOC_GUEST, 0, &single[i]));
    }
    assert_false(frame_alloc(0, ALLOC_GUEST, ALLOC_RESERVE, &block));
    for (unsigned i = 0; i < 4096; i++) {
        support_set_cpu(i % 3);
        frame_free(single[i * 1237 % 4096]);
    }
    support_set_cpu(0);
    /* Nothing drained it: allocation does when it finds nothing. */
    assert_true(frame_alloc(12, ALLOC_GUEST, 0, &block));
    assert_int_equal(block.v, ALIGN_UP(FIRST, 4096));
    assert_false(frame_alloc(0, ALLOC_META, ALLOC_RESERVE, &single[0]));
    frame_free(block);
    support_memory_free();
}

/* Frames between ranges are never touched, whatever merges beside them. */
static void test_ranges(void **state)
{
    pfn_t got;
    uint64_t count = 0;

    (void)state;
    support_memory_init_empty(4096);
    frame_alloc_add_range(pfn(FIRST + 3), 1000);
    frame_alloc_add_range(pfn(FIRST + 1004), 1);
    frame_alloc_add_range(pfn(FIRST + 1006), 2042);
    frame_alloc_set_watermarks(0, 0, 0);
    while (frame_alloc(0, ALLOC_GUEST, 0, &got)) {
        assert_true(got.v >= FIRST + 3 && got.v < FIRST + 3048);
        assert_true(got.v != FIRST + 1003 && got.v != FIRST + 1005);
        count++;
    }
    assert_int_equal(count, 3043);
    assert_int_equal(frame_get(pfn(FIRST + 1003))->state, FRAME_STATE_RESERVED);
    assert_int_equal(frame_get(pfn(FIRST + 3048))->state, FRAME_STATE_RESERVED);
    assert_false(frame_alloc(FRAME_ORDER_MAX + 1, ALLOC_META, 0, &got));
    support_memory_free();
}

/* 1 GiB: what the frames hold is never touched, so the host need not have it. */
static void test_gigabyte(void **state)
{
    pfn_t got, second;

    (void)state;
    support_memory_init_empty(3u << FRAME_ORDER_MAX);
    frame_alloc_add_range(pfn(ALIGN_UP(FIRST, 1ull << FRAME_ORDER_MAX)), 2ull << FRAME_ORDER_MAX);
    frame_alloc_set_watermarks(0, 0, 0);
    assert_true(frame_alloc(FRAME_ORDER_MAX, ALLOC_META, 0, &got));
    assert_true(IS_ALIGNED(got.v, 1ull << FRAME_ORDER_MAX));
    assert_true(frame_alloc(FRAME_ORDER_2M, ALLOC_META, 0, &second));
    assert_false(frame_alloc(FRAME_ORDER_MAX, ALLOC_META, ALLOC_RESERVE, &second));
    frame_free(got);
    assert_true(frame_alloc(FRAME_ORDER_MAX, ALLOC_META, 0, &second));
    assert_int_equal(got.v, second.v);
    support_memory_free();
}

static void test_zeroed(void **state)
{
    static const uint8_t zero[PAGE_SIZE];
    pfn_t got;

    (void)state;
    support_memory_init(1024);
    assert_true(frame_alloc_zeroed(3, ALLOC_META, 0, &got));
    for (uint64_t i = 0; i < 8; i++) {
        assert_memory_equal(mm_frame_ptr(pfn(got.v + i)), zero, PAGE_SIZE);
    }
    support_memory_free();
}

static void test_split_join(void **state)
{
    struct frame_stats s;
    pfn_t got;

    (void)state;
    support_memory_init(4096);
    assert_true(frame_alloc(FRAME_ORDER_2M, ALLOC_GUEST, 0, &got));
    frame_get(got)->page = 7;
    frame_alloc_split(got);
    assert_int_equal(frame_get(got)->page, 7);
    for (uint64_t i = 0; i < 512; i++) {
        assert_int_equal(frame_get(pfn(got.v + i))->order, 0);
        assert_int_equal(frame_get(pfn(got.v + i))->state, FRAME_STATE_GUEST);
    }
    frame_alloc_join(got, FRAME_ORDER_2M);
    frame_free(got);
    assert_true(frame_alloc(FRAME_ORDER_2M, ALLOC_TMEM, 0, &got));
    frame_alloc_split(got);
    for (uint64_t i = 0; i < 512; i++) {
        frame_free(pfn(got.v + i));
        s = frame_stats_get();
        check_sum(&s);
        assert_int_equal(s.tmem, 511 - i);
    }
    frame_alloc_drain();
    assert_int_equal(frame_alloc_free_count(), 4096);
    support_memory_free();
}

/* ---- watermarks ---- */

static void test_watermarks(void **state)
{
    pfn_t got;
    uint64_t normal = 0, reserved = 0;
    unsigned wakes;

    (void)state;
    support_memory_init(2000);
    frame_alloc_set_watermarks(100, 300, 500);
    wakes = support_pager_wakes();
    while (frame_alloc(0, ALLOC_GUEST, 0, &got)) {
        normal++;
        if (frame_alloc_free_count() >= 300) {
            assert_int_equal(support_pager_wakes(), wakes);
        }
    }
    assert_true(support_pager_wakes() > wakes);
    assert_int_equal(normal, 1900);
    assert_false(frame_alloc(1, ALLOC_GUEST, 0, &got));
    while (frame_alloc(0, ALLOC_META, ALLOC_RESERVE, &got)) {
        reserved++;
        /* No reserved frame is left where others find it. */
        assert_false(frame_alloc(0, ALLOC_GUEST, 0, &got));
    }
    assert_int_equal(reserved, 100);
    /* Below low: freed on one CPU, found by another at once. */
    support_set_cpu(3);
    for (uint64_t i = 0; i < 101; i++) {
        frame_free(pfn(FIRST + i));
    }
    support_set_cpu(0);
    assert_int_equal(frame_alloc_free_count(), 101);
    assert_true(frame_alloc(0, ALLOC_GUEST, 0, &got));
    assert_false(frame_alloc(0, ALLOC_GUEST, 0, &got));
    support_memory_free();
}

static void test_default_watermarks(void **state)
{
    (void)state;
    support_memory_init(98304);
    assert_int_equal(frame_alloc_min(), 384);
    assert_int_equal(frame_alloc_low(), 768);
    assert_int_equal(frame_alloc_high(), 1152);
    support_memory_free();
}

/* Frames that another CPU keeps are found when memory is short. */
static void test_drain(void **state)
{
    static pfn_t got[256];
    unsigned count = 0;

    (void)state;
    support_memory_init(256);
    frame_alloc_set_watermarks(0, 0, 0);
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        support_set_cpu(cpu);
        assert_true(frame_alloc(0, ALLOC_GUEST, 0, &got[0]));
        frame_free(got[0]);
    }
    assert_true(frame_alloc_free_count() <= 128);
    support_set_cpu(5);
    while (frame_alloc(0, ALLOC_GUEST, 0, &got[count])) {
        count++;
    }
    assert_int_equal(count, 256);
    support_set_cpu(0);
    support_memory_free();
}

/* ---- misuse ---- */

static void test_double_free(void **state)
{
    pfn_t got, block;

    (void)state;
    support_memory_init(2048);
    assert_true(frame_alloc(0, ALLOC_GUEST, 0, &got));
    assert_true(frame_alloc(4, ALLOC_GUEST, 0, &block));
    EXPECT_PANIC("is freed", frame_free(pfn(block.v + 1)));
    frame_free(got);
    EXPECT_PANIC("is freed", frame_free(got));
    frame_free(block);
    EXPECT_PANIC("is freed", frame_free(block));
    EXPECT_PANIC("is freed", frame_free(pfn(block.v + 3)));
    EXPECT_PANIC("is freed", frame_free(pfn(1)));
    EXPECT_PANIC("assertion", frame_free(pfn(FIRST + 2048)));
    frame_alloc_drain();
    EXPECT_PANIC("is freed", frame_free(got));
    support_memory_free();
}

static void test_database(void **state)
{
    (void)state;
    assert_int_equal(frame_db_bytes(pfn(0)), 32);
    assert_int_equal(frame_db_bytes(pfn(99)), 3200);
    EXPECT_PANIC("frame numbers", frame_db_init(NULL, pfn(FRAME_NONE)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),      cmocka_unit_test(test_merge),
        cmocka_unit_test(test_ranges),     cmocka_unit_test(test_gigabyte),
        cmocka_unit_test(test_zeroed),     cmocka_unit_test(test_split_join),
        cmocka_unit_test(test_watermarks), cmocka_unit_test(test_default_watermarks),
        cmocka_unit_test(test_drain),      cmocka_unit_test(test_double_free),
        cmocka_unit_test(test_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
