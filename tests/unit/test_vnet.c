/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c hv/timer.c */
/*
 * virtio-net between a driver and a port of the test's: frames in every cut, buffers of every kind,
 * pages that are out, locks that are taken, resets in the middle, commands, and drivers that break
 * the rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/virtio_net.h"
#include "hv/config/config.h"
#include "hv/net/flow.h"
#include "hv/vdev/virtio/vnet.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

#define DEVFN   (VM_SLOT_NET << 3)
#define SIZE    64u
#define MEMORY  (4u << 20)
#define RX      0u
#define TX      1u
#define CONTROL 2u
#define HEADER  12u

#define OFFLOADS                                                                                   \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |                       \
     VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6)

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

static struct vm_config config;
static struct net_switch net;
static struct virtio_device *device;
static struct virtio_driver driver;

/* The other end: what it has got last, and how much. */
static struct {
    struct port port;
    struct port_address learned[4];
    unsigned frames;
    struct net_offload offload;
    uint32_t bytes;
    uint8_t data[NET_FRAME_MAX];
} peer;

static enum port_taken peer_take(struct port *port, const struct net_frame *frame)
{
    (void)port;
    peer.frames++;
    peer.offload = frame->offload;
    peer.bytes = frame->bytes;
    net_frame_copy(frame, 0, peer.data, frame->bytes);
    return PORT_TAKEN;
}

static const struct port_ops peer_ops = {.take = peer_take};

static void wake(struct mm_waiter *waiter)
{
    (void)waiter;
}

static int begin_with(unsigned vcpus)
{
    memset(&peer, 0, sizeof(peer));
    switch_init(&net, 99);
    vfake_start(1);
    vfake_memory(MEMORY);
    vfake.vcpu[0].waiter.wake = wake;
    config.vcpus = vcpus;
    vfake.vm.config = &config;
    assert_true(port_init(&peer.port, &peer_ops, 1u << 18));
    peer.port.mac = port_mac(peer_mac);
    peer.port.flags = PORT_WANTS_BROADCAST | PORT_TAKES_PARTIAL | PORT_TAKES_TCP4 | PORT_TAKES_TCP6;
    peer.port.learned = peer.learned;
    peer.port.learned_count = ARRAY_SIZE(peer.learned);
    assert_true(switch_attach(&net, &peer.port));
    device = vnet_create(&vfake.vm, &vfake.vm.run.devices->pci, DEVFN, &net, mac);
    assert_non_null(device);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return begin_with(1);
}

static int begin_many(void **state)
{
    (void)state;
    return begin_with(8);
}

static int end(void **state)
{
    (void)state;
    virtio_stop(device);
    assert_true(virtio_is_quiet(device));
    virtio_destroy(device);
    assert_true(net.port[1] == NULL);
    switch_detach(&peer.port);
    port_destroy(&peer.port);
    assert_int_equal(vfake.pins, 0);
    vfake_stop();
    return 0;
}

static void start(uint64_t features)
{
    driver_start(&driver, DEVFN, features, 3, SIZE);
}

static bool broken(void)
{
    return DRIVER_READ(&driver, status) & VIRTIO_STATUS_NEEDS_RESET;
}

static uint64_t counted(enum port_count which)
{
    uint64_t count[PORT_COUNTS] = {0};

    vnet_add_stats(device, count);
    return count[which];
}

static bool used(unsigned queue, uint32_t *bytes)
{
    uint32_t head;

    return driver_used(&driver, queue, &head, bytes);
}

static void fill_frame(uint8_t *at, const uint8_t *to, const uint8_t *from, uint32_t bytes,
                       unsigned mark)
{
    for (uint32_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(i * 7 + i / 256 + mark);
    }
    memcpy(at, to, MIN(bytes, 6));
    memcpy(at + 6, from, bytes < 12 ? 0 : 6);
}

/* ---- configuration ---- */

