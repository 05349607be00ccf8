/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * A guest's balloon: which pages go, by what the guest puts into the queues, and that no others do;
 * statistics, configuration, resets; then random queues, of which a plain array says what was
 * named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vballoon.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define PAGES    0x4000ull /* of the guest, 64 MiB */
#define LISTS    DRIVER_BUFFERS
#define ALL      (~0ull)
#define VECTOR   0xffff
#define SIZE     64
#define LIST_MAX 40000u

static struct virtio_driver driver;
static struct vballoon *balloon;
static unsigned gone[PAGES]; /* how often each page was discarded */
static unsigned again;
static bool waits_often; /* any access to memory may have to wait */

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
    again++;
}

static void forget(void)
{
    memset(gone, 0, sizeof(gone));
    vfake.discards = 0;
    again = 0;
}

static void up(uint64_t features)
{
    vfake_start(1);
    vfake_memory(PAGES * PAGE_SIZE);
    vfake.vm.memory_pages = PAGES;
    vfake.discarded = gone;
    vfake.vcpu[0].waiter.wake = wake;
    balloon = vfake.vm.run.devices->balloon;
    assert_non_null(balloon);
    driver_start(&driver, balloon->device.function.devfn, features, VIRTIO_BALLOON_QUEUES, SIZE);
    forget();
}

static void down(void)
{
    vfake_stop();
}

static bool is_broken(void)
{
    return DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

static uint32_t config_read(unsigned offset)
{
    return (uint32_t)vfake_mmio_read(gpa(driver.config + offset), 4);
}

static void config_write(unsigned offset, uint32_t value)
{
    vfake_mmio_write(gpa(driver.config + offset), 4, value);
}

#define CONFIG(field) offsetof(struct virtio_balloon_config, field)

/* Notifies until nothing waits any more; how often it had to. */
static unsigned notify(unsigned queue)
{
    unsigned times = 1;

    while (driver_notify(&driver, queue) == BUS_PARK) {
        times++;
        assert_true(times < 10000);
        if (waits_often) {
            vfake.wait_at = vfake.calls + 1 + (unsigned)support_random_below(8);
        }
    }
    return times;
}

static unsigned used(unsigned queue)
{
    uint32_t head, bytes;
    unsigned count = 0;

    while (driver_used(&driver, queue, &head, &bytes)) {
        assert_int_equal(bytes, 0);
        count++;
    }
    return count;
}

/* A list of page numbers at that address, as a chain of one segment. */
static void put_list(unsigned queue, uint64_t at, const uint32_t *list, unsigned count)
{
    struct driver_segment segment = {at, count * 4, false};

    memcpy(vfake.memory + at, list, count * sizeof(*list));
    driver_add(&driver, queue, 0, &segment, 1);
}

static void check_gone(const uint32_t *list, unsigned count)
{
    assert_int_equal(vfake.discards, count);
    for (unsigned i = 0; i < count; i++) {
        assert_true(gone[list[i]] > 0);
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
    up(ALL);
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
        put_list(VIRTIO_BALLOON_INFLATE, LISTS, lists[i], 6);
        assert_int_equal(notify(VIRTIO_BALLOON_INFLATE), 1);
        assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
        check_gone(lists[i], 6);
        forget();
        put_list(VIRTIO_BALLOON_DEFLATE, LISTS, lists[i], 6);
        notify(VIRTIO_BALLOON_DEFLATE);
        assert_int_equal(used(VIRTIO_BALLOON_DEFLATE), 1);
        assert_int_equal(vfake.discards, 0);
    }
    down();
}

/* Beyond memory, where devices are, twice, and no number at all. */
static void test_pages_that_are_none(void **state)
{
    static const uint32_t list[] = {
        PAGES, UINT32_MAX, UINT32_MAX - 1, 0xfee00, 0xfec00, 0xc0000, 0xc1000, 5, 5, 0x80000000};
    struct driver_segment segment = {LISTS, 3, false};

    (void)state;
    up(ALL);
    put_list(VIRTIO_BALLOON_INFLATE, LISTS, list, ARRAY_SIZE(list));
    notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
    assert_int_equal(gone[5], 2);
    assert_int_equal(vfake.discards, 2);
    driver_add(&driver, VIRTIO_BALLOON_INFLATE, 0, &segment, 1);
    notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
    assert_int_equal(vfake.discards, 2);
    assert_false(is_broken());
    down();
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
    up(ALL);
    memcpy(vfake.memory + LISTS, list, sizeof(list));
    driver_add(&driver, VIRTIO_BALLOON_INFLATE, 0, pieces, 4);
    notify(VIRTIO_BALLOON_INFLATE);
    assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
    check_gone(list, 3);
    down();
}

/* More than an exit may do: others get their turn in between, and nothing is left out. */
static void test_long_list(void **state)
{
    static uint32_t list[LIST_MAX];

    (void)state;
    up(ALL);
    for (unsigned i = 0; i < LIST_MAX; i++) {
        list[i] = (uint32_t)(i * 7 % PAGES);
    }
    put_list(VIRTIO_BALLOON_INFLATE, LISTS, list, LIST_MAX);
    assert_in_range(notify(VIRTIO_BALLOON_INFLATE), 3, 4);
    assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
    check_gone(list, LIST_MAX);
    assert_true(again > 0);
    down();
}

/* A queue that is full of short chains costs more than one exit as well. */
static void test_many_chains(void **state)
{
    const struct driver_segment segment = {LISTS, 4, false};

    (void)state;
    up(ALL);
    for (unsigned round = 0; round < 20; round++) {
        for (uint16_t head = 0; head < SIZE; head++) {
            driver_add(&driver, VIRTIO_BALLOON_DEFLATE, head, &segment, 1);
        }
        notify(VIRTIO_BALLOON_DEFLATE);
        assert_int_equal(used(VIRTIO_BALLOON_DEFLATE), SIZE);
    }
    down();
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
        up(ALL);
        memcpy(vfake.memory + LISTS, list, sizeof(list));
        driver_add(&driver, VIRTIO_BALLOON_INFLATE, 0, pieces, 3);
        vfake.calls = 0;
        vfake.wait_at = wait_at;
        notify(VIRTIO_BALLOON_INFLATE);
        vfake.wait_at = 0;
        assert_int_equal(used(VIRTIO_BALLOON_INFLATE), 1);
        check_gone(list, ARRAY_SIZE(list));
        down();
    }
}

