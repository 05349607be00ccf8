/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio block devices: structures shared by virtio_blk.c (probe, start) and virtio_blk_queue.c
 * (queues, as the queue engine wants them: drivers/disk_queue.h).  VIRTIO 1.1, 5.2 "Block Device".
 *
 * Locks: each queue has that of its engine queue; a reset belongs to the owner of `hardware.busy`.
 */
#ifndef SPILLWAY_DRIVERS_VIRTIO_BLK_H
#define SPILLWAY_DRIVERS_VIRTIO_BLK_H

#include "drivers/disk_queue.h"
#include "drivers/virtio_pci.h"

#define VIRTIO_BLK_MAX_QUEUES 4
_Static_assert(VIRTIO_BLK_MAX_QUEUES <= DISK_QUEUES, "queues of the engine");
#define VIRTIO_BLK_SEGMENTS (BLOCK_MAX_PAGES + 2) /* header, pages, status */

#define VIRTIO_BLK_F_SIZE_MAX BIT(1)
#define VIRTIO_BLK_F_SEG_MAX  BIT(2)
#define VIRTIO_BLK_F_RO       BIT(5)
#define VIRTIO_BLK_F_BLK_SIZE BIT(6)
#define VIRTIO_BLK_F_FLUSH    BIT(9)
#define VIRTIO_BLK_F_MQ       BIT(12)

/* 5.2.6 "Device Operation". */
struct virtio_blk_header {
    uint32_t type;
    uint32_t reserved4;
    uint64_t sector; /* of 512 bytes, whatever BLK_SIZE says */
};
_Static_assert(sizeof(struct virtio_blk_header) == 16, "virtio_blk_req");

/* What the device reads and writes for one request, beside the pages. */
struct virtio_blk_dma {
    struct virtio_blk_header header;
    uint8_t status;
    uint8_t pad17[15];
    struct virtio_descriptor table[VIRTIO_BLK_SEGMENTS];
};

struct virtio_blk;

struct virtio_blk_queue {
    struct disk_queue common; /* its lock protects all below; a tag is the token of a chain */
    struct virtio_ring ring;
    hpa_t parts[3]; /* descriptors, avail, used */
    volatile uint16_t *notify;
    struct virtio_blk_dma *dma; /* one for each tag */
    hpa_t dma_address;
    _Atomic uint64_t interrupts; /* noted by the handler */
    uint16_t index;
    int vector; /* negative: polled */
};

struct virtio_blk {
    struct disk_hardware hardware;
    struct block_device device;
    struct virtio_pci pci;
    uint64_t features;
    uint32_t max_segment; /* bytes of one descriptor */
};

static inline struct virtio_blk *virtio_blk_of(struct disk_hardware *hw)
{
    return CONTAINER_OF(hw, struct virtio_blk, hardware);
}

static inline struct virtio_blk_queue *virtio_blk_queue_at(const struct virtio_blk *b,
                                                           unsigned index)
{
    return CONTAINER_OF(b->hardware.queue[index], struct virtio_blk_queue, common);
}

/* ---- virtio_blk_queue.c ---- */

extern const struct block_ops virtio_blk_ops;
extern const struct disk_ops virtio_blk_disk_ops;
/* Adds the next queue, of `size` descriptors and `tags` requests in flight.  False: there is no
 * memory for it. */
bool virtio_blk_queue_add(struct virtio_blk *b, uint16_t size, unsigned tags);
/* Is there room for the largest request in the ring?  The queue's lock is held, or it is stopped.
 */
bool virtio_blk_queue_has_room(const struct virtio_blk_queue *q);

/*
 * Segments of a request: header, pages (neighbours joined up to max_segment), status.  Pure.
 * Returns their number.
 */
unsigned virtio_blk_segments(struct virtio_segment *out, hpa_t dma, const struct block_slice *slice,
                             uint32_t max_segment);

/* ---- virtio_blk.c ---- */

/* After a reset: negotiates, enables all queues (which are stopped, their rings reset) and starts
 * the device.  Does not wait.  False: it cannot be used. */
bool virtio_blk_start(struct virtio_blk *b);

#endif
