/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c tests/unit/nic_model.c drivers/nic.c drivers/virtio_net.c
 * drivers/e1000.c drivers/virtio_ring.c */
/*
 * A NIC as a port of a switch, with two guests' ports beside it: who gets what comes and where goes
 * what they send, with each driver; what a NIC does not do, done before; floods from both sides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/platform.h"
#include "hv/arch.h"
#include "hv/net/uplink.h"
#include "tests/unit/disk_machine.h"
#include "tests/unit/nic_model.h"
#include "tests/unit/support.h"

#define GUESTS  2u
#define SECOND  1000000000ull
#define STEP    (SECOND / 1000)
#define OUTSIDE UINT64_C(0x525500000100)
#define ALL     UINT64_C(0xffffffffffff)
#define NOBODY  UINT64_C(0x020000000077)
#define MSS     1448u

static struct net_switch net;

static struct guest {
    struct port port;
    struct port_address learned[4];
    unsigned frames;
    uint32_t bytes;
    uint8_t last[NIC_FRAME_MAX];
} guests[GUESTS];

static uint64_t receive_costs_ns;

uint64_t arch_clock_ns(void)
{
    return platform_clock_ns();
}

static enum port_taken guest_take(struct port *port, const struct net_frame *frame)
{
    struct guest *g = CONTAINER_OF(port, struct guest, port);

    assert_true(frame->bytes <= NIC_FRAME_MAX);
    net_frame_copy(frame, 0, g->last, frame->bytes);
    g->bytes = frame->bytes;
    g->frames++;
    disk_machine_tick(receive_costs_ns);
    return PORT_TAKEN;
}

static const struct port_ops guest_ops = {.take = guest_take};

static uint64_t mac_of(unsigned guest)
{
    return 0x020000000001 + guest;
}

static struct nic *boot(unsigned number)
{
    receive_costs_ns = 0;
    support_log_level(-1);
    model_start(0);
    switch_init(&net, 1);
    memset(guests, 0, sizeof(guests));
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_true(port_init(&guests[i].port, &guest_ops, 0));
        guests[i].port.mac = mac_of(i);
        guests[i].port.learned = guests[i].learned;
        guests[i].port.learned_count = 4;
        guests[i].port.flags = PORT_WANTS_BROADCAST;
        assert_true(switch_attach(&net, &guests[i].port));
    }
    assert_true(uplink_create(&net, nic_at(number)));
    nic_poll();
    return nic_at(number);
}

static void finish(void)
{
    struct port *port = net.port[GUESTS];

    switch_detach(port);
    free(CONTAINER_OF(port, struct uplink, port));
    model_stop();
    support_log_level(LOG_WARN);
}

static void pass(uint64_t ns)
{
    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        nic_poll();
    }
}

static void put_mac(uint8_t *at, uint64_t mac)
{
    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        at[i] = (uint8_t)(mac >> (40 - 8 * i));
    }
}

static uint8_t *frame_to(uint64_t destination, uint64_t source, uint8_t mark)
{
    static uint8_t frame[NIC_FRAME_MAX];

    memset(frame, mark, sizeof(frame));
    put_mac(frame, destination);
    put_mac(frame + 6, source);
    return frame;
}

static void arrive(unsigned number, uint64_t destination, uint64_t source, uint8_t mark)
{
    assert_true(model_frame(number, frame_to(destination, source, mark), 100 + mark));
    pass(4 * STEP);
}

static void guest_sends(unsigned guest, uint64_t destination, uint8_t mark)
{
    const struct net_piece piece = {frame_to(destination, mac_of(guest), mark), 100u + mark};
    const struct net_frame frame = {.bytes = piece.bytes, .pieces = 1, .piece = &piece};

    switch_send(&guests[guest].port, &frame);
    pass(2 * STEP);
}

static void expect_outside(unsigned number, unsigned frames, uint8_t mark)
{
    const struct model_nic *device = model_nic(number);

    assert_int_equal(device->sent, frames);
    assert_int_equal(device->bytes[frames - 1], 100 + mark);
    assert_int_equal(device->frame[frames - 1][20], mark);
}

/* ---- who gets what ---- */

