/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /dev/tmem: Spillway's tmem for programs.  Copy this file freely; tmem(4) is its manual page.
 *
 * A pool belongs to the open file that made it: no other open file can use its id, and it is
 * destroyed when the file is closed.  Data buffers are one page, aligned to 4096 bytes.
 *
 * Each ioctl returns 0, or -1 with errno: ENOENT no such page (a miss), ENOMEM a put was refused
 * and nothing is kept, EBADFD no such pool of this file, EINVAL, EFAULT, EIO the host has lost the
 * page, EMFILE too many pools.
 */
#ifndef SPILLWAY_TMEM_IOCTL_H
#define SPILLWAY_TMEM_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TMEM_PAGE_SIZE 4096
#define TMEM_POOLS_MAX 16  /* of one open file */
#define TMEM_BATCH_MAX 128 /* operations of one TMEM_IOC_BATCH */

/* Flags of TMEM_IOC_CREATE */
#define TMEM_POOL_PERSISTENT 0x1 /* pages stay until flushed; else they may vanish at any time */
#define TMEM_POOL_SHARED_GET 0x2 /* ephemeral: a get does not remove the page */

struct tmem_pool_create {
    __u32 flags;
    __u32 pool; /* out */
};

struct tmem_page {
    __u32 pool;
    __u32 index;     /* page within the object */
    __u64 object[3]; /* 192 bits, any value */
    __u64 data;      /* address of the caller's page: PUT reads it, GET writes it, else 0 */
};

/* What an operation of a batch does */
#define TMEM_OP_PUT          3
#define TMEM_OP_GET          4
#define TMEM_OP_FLUSH_PAGE   5
#define TMEM_OP_FLUSH_OBJECT 6

struct tmem_batch_op {
    __u32 op;
    __s32 status; /* out: 0 or a negative errno, as above */
    struct tmem_page page;
};

/* Done in order, in one exit to the host.  The ioctl fails only if no operation was done. */
struct tmem_batch {
    __u64 ops; /* address of an array of struct tmem_batch_op */
    __u32 count;
    __u32 reserved; /* 0 */
};

struct tmem_info {
    __u64 quota;      /* pages that all persistent pools of this machine may hold */
    __u64 persistent; /* pages that they hold */
    __u64 ephemeral;  /* pages in ephemeral pools */
    __u64 pools;
};

#define TMEM_IOC_CREATE       _IOWR('t', 0xa0, struct tmem_pool_create)
#define TMEM_IOC_DESTROY      _IOW('t', 0xa1, __u32) /* pointer to the pool's id */
#define TMEM_IOC_PUT          _IOW('t', 0xa2, struct tmem_page)
#define TMEM_IOC_GET          _IOW('t', 0xa3, struct tmem_page)
#define TMEM_IOC_FLUSH_PAGE   _IOW('t', 0xa4, struct tmem_page)
#define TMEM_IOC_FLUSH_OBJECT _IOW('t', 0xa5, struct tmem_page)
#define TMEM_IOC_FLUSH_POOL   _IOW('t', 0xa6, __u32)
#define TMEM_IOC_QUERY        _IOR('t', 0xa7, struct tmem_info)
#define TMEM_IOC_BATCH        _IOWR('t', 0xa8, struct tmem_batch)

#endif
