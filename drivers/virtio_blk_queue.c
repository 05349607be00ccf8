/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk queues under the queue engine: requests on the rings, and a reset of the device.
 *
 * virtio has no way to abort one request: the engine resets the device.
 */
#include <stdio.h>

#include "base/log.h"
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

/* A device that answers others is slow, not dead: it gets this many times longer. */
#define PATIENCE 6

/* The specification sets no limit to a reset. */
#define RESET_TIMEOUT_NS 10000000000ull

/*
 * Memory of a queue, in one piece; what the device reads and writes of each tag is behind:
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

static struct virtio_blk_queue *queue_of(struct disk_queue *common)
{
    return CONTAINER_OF(common, struct virtio_blk_queue, common);
}

bool virtio_blk_queue_add(struct virtio_blk *b, uint16_t size, unsigned tags)
{
    hpa_t memory;
    uint8_t *base = platform_dma_alloc(DMA_OFFSET + tags * sizeof(struct virtio_blk_dma), &memory);
    struct virtio_blk_queue *q = (struct virtio_blk_queue *)(void *)base;

    if (!q) {
        return false;
    }
    disk_queue_init(&q->common, &b->hardware, tags);
    q->index = (uint16_t)b->hardware.queues;
    b->hardware.queue[b->hardware.queues++] = &q->common;
    q->vector = -1;
    q->ring.size = size;
    q->ring.descriptors = (struct virtio_descriptor *)(void *)(base + DESCRIPTORS_OFFSET);
    q->ring.avail = (struct virtio_avail *)(void *)(base + AVAIL_OFFSET);
    q->ring.used = (struct virtio_used *)(void *)(base + USED_OFFSET);
    q->dma = (struct virtio_blk_dma *)(void *)(base + DMA_OFFSET);
    q->parts[0] = hpa(memory.v + DESCRIPTORS_OFFSET);
    q->parts[1] = hpa(memory.v + AVAIL_OFFSET);
    q->parts[2] = hpa(memory.v + USED_OFFSET);
    q->dma_address = hpa(memory.v + DMA_OFFSET);
    return true;
}

bool virtio_blk_queue_has_room(const struct virtio_blk_queue *q)
{
    const struct virtio_blk *b = virtio_blk_of(q->common.hardware);
    unsigned need = b->features & VIRTIO_F_INDIRECT ? 1 : b->hardware.max_pages + 2;

    return q->ring.free_count >= need;
}

unsigned virtio_blk_segments(struct virtio_segment *out, hpa_t dma, const struct block_slice *slice,
                             uint32_t max_segment)
{
    bool read = slice->request->op == BLOCK_READ;
    unsigned n = 0;

    out[n++] = (struct virtio_segment){dma, sizeof(struct virtio_blk_header), false};
    for (uint32_t i = 0; i < slice->count; i++) {
        struct virtio_segment *last = &out[n - 1];
        uint32_t before, bytes = block_slice_bytes(slice, i, &before);
        hpa_t address = hpa(pfn_to_hpa(slice->request->page[slice->first + i]).v + before);

        if (i != 0 && address.v == last->address.v + last->bytes &&
            last->bytes + bytes <= max_segment) {
            last->bytes += bytes;
        } else {
            out[n++] = (struct virtio_segment){address, bytes, read};
        }
    }
    out[n++] =
        (struct virtio_segment){hpa(dma.v + offsetof(struct virtio_blk_dma, status)), 1, true};
    return n;
}

static uint32_t type_of(enum block_op op)
{
    switch (op) {
    case BLOCK_READ:
        return BLK_T_IN;
    case BLOCK_WRITE:
        return BLK_T_OUT;
    default:
        return BLK_T_FLUSH;
    }
}

static void virtio_blk_issue(struct disk_queue *common, unsigned tag)
{
    struct virtio_segment segments[VIRTIO_BLK_SEGMENTS];
    struct virtio_blk_queue *q = queue_of(common);
    const struct virtio_blk *b = virtio_blk_of(common->hardware);
    struct virtio_blk_dma *dma = &q->dma[tag];
    hpa_t address = hpa(q->dma_address.v + tag * sizeof(*dma));
    const struct block_slice *slice = &common->tags.tag[tag].slice;
    uint32_t type = type_of(slice->request->op);

    dma->header.type = type;
    dma->header.reserved4 = 0;
    dma->header.sector = type == BLK_T_FLUSH ? 0 : block_slice_sector(slice);
    dma->status = BLK_S_PENDING;
    unsigned count = virtio_blk_segments(segments, address, slice, b->max_segment);

    if (b->features & VIRTIO_F_INDIRECT) {
        virtio_ring_add_indirect(&q->ring, segments, count, dma->table,
                                 hpa(address.v + offsetof(struct virtio_blk_dma, table)),
                                 (uint16_t)tag);
    } else {
        virtio_ring_add(&q->ring, segments, count, (uint16_t)tag);
    }
    common->full = !virtio_blk_queue_has_room(q);
}

static void virtio_blk_notify(struct disk_queue *common)
{
    struct virtio_blk_queue *q = queue_of(common);

    if (virtio_ring_publish(&q->ring)) {
        *q->notify = q->index;
    }
}

static enum disk_verdict verdict_of(uint8_t status)
{
    if (status == BLK_S_OK) {
        return DISK_DONE;
    }
    return status == BLK_S_UNSUPP ? DISK_FAILED : DISK_AGAIN;
}

static bool virtio_blk_reap(struct disk_queue *common)
{
    struct virtio_blk_queue *q = queue_of(common);
    bool any = false;
    int token;

    while ((token = virtio_ring_pop(&q->ring)) != -1) {
        /* Only a tag that was issued is a token. */
        uint8_t status = token >= 0 ? q->dma[token].status : BLK_S_PENDING;

        any = true;
        if (!disk_queue_answer(common, (unsigned)token, verdict_of(status), status)) {
            log_error("%s: completion of a request that is not in flight",
                      virtio_blk_of(common->hardware)->device.name);
        }
    }
    common->full = !virtio_blk_queue_has_room(q);
    return any;
}

