/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * virtio-rng: bytes come, no faster than its rate over any time, also when pages are out, and a
 * guest that gives it nonsense has to reset it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vdev/virtio/vrng.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN  (VM_SLOT_RNG << 3)
#define SIZE   16u
#define MEMORY (1u << 20)

static struct virtio_driver driver;

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static int begin(void **state)
{
    (void)state;
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    driver_start(&driver, DEVFN, UINT64_MAX, 1, SIZE);
    return 0;
}

static int end(void **state)
{
    (void)state;
    assert_true(vm_devices_stop(&vfake.vm));
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    return 0;
}

static void ask(uint16_t head, uint32_t bytes)
{
    const struct driver_segment segment = {DRIVER_BUFFERS + head * 0x1000u, bytes, true};

    driver_add(&driver, 0, head, &segment, 1);
}

static void test_bytes(void **state)
{
    uint32_t head, bytes;

    (void)state;
    ask(0, 100);
    ask(1, 5000);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_true(driver_used(&driver, 0, &head, &bytes));
    assert_int_equal(bytes, 100);
    assert_true(driver_used(&driver, 0, &head, &bytes));
    assert_int_equal(bytes, VRNG_PIECE);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(vfake.memory[DRIVER_BUFFERS + i], i / 8 + 1);
    }
    assert_int_equal(vfake.memory[DRIVER_BUFFERS + 100], 0);
    assert_int_equal(vfake.memory[DRIVER_BUFFERS + 0x1000 + VRNG_PIECE], 0);
}

/* A guest that asks all the time, for ten seconds. */
static void test_rate(void **state)
{
    uint64_t total = 0, begin_ns = vfake.clock_ns;
    uint32_t head, bytes;

    (void)state;
    for (uint16_t i = 0; i < SIZE; i++) {
        ask(i, VRNG_PIECE);
    }
    while (vfake.clock_ns - begin_ns < 10000000000) {
        assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
        while (driver_used(&driver, 0, &head, &bytes)) {
            total += bytes;
            ask((uint16_t)head, VRNG_PIECE);
        }
        assert_true(total <= VRNG_BURST + VRNG_PIECE +
                                 (vfake.clock_ns - begin_ns) / (1000000000 / VRNG_RATE));
        vfake_advance(700000);
    }
    assert_true(total >= 9 * VRNG_RATE);
}

/* It notifies once, and gets all by and by. */
static void test_timer(void **state)
{
    uint32_t head, bytes;
    unsigned count = 0;

    (void)state;
    for (uint16_t i = 0; i < SIZE; i++) {
        ask(i, VRNG_PIECE);
    }
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    for (unsigned ms = 0; ms < 100; ms++) {
        vfake_advance(1000000);
    }
    while (driver_used(&driver, 0, &head, &bytes)) {
        count++;
    }
    assert_int_equal(count, SIZE);
}

static void test_waits(void **state)
{
    uint32_t head, bytes;

    (void)state;
    ask(0, 64);
    vfake.wait_at = vfake.calls + 1;
    assert_int_equal(driver_notify(&driver, 0), BUS_PARK);
    assert_false(driver_used(&driver, 0, &head, &bytes));
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_true(driver_used(&driver, 0, &head, &bytes));
    /* A page that is out when the timer comes: the device itself waits. */
    for (uint16_t i = 0; i < SIZE; i++) {
        ask(i, VRNG_PIECE);
    }
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    while (driver_used(&driver, 0, &head, &bytes)) {
    }
    vfake.wait_at = vfake.calls + 1;
    vfake_advance(1000000000);
    assert_false(driver_used(&driver, 0, &head, &bytes));
    vfake.vm.run.devices->virtio[0]->waiter.wake(&vfake.vm.run.devices->virtio[0]->waiter);
    assert_true(driver_used(&driver, 0, &head, &bytes));
}

static void test_hostile(void **state)
{
    static const struct driver_segment bad[] = {
        {DRIVER_BUFFERS, 16, false}, {MEMORY - 8, 16, true}, {0xfee00000, 16, true}};
    unsigned chains = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        driver_start(&driver, DEVFN, 0, 1, SIZE);
        driver_add(&driver, 0, 0, &bad[i], 1);
        assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
        assert_true(DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET);
        chains++;
    }
    assert_int_equal(vfake.logs, chains);
    driver_start(&driver, DEVFN, 0, 1, SIZE);
    ask(0, 16);
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    assert_int_equal(DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET, 0);
}

/* What can be guessed is not given to a guest. */
static void test_no_source(void **state)
{
    (void)state;
    vfake_no_random = true;
    vfake_start(1);
    assert_int_equal(driver_config_read(DEVFN, 0, 4), UINT32_MAX);
    vfake_stop();
    vfake_no_random = false;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_bytes),   CASE(test_rate),
                                       CASE(test_timer),   CASE(test_waits),
                                       CASE(test_hostile), cmocka_unit_test(test_no_source)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
