/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * space_discard() of a page in each place that it can be in, and of ranges: what is a hole then,
 * what becomes of frames and slots, what is written, who is shot down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/content/pattern.h"
#include "mm/env.h"
#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define PAGES       1100u /* of the memslot at 0: two 2 MiB regions and a bit */
#define PINNED      2048u /* a memslot that is never paged ... */
#define PINNED_MANY 600u  /* ... of so many pages */
#define FRAMES      3000u

static struct fake_disk disk;
static struct store *store;
static struct space *space;
static int woken;
static uint64_t free_at_start;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    woken++;
}

static struct mm_waiter waiter = {.wake = wake};

static void up(const struct table_format *format, bool large)
{
    struct space_config config = {.name = "vm", .format = format, .shares = 100};

    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(4, 16, large ? 40 : 2000);
    fake_disk_init(&disk, 4098, 1);
    config.store = store = support_open_store(&disk);
    free_at_start = frame_stats_get().free;
    woken = 0;
    space = space_create(&config);
    assert_non_null(space);
    assert_true(space_add_memslot(space, gfn(0), PAGES, 0));
    assert_true(space_add_memslot(space, gfn(PINNED), PINNED_MANY, MEMSLOT_PINNED));
}

static void down(void)
{
    struct store_stats stats;

    waiter_cancel(&waiter);
    space_close(space);
    while (!space_drain(space)) {
        support_store_step(&disk);
    }
    space_free(space);
    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frame_stats_get().free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

static uint64_t *entry_of(uint64_t page, unsigned *level)
{
    return table_leaf(&space->table, gfn(page), level);
}

static enum place_kind kind_of(uint64_t page)
{
    unsigned level;
    uint64_t *entry = entry_of(page, &level);

    return entry_kind(space, table_entry_get(entry), level);
}

static uint64_t *memory_of(uint64_t page)
{
    unsigned level;
    uint64_t value = table_entry_get(entry_of(page, &level));

    assert_int_equal(kind_of(page), PLACE_FRAME);
    return mm_frame_ptr(pfn(entry_frame(space, value, level).v + page % table_level_pages(level)));
}

/* As the guest would: fault, write, and the D bit. */
static void touch(uint64_t page, uint64_t value)
{
    unsigned level;

    assert_int_equal(space_fault(space, gfn(page), ACCESS_WRITE, &waiter), MM_OK);
    memory_of(page)[0] = value;
    *entry_of(page, &level) |= space->table.format->dirty_bit;
}

static void evict_all(void)
{
    for (unsigned i = 0; i < 100; i++) {
        reclaim_batch(space, 64, 0);
    }
}

static void store_page(uint64_t page)
{
    touch(page, page + 1);
    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(page), PLACE_SLOT);
}

static uint64_t discard(uint64_t first, uint64_t pages)
{
    struct gfn_range range = {gfn(first), pages};

    return space_discard(space, &range, 1);
}

static struct store_stats store_now(void)
{
    struct store_stats stats;

    store_get_stats(store, &stats);
    return stats;
}

static uint64_t guest_frames(void)
{
    return frame_stats_get().guest;
}

/* Its next frame holds zeroes. */
static void check_zero(uint64_t page)
{
    assert_int_equal(space_fault(space, gfn(page), ACCESS_READ, &waiter), MM_OK);
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++) {
        assert_int_equal(memory_of(page)[i], 0);
    }
}

/* ---- where it may be ------------------------------------------------------------------------ */

static void resident_page_is_free_at_once(void)
{
    unsigned shootdowns;

    touch(5, 55);
    shootdowns = support_shootdowns();
    assert_int_equal(discard(5, 1), 1);
    assert_int_equal(guest_frames(), 0);
    assert_int_equal(support_shootdowns(), shootdowns + 1);
    evict_all();
    fake_disk_settle(&disk);
    assert_int_equal(store_now().written_pages, 0);
    check_zero(5);
}

/* Nobody can have a translation of what is not there. */
static void absent_page_needs_no_shootdown(void)
{
    unsigned shootdowns;

    store_page(7);
    touch(8, 1); /* its table stays */
    shootdowns = support_shootdowns();
    assert_int_equal(discard(7, 1), 1);
    assert_int_equal(support_shootdowns(), shootdowns);
    assert_int_equal(store_now().slots_used, 0);
    check_zero(7);
}

static void pattern_is_forgotten(void)
{
    touch(7, 0);
    page_fill(memory_of(7), 0x7777777777777777);
    evict_all();
    assert_int_equal(kind_of(7), PLACE_WORD);
    assert_int_equal(discard(7, 1), 1);
    check_zero(7);
}

static void copy_in_the_store_goes_too(void)
{
    store_page(9);
    assert_int_equal(space_fault(space, gfn(9), ACCESS_READ, &waiter), MM_WAIT);
    fake_disk_settle(&disk);
    assert_int_equal(kind_of(9), PLACE_FRAME);
    assert_int_equal(store_now().slots_used, 1);
    assert_int_equal(discard(9, 1), 1);
    assert_int_equal(store_now().slots_used, 0);
    check_zero(9);
}

