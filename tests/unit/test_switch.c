/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The switch between network devices: its queues against a list, who gets which frame, what a port
 * may take from another one (nothing), and ports that leave while others send to them.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/arch.h"
#include "hv/net/switch.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

#define PORTS   5u
#define LEARNED 4u
#define BYTES   (256u << 10)
#define ALL     UINT64_C(0xffffffffffff)

static uint64_t now_ns, meta_frames;
static struct net_switch net;

static struct owner {
    struct port port;
    struct port_address learned[LEARNED];
    enum port_taken answer;
    unsigned wakes, frames;
    uint32_t bytes; /* of the last frame */
    uint8_t mark;   /* its first byte behind the header */
} owner[PORTS];

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

static enum port_taken take(struct port *port, const struct net_frame *frame)
{
    struct owner *o = CONTAINER_OF(port, struct owner, port);

    if (o->answer == PORT_TAKEN) {
        o->frames++;
        o->bytes = frame->bytes;
        net_frame_copy(frame, NET_ETHERNET_BYTES, &o->mark, 1);
    }
    return o->answer;
}

static void wake(struct port *port)
{
    CONTAINER_OF(port, struct owner, port)->wakes++;
}

static const struct port_ops ops = {.take = take, .wake = wake};

static uint64_t mac_of(unsigned n)
{
    return 0x020000000000 + n;
}

static void add(unsigned n)
{
    struct owner *o = &owner[n];

    memset(o, 0, sizeof(*o));
    assert_true(port_init(&o->port, &ops, BYTES));
    o->port.mac = mac_of(n);
    o->port.learned = o->learned;
    o->port.learned_count = LEARNED;
    o->port.flags = PORT_WANTS_BROADCAST;
    assert_true(switch_attach(&net, &o->port));
}

static int begin(void **state)
{
    (void)state;
    support_memory_init(1024);
    meta_frames = frame_stats_get().meta;
    now_ns = 1;
    switch_init(&net, 4711);
    for (unsigned i = 0; i < PORTS; i++) {
        add(i);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PORTS; i++) {
        switch_detach(&owner[i].port);
        port_destroy(&owner[i].port);
    }
    for (unsigned i = 0; i < SWITCH_BUCKETS; i++) {
        assert_null(net.bucket[i]);
    }
    assert_int_equal(frame_stats_get().meta, meta_frames);
    support_memory_free();
    return 0;
}

static void put_mac(uint8_t *at, uint64_t mac)
{
    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        at[i] = (uint8_t)(mac >> (40 - 8 * i));
    }
}

/* Sends a frame of that many bytes, in two pieces if it is long. */
static uint32_t send(unsigned from, uint64_t source, uint64_t destination, uint32_t bytes,
                     uint8_t mark)
{
    static uint8_t data[NET_FRAME_MAX];
    struct net_piece piece[2] = {{data, MIN(bytes, NET_HEAD_BYTES)},
                                 {data + NET_HEAD_BYTES, bytes - MIN(bytes, NET_HEAD_BYTES)}};
    const struct net_frame frame = {.bytes = bytes, .pieces = 2, .piece = piece};

    memset(data + NET_ETHERNET_BYTES, mark, sizeof(data) - NET_ETHERNET_BYTES);
    put_mac(data, destination);
    put_mac(data + NET_MAC_BYTES, source);
    return switch_send(&owner[from].port, &frame);
}

static uint64_t counted(unsigned n, enum port_count which)
{
    return owner[n].port.count[which];
}

/* Which ports have got something since the last call, as bits. */
static unsigned who(void)
{
    unsigned got = 0;

    for (unsigned i = 0; i < PORTS; i++) {
        got |= owner[i].frames != 0 ? 1u << i : 0;
        owner[i].frames = 0;
    }
    return got;
}

/* ---- who gets it ---- */

static void test_by_address(void **state)
{
    (void)state;
    send(0, mac_of(0), mac_of(3), 100, 7);
    assert_int_equal(who(), 1 << 3);
    assert_int_equal(owner[3].bytes, 100);
    assert_int_equal(owner[3].mark, 7);
    assert_int_equal(counted(0, PORT_SENT_FRAMES), 1);
    assert_int_equal(counted(0, PORT_SENT_BYTES), 100);
    assert_int_equal(counted(3, PORT_GOT_FRAMES), 1);
    assert_int_equal(counted(3, PORT_GOT_BYTES), 100);
    send(2, mac_of(2), ALL, 60, 8);
    assert_int_equal(who(), 0x1b);
    /* To itself: nobody else hears it. */
    send(2, mac_of(2), mac_of(2), 60, 8);
    assert_int_equal(who(), 0);
}

