/* SPDX-License-Identifier: BSD-2-Clause */
/* Fault, reclaim, transit and tear-down, case by case, and with every allocation failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/content/pattern.h"
#include "mm/env.h"
#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define PAGES     1100u /* of the slot at 0: two 2 MiB regions and a bit */
#define DEVICE    2000u /* behind it: nobody's */
#define FRAMES    1500u
#define NOT_WOKEN 0
#define WOKEN     1

static struct fake_disk disk;
static struct store *store;
static struct space *space;
static int woken;
static uint64_t free_at_start;

static void wake(struct mm_waiter *waiter)
{
    assert_int_equal(waiter->queue, MM_WAITS_NOT);
    woken++;
}

static struct mm_waiter waiter = {.wake = wake};

static void create(const struct table_format *format)
{
    struct space_config config = {.name = "vm", .format = format, .store = store, .shares = 100};

    space = space_create(&config);
    assert_non_null(space);
    assert_true(space_add_memslot(space, gfn(0), PAGES, 0));
}

static void destroy(void)
{
    waiter_cancel(&waiter);
    space_close(space);
    while (!space_drain(space)) {
        support_store_step(&disk);
    }
    space_free(space);
}

static void machine_up(uint64_t slots)
{
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 16, 500); /* no large pages */
    fake_disk_init(&disk, slots + 2, 1);
    store = support_open_store(&disk);
    assert_non_null(store);
    free_at_start = frame_stats_get().free;
    woken = 0;
}

static void machine_down(void)
{
    struct store_stats stats;

    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frame_stats_get().free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

static enum place_kind kind_of(uint64_t page)
{
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

    return entry_kind(space, table_entry_get(entry), level);
}

static uint64_t *memory_of(uint64_t page)
{
    unsigned level;
    uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

    assert_int_equal(kind_of(page), PLACE_FRAME);
    assert_int_equal(level, 1);
    return mm_frame_ptr(entry_frame(space, table_entry_get(entry), 1));
}

static enum mm_result fault(uint64_t page, unsigned how)
{
    return space_fault(space, gfn(page), how, &waiter);
}

static uint64_t *entry_of(uint64_t page)
{
    unsigned level;

    return table_leaf(&space->table, gfn(page), &level);
}

static void set_accessed(uint64_t page, bool accessed)
{
    uint64_t bit = space->table.format->accessed_bit;

    *entry_of(page) = (*entry_of(page) & ~bit) | (accessed ? bit : 0);
}

/* As the guest would: fault, write, and the D bit. */
static void touch(uint64_t page, uint64_t value)
{
    assert_int_equal(fault(page, ACCESS_WRITE), MM_OK);
    memory_of(page)[0] = value;
    *entry_of(page) |= space->table.format->dirty_bit;
}

/* All that is resident leaves, if it can. */
static void evict_all(void)
{
    for (unsigned i = 0; i < 100; i++) {
        reclaim_batch(space, 64, space_floor(space));
    }
}

/* A page whose content is distinct from a pattern. */
static void store_page(uint64_t page)
{
    touch(page, page + 1);
    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(page), PLACE_SLOT);
}

static struct space_stats stats_now(void)
{
    struct space_stats stats;

    space_get_stats(space, &stats);
    assert_int_equal(stats.resident + stats.hole + stats.pattern + stats.stored + stats.transit,
                     PAGES);
    return stats;
}

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

static void page_comes_back_from_store(void)
{
    store_page(9);
    assert_int_equal(fault(9, ACCESS_READ), MM_WAIT);
    assert_int_equal(kind_of(9), PLACE_READING);
    assert_int_equal(woken, NOT_WOKEN);
    fake_disk_settle(&disk);
    assert_int_equal(woken, WOKEN);
    assert_int_equal(fault(9, ACCESS_READ), MM_OK);
    assert_int_equal(memory_of(9)[0], 10);
}

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

static void settle_until(uint64_t page, unsigned how)
{
    enum mm_result result;

    while ((result = fault(page, how)) == MM_WAIT) {
        woken = 0;
        for (unsigned i = 0; woken == 0; i++) {
            assert_true(i < 1000);
            support_clock_advance(10000000);
            fake_disk_step(&disk);
            pager_run();
        }
    }
    assert_int_equal(result, MM_OK);
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

typedef void test_case(void);

static test_case *const cases[] = {
    hole_is_zero_and_resident,
    address_nobody_owns,
    copy_is_all_or_nothing,
    sequence_takes_few_faults,
    pattern_needs_no_disk,
    page_comes_back_from_store,
    clean_page_is_dropped,
    fault_takes_page_back,
    failed_write_is_repeated,
    bad_slot_keeps_page,
    failed_read_loses_one_page,
    corrupt_page_is_noticed,
    neighbour_read_ahead_is_waited_for,
    cancelled_waiter_is_not_woken,
    a_wait_is_handed_over,
    whole_page_write_reads_nothing,
    minimum_stays,
    no_large_read_at_the_max,
    room_goes_to_who_has_waited,
    cleared_page_is_a_hole,
    no_frame_no_harm,
    aging_finds_the_idle,
};

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

static void run_case(test_case *run, const struct table_format *format, uint64_t slots)
{
    machine_up(slots);
    create(format);
    run();
    destroy();
    machine_down();
}

static void test_cases(void **state)
{
    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
            run_case(cases[i], formats[f], 4096);
        }
        run_case(full_store_keeps_pages, formats[f], 100);
    }
}

/* Cases that end the space, or add to it, themselves. */
static void test_close_during_transit(void **state)
{
    (void)state;
    machine_up(4096);
    create(formats[0]);
    closed_during_transit();
    space_free(space);
    machine_down();
}

static void test_pinned(void **state)
{
    (void)state;
    machine_up(4096);
    create(formats[0]);
    pinned_pages_stay();
    destroy();
    machine_down();
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
    destroy();
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
        cmocka_unit_test(test_close_during_transit),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_every_allocation_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
