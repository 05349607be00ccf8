/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/frame.h"

#include <string.h>

#include "base/bits.h"

bool net_frame_is_valid(const struct net_frame *frame)
{
    const struct net_offload *offload = &frame->offload;

    if (frame->bytes < NET_ETHERNET_BYTES || frame->bytes > NET_FRAME_MAX || frame->pieces == 0 ||
        frame->pieces > NET_PIECES_MAX ||
        frame->piece[0].bytes < MIN(frame->bytes, NET_HEAD_BYTES)) {
        return false;
    }
    if (offload->partial && ((uint32_t)offload->start + offload->offset + 2 > frame->bytes ||
                             offload->start < NET_ETHERNET_BYTES)) {
        return false;
    }
    return offload->segments == NET_SEGMENTS_NONE ||
           (offload->partial && offload->segment_bytes != 0 &&
            offload->segments <= NET_SEGMENTS_TCP6);
}

void net_frame_copy(const struct net_frame *frame, uint32_t from, void *to, uint32_t bytes)
{
    uint8_t *out = to;

    for (unsigned i = 0; bytes != 0; i++) {
        const struct net_piece *piece = &frame->piece[i];
        uint32_t skipped = MIN(from, piece->bytes), part = MIN(piece->bytes - skipped, bytes);

        memcpy(out, piece->data + skipped, part);
        from -= skipped;
        out += part;
        bytes -= part;
    }
}
