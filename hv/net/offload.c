/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/offload.h"

#include <string.h>

#include "base/bits.h"

/* Offsets in headers: RFC 791, RFC 8200, RFC 9293, IEEE 802.1Q. */
#define ETHERNET_TYPE   12u
#define ETHERNET_VLAN   0x8100u
#define VLAN_BYTES      4u
#define IP4_BYTES       20u
#define IP4_TOTAL       2u
#define IP4_ID          4u
#define IP4_PROTOCOL    9u
#define IP4_CHECKSUM    10u
#define IP4_SOURCE      12u
#define IP6_BYTES       40u
#define IP6_LENGTH      4u
#define IP6_SOURCE      8u
#define PROTOCOL_TCP    6u
#define TCP_BYTES       20u
#define TCP_SEQUENCE    4u
#define TCP_DATA_OFFSET 12u
#define TCP_FLAGS       13u
#define TCP_CHECKSUM    16u
#define TCP_FLAG_FIN    0x01u
#define TCP_FLAG_PUSH   0x08u
#define TCP_FLAG_CWR    0x80u

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* ---- checksums: the sum is kept in the order of memory, which does not matter (RFC 1071, 2) ---
 */

struct sum {
    uint64_t total;
    bool odd; /* bytes so far */
};

static uint16_t fold(uint64_t total)
{
    while (total >> 16 != 0) {
        total = (total & 0xffff) + (total >> 16);
    }
    return (uint16_t)total;
}

static uint64_t sum_words(const uint8_t *data, uint32_t bytes)
{
    uint64_t total = 0;
    uint32_t word;

    for (; bytes >= sizeof(word); bytes -= (uint32_t)sizeof(word), data += sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        total += word;
    }
    word = 0;
    memcpy(&word, data, bytes);
    return total + word;
}

static void sum_add(struct sum *sum, const uint8_t *data, uint32_t bytes)
{
    uint16_t part = fold(sum_words(data, bytes));

    sum->total += sum->odd ? __builtin_bswap16(part) : part;
    sum->odd ^= bytes & 1;
}

/* Never 0, which in UDP says that there is none. */
static void sum_store(const struct sum *sum, uint8_t *at)
{
    uint16_t checksum = (uint16_t)~fold(sum->total);

    checksum = checksum == 0 ? 0xffff : checksum;
    memcpy(at, &checksum, sizeof(checksum));
}

/* ---- frames made of a head and a part of another one's payload ------------------------------ */

struct made {
    struct net_frame frame;
    struct net_piece piece[NET_PIECES_MAX + 1];
    uint8_t head[NET_HEAD_BYTES];
};

static void add_pieces(struct made *made, const struct net_frame *from, uint32_t at, uint32_t bytes)
{
    for (unsigned i = 0; bytes != 0; i++) {
        const struct net_piece *piece = &from->piece[i];
        uint32_t skipped = MIN(at, piece->bytes), part = MIN(piece->bytes - skipped, bytes);

        if (part != 0) {
            made->piece[made->frame.pieces++] = (struct net_piece){piece->data + skipped, part};
        }
        at -= skipped;
        bytes -= part;
    }
}

/* The first `headers` bytes of `from`, and behind them `bytes` from `at` on. */
static void make(struct made *made, const struct net_frame *from, uint32_t headers, uint32_t at,
                 uint32_t bytes)
{
    uint32_t beside = MIN(bytes, NET_HEAD_BYTES - headers);

    memcpy(made->head, from->piece[0].data, headers);
    net_frame_copy(from, at, made->head + headers, beside);
    made->piece[0] = (struct net_piece){made->head, headers + beside};
    made->frame = (struct net_frame){.bytes = headers + bytes, .pieces = 1, .piece = made->piece};
    add_pieces(made, from, at + beside, bytes - beside);
}

/* The sum of all from that offset on, which lies in the head. */
static struct sum sum_of(const struct made *made, uint32_t start)
{
    struct sum sum = {0};

    sum_add(&sum, made->head + start, made->piece[0].bytes - start);
    for (unsigned i = 1; i < made->frame.pieces; i++) {
        sum_add(&sum, made->piece[i].data, made->piece[i].bytes);
    }
    return sum;
}

/* ---- checksums only ------------------------------------------------------------------------- */

static bool complete(const struct net_frame *frame,
                     void (*emit)(void *context, const struct net_frame *frame), void *context)
{
    uint32_t field = (uint32_t)frame->offload.start + frame->offload.offset;
    uint32_t headers = MIN(frame->bytes, NET_HEAD_BYTES);
    struct made made;
    struct sum sum;

    if (field + 2 > headers) {
        return false;
    }
    make(&made, frame, headers, headers, frame->bytes - headers);
    sum = sum_of(&made, frame->offload.start);
    sum_store(&sum, made.head + field);
    emit(context, &made.frame);
    return true;
}

/* ---- TCP segments --------------------------------------------------------------------------- */

