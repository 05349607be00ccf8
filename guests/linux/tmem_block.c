// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/tmem0: write = put, read = get, discard and write zeroes = flush, in one persistent pool;
 * object 0, index = page.
 *
 *   submitter -> tmem_queue_rq -> batch of its queue -> one hypercall -> ended, or to the disk
 *
 * Requests collect in the batch of their hardware queue until the block layer says that no more
 * come now (bd->last, commit_rqs) or the batch is full.  The hypercall is made right there: it
 * never sleeps, and a page that is read is there before submit_bio returns.
 *
 * What ends a request may submit the next one, so requests are ended outside the queue's lock and
 * by one drainer at a time: who comes in while one drains leaves his requests to him.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "tmem.h"

#define QUEUES_MAX    16
#define QUEUE_DEPTH   64
#define BATCH_SECTORS (SPILLWAY_TMEM_BATCH * TMEM_BLOCK_SECTORS)

enum counter { PUTS, GETS, FLUSHES, ZEROES, REFUSED, TO_DISK, LOST, CALLS, COUNTERS };

static const char *const counter_names[COUNTERS] = {
    [PUTS] = "puts",       [GETS] = "gets",       [FLUSHES] = "flushes", [ZEROES] = "zeroes",
    [REFUSED] = "refused", [TO_DISK] = "to_disk", [LOST] = "lost",       [CALLS] = "calls"};

/* One hardware queue of blk-mq.  The lock covers all of it. */
struct tmem_queue {
    spinlock_t lock;
    bool draining;
    unsigned int count;           /* operations in the batch */
    struct spillway_tmem_op *ops; /* SPILLWAY_TMEM_BATCH of them, in the direct map */
    struct tmem_request *owner[SPILLWAY_TMEM_BATCH];
    void *bounce;               /* one page, for data that is not aligned to a page */
    struct list_head collected; /* requests in the batch */
    struct list_head done;      /* to be ended */
    u64 counters[COUNTERS];
};

static struct {
    u32 pool;
    u64 blocks;
    u8 *places; /* enum tmem_place of each block */
    struct tmem_queue queues[QUEUES_MAX];
    struct blk_mq_tag_set tags;
    struct gendisk *disk;
    int major;
} device;

/* A full pool refuses every page that Linux offers: one line a minute says so. */
static DEFINE_RATELIMIT_STATE(refused_log, 60 * HZ, 1);
static DEFINE_RATELIMIT_STATE(lost_log, 60 * HZ, 5);

void tmem_block_set_place(u64 block, enum tmem_place place)
{
    WRITE_ONCE(device.places[block], place);
}

/* ---- ends of requests ---- */

void tmem_request_fail(struct tmem_request *request, unsigned int at, unsigned int count,
                       blk_status_t error)
{
    WRITE_ONCE(request->error, error);
    for (; count > 0; at++, count--) {
        set_bit(at, request->failed);
    }
}

static bool request_has_data(struct request *rq)
{
    return req_op(rq) == REQ_OP_READ || req_op(rq) == REQ_OP_WRITE;
}

/*
 * A request of several bios fails for those alone whose blocks failed.  Without the block layer's
 * line for each: refusals are daily life.
 */
void tmem_request_end(struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);
    blk_status_t error = request->error;
    unsigned int i = 0;
    bool more = true;

    if (error == BLK_STS_OK || !request_has_data(rq)) {
        blk_mq_end_request(rq, error);
        return;
    }
    rq->rq_flags |= RQF_QUIET;
    while (more) {
        more = blk_update_request(rq, test_bit(i, request->failed) ? error : BLK_STS_OK, PAGE_SIZE);
        i++;
    }
    __blk_mq_end_request(rq, error);
}

/* Ends what is done, unless somebody does so already.  Called with the lock, returns without. */
static void queue_drain_unlock(struct tmem_queue *queue) __releases(&queue->lock)
{
    struct tmem_request *request;

    if (!queue->draining) {
        queue->draining = true;
        while (!list_empty(&queue->done)) {
            request = list_first_entry(&queue->done, struct tmem_request, link);
            list_del(&request->link);
            spin_unlock(&queue->lock);
            tmem_request_end(request);
            spin_lock(&queue->lock);
        }
        queue->draining = false;
    }
    spin_unlock(&queue->lock);
}

