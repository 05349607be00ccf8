/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start of an NVMe controller: at boot, and again when it has stopped answering.
 *
 *   begin --> STOPPING --RDY 0--> STARTING --RDY 1--> SETUP --last answer--> it runs
 *                 |                   |                 |
 *                 '------ late --------'--- or refused --'--> nvme_give_up()
 *
 * Nothing here waits: a step looks once at what the controller shows and returns.  The queue engine
 * takes the steps (drivers/disk_queue.h), so guests run on and no lock is held meanwhile, even if
 * the controller takes the two minutes that CAP.TO allows.
 *
 * Why each wait ends: STOPPING and STARTING have CAP.TO to end, each command of SETUP
 * NVME_ADMIN_TIMEOUT_NS, and there are at most 1 + 2 * NVME_MAX_QUEUES of them.
 */
#include "base/log.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

#define CC_ENABLE   BIT(0)
#define CC_CSS      BITS(6, 4)
#define CC_CSS_SETS 6u /* all I/O command sets that the controller has */
#define CC_IOSQES   BITS(19, 16)
#define CC_IOCQES   BITS(23, 20)

#define QUEUE_CONTIG 0x1u
#define QUEUE_IRQ    0x2u

#define TIMEOUT_UNIT_NS 500000000ull /* of CAP.TO */
#define LOOK_NS         1000000ull   /* CSTS is read so often: a register is slow to read */

static void look_at(struct nvme_controller *c, uint64_t time)
{
    atomic_store_explicit(&c->hardware.look_at, time, memory_order_relaxed);
}

static void enter(struct nvme_controller *c, enum nvme_phase phase, uint64_t limit_ns)
{
    c->hardware.deadline = platform_clock_ns() + limit_ns;
    look_at(c, 0);
    c->phase = phase;
}

static uint64_t ready_limit(const struct nvme_controller *c)
{
    return (FIELD_GET(NVME_CAP_TO, c->capabilities) + 1) * TIMEOUT_UNIT_NS;
}

static void write64(struct nvme_controller *c, unsigned offset, uint64_t value)
{
    nvme_write(c, offset, (uint32_t)value);
    nvme_write(c, offset + 4, (uint32_t)(value >> 32));
}

static void stop(struct nvme_controller *c)
{
    nvme_write(c, NVME_CC, nvme_read(c, NVME_CC) & (uint32_t)~CC_ENABLE);
    enter(c, NVME_STOPPING, ready_limit(c));
}

void nvme_reset_begin(struct disk_hardware *hw)
{
    struct nvme_controller *c = nvme_controller_of(hw);

    log_error("%s: resetting the controller", c->name);
    stop(c);
}

/* NVMe 1.4, 7.6.1 "Initialization".  Entry sizes are powers of two: 64 and 16 bytes.  Where the
 * controller has other command sets than NVM, all are on: else it would hide their namespaces. */
static void enable(struct nvme_controller *c)
{
    uint64_t sets = c->capabilities & NVME_CAP_CSS_SETS ? CC_CSS_SETS : 0;

    nvme_ring_reset(&c->admin);
    nvme_write(c, NVME_AQA, (NVME_ADMIN_DEPTH - 1) << 16 | (NVME_ADMIN_DEPTH - 1));
    write64(c, NVME_ASQ, c->admin_sq.v);
    write64(c, NVME_ACQ, c->admin_cq.v);
    nvme_write(c, NVME_CC,
               (uint32_t)(FIELD_PREP(CC_IOSQES, 6) | FIELD_PREP(CC_IOCQES, 4) |
                          FIELD_PREP(CC_CSS, sets) | CC_ENABLE));
    enter(c, NVME_STARTING, ready_limit(c));
}

/* One look at CSTS. */
static enum nvme_answer ready_answer(struct nvme_controller *c, uint32_t want)
{
    uint32_t status = nvme_read(c, NVME_CSTS);

    if (status == NVME_CSTS_GONE || (want && (status & NVME_CSTS_FATAL))) {
        return NVME_FAILED;
    }
    return (status & NVME_CSTS_READY) == want ? NVME_DONE : NVME_WAITING;
}