static void ways(unsigned number)
{
    boot(number);
    arrive(number, mac_of(0), OUTSIDE, 1);
    assert_int_equal(guests[0].frames, 1);
    assert_int_equal(guests[0].bytes, 101);
    assert_int_equal(guests[0].last[100], 1);
    assert_int_equal(guests[1].frames, 0);
    arrive(number, ALL, OUTSIDE, 2);
    assert_int_equal(guests[0].frames + guests[1].frames, 3);
    arrive(number, NOBODY, OUTSIDE, 3); /* they have not asked for all */
    assert_int_equal(guests[0].frames + guests[1].frames, 3);

    guest_sends(0, OUTSIDE, 4);
    expect_outside(number, 1, 4);
    guest_sends(1, ALL, 5);
    expect_outside(number, 2, 5);
    guest_sends(1, NOBODY, 6);
    expect_outside(number, 3, 6);
    guest_sends(1, mac_of(0), 7); /* stays inside */
    assert_int_equal(model_nic(number)->sent, 3);
    assert_int_equal(guests[0].frames, 4);
    finish();
}

/* Nobody outside can pass for a guest, nor take what is a guest's. */
static void strangers(unsigned number)
{
    boot(number);
    arrive(number, mac_of(1), mac_of(0), 1);
    assert_int_equal(guests[1].frames, 0);
    guest_sends(1, mac_of(0), 2);
    assert_int_equal(guests[0].frames, 1);
    assert_int_equal(model_nic(number)->sent, 0);
    for (unsigned i = 0; i < 3 * UPLINK_ADDRESSES; i++) {
        arrive(number, mac_of(0), OUTSIDE + i, 3);
    }
    assert_int_equal(guests[0].frames, 1 + 3 * UPLINK_ADDRESSES);
    guest_sends(1, mac_of(0), 4);
    assert_int_equal(model_nic(number)->sent, 0);
    guest_sends(0, OUTSIDE + 3 * UPLINK_ADDRESSES - 1, 5);
    expect_outside(number, 1, 5);
    finish();
}

/* ---- what the NIC does not do ---- */

/* A TCP segment of that many bytes, as a guest with TSO has it; its headers come to 66 bytes. */
static void guest_sends_tcp(uint32_t payload)
{
    static uint8_t memory[66 + 65536];
    const struct net_piece pieces[] = {{memory, NET_HEAD_BYTES},
                                       {memory + NET_HEAD_BYTES, 66 + payload - NET_HEAD_BYTES}};
    struct net_frame frame = {.bytes = 66 + payload, .pieces = 2, .piece = pieces};

    memset(memory, 0, 66);
    put_mac(memory, OUTSIDE);
    put_mac(memory + 6, mac_of(0));
    memory[12] = 0x08;
    memory[14] = 0x45;
    memory[16] = (uint8_t)((52 + payload) >> 8);
    memory[17] = (uint8_t)(52 + payload);
    memory[23] = 6;
    memory[46] = 0x80;
    for (uint32_t i = 0; i < payload; i++) {
        memory[66 + i] = (uint8_t)(i * 7 + (i >> 8));
    }
    frame.offload = (struct net_offload){.partial = true,
                                         .segments = NET_SEGMENTS_TCP4,
                                         .start = 34,
                                         .offset = 16,
                                         .segment_bytes = MSS,
                                         .header_bytes = 66};
    switch_send(&guests[0].port, &frame);
    pass(2 * STEP);
}