static void queue_finish(struct tmem_queue *queue, struct tmem_request *request)
{
    if (bitmap_empty(request->to_disk, SPILLWAY_TMEM_BATCH)) {
        list_add_tail(&request->link, &queue->done);
    } else {
        tmem_backing_queue(request);
    }
}

/* ---- results ---- */

/* The host keeps nothing of a refused page, not even what it had before. */
static void put_refused(struct tmem_queue *queue, struct tmem_request *request, unsigned int at,
                        int status)
{
    queue->counters[REFUSED]++;
    if (tmem_backing_present()) {
        queue->counters[TO_DISK]++;
        __set_bit(at, request->to_disk);
        return;
    }
    tmem_block_set_place(request->first + at, TMEM_LOST);
    tmem_request_fail(request, at, 1,
                      status == SPILLWAY_TMEM_ENOMEM ? BLK_STS_NOSPC : BLK_STS_IOERR);
    if (__ratelimit(&refused_log)) {
        pr_warn("the host refuses pages (status %d); there is no backing disk\n", status);
    }
}

static void get_failed(struct tmem_queue *queue, struct tmem_request *request, unsigned int at,
                       int status)
{
    queue->counters[LOST]++;
    tmem_request_fail(request, at, 1, BLK_STS_IOERR);
    if (__ratelimit(&lost_log)) {
        pr_err("the host does not give page %llu back (status %d)\n", request->first + at, status);
    }
}

static void op_finish(struct tmem_queue *queue, struct tmem_request *request,
                      const struct spillway_tmem_op *op, int status)
{
    unsigned int at = op->index - (u32)request->first;
    u64 block = request->first + at;

    if (op->op == SPILLWAY_TMEM_PUT) {
        queue->counters[PUTS]++;
        if (status == SPILLWAY_TMEM_OK) {
            tmem_block_set_place(block, TMEM_HOST);
        } else {
            put_refused(queue, request, at, status);
        }
    } else if (op->op == SPILLWAY_TMEM_GET) {
        queue->counters[GETS]++;
        if (status != SPILLWAY_TMEM_OK) {
            get_failed(queue, request, at, status);
        }
    } else {
        queue->counters[FLUSHES]++;
        if (status == SPILLWAY_TMEM_OK || status == SPILLWAY_TMEM_ENOENT) {
            tmem_block_set_place(block, TMEM_EMPTY);
        } else {
            tmem_request_fail(request, at, 1, BLK_STS_IOERR);
        }
    }
}

/* Performs the batch. */
static void queue_call(struct tmem_queue *queue)
{
    unsigned int i, count = queue->count;
    int error;

    if (count == 0) {
        return;
    }
    queue->count = 0;
    queue->counters[CALLS]++;
    error = tmem_call_run(queue->ops, count);
    for (i = 0; i < count; i++) {
        op_finish(queue, queue->owner[i], &queue->ops[i], error ? error : queue->ops[i].status);
    }
}

/* Performs the batch and passes its requests on. */
static void queue_commit(struct tmem_queue *queue)
{
    struct tmem_request *request, *next;

    queue_call(queue);
    list_for_each_entry_safe(request, next, &queue->collected, link)
    {
        list_del(&request->link);
        queue_finish(queue, request);
    }
}

/* ---- collecting ---- */

static void queue_add(struct tmem_queue *queue, struct tmem_request *request, u32 op, u64 block,
                      phys_addr_t address)
{
    queue->ops[queue->count] = (struct spillway_tmem_op){
        .op = op, .pool = device.pool, .index = (u32)block, .address = address};
    queue->owner[queue->count] = request;
    queue->count++;
}

/* What a read of this block needs.  True: the pool has it. */
static bool read_is_get(struct tmem_request *request, unsigned int at)
{
    switch (READ_ONCE(device.places[request->first + at])) {
    case TMEM_HOST:
        return true;
    case TMEM_BACKING:
        __set_bit(at, request->to_disk);
        return false;
    case TMEM_LOST:
        tmem_request_fail(request, at, 1, BLK_STS_IOERR);
        return false;
    default:
        return false;
    }
}

static bool read_is_zero(const struct tmem_request *request, unsigned int at)
{
    return READ_ONCE(device.places[request->first + at]) == TMEM_EMPTY;
}

static bool request_is_aligned(struct request *rq)
{
    struct req_iterator iterator;
    struct bio_vec piece;

    rq_for_each_segment(piece, rq, iterator)
    {
        if (piece.bv_offset != 0 || piece.bv_len != PAGE_SIZE) {
            return false;
        }
    }
    return true;
}