static bool virtio_blk_pending(struct disk_queue *common)
{
    return virtio_ring_pending(&queue_of(common)->ring);
}

static void virtio_blk_describe(uint16_t status, char *words, size_t bytes)
{
    static const char *const names[] = {"completed", "I/O error", "not supported"};

    snprintf(words, bytes, "%s (%02x)", status <= BLK_S_UNSUPP ? names[status] : "no status",
             status);
}

static bool virtio_blk_abort(struct disk_queue *common, unsigned tag,
                             const struct block_device *disk)
{
    (void)common;
    (void)tag;
    (void)disk;
    return false;
}

static void virtio_blk_reset_begin(struct disk_hardware *hw)
{
    struct virtio_blk *b = virtio_blk_of(hw);

    log_error("%s: no answer, resetting the device", b->device.name);
    virtio_pci_reset_begin(&b->pci);
    hw->deadline = platform_clock_ns() + RESET_TIMEOUT_NS;
}

/* The status was written as 0; the device is ready to be started again when it reads 0. */
static enum disk_reset virtio_blk_reset_step(struct disk_hardware *hw)
{
    struct virtio_blk *b = virtio_blk_of(hw);

    if (!virtio_pci_reset_done(&b->pci)) {
        return DISK_RESET_WAITING;
    }
    return virtio_blk_start(b) ? DISK_RESET_ENDED : DISK_RESET_FAILED;
}

static void virtio_blk_give_up(struct disk_hardware *hw, bool late)
{
    struct virtio_blk *b = virtio_blk_of(hw);

    (void)late;
    /* It may still write to memory that is about to be used for something else. */
    pci_master_disable(b->pci.pci);
    log_error("%s: reset failed, the device is given up, its requests fail", b->device.name);
}

const struct disk_ops virtio_blk_disk_ops = {
    .issue = virtio_blk_issue,
    .notify = virtio_blk_notify,
    .reap = virtio_blk_reap,
    .pending = virtio_blk_pending,
    .describe = virtio_blk_describe,
    .abort = virtio_blk_abort,
    .reset_begin = virtio_blk_reset_begin,
    .reset_step = virtio_blk_reset_step,
    .give_up = virtio_blk_give_up,
    .patience = PATIENCE,
};

static void virtio_blk_submit(struct block_device *device, struct block_request *request)
{
    disk_hardware_submit(&((struct virtio_blk *)device->driver)->hardware, device, request);
}

static void virtio_blk_poll(struct block_device *device)
{
    disk_hardware_poll(&((struct virtio_blk *)device->driver)->hardware);
}

const struct block_ops virtio_blk_ops = {
    .submit = virtio_blk_submit,
    .poll = virtio_blk_poll,
};
