/* SPDX-License-Identifier: BSD-2-Clause */
/* From a guest's transmit queues into the switch. */
#include <stdatomic.h>

#include "hv/arch.h"
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

/* The next chain.  Of the one behind it the guest notifies, or need not. */
static enum virtq_result take(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    uint32_t bit = (uint32_t)BIT(queue), others = atomic_load(&v->quiet_queues) & ~bit;
    struct virtq *q = &v->device.queue[queue];

    if (!virtio_is_running(&v->device)) {
        return VIRTQ_EMPTY; /* a quiet one stays so: it is looked at when the device runs again */
    }
    virtq_set_quiet(q, quiet_may(&v->quiet, 0));
    atomic_store(&v->quiet_queues, others | (q->quiet ? bit : 0));
    return virtio_take(&v->device, queue, &v->chain, waiter);
}

/* Chains in turn; SENT: there are no more, or *more. */
static enum outcome send_all(struct vnet *v, unsigned queue, struct mm_waiter *waiter,
                             unsigned *count, bool *more)
{
    uint32_t budget = VNET_BUDGET;

    for (*count = 0; budget > 0; ++*count) {
        enum virtq_result taken = take(v, queue, waiter);
        enum outcome outcome;
        uint32_t cost = 0;

        if (taken != VIRTQ_CHAIN) {
            *more = false;
            return taken == VIRTQ_PARK ? WAITING : SENT;
        }
        quiet_ended(&v->quiet, arch_clock_ns()); /* who sends one sends more */
        outcome = send_chain(v, queue, &cost, waiter);
        if (outcome == WAITING) {
            virtio_untake(&v->device, queue, v->chain.head);
        }
        if (outcome != SENT) {
            return outcome;
        }
        virtio_give(&v->device, queue, v->chain.head, 0);
        budget -= MIN(budget, VNET_FRAME_COST + cost);
    }
    *more = true;
    return SENT;
}

/* Those that are in use. */
static bool any_quiet(const struct vnet *v)
{
    return (atomic_load(&v->quiet_queues) & (BIT(v->pairs_used * 2) - 1)) != 0;
}

/* Sees to it that somebody looks into quiet queues. */
static void set_timer(struct vnet *v)
{
    if ((any_quiet(v) || v->signal_due) && !v->look_set && virtio_is_running(&v->device)) {
        v->look_set = true;
        timer_set(&v->look_timer, arch_clock_ns() + quiet_wait_ns(&v->quiet));
    }
}

static void stop_timer(struct vnet *v)
{
    if (v->look_set) {
        timer_cancel(&v->look_timer);
        v->look_set = false;
    }
}

enum bus_result vnet_send(struct vnet *v, unsigned queue, struct mm_waiter *waiter)
{
    uint64_t begin = arch_clock_ns();
    enum outcome outcome;
    unsigned count;
    bool more;

    outcome = send_all(v, queue, waiter, &count, &more);
    virtio_signal(&v->device, queue);
    quiet_note_cost(&v->quiet, arch_clock_ns() - begin);
    set_timer(v);
    if (outcome == SENT && more) {
        return virtio_again(waiter);
    }
    return outcome == WAITING ? BUS_PARK : BUS_DONE;
}

/* ---- what the guest has not notified of ------------------------------------------------------ */

/* Returns how many there were.  While the device waits nobody looks: resume() does.  One that has
 * not been found empty has not asked for a notification, so it stays quiet. */
static unsigned look(struct vnet *v, unsigned queue)
{
    bool more = false;
    unsigned count;

    if (!(atomic_load(&v->quiet_queues) & BIT(queue)) || v->waits) {
        return 0;
    }
    v->waits = send_all(v, queue, &v->device.waiter, &count, &more) == WAITING;
    if (v->waits || more) {
        atomic_fetch_or(&v->quiet_queues, (uint32_t)BIT(queue));
    }
    if (v->waits) {
        atomic_store(&v->looked_after, true); /* resume() looks into the port's queue, too */
    }
    return count;
}

static unsigned look_at_all(struct vnet *v)
{
    unsigned count = 0;

    for (unsigned queue = 1; queue < v->pairs_used * 2; queue += 2) {
        count += look(v, queue);
    }
    return count;
}

static void signal_all(struct vnet *v)
{
    v->signal_due = false;
    for (unsigned queue = 1; queue < v->pairs_used * 2; queue += 2) {
        virtio_signal(&v->device, queue);
    }
}

unsigned vnet_look(struct vnet *v)
{
    unsigned count = look_at_all(v);

    signal_all(v);
    set_timer(v);
    return count;
}

static void fire(struct timer *timer)
{
    struct vnet *v = CONTAINER_OF(timer, struct vnet, look_timer);

    spin_lock(&v->device.lock);
    v->look_set = false;
    if (atomic_load(&v->asleep)) {
        signal_all(v);
    } else {
        quiet_timer_begins(&v->quiet, arch_clock_ns());
        quiet_timer_ends(&v->quiet, true, vnet_look(v));
    }
    spin_unlock(&v->device.lock);
}

/*
 * A VM of one vCPU that sleeps adds nothing: the timer rests until it runs again.  And it need not
 * be woken only to hear that its frames have gone, when an answer or something else is likely to
 * wake it: it hears that with the answer, or when the timer fires.
 */
static void look_at_sleeper(struct vnet *v)
{
    unsigned count;

    if (v->signal_due) {
        signal_all(v); /* mostly it has seen that by itself */
    }
    count = look_at_all(v);
    quiet_found(&v->quiet, count, true);
    atomic_store(&v->asleep, true);
    v->signal_due = count != 0;
    stop_timer(v);
    if (v->signal_due) {
        set_timer(v);
    }
}

void vnet_leaves(struct virtio_device *device, bool sleeps)
{
    struct vnet *v = CONTAINER_OF(device, struct vnet, device);

    if (atomic_load_explicit(&v->quiet_queues, memory_order_relaxed) == 0) {
        return;
    }
    spin_lock(&device->lock);
    if (sleeps && device->vm->run.vcpu_count == 1) {
        look_at_sleeper(v);
    } else {
        quiet_found(&v->quiet, vnet_look(v), sleeps);
    }
    spin_unlock(&device->lock);
}

void vnet_begins(struct virtio_device *device)
{
    struct vnet *v = CONTAINER_OF(device, struct vnet, device);

    if (!atomic_load_explicit(&v->asleep, memory_order_relaxed)) {
        return;
    }
    spin_lock(&device->lock);
    atomic_store(&v->asleep, false);
    quiet_wakes(&v->quiet, arch_clock_ns());
    stop_timer(v);
    set_timer(v);
    spin_unlock(&device->lock);
}

void vnet_look_init(struct vnet *v)
{
    timer_init(&v->look_timer, fire);
}