static void collect_pages(struct tmem_queue *queue, struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);
    bool write = op_is_write(req_op(rq));
    struct req_iterator iterator;
    struct bio_vec piece;
    unsigned int at = 0;

    rq_for_each_segment(piece, rq, iterator)
    {
        if (write) {
            queue_add(queue, request, SPILLWAY_TMEM_PUT, request->first + at,
                      page_to_phys(piece.bv_page));
        } else if (read_is_get(request, at)) {
            queue_add(queue, request, SPILLWAY_TMEM_GET, request->first + at,
                      page_to_phys(piece.bv_page));
        } else if (read_is_zero(request, at)) {
            queue->counters[ZEROES]++;
            memzero_bvec(&piece);
        }
        at++;
    }
}

static void collect_flushes(struct tmem_queue *queue, struct tmem_request *request)
{
    unsigned int at, count = blk_rq_bytes(blk_mq_rq_from_pdu(request)) / PAGE_SIZE;

    for (at = 0; at < count; at++) {
        queue_add(queue, request, SPILLWAY_TMEM_FLUSH_PAGE, request->first + at, 0);
    }
}

/* One block is complete in the bounce page: an operation of its own. */
static void bounce_put(struct tmem_queue *queue, struct tmem_request *request, unsigned int at)
{
    queue_add(queue, request, SPILLWAY_TMEM_PUT, request->first + at, virt_to_phys(queue->bounce));
    queue_call(queue);
}

static void bounce_get(struct tmem_queue *queue, struct tmem_request *request, unsigned int at)
{
    memset(queue->bounce, 0, PAGE_SIZE);
    if (read_is_get(request, at)) {
        queue_add(queue, request, SPILLWAY_TMEM_GET, request->first + at,
                  virt_to_phys(queue->bounce));
        queue_call(queue);
    }
}

/* Pieces that begin or end within a page, block by block through the bounce page.  Rare. */
static void bounce_pages(struct tmem_queue *queue, struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);
    bool write = op_is_write(req_op(rq));
    struct req_iterator iterator;
    struct bio_vec piece;
    unsigned int done = 0; /* bytes of the request */

    rq_for_each_segment(piece, rq, iterator)
    {
        while (piece.bv_len > 0) {
            unsigned int offset = offset_in_page(done);
            struct bio_vec part = piece;

            part.bv_len = min_t(unsigned int, piece.bv_len, PAGE_SIZE - offset);
            if (!write && offset == 0) {
                bounce_get(queue, request, done / PAGE_SIZE);
            }
            if (write) {
                memcpy_from_bvec(queue->bounce + offset, &part);
            } else {
                memcpy_to_bvec(&part, queue->bounce + offset);
            }
            done += part.bv_len;
            piece.bv_offset += part.bv_len;
            piece.bv_len -= part.bv_len;
            if (write && offset_in_page(done) == 0) {
                bounce_put(queue, request, done / PAGE_SIZE - 1);
            }
        }
    }
}

/* Adds the request to the batch, or performs it if that is not possible. */
static void queue_take(struct tmem_queue *queue, struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);

    if (queue->count + blk_rq_bytes(rq) / PAGE_SIZE > SPILLWAY_TMEM_BATCH) {
        queue_commit(queue);
    }
    if (!request_has_data(rq)) {
        collect_flushes(queue, request);
    } else if (request_is_aligned(rq)) {
        collect_pages(queue, request);
    } else {
        queue_commit(queue); /* the bounce page is used right away */
        bounce_pages(queue, request);
    }
    list_add_tail(&request->link, &queue->collected);
}

static blk_status_t tmem_queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *bd)
{
    struct tmem_request *request = blk_mq_rq_to_pdu(bd->rq);
    struct tmem_queue *queue = hctx->driver_data;

    switch (req_op(bd->rq)) {
    case REQ_OP_READ:
    case REQ_OP_WRITE:
    case REQ_OP_DISCARD:
    case REQ_OP_WRITE_ZEROES:
        break;
    default:
        return BLK_STS_NOTSUPP;
    }
    blk_mq_start_request(bd->rq);
    request->first = blk_rq_pos(bd->rq) / TMEM_BLOCK_SECTORS;
    request->error = BLK_STS_OK;
    bitmap_zero(request->failed, SPILLWAY_TMEM_BATCH);
    bitmap_zero(request->to_disk, SPILLWAY_TMEM_BATCH);

    spin_lock(&queue->lock);
    queue_take(queue, request);
    if (bd->last || queue->count == SPILLWAY_TMEM_BATCH) {
        queue_commit(queue);
    }
    queue_drain_unlock(queue);
    return BLK_STS_OK;
}