static void test_config(void **state)
{
    (void)state;
    driver_find(&driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, PCI_VENDOR, 4), 0x1041 << 16 | VIRTIO_VENDOR);
    assert_int_equal(driver_config_read(DEVFN, PCI_CLASS, 4) >> 8, 0x020000);
    driver_negotiate(&driver, UINT64_MAX);
    assert_int_equal(driver.features & (OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF),
                     OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(vfake_mmio_read(gpa(driver.config + i), 1), mac[i]);
    }
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 6), 2), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 8), 2), 1);
}

/* ---- send ---- */

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
    fill_frame(frame, peer_mac, mac, bytes, mark);
    while (left != 0) {
        uint32_t part = count == 7 ? left : 1 + (uint32_t)support_random_below(left);

        segment[count++] = (struct driver_segment){at, part, false};
        at += part;
        left -= part;
    }
    driver_add(&driver, TX, 0, segment, count);
    return frame;
}

static void test_send(void **state)
{
    uint32_t bytes, longest = 0;

    (void)state;
    support_seed(11);
    start(OFFLOADS);
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
            assert_int_equal(driver_notify(&driver, TX), BUS_PARK);
            assert_int_equal(vfake.pins, 3 * VIRTQ_PARTS); /* those of its rings */
            assert_int_equal(peer.frames, round);
        }
        assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
        assert_int_equal(peer.frames, round + 1);
        assert_int_equal(peer.bytes, length);
        assert_memory_equal(peer.data, frame, length);
        assert_true(peer.offload.partial);
        assert_int_equal(peer.offload.segments, round % 2 ? NET_SEGMENTS_TCP4 : NET_SEGMENTS_TCP6);
        assert_int_equal(peer.offload.segment_bytes, 1448);
        assert_int_equal(peer.offload.start, 14);
        assert_int_equal(peer.offload.offset, length - 16);
        assert_true(used(TX, &bytes));
        assert_int_equal(bytes, 0);
        assert_int_equal(vfake.pins, 3 * VIRTQ_PARTS);
        longest = MAX(longest, length);
    }
    assert_true(longest > 50000);
    assert_int_equal(counted(PORT_SENT_FRAMES), 2000);
}

/* What it has not negotiated it does not say. */
static void test_send_plain(void **state)
{
    struct virtio_net_header header = {.flags = 1, .checksum_start = 14};

    (void)state;
    start(0);
    add_random_cut(100, &header, 0);
    assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
    assert_int_equal(peer.frames, 1);
    assert_false(peer.offload.partial);
    header.gso_type = VIRTIO_NET_GSO_TCPV4; /* without the feature, or of no kind: not valid */
    add_random_cut(100, &header, 0);
    assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
    assert_int_equal(peer.frames, 1);
    assert_int_equal(counted(PORT_SENT_DROPS), 1);
    assert_false(broken());
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
        start(0);
        driver_add(&driver, TX, 0, &bad[i], 1);
        assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
        assert_true(broken());
    }
    start(0);
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) { /* no frame, but no crime */
        driver_add(&driver, TX, 0, &odd[i], 1);
        assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
        assert_true(used(TX, &bytes));
    }
    for (unsigned i = 0; i < SIZE; i++) { /* each in two pages: too many pieces */
        many[i] = (struct driver_segment){DRIVER_BUFFERS + PAGE_SIZE - 1, 2, false};
    }
    driver_add(&driver, TX, 0, many, SIZE);
    assert_int_equal(driver_notify(&driver, TX), BUS_DONE);
    assert_true(used(TX, &bytes));
    assert_false(broken());
    assert_int_equal(peer.frames, 0);
    assert_int_equal(counted(PORT_SENT_DROPS), ARRAY_SIZE(odd) + 1);
}

