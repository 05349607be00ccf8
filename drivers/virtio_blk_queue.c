/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk requests: submit, completion, time-outs, device reset.
 *
 * virtio has no way to abort one request: a time-out resets the device, and all that
 * was in flight is issued again, BLOCK_RETRIES times.
 *
 *   RUNNING --device_reset--> RESETTING --status reads 0, started again--> RUNNING
 *                                 '------- late, or it does not start ----> DEAD
 *
 * Nobody waits for the device: block_poll() of whichever CPU comes by looks once at the status. Why
 * each wait ends: a look after RESET_TIMEOUT_NS gives the device up.  Looks are taken as long as a
 * request is outstanding, and the one that was overdue is until queue_resume(), which issues again
 * or fails whatever was in flight or waits.
 */
#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"
#include "drivers/virtio_blk.h"

enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
};

#define BLK_S_OK      0
#define BLK_S_IOERR   1
#define BLK_S_UNSUPP  2
#define BLK_S_PENDING 0xff /* ours: the device has not written it */

#define SECTORS_PER_BLOCK 8

/* A device that answers others is slow, not dead: it gets this many times longer. */
#define PATIENCE 6

/* The specification sets no limit to a reset. */
#define RESET_TIMEOUT_NS 10000000000ull

/*
 * Memory of a queue, in one piece; what the device reads and writes of each slot is behind:
 *
 *     struct virtio_blk_queue | descriptors | available ring, used ring | struct virtio_blk_dma ...
 */
#define DESCRIPTORS_OFFSET PAGE_SIZE
#define AVAIL_OFFSET       (2 * PAGE_SIZE)
#define USED_OFFSET        (2 * PAGE_SIZE + 1024)
#define DMA_OFFSET         (3 * PAGE_SIZE)
_Static_assert(sizeof(struct virtio_blk_queue) <= PAGE_SIZE, "a queue fits its page");
_Static_assert(VIRTIO_RING_MAX * sizeof(struct virtio_descriptor) <= PAGE_SIZE, "descriptors");
_Static_assert(AVAIL_OFFSET + sizeof(struct virtio_avail) <= USED_OFFSET, "available ring");
_Static_assert(USED_OFFSET + sizeof(struct virtio_used) <= DMA_OFFSET, "used ring");

struct virtio_blk_queue *virtio_blk_queue_new(struct virtio_blk *b, unsigned index, uint16_t size,
                                              unsigned slots)
{
    hpa_t memory;
    uint8_t *base = platform_dma_alloc(DMA_OFFSET + slots * sizeof(struct virtio_blk_dma), &memory);
    struct virtio_blk_queue *q = (struct virtio_blk_queue *)(void *)base;

    if (!q) {
        return NULL;
    }
    block_queue_init(&q->requests);
    q->owner = b;
    q->index = (uint16_t)index;
    q->vector = -1;
    block_slots_init(&q->slots, slots);
    q->ring.size = size;
    q->ring.descriptors = (struct virtio_descriptor *)(void *)(base + DESCRIPTORS_OFFSET);
    q->ring.avail = (struct virtio_avail *)(void *)(base + AVAIL_OFFSET);
    q->ring.used = (struct virtio_used *)(void *)(base + USED_OFFSET);
    q->dma = (struct virtio_blk_dma *)(void *)(base + DMA_OFFSET);
    q->parts[0] = hpa(memory.v + DESCRIPTORS_OFFSET);
    q->parts[1] = hpa(memory.v + AVAIL_OFFSET);
    q->parts[2] = hpa(memory.v + USED_OFFSET);
    q->dma_address = hpa(memory.v + DMA_OFFSET);
    return q;
}

static enum virtio_blk_state state_of(const struct virtio_blk *b)
{
    return (enum virtio_blk_state)atomic_load_explicit(&b->state, memory_order_relaxed);
}

static void enter(struct virtio_blk *b, enum virtio_blk_state state)
{
    atomic_store_explicit(&b->state, state, memory_order_relaxed);
}

unsigned virtio_blk_segments(struct virtio_segment *out, hpa_t dma, const pfn_t *page,
                             uint32_t count, bool read, uint32_t max_segment)
{
    unsigned n = 0;

    out[n++] = (struct virtio_segment){dma, sizeof(struct virtio_blk_header), false};
    for (uint32_t i = 0; i < count; i++) {
        struct virtio_segment *last = &out[n - 1];

        if (i != 0 && page[i].v == page[i - 1].v + 1 && last->bytes + PAGE_SIZE <= max_segment) {
            last->bytes += (uint32_t)PAGE_SIZE;
        } else {
            out[n++] = (struct virtio_segment){pfn_to_hpa(page[i]), (uint32_t)PAGE_SIZE, read};
        }
    }
    out[n++] =
        (struct virtio_segment){hpa(dma.v + offsetof(struct virtio_blk_dma, status)), 1, true};
    return n;
}