static void test_learning(void **state)
{
    (void)state;
    owner[4].port.flags |= PORT_WANTS_UNKNOWN;
    send(0, mac_of(0), mac_of(77), 60, 1); /* nobody knows it: who wants to know */
    assert_int_equal(who(), 1 << 4);
    send(1, mac_of(77), mac_of(0), 60, 1);
    assert_int_equal(who(), 1 << 0);
    send(0, mac_of(0), mac_of(77), 60, 1);
    assert_int_equal(who(), 1 << 1);
    send(2, mac_of(77), mac_of(0), 60, 1); /* it has moved */
    who();
    send(0, mac_of(0), mac_of(77), 60, 1);
    assert_int_equal(who(), 1 << 2);
    now_ns += SWITCH_AGE_NS;
    send(0, mac_of(0), mac_of(77), 60, 1);
    assert_int_equal(who(), 1 << 2);
    now_ns += 2;
    send(0, mac_of(0), mac_of(77), 60, 1);
    assert_int_equal(who(), 1 << 4);
}

/* A port that claims a thousand addresses loses its own ones only. */
static void test_flood_of_addresses(void **state)
{
    unsigned known = 0;

    (void)state;
    send(1, mac_of(500), mac_of(0), 60, 1);
    for (unsigned i = 0; i < 1000; i++) {
        send(2, mac_of(1000 + i), mac_of(0), 60, 1);
    }
    who();
    for (unsigned i = 0; i < 1000; i++) {
        send(0, mac_of(0), mac_of(1000 + i), 60, 1);
        known += who() == 1 << 2;
    }
    assert_int_equal(known, LEARNED);
    send(0, mac_of(0), mac_of(500), 60, 1);
    assert_int_equal(who(), 1 << 1);
}

/* What a port has by right nobody takes from it, and nobody had it before. */
static void test_own_address(void **state)
{
    (void)state;
    send(1, mac_of(3), mac_of(0), 60, 1);
    assert_int_equal(who(), 0);
    assert_int_equal(counted(1, PORT_SENT_DROPS), 1);
    send(0, mac_of(0), mac_of(3), 60, 1);
    assert_int_equal(who(), 1 << 3);
    /* Even if its owner has not sent for long. */
    now_ns += 10 * SWITCH_AGE_NS;
    send(1, mac_of(3), mac_of(0), 60, 1);
    send(0, mac_of(0), mac_of(3), 60, 1);
    assert_int_equal(who(), 1 << 3);
    /* While it is away another one may; and loses it when it comes back. */
    switch_detach(&owner[3].port);
    port_destroy(&owner[3].port);
    send(1, mac_of(3), mac_of(0), 60, 1);
    who();
    send(0, mac_of(0), mac_of(3), 60, 1);
    assert_int_equal(who(), 1 << 1);
    add(3);
    send(0, mac_of(0), mac_of(3), 60, 1);
    assert_int_equal(who(), 1 << 3);
}

static void test_refused(void **state)
{
    const uint64_t bad[] = {0, ALL, 0x010000000005};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) { /* no station's address */
        send(0, bad[i], mac_of(1), 60, 1);
        assert_int_equal(counted(0, PORT_SENT_DROPS), i + 1);
    }
    send(0, mac_of(0), mac_of(1), NET_ETHERNET_BYTES - 1, 1);
    send(0, mac_of(0), 0x0180c2000003, 60, 1); /* for the nearest bridge */
    send(0, mac_of(0), ALL, SWITCH_FLOOD_BYTES + 1, 1);
    assert_int_equal(counted(0, PORT_SENT_DROPS), 6);
    assert_int_equal(who(), 0);
    send(0, mac_of(0), mac_of(1), NET_FRAME_MAX, 1);
    assert_int_equal(who(), 2);
}

