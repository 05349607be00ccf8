/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/fake_disk.c hv/timer.c */
/*
 * A disk whose guest need not notify: a driver that keeps the rules of VIRTIO_F_EVENT_INDEX to the
 * letter, notifications that cost something or nothing, and the promise that what is in a ring is
 * found in time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/pci.h"
#include "base/bits.h"
#include "hv/config/config.h"
#include "hv/timer.h"
#include "hv/vdev/virtio/quiet.h"
#include "hv/vdev/virtio/vblk.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"
#include "tests/unit/xorshift.h"

#define DEVFN  (8u << 3)
#define MEMORY (1u << 20)
#define BLOCKS 64u
#define SIZE   128u
#define CHAINS (SIZE / 3)
#define ALL    (~0ull)
#define DEAR   20000u /* ns of a notification */

static struct fake_disk disk;
static struct virtio_driver driver;
static struct virtio_device *device;
static const struct block_ops *disk_ops;
static struct block_ops slow_ops;
static uint64_t submit_ns; /* that a request takes until the disk has it */
static uint16_t said;      /* index of the ring when the driver last looked whether to notify */
static unsigned ended;
static uint64_t random_state = 12345;
static bool in_use[CHAINS];
static struct vm_config vm_config = {.name = "fake", .vcpus = 1};

static void slow_submit(struct block_device *block, struct block_request *request)
{
    vfake.clock_ns += submit_ns;
    disk_ops->submit(block, request);
}

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static void start(uint64_t wanted)
{
    driver_start(&driver, DEVFN, wanted, 1, SIZE);
    said = 0;
    memset(in_use, 0, sizeof(in_use));
}

static void create(uint64_t cost_ns)
{
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vm.config = &vm_config;
    vfake.vcpu[0].waiter.wake = wake;
    fake_disk_init(&disk, BLOCKS, 7);
    disk_ops = disk.device.ops;
    slow_ops = *disk_ops;
    slow_ops.submit = slow_submit;
    disk.device.ops = &slow_ops;
    submit_ns = cost_ns;
    device = vblk_create(&vfake.vm, &vfake.vm.run.devices->pci, DEVFN, &disk.device, false);
    assert_non_null(device);
    vfake.vm.run.devices->first_disk = vfake.vm.run.devices->virtio_count;
    vfake.vm.run.devices->virtio[vfake.vm.run.devices->virtio_count++] = device;
    vfake.vm.run.disk_count = 1;
    ended = 0;
    start(ALL);
}

static void destroy(void)
{
    vm_devices_stop(&vfake.vm);
    while (fake_disk_step(&disk)) {
        vfake_advance(1000);
    }
    vfake_advance(1000);
    assert_true(vm_devices_stop(&vfake.vm));
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    assert_int_equal(vfake.own_frames, 0);
    fake_disk_free(&disk);
}

static unsigned reap(void)
{
    uint32_t head, bytes;
    unsigned count = 0;

    while (driver_used(&driver, 0, &head, &bytes)) {
        assert_true(in_use[head / 3]);
        in_use[head / 3] = false;
        count++;
    }
    ended += count;
    return count;
}

/* A read; false: all chains are in use. */
static bool add(void)
{
    uint64_t header;
    unsigned n = 0;

    while (n < CHAINS && in_use[n]) {
        n++;
    }
    if (n == CHAINS) {
        return false;
    }
    header = DRIVER_BUFFERS + n * 32;
    memset(vfake.memory + header, 0, 16);
    in_use[n] = true;
    driver_add(&driver, 0, (uint16_t)(n * 3),
               (struct driver_segment[]){{header, 16, false},
                                         {DRIVER_BUFFERS + 0x2000, 512, true},
                                         {header + 16, 1, true}},
               3);
    return true;
}

/* 2.6.7.1: does the device want to hear of what has been added since the last call? */
static bool must_notify(void)
{
    uint16_t event = driver_load16(DRIVER_RINGS + DRIVER_USED + 4 + SIZE * 8), before = said;

    said = driver.avail[0];
    return (uint16_t)(said - event - 1) < (uint16_t)(said - before);
}

