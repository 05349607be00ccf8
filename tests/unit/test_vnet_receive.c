/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/net_guest.c hv/timer.c */
/*
 * What a guest receives by virtio-net: buffers of every kind and none, pages that are out, locks
 * that are taken, resets in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/virtio_net.h"
#include "tests/unit/net_guest.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

static void test_receive(void **state)
{
    const struct net_offload offload = {true, NET_SEGMENTS_TCP6, 54, 16, 1440, 74};
    const struct driver_segment cut[] = {{net_guest_buffer(0), 5, true},
                                         {net_guest_buffer(0) + 5, 6, true},
                                         {net_guest_buffer(0) + 11, 3000, true}};
    struct virtio_net_header header;
    uint32_t bytes;

    (void)state;
    net_guest_start(OFFLOADS);
    driver_add(&net_driver, RX, 0, cut, 3);
    net_peer_sends(2500, 3, &offload);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 2500);
    memcpy(&header, vfake.memory + net_guest_buffer(0), HEADER);
    assert_int_equal(header.flags, VIRTIO_NET_HDR_NEEDS_CSUM);
    assert_int_equal(header.gso_type, VIRTIO_NET_GSO_TCPV6);
    assert_int_equal(header.gso_size, 1440);
    assert_int_equal(header.header_bytes, 74);
    assert_int_equal(header.checksum_start, 54);
    assert_int_equal(header.checksum_offset, 16);
    assert_int_equal(header.buffers, 1);
    assert_memory_equal(vfake.memory + net_guest_buffer(0) + HEADER, net_sent_by_peer, 2500);
    assert_int_equal(net_guest_counted(PORT_GOT_FRAMES), 1);
    /* A buffer that is too short stays for the next frame. */
    net_guest_add_buffer(1, 1000);
    net_peer_sends(1000, 3, NULL);
    assert_false(net_guest_used(RX, &bytes));
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 1);
    net_peer_sends(988, 4, NULL);
    assert_true(net_guest_used(RX, &bytes));
    assert_memory_equal(vfake.memory + net_guest_buffer(1) + HEADER, net_sent_by_peer, 988);
}

/* What the driver cannot finish is finished before it gets it. */
static void test_receive_plain(void **state)
{
    const struct net_offload offload = {.partial = true, .start = 34, .offset = 16};
    struct virtio_net_header header;
    uint32_t bytes;

    (void)state;
    net_guest_start(0);
    net_guest_add_buffer(0, 2000);
    net_peer_sends(500, 1, &offload);
    assert_true(net_guest_used(RX, &bytes));
    memcpy(&header, vfake.memory + net_guest_buffer(0), HEADER);
    assert_int_equal(header.flags, 0);
    assert_memory_equal(vfake.memory + net_guest_buffer(0) + HEADER, net_sent_by_peer, 50);
    assert_memory_not_equal(vfake.memory + net_guest_buffer(0) + HEADER + 50, net_sent_by_peer + 50,
                            2);
    assert_memory_equal(vfake.memory + net_guest_buffer(0) + HEADER + 52, net_sent_by_peer + 52,
                        448);
}

/* Of the buffers that have been used: all bytes, one behind the other; how many buffers. */
static unsigned collect(uint8_t *to, uint32_t *all)
{
    uint32_t head, bytes;
    unsigned count = 0;

    *all = 0;
    while (driver_used(&net_driver, RX, &head, &bytes)) {
        memcpy(to + *all, vfake.memory + net_guest_buffer(head), bytes);
        *all += bytes;
        count++;
    }
    return count;
}

static void check_whole(uint32_t length, unsigned most)
{
    static uint8_t got[HEADER + NET_FRAME_MAX];
    struct virtio_net_header header;
    uint32_t all;
    unsigned count = collect(got, &all);

    memcpy(&header, got, HEADER);
    assert_int_equal(all, HEADER + length);
    assert_int_equal(header.buffers, count);
    assert_in_range(count, 1, most);
    assert_memory_equal(got + HEADER, net_sent_by_peer, length);
}