static void test_list_that_is_not_there(void **state)
{
    const struct driver_segment segment = {PAGES * PAGE_SIZE, 16, false};

    (void)state;
    up(ALL);
    driver_add(&driver, VIRTIO_BALLOON_INFLATE, 0, &segment, 1);
    notify(VIRTIO_BALLOON_INFLATE);
    assert_true(is_broken());
    assert_int_equal(vfake.discards, 0);
    down();
}

/* ---- reporting ------------------------------------------------------------------------------ */

static void report(const struct driver_segment *segment, unsigned count)
{
    forget();
    driver_add(&driver, VIRTIO_BALLOON_REPORTING, 0, segment, count);
    notify(VIRTIO_BALLOON_REPORTING);
    assert_int_equal(used(VIRTIO_BALLOON_REPORTING), 1);
}

static void test_reports(void **state)
{
    const struct driver_segment whole[] = {{0x200000, 0x200000, true}, {0x800000, 0x1000, true}};
    const struct driver_segment parts[] = {
        {0x200001, 0x1fff, true}, {0x300000, 0xfff, true}, {0x400fff, 0x1002, true}};

    (void)state;
    up(ALL);
    report(whole, 2);
    assert_int_equal(vfake.discards, 513);
    assert_int_equal(gone[0x200] + gone[0x3ff] + gone[0x800], 3);
    report(parts, 3); /* of a page that is not reported as a whole nothing goes */
    assert_int_equal(vfake.discards, 2);
    assert_int_equal(gone[0x201] + gone[0x401], 2);
    down();
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
    up(ALL);
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        report(&segments[i], 1);
        assert_int_equal(vfake.discards, 0);
    }
    assert_false(is_broken());
    down();
}