/* A driver that always has more: others get their turn. */
static void test_send_budget(void **state)
{
    const struct virtio_net_header none = {0};
    const struct driver_segment segment = {DRIVER_BUFFERS, HEADER + 60000, false};
    unsigned notifications = 1;

    (void)state;
    start(0);
    memcpy(vfake.memory + DRIVER_BUFFERS, &none, HEADER);
    fill_frame(vfake.memory + DRIVER_BUFFERS + HEADER, peer_mac, mac, 60000, 0);
    for (uint16_t i = 0; i < SIZE; i++) {
        driver_add(&driver, TX, i, &segment, 1);
    }
    while (driver_notify(&driver, TX) == BUS_PARK) {
        assert_true(peer.frames <= 5 * notifications++);
    }
    assert_int_equal(peer.frames, SIZE);
}

/* ---- receive ---- */

static uint8_t from_peer[NET_FRAME_MAX];

static void peer_sends(uint32_t bytes, unsigned mark, const struct net_offload *offload)
{
    uint32_t head = MIN(bytes, NET_HEAD_BYTES);
    const struct net_piece piece[2] = {{from_peer, head}, {from_peer + head, bytes - head}};
    struct net_frame frame = {.bytes = bytes, .pieces = 2, .piece = piece};

    if (offload != NULL) {
        frame.offload = *offload;
    }
    fill_frame(from_peer, mac, peer_mac, bytes, mark);
    switch_send(&peer.port, &frame);
}

/* Buffer n of the receive queue, of that many bytes. */
static uint64_t buffer_at(unsigned n)
{
    return DRIVER_BUFFERS + n * 0x8000u + 4000;
}

static void add_buffer(unsigned n, uint32_t bytes)
{
    const struct driver_segment segment = {buffer_at(n), bytes, true};

    driver_add(&driver, RX, (uint16_t)n, &segment, 1);
}

static void test_receive(void **state)
{
    const struct net_offload offload = {true, NET_SEGMENTS_TCP6, 54, 16, 1440, 74};
    const struct driver_segment cut[] = {
        {buffer_at(0), 5, true}, {buffer_at(0) + 5, 6, true}, {buffer_at(0) + 11, 3000, true}};
    struct virtio_net_header header;
    uint32_t bytes;

    (void)state;
    start(OFFLOADS);
    driver_add(&driver, RX, 0, cut, 3);
    peer_sends(2500, 3, &offload);
    assert_true(used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 2500);
    memcpy(&header, vfake.memory + buffer_at(0), HEADER);
    assert_int_equal(header.flags, VIRTIO_NET_HDR_NEEDS_CSUM);
    assert_int_equal(header.gso_type, VIRTIO_NET_GSO_TCPV6);
    assert_int_equal(header.gso_size, 1440);
    assert_int_equal(header.header_bytes, 74);
    assert_int_equal(header.checksum_start, 54);
    assert_int_equal(header.checksum_offset, 16);
    assert_int_equal(header.buffers, 1);
    assert_memory_equal(vfake.memory + buffer_at(0) + HEADER, from_peer, 2500);
    assert_int_equal(counted(PORT_GOT_FRAMES), 1);
    /* A buffer that is too short stays for the next frame. */
    add_buffer(1, 1000);
    peer_sends(1000, 3, NULL);
    assert_false(used(RX, &bytes));
    assert_int_equal(counted(PORT_GOT_DROPS), 1);
    peer_sends(988, 4, NULL);
    assert_true(used(RX, &bytes));
    assert_memory_equal(vfake.memory + buffer_at(1) + HEADER, from_peer, 988);
}

/* What the driver cannot finish is finished before it gets it. */
static void test_receive_plain(void **state)
{
    const struct net_offload offload = {.partial = true, .start = 34, .offset = 16};
    struct virtio_net_header header;
    uint32_t bytes;

    (void)state;
    start(0);
    add_buffer(0, 2000);
    peer_sends(500, 1, &offload);
    assert_true(used(RX, &bytes));
    memcpy(&header, vfake.memory + buffer_at(0), HEADER);
    assert_int_equal(header.flags, 0);
    assert_memory_equal(vfake.memory + buffer_at(0) + HEADER, from_peer, 50);
    assert_memory_not_equal(vfake.memory + buffer_at(0) + HEADER + 50, from_peer + 50, 2);
    assert_memory_equal(vfake.memory + buffer_at(0) + HEADER + 52, from_peer + 52, 448);
}

