/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/balloon_guest.c
 * hv/timer.c */
/*
 * A guest's balloon: which pages go, by what the guest puts into the queues or reports as free, and
 * that no others do; then random queues, of which a plain array says what was named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vballoon.h"
#include "tests/unit/balloon_guest.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

/* A list of page numbers at that address, as a chain of one segment. */
static void put_list(unsigned queue, uint64_t at, const uint32_t *list, unsigned count)
{
    struct driver_segment segment = {at, count * 4, false};

    memcpy(vfake.memory + at, list, count * sizeof(*list));
    driver_add(&balloon_driver, queue, 0, &segment, 1);
}

static void check_gone(const uint32_t *list, unsigned count)
{
    assert_int_equal(vfake.discards, count);
    for (unsigned i = 0; i < count; i++) {
        assert_true(balloon_gone[list[i]] > 0);
    }
}

/* ---- inflate and deflate -------------------------------------------------------------------- */

static void test_lists(void **state)
{
    static const uint32_t lists[][6] = {
        {100, 101, 102, 103, 104, 105}, /* up */
        {105, 104, 103, 102, 101, 100}, /* down, as Linux often has them */
        {100, 102, 104, 103, 90, 7},
        {PAGES - 1, 0, PAGES - 2, 1, 55, 54},
    };

    (void)state;
    balloon_up(ALL);
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
        put_list(VIRTIO_BALLOON_INFLATE, LISTS, lists[i], 6);
        assert_int_equal(balloon_notify(VIRTIO_BALLOON_INFLATE), 1);
        assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
        check_gone(lists[i], 6);
        balloon_forget();
        put_list(VIRTIO_BALLOON_DEFLATE, LISTS, lists[i], 6);
        balloon_notify(VIRTIO_BALLOON_DEFLATE);
        assert_int_equal(balloon_used(VIRTIO_BALLOON_DEFLATE), 1);
        assert_int_equal(vfake.discards, 0);
    }
    balloon_down();
}

/* Beyond memory, where devices are, twice, and no number at all. */
static void test_pages_that_are_none(void **state)
{
    static const uint32_t list[] = {
        PAGES, UINT32_MAX, UINT32_MAX - 1, 0xfee00, 0xfec00, 0xc0000, 0xc1000, 5, 5, 0x80000000};
    struct driver_segment segment = {LISTS, 3, false};

    (void)state;
    balloon_up(ALL);
    put_list(VIRTIO_BALLOON_INFLATE, LISTS, list, ARRAY_SIZE(list));
    balloon_notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
    assert_int_equal(balloon_gone[5], 2);
    assert_int_equal(vfake.discards, 2);
    driver_add(&balloon_driver, VIRTIO_BALLOON_INFLATE, 0, &segment, 1);
    balloon_notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
    assert_int_equal(vfake.discards, 2);
    assert_false(balloon_is_broken());
    balloon_down();
}

/* Entries across segments; what the device may write is no list. */
static void test_list_in_pieces(void **state)
{
    static const uint32_t list[] = {1000, 3000, 2000};
    const struct driver_segment pieces[] = {{LISTS, 1, false},
                                            {LISTS + 1, 6, false},
                                            {LISTS + 7, 5, false},
                                            {LISTS + 0x5000, 4096, true}};

    (void)state;
    balloon_up(ALL);
    memcpy(vfake.memory + LISTS, list, sizeof(list));
    driver_add(&balloon_driver, VIRTIO_BALLOON_INFLATE, 0, pieces, 4);
    balloon_notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
    check_gone(list, 3);
    balloon_down();
}

/* More than an exit may do: others get their turn in between, and nothing is left out. */
static void test_long_list(void **state)
{
    static uint32_t list[LIST_MAX];

    (void)state;
    balloon_up(ALL);
    for (unsigned i = 0; i < LIST_MAX; i++) {
        list[i] = (uint32_t)(i * 7 % PAGES);
    }
    put_list(VIRTIO_BALLOON_INFLATE, LISTS, list, LIST_MAX);
    assert_in_range(balloon_notify(VIRTIO_BALLOON_INFLATE), 3, 4);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
    check_gone(list, LIST_MAX);
    assert_true(balloon_again > 0);
    balloon_down();
}

