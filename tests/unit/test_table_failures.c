/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/table_machine.c */
/*
 * The table engine under each format when there is no frame: every allocation fails in turn, and
 * what has been reserved is enough.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/table_machine.h"
#include "tests/unit/table_model.h"

enum sweep_op {
    SWEEP_LEAF,
    SWEEP_LARGE,
    SWEEP_SPLIT,
    SWEEP_UNMAP,
    SWEEP_INHERIT,
    SWEEP_COUNT,
};

static void sweep_prepare(enum sweep_op op, const struct table_format *format)
{
    begin_table(format);
    set_page(REGION_PAGES, model_random_leaf());
    if (op == SWEEP_SPLIT || op == SWEEP_UNMAP) {
        put_gigabyte();
    }
    if (op == SWEEP_INHERIT) {
        /* A whole gigabyte that is one absent entry with a payload. */
        unsigned level;
        struct page_model absent = {.kind = 5, .value = 0x1234567};
        uint64_t *entry = table_leaf(&table, gfn(0x40000), &level);

        assert_int_equal(level, 3);
        table_entry_set(entry, model_entry(&table, absent));
        for (unsigned i = 0; i < REGION_PAGES; i++) {
            model[4 * REGION_PAGES + i] = absent;
        }
    }
}

/* What it changes in the model is applied by sweep_done(). */
static bool sweep_try(enum sweep_op op)
{
    uint64_t got = 0;

    switch (op) {
    case SWEEP_LEAF:
        return table_leaf_alloc(&table, model_gfn(MODEL_PAGES - 1), NULL) != NULL;
    case SWEEP_LARGE:
        return table_map_large(&table, gfn(0x8000000), pfn(0x4400), RIGHTS);
    case SWEEP_SPLIT:
        return table_split(&table, gfn(3));
    case SWEEP_UNMAP:
        return table_unmap(&table, gfn(0x207), gfn(0x403), count_unmapped, &got);
    case SWEEP_INHERIT:
        return table_leaf_alloc(&table, gfn(0x40005), NULL) != NULL;
    default:
        return false;
    }
}

static void sweep_done(enum sweep_op op)
{
    if (op == SWEEP_LARGE) {
        fill_region(5, 0x4400, RIGHTS);
    } else if (op == SWEEP_UNMAP) {
        memset(&model[REGION_PAGES + 7], 0, (REGION_PAGES - 7 + 3) * sizeof(model[0]));
    }
}

static unsigned sweep(enum sweep_op op, const struct table_format *format)
{
    sweep_prepare(op, format);
    for (unsigned n = 1;; n++) {
        uint64_t pages = table.pages;

        support_fail_alloc(n);
        if (sweep_try(op)) {
            assert_false(support_alloc_failed());
            sweep_done(op);
            check_pages();
            end_table();
            return n - 1;
        }
        assert_true(support_alloc_failed());
        support_fail_alloc(0);
        check_pages();
        /* Splits may stay; nothing else does. */
        if (op != SWEEP_SPLIT && op != SWEEP_UNMAP) {
            assert_int_equal(table.pages, pages);
        }
    }
}

static void test_failures(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        assert_int_equal(sweep(SWEEP_LEAF, formats[i]), 3);
        assert_int_equal(sweep(SWEEP_LARGE, formats[i]), 2);
        assert_true(sweep(SWEEP_SPLIT, formats[i]) >= 1);
        assert_true(sweep(SWEEP_UNMAP, formats[i]) >= 1);
        assert_int_equal(sweep(SWEEP_INHERIT, formats[i]), 2);
        support_memory_init(FRAMES);
        support_fail_alloc(1);
        assert_false(table_init(&table, formats[i]));
        assert_int_equal(free_frames(), FRAMES);
        support_memory_free();
    }
}

/* Splits may use the reserve, faults may not. */
static void test_reserve(void **state)
{
    pfn_t got;

    (void)state;
    begin_table(&ept_format);
    assert_true(table_map_large(&table, gfn(0), pfn(0x4400), RIGHTS));
    frame_alloc_set_watermarks(64, 64, 64);
    while (frame_alloc(0, ALLOC_GUEST, 0, &got)) {
    }
    assert_null(table_leaf_alloc(&table, gfn(0x8000000), NULL));
    assert_true(table_split(&table, gfn(0)));
    table_destroy(&table);
    support_memory_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_reserve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