static void test_mergeable(void **state)
{
    (void)state;
    support_seed(12);
    for (unsigned round = 0; round < 400; round++) {
        uint32_t length = 14 + (uint32_t)support_random_below(30000), room = 0;

        net_guest_start(VIRTIO_NET_F_MRG_RXBUF);
        for (unsigned n = 0; n < SIZE; n++) {
            uint32_t bytes = HEADER + (uint32_t)support_random_below(n == 0 ? 1500 : 3000);

            net_guest_add_buffer(n, bytes);
            room += bytes;
        }
        net_peer_sends(length, round, NULL);
        assert_true(room > HEADER + length);
        check_whole(length, SIZE);
    }
}

/* It needs more than the ring can ever hold: it does not stand in the way of others. */
static void test_never_fits(void **state)
{
    uint32_t bytes;

    (void)state;
    driver_start(&net_driver, DEVFN, VIRTIO_NET_F_MRG_RXBUF, 2, 8);
    for (unsigned n = 0; n < 8; n++) {
        net_guest_add_buffer(n, 1000);
    }
    net_peer_sends(8000, 0, NULL);
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 1);
    assert_false(net_guest_used(RX, &bytes));
    net_peer_sends(7000, 0, NULL);
    check_whole(7000, 8);
}

static void test_no_buffers(void **state)
{
    unsigned queued = 0;
    uint32_t bytes;

    (void)state;
    net_guest_start(0);
    while (net_guest_counted(PORT_GOT_DROPS) == 0) {
        net_peer_sends(1000, queued++, NULL);
        vfake_advance(1000);
    }
    queued--;
    assert_in_range(queued, PORT_QUEUE_BYTES / 1024, PORT_QUEUE_BYTES / 1000);
    for (unsigned i = 0; i < queued; i++) {
        net_guest_add_buffer(i % SIZE, 2000);
        assert_int_equal(driver_notify(&net_driver, RX), BUS_DONE);
        assert_true(net_guest_used(RX, &bytes));
        assert_int_equal(bytes, HEADER + 1000);
        net_fill_frame(net_sent_by_peer, guest_mac, peer_mac, 1000, i);
        assert_memory_equal(vfake.memory + net_guest_buffer(i % SIZE) + HEADER, net_sent_by_peer,
                            1000);
    }
    net_guest_add_buffer(0, 2000);
    assert_int_equal(driver_notify(&net_driver, RX), BUS_DONE);
    assert_false(net_guest_used(RX, &bytes));
    /* From now on at once again. */
    net_peer_sends(77, 1, NULL);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(net_guest_counted(PORT_GOT_FRAMES), queued + 1);
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 1);
}

/* A page of a buffer is out: the sender goes on, and the frame comes when the page has come. */
static void test_receive_waits(void **state)
{
    uint32_t length = 9000, bytes;
    unsigned calls;

    (void)state;
    net_guest_start(VIRTIO_NET_F_MRG_RXBUF);
    for (unsigned n = 0; n < 4; n++) {
        net_guest_add_buffer(n, 4096);
    }
    calls = vfake.calls;
    net_peer_sends(length, 0, NULL);
    calls = vfake.calls - calls;
    check_whole(length, 3);
    for (unsigned wait = 1; wait <= calls; wait++) {
        net_guest_start(VIRTIO_NET_F_MRG_RXBUF);
        for (unsigned n = 0; n < 4; n++) {
            net_guest_add_buffer(n, 4096);
        }
        vfake.wait_at = vfake.calls + wait;
        net_peer_sends(length, wait, NULL);
        assert_false(net_guest_used(RX, &bytes));
        vfake_advance(1000000); /* nobody but the waiter goes on */
        assert_int_equal(driver_notify(&net_driver, RX), BUS_DONE);
        assert_false(net_guest_used(RX, &bytes));
        vfake.wait_at = vfake.calls + 1; /* out again */
        net_device->waiter.wake(&net_device->waiter);
        assert_false(net_guest_used(RX, &bytes));
        net_device->waiter.wake(&net_device->waiter);
        check_whole(length, 3);
    }
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 0);
}

