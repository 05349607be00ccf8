/* SPDX-License-Identifier: BSD-2-Clause */
/* From the switch into a guest's receive queues. */
#include <stdatomic.h>

#include "hv/arch.h"
#include "hv/guest/vm.h"
#include "hv/net/flow.h"
#include "hv/vdev/virtio/vnet_internal.h"

#define PAUSE_NS 50000u /* between two goes of the timer, when one is not enough */

enum outcome {
    RECEIVED,
    NO_BUFFER, /* the guest notifies when there is one */
    WAITING,   /* the device's waiter is registered */
    DROPPED,   /* it cannot be taken, or the device is broken */
};

/* What is written into the guest's buffers: the header, and then the frame's pieces. */
struct source {
    struct virtio_net_header header;
    const struct net_frame *frame;
    unsigned piece; /* 0: the header; n: the frame's piece n - 1 */
    uint32_t done;  /* bytes of that piece */
    uint32_t left;  /* bytes in all */
};

/* Buffers that one frame is in. */
struct buffers {
    struct virtq_used used[VNET_CHAINS_MAX];
    unsigned count;
    gpa_t count_at[2]; /* where the header says how many: its last two bytes */
};

static unsigned flow_slot(uint32_t flow)
{
    return flow % VNET_FLOWS;
}

void vnet_note_flow(struct vnet *v, uint32_t flow, unsigned pair)
{
    v->pair_of[flow_slot(flow)] = (uint8_t)pair;
}

unsigned vnet_queue_of(const struct vnet *v, uint32_t flow)
{
    return v->pair_of[flow_slot(flow)] % v->pairs_used * 2;
}

/* ---- one frame ------------------------------------------------------------------------------ */

static struct virtio_net_header header_of(const struct net_offload *offload)
{
    static const uint8_t gso[] = {VIRTIO_NET_GSO_NONE, VIRTIO_NET_GSO_TCPV4, VIRTIO_NET_GSO_TCPV6};
    struct virtio_net_header header = {.buffers = 1, .gso_type = gso[offload->segments]};

    if (offload->partial) {
        header.flags = VIRTIO_NET_HDR_NEEDS_CSUM;
        header.checksum_start = offload->start;
        header.checksum_offset = offload->offset;
    }
    if (offload->segments != NET_SEGMENTS_NONE) {
        header.gso_size = offload->segment_bytes;
        header.header_bytes = offload->header_bytes;
    }
    return header;
}

/* The next bytes, at most so many and at most a page: where they are. */
static const uint8_t *next_bytes(struct source *source, uint32_t most, uint32_t *bytes)
{
    for (;;) {
        const struct net_piece header = {(const uint8_t *)&source->header, VNET_HEADER};
        const struct net_piece *piece =
            source->piece == 0 ? &header : &source->frame->piece[source->piece - 1];
        const uint8_t *at = piece->data + source->done;

        if (source->done != piece->bytes) {
            *bytes = MIN(MIN(piece->bytes - source->done, most), (uint32_t)PAGE_SIZE);
            source->done += *bytes;
            source->left -= *bytes;
            return at;
        }
        source->piece++;
        source->done = 0;
    }
}

/* Notes where the last two bytes of the header go. */
static void note_count(struct buffers *to, uint32_t offset, gpa_t at, uint32_t bytes)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t field = VNET_HEADER - 2 + i;

        if (field >= offset && field < offset + bytes) {
            to->count_at[i] = gpa(at.v + field - offset);
        }
    }
}

/* Fills the chain's buffers as far as there is something. */
static enum mm_result fill(struct vnet *v, struct source *source, struct buffers *to,
                           uint32_t *written)
{
    uint32_t all = source->left;

    for (unsigned i = 0; i < v->chain.count && source->left != 0; i++) {
        const struct virtq_segment *segment = &v->chain.segment[i];
        uint32_t at = segment->device_writes ? 0 : segment->bytes;

        while (at < segment->bytes && source->left != 0) {
            uint32_t offset = VNET_HEADER + source->frame->bytes - source->left, bytes;
            gpa_t address = gpa(segment->address.v + at);
            const uint8_t *from = next_bytes(source, segment->bytes - at, &bytes);
            enum mm_result result =
                space_write(v->device.vm->run.space, address, from, bytes, &v->device.waiter);

            if (result != MM_OK) {
                return result;
            }
            note_count(to, offset, address, bytes);
            at += bytes;
        }
    }
    *written = all - source->left;
    return MM_OK;
}

static enum mm_result write_count(struct vnet *v, const struct buffers *to)
{
    const uint8_t bytes[2] = {(uint8_t)to->count, (uint8_t)(to->count >> 8)};
    enum mm_result result = MM_OK;

    for (unsigned i = 0; i < 2 && result == MM_OK; i++) {
        result =
            space_write(v->device.vm->run.space, to->count_at[i], &bytes[i], 1, &v->device.waiter);
    }
    return result;
}

static enum outcome outcome_of(struct vnet *v, enum mm_result result)
{
    if (result == MM_WAIT) {
        return WAITING;
    }
    virtio_break(&v->device, "a receive buffer that cannot be written");
    return DROPPED;
}

/* Takes the next buffer.  NO_BUFFER: there is none, unless there cannot be one more. */
static enum outcome take_buffer(struct vnet *v, unsigned queue, struct buffers *to)
{
    if (to->count == VNET_CHAINS_MAX) {
        return DROPPED;
    }
    switch (virtio_take(&v->device, queue, &v->chain, &v->device.waiter)) {
    case VIRTQ_CHAIN:
        to->used[to->count++].head = v->chain.head;
        return RECEIVED;
    case VIRTQ_PARK:
        return WAITING;
    case VIRTQ_EMPTY:
        /* Who has given all that the ring can hold will not give more. */
        return to->count != 0 && to->count == v->device.queue[queue].size ? DROPPED : NO_BUFFER;
    case VIRTQ_BROKEN:
        break;
    }
    return DROPPED;
}

