/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/net_guest.c hv/timer.c */
/*
 * A guest that sends and need not notify: who finds its frames then, when it sleeps, computes or
 * waits, and that it hears of their end.  Disks: test_vblk_quiet.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/timer.h"
#include "hv/vdev/virtio/quiet.h"
#include "tests/unit/net_guest.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"

#define DEAR   20000u
#define FRAMES (SIZE / 8)
#define BYTES  60u

static uint16_t said; /* index of the ring when the driver last looked whether to notify */
static unsigned added;

static int begin(void **state)
{
    int result = net_guest_begin(state);

    vfake.vm.run.devices->first_nic = VM_DEVICES_VIRTIO - 1;
    vfake.vm.run.devices->virtio[VM_DEVICES_VIRTIO - 1] = net_device;
    vfake.vm.run.nic_count = 1;
    vfake.vm.run.vcpu_count = 1;
    net_guest_start(OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_F_EVENT_INDEX);
    said = 0;
    added = 0;
    return result;
}

static int end(void **state)
{
    vfake.vm.run.nic_count = 0;
    return net_guest_end(state);
}

/* 2.6.7.1: does the device want to hear of what has been added since the last call? */
static bool must_notify(void)
{
    uint64_t ring = DRIVER_RINGS + TX * DRIVER_RING + DRIVER_USED;
    uint16_t event = driver_load16(ring + 4 + SIZE * 8), before = said;

    said = net_driver.avail[TX];
    return (uint16_t)(said - event - 1) < (uint16_t)(said - before);
}

static void reap(void)
{
    uint32_t bytes;

    while (net_guest_used(TX, &bytes)) {
    }
}

/* The driver sends a frame; has it notified? */
static bool send(uint32_t bytes)
{
    uint64_t at = DRIVER_BUFFERS + added % FRAMES * 0x11000ull;

    reap();
    memset(vfake.memory + at, 0, HEADER);
    net_fill_frame(vfake.memory + at + HEADER, peer_mac, guest_mac, bytes, added);
    driver_add(&net_driver, TX, (uint16_t)(added++ % SIZE),
               &(struct driver_segment){at, HEADER + bytes, false}, 1);
    if (!must_notify()) {
        return false;
    }
    assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
    return true;
}

static bool hears(void)
{
    return vfake_mmio_read(gpa(net_driver.isr), 1) != 0;
}

/* Notifications are dear, and that is known. */
static void make_dear(void)
{
    net_peer.cost_ns = DEAR;
    for (unsigned i = 0; i < 20; i++) {
        send(BYTES);
        vm_devices_look(&vfake.vm, false);
    }
    vfake_advance(2 * QUIET_WAIT_MAX_NS);
    assert_int_equal(timer_next(), TIMER_NEVER);
    assert_int_equal(net_peer.frames, added);
    vm_devices_look(&vfake.vm, true);
    (void)hears();
}

/* They are cheap: each is made. */
static void test_cheap(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(send(BYTES));
        assert_int_equal(net_peer.frames, i + 1);
    }
    assert_int_equal(timer_next(), TIMER_NEVER);
}

/* The first one notifies; those that follow do not, and are found by any exit, or by the timer. */
static void test_found(void **state)
{
    (void)state;
    make_dear();
    assert_true(send(BYTES));
    for (unsigned i = 0; i < 200; i++) {
        assert_false(send(BYTES));
        assert_false(send(BYTES));
        assert_int_equal(net_peer.frames, added - 2);
        if (i % 2 == 0) {
            vm_devices_look(&vfake.vm, false);
        } else {
            vfake_advance(QUIET_WAIT_MAX_NS);
        }
        assert_int_equal(net_peer.frames, added);
    }
    vfake_advance(3 * QUIET_WAIT_MAX_NS);
    assert_int_equal(timer_next(), TIMER_NEVER);
    assert_true(send(BYTES));
}

/* The guest asks to hear of the next frame that has gone. */
static void ask(void)
{
    reap();
    driver_store16(DRIVER_RINGS + TX * DRIVER_RING + DRIVER_AVAIL + 4 + SIZE * 2,
                   net_driver.used[TX]);
}

/* The guest sends and sleeps: one vCPU, so no timer runs for it while it has nothing to hear, and
 * it is not woken to hear that its frame has gone.  If it has not seen that when it has been awake
 * for a while, or has slept for a while, it hears it. */
static void test_sleeps(void **state)
{
    (void)state;
    make_dear();
    assert_true(send(BYTES));
    (void)hears();
    vm_devices_look(&vfake.vm, true);
    assert_int_equal(timer_next(), TIMER_NEVER);
    for (unsigned i = 0; i < 120; i++) {
        vfake_advance(2 * QUIET_WAIT_MAX_NS); /* it sleeps long: that is no reason to notify */
        vm_devices_begin_run(&vfake.vm);
        assert_true(timer_next() != TIMER_NEVER);
        ask();
        assert_false(send(BYTES));
        vm_devices_look(&vfake.vm, true);
        assert_int_equal(net_peer.frames, added);
        assert_false(hears());
        assert_true(timer_next() != TIMER_NEVER);
        vfake_advance(i % 2 * 100000);
        if (i % 4 == 3) { /* it wakes, does not see it, and sleeps again */
            vm_devices_begin_run(&vfake.vm);
            vm_devices_look(&vfake.vm, true);
            assert_true(hears());
        } else if (i % 3 == 0) { /* something else wakes it, and it sees by itself */
            vm_devices_begin_run(&vfake.vm);
            assert_false(hears());
            ask();
        } else if (i % 3 == 1) {
            vm_devices_begin_run(&vfake.vm);
            vfake_advance(QUIET_WAIT_MAX_NS);
            assert_true(hears());
        } else {
            vfake_advance(QUIET_WAIT_MAX_NS);
            assert_true(hears());
            vm_devices_begin_run(&vfake.vm);
        }
        vm_devices_begin_run(&vfake.vm);
        vm_devices_look(&vfake.vm, true);
        assert_false(hears());
        vfake_advance(QUIET_WAIT_MAX_NS);
        if (i % 3 == 1 && i % 4 != 3) {
            vm_devices_begin_run(&vfake.vm);
            assert_true(send(BYTES)); /* the grace had ended */
            (void)hears();
            vm_devices_look(&vfake.vm, true);
        }
        assert_false(hears());
    }
}

/* A page is out when somebody looks; and more than one look may send. */
static void test_hindered(void **state)
{
    (void)state;
    make_dear();
    for (unsigned i = 0; i < 50; i++) {
        while (!send(BYTES)) {
            vfake_advance(2 * QUIET_WAIT_MAX_NS);
        }
        assert_false(send(BYTES));
        vfake.wait_at = vfake.calls + 1;
        if (i % 3 == 0) {
            vm_devices_look(&vfake.vm, i % 2);
        } else {
            vfake_advance(QUIET_WAIT_MAX_NS);
        }
        vfake.wait_at = 0;
        assert_int_equal(net_peer.frames, added - 1);
        net_device->waiter.wake(&net_device->waiter);
        assert_int_equal(net_peer.frames, added);
        vm_devices_begin_run(&vfake.vm);

        for (unsigned n = 0; n < FRAMES; n++) {
            if (send(60000)) {
                vm_devices_look(&vfake.vm, false);
            }
        }
        vm_devices_look(&vfake.vm, false);
        vfake_advance(QUIET_WAIT_MAX_NS);
        vfake_advance(QUIET_WAIT_MAX_NS);
        assert_int_equal(net_peer.frames, added);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_cheap),
        CASE(test_found),
        CASE(test_sleeps),
        CASE(test_hindered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
