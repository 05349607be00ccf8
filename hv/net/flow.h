/* SPDX-License-Identifier: BSD-2-Clause */
/* Which frames belong together: both directions of one connection have the same number. */
#ifndef SPILLWAY_HV_NET_FLOW_H
#define SPILLWAY_HV_NET_FLOW_H

#include "hv/net/frame.h"

/* Of IP's addresses, and TCP's or UDP's ports; 0: it is not IP.  The frame is valid.  Pure. */
uint32_t net_flow(const struct net_frame *frame);

#endif