static uint32_t slice_type(const struct block_slice *slice)
{
    switch (slice->request->op) {
    case BLOCK_READ:
        return BLK_T_IN;
    case BLOCK_WRITE:
        return BLK_T_OUT;
    default:
        return BLK_T_FLUSH;
    }
}

/* Adds the request of a slot to the ring; publishing it is the caller's. */
static void slot_issue(struct virtio_blk_queue *q, unsigned index)
{
    struct virtio_segment segments[VIRTIO_BLK_SEGMENTS];
    struct block_slot *slot = &q->slots.slot[index];
    struct virtio_blk_dma *dma = &q->dma[index];
    hpa_t address = hpa(q->dma_address.v + index * sizeof(*dma));
    const struct block_slice *slice = &slot->slice;
    uint32_t type = slice_type(slice);

    dma->header.type = type;
    dma->header.reserved4 = 0;
    dma->header.sector = type == BLK_T_FLUSH ? 0 : block_slice_start(slice) * SECTORS_PER_BLOCK;
    dma->status = BLK_S_PENDING;
    slot->deadline = platform_clock_ns() + BLOCK_COMMAND_TIMEOUT_NS;
    unsigned count = virtio_blk_segments(segments, address, slice->request->page + slice->first,
                                         slice->count, type == BLK_T_IN, q->owner->max_segment);
    if (q->owner->features & VIRTIO_F_INDIRECT) {
        virtio_ring_add_indirect(&q->ring, segments, count, dma->table,
                                 hpa(address.v + offsetof(struct virtio_blk_dma, table)),
                                 (uint16_t)index);
    } else {
        virtio_ring_add(&q->ring, segments, count, (uint16_t)index);
    }
}

static void queue_notify(struct virtio_blk_queue *q)
{
    if (virtio_ring_publish(&q->ring)) {
        *q->notify = q->index;
    }
}

/* Room for the largest request in the ring? */
static bool ring_has_room(const struct virtio_blk_queue *q)
{
    unsigned need = q->owner->features & VIRTIO_F_INDIRECT ? 1 : q->owner->max_pages + 2;

    return q->ring.free_count >= need;
}

/* Gives the device as many waiting slices as it has room for.  Lock held. */
static void queue_start(struct virtio_blk_queue *q)
{
    uint16_t before = q->ring.avail_index;
    struct block_slice slice;

    if (state_of(q->owner) == VIRTIO_BLK_DEAD) {
        block_queue_fail_waiting(&q->requests, BLOCK_TIMEOUT);
        return;
    }
    while (!q->stopped && q->slots.free != 0 && ring_has_room(q) &&
           block_queue_take(&q->requests, q->owner->max_pages, &slice)) {
        if (slice.count == 0 && !(q->owner->features & VIRTIO_BLK_F_FLUSH)) {
            /* 5.2.6.2: without FLUSH a completed write is in stable storage already. */
            block_queue_end(&q->requests, &slice, BLOCK_OK);
            continue;
        }
        slot_issue(q, block_slots_take(&q->slots, &slice));
    }
    if (q->ring.avail_index != before) {
        queue_notify(q);
    }
}

static void slot_end(struct virtio_blk_queue *q, unsigned index, enum block_status status)
{
    block_slots_end(&q->slots, index, &q->requests, status);
}

/* True: it was issued again. */
static bool slot_failed(struct virtio_blk_queue *q, unsigned index, uint8_t status)
{
    static const char *const names[] = {"completed", "I/O error", "not supported"};
    static const char *const verbs[] = {"read", "write", "?", "?", "flush"};
    const struct block_slice *slice = &q->slots.slot[index].slice;

    if (status != BLK_S_UNSUPP && block_slots_retry(&q->slots, index)) {
        slot_issue(q, index);
        return true;
    }
    if (block_report_error(&q->owner->device)) {
        log_error("%s: %s of %u blocks at %llu: %s (%02x)", q->owner->device.name,
                  verbs[slice_type(slice)], slice->count,
                  (unsigned long long)block_slice_start(slice),
                  status <= BLK_S_UNSUPP ? names[status] : "no status", status);
    }
    slot_end(q, index, BLOCK_ERROR);
    return false;
}

/* Takes all used chains.  Lock held. */
static void queue_reap(struct virtio_blk_queue *q, uint64_t now)
{
    bool again = false;
    int token;

    while ((token = virtio_ring_pop(&q->ring)) != -1) {
        q->last_answer = now;
        if (token < 0 || !(q->slots.used & BIT(token))) {
            log_error("%s: completion of a request that is not in flight", q->owner->device.name);
            continue;
        }
        uint8_t status = q->dma[token].status;
        if (status == BLK_S_OK) {
            slot_end(q, (unsigned)token, BLOCK_OK);
        } else {
            again |= slot_failed(q, (unsigned)token, status);
        }
    }
    if (again) {
        queue_notify(q);
    }
}

