/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of hv/vdev/disk/ and nobody else.  The disk's lock is held for all of it. */
#ifndef SPILLWAY_HV_VDEV_DISK_VDISK_INTERNAL_H
#define SPILLWAY_HV_VDEV_DISK_VDISK_INTERNAL_H

#include "base/bits.h"
#include "hv/vdev/disk/vdisk.h"

/* A request to the host's disk, and the guest pages that it holds. */
struct vdisk_io {
    struct list link; /* free_ios, flying */
    struct vdisk *disk;
    struct vdisk_request *request;
    struct block_request block;
    bool good;      /* it has ended so */
    bool mixed;     /* with others that write: nobody knows what its blocks hold */
    uint32_t epoch; /* that a flush ends */
    unsigned pins;
    gfn_t pinned[BLOCK_MAX_PAGES];
    /* Through the bounce page: where it goes when it has been read. */
    bool bounces;
    uint32_t bytes;
    struct vdisk_place place;
};

enum vdisk_step {
    STEP_ON,   /* something was done: go on */
    STEP_WAIT, /* for an I/O to end, or for the waiter */
};

/* ---- vdisk.c ---- */
/* NULL: all are in flight. */
struct vdisk_io *vdisk_io_take(struct vdisk *disk);
/* Its pins end. */
void vdisk_io_give(struct vdisk *disk, struct vdisk_io *io);
/* Sends it, as one of that request's. */
void vdisk_io_send(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io);
/* An I/O of the request's has been given back, and was the last one perhaps. */
void vdisk_io_ended(struct vdisk *disk, struct vdisk_request *request);
/* Has the request failed, or been given up?  Nothing more is sent of it. */
static inline bool vdisk_is_over(const struct vdisk_request *request)
{
    return request->given_up || request->status != VDISK_OK;
}
/* Can so many bytes be the ranges of a request? */
static inline bool vdisk_are_ranges(uint64_t bytes)
{
    return bytes % sizeof(struct vdisk_range) == 0 &&
           bytes <= VDISK_RANGES * sizeof(struct vdisk_range);
}
/* Are those sectors on the disk, and whole blocks of it? */
bool vdisk_on_disk(const struct vdisk *disk, uint64_t sector, uint64_t bytes);

/* ---- vdisk_issue.c ---- */
/* Sends the next I/O of the request, which is not all sent. */
enum vdisk_step vdisk_issue(struct vdisk *disk, struct vdisk_request *request);
/* What a pin, or a copy, at that page said.  False: the disk waits, or the request has failed. */
bool vdisk_got(struct vdisk *disk, struct vdisk_request *request, enum mm_result result,
               gfn_t page);
/* The memory at a place of the request: so many bytes, of one page, at most `most`. */
uint32_t vdisk_piece(const struct vdisk_request *request, const struct vdisk_place *place,
                     uint64_t most, gpa_t *address);
void vdisk_advance(const struct vdisk_request *request, struct vdisk_place *place, uint32_t bytes);

/* ---- vdisk_identity.c ---- */
void vdisk_identity_init(struct vdisk *disk);
/* May a request write to these sectors now: does no page stand for them any more?  False: the disk
 * waits, or the request has failed. */
bool vdisk_may_write(struct vdisk *disk, struct vdisk_request *request, uint64_t sector,
                     uint64_t sectors);
/* The I/O is about to be submitted, and has been answered. */
void vdisk_identity_sent(struct vdisk *disk, struct vdisk_io *io);
void vdisk_identity_ended(struct vdisk *disk, struct vdisk_io *io, enum block_status status);
/* Ends its pins. */
void vdisk_identity_unpin(struct vdisk *disk, struct vdisk_io *io);

/* ---- vdisk_bounce.c ---- */
/* The next piece of a READ or WRITE through the bounce page; or the answer to GET_ID. */
enum vdisk_step vdisk_bounce(struct vdisk *disk, struct vdisk_request *request);
/* The request ends: a piece of it that is being gathered is dropped. */
void vdisk_drop_piece(struct vdisk *disk, const struct vdisk_request *request);
/* Puts what has been read where it belongs, as far as it can be now. */
void vdisk_land(struct vdisk *disk);
/* Reads on in the request's memory until *done is `bytes`.  False: the disk waits, or it failed. */
bool vdisk_gather(struct vdisk *disk, struct vdisk_request *request, void *to, uint32_t bytes,
                  uint32_t *done);

#endif
