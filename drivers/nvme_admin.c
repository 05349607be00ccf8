/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe controller start and admin commands. */
#include <string.h>

#include "base/log.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

/* NVMe 1.4, 3.1 "Register Definition". */
enum {
    NVME_CC = 0x14,
    NVME_CSTS = 0x1c,
    NVME_AQA = 0x24,
    NVME_ASQ = 0x28,
    NVME_ACQ = 0x30,
    NVME_DOORBELLS = 0x1000,
};

#define CAP_TO       BITS(31, 24) /* ready time-out, 500 ms units */
#define CAP_DSTRD    BITS(35, 32)
#define CC_ENABLE    BIT(0)
#define CC_IOSQES    BITS(19, 16)
#define CC_IOCQES    BITS(23, 20)
#define CSTS_READY   BIT(0)
#define CSTS_FATAL   BIT(1)
#define CSTS_GONE    0xffffffffu
#define QUEUE_CONTIG 0x1u
#define QUEUE_IRQ    0x2u

#define FEATURE_QUEUES   7
#define ADMIN_TIMEOUT_US 5000000u
#define POLL_US          10u

static uint32_t reg_read(const struct nvme_controller *c, unsigned offset)
{
    return *(volatile uint32_t *)(c->registers + offset);
}

static void reg_write(struct nvme_controller *c, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(c->registers + offset) = value;
}

static void reg_write64(struct nvme_controller *c, unsigned offset, uint64_t value)
{
    reg_write(c, offset, (uint32_t)value);
    reg_write(c, offset + 4, (uint32_t)(value >> 32));
}

static volatile uint32_t *doorbell(struct nvme_controller *c, unsigned queue, unsigned cq)
{
    unsigned stride = 4u << FIELD_GET(CAP_DSTRD, c->capabilities);

    return (volatile uint32_t *)(c->registers + NVME_DOORBELLS + (size_t)(2 * queue + cq) * stride);
}

bool nvme_admin_failed(const struct nvme_controller *c)
{
    uint32_t status = reg_read(c, NVME_CSTS);

    return status == CSTS_GONE || (status & CSTS_FATAL) != 0;
}

static bool wait_ready(const struct nvme_controller *c, uint32_t want)
{
    uint64_t waited_us = 0;
    uint64_t limit_us = (FIELD_GET(CAP_TO, c->capabilities) + 1) * 500000;

    for (;;) {
        uint32_t status = reg_read(c, NVME_CSTS);
        if (status == CSTS_GONE || (want && (status & CSTS_FATAL))) {
            return false;
        }
        if ((status & CSTS_READY) == want) {
            return true;
        }
        if (waited_us >= limit_us) {
            return false;
        }
        platform_delay_us(POLL_US);
        waited_us += POLL_US;
    }
}

/* 7.6.1 "Initialization". */
bool nvme_admin_start(struct nvme_controller *c)
{
    reg_write(c, NVME_CC, reg_read(c, NVME_CC) & (uint32_t)~CC_ENABLE);
    if (!wait_ready(c, 0)) {
        log_error("nvme: controller does not stop");
        return false;
    }
    nvme_ring_reset(&c->admin);
    reg_write(c, NVME_AQA, (NVME_ADMIN_DEPTH - 1) << 16 | (NVME_ADMIN_DEPTH - 1));
    reg_write64(c, NVME_ASQ, c->admin_sq.v);
    reg_write64(c, NVME_ACQ, c->admin_cq.v);
    /* Entry sizes are powers of two: 64 and 16 bytes.  Pages of 4 KiB, NVM command set. */
    reg_write(c, NVME_CC,
              (uint32_t)(FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4) | CC_ENABLE));
    if (!wait_ready(c, CSTS_READY)) {
        log_error("nvme: controller does not become ready, CSTS %08x", reg_read(c, NVME_CSTS));
        return false;
    }
    return true;
}

/* Takes one completion off the admin queue. */
static bool admin_pop(struct nvme_controller *c, struct nvme_completion *done)
{
    if (!nvme_ring_pop(&c->admin, done)) {
        return false;
    }
    *doorbell(c, 0, 1) = c->admin.cq_head;
    return true;
}