/* Of the buffers that have been used: all bytes, one behind the other; how many buffers. */
static unsigned collect(uint8_t *to, uint32_t *all)
{
    uint32_t head, bytes;
    unsigned count = 0;

    *all = 0;
    while (driver_used(&driver, RX, &head, &bytes)) {
        memcpy(to + *all, vfake.memory + buffer_at(head), bytes);
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
    assert_memory_equal(got + HEADER, from_peer, length);
}

static void test_mergeable(void **state)
{
    (void)state;
    support_seed(12);
    for (unsigned round = 0; round < 400; round++) {
        uint32_t length = 14 + (uint32_t)support_random_below(30000), room = 0;

        start(VIRTIO_NET_F_MRG_RXBUF);
        for (unsigned n = 0; n < SIZE; n++) {
            uint32_t bytes = HEADER + (uint32_t)support_random_below(n == 0 ? 1500 : 3000);

            add_buffer(n, bytes);
            room += bytes;
        }
        peer_sends(length, round, NULL);
        assert_true(room > HEADER + length);
        check_whole(length, SIZE);
    }
}

/* It needs more than the ring can ever hold: it does not stand in the way of others. */
static void test_never_fits(void **state)
{
    uint32_t bytes;

    (void)state;
    driver_start(&driver, DEVFN, VIRTIO_NET_F_MRG_RXBUF, 2, 8);
    for (unsigned n = 0; n < 8; n++) {
        add_buffer(n, 1000);
    }
    peer_sends(8000, 0, NULL);
    assert_int_equal(counted(PORT_GOT_DROPS), 1);
    assert_false(used(RX, &bytes));
    peer_sends(7000, 0, NULL);
    check_whole(7000, 8);
}

static void test_no_buffers(void **state)
{
    unsigned queued = 0;
    uint32_t bytes;

    (void)state;
    start(0);
    while (counted(PORT_GOT_DROPS) == 0) {
        peer_sends(1000, queued++, NULL);
        vfake_advance(1000);
    }
    queued--;
    assert_in_range(queued, PORT_QUEUE_BYTES / 1024, PORT_QUEUE_BYTES / 1000);
    for (unsigned i = 0; i < queued; i++) {
        add_buffer(i % SIZE, 2000);
        assert_int_equal(driver_notify(&driver, RX), BUS_DONE);
        assert_true(used(RX, &bytes));
        assert_int_equal(bytes, HEADER + 1000);
        fill_frame(from_peer, mac, peer_mac, 1000, i);
        assert_memory_equal(vfake.memory + buffer_at(i % SIZE) + HEADER, from_peer, 1000);
    }
    add_buffer(0, 2000);
    assert_int_equal(driver_notify(&driver, RX), BUS_DONE);
    assert_false(used(RX, &bytes));
    /* From now on at once again. */
    peer_sends(77, 1, NULL);
    assert_true(used(RX, &bytes));
    assert_int_equal(counted(PORT_GOT_FRAMES), queued + 1);
    assert_int_equal(counted(PORT_GOT_DROPS), 1);
}

/* A page of a buffer is out: the sender goes on, and the frame comes when the page has come. */
static void test_receive_waits(void **state)
{
    uint32_t length = 9000, bytes;
    unsigned calls;

    (void)state;
    start(VIRTIO_NET_F_MRG_RXBUF);
    for (unsigned n = 0; n < 4; n++) {
        add_buffer(n, 4096);
    }
    calls = vfake.calls;
    peer_sends(length, 0, NULL);
    calls = vfake.calls - calls;
    check_whole(length, 3);
    for (unsigned wait = 1; wait <= calls; wait++) {
        start(VIRTIO_NET_F_MRG_RXBUF);
        for (unsigned n = 0; n < 4; n++) {
            add_buffer(n, 4096);
        }
        vfake.wait_at = vfake.calls + wait;
        peer_sends(length, wait, NULL);
        assert_false(used(RX, &bytes));
        vfake_advance(1000000); /* nobody but the waiter goes on */
        assert_int_equal(driver_notify(&driver, RX), BUS_DONE);
        assert_false(used(RX, &bytes));
        vfake.wait_at = vfake.calls + 1; /* out again */
        device->waiter.wake(&device->waiter);
        assert_false(used(RX, &bytes));
        device->waiter.wake(&device->waiter);
        check_whole(length, 3);
    }
    assert_int_equal(counted(PORT_GOT_DROPS), 0);
}

/* The lock is taken, by a guest that sends or by another sender: the frame goes by the queue, and
 * so do those that come behind it. */
static void test_lock_taken(void **state)
{
    uint32_t bytes;

    (void)state;
    start(0);
    for (unsigned n = 0; n < 4; n++) {
        add_buffer(n, 2000);
    }
    spin_lock(&device->lock);
    peer_sends(100, 0, NULL);
    spin_unlock(&device->lock);
    peer_sends(101, 0, NULL);
    assert_false(used(RX, &bytes));
    vfake_advance(1);
    assert_true(used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 100);
    assert_true(used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 101);
    peer_sends(102, 0, NULL);
    assert_true(used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 102);
}

/* Large frames in the queue: in several goes. */
static void test_queue_budget(void **state)
{
    unsigned got = 0, goes = 0;
    uint32_t bytes;

    (void)state;
    start(0);
    spin_lock(&device->lock);
    for (unsigned i = 0; i < 8; i++) {
        peer_sends(60000, i, NULL);
    }
    spin_unlock(&device->lock);
    for (unsigned n = 0; n < 8; n++) {
        const struct driver_segment segment = {DRIVER_BUFFERS + n * 0x10000u, 0x10000, true};

        driver_add(&driver, RX, (uint16_t)n, &segment, 1);
    }
    for (; got < 8; goes++) {
        vfake_advance(goes == 0 ? 1 : 60000);
        while (used(RX, &bytes)) {
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
    peer_sends(100, 0, NULL); /* before the driver is there */
    assert_int_equal(counted(PORT_GOT_DROPS), 1);
    start(0);
    peer_sends(200, 0, NULL); /* stays in the queue */
    start(0);
    add_buffer(0, 2000);
    assert_int_equal(driver_notify(&driver, RX), BUS_DONE);
    assert_false(used(RX, &bytes));
    vfake.wait_at = vfake.calls + 1;
    peer_sends(300, 0, NULL); /* its buffer is out, and then it is reset */
    start(0);
    add_buffer(0, 2000);
    peer_sends(400, 0, NULL);
    device->waiter.wake(&device->waiter);
    assert_true(used(RX, &bytes));
    assert_int_equal(bytes, HEADER + 400);
    assert_false(used(RX, &bytes));
    DRIVER_WRITE(&driver, status, 0);
    peer_sends(500, 0, NULL);
    assert_int_equal(counted(PORT_GOT_DROPS), 2);
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
        start(VIRTIO_NET_F_MRG_RXBUF);
        driver_add(&driver, RX, 0, &bad[i], 1);
        peer_sends(100, 0, NULL);
        assert_true(broken());
    }
    start(0);
    add_buffer(0, 2000);
    peer_sends(100, 0, NULL);
    assert_true(used(RX, &bytes));
}

/* ---- commands ---- */

static uint8_t obeyed(uint8_t class, uint8_t command, const void *data, uint32_t bytes)
{
    const struct driver_segment segment[] = {{DRIVER_BUFFERS, 2, false},
                                             {DRIVER_BUFFERS + 2, bytes, false},
                                             {DRIVER_BUFFERS + 0x3000, 1, true}};
    uint32_t written;

    vfake.memory[DRIVER_BUFFERS] = class;
    vfake.memory[DRIVER_BUFFERS + 1] = command;
    vfake.memory[DRIVER_BUFFERS + 0x3000] = 0x55;
    memcpy(vfake.memory + DRIVER_BUFFERS + 2, data, bytes);
    driver_add(&driver, CONTROL, 0, segment, 3);
    vfake.wait_at = vfake.calls + 1 + (uint32_t)support_random_below(3);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_PARK);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_DONE);
    assert_true(used(CONTROL, &written));
    assert_int_equal(written, 1);
    return vfake.memory[DRIVER_BUFFERS + 0x3000];
}

