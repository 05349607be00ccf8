/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/space_machine.c */
/* Whole pages that the guest writes: which are not read first, and what is true of them then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/space_machine.h"
#include "tests/unit/support.h"

#define WORD 0x123456789abcdef0ull

static bool overwrite(uint64_t page, uint64_t word)
{
    bool done;

    assert_int_equal(space_overwrite(space, gfn(page), word, &waiter, &done), MM_OK);
    return done;
}

static bool copy(uint64_t page, uint64_t from)
{
    bool done;

    assert_int_equal(space_overwrite_copy(space, gfn(page), gfn(from), &waiter, &done), MM_OK);
    return done;
}

/* It is there, dirty, and its old slot is free; nothing has been read. */
static void stored_page(void)
{
    struct store_stats stats;

    store_page(9);
    assert_true(space_has_to_read(space, gfn(9)));
    assert_true(overwrite(9, WORD));
    assert_int_equal(disk.queued, 0);
    assert_int_equal(kind_of(9), PLACE_FRAME);
    assert_false(space_has_to_read(space, gfn(9)));
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++) {
        assert_true(memory_of(9)[i] == WORD);
    }
    assert_true(space->table.format->flags(*entry_of(9)) & LEAF_DIRTY);
    assert_int_equal(stats_now().page_ins, 0);
    assert_int_equal(stats_now().false_reads_avoided, 1);
    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    set_accessed(9, false);
    evict_all();
    assert_int_equal(disk.queued, 1); /* it has to be written */
}

static void cleared_page(void)
{
    store_page(9);
    assert_true(overwrite(9, 0));
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++) {
        assert_true(memory_of(9)[i] == 0);
    }
    set_accessed(9, false);
    evict_all();
    assert_int_equal(kind_of(9), PLACE_HOLE);
}

static void copied_page(void)
{
    store_page(9);
    touch(10, 1010);
    memory_of(10)[511] = 5;
    assert_true(copy(9, 10));
    assert_memory_equal(memory_of(9), memory_of(10), PAGE_SIZE);
    assert_ptr_not_equal(memory_of(9), memory_of(10));
    assert_int_equal(disk.queued, 0);
}

/* What is there is left to the guest, and so is what comes without I/O. */
static void others_are_not(void)
{
    touch(3, 33);
    assert_false(overwrite(3, WORD));
    assert_int_equal(memory_of(3)[0], 33);
    assert_false(overwrite(4, WORD));
    assert_int_equal(kind_of(4), PLACE_HOLE);
    assert_false(overwrite(DEVICE, WORD));
    assert_false(overwrite(UINT64_MAX >> 12, WORD));
    assert_false(space_has_to_read(space, gfn(UINT64_MAX >> 12)));
    set_accessed(3, false);
    evict_all();
    assert_int_equal(kind_of(3), PLACE_WRITING);
    assert_false(overwrite(3, WORD)); /* its frame still has it */
    fake_disk_settle(&disk);
}

/* What has to be read itself, or is nowhere, is not copied. */
static void source_is_not_at_hand(void)
{
    store_page(9);
    store_page(10);
    assert_false(copy(9, 10));
    assert_false(copy(9, 9));
    assert_false(copy(9, DEVICE));
    assert_int_equal(kind_of(9), PLACE_SLOT);
}

/* A read that is under way is not overtaken. */
static void being_read(void)
{
    store_page(9);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    assert_false(overwrite(9, WORD));
    assert_int_equal(kind_of(9), PLACE_READING);
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(9), PLACE_FRAME);
}

/* There is no frame: who waits gets one, and nothing has happened before. */
static void waits_for_a_frame(void)
{
    bool done;

    store_page(9);
    space_set_limits(space, 0, 1, 100);
    touch(3, 33);
    woken = NOT_WOKEN;
    assert_int_equal(space_overwrite(space, gfn(9), WORD, &waiter, &done), MM_WAIT);
    assert_false(done);
    assert_int_equal(kind_of(9), PLACE_SLOT);
    set_accessed(3, false);
    evict_all();
    fake_disk_settle(&disk);
    (void)pager_run();
    assert_int_equal(woken, WOKEN);
    assert_true(overwrite(9, WORD));
}

static void overwrite_cases(void **state)
{
    static test_case *const run[] = {
        stored_page,           cleared_page, copied_page,       others_are_not,
        source_is_not_at_hand, being_read,   waits_for_a_frame,
    };

    (void)state;
    run_cases(run, ARRAY_SIZE(run));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(overwrite_cases)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
