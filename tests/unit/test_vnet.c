/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/net_guest.c hv/timer.c */
/*
 * virtio-net as a guest's driver sees it (tests/unit/net_guest.h): configuration, commands, many
 * queues, and drivers that break the rules.  What it sends and receives: test_vnet_send.c,
 * test_vnet_receive.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/hw/virtio_net.h"
#include "hv/config/config.h"
#include "hv/net/flow.h"
#include "hv/vdev/virtio/vnet.h"
#include "tests/unit/net_guest.h"
#include "tests/unit/support.h"
#include "tests/unit/vdev_fake.h"
#include "tests/unit/virtio_driver.h"

/* ---- configuration ---- */

static void test_config(void **state)
{
    (void)state;
    driver_find(&net_driver, DEVFN);
    assert_int_equal(driver_config_read(DEVFN, PCI_VENDOR, 4), 0x1041 << 16 | VIRTIO_VENDOR);
    assert_int_equal(driver_config_read(DEVFN, PCI_CLASS, 4) >> 8, 0x020000);
    driver_negotiate(&net_driver, UINT64_MAX);
    assert_int_equal(net_driver.features & (OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF),
                     OFFLOADS | VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(vfake_mmio_read(gpa(net_driver.config + i), 1), guest_mac[i]);
    }
    assert_int_equal(vfake_mmio_read(gpa(net_driver.config + 6), 2), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(vfake_mmio_read(gpa(net_driver.config + 8), 2), 1);
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
    driver_add(&net_driver, CONTROL, 0, segment, 3);
    vfake.wait_at = vfake.calls + 1 + (uint32_t)support_random_below(3);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_PARK);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_DONE);
    assert_true(net_guest_used(CONTROL, &written));
    assert_int_equal(written, 1);
    return vfake.memory[DRIVER_BUFFERS + 0x3000];
}

static uint8_t mode(uint8_t command, bool on)
{
    return obeyed(VIRTIO_NET_CTRL_RX, command, &(uint8_t){on}, 1);
}

static uint32_t wants(void)
{
    return guest_net.port[1]->flags &
           (PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST | PORT_WANTS_UNKNOWN);
}

static void test_modes(void **state)
{
    (void)state;
    net_guest_start(0);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST);
    net_guest_start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST);
    assert_int_equal(mode(VIRTIO_NET_RX_ALL_UNICAST, true), VIRTIO_NET_ERR);
    assert_int_equal(mode(VIRTIO_NET_RX_ALL_MULTICAST, true), VIRTIO_NET_OK);
    assert_int_equal(wants(), PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST);
    net_guest_start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_RX_EXTRA);
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
    net_guest_start(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_MAC_ADDR);
    assert_int_equal(guest_net.port[1]->wanted_hash, 0);
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_TABLE_SET, table, sizeof(table)),
                     VIRTIO_NET_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(guest_net.port[1]->wanted_hash & BIT(port_hash(each[i])));
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
    assert_int_equal(vfake_mmio_read(gpa(net_driver.config + 1), 1), 9);
    table[4] = 3; /* a group's */
    assert_int_equal(obeyed(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_MAC_ADDR_SET, table + 4, 6),
                     VIRTIO_NET_ERR);
    DRIVER_WRITE(&net_driver, status, 0);
    assert_int_equal(vfake_mmio_read(gpa(net_driver.config + 1), 1), 0);
}

static void test_bad_commands(void **state)
{
    const struct driver_segment one = {DRIVER_BUFFERS, 1, false};
    const struct driver_segment no_answer = {DRIVER_BUFFERS, 3, false};
    const struct driver_segment nowhere[] = {{DRIVER_BUFFERS, 3, false}, {MEMORY, 1, true}};
    const struct driver_segment huge[] = {{0, MEMORY, false}, {DRIVER_BUFFERS, 1, true}};
    uint32_t bytes;

    (void)state;
    net_guest_start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&net_driver, CONTROL, 0, &one, 1);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_DONE);
    assert_true(net_guest_is_broken());
    net_guest_start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&net_driver, CONTROL, 0, &no_answer, 1);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_DONE);
    assert_true(net_guest_is_broken());
    net_guest_start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&net_driver, CONTROL, 0, nowhere, 2);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_DONE);
    assert_true(net_guest_is_broken());
    net_guest_start(VIRTIO_NET_F_CTRL_VQ);
    driver_add(&net_driver, CONTROL, 0, huge, 2);
    assert_int_equal(driver_notify(&net_driver, CONTROL), BUS_DONE);
    assert_false(net_guest_is_broken());
    assert_true(net_guest_used(CONTROL, &bytes));
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
    memcpy(frame + 6, guest_mac, 6);
    memcpy(frame + 12, there, sizeof(there));
    driver_add(&net_driver, queue, 0, &segment, 1);
    assert_int_equal(driver_notify(&net_driver, queue), BUS_DONE);
}