static uint8_t mode(uint8_t command, bool on)
{
    return obeyed(VIRTIO_NET_CTRL_RX, command, &(uint8_t){on}, 1);
}

static uint32_t wants(void)
{
    return net.port[1]->flags & (PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST | PORT_WANTS_UNKNOWN);
}

static void test_modes(void **state)
{
    (void)state;
    start(0);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST);
    start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST);
    assert_int_equal(mode(VIRTIO_NET_RX_ALL_UNICAST, true), VIRTIO_NET_ERR);
    assert_int_equal(mode(VIRTIO_NET_RX_ALL_MULTICAST, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST);
    start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_RX_EXTRA);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST);
    assert_int_equal(mode(VIRTIO_NET_RX_NO_BROADCAST, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), 0);
    assert_int_equal(mode(VIRTIO_NET_RX_ALL_UNICAST, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), PORT_WANTS_UNKNOWN);
    assert_int_equal(mode(VIRTIO_NET_RX_NO_UNICAST, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), 0);
    assert_int_equal(mode(VIRTIO_NET_RX_PROMISC, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST | PORT_WANTS_UNKNOWN);
    assert_int_equal(mode(VIRTIO_NET_RX_MODES, true), VIRTIO_NET_ERR);
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_RX, 0, "ab", 2), VIRTIO_NET_ERR);
    assert_int_equal(obeyed(9, 0, "a", 1), VIRTIO_NET_ERR);
}

