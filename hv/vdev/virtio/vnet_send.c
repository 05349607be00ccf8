/* SPDX-License-Identifier: BSD-2-Clause */
/* From a guest's transmit queues into the switch. */
#include "hv/guest/vm.h"
#include "hv/net/flow.h"
#include "hv/vdev/virtio/vnet_internal.h"
#include "mm/env.h"

/* Bytes of a chain where they are, each piece in one page that is pinned. */
struct gathered {
    struct net_piece piece[NET_PIECES_MAX];
    gfn_t page[NET_PIECES_MAX];
    unsigned count;
};

enum outcome {
    SENT,    /* or dropped, and counted */
    WAITING, /* the waiter is registered, nothing is pinned */
    BROKEN,
};

static void release(struct vnet *v, struct gathered *all)
{
    while (all->count > 0) {
        space_unpin(v->device.vm->run.space, all->page[--all->count], false);
    }
}

/* Pins the first of these bytes, as far as they are in one page. */
static enum mm_result pin(struct vnet *v, struct gathered *all, gpa_t address, uint32_t bytes,
                          struct mm_waiter *waiter)
{
    uint32_t offset = (uint32_t)(address.v & ~PAGE_MASK);
    gfn_t page = gpa_to_gfn(address);
    enum mm_result result;
    pfn_t frame;

    result = space_pin(v->device.vm->run.space, page, ACCESS_READ, &frame, waiter);
    if (result == MM_OK) {
        all->page[all->count] = page;
        all->piece[all->count++] = (struct net_piece){(const uint8_t *)mm_frame_ptr(frame) + offset,
                                                      MIN(bytes, (uint32_t)PAGE_SIZE - offset)};
    }
    return result;
}

/* All that the device may read of the chain.  *fits: it is not more than a frame has pieces. */
static enum mm_result gather(struct vnet *v, struct gathered *all, bool *fits,
                             struct mm_waiter *waiter)
{
    enum mm_result result = MM_OK;

    *fits = true;
    for (unsigned i = 0; i < v->chain.count && !v->chain.segment[i].device_writes; i++) {
        gpa_t at = v->chain.segment[i].address;
        uint64_t end = at.v + v->chain.segment[i].bytes;

        while (at.v != end) {
            if (all->count == NET_PIECES_MAX) {
                *fits = false;
                return MM_OK;
            }
            result = pin(v, all, at, (uint32_t)(end - at.v), waiter);
            if (result != MM_OK) {
                return result;
            }
            at.v += all->piece[all->count - 1].bytes;
        }
    }
    return result;
}

/* What the guest says is left to do; what it has not negotiated it does not say. */
static struct net_offload offload_of(const struct vnet *v, const struct virtio_net_header *header)
{
    uint64_t features = v->device.features;
    struct net_offload offload = {
        .partial = (features & VIRTIO_NET_F_CSUM) && (header->flags & VIRTIO_NET_HDR_NEEDS_CSUM),
        .start = header->checksum_start,
        .offset = header->checksum_offset,
        .segment_bytes = header->gso_size,
        .header_bytes = header->header_bytes,
    };

    if (header->gso_type == VIRTIO_NET_GSO_TCPV4 && (features & VIRTIO_NET_F_HOST_TSO4)) {
        offload.segments = NET_SEGMENTS_TCP4;
    } else if (header->gso_type == VIRTIO_NET_GSO_TCPV6 && (features & VIRTIO_NET_F_HOST_TSO6)) {
        offload.segments = NET_SEGMENTS_TCP6;
    } else if (header->gso_type != VIRTIO_NET_GSO_NONE) {
        offload.segments = UINT8_MAX; /* the frame is not valid */
    }
    return offload;
}

/* The frame behind the header: its head is copied, and the rest is where it was. */
static void make_frame(const struct gathered *all, uint32_t bytes, struct net_frame *frame,
                       struct net_piece piece[NET_PIECES_MAX + 1], uint8_t head[NET_HEAD_BYTES])
{
    uint32_t head_bytes = MIN(bytes, NET_HEAD_BYTES), skip = VNET_HEADER + head_bytes;
    const struct net_frame raw = {.piece = all->piece};

    net_frame_copy(&raw, VNET_HEADER, head, head_bytes);
    piece[0] = (struct net_piece){head, head_bytes};
    *frame = (struct net_frame){.bytes = bytes, .pieces = 1, .piece = piece};
    for (unsigned i = 0; i < all->count; i++) {
        uint32_t skipped = MIN(skip, all->piece[i].bytes);

        skip -= skipped;
        if (skipped != all->piece[i].bytes) {
            piece[frame->pieces++] =
                (struct net_piece){all->piece[i].data + skipped, all->piece[i].bytes - skipped};
        }
    }
}

static uint32_t send_frame(struct vnet *v, unsigned queue, const struct gathered *all,
                           uint32_t bytes)
{
    const struct net_frame raw = {.piece = all->piece};
    struct net_piece piece[NET_PIECES_MAX + 1];
    struct virtio_net_header header;
    uint8_t head[NET_HEAD_BYTES];
    struct net_frame frame;

    net_frame_copy(&raw, 0, &header, VNET_HEADER);
    make_frame(all, bytes, &frame, piece, head);
    frame.offload = offload_of(v, &header);
    if (v->pairs_used > 1 && bytes >= NET_ETHERNET_BYTES) {
        vnet_note_flow(v, net_flow(&frame), queue / 2);
    }
    return switch_send(&v->port, &frame);
}

/* The chain that has been taken.  *cost: bytes that were moved. */
static enum outcome send_chain(struct vnet *v, unsigned queue, uint32_t *cost,
                               struct mm_waiter *waiter)
{
    struct gathered all = {.count = 0};
    enum mm_result result = MM_OK;
    bool fits = false;

    if (v->chain.readable < VNET_HEADER) {
        virtio_break(&v->device, "a frame without a header");
        return BROKEN;
    }
    if (v->chain.readable <= VNET_HEADER + NET_FRAME_MAX) {
        result = gather(v, &all, &fits, waiter);
    }
    if (result == MM_OK && fits) {
        *cost = send_frame(v, queue, &all, v->chain.readable - VNET_HEADER);
    } else if (result == MM_OK) {
        port_count_drop(&v->port, PORT_SENT_DROPS);
    }
    release(v, &all);
    if (result == MM_OK || result == MM_WAIT) {
        return result == MM_OK ? SENT : WAITING;
    }
    virtio_break(&v->device, "a frame that is not in memory");
    return BROKEN;
}

/* Chains in turn.  BUS_PARK if the waiter is registered, or the budget is spent. */
static enum bus_result send_all(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    uint32_t budget = VNET_BUDGET;

    while (budget > 0) {
        enum virtq_result taken = virtio_take(&v->device, queue, &v->chain, waiter);
        uint32_t cost = 0;

        if (taken != VIRTQ_CHAIN) {
            return taken == VIRTQ_PARK ? BUS_PARK : BUS_DONE;
        }
        switch (send_chain(v, queue, &cost, waiter)) {
        case SENT:
            virtio_give(&v->device, queue, v->chain.head, 0);
            break;
        case WAITING:
            virtio_untake(&v->device, queue, v->chain.head);
            return BUS_PARK;
        case BROKEN:
            return BUS_DONE;
        }
        budget -= MIN(budget, VNET_FRAME_COST + cost);
    }
    return virtio_again(waiter);
}

enum bus_result vnet_send(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    enum bus_result result = send_all(v, queue, waiter);

    virtio_signal(&v->device, queue);
    return result;
}