static void tmem_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
    struct tmem_queue *queue = hctx->driver_data;

    spin_lock(&queue->lock);
    queue_commit(queue);
    queue_drain_unlock(queue);
}

/* The host may take its time for a page, the backing disk too: look after the batch, and wait on.
 */
static enum blk_eh_timer_return tmem_timeout(struct request *rq)
{
    tmem_commit_rqs(rq->mq_hctx);
    return BLK_EH_RESET_TIMER;
}

static int tmem_init_hctx(struct blk_mq_hw_ctx *hctx, void *data, unsigned int index)
{
    hctx->driver_data = &device.queues[index];
    return 0;
}

static const struct blk_mq_ops queue_operations = {
    .queue_rq = tmem_queue_rq,
    .commit_rqs = tmem_commit_rqs,
    .timeout = tmem_timeout,
    .init_hctx = tmem_init_hctx,
};

static const struct block_device_operations disk_operations = {.owner = THIS_MODULE};

/* ---- /sys/block/tmem0/tmem/stat ---- */

static ssize_t stat_show(struct device *dev, struct device_attribute *attribute, char *page)
{
    unsigned int i, counter;
    ssize_t length = 0;

    for (counter = 0; counter < COUNTERS; counter++) {
        u64 sum = 0;

        for (i = 0; i < device.tags.nr_hw_queues; i++) {
            sum += READ_ONCE(device.queues[i].counters[counter]);
        }
        length += sysfs_emit_at(page, length, "%s %llu\n", counter_names[counter], sum);
    }
    return length;
}

static DEVICE_ATTR_RO(stat);

static struct attribute *stat_attributes[] = {&dev_attr_stat.attr, NULL};
static const struct attribute_group stat_group = {.name = "tmem", .attrs = stat_attributes};
static const struct attribute_group *stat_groups[] = {&stat_group, NULL};

/* ---- life ---- */

static void queues_free(void)
{
    unsigned int i;

    for (i = 0; i < QUEUES_MAX; i++) {
        kfree(device.queues[i].ops);
        free_page((unsigned long)device.queues[i].bounce);
        device.queues[i].ops = NULL;
        device.queues[i].bounce = NULL;
    }
}

static int queues_alloc(unsigned int count)
{
    unsigned int i;

    for (i = 0; i < count; i++) {
        struct tmem_queue *queue = &device.queues[i];

        spin_lock_init(&queue->lock);
        INIT_LIST_HEAD(&queue->collected);
        INIT_LIST_HEAD(&queue->done);
        queue->ops = kcalloc(SPILLWAY_TMEM_BATCH, sizeof(*queue->ops), GFP_KERNEL);
        queue->bounce = (void *)__get_free_page(GFP_KERNEL);
        if (!queue->ops || !queue->bounce) {
            queues_free();
            return -ENOMEM;
        }
    }
    return 0;
}