static void test_addresses(void **state)
{
    uint8_t table[4 + 6 + 4 + 12] = {1, 0,    0,    0, 2, 9, 9, 9, 9, 9,    2, 0, 0,
                                     0, 0x33, 0x33, 0, 0, 0, 1, 1, 0, 0x5e, 0, 0, 7};
    const uint64_t each[] = {0x020909090909, 0x333300000001, 0x01005e000007};

    (void)state;
    start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_MAC_ADDR);
    assert_int_equal(net.port[1]->wanted_hash, 0);
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_TABLE_SET, table, sizeof(table)),
                     VIRTIO_NET_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(net.port[1]->wanted_hash & BIT(port_hash(each[i])));
    }
    table[10] = 3; /* more than there are */
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_TABLE_SET, table, sizeof(table)),
                     VIRTIO_NET_ERR);
    table[3] = 0x80;
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_TABLE_SET, table, sizeof(table)),
                     VIRTIO_NET_ERR);
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_TABLE_SET, table, 3),
                     VIRTIO_NET_ERR);
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_ADDR_SET, table + 4, 6),
                     VIRTIO_NET_OK);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 1), 1), 9);
    table[4] = 3; /* a group's */
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_ADDR_SET, table + 4, 6),
                     VIRTIO_NET_ERR);
    DRIVER_WRITE(&driver, status, 0);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 1), 1), 0);
}

static void test_bad_commands(void **state)
{
    const struct driver_segment one = {DRIVER_BUFFERS, 1, false};
    const struct driver_segment no_answer = {DRIVER_BUFFERS, 3, false};
    const struct driver_segment nowhere[] = {{DRIVER_BUFFERS, 3, false}, {MEMORY, 1, true}};
    const struct driver_segment huge[] = {{0, MEMORY, false}, {DRIVER_BUFFERS, 1, true}};
    uint32_t bytes;

    (void)state;
    start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&driver, CONTROL, 0, &one, 1);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_DONE);
    assert_true(broken());
    start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&driver, CONTROL, 0, &no_answer, 1);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_DONE);
    assert_true(broken());
    start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&driver, CONTROL, 0, nowhere, 2);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_DONE);
    assert_true(broken());
    start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&driver, CONTROL, 0, huge, 2);
    assert_int_equal(driver_notify(&driver, CONTROL), BUS_DONE);
    assert_false(broken());
    assert_true(used(CONTROL, &bytes));
    assert_int_equal(vfake.memory[DRIVER_BUFFERS], VIRTIO_NET_ERR);
}

