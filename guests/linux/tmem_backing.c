// SPDX-License-Identifier: GPL-2.0-only
/*
 * The backing disk: block n of the device is block n of the disk.  A refused put is written there,
 * by clones of the bios it came in, from a worker, because a clone may have to wait for memory.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "tmem.h"

#define CLONES_RESERVED 64

struct tmem_clone {
    struct tmem_request *request;
    unsigned int at, count; /* blocks of the request */
    struct bio bio;         /* last: bio_set's front padding */
};

static char *backing;
module_param(backing, charp, 0444);
MODULE_PARM_DESC(backing, "block device that takes the pages that the host refuses");

static struct block_device *disk;
static struct bio_set clones;
static struct workqueue_struct *workers;
static DEFINE_SPINLOCK(waiting_lock);
static LIST_HEAD(waiting); /* requests; under waiting_lock */

/* ---- opening, which changes with every other kernel ---- */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
static struct file *disk_file;

static int disk_open(void)
{
    disk_file = bdev_file_open_by_path(backing, BLK_OPEN_READ | BLK_OPEN_WRITE, &disk, NULL);
    if (IS_ERR(disk_file)) {
        return PTR_ERR(disk_file);
    }
    disk = file_bdev(disk_file);
    return 0;
}

static void disk_close(void)
{
    fput(disk_file);
    disk = NULL;
}
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
static struct bdev_handle *disk_handle;

static int disk_open(void)
{
    disk_handle = bdev_open_by_path(backing, BLK_OPEN_READ | BLK_OPEN_WRITE, &disk, NULL);
    if (IS_ERR(disk_handle)) {
        return PTR_ERR(disk_handle);
    }
    disk = disk_handle->bdev;
    return 0;
}

static void disk_close(void)
{
    bdev_release(disk_handle);
    disk = NULL;
}
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
static int disk_open(void)
{
    struct block_device *opened =
        blkdev_get_by_path(backing, BLK_OPEN_READ | BLK_OPEN_WRITE, &disk, NULL);

    if (IS_ERR(opened)) {
        return PTR_ERR(opened);
    }
    disk = opened;
    return 0;
}

static void disk_close(void)
{
    blkdev_put(disk, &disk);
    disk = NULL;
}
#else
#define DISK_MODE (FMODE_READ | FMODE_WRITE | FMODE_EXCL)

static int disk_open(void)
{
    struct block_device *opened = blkdev_get_by_path(backing, DISK_MODE, &disk);

    if (IS_ERR(opened)) {
        return PTR_ERR(opened);
    }
    disk = opened;
    return 0;
}

static void disk_close(void)
{
    blkdev_put(disk, DISK_MODE);
    disk = NULL;
}
#endif

/* ---- the way to the disk and back ---- */

static void request_put(struct tmem_request *request)
{
    if (atomic_dec_and_test(&request->pending)) {
        tmem_request_end(request);
    }
}

static void clone_end(struct bio *bio)
{
    struct tmem_clone *clone = container_of(bio, struct tmem_clone, bio);
    struct tmem_request *request = clone->request;
    enum tmem_place place = bio->bi_status == BLK_STS_OK ? TMEM_BACKING : TMEM_LOST;
    unsigned int i;

    if (bio->bi_status != BLK_STS_OK) {
        tmem_request_fail(request, clone->at, clone->count, bio->bi_status);
    }
    if (op_is_write(bio_op(bio))) {
        for (i = 0; i < clone->count; i++) {
            tmem_queue_set_place(request->first + clone->at + i, place);
        }
    }
    bio_put(bio);
    request_put(request);
}

static void clone_submit(struct tmem_request *request, struct bio *source, unsigned int start,
                         unsigned int at, unsigned int count)
{
    struct bio *bio = bio_alloc_clone(disk, source, GFP_NOIO, &clones);
    struct tmem_clone *clone = container_of(bio, struct tmem_clone, bio);

    clone->request = request;
    clone->at = at;
    clone->count = count;
    bio_trim(bio, (at - start) * TMEM_BLOCK_SECTORS, count * TMEM_BLOCK_SECTORS);
    bio->bi_end_io = clone_end;
    atomic_inc(&request->pending);
    submit_bio(bio);
}

/* One clone for each run of marked blocks within a bio. */
static void request_submit(struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);
    unsigned int start = 0, at, past;
    struct bio *bio;

    atomic_set(&request->pending, 1);
    __rq_for_each_bio(bio, rq)
    {
        unsigned int end = start + bio->bi_iter.bi_size / PAGE_SIZE;

        for (at = find_next_bit(request->to_disk, end, start); at < end;
             at = find_next_bit(request->to_disk, end, past)) {
            past = find_next_zero_bit(request->to_disk, end, at);
            clone_submit(request, bio, start, at, past - at);
        }
        start = end;
    }
    request_put(request);
}

static void waiting_submit(struct work_struct *work)
{
    struct tmem_request *request, *next;
    struct blk_plug plug;
    LIST_HEAD(taken);

    spin_lock(&waiting_lock);
    list_splice_init(&waiting, &taken);
    spin_unlock(&waiting_lock);
    blk_start_plug(&plug);
    list_for_each_entry_safe(request, next, &taken, link)
    {
        request_submit(request); /* may end it: not touched again */
    }
    blk_finish_plug(&plug);
}

static DECLARE_WORK(submit_work, waiting_submit);

void tmem_backing_queue(struct tmem_request *request)
{
    spin_lock(&waiting_lock);
    list_add_tail(&request->link, &waiting);
    spin_unlock(&waiting_lock);
    queue_work(workers, &submit_work);
}

/* ---- life ---- */

bool tmem_backing_present(void)
{
    return disk != NULL;
}

static int disk_check(u64 blocks)
{
    u64 found = bdev_nr_sectors(disk) / TMEM_BLOCK_SECTORS;

    if (found < blocks) {
        pr_err("backing=%s holds %llu pages, expected at least the quota, %llu\n", backing, found,
               blocks);
        return -EINVAL;
    }
    if (bdev_logical_block_size(disk) > PAGE_SIZE || bdev_read_only(disk)) {
        pr_err("backing=%s: expected a disk to write to, of blocks of at most 4096\n", backing);
        return -EINVAL;
    }
    return 0;
}

static int queue_init(void)
{
    int error = bioset_init(&clones, CLONES_RESERVED, offsetof(struct tmem_clone, bio), 0);

    if (error) {
        return error;
    }
    workers = alloc_workqueue("spillway_tmem", WQ_MEM_RECLAIM, 0);
    if (!workers) {
        bioset_exit(&clones);
        return -ENOMEM;
    }
    return 0;
}

int tmem_backing_open(u64 blocks)
{
    int error;

    if (!backing || !*backing) {
        return 0;
    }
    error = disk_open();
    if (error) {
        pr_err("cannot open backing=%s: error %d\n", backing, error);
        return error;
    }
    error = disk_check(blocks);
    if (!error) {
        error = queue_init();
    }
    if (error) {
        disk_close();
    }
    return error;
}

void tmem_backing_close(void)
{
    if (disk) {
        destroy_workqueue(workers);
        bioset_exit(&clones);
        disk_close();
    }
}
