/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio network devices.  VIRTIO 1.1, 5.1 "Network Device".
 *
 * No offload is asked for: each frame is complete, in one buffer.  The head of a chain, which is
 * one descriptor, is the number of its buffer.
 */
#include <string.h>

#include "arch/x86/hw/virtio_net.h"
#include "base/log.h"
#include "drivers/nic.h"
#include "drivers/platform.h"
#include "drivers/virtio_pci.h"

#define DEVICE_TRANSITIONAL 0x1000
#define DEVICE_MODERN       (VIRTIO_DEVICE_BASE + VIRTIO_TYPE_NET)

#define WANTED (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS)

#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_header))
_Static_assert(HEADER_BYTES + NIC_FRAME_MAX <= NIC_BUFFER_BYTES, "a frame fits its buffer");
_Static_assert(NIC_BUFFERS <= VIRTIO_RING_MAX, "buffers of a ring");

enum {
    QUEUE_RECEIVE = 0,
    QUEUE_TRANSMIT = 1,
    QUEUES,
};

struct queue {
    struct virtio_ring ring;
    hpa_t parts[3]; /* descriptors, avail, used */
    volatile uint16_t *notify;
    uint8_t *buffer; /* as many as the ring has descriptors */
    hpa_t buffer_address;
};

struct virtio_net {
    struct nic nic;
    struct virtio_pci pci;
    struct queue queue[QUEUES];
    uint64_t features;
    _Atomic uint64_t interrupts; /* noted by the handler */
    int vector;                  /* negative: polled */
};

/*
 * Memory of a device, in one piece:
 *
 *     struct virtio_net | { descriptors | available ring, used ring | buffers } of each queue
 */
#define DESCRIPTORS_OFFSET 0ull
#define AVAIL_OFFSET       PAGE_SIZE
#define USED_OFFSET        (PAGE_SIZE + 1024)
#define BUFFERS_OFFSET     (2 * PAGE_SIZE)
#define QUEUE_BYTES        (BUFFERS_OFFSET + NIC_BUFFERS * NIC_BUFFER_BYTES)
#define DEVICE_BYTES       (PAGE_SIZE + QUEUES * QUEUE_BYTES)
_Static_assert(sizeof(struct virtio_net) <= PAGE_SIZE, "a device fits its page");
_Static_assert(AVAIL_OFFSET + sizeof(struct virtio_avail) <= USED_OFFSET, "available ring");
_Static_assert(USED_OFFSET + sizeof(struct virtio_used) <= BUFFERS_OFFSET, "used ring");

static struct virtio_net *virtio_net_of(const struct nic *nic)
{
    return (struct virtio_net *)(uintptr_t)nic; /* its first member */
}

static uint8_t *buffer_at(const struct queue *q, uint16_t number)
{
    return q->buffer + number * NIC_BUFFER_BYTES;
}

/* Offers the buffer whose number is that of the next free descriptor; there is one. */
static void offer(struct queue *q, uint32_t bytes, bool device_writes)
{
    uint16_t number = q->ring.free_head;
    struct virtio_segment segment = {hpa(q->buffer_address.v + number * NIC_BUFFER_BYTES), bytes,
                                     device_writes};

    virtio_ring_add(&q->ring, &segment, 1, number);
}

static void publish(struct virtio_net *v, unsigned index)
{
    if (virtio_ring_publish(&v->queue[index].ring)) {
        *v->queue[index].notify = (uint16_t)index;
    }
}

/* ---- frames ---- */

static bool virtio_net_send(struct nic *nic, const struct nic_piece *pieces, unsigned count)
{
    struct virtio_net *v = virtio_net_of(nic);
    struct queue *q = &v->queue[QUEUE_TRANSMIT];
    uint8_t *buffer;

    if (q->ring.free_count == 0) {
        return false;
    }
    buffer = buffer_at(q, q->ring.free_head);
    memset(buffer, 0, HEADER_BYTES);
    offer(q, HEADER_BYTES + nic_gather(buffer + HEADER_BYTES, pieces, count), false);
    publish(v, QUEUE_TRANSMIT);
    return true;
}

