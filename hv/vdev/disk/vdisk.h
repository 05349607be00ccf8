/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's disk over a block device of the host: requests of any shape, straight from guest frames
 * to the host's queues.
 *
 *     vdisk_take() -> filled in by the device -> vdisk_submit()
 *         |
 *      waiting, first come first served
 *         |   pages are pinned and put into an I/O (at most VDISK_IOS, VDISK_PINS pages)
 *      I/Os in flight  -- block_poll() --> unpinned
 *         |   the last one has ended
 *      answered: the status is written into guest memory
 *         |
 *      done()  -> vdisk_give()
 *
 * Nothing is copied, but for memory that the disk cannot address: sectors that lie across pages or
 * at odd addresses go through one page, piece by piece (vdisk_bounce.c).
 *
 * Why every request ends, memory short or not: those that are there are pinned together, and one
 * that has to come is asked for alone.  If it has to be waited for (MM_WAIT), what has been
 * gathered before it is sent; so whoever waits holds no pin but those of I/Os in flight, and these
 * end by themselves, by an answer or by the driver's time-outs (drivers/disk_queue.h).  Each page
 * that has come is pinned, sent and done with before the next one is asked for, so however small
 * the memory is, each step moves at least one page.
 *
 * A request fails as a whole if some of it fails; what it has moved until then is moved.
 *
 * Locks: one for each disk (RANK_VDISK).  What struct vdisk_host has is called without it, from
 * block_poll() or from a timer, never from a function here.
 */
#ifndef SPILLWAY_HV_VDEV_DISK_VDISK_H
#define SPILLWAY_HV_VDEV_DISK_VDISK_H

#include "base/block.h"
#include "base/lock.h"
#include "hv/timer.h"
#include "mm/owner/waiter.h"
#include "mm/space/space.h"

#define VDISK_SEGMENTS 64u  /* pieces of guest memory of one request */
#define VDISK_REQUESTS 32u  /* taken at a time */
#define VDISK_IOS      32u  /* in flight */
#define VDISK_PINS     512u /* pages in flight */
#define VDISK_ID_BYTES 20u

enum vdisk_op {
    VDISK_READ,
    VDISK_WRITE,
    VDISK_FLUSH,   /* what has been written is in stable storage */
    VDISK_ZERO,    /* `segment` holds ranges to be filled with zeroes: struct vdisk_range */
    VDISK_DISCARD, /* likewise, that need not be kept: if vdisk_discards() */
    VDISK_GET_ID,  /* a name of VDISK_ID_BYTES at most, padded with zeroes */
    VDISK_FAIL,    /* fails; so that an answer to what cannot be a request comes like all others */
    VDISK_UNKNOWN, /* likewise, as not supported */
};

enum vdisk_status {
    VDISK_OK,
    VDISK_IOERR,
    VDISK_UNSUPP,
};

struct vdisk_segment {
    gpa_t address;
    uint32_t bytes;
};

/* In a request's memory. */
struct vdisk_place {
    unsigned segment;
    uint32_t byte;
};

/* Virtual I/O Device 1.2, 5.2.6 "Device Operation": struct virtio_blk_discard_write_zeroes. */
struct vdisk_range {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};
_Static_assert(sizeof(struct vdisk_range) == 16, "virtio_blk_discard_write_zeroes");
#define VDISK_RANGE_UNMAP BIT(0)  /* may be deallocated; it reads as zeroes all the same */
#define VDISK_RANGE_MAX   0x8000u /* sectors that one range should have at most */
#define VDISK_RANGES      16u     /* of one request at most: ranges of nothing cost no I/O */

struct vdisk_request {
    struct list link; /* the disk's, from vdisk_take() to done() */
    /* For the device to fill in. */
    enum vdisk_op op;
    uint64_t sector; /* the first, of 512 bytes; READ and WRITE */
    unsigned count;
    struct vdisk_segment segment[VDISK_SEGMENTS];
    bool answers; /* its status, one byte, is written there before done() */
    gpa_t answer;
    uint32_t token[2]; /* the device's */
    /* The answer, for done(). */
    enum vdisk_status status;
    uint64_t moved; /* bytes of the segments that have been used */
    /* The disk's. */
    uint64_t next;            /* sector */
    uint64_t left;            /* bytes that are not yet in an I/O */
    struct vdisk_place place; /* of these in memory */
    unsigned ios;             /* in flight */
    bool given_up;            /* the device was reset: nobody is told */
    bool flushing;            /* its last I/O, of a disk without a cache */
    struct vdisk_range range;
    uint32_t range_bytes; /* of it that have been read */
};