/* RFC 1071 over what TCP sums up: 0xffff is right.  The pseudo header's words are added by hand. */
static uint32_t tcp_sum(const uint8_t *frame, uint32_t bytes)
{
    uint32_t sum = 6 + (bytes - 34);

    for (uint32_t i = 26; i < bytes; i++) {
        sum += i % 2 == 0 ? (uint32_t)frame[i] << 8 : frame[i];
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void tcp_is_cut(unsigned number)
{
    const uint32_t payload = 20 * MSS + 77;
    const struct model_nic *device;
    uint32_t at = 0;

    boot(number);
    device = model_nic(number);
    arrive(number, mac_of(0), OUTSIDE, 1); /* it is known where that is */
    guest_sends_tcp(payload);
    assert_int_equal(device->sent, 21);
    for (unsigned i = 0; i < 21; i++) {
        uint32_t part = i < 20 ? MSS : 77;

        assert_int_equal(device->bytes[i], 66 + part);
        assert_int_equal(tcp_sum(device->frame[i], 66 + part), 0xffff);
        for (uint32_t k = 0; k < part; k++, at++) {
            assert_int_equal(device->frame[i][66 + k], (uint8_t)(at * 7 + (at >> 8)));
        }
    }
    assert_int_equal(at, payload);
    finish();
}

/* ---- floods ---- */

/* A guest sends more than the NIC has buffers: dropped, counted, and all is well afterwards. */
static void guest_floods(unsigned number)
{
    struct nic *nic = boot(number);
    unsigned dropped;

    model_nic(number)->lose = true;
    for (unsigned i = 0; i < 1000; i++) {
        const struct net_piece piece = {frame_to(OUTSIDE, mac_of(0), 1), 1500};
        const struct net_frame frame = {.bytes = 1500, .pieces = 1, .piece = &piece};

        switch_send(&guests[0].port, &frame);
    }
    dropped = (unsigned)nic->stats.tx_dropped;
    assert_in_range(dropped, 1000 - NIC_BUFFERS, 1000 - 32);
    assert_int_equal(net.port[GUESTS]->count[PORT_GOT_DROPS], dropped);
    assert_int_equal(net.port[GUESTS]->count[PORT_GOT_FRAMES], 1000 - dropped);
    model_nic(number)->lose = false;
    pass(SECOND);
    assert_int_equal(model_nic(number)->sent, 1000 - dropped);
    guest_sends(0, OUTSIDE, 9);
    assert_int_equal(model_nic(number)->sent, 1000 - dropped + 1);
    finish();
}

/* From outside, to all: each frame costs several deliveries, and still it is a quarter of the time,
 * in short turns. */
static void outside_floods(unsigned number)
{
    uint64_t begin, inside = 0, longest = 0;

    boot(number);
    begin = platform_clock_ns();
    receive_costs_ns = 50000;
    while (platform_clock_ns() - begin < SECOND) {
        uint64_t before;

        while (model_frame(number, frame_to(ALL, OUTSIDE, 1), 1000)) {
        }
        before = platform_clock_ns();
        nic_poll();
        inside += platform_clock_ns() - before;
        longest = MAX(longest, platform_clock_ns() - before);
        disk_machine_advance(20000);
    }
    assert_in_range(inside, SECOND / 8, SECOND / 4 + SECOND / 100);
    assert_in_range(longest, 1, NIC_TURN_NS + NIC_TURN_PART * GUESTS * receive_costs_ns);
    finish();
}

/* With each driver. */
#define FOR_ALL(name)                                                                              \
    static void test_uplink_##name(void **state)                                                   \
    {                                                                                              \
        (void)state;                                                                               \
        for (unsigned number = 0; number < MODEL_NICS; number++) {                                 \
            name(number);                                                                          \
        }                                                                                          \
    }

FOR_ALL(ways)
FOR_ALL(strangers)
FOR_ALL(tcp_is_cut)
FOR_ALL(guest_floods)
FOR_ALL(outside_floods)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uplink_ways),           cmocka_unit_test(test_uplink_strangers),
        cmocka_unit_test(test_uplink_tcp_is_cut),     cmocka_unit_test(test_uplink_guest_floods),
        cmocka_unit_test(test_uplink_outside_floods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