/* As large as a chain can be: exits stay short. */
static void test_large_report(void **state)
{
    const struct driver_segment segments[] = {{0x1000, 0x7fff0000, true},
                                              {0x2000, 0x70000000, true}};

    (void)state;
    up(ALL);
    report(segments, 2);
    assert_int_equal(vfake.discards, 2 * PAGES - 3);
    assert_true(again > 10);
    down();
}

static void test_poison(void **state)
{
    const struct driver_segment segment = {0x200000, 0x1000, true};

    (void)state;
    up(ALL);
    config_write(CONFIG(poison), 0xaaaaaaaa);
    report(&segment, 1);
    assert_int_equal(vfake.discards, 0);
    config_write(CONFIG(poison), 0); /* init_on_free: zeroes are what it expects */
    report(&segment, 1);
    assert_int_equal(vfake.discards, 1);
    down();
    up(VIRTIO_BALLOON_F_PAGE_REPORTING);
    config_write(CONFIG(poison), 0xaaaaaaaa); /* without the feature that says nothing */
    report(&segment, 1);
    assert_int_equal(vfake.discards, 1);
    down();
    up(VIRTIO_BALLOON_F_STATS);
    report(&segment, 1);
    assert_int_equal(vfake.discards, 0);
    down();
}

/* ---- statistics ----------------------------------------------------------------------------- */

static void put_stats(uint64_t at, uint64_t available)
{
    const struct virtio_balloon_stat stats[] = {
        {VIRTIO_BALLOON_STAT_FREE, 100 * PAGE_SIZE + 5},
        {77, 1},
        {VIRTIO_BALLOON_STAT_AVAILABLE, available},
        {VIRTIO_BALLOON_STAT_CACHES, ~0ull},
    };
    struct driver_segment segment = {at, sizeof(stats), false};

    memcpy(vfake.memory + at, stats, sizeof(stats));
    driver_add(&driver, VIRTIO_BALLOON_STATS, (uint16_t)(at == LISTS ? 0 : 1), &segment, 1);
    notify(VIRTIO_BALLOON_STATS);
}

static struct vballoon_stats stats_now(void)
{
    struct vballoon_stats stats;

    vballoon_get_stats(balloon, &stats);
    return stats;
}

static void test_stats(void **state)
{
    (void)state;
    up(ALL);
    assert_false(stats_now().known);
    put_stats(LISTS, 200 * PAGE_SIZE);
    assert_true(stats_now().known);
    assert_int_equal(stats_now().free, 100);
    assert_int_equal(stats_now().available, 200);
    assert_int_equal(stats_now().cache, PAGES); /* no more than it has */
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 0);
    vballoon_poll(balloon, 0); /* wants others */
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 1);
    vballoon_poll(balloon, 0);
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 0);
    put_stats(LISTS, 300 * PAGE_SIZE);
    assert_int_equal(stats_now().available, 300);
    put_stats(LISTS + 0x1000, 400 * PAGE_SIZE); /* a second one: the first goes back */
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 1);
    assert_int_equal(stats_now().available, 400);
    DRIVER_WRITE(&driver, status, 0);
    vballoon_poll(balloon, 0); /* nothing of what was before the reset is touched */
    assert_false(stats_now().known);
    down();
}

