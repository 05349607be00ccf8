/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/balloon_guest.c
 * hv/timer.c */
/*
 * What a guest's balloon says of its memory: statistics, early and late, with pages that are out;
 * and the device's configuration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vballoon.h"
#include "tests/unit/balloon_guest.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

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
    driver_add(&balloon_driver, VIRTIO_BALLOON_STATS, (uint16_t)(at == LISTS ? 0 : 1), &segment, 1);
    balloon_notify(VIRTIO_BALLOON_STATS);
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
    balloon_up(ALL);
    assert_false(stats_now().known);
    put_stats(LISTS, 200 * PAGE_SIZE);
    assert_true(stats_now().known);
    assert_int_equal(stats_now().free, 100);
    assert_int_equal(stats_now().available, 200);
    assert_int_equal(stats_now().cache, PAGES); /* no more than it has */
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 0);
    vballoon_poll(balloon, 0); /* wants others */
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 1);
    vballoon_poll(balloon, 0);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 0);
    put_stats(LISTS, 300 * PAGE_SIZE);
    assert_int_equal(stats_now().available, 300);
    put_stats(LISTS + 0x1000, 400 * PAGE_SIZE); /* a second one: the first goes back */
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 1);
    assert_int_equal(stats_now().available, 400);
    DRIVER_WRITE(&balloon_driver, status, 0);
    vballoon_poll(balloon, 0); /* nothing of what was before the reset is touched */
    assert_false(stats_now().known);
    balloon_down();
}

/* Before DRIVER_OK, as Linux does it: found by the next look, which may have to wait. */
static void test_early_stats(void **state)
{
    const struct virtio_balloon_stat stat = {VIRTIO_BALLOON_STAT_AVAILABLE, 200 * PAGE_SIZE};
    const struct driver_segment segment = {LISTS, sizeof(stat), false};

    (void)state;
    balloon_up(ALL);
    memcpy(vfake.memory + LISTS, &stat, sizeof(stat));
    driver_add(&balloon_driver, VIRTIO_BALLOON_STATS, 0, &segment, 1);
    vfake.calls = 0;
    vfake.wait_at = 1;
    vballoon_poll(balloon, 0);
    assert_false(stats_now().known);
    balloon->device.waiter.wake(&balloon->device.waiter);
    assert_int_equal(stats_now().available, 200);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 0);
    vballoon_poll(balloon, 0);
    assert_int_equal(balloon_used(VIRTIO_BALLOON_STATS), 1);
    driver_add(&balloon_driver, VIRTIO_BALLOON_STATS, 0, &segment, 1);
    vballoon_poll(balloon, 0);
    assert_true(balloon->has_stats_head);
    balloon_down();
}

static void test_stats_wait(void **state)
{
    (void)state;
    balloon_up(ALL);
    vfake.calls = 0;
    vfake.wait_at = 1;
    put_stats(LISTS, 200 * PAGE_SIZE);
    assert_int_equal(stats_now().available, 200);
    balloon_down();
}

/* ---- configuration -------------------------------------------------------------------------- */

static void test_config(void **state)
{
    uint8_t generation;

    (void)state;
    balloon_up(ALL);
    assert_int_equal(balloon_driver.features & 0xff, 0x36); /* STATS, OOM, POISON, REPORTING */
    generation = (uint8_t)DRIVER_READ(&balloon_driver, generation);
    vballoon_poll(balloon, 1234);
    assert_int_equal(balloon_config_read(CONFIG(pages)), 1234);
    assert_int_not_equal(DRIVER_READ(&balloon_driver, generation), generation);
    generation = (uint8_t)DRIVER_READ(&balloon_driver, generation);
    vballoon_poll(balloon, 1234);
    assert_int_equal(DRIVER_READ(&balloon_driver, generation), generation);
    balloon_config_write(CONFIG(actual), 1000);
    assert_int_equal(stats_now().actual, 1000);
    assert_int_equal(stats_now().target, 1234);
    balloon_config_write(CONFIG(actual), ~0u);
    assert_int_equal(stats_now().actual, PAGES);
    balloon_config_write(CONFIG(pages), 5); /* the device's */
    assert_int_equal(balloon_config_read(CONFIG(pages)), 1234);
    vfake_mmio_write(gpa(balloon_driver.config + CONFIG(actual)), 2, 7);
    assert_int_equal(balloon_config_read(CONFIG(actual)), ~0u);
    DRIVER_WRITE(&balloon_driver, status, 0);
    assert_int_equal(balloon_config_read(CONFIG(actual)), 0);
    assert_int_equal(balloon_config_read(CONFIG(pages)), 1234);
    balloon_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_stats_wait),
        cmocka_unit_test(test_early_stats),
        cmocka_unit_test(test_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