static void page_that_is_being_read(void)
{
    store_page(9);
    assert_int_equal(space_fault(space, gfn(9), ACCESS_READ, &waiter), MM_WAIT);
    assert_int_equal(kind_of(9), PLACE_READING);
    assert_int_equal(discard(9, 1), 1);
    assert_int_equal(kind_of(9), PLACE_HOLE);
    fake_disk_settle(&disk);
    assert_int_equal(woken, 1);
    assert_int_equal(guest_frames(), 0);
    assert_int_equal(store_now().slots_used, 0);
    check_zero(9);
}

static void page_that_is_being_written(void)
{
    touch(9, 99);
    evict_all();
    assert_int_equal(kind_of(9), PLACE_WRITING);
    assert_int_equal(discard(9, 1), 1);
    touch(9, 98); /* the guest uses it again before the write has ended */
    fake_disk_settle(&disk);
    assert_int_equal(memory_of(9)[0], 98);
    assert_int_equal(guest_frames(), 1);
    assert_int_equal(store_now().slots_used, 0);
}

static void page_that_was_taken_back(void)
{
    touch(9, 99);
    evict_all();
    assert_int_equal(space_fault(space, gfn(9), ACCESS_READ, &waiter), MM_OK);
    assert_int_equal(kind_of(9), PLACE_FRAME);
    assert_int_equal(discard(9, 1), 1);
    assert_int_equal(guest_frames(), 1); /* the disk reads from it still */
    fake_disk_settle(&disk);
    assert_int_equal(guest_frames(), 0);
    assert_int_equal(store_now().slots_used, 0);
    check_zero(9);
}

/* A write that fails, and would be tried again, is of no use to anybody. */
static void failed_write_of_a_discarded_page(void)
{
    touch(9, 99);
    disk.fail_write_in = 1;
    evict_all();
    assert_int_equal(discard(9, 1), 1);
    support_store_settle(&disk);
    assert_int_equal(guest_frames(), 0);
    assert_int_equal(store_now().slots_used, 0);
    check_zero(9);
}

static void lost_page_is_not_wanted(void)
{
    store_page(9);
    disk.corrupt_permille = 1000;
    assert_int_equal(space_fault(space, gfn(9), ACCESS_READ, &waiter), MM_WAIT);
    support_store_settle(&disk);
    assert_int_equal(kind_of(9), PLACE_LOST);
    assert_int_equal(discard(9, 1), 1);
    check_zero(9);
}

/* ---- ranges --------------------------------------------------------------------------------- */

static void range_has_one_shootdown(void)
{
    unsigned shootdowns;
    struct space_stats stats;

    for (uint64_t page = 100; page < 900; page++) {
        touch(page, page);
    }
    shootdowns = support_shootdowns();
    assert_int_equal(discard(100, 800), 800);
    assert_int_equal(support_shootdowns(), shootdowns + 1);
    assert_int_equal(guest_frames(), 0);
    space_get_stats(space, &stats);
    assert_int_equal(stats.hole, PAGES + PINNED_MANY);
    assert_int_equal(stats.discards, 800);
    assert_int_equal(stats.table_pages, 1); /* tables of holes go */
}

static void only_what_was_named_goes(void)
{
    struct gfn_range ranges[] = {{gfn(20), 1}, {gfn(22), 0}, {gfn(24), 2}, {gfn(24), 1}};

    for (uint64_t page = 18; page < 30; page++) {
        touch(page, page + 1);
    }
    assert_int_equal(space_discard(space, ranges, 4), 4); /* one of them twice */
    for (uint64_t page = 18; page < 30; page++) {
        if (page == 20 || page == 24 || page == 25) {
            assert_int_equal(kind_of(page), PLACE_HOLE);
        } else {
            assert_int_equal(memory_of(page)[0], page + 1);
        }
    }
    check_zero(24);
}

static void nobodys_pages_are_left_alone(void)
{
    touch(PAGES - 1, 1);
    assert_int_equal(discard(PAGES - 1, 100), 1);
    assert_int_equal(discard(PAGES, PINNED - PAGES), 0);
    assert_int_equal(discard(PINNED + PINNED_MANY, GFN_LIMIT), 0);
    assert_int_equal(discard(GFN_LIMIT - 1, 1), 0);
    assert_int_equal(discard(~0ull, ~0ull), 0);
    assert_int_equal(discard(0, ~0ull), PAGES + PINNED_MANY);
    assert_int_equal(discard(5, 0), 0);
    assert_int_equal(space_discard(space, NULL, 0), 0);
}

/* A page that is lent where nothing is belongs to nobody, and its table stays. */
static void lent_ones_stay(void)
{
    assert_int_equal(space_lend_ones(space, gfn(PAGES + 2), &waiter), MM_OK);
    touch(PAGES - 1, 1);
    assert_int_equal(discard(0, ~0ull), PAGES + PINNED_MANY);
    assert_int_equal(memory_of(PAGES + 2)[0], ~0ull);
    space_take_ones(space, &(gfn_t){PAGES + 2}, 1);
}

