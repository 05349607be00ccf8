/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of ones where nothing is: lent, written, taken back; no table stays; memory short at each
 * allocation in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/svm/npt_format.h"
#include "arch/x86/vmx/ept_format.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_format.h"
#include "tests/unit/support.h"

#define PAGES 700u

static const struct table_format *const formats[] = {&fake_format, &ept_format, &npt_format};

static struct space *space;
static uint64_t free_at_start;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static struct mm_waiter waiter = {.wake = wake};

static void up(const struct table_format *format)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    support_memory_init(1500);
    free_at_start = frame_stats_get().free;
    space = space_create(&config);
    assert_non_null(space);
    assert_true(space_add_memslot(space, gfn(0), PAGES, 0));
}

static void down(void)
{
    waiter_cancel(&waiter);
    space_close(space);
    while (!space_drain(space)) {
    }
    space_free(space);
    assert_int_equal(frame_stats_get().free, free_at_start);
    support_memory_free();
}

/* What a CPU would find: the frame of that page, or NULL. */
static uint8_t *mapped(gfn_t page)
{
    unsigned level;
    uint64_t entry = table_entry_get(table_leaf(&space->table, page, &level));

    if (entry_kind(space, entry, level) != PLACE_FRAME) {
        return NULL;
    }
    assert_int_equal(level, 1);
    assert_true(space->table.format->flags(entry) & LEAF_WRITABLE);
    return mm_frame_ptr(entry_frame(space, entry, 1));
}

static void assert_ones(gfn_t page)
{
    const uint8_t *bytes = mapped(page);

    assert_non_null(bytes);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        assert_int_equal(bytes[i], 0xff);
    }
}

static void test_lend_and_take(void **state)
{
    /* Beside memory in the same 2 MiB, in the same 1 GiB, far above it, the last of all. */
    static const gfn_t pages[] = {{PAGES}, {0x3ffff}, {0xd0000}, {0x40000000}, {GFN_LIMIT - 1}};

    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        struct space_stats before, after;
        uint64_t word = 0x1122334455667788;

        up(formats[f]);
        for (uint64_t page = 0; page < PAGES; page += 100) {
            assert_int_equal(
                space_write(space, gpa(page << PAGE_SHIFT), &word, sizeof(word), &waiter), MM_OK);
        }
        space_get_stats(space, &before);
        for (unsigned round = 0; round < 3; round++) {
            unsigned flushes = support_shootdowns();

            for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
                assert_null(mapped(pages[i]));
                assert_int_equal(space_lend_ones(space, pages[i], &waiter), MM_OK);
                assert_ones(pages[i]);
            }
            memset(mapped(pages[round]), (int)round, PAGE_SIZE);
            space_take_ones(space, pages, ARRAY_SIZE(pages));
            assert_int_equal(support_shootdowns(), flushes + 1);
        }
        assert_null(mapped(pages[0]));
        space_get_stats(space, &after);
        assert_memory_equal(&before, &after, sizeof(before));
        for (uint64_t page = 0; page < PAGES; page += 100) {
            word = 0;
            assert_int_equal(
                space_read(space, gpa(page << PAGE_SHIFT), &word, sizeof(word), &waiter), MM_OK);
            assert_true(word == 0x1122334455667788);
        }
        assert_int_equal(space_lend_ones(space, gfn(GFN_LIMIT), &waiter), MM_NO_MEMSLOT);
        down();
    }
}

static void test_memory_short(void **state)
{
    (void)state;
    for (unsigned at = 1;; at++) {
        uint64_t free;
        bool failed;

        up(&fake_format);
        free = frame_stats_get().free;
        support_fail_alloc(at);
        if (space_lend_ones(space, gfn(0xd0000), &waiter) == MM_OK) {
            assert_false(support_alloc_failed());
            assert_in_range(at, 4, 5); /* the ones, three tables */
            failed = false;
        } else {
            assert_true(support_alloc_failed());
            assert_null(mapped(gfn(0xd0000)));
            assert_in_range(frame_stats_get().free, free - 1, free); /* the ones may stay */
            failed = true;
            waiter_stop(&waiter);
            waiter_end_turn(&waiter);
            support_fail_alloc(0);
            assert_int_equal(space_lend_ones(space, gfn(0xd0000), &waiter), MM_OK);
        }
        space_take_ones(space, &(gfn_t){0xd0000}, 1);
        down();
        if (!failed) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lend_and_take),
        cmocka_unit_test(test_memory_short),
    };

    return cmocka_run_group_tests_name("lend", tests, NULL, NULL);
}