static bool add_and_notify(void)
{
    assert_true(add());
    if (!must_notify()) {
        return false;
    }
    assert_int_equal(driver_notify(&driver, 0), BUS_DONE);
    return true;
}

static void step(unsigned count)
{
    while (count-- > 0) {
        assert_true(fake_disk_step(&disk));
        vfake_advance(100);
    }
}

static void add_many(unsigned count)
{
    while (count-- > 0) {
        assert_true(add_and_notify());
    }
}

/* Notifications are cheap: each is made, unless so many are in flight that one will soon end, and
 * its end is what looks. */
static void test_many_in_flight(void **state)
{
    (void)state;
    create(0);
    add_many(QUIET_MANY);
    for (unsigned round = 0; round < 300; round++) {
        assert_int_equal(disk.queued, QUIET_MANY);
        assert_false(add_and_notify());
        assert_int_equal(disk.queued, QUIET_MANY);
        step(1);
        assert_int_equal(reap(), 1);
    }
    step(QUIET_MANY);
    assert_int_equal(reap(), QUIET_MANY);
    add_many(1);
    assert_int_equal(disk.queued, 1);
    destroy();
}

/* None of them ends: the timer looks, and goes on to look, as long as the queue is quiet. */
static void test_timer_looks(void **state)
{
    (void)state;
    create(0);
    add_many(QUIET_MANY);
    for (unsigned more = 1; more < 10; more++) {
        assert_false(add_and_notify());
        vfake_advance(QUIET_WAIT_MIN_NS);
        assert_int_equal(disk.queued, QUIET_MANY + more);
    }
    step(QUIET_MANY + 9);
    vfake_advance(QUIET_WAIT_MIN_NS);
    assert_int_equal(timer_next(), TIMER_NEVER);
    add_many(1);
    destroy();
}

/* A vCPU sleeps, or is interrupted. */
static void test_vcpu_leaves(void **state)
{
    (void)state;
    create(0);
    add_many(QUIET_MANY);
    assert_false(add_and_notify());
    vm_devices_look(&vfake.vm, false);
    assert_int_equal(disk.queued, QUIET_MANY + 1);
    destroy();
}

/* It makes a notification dear that it costs much. */
static void make_dear(void)
{
    for (unsigned i = 0; i < 20; i++) {
        add_and_notify();
        vm_devices_look(&vfake.vm, false);
        step(disk.queued);
        reap();
        vfake_advance(2 * QUIET_WAIT_MAX_NS);
    }
    assert_int_equal(timer_next(), TIMER_NEVER);
}

/* Notifications are dear: one in flight is enough; and when the last one has ended the guest will
 * ask for more, which are found together. */
static void test_dear(void **state)
{
    (void)state;
    create(DEAR);
    make_dear();
    assert_true(add_and_notify());
    for (unsigned round = 0; round < 50; round++) {
        assert_false(add_and_notify());
        assert_false(add_and_notify());
        step(1); /* its end looks */
        assert_int_equal(disk.queued, 2);
        step(2);
        assert_int_equal(disk.queued, 0);
        assert_int_equal(reap(), 3);
        assert_false(add_and_notify());
        assert_false(add_and_notify());
        assert_int_equal(disk.queued, 0);
        vfake_advance(QUIET_WAIT_MAX_NS);
        assert_int_equal(disk.queued, 2);
        step(1);
        assert_int_equal(reap(), 1);
    }
    step(disk.queued);
    vfake_advance(2 * QUIET_WAIT_MAX_NS); /* the grace is over: nobody looks any more */
    assert_int_equal(timer_next(), TIMER_NEVER);
    assert_true(add_and_notify());
    assert_int_equal(disk.queued, 1);
    destroy();
}