static void pinned_page_stays(void)
{
    touch(PINNED, 1);
    assert_int_equal(discard(PINNED, 2), 1);
    assert_int_equal(memory_of(PINNED)[0], 1);
}

/* A device uses the page; when it has done with it the guest's wish is forgotten. */
static void page_in_use_stays(void)
{
    pfn_t frame;

    touch(30, 1);
    assert_int_equal(space_pin(space, gfn(31), ACCESS_WRITE, &frame, &waiter), MM_OK);
    assert_int_equal(discard(30, 3), 2);
    ((uint64_t *)mm_frame_ptr(frame))[0] = 31;
    space_unpin(space, gfn(31), true);
    assert_int_equal(memory_of(31)[0], 31);
    assert_int_equal(discard(30, 3), 3);
}

static void (*const cases[])(void) = {
    resident_page_is_free_at_once,
    absent_page_needs_no_shootdown,
    pattern_is_forgotten,
    copy_in_the_store_goes_too,
    page_that_is_being_read,
    page_that_is_being_written,
    page_that_was_taken_back,
    failed_write_of_a_discarded_page,
    lost_page_is_not_wanted,
    range_has_one_shootdown,
    only_what_was_named_goes,
    nobodys_pages_are_left_alone,
    lent_ones_stay,
    pinned_page_stays,
    page_in_use_stays,
};

/* ---- large pages ---------------------------------------------------------------------------- */

static void large_page_goes_in_one_piece(void)
{
    touch(3, 33);
    assert_int_equal(guest_frames(), REGION_PAGES);
    assert_int_equal(discard(0, REGION_PAGES), REGION_PAGES);
    assert_int_equal(guest_frames(), 0);
    assert_int_equal(space->large_splits, 0);
    touch(3, 34); /* and the next one is large again */
    assert_int_equal(guest_frames(), REGION_PAGES);
    assert_int_equal(memory_of(4)[0], 0);
}

static void part_of_a_large_page(void)
{
    touch(511, 1);
    touch(512, 2);
    assert_int_equal(discard(500, 24), 24);
    assert_int_equal(guest_frames(), 2 * REGION_PAGES - 24);
    assert_int_equal(space->large_splits, 2);
    check_zero(511);
    check_zero(512);
}

static void part_of_a_large_page_without_memory(void)
{
    touch(511, 1);
    support_fail_alloc(1);
    assert_int_equal(discard(511, 1), 0);
    assert_true(support_alloc_failed());
    assert_int_equal(memory_of(511)[0], 1);
    assert_int_equal(discard(511, 1), 1);
    check_zero(511);
}

static void pinned_large_page_stays(void)
{
    touch(PINNED, 1);
    assert_int_equal(guest_frames(), REGION_PAGES);
    assert_int_equal(discard(PINNED, REGION_PAGES), 0);
    assert_int_equal(discard(PINNED + 1, 1), 0);
    assert_int_equal(memory_of(PINNED)[0], 1);
}

static void (*const large_cases[])(void) = {
    large_page_goes_in_one_piece,
    part_of_a_large_page,
    part_of_a_large_page_without_memory,
    pinned_large_page_stays,
};

/* ---- */

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

static void test_every_place(void **state)
{
    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
            up(formats[f], false);
            cases[i]();
            down();
        }
        for (unsigned i = 0; i < ARRAY_SIZE(large_cases); i++) {
            up(formats[f], true);
            large_cases[i]();
            down();
        }
    }
}

static uint64_t late_value;

/* What a CPU does that has not left the guest yet. */
static void write_late(struct space *in)
{
    uint64_t first = SUPPORT_FIRST_FRAME;

    (void)in;
    assert_int_equal(guest_frames(), 1); /* it is not anybody else's yet */
    for (uint64_t i = 0; i < FRAMES; i++) {
        if (frame_get(pfn(first + i))->state == FRAME_STATE_GUEST) {
            ((uint64_t *)mm_frame_ptr(pfn(first + i)))[1] = late_value;
        }
    }
}

/* A frame is nobody else's before the shootdown. */
static void test_late_write_reaches_nobody(void **state)
{
    (void)state;
    up(formats[0], false);
    touch(5, 5);
    late_value = 77;
    support_on_shootdown(write_late);
    assert_int_equal(discard(5, 1), 1);
    assert_int_equal(guest_frames(), 0);
    support_on_shootdown(NULL);
    check_zero(5);
    down();
}

static void test_closed_space(void **state)
{
    (void)state;
    up(formats[0], false);
    touch(5, 5);
    space_close(space);
    assert_int_equal(discard(5, 1), 0);
    while (!space_drain(space)) {
    }
    space_free(space);
    assert_int_equal(frame_stats_get().free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place),
        cmocka_unit_test(test_late_write_reaches_nobody),
        cmocka_unit_test(test_closed_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
