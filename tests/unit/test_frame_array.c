/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays in single frames: they grow and shrink, also when memory is in pieces or ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/frame/frame_alloc.h"
#include "mm/frame/frame_array.h"
#include "tests/unit/support.h"

#define MOST 3000u /* three directories */

static uint64_t free_now(void)
{
    return frame_stats_get().free;
}

static void check(const struct frame_array *array)
{
    for (uint32_t i = 0; i < array->frames; i++) {
        assert_int_equal(*(uint32_t *)frame_array_at(array, i), i);
    }
}

static void grows_and_shrinks(void **state)
{
    struct frame_array array = {0};
    uint64_t before;

    (void)state;
    support_memory_init(MOST + 200);
    before = free_now();
    for (uint32_t i = 0; i < MOST; i++) {
        uint32_t *data = frame_array_grow(&array, NULL);

        assert_non_null(data);
        memset(data, 0xff, PAGE_SIZE);
        *data = i;
        if (i < 3 || i % 500 == 0 || (i > 1020 && i < 1030)) {
            check(&array);
        }
        assert_int_equal(before - free_now(), frame_array_cost(i + 1));
    }
    while (array.frames > 0) {
        frame_array_shrink(&array);
        if (array.frames < 3 || array.frames % 500 == 0 ||
            (array.frames > 1020 && array.frames < 1030)) {
            check(&array);
        }
        assert_int_equal(before - free_now(), frame_array_cost(array.frames));
    }
    support_memory_free();
}

static void up_and_down_at_random(void **state)
{
    struct frame_array array = {0};
    uint64_t before;
    bool up = true;

    (void)state;
    support_seed(3);
    support_memory_init(MOST + 200);
    before = free_now();
    for (unsigned step = 0; step < 60000; step++) {
        if (support_random_below(700) == 0) {
            up = !up;
        }
        if (array.frames == 0 || (array.frames < MOST && support_random_below(10) < (up ? 8 : 2))) {
            uint32_t *data = frame_array_grow(&array, NULL);

            *data = array.frames - 1;
        } else {
            frame_array_shrink(&array);
        }
    }
    check(&array);
    frame_array_free(&array);
    assert_int_equal(free_now(), before);
    support_memory_free();
}

static void every_allocation_may_fail(void **state)
{
    struct frame_array array = {0};

    (void)state;
    support_memory_init(MOST + 200);
    while (array.frames < 2100) {
        for (unsigned n = 1;; n++) {
            uint64_t before = free_now();
            uint32_t *data;

            support_fail_alloc(n);
            data = frame_array_grow(&array, NULL);
            if (!support_alloc_failed()) {
                support_fail_alloc(0);
                *data = array.frames - 1;
                break;
            }
            assert_null(data);
            assert_int_equal(free_now(), before);
        }
    }
    check(&array);
    frame_array_free(&array);
    support_memory_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_shrinks),
        cmocka_unit_test(up_and_down_at_random),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