static void test_invalid_offload(void **state)
{
    static uint8_t data[NET_HEAD_BYTES * 2];
    const struct net_piece piece = {data, sizeof(data)};
    const struct net_offload bad[] = {
        {.partial = true, .start = 13},
        {.partial = true, .start = 200, .offset = 87},
        {.partial = true, .start = UINT16_MAX, .offset = UINT16_MAX},
        {.segments = NET_SEGMENTS_TCP4, .segment_bytes = 1000},
        {.partial = true, .segments = NET_SEGMENTS_TCP4, .start = 34, .offset = 16},
        {.partial = true, .segments = 3, .start = 34, .offset = 16, .segment_bytes = 1000},
    };
    struct net_frame frame = {.bytes = sizeof(data), .pieces = 1, .piece = &piece};

    (void)state;
    assert_true(net_frame_is_valid(&frame));
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        frame.offload = bad[i];
        assert_false(net_frame_is_valid(&frame));
    }
    frame.offload = (struct net_offload){.partial = true, .start = 200, .offset = 86};
    assert_true(net_frame_is_valid(&frame));
}

static void test_wanted(void **state)
{
    const uint64_t group = 0x333300000001;

    (void)state;
    send(0, mac_of(0), group, 60, 1);
    assert_int_equal(who(), 0);
    owner[1].port.flags = PORT_WANTS_MULTICAST;
    owner[2].port.wanted_hash = BIT(port_hash(group));
    send(0, mac_of(0), group, 60, 1);
    assert_int_equal(who(), 6);
    send(0, mac_of(0), ALL, 60, 1);
    assert_int_equal(who(), 0x1c); /* the second one does not want them */
    owner[2].port.flags = 0;
    owner[2].port.wanted_hash = UINT64_MAX;
    send(0, mac_of(0), ALL, 60, 1);
    assert_int_equal(who(), 0x18);
}

/* ---- queues ---- */

static void test_queue(void **state)
{
    unsigned queued = 0;

    (void)state;
    owner[1].answer = PORT_LATER;
    for (unsigned i = 0; counted(1, PORT_GOT_DROPS) == 0; i++) {
        queued = owner[1].wakes;
        send(0, mac_of(0), mac_of(1), 1000, (uint8_t)i);
    }
    assert_int_equal(owner[1].wakes, queued);
    assert_in_range(queued, BYTES / 1024, BYTES / 1000);
    /* Others do not suffer. */
    send(0, mac_of(0), mac_of(2), 1000, 1);
    assert_int_equal(who(), 1 << 2);
    for (unsigned i = 0; i < queued; i++) {
        const struct net_frame *frame = port_peek(&owner[1].port);
        uint8_t mark;

        assert_int_equal(frame->bytes, 1000);
        net_frame_copy(frame, 999, &mark, 1);
        assert_int_equal(mark, (uint8_t)i);
        port_next(&owner[1].port, i % 2 == 0);
    }
    assert_null(port_peek(&owner[1].port));
    assert_true(port_is_empty(&owner[1].port));
    assert_int_equal(counted(1, PORT_GOT_FRAMES), (queued + 1) / 2);
    assert_int_equal(counted(1, PORT_GOT_BYTES), (queued + 1) / 2 * 1000);
    assert_int_equal(counted(1, PORT_GOT_DROPS), 1 + queued / 2);
    owner[1].answer = PORT_DROPPED;
    send(0, mac_of(0), mac_of(1), 1000, 1);
    assert_int_equal(counted(1, PORT_GOT_DROPS), 2 + queued / 2);
    assert_true(port_is_empty(&owner[1].port));
}