/* ---- many queues ---- */

static void send_flow(unsigned queue)
{
    static const uint8_t there[] = {8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6};
    const struct driver_segment segment = {DRIVER_BUFFERS + 0x4000, HEADER + 60, false};
    uint8_t *frame = vfake.memory + DRIVER_BUFFERS + 0x4000 + HEADER;

    memset(frame - HEADER, 0, HEADER + 60);
    memcpy(frame, peer_mac, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, there, sizeof(there));
    driver_add(&driver, queue, 0, &segment, 1);
    assert_int_equal(driver_notify(&driver, queue), BUS_DONE);
}

/* On which queue a frame of that connection arrives. */
static unsigned arrives_on(void)
{
    const struct net_piece piece = {from_peer, 60};
    const struct net_frame frame = {.bytes = 60, .pieces = 1, .piece = &piece};
    uint32_t bytes;

    memcpy(from_peer, vfake.memory + DRIVER_BUFFERS + 0x4000 + HEADER, 60);
    memcpy(from_peer, mac, 6);
    memcpy(from_peer + 6, peer_mac, 6);
    switch_send(&peer.port, &frame);
    for (unsigned queue = 0; queue < 2 * VNET_PAIRS_MAX; queue += 2) {
        if (used(queue, &bytes)) {
            return queue;
        }
    }
    return UINT32_MAX;
}

/* A connection's frames arrive where its other direction is sent. */
static void test_pairs(void **state)
{
    const unsigned control = 2 * VNET_PAIRS_MAX;
    const struct driver_segment command[] = {{DRIVER_BUFFERS, 4, false},
                                             {DRIVER_BUFFERS + 0x3000, 1, true}};
    const uint8_t pairs[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_MQ_PAIRS_SET, 3, 0};
    uint32_t bytes;

    (void)state;
    driver_find(&driver, DEVFN);
    assert_int_equal(vfake_mmio_read(gpa(driver.config + 8), 2), VNET_PAIRS_MAX);
    driver_start(&driver, DEVFN, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ, control + 1, SIZE);
    for (unsigned queue = 0; queue < control; queue += 2) {
        for (uint16_t i = 0; i < 8; i++) {
            const struct driver_segment segment = {buffer_at(1), 2000, true};

            driver_add(&driver, queue, i, &segment, 1);
        }
    }
    send_flow(3); /* not in use yet */
    assert_int_equal(peer.frames, 0);
    send_flow(1);
    assert_int_equal(peer.frames, 1);
    assert_int_equal(arrives_on(), 0);
    memcpy(vfake.memory + DRIVER_BUFFERS, pairs, sizeof(pairs));
    driver_add(&driver, control, 0, command, 2);
    assert_int_equal(driver_notify(&driver, control), BUS_DONE);
    assert_true(used(control, &bytes));
    assert_int_equal(vfake.memory[DRIVER_BUFFERS + 0x3000], VIRTIO_NET_OK);
    assert_int_equal(driver_notify(&driver, 3), BUS_DONE); /* what waits there */
    assert_int_equal(peer.frames, 2);
    assert_int_equal(arrives_on(), 2);
    send_flow(5);
    assert_int_equal(arrives_on(), 4);
    send_flow(7); /* beyond what is in use */
    assert_int_equal(peer.frames, 3);
    assert_int_equal(arrives_on(), 4);
}

static uint32_t flow_of(const uint8_t *bytes, uint32_t count)
{
    const struct net_piece piece = {bytes, count};
    const struct net_frame frame = {.bytes = count, .pieces = 1, .piece = &piece};

    return net_flow(&frame);
}