static struct nvme_command create_command(const struct nvme_controller *c, unsigned entry, bool cq)
{
    const struct nvme_queue *q = nvme_queue_at(c, entry);
    struct nvme_command command = {
        .opcode = cq ? NVME_ADMIN_CREATE_CQ : NVME_ADMIN_CREATE_SQ,
        .prp1 = cq ? q->cq_address.v : q->sq_address.v,
        .dword10 = (uint32_t)(q->ring.depth - 1) << 16 | q->id,
        .dword11 = QUEUE_CONTIG | (cq ? 0 : (uint32_t)q->id << 16),
    };

    if (cq && q->vector >= 0) {
        command.dword11 |= entry << 16 | QUEUE_IRQ;
    }
    return command;
}

/* Sends command `c->setup`: 0 asks for queues, 1 + 2i and 2 + 2i make pair i known.  False: there
 * is none of that number. */
static bool setup_send(struct nvme_controller *c)
{
    struct nvme_command command = nvme_admin_queue_command(c->hardware.queues);

    if (c->setup > 2 * c->hardware.queues || c->hardware.queues == 0) {
        return false;
    }
    if (c->setup != 0) {
        unsigned entry = (c->setup - 1) / 2;
        bool cq = (c->setup & 1) != 0;

        if (cq) {
            nvme_ring_reset(&nvme_queue_at(c, entry)->ring);
        }
        command = create_command(c, entry, cq);
    }
    nvme_admin_send(c, &command); /* there is room: all before it have been answered */
    enter(c, NVME_SETUP, NVME_ADMIN_TIMEOUT_NS);
    return true;
}

static enum nvme_answer setup_answer(struct nvme_controller *c)
{
    uint32_t result = 0;
    enum nvme_answer answer = nvme_admin_answer(c, &result);

    if (answer == NVME_DONE && c->setup == 0 &&
        nvme_admin_queues_granted(result) < c->hardware.queues) {
        return NVME_FAILED;
    }
    return answer;
}

static enum nvme_answer look(struct nvme_controller *c)
{
    switch (c->phase) {
    case NVME_STOPPING:
        return ready_answer(c, 0);
    case NVME_STARTING:
        return ready_answer(c, NVME_CSTS_READY);
    default:
        return setup_answer(c);
    }
}

/* What was waited for is there. */
static enum disk_reset advance(struct nvme_controller *c)
{
    if (c->phase == NVME_STOPPING) {
        enable(c);
        return DISK_RESET_WAITING;
    }
    c->setup = c->phase == NVME_STARTING ? 0 : c->setup + 1;
    return setup_send(c) ? DISK_RESET_WAITING : DISK_RESET_ENDED;
}

void nvme_give_up(struct disk_hardware *hw, bool late)
{
    static const char *const what[] = {
        [NVME_STOPPING] = "to stop", [NVME_STARTING] = "to start", [NVME_SETUP] = "for its queues"};
    struct nvme_controller *c = nvme_controller_of(hw);

    /* It may still write to memory that is about to be used for something else.  What it has
     * written already arrives before the answer to the read. */
    pci_master_disable(c->pci);
    log_error("%s: asked %s it %s, CSTS %08x: given up, its requests fail", c->name, what[c->phase],
              late ? "does not answer in time" : "fails", nvme_read(c, NVME_CSTS));
}

enum disk_reset nvme_reset_step(struct disk_hardware *hw)
{
    struct nvme_controller *c = nvme_controller_of(hw);
    uint64_t now = platform_clock_ns();

    switch (look(c)) {
    case NVME_DONE:
        return advance(c);
    case NVME_FAILED:
        return DISK_RESET_FAILED;
    case NVME_WAITING:
        break;
    }
    if (c->phase != NVME_SETUP) {
        look_at(c, now + LOOK_NS);
    }
    return DISK_RESET_WAITING;
}

bool nvme_start(struct nvme_controller *c)
{
    stop(c);
    return disk_hardware_wait(&c->hardware);
}

bool nvme_start_queues(struct nvme_controller *c)
{
    c->setup = 1; /* the queues were asked for to learn how many there are */
    return setup_send(c) && disk_hardware_wait(&c->hardware);
}