/* Where the headers are. */
struct layout {
    uint32_t ip, tcp, payload;
    bool six;
};

/* Is there an IP header of that kind, and behind it where the offload says the TCP header? */
static bool check_ip(const struct net_frame *frame, const struct layout *l)
{
    const uint8_t *ip = frame->piece[0].data + l->ip;

    if (l->six) {
        return l->ip + IP6_BYTES <= l->tcp && ip[0] >> 4 == 6;
    }
    return l->ip + IP4_BYTES <= l->tcp && ip[0] >> 4 == 4 && l->ip + (ip[0] & 0xfu) * 4 == l->tcp &&
           ip[IP4_PROTOCOL] == PROTOCOL_TCP;
}

static bool find_headers(const struct net_frame *frame, struct layout *l)
{
    const uint8_t *head = frame->piece[0].data;
    uint32_t head_bytes = MIN(frame->bytes, NET_HEAD_BYTES);

    l->six = frame->offload.segments == NET_SEGMENTS_TCP6;
    l->ip = NET_ETHERNET_BYTES + (get16(head + ETHERNET_TYPE) == ETHERNET_VLAN ? VLAN_BYTES : 0);
    l->tcp = frame->offload.start;
    if (frame->offload.offset != TCP_CHECKSUM || l->tcp + TCP_BYTES > head_bytes ||
        !check_ip(frame, l)) {
        return false;
    }
    l->payload = l->tcp + (head[l->tcp + TCP_DATA_OFFSET] >> 4) * 4u;
    return l->payload >= l->tcp + TCP_BYTES && l->payload <= head_bytes;
}

/* IP says how long it is; of IPv4 each has a number and a checksum of its own. */
static void set_ip(struct made *made, const struct layout *l, uint32_t number)
{
    uint8_t *ip = made->head + l->ip;
    struct sum sum = {0};

    if (l->six) {
        put16(ip + IP6_LENGTH, made->frame.bytes - l->ip - IP6_BYTES);
        return;
    }
    put16(ip + IP4_TOTAL, made->frame.bytes - l->ip);
    put16(ip + IP4_ID, get16(ip + IP4_ID) + number);
    put16(ip + IP4_CHECKSUM, 0);
    sum_add(&sum, ip, l->tcp - l->ip);
    sum_store(&sum, ip + IP4_CHECKSUM);
}

/* What all but the first one, or all but the last one, do not say. */
static void set_tcp(struct made *made, const struct layout *l, uint32_t at, bool last)
{
    uint8_t *tcp = made->head + l->tcp;
    uint32_t sequence = (uint32_t)get16(tcp + TCP_SEQUENCE) << 16 | get16(tcp + TCP_SEQUENCE + 2);

    sequence += at;
    put16(tcp + TCP_SEQUENCE, sequence >> 16);
    put16(tcp + TCP_SEQUENCE + 2, sequence);
    if (at != 0) {
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_FLAG_CWR;
    }
    if (!last) {
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PUSH);
    }
}

/* RFC 9293, 3.1 "Header Format": a pseudo header comes first.  Both kinds of IP add up to the same
 * words: addresses, protocol, length. */
static void set_checksum(struct made *made, const struct layout *l)
{
    const uint8_t *ip = made->head + l->ip;
    uint8_t rest[4] = {0, PROTOCOL_TCP, 0, 0};
    struct sum sum;

    put16(made->head + l->tcp + TCP_CHECKSUM, 0);
    put16(rest + 2, made->frame.bytes - l->tcp);
    sum = sum_of(made, l->tcp);
    sum.odd = false;
    sum_add(&sum, ip + (l->six ? IP6_SOURCE : IP4_SOURCE), l->six ? 32 : 8);
    sum_add(&sum, rest, sizeof(rest));
    sum_store(&sum, made->head + l->tcp + TCP_CHECKSUM);
}

static bool cut(const struct net_frame *frame,
                void (*emit)(void *context, const struct net_frame *frame), void *context)
{
    uint32_t most = frame->offload.segment_bytes, at = 0, number = 0, all;
    struct made made;
    struct layout l;

    if (most < NET_OFFLOAD_SEGMENT_MIN || !find_headers(frame, &l)) {
        return false;
    }
    all = frame->bytes - l.payload;
    do {
        uint32_t bytes = MIN(all - at, most);

        make(&made, frame, l.payload, l.payload + at, bytes);
        set_ip(&made, &l, number++);
        set_tcp(&made, &l, at, at + bytes == all);
        set_checksum(&made, &l);
        emit(context, &made.frame);
        at += bytes;
    } while (at < all);
    return true;
}

bool net_offload_do(const struct net_frame *frame,
                    void (*emit)(void *context, const struct net_frame *frame), void *context)
{
    return frame->offload.segments == NET_SEGMENTS_NONE ? complete(frame, emit, context)
                                                        : cut(frame, emit, context);
}
