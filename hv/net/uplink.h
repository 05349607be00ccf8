/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A NIC of the machine as a port of a switch: what comes from outside goes into the switch, and
 * what is for nobody that the switch knows goes out.
 *
 *     NIC's buffers --nic_poll()--> switch_send() --> other ports, in their place
 *     other ports   --switch_send()--> take() --> one of the NIC's buffers, or dropped
 *
 * The NIC takes no offload: checksums are completed and TCP is cut by the switch, before.  Nothing
 * is queued here, and each frame is copied once.  A flood from outside is bounded by the NIC
 * (drivers/nic.h), one from a guest by the NIC's buffers.
 *
 * Locks: none of its own.
 */
#ifndef SPILLWAY_HV_NET_UPLINK_H
#define SPILLWAY_HV_NET_UPLINK_H

#include "drivers/nic.h"
#include "hv/net/switch.h"

#define UPLINK_ADDRESSES 1024u /* outside, that a switch remembers */

struct uplink {
    struct port port;
    struct nic *nic;
    struct port_address learned[UPLINK_ADDRESSES];
};

/*
 * Boot CPU, before its main loop: attaches a NIC that nobody uses yet to the switch, for ever.
 * False: out of memory, or the switch has no room.
 */
bool uplink_create(struct net_switch *net, struct nic *nic);

#endif
