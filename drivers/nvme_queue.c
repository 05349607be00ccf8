/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe I/O queues under the queue engine: commands on the rings, doorbells, completions.
 *
 * A command that is overdue is aborted; if the same time passes again, the engine resets the
 * controller (nvme_reset.c).
 */
#include <stdio.h>

#include "base/log.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

#define PRP_LIST_ENTRIES (NVME_PRP_LIST_BYTES / sizeof(uint64_t))
_Static_assert(PRP_LIST_ENTRIES >= BLOCK_MAX_PAGES - 1, "a PRP list holds one request");

/*
 * Memory of a queue, in one piece; rings begin on pages of their own:
 *
 *     struct nvme_queue | completion queue | submission queue | a PRP list for each tag
 */
#define CQ_OFFSET  PAGE_SIZE
#define SQ_OFFSET  (2 * PAGE_SIZE)
#define PRP_OFFSET (3 * PAGE_SIZE)
_Static_assert(sizeof(struct nvme_queue) <= PAGE_SIZE, "a queue fits its page");
_Static_assert(BLOCK_TAGS * sizeof(struct nvme_command) <= PAGE_SIZE, "its rings fit theirs");

static struct nvme_queue *queue_of(struct disk_queue *common)
{
    return CONTAINER_OF(common, struct nvme_queue, common);
}

bool nvme_queue_add(struct nvme_controller *c, uint16_t depth)
{
    uint64_t bytes = ALIGN_UP(PRP_OFFSET + (uint64_t)depth * NVME_PRP_LIST_BYTES, PAGE_SIZE);
    hpa_t memory;
    uint8_t *base = platform_dma_alloc(bytes, &memory);
    struct nvme_queue *q = (struct nvme_queue *)(void *)base;

    if (!q) {
        return false;
    }
    /* One tag less than entries: a ring with as many commands as entries would look empty. */
    disk_queue_init(&q->common, &c->hardware, depth - 1u);
    c->hardware.queue[c->hardware.queues++] = &q->common;
    q->id = (uint16_t)c->hardware.queues; /* 0 is the admin queue */
    q->vector = -1;
    q->memory = memory;
    q->memory_bytes = bytes;
    q->ring.depth = depth;
    q->ring.cq = (struct nvme_completion *)(void *)(base + CQ_OFFSET);
    q->ring.sq = (struct nvme_command *)(void *)(base + SQ_OFFSET);
    q->prp_lists = (uint64_t *)(void *)(base + PRP_OFFSET);
    q->cq_address = hpa(memory.v + CQ_OFFSET);
    q->sq_address = hpa(memory.v + SQ_OFFSET);
    q->prp_address = hpa(memory.v + PRP_OFFSET);
    q->sq_doorbell = nvme_doorbell(c, q->id, false);
    q->cq_doorbell = nvme_doorbell(c, q->id, true);
    return true;
}

void nvme_queues_free(struct nvme_controller *c)
{
    while (c->hardware.queues != 0) {
        const struct nvme_queue *q = nvme_queue_at(c, --c->hardware.queues);

        platform_dma_free(q->memory, q->memory_bytes);
    }
}

static enum nvme_io_opcode opcode_of(enum block_op op)
{
    switch (op) {
    case BLOCK_READ:
        return NVME_IO_READ;
    case BLOCK_WRITE:
        return NVME_IO_WRITE;
    default:
        return NVME_IO_FLUSH;
    }
}

static void nvme_issue(struct disk_queue *common, unsigned tag)
{
    struct nvme_queue *q = queue_of(common);
    const struct block_slice *slice = &common->tags.tag[tag].slice;
    const struct nvme_namespace *ns = block_request_device(slice->request)->driver;
    struct nvme_command command;

    nvme_command_io(&command, opcode_of(slice->request->op), ns->nsid, block_slice_sector(slice),
                    block_slice_sectors(slice), ns->lba_shift);
    command.id = (uint16_t)tag;
    if (slice->count != 0) {
        nvme_prp_set(&command, slice->request->page + slice->first, slice->count,
                     block_slice_offset(slice) << BLOCK_SECTOR_SHIFT,
                     q->prp_lists + tag * PRP_LIST_ENTRIES,
                     hpa(q->prp_address.v + tag * NVME_PRP_LIST_BYTES));
    }
    nvme_ring_push(&q->ring, &command);
}

static void nvme_notify(struct disk_queue *common)
{
    const struct nvme_queue *q = queue_of(common);

    /* Release: entries and PRP lists are in memory before the doorbell says so. */
    atomic_thread_fence(memory_order_release);
    *q->sq_doorbell = q->ring.sq_tail;
}

static enum disk_verdict verdict_of(uint16_t status)
{
    if ((status & NVME_STATUS_RESULT) == 0) {
        return DISK_DONE;
    }
    return status & NVME_STATUS_DNR ? DISK_FAILED : DISK_AGAIN;
}

static bool nvme_reap(struct disk_queue *common)
{
    struct nvme_queue *q = queue_of(common);
    struct nvme_completion done;
    bool any = false;

    while (nvme_ring_pop(&q->ring, &done)) {
        any = true;
        if (!disk_queue_answer(common, done.id, verdict_of(done.status), done.status)) {
            log_error("%s: queue %u: completion of command %u, which is not in flight",
                      nvme_controller_of(common->hardware)->name, q->id, done.id);
        }
    }
    if (any) {
        *q->cq_doorbell = q->ring.cq_head;
    }
    return any;
}

static bool nvme_pending(struct disk_queue *common)
{
    return nvme_ring_pending(&queue_of(common)->ring);
}

static void nvme_describe(uint16_t status, char *words, size_t bytes)
{
    snprintf(words, bytes, "%s (%04x)%s", nvme_status_name(status), status >> 1,
             status & NVME_STATUS_DNR ? ", no retry" : "");
}

static bool nvme_abort(struct disk_queue *common, unsigned tag, const struct block_device *disk)
{
    const struct nvme_queue *q = queue_of(common);
    struct nvme_controller *c = nvme_controller_of(common->hardware);

    log_error("%s: queue %u command %u: no answer, aborting it", disk->name, q->id, tag);
    nvme_admin_abort(c, q->id, (uint16_t)tag);
    return !nvme_admin_failed(c);
}

const struct disk_ops nvme_disk_ops = {
    .issue = nvme_issue,
    .notify = nvme_notify,
    .reap = nvme_reap,
    .pending = nvme_pending,
    .describe = nvme_describe,
    .abort = nvme_abort,
    .reset_begin = nvme_reset_begin,
    .reset_step = nvme_reset_step,
    .give_up = nvme_give_up,
    .patience = 1,
};

static struct disk_hardware *hardware_of(const struct block_device *device)
{
    return &((struct nvme_namespace *)device->driver)->controller->hardware;
}

static void nvme_submit(struct block_device *device, struct block_request *request)
{
    disk_hardware_submit(hardware_of(device), device, request);
}

static void nvme_poll(struct block_device *device)
{
    disk_hardware_poll(hardware_of(device));
}

const struct block_ops nvme_block_ops = {
    .submit = nvme_submit,
    .poll = nvme_poll,
};
