/* SPDX-License-Identifier: BSD-2-Clause */
/* NVMe admin queue and its commands. */
#include <string.h>

#include "base/log.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

#define FEATURE_QUEUES 7
#define POLL_US        10u

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

/* Takes one completion off the admin queue. */
static bool admin_pop(struct nvme_controller *c, struct nvme_completion *done)
{
    if (!nvme_ring_pop(&c->admin, done)) {
        return false;
    }
    *nvme_doorbell(c, 0, true) = c->admin.cq_head;
    return true;
}

bool nvme_admin_send(struct nvme_controller *c, struct nvme_command *command)
{
    struct nvme_completion old;

    /* Answers to Aborts that nobody waited for. */
    while (admin_pop(c, &old)) {
    }
    if (nvme_ring_full(&c->admin)) {
        return false;
    }
    command->id = ++c->admin_id;
    c->admin_opcode = command->opcode;
    nvme_ring_push(&c->admin, command);
    /* Release: the entry is in memory before the doorbell says so. */
    atomic_thread_fence(memory_order_release);
    *nvme_doorbell(c, 0, false) = c->admin.sq_tail;
    return true;
}

enum nvme_answer nvme_admin_answer(struct nvme_controller *c, uint32_t *result)
{
    struct nvme_completion done;

    while (admin_pop(c, &done)) {
        if (done.id != c->admin_id) {
            continue;
        }
        if (done.status & NVME_STATUS_RESULT) {
            log_error("%s: admin command %02x failed: %s (%04x)", c->name, c->admin_opcode,
                      nvme_status_name(done.status), done.status >> 1);
            return NVME_FAILED;
        }
        if (result) {
            *result = done.result;
        }
        return NVME_DONE;
    }
    return NVME_WAITING;
}

bool nvme_admin_run(struct nvme_controller *c, struct nvme_command *command, uint32_t *result)
{
    uint64_t now = platform_clock_ns(), deadline = now + NVME_ADMIN_TIMEOUT_NS;
    enum nvme_answer answer;

    if (!nvme_admin_send(c, command)) {
        return false;
    }
    while ((answer = nvme_admin_answer(c, result)) == NVME_WAITING && now < deadline) {
        platform_delay_us(POLL_US);
        now = platform_clock_ns(); /* before the look: what is late has been looked for */
    }
    if (answer == NVME_WAITING) {
        log_error("%s: admin command %02x: no answer", c->name, command->opcode);
    }
    return answer == NVME_DONE;
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

void nvme_admin_abort(struct nvme_controller *c, uint16_t queue, uint16_t command)
{
    struct nvme_command abort = {
        .opcode = NVME_ADMIN_ABORT,
        .dword10 = (uint32_t)command << 16 | queue,
    };

    nvme_admin_send(c, &abort);
}
