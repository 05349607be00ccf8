/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/net/uplink.h"

#include <stdlib.h>

#include "base/bits.h"

/* To the outside.  Neither waits nor queues. */
static enum port_taken take(struct port *port, const struct net_frame *frame)
{
    struct uplink *uplink = CONTAINER_OF(port, struct uplink, port);
    struct nic_piece piece[NET_PIECES_MAX + 1]; /* one more by cutting */

    for (unsigned i = 0; i < frame->pieces; i++) {
        piece[i] = (struct nic_piece){frame->piece[i].data, frame->piece[i].bytes};
    }
    return nic_send(uplink->nic, piece, frame->pieces) ? PORT_TAKEN : PORT_DROPPED;
}

static const struct port_ops uplink_ops = {.take = take};

/* From outside; as nic_receiver says. */
static void received(void *owner, const void *data, uint32_t bytes)
{
    struct uplink *uplink = owner;
    const struct net_piece piece = {data, bytes};
    const struct net_frame frame = {.bytes = bytes, .pieces = 1, .piece = &piece};

    switch_send(&uplink->port, &frame);
}

bool uplink_create(struct net_switch *net, struct nic *nic)
{
    struct uplink *uplink = calloc(1, sizeof(*uplink));

    if (uplink == NULL || !port_init(&uplink->port, &uplink_ops, 0)) {
        free(uplink);
        return false;
    }
    uplink->nic = nic;
    uplink->port.learned = uplink->learned;
    uplink->port.learned_count = UPLINK_ADDRESSES;
    uplink->port.flags = PORT_WANTS_BROADCAST | PORT_WANTS_MULTICAST | PORT_WANTS_UNKNOWN;
    if (!switch_attach(net, &uplink->port)) {
        port_destroy(&uplink->port);
        free(uplink);
        return false;
    }
    nic_attach(nic, received, uplink);
    return true;
}
