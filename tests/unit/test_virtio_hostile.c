/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/plain_device.c
 *          hv/timer.c */
/* The virtio transport and its queues, with drivers that do not keep the rules, and rings full of
 * random bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vdev/access.h"
#include "tests/unit/plain_device.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"

/* ---- drivers that break the rules ---- */

/* Ring 0 is set up, indirect tables are allowed; the device must ask for a reset, and only that. */
static void expect_broken(const char *what)
{
    unsigned chains = plain_seen.chains;

    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    if (!(plain_status() & VIRTIO_STATUS_NEEDS_RESET) || plain_seen.chains != chains) {
        fail_msg("not refused: %s", what);
    }
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    driver_start(&plain_driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
}

static void test_hostile_chains(void **state)
{
    const uint64_t buffer = DRIVER_BUFFERS;

    (void)state;
    driver_start(&plain_driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    driver_publish(&plain_driver, 0, SIZE);
    expect_broken("a head that is none");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, 1);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a loop of one");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, 2);
    driver_descriptor(0, 2, buffer, 16, VIRTIO_DESC_NEXT, 1);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a loop of two");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT, SIZE);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a next one that is none");
    driver_descriptor(0, 1, buffer, 0, 0, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("no bytes");
    driver_descriptor(0, 1, UINT64_MAX - 7, 16, 0, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("beyond the last address");
    driver_descriptor(0, 1, buffer, 0x80000000, VIRTIO_DESC_NEXT, 2);
    driver_descriptor(0, 2, buffer, 0x80000000, 0, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("4 GiB");
    driver_descriptor(0, 1, buffer, 16, VIRTIO_DESC_NEXT | VIRTIO_DESC_WRITE, 2);
    driver_descriptor(0, 2, buffer, 16, 0, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("read behind written");
}

static void test_hostile_tables(void **state)
{
    static const uint32_t bad_bytes[] = {0, 15, 17, (VIRTQ_SEGMENTS_MAX + 1) * 16, UINT32_MAX};
    struct virtio_descriptor *table = (void *)(vfake.memory + DRIVER_BUFFERS);

    (void)state;
    driver_start(&plain_driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(bad_bytes); i++) {
        plain_make_table(DRIVER_BUFFERS, 4);
        driver_descriptor(0, 1, DRIVER_BUFFERS, bad_bytes[i], VIRTIO_DESC_INDIRECT, 0);
        driver_publish(&plain_driver, 0, 1);
        expect_broken("the size of a table");
    }
    driver_descriptor(0, 1, MEMORY, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a table beyond memory");
    driver_descriptor(0, 1, UINT64_MAX - 15, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a table beyond the last address");
    driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT | VIRTIO_DESC_NEXT, 2);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a table and a next one");
    for (unsigned bad = 0; bad < 3; bad++) {
        plain_make_table(DRIVER_BUFFERS, 4);
        table[bad == 0 ? 3 : 2].flags = bad == 0   ? VIRTIO_DESC_INDIRECT
                                        : bad == 1 ? VIRTIO_DESC_NEXT
                                                   : VIRTIO_DESC_NEXT;
        table[2].next = bad == 1 ? 4 : bad == 2 ? 0 : 3;
        driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT, 0);
        driver_publish(&plain_driver, 0, 1);
        expect_broken("an entry of a table");
    }
    /* Not negotiated. */
    driver_start(&plain_driver, DEVFN, 0, 1, SIZE);
    plain_make_table(DRIVER_BUFFERS, 4);
    driver_descriptor(0, 1, DRIVER_BUFFERS, 64, VIRTIO_DESC_INDIRECT, 0);
    driver_publish(&plain_driver, 0, 1);
    expect_broken("a table that was not negotiated");
}

static void test_hostile_indices(void **state)
{
    const struct driver_segment segment = {DRIVER_BUFFERS, 16, false};
    uint64_t index = DRIVER_RINGS + DRIVER_AVAIL + 2;

    (void)state;
    driver_start(&plain_driver, DEVFN, VIRTIO_F_INDIRECT, 1, SIZE);
    driver_add(&plain_driver, 0, 0, &segment, 1);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    assert_int_equal(plain_seen.chains, 1);
    driver_store16(index, 0);
    expect_broken("an index that runs backwards");
    driver_store16(index, SIZE + 1);
    expect_broken("an index that runs away");
    plain_seen.keeps = true;
    driver_add(&plain_driver, 0, 4, &segment, 1);
    assert_int_equal(driver_notify(&plain_driver, 0), BUS_DONE);
    driver_publish(&plain_driver, 0, 4);
    expect_broken("a chain that the device has");
}

/* Rings of random bytes, some of them likely, and a driver that writes anything anywhere. */
static void random_ring(unsigned queue)
{
    uint64_t ring = DRIVER_RINGS + queue * DRIVER_RING;

    for (unsigned i = 0; i < SIZE; i++) {
        bool wild = support_random_below(50) == 0;
        uint64_t address = wild ? support_random() : support_random_below(MEMORY);
        uint32_t bytes = wild ? (uint32_t)support_random() : (uint32_t)support_random_below(200);
        uint16_t flags = (uint16_t)(support_random_below(8));

        driver_descriptor(queue, i, address, flags & VIRTIO_DESC_INDIRECT ? bytes & ~15u : bytes,
                          flags, (uint16_t)support_random_below(SIZE + wild));
        driver_store16(ring + DRIVER_AVAIL + 4 + 2 * i,
                       (uint16_t)support_random_below(SIZE + wild));
    }
    driver_store16(ring + DRIVER_AVAIL + 2, (uint16_t)(plain_device.queue[queue].avail_next +
                                                       support_random_below(SIZE + 2)));
}

static void random_register(void)
{
    unsigned offset = (unsigned)support_random_below(sizeof(struct virtio_common));
    unsigned size = 1u << support_random_below(3);
    uint64_t value = support_random_below(4) ? support_random_below(16) : support_random();

    (void)vdev_mmio_write(&vfake.vcpu[0], gpa(plain_driver.common + offset), size, value);
    (void)vfake_mmio_read(gpa(plain_driver.common + offset), size);
}

static void test_random(void **state)
{
    unsigned chains = 0;

    (void)state;
    support_seed(20261127);
    for (unsigned round = 0; round < 3000; round++) {
        driver_start(&plain_driver, DEVFN, support_random_below(2) ? FEATURES : 0, QUEUES, SIZE);
        assert_int_equal(vfake.pins, QUEUES * 3);
        plain_seen.keeps = support_random_below(2);
        for (unsigned step = 0; step < 8; step++) {
            unsigned queue = (unsigned)support_random_below(QUEUES);

            random_ring(queue);
            vfake.wait_often = support_random_below(4) == 0;
            if (support_random_below(3) == 0) {
                random_register();
            }
            (void)driver_notify(&plain_driver, queue);
            vfake.wait_often = false;
        }
        chains += plain_seen.chains;
        plain_seen.chains = 0;
        plain_seen.holds = 0;
    }
    assert_true(chains > 1000 && plain_seen.parks > 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, plain_begin, plain_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_hostile_chains),
        CASE(test_hostile_tables),
        CASE(test_hostile_indices),
        CASE(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
