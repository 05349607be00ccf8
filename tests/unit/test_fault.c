/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/space_machine.c */
/*
 * Faults of a space (tests/unit/space_machine.h), case by case, and with every allocation failing
 * once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/content/pattern.h"
#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/space_machine.h"
#include "tests/unit/support.h"

/* ---- cases ---------------------------------------------------------------------------------- */

static void hole_is_zero_and_resident(void)
{
    assert_int_equal(fault(5, ACCESS_READ), MM_OK);
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        assert_int_equal(memory_of(5)[i], 0);
    }
    assert_int_equal(fault(5, ACCESS_READ), MM_OK); /* spurious */
    assert_int_equal(stats_now().resident, 1);
    assert_int_equal(stats_now().faults_zero, 1);
}

static void address_nobody_owns(void)
{
    uint64_t word = 1;

    assert_int_equal(fault(DEVICE, ACCESS_READ), MM_NO_MEMSLOT);
    assert_int_equal(fault(BIT(52), ACCESS_READ), MM_NO_MEMSLOT);
    assert_int_equal(fault(~0ull, ACCESS_READ), MM_NO_MEMSLOT);
    assert_int_equal(space_read(space, gpa(~7ull), &word, 8, &waiter), MM_NO_MEMSLOT);
    assert_false(space_owns(space, gfn(PAGES)));
    assert_true(space_owns(space, gfn(PAGES - 1)));
}

static void copy_is_all_or_nothing(void)
{
    char buffer[64];

    memset(buffer, 'x', sizeof(buffer));
    /* The second page is nobody's: the first one keeps its bytes. */
    assert_int_equal(space_write(space, gpa(PAGES * PAGE_SIZE - 8), buffer, 64, &waiter),
                     MM_NO_MEMSLOT);
    assert_int_equal(space_read(space, gpa(PAGES * PAGE_SIZE - 8), buffer, 8, &waiter), MM_OK);
    assert_int_equal(buffer[0], 0);
    assert_int_equal(stats_now().resident, 0); /* and reading a hole takes no frame */
}

static void sequence_takes_few_faults(void)
{
    unsigned faults = 0;

    for (uint64_t page = 0; page < 256; page++) {
        if (kind_of(page) != PLACE_FRAME) {
            assert_int_equal(fault(page, ACCESS_WRITE), MM_OK);
            faults++;
        }
    }
    assert_in_range(faults, 2, 40);
    evict_all();
    assert_int_equal(stats_now().hole, PAGES); /* all zero: nothing written */
    assert_int_equal(disk.queued, 0);
}

static void pattern_needs_no_disk(void)
{
    assert_int_equal(fault(7, ACCESS_WRITE), MM_OK);
    page_fill(memory_of(7), 0x7777777777777777);
    evict_all();
    assert_int_equal(kind_of(7), PLACE_WORD);
    assert_int_equal(disk.queued, 0);
    assert_int_equal(fault(7, ACCESS_READ), MM_OK);
    assert_int_equal(memory_of(7)[511], 0x7777777777777777);
}

static void failed_read_loses_one_page(void)
{
    for (uint64_t page = 16; page < 24; page++) {
        touch(page, page);
    }
    evict_all();
    fake_disk_settle(&disk);
    space->read_ahead = 8;
    assert_int_equal(fault(18, ACCESS_READ), MM_WAIT);
    disk.bad_block = 1 + *space_cluster(&space->memslot[0], 20) * STORE_CLUSTER_SLOTS + 20;
    support_store_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_int_equal(fault(18, ACCESS_READ), MM_OK);
    assert_int_equal(memory_of(18)[0], 18);
    assert_int_equal(kind_of(20), PLACE_LOST);
    assert_int_equal(fault(20, ACCESS_READ), MM_LOST);
}

static void corrupt_page_is_noticed(void)
{
    store_page(9);
    disk.corrupt_permille = 1000;
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    support_store_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_int_equal(fault(9, ACCESS_READ), MM_LOST);
}