struct vdisk_io;

enum {
    VDISK_PAGE_BOUNCE,
    VDISK_PAGE_ZEROES,
};

struct vdisk_host {
    /* Has ended: request->status.  The device answers the guest and calls vdisk_give(). */
    void (*done)(void *owner, struct vdisk_request *request);
    /* A page of the guest's is lost (MM_LOST): the VM has to be failed. */
    void (*lost)(void *owner, gfn_t page);
    /* vdisk_give_up() was false, and now nothing is in flight any more. */
    void (*idle)(void *owner);
};

struct vdisk_stats {
    uint64_t reads, writes, flushes, read_sectors, written_sectors, errors, bounced;
};

#define VDISK_UNFLUSHED_BITS 4096u

/* vdisk_identity.c. */
struct vdisk_identity {
    int number;          /* of the disk in the space; -1: no page is known to be a copy of it */
    uint32_t epoch;      /* now */
    uint32_t last_flush; /* the one that the last flush ended */
    /* Groups of blocks that have been written since; and before, and no flush has succeeded. */
    uint64_t written[VDISK_UNFLUSHED_BITS / 64];
    uint64_t flushing[VDISK_UNFLUSHED_BITS / 64];
};

struct vdisk {
    struct spinlock lock; /* all below that changes */
    struct block_device *device;
    struct space *space;
    const struct vdisk_host *host;
    void *owner;
    bool read_only;
    bool write_through; /* a write that is done is in stable storage */
    struct list free_requests, free_ios;
    struct list waiting;   /* not wholly in I/Os */
    struct list sent;      /* these are */
    struct list answering; /* their I/Os have ended */
    struct list finished;  /* done() is to be called */
    struct list flying;    /* I/Os */
    unsigned open;         /* requests between vdisk_submit() and the return of done() */
    bool tells_idle;
    unsigned pins;
    bool waits;              /* for `waiter` to be woken */
    _Atomic bool woken;      /* and it has been */
    struct mm_waiter waiter; /* of the first one in `waiting`, or of `landing` */
    struct timer timer;      /* goes on, from some CPU's main loop */
    /* vdisk_bounce.c: one piece at a time. */
    bool bounce_busy;
    uint32_t bounced;                /* bytes gathered from, or put into, guest memory */
    struct vdisk_request *gathering; /* whose piece is being gathered */
    struct vdisk_io *landing;        /* has been read and is to be put there */
    bool is_lost;
    gfn_t lost;
    pfn_t page[2]; /* VDISK_PAGE_* */
    unsigned page_count;
    struct list carved; /* memory of requests and I/Os: struct vdisk_carved */
    struct vdisk_identity identity;
    struct vdisk_stats stats;
};

/* The disk over that device; `owner` is host's.  False: no memory. */
bool vdisk_init(struct vdisk *disk, struct block_device *device, bool read_only,
                struct space *space, const struct vdisk_host *host, void *owner);
/* Frees what vdisk_init() took.  It was given up and is idle, and nobody submits any more.  No
 * locks held. */
void vdisk_destroy(struct vdisk *disk);
/* 512-byte sectors. */
uint64_t vdisk_sectors(const struct vdisk *disk);
/* Does it take VDISK_DISCARD? */
static inline bool vdisk_discards(const struct vdisk *disk)
{
    return !disk->read_only && disk->device->discard_max != 0;
}

/* A request to be filled in, or NULL: all are in use; some done() comes.  Locks below RANK_VDISK
 * may be held for this and the following. */
struct vdisk_request *vdisk_take(struct vdisk *disk);
void vdisk_give(struct vdisk *disk, struct vdisk_request *request);
void vdisk_submit(struct vdisk *disk, struct vdisk_request *request);
/*
 * Gives up what has been submitted: nobody is told of it any more.  True: nothing is in flight, no
 * page is pinned.  False: that is so when idle() is called; until then what is in flight uses guest
 * memory, and a CPU that was about to call done() may do so.
 */
bool vdisk_give_up(struct vdisk *disk);
void vdisk_set_write_through(struct vdisk *disk, bool write_through);
void vdisk_get_stats(struct vdisk *disk, struct vdisk_stats *stats);

#endif