static int virtio_net_reap(struct nic *nic)
{
    struct queue *q = &virtio_net_of(nic)->queue[QUEUE_TRANSMIT];
    int back = 0, token;

    while ((token = virtio_ring_pop(&q->ring)) != -1) {
        if (token < 0) {
            return token;
        }
        back++;
    }
    return back;
}

static bool virtio_net_pending(const struct nic *nic)
{
    return virtio_ring_pending(&virtio_net_of(nic)->queue[QUEUE_RECEIVE].ring);
}

static bool virtio_net_receive(struct nic *nic, unsigned most)
{
    struct virtio_net *v = virtio_net_of(nic);
    struct queue *q = &v->queue[QUEUE_RECEIVE];
    uint32_t bytes;
    int token = -1;

    for (unsigned i = 0; i < most && (token = virtio_ring_pop_bytes(&q->ring, &bytes)) >= 0; i++) {
        /* Less than a header makes more than any frame. */
        nic_received(nic, buffer_at(q, (uint16_t)token) + HEADER_BYTES, bytes - HEADER_BYTES);
        offer(q, NIC_BUFFER_BYTES, true); /* the same: it is the head of the free list */
    }
    publish(v, QUEUE_RECEIVE);
    return token != -2;
}

static void virtio_net_interrupts(struct nic *nic, bool on)
{
    virtio_ring_interrupts(&virtio_net_of(nic)->queue[QUEUE_RECEIVE].ring, on);
}

/* 5.1.4: without STATUS the link is up. */
static bool virtio_net_link(struct nic *nic)
{
    const struct virtio_net *v = virtio_net_of(nic);

    return !(v->features & VIRTIO_NET_F_STATUS) ||
           (*(volatile uint16_t *)(v->pci.config + VIRTIO_NET_CONFIG_STATUS) &
            VIRTIO_NET_S_LINK_UP) != 0;
}

/* ---- start ---- */

/* Note it: the main loop looks at the used index soon after. */
static void virtio_net_interrupt(void *owner)
{
    struct virtio_net *v = owner;

    atomic_fetch_add_explicit(&v->interrupts, 1, memory_order_relaxed);
}

static void virtio_net_reset_begin(struct nic *nic)
{
    virtio_pci_reset_begin(&virtio_net_of(nic)->pci);
}

static bool virtio_net_reset_done(struct nic *nic)
{
    return virtio_pci_reset_done(&virtio_net_of(nic)->pci);
}

/* Queue `index` with an empty ring.  False: the device cannot have it. */
static bool start_queue(struct virtio_net *v, unsigned index)
{
    struct queue *q = &v->queue[index];
    bool interrupts = index == QUEUE_RECEIVE && v->vector >= 0, has_vector;
    uint16_t size = MIN(virtio_pci_queue_size(&v->pci, index), (uint16_t)NIC_BUFFERS);

    /* 2.6 "Split Virtqueues": a power of two. */
    if (size == 0 || (size & (size - 1)) != 0) {
        return false;
    }
    q->ring.size = size;
    virtio_ring_reset(&q->ring, interrupts);
    q->notify = virtio_pci_queue_enable(&v->pci, index, size, q->parts,
                                        interrupts ? 0 : (uint16_t)VIRTIO_NO_VECTOR, &has_vector);
    if (interrupts && !has_vector) {
        v->nic.polled = true;
    }
    return q->notify != NULL;
}