static void neighbour_read_ahead_is_waited_for(void)
{
    for (uint64_t page = 16; page < 24; page++) {
        touch(page, page);
    }
    evict_all();
    fake_disk_settle(&disk);
    space->read_ahead = 8;
    assert_int_equal(fault(18, ACCESS_READ), MM_WAIT);
    assert_int_equal(kind_of(21), PLACE_READING);
    assert_int_equal(disk.queued, 1);
    assert_int_equal(fault(21, ACCESS_READ), MM_WAIT); /* the waiter moves */
    assert_int_equal(disk.queued, 1);
    fake_disk_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_int_equal(memory_of(21)[0], 21);
    assert_int_equal(stats_now().readahead, 7);
}

static void cancelled_waiter_is_not_woken(void)
{
    store_page(9);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    waiter_cancel(&waiter);
    waiter_cancel(&waiter);
    fake_disk_settle(&disk);
    assert_int_equal(woken, NOT_WOKEN);
}

/* Another waiter waits in the place of the first one, which waits for something else then. */
static void a_wait_is_handed_over(void)
{
    struct mm_waiter other = {.wake = wake};

    list_init(&other.link);
    assert_false(wait_hand_over(&waiter, &other));
    store_page(9);
    store_page(18);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    assert_true(wait_hand_over(&waiter, &other));
    assert_int_equal(waiter.queue, MM_WAITS_NOT);
    assert_int_equal(other.queue, MM_WAITS_READ);
    assert_false(wait_hand_over(&waiter, &other));
    assert_int_equal(fault(18, ACCESS_READ), MM_WAIT);
    fake_disk_settle(&disk);
    assert_int_equal(woken, 2);
    assert_int_equal(other.queue, MM_WAITS_NOT);
    assert_false(wait_hand_over(&other, &waiter));
    wait_for_frame(&waiter);
    assert_false(wait_hand_over(&waiter, &other));
    assert_int_equal(waiter.queue, MM_WAITS_FRAME);
    waiter_cancel(&waiter);
    store_page(9);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    assert_true(wait_hand_over(&waiter, &other));
    waiter_cancel(&other);
    fake_disk_settle(&disk);
    assert_int_equal(woken, 2);
}

static void whole_page_write_reads_nothing(void)
{
    static char page[PAGE_SIZE];

    memset(page, 'p', sizeof(page));
    page[0] = 'q';
    store_page(9);
    assert_int_equal(space_write(space, gpa(9 * PAGE_SIZE), page, PAGE_SIZE, &waiter), MM_OK);
    assert_int_equal(disk.queued, 0);
    assert_memory_equal(memory_of(9), page, PAGE_SIZE);
}

/* Though there is plenty of memory, a space at its own max does not read 32 pages for one: they
 * would drive out what is wanted. */
static void no_large_read_at_the_max(void)
{
    for (uint64_t page = 0; page < 64; page++) {
        touch(page, page + 1);
    }
    evict_all();
    fake_disk_settle(&disk);
    for (uint64_t page = 600; page < 640; page++) {
        touch(page, page + 1);
    }
    frame_alloc_set_watermarks(4, 8, 12); /* plenty */
    space_set_limits(space, 0, 120, 100);
    settle_until(20, ACCESS_READ);
    assert_in_range(stats_now().readahead, 0, READ_WINDOW_START - 1);
    space_set_limits(space, 0, 0, 100);
    settle_until(50, ACCESS_READ);
    assert_in_range(stats_now().readahead, READ_WINDOW_START, 2 * READ_WINDOW_MAX);
}

/* Room in a space at its max is for who waits for it, before and after he has been told. */
static void room_goes_to_who_has_waited(void)
{
    struct mm_waiter late = {.wake = wake};

    list_init(&late.link);
    for (uint64_t page = 0; page < 120; page++) {
        touch(page, page + 1);
    }
    space_set_limits(space, 0, stats_now().resident, 100);
    assert_int_equal(fault(600, ACCESS_WRITE), MM_WAIT);
    space_set_limits(space, 0, stats_now().resident + 1, 100);
    assert_int_equal(space_fault(space, gfn(601), ACCESS_WRITE, &late), MM_WAIT);
    waiter_cancel(&late);
    woken = 0;
    wait_serve(32);
    assert_int_equal(woken, 1);
    assert_int_equal(space_fault(space, gfn(601), ACCESS_WRITE, &late), MM_WAIT);
    assert_int_equal(fault(600, ACCESS_WRITE), MM_OK);
    waiter_cancel(&late);
    waiter_end_turn(&waiter);
}

