/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/space_machine.c */
/* What leaves a space, and what stays: reclaim, transit, ages and tear-down, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/space_machine.h"
#include "tests/unit/support.h"

/* ---- cases ---------------------------------------------------------------------------------- */

static void clean_page_is_dropped(void)
{
    page_comes_back_from_store();
    evict_all();
    assert_int_equal(kind_of(9), PLACE_SLOT);
    assert_int_equal(disk.queued, 0);
    assert_int_equal(stats_now().clean_drops, 1);
}

static void fault_takes_page_back(void)
{
    touch(3, 33);
    evict_all();
    assert_int_equal(kind_of(3), PLACE_WRITING);
    assert_int_equal(fault(3, ACCESS_READ), MM_OK);
    assert_int_equal(memory_of(3)[0], 33);
    set_accessed(3, false);
    evict_all(); /* its write is in flight: not chosen */
    assert_int_equal(kind_of(3), PLACE_FRAME);
    fake_disk_settle(&disk);
    set_accessed(3, false);
    evict_all(); /* the write has made it clean */
    assert_int_equal(kind_of(3), PLACE_SLOT);
    assert_int_equal(stats_now().clean_drops, 1);
}

/* A failure that passes costs no slot. */
static void failed_write_is_repeated(void)
{
    struct store_stats stats;

    touch(3, 33);
    disk.fail_write_in = 1;
    evict_all();
    support_store_settle(&disk);
    assert_int_equal(kind_of(3), PLACE_SLOT);
    store_get_stats(store, &stats);
    assert_int_equal(stats.retired, 0);
    assert_int_equal(stats.errors, 1);
}

static void bad_slot_keeps_page(void)
{
    struct store_stats stats;

    touch(3, 33);
    disk.fail_write_permille = 1000;
    evict_all();
    support_store_settle(&disk);
    assert_int_equal(kind_of(3), PLACE_FRAME);
    assert_int_equal(memory_of(3)[0], 33);
    store_get_stats(store, &stats);
    assert_int_equal(stats.retired, 1);
    disk.fail_write_permille = 0;
    set_accessed(3, false);
    evict_all();
    support_store_settle(&disk);
    assert_int_equal(kind_of(3), PLACE_SLOT);
}

static void closed_during_transit(void)
{
    store_page(9);
    touch(10, 11);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    evict_all();
    assert_int_equal(kind_of(10), PLACE_WRITING);
    space_close(space);
    assert_false(space_drain(space));
    assert_int_equal(fault(10, ACCESS_READ), MM_LOST);
    fake_disk_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_true(space_drain(space));
}

static void pinned_pages_stay(void)
{
    assert_true(space_add_memslot(space, gfn(DEVICE), 1, MEMSLOT_PINNED));
    assert_int_equal(fault(DEVICE, ACCESS_WRITE), MM_OK);
    evict_all();
    assert_int_equal(kind_of(DEVICE), PLACE_FRAME);
}

static void minimum_stays(void)
{
    for (uint64_t page = 0; page < 20; page++) {
        touch(page, page + 1);
    }
    space_set_limits(space, 12, 0, 100);
    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(stats_now().resident, 12);
}

static void aging_finds_the_idle(void)
{
    struct space_stats stats;

    for (uint64_t page = 0; page < 64; page++) {
        touch(page, page + 1);
    }
    for (unsigned scan = 0; scan < 5; scan++) {
        for (uint64_t page = 0; page < 8; page++) {
            set_accessed(page, true);
        }
        space->scan_next_ns = 0;
        while (aging_step(space)) {
        }
    }
    stats = stats_now();
    assert_in_range(stats.resident, 64, 80); /* and what was filled ahead */
    assert_true(stats.age_histogram[3] + stats.age_histogram[4] > 0);
}

static void full_store_keeps_pages(void)
{
    struct space_stats stats;

    for (uint64_t page = 0; page < 200; page++) {
        touch(page, page + 1);
    }
    evict_all();
    fake_disk_settle(&disk);
    stats = stats_now();
    assert_int_equal(stats.resident + stats.stored, 200);
    for (uint64_t page = 0; page < 200; page++) {
        enum mm_result result;

        while ((result = fault(page, ACCESS_READ)) == MM_WAIT) {
            fake_disk_settle(&disk);
        }
        assert_int_equal(result, MM_OK);
        assert_int_equal(memory_of(page)[0], page + 1);
    }
}

static void test_reclaim(void **state)
{
    static test_case *const cases[] = {
        clean_page_is_dropped, fault_takes_page_back, failed_write_is_repeated,
        bad_slot_keeps_page,   minimum_stays,         aging_finds_the_idle,
    };

    (void)state;
    run_cases(cases, ARRAY_SIZE(cases));
}

static void test_full_store(void **state)
{
    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        run_case(full_store_keeps_pages, formats[f], 100);
    }
}

/* Cases that end the space, or add to it, themselves. */
static void test_close_during_transit(void **state)
{
    (void)state;
    machine_up(4096);
    create_space(formats[0]);
    closed_during_transit();
    space_free(space);
    machine_down();
}

static void test_pinned(void **state)
{
    (void)state;
    machine_up(4096);
    create_space(formats[0]);
    pinned_pages_stay();
    destroy_space();
    machine_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_full_store),
        cmocka_unit_test(test_close_during_transit),
        cmocka_unit_test(test_pinned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
