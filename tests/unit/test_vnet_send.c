/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/net_guest.c hv/timer.c */
/*
 * What a guest sends by virtio-net: frames in every cut, pages that are out, chains that are no
 * frame, and a driver that always has more.
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

/* A header and a frame in memory, cut in random pieces; as a chain of the transmit queue. */
static uint8_t *add_random_cut(uint32_t bytes, const struct virtio_net_header *header,
                               unsigned mark)
{
    uint64_t at = DRIVER_BUFFERS + support_random_below(PAGE_SIZE);
    struct driver_segment segment[8];
    uint32_t left = HEADER + bytes;
    unsigned count = 0;
    uint8_t *frame;

    memcpy(vfake.memory + at, header, HEADER);
    frame = vfake.memory + at + HEADER;
    net_fill_frame(frame, peer_mac, guest_mac, bytes, mark);
    while (left != 0) {
        uint32_t part = count == 7 ? left : 1 + (uint32_t)support_random_below(left);

        segment[count++] = (struct driver_segment){at, part, false};
        at += part;
        left -= part;
    }
    driver_add(&net_driver, TX, 0, segment, count);
    return frame;
}

static void test_send(void **state)
{
    uint32_t bytes, longest = 0;

    (void)state;
    support_seed(11);
    net_guest_start(OFFLOADS);
    for (unsigned round = 0; round < 2000; round++) {
        uint32_t length = 30 + (uint32_t)support_random_below(round % 20 == 0 ? 65000 : 1500);
        struct virtio_net_header header = {.flags = 0xff,
                                           .gso_type = round % 2 ? VIRTIO_NET_GSO_TCPV4
                                                                 : VIRTIO_NET_GSO_TCPV6,
                                           .gso_size = 1448,
                                           .checksum_start = 14,
                                           .checksum_offset = (uint16_t)(length - 16)};
        uint8_t *frame = add_random_cut(length, &header, round);

        if (round % 3 == 0) {
            vfake.wait_at = vfake.calls + 1; /* a page is out */
            assert_int_equal(driver_notify(&net_driver, TX), BUS_PARK);
            assert_int_equal(vfake.pins, 3 * VIRTQ_PARTS); /* those of its rings */
            assert_int_equal(net_peer.frames, round);
        }
        assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
        assert_int_equal(net_peer.frames, round + 1);
        assert_int_equal(net_peer.bytes, length);
        assert_memory_equal(net_peer.data, frame, length);
        assert_true(net_peer.offload.partial);
        assert_int_equal(net_peer.offload.segments,
                         round % 2 ? NET_SEGMENTS_TCP4 : NET_SEGMENTS_TCP6);
        assert_int_equal(net_peer.offload.segment_bytes, 1448);
        assert_int_equal(net_peer.offload.start, 14);
        assert_int_equal(net_peer.offload.offset, length - 16);
        assert_true(net_guest_used(TX, &bytes));
        assert_int_equal(bytes, 0);
        assert_int_equal(vfake.pins, 3 * VIRTQ_PARTS);
        longest = MAX(longest, length);
    }
    assert_true(longest > 50000);
    assert_int_equal(net_guest_counted(PORT_SENT_FRAMES), 2000);
}

/* What it has not negotiated it does not say. */
static void test_send_plain(void **state)
{
    struct virtio_net_header header = {.flags = 1, .checksum_start = 14};

    (void)state;
    net_guest_start(0);
    add_random_cut(100, &header, 0);
    assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
    assert_int_equal(net_peer.frames, 1);
    assert_false(net_peer.offload.partial);
    header.gso_type = VIRTIO_NET_GSO_TCPV4; /* without the feature, or of no kind: not valid */
    add_random_cut(100, &header, 0);
    assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
    assert_int_equal(net_peer.frames, 1);
    assert_int_equal(net_guest_counted(PORT_SENT_DROPS), 1);
    assert_false(net_guest_is_broken());
}

static void test_send_bad(void **state)
{
    const struct driver_segment bad[] = {{DRIVER_BUFFERS, HEADER - 1, false},
                                         {MEMORY - 20, 100, false},
                                         {UINT64_MAX - 5000, 4000, false},
                                         {DRIVER_BUFFERS, 100, true}};
    const struct driver_segment odd[] = {{DRIVER_BUFFERS, HEADER, false},
                                         {DRIVER_BUFFERS, HEADER + 13, false},
                                         {DRIVER_BUFFERS, HEADER + NET_FRAME_MAX + 1, false},
                                         {DRIVER_BUFFERS, UINT32_MAX, false}};
    struct driver_segment many[SIZE];
    uint32_t bytes;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        net_guest_start(0);
        driver_add(&net_driver, TX, 0, &bad[i], 1);
        assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
        assert_true(net_guest_is_broken());
    }
    net_guest_start(0);
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) { /* no frame, but no crime */
        driver_add(&net_driver, TX, 0, &odd[i], 1);
        assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
        assert_true(net_guest_used(TX, &bytes));
    }
    for (unsigned i = 0; i < SIZE; i++) { /* each in two pages: too many pieces */
        many[i] = (struct driver_segment){DRIVER_BUFFERS + PAGE_SIZE - 1, 2, false};
    }
    driver_add(&net_driver, TX, 0, many, SIZE);
    assert_int_equal(driver_notify(&net_driver, TX), BUS_DONE);
    assert_true(net_guest_used(TX, &bytes));
    assert_false(net_guest_is_broken());
    assert_int_equal(net_peer.frames, 0);
    assert_int_equal(net_guest_counted(PORT_SENT_DROPS), ARRAY_SIZE(odd) + 1);
}

/* A driver that always has more: others get their turn. */
static void test_send_budget(void **state)
{
    const struct virtio_net_header none = {0};
    const struct driver_segment segment = {DRIVER_BUFFERS, HEADER + 60000, false};
    unsigned notifications = 1;

    (void)state;
    net_guest_start(0);
    memcpy(vfake.memory + DRIVER_BUFFERS, &none, HEADER);
    net_fill_frame(vfake.memory + DRIVER_BUFFERS + HEADER, peer_mac, guest_mac, 60000, 0);
    for (uint16_t i = 0; i < SIZE; i++) {
        driver_add(&net_driver, TX, i, &segment, 1);
    }
    while (driver_notify(&net_driver, TX) == BUS_PARK) {
        assert_true(net_peer.frames <= 5 * notifications++);
    }
    assert_int_equal(net_peer.frames, SIZE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, net_guest_begin, net_guest_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_send),
        CASE(test_send_plain),
        CASE(test_send_bad),
        CASE(test_send_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
