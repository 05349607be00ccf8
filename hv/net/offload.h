/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a network card would do: completes checksums (RFC 1071), and cuts long TCP segments.  What
 * comes out has its payload where it was, and headers of its own.  Pure.
 */
#ifndef SPILLWAY_HV_NET_OFFLOAD_H
#define SPILLWAY_HV_NET_OFFLOAD_H

#include "hv/net/frame.h"

/* Of a frame that is to be cut: no shorter ones are made, so that there are not too many. */
#define NET_OFFLOAD_SEGMENT_MIN 256u

/*
 * Calls emit() with one frame after the other, each valid during the call and with nothing left to
 * do.  False, and nothing has been emitted: its headers are not what its offload says, or do not
 * lie in its first NET_HEAD_BYTES, or its segments would be too short.  `frame` is valid.
 */
bool net_offload_do(const struct net_frame *frame,
                    void (*emit)(void *context, const struct net_frame *frame), void *context);

#endif