static bool virtio_net_start(struct nic *nic)
{
    struct virtio_net *v = virtio_net_of(nic);

    if (!virtio_pci_negotiate(&v->pci, WANTED, &v->features) || !(v->features & VIRTIO_NET_F_MAC) ||
        v->pci.config_bytes < VIRTIO_NET_CONFIG_STATUS + 2 || !start_queue(v, QUEUE_RECEIVE) ||
        !start_queue(v, QUEUE_TRANSMIT)) {
        return false;
    }
    while (v->queue[QUEUE_RECEIVE].ring.free_count != 0) {
        offer(&v->queue[QUEUE_RECEIVE], NIC_BUFFER_BYTES, true);
    }
    virtio_pci_run(&v->pci);
    publish(v, QUEUE_RECEIVE);
    return true;
}

static const struct nic_ops virtio_net_ops = {
    .send = virtio_net_send,
    .reap = virtio_net_reap,
    .pending = virtio_net_pending,
    .receive = virtio_net_receive,
    .interrupts = virtio_net_interrupts,
    .link = virtio_net_link,
    .reset_begin = virtio_net_reset_begin,
    .reset_done = virtio_net_reset_done,
    .start = virtio_net_start,
};

/* ---- probe ---- */

static void give_memory(struct virtio_net *v, uint8_t *base, hpa_t memory)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        struct queue *q = &v->queue[i];
        uint64_t at = PAGE_SIZE + i * QUEUE_BYTES;

        q->ring.descriptors = (struct virtio_descriptor *)(void *)(base + at + DESCRIPTORS_OFFSET);
        q->ring.avail = (struct virtio_avail *)(void *)(base + at + AVAIL_OFFSET);
        q->ring.used = (struct virtio_used *)(void *)(base + at + USED_OFFSET);
        q->buffer = base + at + BUFFERS_OFFSET;
        q->parts[0] = hpa(memory.v + at + DESCRIPTORS_OFFSET);
        q->parts[1] = hpa(memory.v + at + AVAIL_OFFSET);
        q->parts[2] = hpa(memory.v + at + USED_OFFSET);
        q->buffer_address = hpa(memory.v + at + BUFFERS_OFFSET);
    }
}

static void route_interrupt(struct virtio_net *v, struct pci_device *pci)
{
    v->vector = pci_msix_enable(pci) ? platform_irq_alloc(0, virtio_net_interrupt, v) : -1;
    if (v->vector >= 0 && !pci_msix_route(pci, 0, v->vector)) {
        v->vector = -1;
    }
    v->nic.polled = v->vector < 0;
}

/* NULL, or what is missing. */
static const char *device_start(struct virtio_net *v, struct pci_device *pci)
{
    pci_enable(pci);
    if (!virtio_pci_map(&v->pci, pci)) {
        return "it is no modern device";
    }
    if (!nic_reset_and_wait(&v->nic)) {
        return "it does not reset";
    }
    route_interrupt(v, pci);
    if (!virtio_net_start(&v->nic)) {
        return "it does not start, has no MAC, or no queues";
    }
    for (unsigned i = 0; i < NIC_MAC_BYTES; i++) {
        v->nic.mac[i] = v->pci.config[VIRTIO_NET_CONFIG_MAC + i];
    }
    return NULL;
}

struct nic *virtio_net_probe(struct pci_device *pci)
{
    uint8_t *base;
    struct virtio_net *v;
    const char *missing;
    hpa_t memory;

    if (pci->vendor != VIRTIO_VENDOR ||
        (pci->device != DEVICE_TRANSITIONAL && pci->device != DEVICE_MODERN)) {
        return NULL;
    }
    base = platform_dma_alloc(DEVICE_BYTES, &memory);
    if (!base) {
        return nic_leave_out(pci, "no memory for its buffers");
    }
    v = (struct virtio_net *)(void *)base;
    v->nic.ops = &virtio_net_ops;
    v->nic.pci = pci;
    v->nic.model = "virtio-net";
    give_memory(v, base, memory);
    missing = device_start(v, pci);
    if (missing) {
        /* Its memory stays: a frame, or an interrupt, may be under way. */
        pci_master_disable(pci);
        return nic_leave_out(pci, missing);
    }
    return &v->nic;
}
