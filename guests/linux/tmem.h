/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * spillway_tmem: what its parts offer each other.
 *
 *   tmem_call.c     the hypercall
 *   tmem_block.c    /dev/tmem0, a block device in a persistent pool
 *   tmem_queue.c    its requests
 *   tmem_backing.c  the disk that takes what the host refuses
 *   tmem_char.c     /dev/tmem, ioctls for programs
 */
#ifndef TMEM_H
#define TMEM_H

#include <linux/blk-mq.h>
#include <linux/version.h>

#include "spillway_tmem.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error spillway_tmem needs Linux 6.1 or later
#endif

static_assert(sizeof(struct spillway_tmem_op) == 64);
static_assert(sizeof(struct spillway_tmem_info) == 32);
static_assert(PAGE_SIZE == 4096);

#define TMEM_BLOCK_SECTORS (PAGE_SIZE / SECTOR_SIZE)

/* ---- tmem_call.c ---- */

/* Is there a Spillway below us that offers tmem?  0 or -ENODEV; says why not in the log. */
int tmem_call_discover(void);

/*
 * Performs 1 .. SPILLWAY_TMEM_BATCH operations in one exit.  They must lie in the direct map
 * (kmalloc), 8-byte aligned.  0: each has its status; negative: none was done.  Any context.
 */
int tmem_call_run(struct spillway_tmem_op *ops, unsigned int count);

/* Makes a pool; 0 and its id, or a negative errno.  May sleep, as the two below. */
int tmem_call_create(u32 flags, u32 *pool);

/* Destroys a pool or flushes it: `op` is SPILLWAY_TMEM_DESTROY or SPILLWAY_TMEM_FLUSH_POOL. */
int tmem_call_pool(u32 op, u32 pool);

int tmem_call_query(struct spillway_tmem_info *info);

/* ---- tmem_block.c ---- */

/* Makes /dev/tmem0; without a quota there is none, which is no error. */
int tmem_block_init(void);
void tmem_block_exit(void);

/* ---- tmem_queue.c ---- */

extern const struct blk_mq_ops tmem_queue_operations;

/* What so many hardware queues need for a device of so many blocks in that pool.  0 or -ENOMEM. */
int tmem_queues_alloc(unsigned int count, u32 in_pool, u64 blocks);
void tmem_queues_free(void);

/* The figure of that number, from 0, and its name; leaves the name alone when there is none. */
u64 tmem_queue_counter(unsigned int counter, const char **name);

/* Where the newest copy of a block is: one byte of the device's map each. */
enum tmem_place {
    TMEM_EMPTY,   /* never written, or discarded: reads as zeroes */
    TMEM_HOST,    /* in the pool */
    TMEM_BACKING, /* on the backing disk */
    TMEM_LOST,    /* its last write failed: reads fail until it is written or discarded */
};

/* The driver's part of a request.  A block is one page; no request has more than a batch. */
struct tmem_request {
    struct list_head link;
    u64 first;                                    /* block of the device */
    blk_status_t error;                           /* of the blocks in `failed` */
    atomic_t pending;                             /* backing I/Os in flight, and their sender */
    DECLARE_BITMAP(failed, SPILLWAY_TMEM_BATCH);  /* blocks of the request, from 0 */
    DECLARE_BITMAP(to_disk, SPILLWAY_TMEM_BATCH); /* to be read from or written to the disk */
};

/* Notes where a block is from now on. */
void tmem_queue_set_place(u64 block, enum tmem_place place);

/* Marks blocks of the request (count of them from `at`) as failed.  Any context. */
void tmem_request_fail(struct tmem_request *request, unsigned int at, unsigned int count,
                       blk_status_t error);

/* Ends the request towards the block layer.  Any context. */
void tmem_request_end(struct tmem_request *request);

/* ---- tmem_backing.c ---- */

/* Opens the disk named by backing=, if any; it must hold at least so many blocks.  0 or errno. */
int tmem_backing_open(u64 blocks);

/* After the last request has ended. */
void tmem_backing_close(void);
bool tmem_backing_present(void);

/* Takes over a request that has bits in `to_disk` and ends it later.  Does not sleep. */
void tmem_backing_queue(struct tmem_request *request);

/* ---- tmem_char.c ---- */

int tmem_char_init(void);
void tmem_char_exit(void);

#endif
