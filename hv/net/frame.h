/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An Ethernet frame on its way from one port of a switch to others: where its bytes are, and what
 * its sender has left to do for whoever takes it.
 *
 *     piece[0]        piece[1]   ...   piece[pieces - 1]
 *     | head          |  memory of the sender            |
 *
 * The head is memory that nobody else writes: MAC addresses, IP and TCP headers are read there and
 * nowhere else, so that what has been checked stays so.  All other pieces may change at any time
 * if the sender is a guest.
 */
#ifndef SPILLWAY_HV_NET_FRAME_H
#define SPILLWAY_HV_NET_FRAME_H

#include "base/types.h"

#define NET_MAC_BYTES      6u
#define NET_ETHERNET_BYTES 14u    /* destination, source, type */
#define NET_HEAD_BYTES     144u   /* Ethernet with a VLAN tag, IP and TCP with all options */
#define NET_FRAME_MAX      65553u /* an IP packet of 65,535 bytes behind Ethernet and a VLAN tag */
#define NET_PIECES_MAX     64u

enum net_segments {
    NET_SEGMENTS_NONE,
    NET_SEGMENTS_TCP4,
    NET_SEGMENTS_TCP6,
};

/* What is left to do; offsets are from the frame's first byte. */
struct net_offload {
    bool partial; /* the checksum from `start` on is to be put at start + offset, where the sum of
                   * the pseudo header is now */
    uint8_t segments; /* enum net_segments: to be cut; with `partial` only */
    uint16_t start, offset;
    uint16_t segment_bytes; /* TCP bytes of each frame at most */
    uint16_t header_bytes;  /* a hint, as in virtio's header */
};

struct net_piece {
    const uint8_t *data;
    uint32_t bytes;
};

struct net_frame {
    struct net_offload offload;
    uint32_t bytes; /* of all pieces */
    unsigned pieces;
    const struct net_piece *piece; /* the first has MIN(bytes, NET_HEAD_BYTES) at least */
};

/* Is it one that may be sent: long enough, not too long, and with an offload that makes sense? */
bool net_frame_is_valid(const struct net_frame *frame);
/* Copies so many bytes from that offset on; they are there. */
void net_frame_copy(const struct net_frame *frame, uint32_t from, void *to, uint32_t bytes);

#endif
