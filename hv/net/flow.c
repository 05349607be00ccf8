/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/flow.h"

#include <string.h>

#include "base/bits.h"

#define TYPE_AT   12u
#define TYPE_IP4  0x0008u /* as a little-endian machine reads them */
#define TYPE_IP6  0xdd86u
#define TYPE_VLAN 0x0081u
#define TCP       6
#define UDP       17
#define FRAGMENT  0xff3fu /* of an IPv4 packet: its offset, or more follow */

static uint32_t word(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static uint16_t half(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t mix(uint32_t flow)
{
    return (flow | 1u << 31) * 0x9e3779b1u >> 8 | 1;
}

/* Ports, if both lie in the head. */
static uint32_t ports(const uint8_t *at, uint8_t protocol, const uint8_t *end)
{
    if ((protocol != TCP && protocol != UDP) || at + 4 > end) {
        return 0;
    }
    return (uint32_t)(half(at) ^ half(at + 2)) << 7;
}

static uint32_t flow4(const uint8_t *ip, const uint8_t *end)
{
    uint32_t flow = word(ip + 12) ^ word(ip + 16);

    if ((half(ip + 6) & FRAGMENT) == 0) {
        flow ^= ports(ip + (ip[0] & 0xfu) * 4, ip[9], end);
    }
    return mix(flow);
}

static uint32_t flow6(const uint8_t *ip, const uint8_t *end)
{
    uint32_t flow = ports(ip + 40, ip[6], end);

    for (unsigned i = 8; i < 40; i += 4) {
        flow ^= word(ip + i);
    }
    return mix(flow);
}

uint32_t net_flow(const struct net_frame *frame)
{
    const uint8_t *head = frame->piece[0].data;
    const uint8_t *end = head + MIN(frame->bytes, NET_HEAD_BYTES);
    unsigned at = half(head + TYPE_AT) == TYPE_VLAN && frame->bytes >= 18 ? 16 : TYPE_AT;
    uint16_t type = half(head + at);
    const uint8_t *ip = head + at + 2;

    if (type == TYPE_IP4 && ip + 20 <= end) {
        return flow4(ip, end);
    }
    return type == TYPE_IP6 && ip + 40 <= end ? flow6(ip, end) : 0;
}
