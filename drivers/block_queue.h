/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Software side of one hardware queue: requests that wait, slices that are in
 * flight, requests that are finished and not yet delivered.
 *
 *   submit -> waiting --take--> slices in hardware --end--> finished --deliver--> done()
 *
 * A request larger than one command may carry is issued as several slices; it
 * stays at the head of its list until its last slice is issued.  Pure logic: no
 * hardware is touched here.
 *
 * Two lists wait, each first come, first served: urgent requests (reads that a vCPU waits for), and
 * the others (write-back, mostly).  Urgent slices are taken first, but at most BLOCK_URGENT_RUN in
 * a row while another request waits; the next one is of that request.
 *
 * Write-back must go on: it frees the frames that urgent reads need.  Why it cannot starve: a
 * request's last slice is the k-th of its list, and each of those k is taken after at most
 * BLOCK_URGENT_RUN urgent ones.  So at most k * BLOCK_URGENT_RUN urgent slices pass the request,
 * however many come.  Slices are taken as long as commands in the hardware end, and each does: by
 * an answer, or by a time-out.
 *
 * Requests of the two lists pass each other, as they always could in the hardware and in the queues
 * of other CPUs.  So nobody submits a request while another one that overlaps it is not done, if
 * one of them is a write: a slot of a store has one request at a time, and is given back when that
 * is done.  A flush covers the writes that were done before it was submitted.
 *
 * Locks: `lock` (RANK_BLOCK) protects everything; block_queue_deliver takes it
 * itself, all other calls want it held.
 */
#ifndef SPILLWAY_DRIVERS_BLOCK_QUEUE_H
#define SPILLWAY_DRIVERS_BLOCK_QUEUE_H

#include "base/block.h"
#include "base/lock.h"

/* Urgent slices in a row while a request waits that is not urgent. */
#define BLOCK_URGENT_RUN 8u

struct block_queue {
    struct spinlock lock;       /* protects the lists and the driver's state of this queue */
    struct list urgent;         /* not, or not wholly, issued */
    struct list others;         /* so, and nobody waits for them */
    unsigned urgent_run;        /* urgent slices taken since `others` had its turn */
    struct list finished;       /* complete, done() not called yet */
    _Atomic unsigned undrained; /* requests in `finished`: looked at without the lock */
    _Atomic unsigned submitted; /* requests not delivered: looked at without the lock */
};

/* The part of a request that one command moves; count 0: its op has no pages. */
struct block_slice {
    struct block_request *request;
    uint32_t first; /* index into request->page */
    uint32_t count;
};

void block_queue_init(struct block_queue *queue);

/* Checks and queues a request; a bad one goes straight to `finished` with its error. */
void block_queue_add(struct block_queue *queue, struct block_device *device,
                     struct block_request *request);
/* Does any request wait? */
static inline bool block_queue_waits(const struct block_queue *queue)
{
    return !list_empty(&queue->urgent) || !list_empty(&queue->others);
}
/* The request whose slice is next, or NULL. */
struct block_request *block_queue_peek(const struct block_queue *queue);
/* Cuts the next slice of at most `max_pages`; false: nothing waits. */
bool block_queue_take(struct block_queue *queue, uint32_t max_pages, struct block_slice *slice);
/* A slice has ended.  After the first failed one no further slice of its request is issued. */
void block_queue_end(struct block_queue *queue, const struct block_slice *slice,
                     enum block_status status);
/* Ends every waiting request: the device is gone. */
void block_queue_fail_waiting(struct block_queue *queue, enum block_status status);

/* Calls done() of all finished requests and counts them.  No locks held. */
void block_queue_deliver(struct block_queue *queue);

/* The device a queued request was submitted to. */
struct block_device *block_request_device(const struct block_request *request);
/* First 4 KiB block of the slice, counted from the start of the whole disk: for messages. */
uint64_t block_slice_start(const struct block_slice *slice);
/* The same in sectors, exactly; how many it moves; and how much of its first page is before them.
 */
uint64_t block_slice_sector(const struct block_slice *slice);
uint32_t block_slice_sectors(const struct block_slice *slice);
uint32_t block_slice_offset(const struct block_slice *slice);
/* As many blocks: for messages. */
static inline uint32_t block_slice_blocks(const struct block_slice *slice)
{
    return (block_slice_sectors(slice) + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
}
/* Of the slice's i-th page: bytes that are moved, and how many come before them. */
uint32_t block_slice_bytes(const struct block_slice *slice, uint32_t i, uint32_t *before);

/*
 * Shall this failure be logged?  The first ones of a device, then one in 1024: a guest that can
 * make requests fail shall not drown the log.
 */
bool block_report_error(const struct block_device *device);

/* Requests in all queues of the machine that are not delivered. */
unsigned block_queue_outstanding(void);

#endif
