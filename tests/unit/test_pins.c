/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/space_machine.c */
/* Pins of many pages at a time say and do what those of single pages do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/table/table.h"
#include "tests/unit/space_machine.h"

#define MANY 64u

static gfn_t pages[MANY];
static pfn_t frames[MANY];

/* What the page's frame is, by the table alone. */
static uint64_t frame_at(uint64_t page)
{
    unsigned level;
    const uint64_t *entry = table_leaf(&space->table, gfn(page), &level);

    return entry_frame(space, table_entry_get(entry), level).v +
           (page & (table_level_pages(level) - 1));
}

/* How many were pinned, each in its frame. */
static unsigned pin(unsigned count, unsigned how, enum mm_result expected)
{
    enum mm_result result;
    unsigned pinned = space_pin_pages(space, pages, count, how, frames, &waiter, &result);

    assert_int_equal(result, expected);
    for (unsigned i = 0; i < pinned; i++) {
        assert_int_equal(frames[i].v, frame_at(pages[i].v));
    }
    return pinned;
}

static void unpin(unsigned count, bool written)
{
    space_unpin_pages(space, pages, count, written, NULL);
    assert_int_equal(space->pins, 0);
    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = frame_get(frames[i]);

        assert_false(frame->flags & FRAME_PINNED);
        assert_int_equal((frame->flags & FRAME_DIRTY) != 0, written);
    }
    for (unsigned i = 0; i < count; i++) {
        frame_get(frames[i])->flags &= (uint8_t)~FRAME_DIRTY;
    }
}

/* In any order, there and back over two tables, some of them twice. */
static void any_order(void)
{
    uint32_t random = 1;

    for (unsigned i = 0; i < MANY; i++) {
        random = random * 1664525 + 1013904223;
        pages[i] = gfn(480 + (random >> 16) % 64);
        touch(pages[i].v, i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        frame_get(pfn(frame_at(pages[i].v)))->flags &= (uint8_t)~FRAME_DIRTY;
    }
    assert_int_equal(pin(MANY, ACCESS_READ, MM_OK), MANY);
    assert_int_equal(space->pins, MANY);
    unpin(MANY, false);
    assert_int_equal(pin(MANY, ACCESS_WRITE, MM_OK), MANY);
    unpin(MANY, true);
}

/* One that has to come is the last one of its call: what the waiter was given is for one. */
static void holes(void)
{
    for (unsigned i = 0; i < 8; i++) {
        pages[i] = gfn(100 + 20 * i); /* no sequence, so each fault brings one */
    }
    touch(100, 1);
    touch(120, 1);
    touch(180, 1);
    assert_int_equal(pin(8, ACCESS_WRITE, MM_OK), 3);
    assert_int_equal(kind_of(140), PLACE_FRAME);
    assert_int_equal(kind_of(160), PLACE_HOLE);
    unpin(3, true);
    assert_int_equal(pin(8, ACCESS_WRITE, MM_OK), 4); /* 160, and not the one behind 180 */
    unpin(4, true);
    assert_int_equal(pin(8, ACCESS_WRITE, MM_OK), 6);
    unpin(6, true);
}

/* Those before it are pinned, and what is said is said of the one that cannot be had. */
static void not_there(void)
{
    store_page(9);
    touch(8, 1);
    touch(10, 1);
    for (unsigned i = 0; i < 3; i++) {
        pages[i] = gfn(8 + i);
    }
    assert_int_equal(pin(3, ACCESS_READ, MM_WAIT), 1);
    unpin(1, true);
    settle_until(9, ACCESS_READ);
    assert_int_equal(pin(3, ACCESS_READ, MM_OK), 3);
    unpin(3, true);
}

static void nobodys(void)
{
    static const uint64_t numbers[] = {DEVICE, TABLE_GFN_LIMIT - 1, TABLE_GFN_LIMIT,
                                       UINT64_MAX >> 12, UINT64_MAX};
    const uint64_t lent = DEVICE;

    assert_int_equal(space_lend_ones(space, gfn(lent), &waiter), MM_OK);
    touch(5, 1);
    touch(6, 1);
    pages[0] = gfn(5);
    pages[2] = gfn(6);
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        pages[1] = gfn(numbers[i]);
        assert_int_equal(pin(3, ACCESS_READ, MM_NO_MEMSLOT), 1);
        unpin(1, true);
    }
    space_take_ones(space, &(gfn_t){lent}, 1);
}

/* A large page is held as a whole, and split for a pin that lasts. */
static void large(void)
{
    if (space->table.format->large_levels < 2) {
        return;
    }
    frame_alloc_set_watermarks(4, 16, 40);
    assert_int_equal(fault(3, ACCESS_WRITE), MM_OK);
    frame_alloc_set_watermarks(4, 16, 500);
    assert_int_equal(space->large_maps, 1);
    for (unsigned i = 0; i < 6; i++) {
        pages[i] = gfn(7 * i + 1);
    }
    pages[6] = gfn(REGION_PAGES + 1);
    touch(REGION_PAGES + 1, 1);
    assert_int_equal(pin(7, ACCESS_READ, MM_OK), 7);
    assert_int_equal(frame_get(pfn(ALIGN_DOWN(frame_at(1), REGION_PAGES)))->pins, 6);
    space_unpin_pages(space, pages, 7, true, NULL);
    assert_int_equal(space->pins, 0);
    assert_int_equal(pin(7, ACCESS_READ | SPACE_PIN_LASTING, MM_OK), 1); /* the work of a split */
    space_unpin_pages(space, pages, 1, true, NULL);
    assert_int_equal(pin(7, ACCESS_READ | SPACE_PIN_LASTING, MM_OK), 7);
    assert_int_equal(frame_get(pfn(frame_at(1)))->pins, 1);
    assert_false(frame_get(pfn(frame_at(2)))->flags & FRAME_PINNED);
    space_unpin_pages(space, pages, 7, true, NULL);
    assert_int_equal(space->pins, 0);
}

static void test_pins_of_many(void **state)
{
    static test_case *const cases[] = {any_order, holes, not_there, nobodys, large};

    (void)state;
    run_cases(cases, ARRAY_SIZE(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pins_of_many)};

    return cmocka_run_group_tests_name("pins", tests, NULL, NULL);
}