/* One request at a time, of a guest that does not sleep: it does not wait each time. */
static void test_one_at_a_time(void **state)
{
    unsigned waited = 0;

    (void)state;
    create(DEAR);
    make_dear();
    for (unsigned i = 0; i < 500; i++) {
        add_and_notify();
        if (disk.queued == 0) {
            waited++;
            vfake_advance(2 * QUIET_WAIT_MAX_NS);
        }
        assert_int_equal(disk.queued, 1);
        step(1);
        assert_int_equal(reap(), 1);
    }
    assert_in_range(waited, 5, 20);
    destroy();
}

/* A guest that does not know of it notifies always. */
static void test_no_event_index(void **state)
{
    (void)state;
    create(DEAR);
    make_dear();
    start(ALL & ~(uint64_t)VIRTIO_F_EVENT_INDEX);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(add());
        assert_int_equal(driver_load16(DRIVER_RINGS + DRIVER_USED), 0);
        vm_devices_look(&vfake.vm, false);
        assert_int_equal(disk.queued, i);
        driver_notify(&driver, 0);
        assert_int_equal(disk.queued, i + 1);
    }
    destroy();
}

static void set_master(bool master)
{
    uint32_t command = driver_config_read(DEVFN, PCI_COMMAND, 2);

    driver_config_write(DEVFN, PCI_COMMAND, 2,
                        master ? command | PCI_COMMAND_MASTER
                               : command & ~(uint32_t)PCI_COMMAND_MASTER);
}

/* The guest takes the device's mastery while the queue is quiet, and all that is in flight ends.
 * Given back, it is looked at. */
static void test_mastery(void **state)
{
    (void)state;
    create(0);
    add_many(QUIET_MANY);
    assert_false(add_and_notify());
    set_master(false);
    step(QUIET_MANY);
    vfake_advance(1000000);
    assert_int_equal(timer_next(), TIMER_NEVER); /* nobody's time is spent on it */
    set_master(true);
    vm_devices_look(&vfake.vm, false);
    assert_int_equal(disk.queued, 1);
    step(1);
    vfake_advance(1000000);
    assert_int_equal(reap(), QUIET_MANY + 1);
    add_many(1);
    destroy();
}

static unsigned below(unsigned limit)
{
    return (unsigned)((xorshift64(&random_state) >> 33) % limit);
}

/* What the guest has added is found in time, whatever happens: pages that are away, too many
 * chains, resets, costs that change. */
static void random_step(void)
{
    unsigned what = below(100);

    if (what < 45) {
        if (add() && below(3) != 0 && must_notify()) {
            while (driver_notify(&driver, 0) == BUS_PARK) {
                vfake_advance(1000);
            }
        }
    } else if (what < 75) {
        fake_disk_step(&disk);
        vfake_advance(below(2000));
    } else if (what < 85) {
        vfake_advance(below(400000));
    } else if (what < 90) {
        vm_devices_look(&vfake.vm, false);
    } else if (what < 95) {
        reap();
    } else if (what < 98) {
        vfake.calls = 0;
        vfake.wait_at = 1; /* a header is away */
        vm_devices_look(&vfake.vm, false);
        vfake.wait_at = 0;
    } else {
        submit_ns = below(2) * DEAR;
    }
}

static unsigned used_chains(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < CHAINS; i++) {
        count += in_use[i];
    }
    return count;
}

static void test_random(void **state)
{
    (void)state;
    create(0);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned steps = 1 + below(60);

        while (steps-- > 0) {
            random_step();
        }
        if (must_notify()) {
            driver_notify(&driver, 0);
        }
        /* No vCPU leaves the guest any more; but pages come, and requests end. */
        device->waiter.wake(&device->waiter);
        do {
            vfake_advance(QUIET_WAIT_MAX_NS);
        } while (fake_disk_step(&disk));
        reap();
        assert_int_equal(used_chains(), 0);
    }
    assert_true(ended > 20000);
    destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_in_flight), cmocka_unit_test(test_timer_looks),
        cmocka_unit_test(test_vcpu_leaves),    cmocka_unit_test(test_dear),
        cmocka_unit_test(test_one_at_a_time),  cmocka_unit_test(test_no_event_index),
        cmocka_unit_test(test_mastery),        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