/* False: the ring is full of commands that nobody answers. */
static bool admin_push(struct nvme_controller *c, struct nvme_command *command)
{
    struct nvme_completion old;

    /* Answers to Aborts that nobody waited for. */
    while (admin_pop(c, &old)) {
    }
    if (nvme_ring_full(&c->admin)) {
        return false;
    }
    command->id = ++c->admin_id;
    nvme_ring_push(&c->admin, command);
    /* Release: the entry is in memory before the doorbell says so. */
    atomic_thread_fence(memory_order_release);
    *doorbell(c, 0, 0) = c->admin.sq_tail;
    return true;
}

bool nvme_admin_run(struct nvme_controller *c, struct nvme_command *command, uint32_t *result)
{
    struct nvme_completion done;

    if (!admin_push(c, command)) {
        return false;
    }
    for (unsigned waited = 0; waited < ADMIN_TIMEOUT_US; waited += POLL_US) {
        while (admin_pop(c, &done)) {
            if (done.id != command->id) {
                continue;
            }
            if (done.status & NVME_STATUS_RESULT) {
                log_error("nvme: admin command %02x failed: %s (%04x)", command->opcode,
                          nvme_status_name(done.status), done.status >> 1);
                return false;
            }
            if (result) {
                *result = done.result;
            }
            return true;
        }
        platform_delay_us(POLL_US);
    }
    log_error("nvme: admin command %02x: no answer", command->opcode);
    return false;
}

bool nvme_admin_identify(struct nvme_controller *c, uint32_t cns, uint32_t nsid)
{
    struct nvme_command command = {
        .opcode = NVME_ADMIN_IDENTIFY,
        .nsid = nsid,
        .prp1 = c->identify_address.v,
        .dword10 = cns,
    };

    memset(c->identify, 0, PAGE_SIZE);
    return nvme_admin_run(c, &command, NULL);
}

unsigned nvme_admin_queue_count(struct nvme_controller *c, unsigned want)
{
    struct nvme_command command = {
        .opcode = NVME_ADMIN_SET_FEATURES,
        .dword10 = FEATURE_QUEUES,
        .dword11 = (want - 1) << 16 | (want - 1),
    };
    uint32_t granted;

    if (!nvme_admin_run(c, &command, &granted)) {
        return 0;
    }
    /* Both counts are 0's based; the controller may grant more than was asked for. */
    unsigned pairs = MIN(granted & 0xffffu, granted >> 16) + 1;
    return MIN(pairs, want);
}

static bool create_queue(struct nvme_controller *c, struct nvme_queue *q, unsigned entry)
{
    uint32_t size = (uint32_t)(q->ring.depth - 1) << 16 | q->id;
    struct nvme_command cq = {
        .opcode = NVME_ADMIN_CREATE_CQ,
        .prp1 = q->cq_address.v,
        .dword10 = size,
        .dword11 = q->vector >= 0 ? entry << 16 | QUEUE_IRQ | QUEUE_CONTIG : QUEUE_CONTIG,
    };
    struct nvme_command sq = {
        .opcode = NVME_ADMIN_CREATE_SQ,
        .prp1 = q->sq_address.v,
        .dword10 = size,
        .dword11 = (uint32_t)q->id << 16 | QUEUE_CONTIG,
    };

    nvme_ring_reset(&q->ring);
    q->sq_doorbell = doorbell(c, q->id, 0);
    q->cq_doorbell = doorbell(c, q->id, 1);
    return nvme_admin_run(c, &cq, NULL) && nvme_admin_run(c, &sq, NULL);
}

bool nvme_admin_create_queues(struct nvme_controller *c)
{
    for (unsigned i = 0; i < c->queues; i++) {
        if (!create_queue(c, c->queue[i], i)) {
            return false;
        }
    }
    return true;
}

void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command)
{
    struct nvme_command abort = {
        .opcode = NVME_ADMIN_ABORT,
        .dword10 = (uint32_t)command << 16 | queue,
    };

    if (atomic_exchange_explicit(&c->admin_busy, true, memory_order_acquire)) {
        return;
    }
    admin_push(c, &abort);
    atomic_store_explicit(&c->admin_busy, false, memory_order_release);
}