/* A queue that is full of short chains costs more than one exit as well. */
static void test_many_chains(void **state)
{
    const struct driver_segment segment = {LISTS, 4, false};

    (void)state;
    balloon_up(ALL);
    for (unsigned round = 0; round < 20; round++) {
        for (uint16_t head = 0; head < SIZE; head++) {
            driver_add(&balloon_driver, VIRTIO_BALLOON_DEFLATE, head, &segment, 1);
        }
        balloon_notify(VIRTIO_BALLOON_DEFLATE);
        assert_int_equal(balloon_used(VIRTIO_BALLOON_DEFLATE), SIZE);
    }
    balloon_down();
}

/* Each access to memory has to wait once: in whatever order that is, all goes, nothing else. */
static void test_every_access_waits(void **state)
{
    static uint32_t list[600];
    const struct driver_segment pieces[] = {
        {LISTS, 2, false}, {LISTS + 2, 1201, false}, {LISTS + 1203, 1197, false}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        list[i] = 3 * i;
    }
    for (unsigned wait_at = 1; wait_at < 12; wait_at++) {
        balloon_up(ALL);
        memcpy(vfake.memory + LISTS, list, sizeof(list));
        driver_add(&balloon_driver, VIRTIO_BALLOON_INFLATE, 0, pieces, 3);
        vfake.calls = 0;
        vfake.wait_at = wait_at;
        balloon_notify(VIRTIO_BALLOON_INFLATE);
        vfake.wait_at = 0;
        assert_int_equal(balloon_used(VIRTIO_BALLOON_INFLATE), 1);
        check_gone(list, ARRAY_SIZE(list));
        balloon_down();
    }
}

static void test_list_that_is_not_there(void **state)
{
    const struct driver_segment segment = {PAGES * PAGE_SIZE, 16, false};

    (void)state;
    balloon_up(ALL);
    driver_add(&balloon_driver, VIRTIO_BALLOON_INFLATE, 0, &segment, 1);
    balloon_notify(VIRTIO_BALLOON_INFLATE);
    assert_true(balloon_is_broken());
    assert_int_equal(vfake.discards, 0);
    balloon_down();
}

/* ---- reporting ------------------------------------------------------------------------------ */

static void report(const struct driver_segment *segment, unsigned count)
{
    balloon_forget();
    driver_add(&balloon_driver, VIRTIO_BALLOON_REPORTING, 0, segment, count);
    balloon_notify(VIRTIO_BALLOON_REPORTING);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_REPORTING), 1);
}

static void test_reports(void **state)
{
    const struct driver_segment whole[] = {{0x200000, 0x200000, true}, {0x800000, 0x1000, true}};
    const struct driver_segment parts[] = {
        {0x200001, 0x1fff, true}, {0x300000, 0xfff, true}, {0x400fff, 0x1002, true}};

    (void)state;
    balloon_up(ALL);
    report(whole, 2);
    assert_int_equal(vfake.discards, 513);
    assert_int_equal(balloon_gone[0x200] + balloon_gone[0x3ff] + balloon_gone[0x800], 3);
    report(parts, 3); /* of a page that is not reported as a whole nothing goes */
    assert_int_equal(vfake.discards, 2);
    assert_int_equal(balloon_gone[0x201] + balloon_gone[0x401], 2);
    balloon_down();
}

static void test_reports_of_no_memory(void **state)
{
    const struct driver_segment segments[] = {
        {~0xfffull, 0xfff, true},           /* the last page */
        {0xfffffffffffff001, 0xffe, true},  /* in it */
        {PAGES * PAGE_SIZE, 0x10000, true}, /* behind memory */
        {0xfee00000, 0x1000, true},         {0x200000, 0x1000, false},
    };

    (void)state;
    balloon_up(ALL);
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        report(&segments[i], 1);
        assert_int_equal(vfake.discards, 0);
    }
    assert_false(balloon_is_broken());
    balloon_down();
}

/* As large as a chain can be: exits stay short. */
static void test_large_report(void **state)
{
    const struct driver_segment segments[] = {{0x1000, 0x7fff0000, true},
                                              {0x2000, 0x70000000, true}};

    (void)state;
    balloon_up(ALL);
    report(segments, 2);
    assert_int_equal(vfake.discards, 2 * PAGES - 3);
    assert_true(balloon_again > 10);
    balloon_down();
}