static void test_flow(void **state)
{
    uint8_t there[60] = {[12] = 8, [14] = 0x45, [23] = 6, [26] = 10, [30] = 11, [34] = 3, [36] = 4};
    uint8_t back[60] = {[12] = 8, [14] = 0x45, [23] = 6, [26] = 11, [30] = 10, [34] = 4, [36] = 3};
    uint8_t six[60] = {[12] = 0x86, [13] = 0xdd, [14] = 0x60, [20] = 17, [54] = 1, [56] = 2};
    uint32_t flow = flow_of(there, 60);

    (void)state;
    assert_int_equal(flow, flow_of(back, 60));
    back[37] = 1;
    assert_int_not_equal(flow, flow_of(back, 60));
    back[20] = 0x20; /* a fragment: ports do not count */
    there[20] = 0x20;
    assert_int_equal(flow_of(there, 60), flow_of(back, 60));
    flow = flow_of(six, 60);
    six[57] = 9;
    assert_int_not_equal(flow, flow_of(six, 60));
    there[14] = 0x4f;
    for (uint32_t bytes = 14; bytes < 60; bytes++) { /* cut anywhere */
        (void)flow_of(there, bytes);
        (void)flow_of(six, bytes);
    }
    there[12] = 0;
    assert_int_equal(flow_of(there, 60), 0);
}

/* ---- rubbish ---- */

static void scribble(uint64_t at, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        vfake.memory[at + i] = (uint8_t)support_random();
    }
}

/* Descriptors of any kind that mostly lie in memory. */
static void random_descriptors(unsigned queue)
{
    for (unsigned i = 0; i < SIZE; i++) {
        uint64_t at = support_random_below(16) == 0 ? support_random()
                                                    : support_random_below(MEMORY + 0x1000);
        uint32_t bytes =
            (uint32_t)support_random_below(support_random_below(8) == 0 ? UINT32_MAX : 4000);

        driver_descriptor(queue, i, at, bytes, (uint16_t)support_random_below(8),
                          (uint16_t)support_random_below(SIZE + 2));
    }
}

static void test_rubbish(void **state)
{
    unsigned resets = 0;

    (void)state;
    support_seed(13);
    for (unsigned round = 0; round < 3000; round++) {
        start(support_random() & ~VIRTIO_NET_F_MQ);
        vfake.wait_often = support_random_below(4) == 0;
        for (unsigned queue = 0; queue < 3; queue++) {
            random_descriptors(queue);
            for (unsigned i = 0; i < 10; i++) {
                driver_publish(&driver, queue, (uint16_t)support_random_below(SIZE));
            }
        }
        scribble(DRIVER_BUFFERS, 256);
        for (unsigned i = 0; i < 6; i++) {
            peer_sends(14 + (uint32_t)support_random_below(3000), i, NULL);
            for (unsigned n = 0; n < 3 && driver_notify(&driver, i % 3) == BUS_PARK; n++) {
            }
        }
        device->waiter.wake(&device->waiter);
        vfake_advance(100000);
        resets += broken();
        vfake.wait_often = false;
    }
    assert_in_range(resets, 1000, 3000);
    start(0);
    add_buffer(0, 2000);
    device->waiter.wake(&device->waiter);
    peer_sends(100, 0, NULL);
    assert_true(used(RX, &(uint32_t){0}));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_config),
        CASE(test_send),
        CASE(test_send_plain),
        CASE(test_send_bad),
        CASE(test_send_budget),
        CASE(test_receive),
        CASE(test_receive_plain),
        CASE(test_mergeable),
        CASE(test_never_fits),
        CASE(test_no_buffers),
        CASE(test_receive_waits),
        CASE(test_lock_taken),
        CASE(test_queue_budget),
        CASE(test_reset_in_between),
        CASE(test_receive_bad),
        CASE(test_modes),
        CASE(test_addresses),
        CASE(test_bad_commands),
        cmocka_unit_test_setup_teardown(test_pairs, begin_many, end),
        cmocka_unit_test(test_flow),
        CASE(test_rubbish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