/* Before DRIVER_OK, as Linux does it: found by the next look, which may have to wait. */
static void test_early_stats(void **state)
{
    const struct virtio_balloon_stat stat = {VIRTIO_BALLOON_STAT_AVAILABLE, 200 * PAGE_SIZE};
    const struct driver_segment segment = {LISTS, sizeof(stat), false};

    (void)state;
    up(ALL);
    memcpy(vfake.memory + LISTS, &stat, sizeof(stat));
    driver_add(&driver, VIRTIO_BALLOON_STATS, 0, &segment, 1);
    vfake.calls = 0;
    vfake.wait_at = 1;
    vballoon_poll(balloon, 0);
    assert_false(stats_now().known);
    balloon->device.waiter.wake(&balloon->device.waiter);
    assert_int_equal(stats_now().available, 200);
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 0);
    vballoon_poll(balloon, 0);
    assert_int_equal(used(VIRTIO_BALLOON_STATS), 1);
    driver_add(&driver, VIRTIO_BALLOON_STATS, 0, &segment, 1);
    vballoon_poll(balloon, 0);
    assert_true(balloon->has_stats_head);
    down();
}

static void test_stats_wait(void **state)
{
    (void)state;
    up(ALL);
    vfake.calls = 0;
    vfake.wait_at = 1;
    put_stats(LISTS, 200 * PAGE_SIZE);
    assert_int_equal(stats_now().available, 200);
    down();
}

/* ---- configuration -------------------------------------------------------------------------- */

static void test_config(void **state)
{
    uint8_t generation;

    (void)state;
    up(ALL);
    assert_int_equal(driver.features & 0xff, 0x36); /* STATS, OOM, POISON, REPORTING */
    generation = (uint8_t)DRIVER_READ(&driver, generation);
    vballoon_poll(balloon, 1234);
    assert_int_equal(config_read(CONFIG(pages)), 1234);
    assert_int_not_equal(DRIVER_READ(&driver, generation), generation);
    generation = (uint8_t)DRIVER_READ(&driver, generation);
    vballoon_poll(balloon, 1234);
    assert_int_equal(DRIVER_READ(&driver, generation), generation);
    config_write(CONFIG(actual), 1000);
    assert_int_equal(stats_now().actual, 1000);
    assert_int_equal(stats_now().target, 1234);
    config_write(CONFIG(actual), ~0u);
    assert_int_equal(stats_now().actual, PAGES);
    config_write(CONFIG(pages), 5); /* the device's */
    assert_int_equal(config_read(CONFIG(pages)), 1234);
    vfake_mmio_write(gpa(driver.config + CONFIG(actual)), 2, 7);
    assert_int_equal(config_read(CONFIG(actual)), ~0u);
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(config_read(CONFIG(actual)), 0);
    assert_int_equal(config_read(CONFIG(pages)), 1234);
    down();
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
    driver_add(&driver, queue, head, segment, count);
}

static void random_round(void)
{
    unsigned queue = (unsigned)support_random_below(VIRTIO_BALLOON_QUEUES);

    if (is_broken() || support_random_below(50) == 0) {
        driver_start(&driver, driver.devfn, support_random() | VIRTIO_F_VERSION_1,
                     VIRTIO_BALLOON_QUEUES, SIZE);
    }
    for (unsigned i = (unsigned)support_random_below(4); i > 0; i--) {
        random_chain(queue);
    }
    waits_often = support_random_below(2);
    vfake.wait_at = waits_often ? vfake.calls + 1 : 0;
    if (support_random_below(3) == 0) {
        config_write((unsigned)support_random_below(5) * 4, (uint32_t)support_random_below(2));
    }
    notify(queue);
    waits_often = false;
    vfake.wait_at = 0;
    vballoon_poll(balloon, (uint32_t)support_random_below(100));
}

/* Memory is all zeroes but for rings, so that lists name page 0 and nothing else. */
static void test_random_queues(void **state)
{
    (void)state;
    support_seed(1);
    up(ALL);
    memset(named, 0, sizeof(named));
    for (unsigned i = 0; i < ROUNDS; i++) {
        random_round();
        for (unsigned page = 1; vfake.discards != 0 && page < PAGES; page++) {
            assert_true(gone[page] == 0 || named[page]);
        }
        forget();
    }
    down();
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
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_stats_wait),
        cmocka_unit_test(test_early_stats),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_random_queues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