/* The lock is taken, by a guest that sends or by another sender: the frame goes by the queue, and
 * so do those that come behind it. */
static void test_lock_taken(void **state)
{
    uint32_t bytes;

    (void)state;
    net_guest_start(0);
    for (unsigned n = 0; n < 4; n++) {
        net_guest_add_buffer(n, 2000);
    }
    spin_lock(&net_device->lock);
    net_peer_sends(100, 0, NULL);
    spin_unlock(&net_device->lock);
    net_peer_sends(101, 0, NULL);
    assert_false(net_guest_used(RX, &bytes));
    vfake_advance(1);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 100);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 101);
    net_peer_sends(102, 0, NULL);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 102);
}

/* Large frames in the queue: in several goes. */
static void test_queue_budget(void **state)
{
    unsigned got = 0, goes = 0;
    uint32_t bytes;

    (void)state;
    net_guest_start(0);
    spin_lock(&net_device->lock);
    for (unsigned i = 0; i < 8; i++) {
        net_peer_sends(60000, i, NULL);
    }
    spin_unlock(&net_device->lock);
    for (unsigned n = 0; n < 8; n++) {
        const struct driver_segment segment = {DRIVER_BUFFERS + n * 0x10000u, 0x10000, true};

        driver_add(&net_driver, RX, (uint16_t)n, &segment, 1);
    }
    for (; got < 8; goes++) {
        vfake_advance(goes == 0 ? 1 : 60000);
        while (net_guest_used(RX, &bytes)) {
            got++;
        }
        assert_true(got <= 5 * (goes + 1));
    }
    assert_true(goes >= 2);
}

static void test_reset_in_between(void **state)
{
    uint32_t bytes;

    (void)state;
    net_peer_sends(100, 0, NULL); /* before the driver is there */
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 1);
    net_guest_start(0);
    net_peer_sends(200, 0, NULL); /* stays in the queue */
    net_guest_start(0);
    net_guest_add_buffer(0, 2000);
    assert_int_equal(driver_notify(&net_driver, RX), BUS_DONE);
    assert_false(net_guest_used(RX, &bytes));
    vfake.wait_at = vfake.calls + 1;
    net_peer_sends(300, 0, NULL); /* its buffer is out, and then it is reset */
    net_guest_start(0);
    net_guest_add_buffer(0, 2000);
    net_peer_sends(400, 0, NULL);
    net_device->waiter.wake(&net_device->waiter);
    assert_true(net_guest_used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 400);
    assert_false(net_guest_used(RX, &bytes));
    DRIVER_WRITE(&net_driver, status, 0);
    net_peer_sends(500, 0, NULL);
    assert_int_equal(net_guest_counted(PORT_GOT_DROPS), 2);
}

static void test_receive_bad(void **state)
{
    const struct driver_segment bad[] = {{DRIVER_BUFFERS, 100, false},
                                         {DRIVER_BUFFERS, HEADER - 1, true},
                                         {MEMORY - 20, 4000, true},
                                         {0xfee00000, 4000, true}};
    uint32_t bytes;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        net_guest_start(VIRTIO_NET_F_MRG_RXBUF);
        driver_add(&net_driver, RX, 0, &bad[i], 1);
        net_peer_sends(100, 0, NULL);
        assert_true(net_guest_is_broken());
    }
    net_guest_start(0);
    net_guest_add_buffer(0, 2000);
    net_peer_sends(100, 0, NULL);
    assert_true(net_guest_used(RX, &bytes));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, net_guest_begin, net_guest_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_receive),     CASE(test_receive_plain), CASE(test_mergeable),
        CASE(test_never_fits),  CASE(test_no_buffers),    CASE(test_receive_waits),
        CASE(test_lock_taken),  CASE(test_queue_budget),  CASE(test_reset_in_between),
        CASE(test_receive_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
