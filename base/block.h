/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block devices: what mm/ and hv/ need, what drivers/ supply.
 *
 * A request moves whole 4 KiB pages between frames and a run of blocks; or, for a guest, sectors
 * of 512 bytes: then it may begin inside of a block and inside of the first page, and end inside of
 * the last one.  It is submitted, may be in flight beside many others, and is completed by calling
 * done() from block_poll(), never from inside submit() and never in interrupt context, so that its
 * owner may take any lock.
 *
 *     page[0]            page[1]            page[2]
 *     |  offset |=======||=================||========|  cut  |    in memory
 *               '----------------.------------------'
 *     |  sector |===================================|             on the disk, from `block`
 *
 * Requests may pass each other, urgent ones first.  Those that are not urgent still get on, however
 * many urgent ones come (drivers/block_queue.h).
 */
#ifndef SPILLWAY_BASE_BLOCK_H
#define SPILLWAY_BASE_BLOCK_H

#include "base/list.h"
#include "base/types.h"

#define BLOCK_MAX_PAGES    64 /* pages of one request */
#define BLOCK_SECTOR_SHIFT 9
#define BLOCK_SECTOR_BYTES 512u
#define BLOCK_SECTORS      8u /* of a block, and of a page */

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH, /* no pages: all completed writes reach stable storage */
};

enum block_status {
    BLOCK_OK = 0,
    BLOCK_ERROR = -1,   /* the device reported a failure of this request */
    BLOCK_TIMEOUT = -2, /* no answer; the device was reset */
    BLOCK_RANGE = -3,   /* beyond the end of the device */
};

struct block_request {
    struct list link; /* owned by the driver from submit to done */
    enum block_op op;
    bool urgent;    /* a read that a vCPU waits for: it may pass requests that are not */
    uint64_t block; /* first 4 KiB block on the device */
    uint32_t pages; /* 1..BLOCK_MAX_PAGES; 0 for BLOCK_FLUSH */
    /* Sectors, each below BLOCK_SECTORS and a multiple of the device's `unit`; 0 for whole pages.
     */
    uint8_t sector; /* of `block`, not moved */
    uint8_t offset; /* at the beginning of page[0] */
    uint8_t cut;    /* at the end of the last page */
    pfn_t page[BLOCK_MAX_PAGES];
    /* Called once, by block_poll, no locks held, interrupts off. */
    void (*done)(struct block_request *request, enum block_status status);
    void *owner;             /* for the submitter */
    uint64_t driver_data[2]; /* for the driver */
};

struct block_device;

struct block_ops {
    /*
     * Queues the request.  Any context, any lock below RANK_BLOCK held.  Never
     * fails and never waits: what the hardware has no room for is queued.
     */
    void (*submit)(struct block_device *device, struct block_request *request);
    /* Completes what has finished, starts what waits, watches time-outs.  Never waits.  No locks
     * held. */
    void (*poll)(struct block_device *device);
};

struct block_device {
    struct list link;      /* drivers/block.c: all devices */
    struct list poll_link; /* and those that are polled */
    const struct block_ops *ops;
    char name[16];     /* nvme0, nvme0p2, vd0, ata0 */
    char partuuid[40]; /* of a GPT partition, lower case; else empty */
    uint64_t blocks;   /* capacity in 4 KiB blocks */
    uint64_t start;    /* first block on the disk: 0, or where the partition begins */
    uint8_t unit;      /* sectors that the disk reads and writes at least: 1, 2, 4 or 8 */
    bool read_only;
    bool shares_poll; /* the poll() of a disk that was added before serves this one, too */
    void *driver;
    struct block_device *disk; /* the whole disk: itself, unless it is a partition */
    /* Counters, maintained by the driver. */
    uint64_t reads, writes, read_pages, written_pages, errors;
};

/* Finds every disk and partition; call once on the boot CPU before block_find. */
void block_init(void);
/* The device of that name (or "PARTUUID=..."), or NULL. */
struct block_device *block_find(const char *name);
/* The device behind `previous`, or the first one for NULL; NULL at the end. */
struct block_device *block_next(struct block_device *previous);
/* Polls every disk controller; called by every CPU's main loop.  No locks held. */
void block_poll(void);
/* Any request that has not been completed yet?  Cheap: for the idle loop. */
bool block_busy(void);

static inline void block_submit(struct block_device *device, struct block_request *request)
{
    device->ops->submit(device, request);
}

#endif
