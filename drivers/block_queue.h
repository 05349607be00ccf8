/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Software side of one hardware queue: requests that wait, slices that are in
 * flight, requests that are finished and not yet delivered.
 *
 *   submit -> waiting --take--> slices in hardware --end--> finished --deliver--> done()
 *
 * A request larger than one command may carry is issued as several slices; it
 * stays at the head of `waiting` until its last slice is issued.  Pure logic: no
 * hardware is touched here.
 *
 * Locks: `lock` (RANK_BLOCK) protects everything; block_queue_deliver takes it
 * itself, all other calls want it held.
 */
#ifndef SPILLWAY_DRIVERS_BLOCK_QUEUE_H
#define SPILLWAY_DRIVERS_BLOCK_QUEUE_H

#include "base/block.h"
#include "base/lock.h"

struct block_queue {
    struct spinlock lock;       /* protects the lists and the driver's state of this queue */
    struct list waiting;        /* not, or not wholly, issued */
    struct list finished;       /* complete, done() not called yet */
    _Atomic unsigned undrained; /* requests in `finished`: looked at without the lock */
    _Atomic unsigned submitted; /* requests not delivered: looked at without the lock */
};

/* The part of a request that one command moves; count 0 is a flush. */
struct block_slice {
    struct block_request *request;
    uint32_t first; /* index into request->page */
    uint32_t count;
};

void block_queue_init(struct block_queue *queue);

/* Checks and queues a request; a bad one goes straight to `finished` with its error. */
void block_queue_add(struct block_queue *queue, struct block_device *device,
                     struct block_request *request);
/* The request that the next slice would be of, or NULL. */
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
/* First 4 KiB block of the slice, counted from the start of the whole disk. */
uint64_t block_slice_start(const struct block_slice *slice);

/*
 * Shall this failure be logged?  The first ones of a device, then one in 1024: a guest that can
 * make requests fail shall not drown the log.
 */
bool block_report_error(const struct block_device *device);

/* Requests in all queues of the machine that are not delivered. */
unsigned block_queue_outstanding(void);

#endif