static int tags_alloc(unsigned int queues)
{
    device.tags = (struct blk_mq_tag_set)
    {
        .ops = &queue_operations, .nr_hw_queues = queues, .queue_depth = QUEUE_DEPTH,
        .numa_node = NUMA_NO_NODE, .cmd_size = sizeof(struct tmem_request),
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
        .flags = BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_NO_SCHED_BY_DEFAULT,
#else
        .flags = BLK_MQ_F_NO_SCHED_BY_DEFAULT,
#endif
    };
    return blk_mq_alloc_tag_set(&device.tags);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
static struct gendisk *disk_alloc(void)
{
    struct queue_limits limits = {
        .logical_block_size = PAGE_SIZE,
        .physical_block_size = PAGE_SIZE,
        .max_hw_sectors = BATCH_SECTORS,
        .max_segments = SPILLWAY_TMEM_BATCH,
        .max_hw_discard_sectors = BATCH_SECTORS,
        .max_write_zeroes_sectors = BATCH_SECTORS,
        .discard_granularity = PAGE_SIZE,
    };
    struct gendisk *disk = blk_mq_alloc_disk(&device.tags, &limits, NULL);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
    if (!IS_ERR(disk)) {
        blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
    }
#endif
    return disk;
}
#else
static struct gendisk *disk_alloc(void)
{
    struct gendisk *disk = blk_mq_alloc_disk(&device.tags, NULL);

    if (!IS_ERR(disk)) {
        struct request_queue *queue = disk->queue;

        blk_queue_logical_block_size(queue, PAGE_SIZE);
        blk_queue_physical_block_size(queue, PAGE_SIZE);
        blk_queue_max_hw_sectors(queue, BATCH_SECTORS);
        blk_queue_max_segments(queue, SPILLWAY_TMEM_BATCH);
        blk_queue_max_discard_sectors(queue, BATCH_SECTORS);
        blk_queue_max_write_zeroes_sectors(queue, BATCH_SECTORS);
        queue->limits.discard_granularity = PAGE_SIZE;
        blk_queue_flag_set(QUEUE_FLAG_NONROT, queue);
    }
    return disk;
}
#endif

static int disk_add(void)
{
    struct gendisk *disk = disk_alloc();
    int error;

    if (IS_ERR(disk)) {
        return PTR_ERR(disk);
    }
    disk->major = device.major;
    disk->first_minor = 0;
    disk->minors = 1;
    disk->flags |= GENHD_FL_NO_PART;
    disk->fops = &disk_operations;
    strscpy(disk->disk_name, "tmem0", sizeof(disk->disk_name));
    set_capacity(disk, device.blocks * TMEM_BLOCK_SECTORS);
    device.disk = disk;
    error = device_add_disk(NULL, disk, stat_groups);
    if (error) {
        put_disk(disk);
    }
    return error;
}

/* Everything below the disk: pool, map, queues, backing disk. */
static int parts_init(unsigned int queues)
{
    int error = tmem_call_create(SPILLWAY_TMEM_PERSISTENT, &device.pool);

    if (error) {
        pr_err("the host makes no pool: error %d\n", error);
        return error;
    }
    error = -ENOMEM;
    device.places = vzalloc(device.blocks);
    if (!device.places) {
        goto no_map;
    }
    error = queues_alloc(queues);
    if (error) {
        goto no_queues;
    }
    error = tmem_backing_open(device.blocks);
    if (error) {
        goto no_backing;
    }
    return 0;

no_backing:
    queues_free();
no_queues:
    vfree(device.places);
no_map:
    tmem_call_pool(SPILLWAY_TMEM_DESTROY, device.pool);
    return error;
}

static void parts_exit(void)
{
    tmem_backing_close();
    queues_free();
    vfree(device.places);
    tmem_call_pool(SPILLWAY_TMEM_DESTROY, device.pool);
}

static int device_init(void)
{
    unsigned int queues = min_t(unsigned int, num_online_cpus(), QUEUES_MAX);
    int error = parts_init(queues);

    if (error) {
        return error;
    }
    device.major = register_blkdev(0, "tmem");
    if (device.major < 0) {
        error = device.major;
        goto no_major;
    }
    error = tags_alloc(queues);
    if (error) {
        goto no_tags;
    }
    error = disk_add();
    if (error) {
        goto no_disk;
    }
    return 0;

no_disk:
    blk_mq_free_tag_set(&device.tags);
no_tags:
    unregister_blkdev(device.major, "tmem");
no_major:
    parts_exit();
    return error;
}

int tmem_block_init(void)
{
    struct spillway_tmem_info info;
    int error = tmem_call_query(&info);

    if (error) {
        pr_err("the host does not answer a query: error %d\n", error);
        return error;
    }
    device.blocks = min_t(u64, info.quota, U32_MAX); /* the index has 32 bits */
    if (device.blocks == 0) {
        pr_info("no quota: there will be no tmem0\n");
        return 0;
    }
    error = device_init();
    if (error) {
        device.blocks = 0;
        return error;
    }
    pr_info("tmem0: %llu pages%s\n", device.blocks,
            tmem_backing_present() ? ", with a backing disk" : "");
    return 0;
}

void tmem_block_exit(void)
{
    if (device.blocks == 0) {
        return;
    }
    del_gendisk(device.disk);
    put_disk(device.disk);
    blk_mq_free_tag_set(&device.tags);
    unregister_blkdev(device.major, "tmem");
    parts_exit();
}
