// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of the requests to tmem0: write = put, read = get, discard and write zeroes = flush;
 * object 0, index = block.
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

static u32 pool;
static u8 *places; /* enum tmem_place of each block */
static struct tmem_queue *queues;
static unsigned int queue_count;

/* A full pool refuses every page that Linux offers: one line a minute says so. */
static DEFINE_RATELIMIT_STATE(refused_log, 60 * HZ, 1);
static DEFINE_RATELIMIT_STATE(lost_log, 60 * HZ, 5);

void tmem_queue_set_place(u64 block, enum tmem_place place)
{
    WRITE_ONCE(places[block], place);
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
    tmem_queue_set_place(request->first + at, TMEM_LOST);
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
            tmem_queue_set_place(block, TMEM_HOST);
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
            tmem_queue_set_place(block, TMEM_EMPTY);
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
    queue->ops[queue->count] =
        (struct spillway_tmem_op){.op = op, .pool = pool, .index = (u32)block, .address = address};
    queue->owner[queue->count] = request;
    queue->count++;
}

/* What a read of this block needs.  True: the pool has it. */
static bool read_is_get(struct tmem_request *request, unsigned int at)
{
    switch (READ_ONCE(places[request->first + at])) {
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
    return READ_ONCE(places[request->first + at]) == TMEM_EMPTY;
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

/* A piece that begins or ends within a page; `done` bytes of the request are before it. */
static void bounce_piece(struct tmem_queue *queue, struct tmem_request *request, bool write,
                         struct bio_vec piece, unsigned int done)
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

/* Block by block through the bounce page.  Rare. */
static void bounce_pages(struct tmem_queue *queue, struct tmem_request *request)
{
    struct request *rq = blk_mq_rq_from_pdu(request);
    struct req_iterator iterator;
    struct bio_vec piece; /* the iterator moves on by its length: not to be changed here */
    unsigned int done = 0;

    rq_for_each_segment(piece, rq, iterator)
    {
        bounce_piece(queue, request, op_is_write(req_op(rq)), piece, done);
        done += piece.bv_len;
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
    hctx->driver_data = &queues[index];
    return 0;
}

const struct blk_mq_ops tmem_queue_operations = {
    .queue_rq = tmem_queue_rq,
    .commit_rqs = tmem_commit_rqs,
    .timeout = tmem_timeout,
    .init_hctx = tmem_init_hctx,
};

u64 tmem_queue_counter(unsigned int counter, const char **name)
{
    u64 sum = 0;
    unsigned int i;

    if (counter >= COUNTERS) {
        return 0;
    }
    for (i = 0; i < queue_count; i++) {
        sum += READ_ONCE(queues[i].counters[counter]);
    }
    *name = counter_names[counter];
    return sum;
}

/* ---- life ---- */

void tmem_queues_free(void)
{
    unsigned int i;

    for (i = 0; i < queue_count; i++) {
        kfree(queues[i].ops);
        free_page((unsigned long)queues[i].bounce);
    }
    queue_count = 0;
    kfree(queues);
    vfree(places);
}

static int queue_init(struct tmem_queue *queue)
{
    spin_lock_init(&queue->lock);
    INIT_LIST_HEAD(&queue->collected);
    INIT_LIST_HEAD(&queue->done);
    queue->ops = kcalloc(SPILLWAY_TMEM_BATCH, sizeof(*queue->ops), GFP_KERNEL);
    queue->bounce = (void *)__get_free_page(GFP_KERNEL);
    return queue->ops && queue->bounce ? 0 : -ENOMEM;
}

int tmem_queues_alloc(unsigned int count, u32 in_pool, u64 blocks)
{
    pool = in_pool;
    places = vzalloc(blocks);
    queues = kcalloc(count, sizeof(*queues), GFP_KERNEL);
    if (!places || !queues) {
        tmem_queues_free();
        return -ENOMEM;
    }
    while (queue_count < count) {
        if (queue_init(&queues[queue_count++]) != 0) {
            tmem_queues_free();
            return -ENOMEM;
        }
    }
    return 0;
}
