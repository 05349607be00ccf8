/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/net/offload.c */
/*
 * Checksums and segments as a card would make them: frames of random headers and lengths, in random
 * pieces, against sums that are added up byte by byte; and headers that are rubbish.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/net/offload.h"
#include "tests/unit/support.h"

#define PIECES 8u

static uint8_t data[NET_FRAME_MAX];
static struct net_piece piece[PIECES + 1];
static struct net_frame frame;

/* What has come out. */
static struct {
    unsigned frames;
    uint8_t bytes[2 * NET_FRAME_MAX]; /* with the headers of 256 */
    uint32_t end[300];                /* of each, in `bytes` */
    uint32_t used;
    bool keep;
} out;

static void emit(void *context, const struct net_frame *made)
{
    assert_ptr_equal(context, &out);
    assert_true(net_frame_is_valid(made));
    assert_false(made->offload.partial);
    assert_int_equal(made->offload.segments, NET_SEGMENTS_NONE);
    if (out.keep) {
        out.used = 0; /* of rubbish the last one is enough */
    }
    net_frame_copy(made, 0, out.bytes + out.used, made->bytes);
    out.used += made->bytes;
    out.end[out.frames++ % ARRAY_SIZE(out.end)] = out.used;
}

/* RFC 1071, byte by byte. */
static uint32_t sum_bytes(const uint8_t *bytes, uint32_t count)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t add(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xffff) + ((a + b) >> 16);
}

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The first has the head, the others what comes. */
static void make_pieces(uint32_t bytes)
{
    uint32_t at = MIN(bytes, NET_HEAD_BYTES);

    frame = (struct net_frame){.bytes = bytes, .pieces = 1, .piece = piece};
    piece[0] = (struct net_piece){data, at};
    while (at < bytes) {
        uint32_t left = bytes - at;
        uint32_t part = frame.pieces == PIECES ? left : (uint32_t)support_random_below(left + 1);

        piece[frame.pieces++] = (struct net_piece){data + at, part};
        at += part;
    }
    memset(&out, 0, sizeof(out));
}

static void make_random(uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)support_random();
    }
    make_pieces(bytes);
}

static void test_checksum(void **state)
{
    (void)state;
    support_seed(2);
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t bytes = 40 + (uint32_t)support_random_below(round % 50 == 0 ? 60000 : 1500);
        uint32_t start = 14 + (uint32_t)support_random_below(MIN(bytes, NET_HEAD_BYTES) - 14 - 2);
        uint32_t offset =
            (uint32_t)support_random_below(MIN(bytes, NET_HEAD_BYTES) - start - 1) & ~1u;
        uint32_t pseudo;

        make_random(bytes);
        frame.offload = (struct net_offload){
            .partial = true, .start = (uint16_t)start, .offset = (uint16_t)offset};
        pseudo = get16(data + start + offset);
        assert_true(net_offload_do(&frame, emit, &out));
        assert_int_equal(out.frames, 1);
        assert_int_equal(out.used, bytes);
        assert_memory_equal(out.bytes, data, start + offset);
        assert_memory_equal(out.bytes + start + offset + 2, data + start + offset + 2,
                            bytes - start - offset - 2);
        /* With the sum of the pseudo header it adds up to nothing, and is never nothing itself. */
        assert_int_equal(add(sum_bytes(out.bytes + start, bytes - start), pseudo), 0xffff);
        assert_int_not_equal(get16(out.bytes + start + offset), 0);
    }
}

/* The field does not lie in the head. */
static void test_far_checksum(void **state)
{
    (void)state;
    make_random(1000);
    frame.offload = (struct net_offload){.partial = true, .start = 100, .offset = 43};
    assert_true(net_frame_is_valid(&frame));
    assert_false(net_offload_do(&frame, emit, &out));
    frame.offload.offset = 42;
    assert_true(net_offload_do(&frame, emit, &out));
    assert_int_equal(out.frames, 1);
}

/* ---- segments ---- */

static struct {
    bool six, vlan;
    uint32_t ip, tcp, payload, segment;
} is;

/* Random but for what makes it TCP. */
static void make_tcp(uint32_t bytes)
{
    is.six = support_random_below(2) != 0;
    is.vlan = support_random_below(4) == 0;
    is.ip = is.vlan ? 18 : 14;
    is.tcp = is.ip + (is.six ? 40 : 20 + 4 * (uint32_t)support_random_below(11));
    is.payload = is.tcp + 20 + 4 * (uint32_t)support_random_below(11);
    is.segment = NET_OFFLOAD_SEGMENT_MIN + (uint32_t)support_random_below(9000);
    make_random(MAX(bytes, is.payload));
    put16(data + 12, is.vlan ? 0x8100 : 0x1234);
    data[is.ip] = (uint8_t)(is.six ? 0x60 : 0x40 | (is.tcp - is.ip) / 4);
    if (!is.six) {
        data[is.ip + 9] = 6;
    }
    data[is.tcp + 12] = (uint8_t)((is.payload - is.tcp) / 4 << 4);
    frame.offload = (struct net_offload){.partial = true,
                                         .segments = is.six ? NET_SEGMENTS_TCP6 : NET_SEGMENTS_TCP4,
                                         .start = (uint16_t)is.tcp,
                                         .offset = 16,
                                         .segment_bytes = (uint16_t)is.segment};
}

