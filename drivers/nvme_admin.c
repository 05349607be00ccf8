/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe controller start and admin commands. */
#include <string.h>

#include "base/log.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

#define CC_ENABLE    BIT(0)
#define CC_CSS       BITS(6, 4)
#define CC_CSS_SETS  6u /* all I/O command sets that the controller has */
#define CC_IOSQES    BITS(19, 16)
#define CC_IOCQES    BITS(23, 20)
#define QUEUE_CONTIG 0x1u
#define QUEUE_IRQ    0x2u

#define FEATURE_QUEUES   7
#define ADMIN_TIMEOUT_US 5000000u
#define POLL_US          10u

static void reg_write64(struct nvme_controller *c, unsigned offset, uint64_t value)
{
    nvme_write(c, offset, (uint32_t)value);
    nvme_write(c, offset + 4, (uint32_t)(value >> 32));
}

volatile uint32_t *nvme_doorbell(struct nvme_controller *c, unsigned queue, bool cq)
{
    unsigned stride = 4u << FIELD_GET(NVME_CAP_DSTRD, c->capabilities);

    return (volatile uint32_t *)(c->registers + NVME_DOORBELLS + (size_t)(2 * queue + cq) * stride);
}

bool nvme_admin_failed(const struct nvme_controller *c)
{
    uint32_t status = nvme_read(c, NVME_CSTS);

    return status == NVME_CSTS_GONE || (status & NVME_CSTS_FATAL) != 0;
}

static bool wait_ready(const struct nvme_controller *c, uint32_t want)
{
    uint64_t waited_us = 0;
    uint64_t limit_us = (FIELD_GET(NVME_CAP_TO, c->capabilities) + 1) * 500000;

    for (;;) {
        uint32_t status = nvme_read(c, NVME_CSTS);
        if (status == NVME_CSTS_GONE || (want && (status & NVME_CSTS_FATAL))) {
            return false;
        }
        if ((status & NVME_CSTS_READY) == want) {
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
bool nvme_start(struct nvme_controller *c)
{
    uint64_t sets = c->capabilities & NVME_CAP_CSS_SETS ? CC_CSS_SETS : 0;

    nvme_write(c, NVME_CC, nvme_read(c, NVME_CC) & (uint32_t)~CC_ENABLE);
    if (!wait_ready(c, 0)) {
        log_error("%s: controller does not stop", c->name);
        return false;
    }
    nvme_ring_reset(&c->admin);
    nvme_write(c, NVME_AQA, (NVME_ADMIN_DEPTH - 1) << 16 | (NVME_ADMIN_DEPTH - 1));
    reg_write64(c, NVME_ASQ, c->admin_sq.v);
    reg_write64(c, NVME_ACQ, c->admin_cq.v);
    /* Entry sizes are powers of two: 64 and 16 bytes.  Pages of 4 KiB.  Where the controller has
     * other command sets than NVM, all are on: else it would hide their namespaces. */
    nvme_write(c, NVME_CC,
               (uint32_t)(FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4) |
                          FIELD_PREP(CC_CSS, sets) | CC_ENABLE));
    if (!wait_ready(c, NVME_CSTS_READY)) {
        log_error("%s: controller does not become ready, CSTS %08x", c->name,
                  nvme_read(c, NVME_CSTS));
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
    *nvme_doorbell(c, 0, true) = c->admin.cq_head;
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
    *nvme_doorbell(c, 0, false) = c->admin.sq_tail;
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
                log_error("%s: admin command %02x failed: %s (%04x)", c->name, command->opcode,
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
    log_error("%s: admin command %02x: no answer", c->name, command->opcode);
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

/* Both counts, of submission and of completion queues, are 0's based. */
struct nvme_command nvme_admin_queue_command(unsigned want)
{
    return (struct nvme_command){
        .opcode = NVME_ADMIN_SET_FEATURES,
        .dword10 = FEATURE_QUEUES,
        .dword11 = (want - 1) << 16 | (want - 1),
    };
}

unsigned nvme_admin_queues_granted(uint32_t result)
{
    return MIN(result & 0xffffu, result >> 16) + 1;
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
    return nvme_admin_run(c, &cq, NULL) && nvme_admin_run(c, &sq, NULL);
}

bool nvme_start_queues(struct nvme_controller *c)
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