/* Frames of any length in pieces of any length, in the order in which they came. */
static void test_queue_random(void **state)
{
    static uint8_t data[NET_FRAME_MAX], out[NET_FRAME_MAX];
    static struct {
        uint32_t bytes, from;
        uint16_t start;
    } list[BYTES / 16];
    struct net_queue *queue = &owner[0].port.queue;
    unsigned first = 0, last = 0;
    uint64_t used = 0;

    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)support_random();
    }
    for (unsigned round = 0; round < 40000; round++) {
        if (support_random_below(2) == 0) {
            uint32_t longest = support_random_below(4) == 0 ? NET_FRAME_MAX : 300;
            uint32_t bytes = 14 + (uint32_t)support_random_below(longest - 13);
            uint32_t from = (uint32_t)support_random_below(NET_FRAME_MAX - bytes + 1);
            uint32_t head = MIN(bytes, NET_HEAD_BYTES) +
                            (uint32_t)support_random_below(bytes - MIN(bytes, NET_HEAD_BYTES) + 1);
            struct net_piece piece[2] = {{data + from, head}, {data + from + head, bytes - head}};
            struct net_frame frame = {.bytes = bytes, .pieces = 2, .piece = piece};
            uint32_t need = (uint32_t)ALIGN_UP(bytes + 16, 8);

            frame.offload.start = (uint16_t)round;
            assert_int_equal(net_queue_put(queue, &frame), used + need <= BYTES);
            if (used + need <= BYTES) {
                list[last % ARRAY_SIZE(list)].bytes = bytes;
                list[last % ARRAY_SIZE(list)].from = from;
                list[last++ % ARRAY_SIZE(list)].start = (uint16_t)round;
                used += need;
            }
        } else if (first == last) {
            assert_null(net_queue_peek(queue));
        } else {
            const struct net_frame *frame = net_queue_peek(queue);
            unsigned at = first++ % ARRAY_SIZE(list);

            assert_true(net_frame_is_valid(frame));
            assert_int_equal(frame->bytes, list[at].bytes);
            assert_int_equal(frame->offload.start, list[at].start);
            net_frame_copy(frame, 0, out, frame->bytes);
            assert_memory_equal(out, data + list[at].from, frame->bytes);
            used -= ALIGN_UP(frame->bytes + 16, 8);
            net_queue_next(queue);
        }
    }
}

/* ---- ports that come and go ---- */

static void test_many_ports(void **state)
{
    static struct port many[SWITCH_PORTS_MAX];
    unsigned count = 0;
    struct port twin;

    (void)state;
    assert_true(port_init(&twin, &ops, 4096));
    twin.mac = mac_of(2);
    assert_false(switch_attach(&net, &twin));
    switch_detach(&twin); /* which has not come */
    port_destroy(&twin);
    for (; count < SWITCH_PORTS_MAX; count++) {
        assert_true(port_init(&many[count], &ops, 4096));
        if (!switch_attach(&net, &many[count])) {
            break;
        }
    }
    assert_int_equal(count, SWITCH_PORTS_MAX - PORTS);
    port_destroy(&many[count]);
    while (count-- > 0) {
        switch_detach(&many[count]);
        port_destroy(&many[count]);
    }
}

static atomic_bool stop;
static atomic_uint taken_from_dead;
static atomic_bool alive;

static enum port_taken take_alive(struct port *port, const struct net_frame *frame)
{
    (void)port;
    (void)frame;
    taken_from_dead += !alive;
    for (volatile unsigned i = 0; i < 100; i++) {
    }
    taken_from_dead += !alive;
    return PORT_LATER;
}

static void wake_alive(struct port *port)
{
    (void)port;
    taken_from_dead += !alive;
}

static const struct port_ops alive_ops = {.take = take_alive, .wake = wake_alive};

static void *send_all_the_time(void *arg)
{
    unsigned from = (unsigned)(uintptr_t)arg;
    uint8_t data[64] = {0};
    const struct net_piece piece = {data, sizeof(data)};
    const struct net_frame frame = {.bytes = sizeof(data), .pieces = 1, .piece = &piece};

    support_set_cpu(from + 1);
    put_mac(data + NET_MAC_BYTES, mac_of(from));
    for (unsigned i = 0; !stop; i++) {
        put_mac(data, i % 2 == 0 ? ALL : mac_of(99));
        switch_send(&owner[from].port, &frame);
    }
    return NULL;
}

/* Two send to one that leaves again and again: nobody is at it when it has left. */
static void test_detach(void **state)
{
    static struct port port;
    pthread_t thread[2];

    (void)state;
    stop = false;
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&thread[i], NULL, send_all_the_time, (void *)(uintptr_t)i);
    }
    for (unsigned i = 0; i < 60; i++) {
        assert_true(port_init(&port, &alive_ops, 4096));
        port.mac = mac_of(99);
        port.flags = PORT_WANTS_BROADCAST;
        alive = true;
        assert_true(switch_attach(&net, &port));
        for (unsigned n = 0; n < 20; n++) {
            if (port_peek(&port) != NULL) {
                port_next(&port, true);
            }
        }
        switch_detach(&port);
        alive = false;
        port_destroy(&port);
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
    }
    assert_int_equal(taken_from_dead, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_by_address),  CASE(test_learning), CASE(test_flood_of_addresses),
        CASE(test_own_address), CASE(test_refused),  CASE(test_invalid_offload),
        CASE(test_wanted),      CASE(test_queue),    CASE(test_queue_random),
        CASE(test_many_ports),  CASE(test_detach),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