static void check_ip(const uint8_t *ip, uint32_t bytes, unsigned number)
{
    uint32_t sum = 0;

    if (is.six) {
        assert_int_equal(get16(ip + 4), bytes - 40);
        assert_memory_equal(ip + 6, data + is.ip + 6, 34);
    } else {
        assert_int_equal(get16(ip + 2), bytes);
        assert_int_equal(get16(ip + 4), (get16(data + is.ip + 4) + number) & 0xffff);
        assert_int_equal(sum_bytes(ip, is.tcp - is.ip), 0xffff);
        assert_memory_equal(ip + 12, data + is.ip + 12, is.tcp - is.ip - 12);
    }
    sum = is.six ? sum_bytes(ip + 8, 32) : sum_bytes(ip + 12, 8);
    sum = add(add(sum, 6), bytes - (is.tcp - is.ip));
    sum = add(sum, sum_bytes(ip + is.tcp - is.ip, bytes - (is.tcp - is.ip)));
    assert_int_equal(sum, 0xffff);
}

/* One that came out, with payload from `at` on. */
static uint32_t check_segment(const uint8_t *made, uint32_t bytes, unsigned number, uint32_t at)
{
    uint32_t all = frame.bytes - is.payload, mine = bytes - is.payload;
    bool first = number == 0, last = at + mine == all;
    uint8_t flags = data[is.tcp + 13];

    assert_true(mine == MIN(all - at, is.segment));
    assert_memory_equal(made, data, is.ip);
    check_ip(made + is.ip, bytes - is.ip, number);
    assert_int_equal(get32(made + is.tcp + 4), get32(data + is.tcp + 4) + at);
    flags &= first ? 0xff : 0x7f;
    flags &= last ? 0xff : 0xf6;
    assert_int_equal(made[is.tcp + 13], flags);
    assert_memory_equal(made + is.payload, data + is.payload + at, mine);
    return at + mine;
}

static void test_segments(void **state)
{
    (void)state;
    support_seed(3);
    for (unsigned round = 0; round < 1000; round++) {
        uint32_t at = 0, from = 0;

        make_tcp((uint32_t)support_random_below(round % 4 == 0 ? NET_FRAME_MAX : 5000));
        assert_true(net_frame_is_valid(&frame));
        assert_true(net_offload_do(&frame, emit, &out));
        for (unsigned i = 0; i < out.frames; i++) {
            at = check_segment(out.bytes + from, out.end[i] - from, i, at);
            from = out.end[i];
        }
        assert_int_equal(at, frame.bytes - is.payload);
    }
}

/* Each rule of its headers broken: nothing comes out. */
static void test_bad_headers(void **state)
{
    (void)state;
    support_seed(4);
    for (unsigned round = 0; round < 600; round++) {
        make_tcp(3000);
        switch (round % 6) {
        case 0:
            data[is.ip] ^= 0x20; /* another version */
            break;
        case 1:
            data[is.tcp + 12] = (uint8_t)(support_random_below(5) << 4);
            break;
        case 2:
            frame.offload.offset = 6;
            break;
        case 3:
            frame.offload.start = (uint16_t)(is.ip + support_random_below(20));
            break;
        case 4:
            frame.offload.segment_bytes = NET_OFFLOAD_SEGMENT_MIN - 1;
            break;
        case 5:
            frame.offload.start = NET_HEAD_BYTES - 19;
            break;
        }
        assert_false(net_offload_do(&frame, emit, &out));
        assert_int_equal(out.frames, 0);
    }
}

/* Whatever it is: it ends soon, and stays in its memory. */
static void test_rubbish(void **state)
{
    unsigned done = 0;

    (void)state;
    support_seed(5);
    for (unsigned round = 0; round < 20000; round++) {
        make_tcp(14 + (uint32_t)support_random_below(round % 100 == 0 ? 65000 : 400));
        for (unsigned i = 0; i < 3; i++) {
            data[support_random_below(MIN(frame.bytes, NET_HEAD_BYTES))] =
                (uint8_t)support_random();
        }
        if (support_random_below(2) == 0) {
            frame.offload.start = (uint16_t)support_random_below(200);
        }
        out.keep = true;
        if (net_frame_is_valid(&frame)) {
            done += net_offload_do(&frame, emit, &out);
            assert_true(out.frames <= NET_FRAME_MAX / NET_OFFLOAD_SEGMENT_MIN + 1);
        }
    }
    assert_in_range(done, 500, 19500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum), cmocka_unit_test(test_far_checksum),
        cmocka_unit_test(test_segments), cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_rubbish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