/* On which queue a frame of that connection arrives. */
static unsigned arrives_on(void)
{
    const struct net_piece piece = {net_sent_by_peer, 60};
    const struct net_frame frame = {.bytes = 60, .pieces = 1, .piece = &piece};
    uint32_t bytes;

    memcpy(net_sent_by_peer, vfake.memory + DRIVER_BUFFERS + 0x4000 + HEADER, 60);
    memcpy(net_sent_by_peer, guest_mac, 6);
    memcpy(net_sent_by_peer + 6, peer_mac, 6);
    switch_send(&net_peer.port, &frame);
    for (unsigned queue = 0; queue < 2 * VNET_PAIRS_MAX; queue += 2) {
        if (net_guest_used(queue, &bytes)) {
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
    driver_find(&net_driver, DEVFN);
    assert_int_equal(vfake_mmio_read(gpa(net_driver.config + 8), 2), VNET_PAIRS_MAX);
    driver_start(&net_driver, DEVFN, VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ, control + 1, SIZE);
    for (unsigned queue = 0; queue < control; queue += 2) {
        for (uint16_t i = 0; i < 8; i++) {
            const struct driver_segment segment = {net_guest_buffer(1), 2000, true};

            driver_add(&net_driver, queue, i, &segment, 1);
        }
    }
    send_flow(3); /* not in use yet */
    assert_int_equal(net_peer.frames, 0);
    send_flow(1);
    assert_int_equal(net_peer.frames, 1);
    assert_int_equal(arrives_on(), 0);
    memcpy(vfake.memory + DRIVER_BUFFERS, pairs, sizeof(pairs));
    driver_add(&net_driver, control, 0, command, 2);
    assert_int_equal(driver_notify(&net_driver, control), BUS_DONE);
    assert_true(net_guest_used(control, &bytes));
    assert_int_equal(vfake.memory[DRIVER_BUFFERS + 0x3000], VIRTIO_NET_OK);
    assert_int_equal(driver_notify(&net_driver, 3), BUS_DONE); /* what waits there */
    assert_int_equal(net_peer.frames, 2);
    assert_int_equal(arrives_on(), 2);
    send_flow(5);
    assert_int_equal(arrives_on(), 4);
    send_flow(7); /* beyond what is in use */
    assert_int_equal(net_peer.frames, 3);
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
        net_guest_start(support_random() & ~VIRTIO_NET_F_MQ);
        vfake.wait_often = support_random_below(4) == 0;
        for (unsigned queue = 0; queue < 3; queue++) {
            random_descriptors(queue);
            for (unsigned i = 0; i < 10; i++) {
                driver_publish(&net_driver, queue, (uint16_t)support_random_below(SIZE));
            }
        }
        scribble(DRIVER_BUFFERS, 256);
        for (unsigned i = 0; i < 6; i++) {
            net_peer_sends(14 + (uint32_t)support_random_below(3000), i, NULL);
            for (unsigned n = 0; n < 3 && driver_notify(&net_driver, i % 3) == BUS_PARK; n++) {
            }
        }
        net_device->waiter.wake(&net_device->waiter);
        vfake_advance(100000);
        resets += net_guest_is_broken();
        vfake.wait_often = false;
    }
    assert_in_range(resets, 1000, 3000);
    net_guest_start(0);
    net_guest_add_buffer(0, 2000);
    net_device->waiter.wake(&net_device->waiter);
    net_peer_sends(100, 0, NULL);
    assert_true(net_guest_used(RX, &(uint32_t){0}));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, net_guest_begin, net_guest_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_config),
        CASE(test_modes),
        CASE(test_addresses),
        CASE(test_bad_commands),
        cmocka_unit_test_setup_teardown(test_pairs, net_guest_begin_many, net_guest_end),
        cmocka_unit_test(test_flow),
        CASE(test_rubbish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