/* A page that the guest has cleared is not written, whatever it held before. */
static void cleared_page_is_a_hole(void)
{
    store_page(7);
    settle_until(7, ACCESS_WRITE);
    memset(memory_of(7), 0, PAGE_SIZE);
    *entry_of(7) |= space->table.format->dirty_bit;
    uint64_t written = stats_now().page_outs;

    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(7), PLACE_HOLE);
    assert_int_equal(stats_now().page_outs, written);
    assert_int_equal(stats_now().stored, 0);
}

/* Takes all frames, so that the next fault has to wait for the pager. */
static void no_frame_no_harm(void)
{
    pfn_t taken[FRAMES];
    unsigned count = 0;

    for (uint64_t page = 0; page < 40; page++) {
        touch(page, page + 1);
    }
    while (frame_alloc(0, ALLOC_META, 0, &taken[count])) {
        count++;
    }
    assert_int_equal(fault(900, ACCESS_READ), MM_WAIT);
    for (unsigned i = 0; i < 50 && woken == NOT_WOKEN; i++) {
        support_clock_advance(10000000);
        pager_run();
        fake_disk_settle(&disk);
    }
    assert_int_equal(woken, WOKEN);
    assert_int_equal(fault(900, ACCESS_READ), MM_OK);
    while (count > 0) {
        frame_free(taken[--count]);
    }
}

static void test_cases(void **state)
{
    static test_case *const cases[] = {
        hole_is_zero_and_resident,
        address_nobody_owns,
        copy_is_all_or_nothing,
        sequence_takes_few_faults,
        pattern_needs_no_disk,
        page_comes_back_from_store,
        failed_read_loses_one_page,
        corrupt_page_is_noticed,
        neighbour_read_ahead_is_waited_for,
        cancelled_waiter_is_not_woken,
        a_wait_is_handed_over,
        whole_page_write_reads_nothing,
        no_large_read_at_the_max,
        room_goes_to_who_has_waited,
        cleared_page_is_a_hole,
        no_frame_no_harm,
    };

    (void)state;
    run_cases(cases, ARRAY_SIZE(cases));
}

/* ---- every allocation fails once ------------------------------------------------------------ */

static void create_somehow(void)
{
    struct space_config config = {
        .name = "sweep", .format = formats[0], .store = store, .shares = 100};

    do {
        space = space_create(&config);
    } while (space == NULL);
    while (!space_add_memslot(space, gfn(0), PAGES, 0)) {
    }
}

static void sweep_scenario(void)
{
    static const uint64_t pages[] = {0, 1, 2, 3, 600, 601, 1090, 40};

    create_somehow();
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
            settle_until(pages[i], ACCESS_WRITE);
            if (round == 0) {
                memory_of(pages[i])[0] = pages[i] + 1;
                *entry_of(pages[i]) |= space->table.format->dirty_bit;
            }
            assert_int_equal(memory_of(pages[i])[0], pages[i] + 1);
        }
        evict_all();
        fake_disk_settle(&disk);
    }
    stats_now();
    destroy_space();
}

static void test_every_allocation_fails_once(void **state)
{
    unsigned n = 0;

    (void)state;
    do {
        n++;
        machine_up(4096);
        support_fail_alloc(n);
        sweep_scenario();
        bool failed = support_alloc_failed();

        support_fail_alloc(0);
        machine_down();
        if (!failed) {
            break;
        }
    } while (n < 10000);
    print_message("fault: %u allocations failed in turn\n", n - 1);
    assert_in_range(n, 10, 9999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_every_allocation_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