/* Is there room for all of the frame, or may it go on in the next buffer? */
static enum outcome check_buffer(struct vnet *v, const struct source *source,
                                 const struct buffers *to)
{
    if (v->chain.writable == 0 || (to->count == 1 && v->chain.writable < VNET_HEADER)) {
        virtio_break(&v->device, "a receive buffer without room for a header");
        return DROPPED;
    }
    return v->chain.writable >= source->left || (v->device.features & VIRTIO_NET_F_MRG_RXBUF)
               ? RECEIVED
               : DROPPED;
}

/* Into one buffer after the other, until all of it is there. */
static enum outcome write_frame(struct vnet *v, unsigned queue, struct source *source,
                                struct buffers *to)
{
    enum mm_result result = MM_OK;

    while (source->left != 0 && result == MM_OK) {
        enum outcome outcome = take_buffer(v, queue, to);

        if (outcome == RECEIVED) {
            outcome = check_buffer(v, source, to);
        }
        if (outcome != RECEIVED) {
            return outcome;
        }
        result = fill(v, source, to, &to->used[to->count - 1].written);
    }
    if (result == MM_OK && to->count != 1) {
        result = write_count(v, to);
    }
    return result == MM_OK ? RECEIVED : outcome_of(v, result);
}

/* All of it or nothing: what it had begun to write the guest does not see. */
static enum outcome receive(struct vnet *v, const struct net_frame *frame)
{
    unsigned queue = v->pairs_used == 1 ? 0 : vnet_queue_of(v, net_flow(frame));
    struct source source = {
        .header = header_of(&frame->offload), .frame = frame, .left = VNET_HEADER + frame->bytes};
    struct buffers to = {.count = 0};
    enum outcome outcome = DROPPED;

    /* A reset since it was sent may have changed that. */
    if (port_takes(&v->port, &frame->offload)) {
        outcome = write_frame(v, queue, &source, &to);
    }
    if (outcome == RECEIVED) {
        virtio_give_all(&v->device, queue, to.used, to.count);
        virtio_signal(&v->device, queue);
        return RECEIVED;
    }
    while (to.count > 0) {
        virtio_untake(&v->device, queue, to.used[--to.count].head);
    }
    v->waits = outcome == WAITING;
    return outcome;
}

/* ---- from the queue ------------------------------------------------------------------------- */

static void set_timer(struct vnet *v, uint64_t ns)
{
    timer_set(&v->timer, arch_clock_ns() + ns);
}

void vnet_receive(struct vnet *v)
{
    const struct net_frame *frame;
    uint32_t budget = VNET_BUDGET;

    if (v->waits) {
        return;
    }
    atomic_store(&v->looked_after, false); /* and only then the queue: see wake() */
    while ((frame = port_peek(&v->port)) != NULL && budget > 0) {
        uint32_t cost = VNET_FRAME_COST + frame->bytes;
        enum outcome outcome = virtio_is_running(&v->device) ? receive(v, frame) : DROPPED;

        if (outcome == NO_BUFFER || outcome == WAITING) {
            atomic_store(&v->looked_after, true);
            return;
        }
        port_next(&v->port, outcome == RECEIVED);
        budget -= MIN(budget, cost);
    }
    if (frame != NULL) {
        atomic_store(&v->woken, true);
        set_timer(v, PAUSE_NS);
    }
}

static void fire(struct timer *timer)
{
    struct vnet *v = CONTAINER_OF(timer, struct vnet, timer);

    atomic_store(&v->woken, false);
    spin_lock(&v->device.lock);
    vnet_receive(v);
    spin_unlock(&v->device.lock);
}

void vnet_receive_init(struct vnet *v)
{
    timer_init(&v->timer, fire);
}

/* ---- from the sender, without the device's lock --------------------------------------------- */

/* Nobody but the queue's frames may come before it. */
static enum port_taken take_now(struct vnet *v, const struct net_frame *frame)
{
    if (!virtio_is_running(&v->device)) {
        return PORT_DROPPED;
    }
    if (v->waits || !port_is_empty(&v->port)) {
        return PORT_LATER;
    }
    switch (receive(v, frame)) {
    case RECEIVED:
        return PORT_TAKEN;
    case DROPPED:
        return PORT_DROPPED;
    case NO_BUFFER:
    case WAITING:
        break;
    }
    atomic_store(&v->looked_after, true);
    return PORT_LATER;
}

static enum port_taken take(struct port *port, const struct net_frame *frame)
{
    struct vnet *v = CONTAINER_OF(port, struct vnet, port);
    enum port_taken taken;

    /* Two guests that send to each other hold both locks: neither waits. */
    if (!spin_trylock(&v->device.lock)) {
        return PORT_LATER;
    }
    taken = take_now(v, frame);
    spin_unlock(&v->device.lock);
    return taken;
}

/* The frame is in the queue, and only then who looks there: whoever says that he does not any more
 * looks in the other order, so one of both sees it. */
static void wake(struct port *port)
{
    struct vnet *v = CONTAINER_OF(port, struct vnet, port);

    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&v->looked_after) && !atomic_exchange(&v->woken, true)) {
        set_timer(v, 0);
    }
}

const struct port_ops vnet_port_ops = {.take = take, .wake = wake};