static void test_poison(void **state)
{
    const struct driver_segment segment = {0x200000, 0x1000, true};

    (void)state;
    balloon_up(ALL);
    balloon_config_write(CONFIG(poison), 0xaaaaaaaa);
    report(&segment, 1);
    assert_int_equal(vfake.discards, 0);
    balloon_config_write(CONFIG(poison), 0); /* init_on_free: zeroes are what it expects */
    report(&segment, 1);
    assert_int_equal(vfake.discards, 1);
    balloon_down();
    balloon_up(VIRTIO_BALLOON_F_PAGE_REPORTING);
    balloon_config_write(CONFIG(poison), 0xaaaaaaaa); /* without the feature that says nothing */
    report(&segment, 1);
    assert_int_equal(vfake.discards, 1);
    balloon_down();
    balloon_up(VIRTIO_BALLOON_F_STATS);
    report(&segment, 1);
    assert_int_equal(vfake.discards, 0);
    balloon_down();
}

/* ---- whatever a guest puts there ------------------------------------------------------------ */

#define ROUNDS 3000u

static bool named[PAGES];

static uint64_t random_address(void)
{
    switch (support_random_below(8)) {
    case 0:
        return support_random();
    case 1:
        return PAGES * PAGE_SIZE - support_random_below(0x3000);
    default:
        return LISTS + support_random_below((PAGES - 1) * PAGE_SIZE - LISTS);
    }
}

/* What the device may take from a segment, whole pages or numbers in a list, is named. */
static void name_pages(unsigned queue, const struct driver_segment *segment)
{
    bool reports = queue >= VIRTIO_BALLOON_FREE_PAGES;

    if (reports && segment->device_writes) {
        for (uint64_t page = (segment->address + 0xfff) / PAGE_SIZE;
             page < PAGES && (page + 1) * PAGE_SIZE <= segment->address + segment->bytes; page++) {
            named[page] = true;
        }
    }
}

static void random_chain(unsigned queue)
{
    unsigned count = 1 + (unsigned)support_random_below(4);
    uint16_t head = (uint16_t)support_random_below(SIZE - 8);
    struct driver_segment segment[4];

    for (unsigned i = 0; i < count; i++) {
        segment[i] = (struct driver_segment){
            .address = random_address(),
            .bytes = (uint32_t)support_random_below(support_random_below(4) == 0 ? 0x400000 : 5000),
            .device_writes = support_random_below(2)};
        name_pages(queue, &segment[i]);
    }
    driver_add(&balloon_driver, queue, head, segment, count);
}

static void random_round(void)
{
    unsigned queue = (unsigned)support_random_below(VIRTIO_BALLOON_QUEUES);

    if (balloon_is_broken() || support_random_below(50) == 0) {
        driver_start(&balloon_driver, balloon_driver.devfn, support_random() | VIRTIO_F_VERSION_1,
                     VIRTIO_BALLOON_QUEUES, SIZE);
    }
    for (unsigned i = (unsigned)support_random_below(4); i > 0; i--) {
        random_chain(queue);
    }
    balloon_waits_often = support_random_below(2);
    vfake.wait_at = balloon_waits_often ? vfake.calls + 1 : 0;
    if (support_random_below(3) == 0) {
        balloon_config_write((unsigned)support_random_below(5) * 4,
                             (uint32_t)support_random_below(2));
    }
    balloon_notify(queue);
    balloon_waits_often = false;
    vfake.wait_at = 0;
    vballoon_poll(balloon, (uint32_t)support_random_below(100));
}

/* Memory is all zeroes but for rings, so that lists name page 0 and nothing else. */
static void test_random_queues(void **state)
{
    (void)state;
    support_seed(1);
    balloon_up(ALL);
    memset(named, 0, sizeof(named));
    for (unsigned i = 0; i < ROUNDS; i++) {
        random_round();
        for (unsigned page = 1; vfake.discards != 0 && page < PAGES; page++) {
            assert_true(balloon_gone[page] == 0 || named[page]);
        }
        balloon_forget();
    }
    balloon_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_pages_that_are_none),
        cmocka_unit_test(test_list_in_pieces),
        cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_many_chains),
        cmocka_unit_test(test_every_access_waits),
        cmocka_unit_test(test_list_that_is_not_there),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_reports_of_no_memory),
        cmocka_unit_test(test_large_report),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_random_queues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