/* True: a request is overdue.  Lock held. */
static bool queue_overdue(struct virtio_blk_queue *q, uint64_t now)
{
    bool silent = now >= q->last_answer + BLOCK_COMMAND_TIMEOUT_NS;
    uint64_t grace = silent ? 0 : (PATIENCE - 1) * BLOCK_COMMAND_TIMEOUT_NS;

    return block_slots_overdue(&q->slots, now, grace) >= 0;
}

/*
 * The reset has ended: what was in flight is issued again, or fails when that was done often enough
 * or the device was given up; what waits is issued, or fails.  So every request ends.
 */
static void queue_resume(struct virtio_blk_queue *q)
{
    bool alive = state_of(q->owner) == VIRTIO_BLK_RUNNING;

    spin_lock(&q->requests.lock);
    q->stopped = false;
    for (uint64_t left = q->slots.used; left != 0; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctzll(left);

        if (alive && block_slots_retry(&q->slots, index)) {
            slot_issue(q, index);
        } else {
            slot_end(q, index, BLOCK_TIMEOUT);
        }
    }
    if (alive && q->slots.used != 0) {
        queue_notify(q);
    }
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

/* Stops all queues and begins a reset, unless another CPU is at it. */
static void device_reset(struct virtio_blk *b)
{
    if (atomic_exchange_explicit(&b->busy, true, memory_order_acquire)) {
        return;
    }
    if (state_of(b) == VIRTIO_BLK_RUNNING) {
        log_error("%s: no answer, resetting the device", b->device.name);
        for (unsigned i = 0; i < b->queues; i++) {
            spin_lock(&b->queue[i]->requests.lock);
            b->queue[i]->stopped = true;
            spin_unlock(&b->queue[i]->requests.lock);
        }
        virtio_pci_reset_begin(&b->pci);
        b->deadline = platform_clock_ns() + RESET_TIMEOUT_NS;
        enter(b, VIRTIO_BLK_RESETTING);
    }
    atomic_store_explicit(&b->busy, false, memory_order_release);
}

static void give_up(struct virtio_blk *b)
{
    /* It may still write to memory that is about to be used for something else. */
    pci_master_disable(b->pci.pci);
    log_error("%s: reset failed, the device is given up, its requests fail", b->device.name);
    enter(b, VIRTIO_BLK_DEAD);
}

/* One look at a reset that is under way; whoever finds another CPU at it goes on. */
static void device_step(struct virtio_blk *b)
{
    if (atomic_exchange_explicit(&b->busy, true, memory_order_acquire)) {
        return;
    }
    bool done = state_of(b) == VIRTIO_BLK_RESETTING && virtio_pci_reset_done(&b->pci);
    bool late = state_of(b) == VIRTIO_BLK_RESETTING && platform_clock_ns() >= b->deadline;

    if (done && virtio_blk_start(b)) {
        enter(b, VIRTIO_BLK_RUNNING);
    } else if (done || late) {
        give_up(b);
    }
    if (done || late) {
        for (unsigned i = 0; i < b->queues; i++) {
            queue_resume(b->queue[i]);
        }
    }
    atomic_store_explicit(&b->busy, false, memory_order_release);
}

static void virtio_blk_submit(struct block_device *device, struct block_request *request)
{
    struct virtio_blk *b = device->driver;
    struct virtio_blk_queue *q = b->queue[platform_cpu_id() % b->queues];

    spin_lock(&q->requests.lock);
    block_queue_add(&q->requests, device, request);
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

static void queue_poll(struct virtio_blk_queue *q, uint64_t now)
{
    bool overdue = false;

    if (atomic_load_explicit(&q->requests.submitted, memory_order_relaxed) == 0) {
        return;
    }
    /* Racy looks at the index and the time: what is missed now is seen by the next poll. */
    if (virtio_ring_pending(&q->ring) || now >= q->slots.next_check) {
        spin_lock(&q->requests.lock);
        if (!q->stopped) {
            queue_reap(q, now);
            queue_start(q);
            overdue = queue_overdue(q, now);
        }
        spin_unlock(&q->requests.lock);
    }
    if (overdue) {
        device_reset(q->owner);
    }
    block_queue_deliver(&q->requests);
}

/* All queues, not only this CPU's: the CPU that submitted may be away in a guest. */
static void virtio_blk_poll(struct block_device *device)
{
    struct virtio_blk *b = device->driver;
    unsigned cpu = platform_cpu_id();
    uint64_t now = platform_clock_ns();

    if (state_of(b) == VIRTIO_BLK_RESETTING) {
        device_step(b);
    }
    for (unsigned i = 0; i < b->queues; i++) {
        queue_poll(b->queue[(cpu + i) % b->queues], now);
    }
}

const struct block_ops virtio_blk_ops = {
    .submit = virtio_blk_submit,
    .poll = virtio_blk_poll,
};
