/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio block devices: structures shared by virtio_blk.c (probe, start) and virtio_blk_queue.c
 * (requests, reset).  VIRTIO 1.1, 5.2 "Block Device".
 *
 * Locks: each queue has its block_queue lock; `state` belongs to the CPU that has set `busy`, for
 * one step of a reset.
 */
#ifndef SPILLWAY_DRIVERS_VIRTIO_BLK_H
#define SPILLWAY_DRIVERS_VIRTIO_BLK_H

#include "drivers/block_slots.h"
#include "drivers/virtio_pci.h"

#define VIRTIO_BLK_MAX_QUEUES 4
#define VIRTIO_BLK_SEGMENTS   (BLOCK_MAX_PAGES + 2) /* header, pages, status */

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
    struct block_queue requests; /* its lock protects all below */
    struct virtio_ring ring;
    struct virtio_blk *owner;
    hpa_t parts[3]; /* descriptors, avail, used */
    volatile uint16_t *notify;
    struct virtio_blk_dma *dma; /* one for each slot */
    hpa_t dma_address;
    struct block_slots slots;    /* the index is the token of its descriptors */
    uint64_t last_answer;        /* when the device last completed anything */
    _Atomic uint64_t interrupts; /* noted by the handler */
    uint16_t index;
    int vector; /* negative: polled */
    bool stopped;
};

enum virtio_blk_state {
    VIRTIO_BLK_RUNNING,
    VIRTIO_BLK_RESETTING, /* status was written as 0 and does not read 0 yet */
    VIRTIO_BLK_DEAD,      /* a reset failed: all requests fail */
};

struct virtio_blk {
    struct block_device device;
    struct virtio_pci pci;
    uint64_t features;
    uint32_t max_pages;     /* of one request to the device */
    uint32_t max_segment;   /* bytes of one descriptor */
    atomic_bool busy;       /* somebody takes a step of a reset: owner of `state` and `deadline` */
    _Atomic uint32_t state; /* enum virtio_blk_state; looked at without owning it */
    uint64_t deadline;      /* of a reset */
    unsigned queues;
    struct virtio_blk_queue *queue[VIRTIO_BLK_MAX_QUEUES];
};

/* ---- virtio_blk_queue.c ---- */

extern const struct block_ops virtio_blk_ops;
/* Memory of a queue of `size` descriptors and `slots` requests in flight, or NULL. */
struct virtio_blk_queue *virtio_blk_queue_new(struct virtio_blk *b, unsigned index, uint16_t size,
                                              unsigned slots);

/*
 * Segments of a request: header, pages (neighbours joined up to max_segment), status.  Pure.
 * Returns their number.
 */
unsigned virtio_blk_segments(struct virtio_segment *out, hpa_t dma, const pfn_t *page,
                             uint32_t count, bool read, uint32_t max_segment);

/* ---- virtio_blk.c ---- */

/* After a reset: negotiates, enables all queues (which are stopped, their rings reset) and starts
 * the device.  Does not wait.  False: it cannot be used. */
bool virtio_blk_start(struct virtio_blk *b);

#endif
