/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVMe I/O queues: submit, completion, time-outs, and what a controller reset does to them.
 *
 * A command that is not answered within BLOCK_COMMAND_TIMEOUT_NS is aborted; if the
 * same time passes again, the controller is reset (nvme_reset.c), a step each time somebody polls,
 * and all that was in flight is issued again, BLOCK_RETRIES times.  Meanwhile the queues are
 * stopped: requests are only queued, and end when the reset has ended, in queue_resume().
 */
#include "base/log.h"
#include "drivers/block.h"
#include "drivers/nvme.h"
#include "drivers/platform.h"

#define PRP_LIST_ENTRIES (NVME_PRP_LIST_BYTES / sizeof(uint64_t))
_Static_assert(PRP_LIST_ENTRIES >= BLOCK_MAX_PAGES - 1, "a PRP list holds one request");

/*
 * Memory of a queue, in one piece; rings begin on pages of their own:
 *
 *     struct nvme_queue | completion queue | submission queue | a PRP list for each slot
 */
#define CQ_OFFSET  PAGE_SIZE
#define SQ_OFFSET  (2 * PAGE_SIZE)
#define PRP_OFFSET (3 * PAGE_SIZE)
_Static_assert(sizeof(struct nvme_queue) <= PAGE_SIZE, "a queue fits its page");
_Static_assert(BLOCK_SLOTS * sizeof(struct nvme_command) <= PAGE_SIZE, "its rings fit theirs");

/* What the time-out scan of one queue asks for; acted upon without its lock. */
struct nvme_alarm {
    bool abort;
    bool reset;
    uint16_t command;
};

struct nvme_queue *nvme_queue_new(struct nvme_controller *c, uint16_t id, uint16_t depth)
{
    uint64_t bytes = ALIGN_UP(PRP_OFFSET + (uint64_t)depth * NVME_PRP_LIST_BYTES, PAGE_SIZE);
    hpa_t memory;
    uint8_t *base = platform_dma_alloc(bytes, &memory);
    struct nvme_queue *q = (struct nvme_queue *)(void *)base;

    if (!q) {
        return NULL;
    }
    block_queue_init(&q->requests);
    q->controller = c;
    q->id = id;
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
    q->sq_doorbell = nvme_doorbell(c, id, false);
    q->cq_doorbell = nvme_doorbell(c, id, true);
    /* One slot less than entries: a ring with as many commands as entries would look empty. */
    block_slots_init(&q->slots, depth - 1u);
    return q;
}

void nvme_queue_free(struct nvme_queue *q)
{
    platform_dma_free(q->memory, q->memory_bytes);
}

static struct nvme_namespace *slice_namespace(const struct block_slice *slice)
{
    return block_request_device(slice->request)->driver;
}

static enum nvme_io_opcode slice_opcode(const struct block_slice *slice)
{
    switch (slice->request->op) {
    case BLOCK_READ:
        return NVME_IO_READ;
    case BLOCK_WRITE:
        return NVME_IO_WRITE;
    default:
        return NVME_IO_FLUSH;
    }
}

/* Puts the command of a slot on the ring; the doorbell is the caller's. */
static void slot_issue(struct nvme_queue *q, unsigned index)
{
    struct block_slot *slot = &q->slots.slot[index];
    const struct block_slice *slice = &slot->slice;
    const struct nvme_namespace *ns = slice_namespace(slice);
    struct nvme_command command;

    nvme_command_io(&command, slice_opcode(slice), ns->nsid, block_slice_start(slice), slice->count,
                    ns->lba_shift);
    command.id = (uint16_t)index;
    if (slice->count != 0) {
        nvme_prp_set(&command, slice->request->page + slice->first, slice->count,
                     q->prp_lists + index * PRP_LIST_ENTRIES,
                     hpa(q->prp_address.v + index * NVME_PRP_LIST_BYTES));
    }
    slot->deadline = platform_clock_ns() + BLOCK_COMMAND_TIMEOUT_NS;
    slot->aborted = false;
    nvme_ring_push(&q->ring, &command);
}

static void ring_doorbell(struct nvme_queue *q)
{
    /* Release: entries and PRP lists are in memory before the doorbell says so. */
    atomic_thread_fence(memory_order_release);
    *q->sq_doorbell = q->ring.sq_tail;
}

/* Gives the controller as many waiting slices as it has room for.  Lock held. */
static void queue_start(struct nvme_queue *q)
{
    uint16_t tail = q->ring.sq_tail;
    struct block_slice slice;

    if (nvme_state(q->controller) == NVME_DEAD) {
        block_queue_fail_waiting(&q->requests, BLOCK_TIMEOUT);
        return;
    }
    while (!q->stopped && q->slots.free != 0 &&
           block_queue_take(&q->requests, q->controller->max_pages, &slice)) {
        slot_issue(q, block_slots_take(&q->slots, &slice));
    }
    if (q->ring.sq_tail != tail) {
        ring_doorbell(q);
    }
}

static void slot_end(struct nvme_queue *q, unsigned index, enum block_status status)
{
    block_slots_end(&q->slots, index, &q->requests, status);
}

/* A command failed: once more if that may help, else tell its owner.  True: issued again. */
static bool slot_failed(struct nvme_queue *q, unsigned index, uint16_t status)
{
    static const char *const verbs[] = {"flush", "write", "read"};
    const struct block_slot *slot = &q->slots.slot[index];
    const struct block_slice *slice = &slot->slice;

    if (!(status & NVME_STATUS_DNR) && block_slots_retry(&q->slots, index)) {
        slot_issue(q, index);
        return true;
    }
    if (block_report_error(&slice_namespace(slice)->device)) {
        log_error("%s: %s of %u blocks at %llu: %s (%04x)%s", slice_namespace(slice)->device.name,
                  verbs[slice_opcode(slice)], slice->count,
                  (unsigned long long)block_slice_start(slice), nvme_status_name(status),
                  status >> 1, status & NVME_STATUS_DNR ? ", no retry" : "");
    }
    slot_end(q, index, slot->aborted ? BLOCK_TIMEOUT : BLOCK_ERROR);
    return false;
}

/* Takes all completions off the ring.  Lock held. */
static void queue_reap(struct nvme_queue *q)
{
    struct nvme_completion done;
    bool again = false, any = false;

    while (nvme_ring_pop(&q->ring, &done)) {
        any = true;
        if (done.id >= BLOCK_SLOTS || !(q->slots.used & BIT(done.id))) {
            log_error("%s: queue %u: completion of command %u, which is not in flight",
                      q->controller->name, q->id, done.id);
        } else if ((done.status & NVME_STATUS_RESULT) == 0) {
            slot_end(q, done.id, BLOCK_OK);
        } else {
            again |= slot_failed(q, done.id, done.status);
        }
    }
    if (any) {
        *q->cq_doorbell = q->ring.cq_head;
    }
    if (again) {
        ring_doorbell(q);
    }
}

/* Lock held. */
static void queue_check_timeouts(struct nvme_queue *q, uint64_t now, struct nvme_alarm *alarm)
{
    int index = block_slots_overdue(&q->slots, now, 0);
    struct block_slot *slot;

    if (index < 0) {
        return;
    }
    slot = &q->slots.slot[index];
    if (slot->aborted) {
        alarm->reset = true;
        return;
    }
    slot->aborted = true;
    slot->deadline = now + BLOCK_COMMAND_TIMEOUT_NS;
    alarm->abort = true;
    alarm->command = (uint16_t)index;
    log_error("%s: queue %u command %d: no answer, aborting it",
              slice_namespace(&slot->slice)->device.name, q->id, index);
}

/*
 * The reset has ended: what was in flight is issued again, or fails when that was done often enough
 * or the controller was given up; what waits is issued, or fails.  So every request ends.
 */
static void queue_resume(struct nvme_queue *q)
{
    bool alive = nvme_state(q->controller) == NVME_RUNNING;

    spin_lock(&q->requests.lock);
    q->stopped = false;
    for (uint64_t left = q->slots.used; left != 0; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctzll(left);

        if (alive && block_slots_retry(&q->slots, index)) {
            slot_issue(q, index);
        } else {
            slot_end(q, index, BLOCK_TIMEOUT);
        }
    }
    if (alive && q->slots.used != 0) {
        ring_doorbell(q);
    }
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

/* Stops all queues and begins a reset, unless somebody else does, or aborts a command: then the
 * command that is overdue still is at the next check. */
static void controller_reset(struct nvme_controller *c)
{
    if (atomic_exchange_explicit(&c->admin_busy, true, memory_order_acquire)) {
        return;
    }
    if (nvme_state(c) == NVME_RUNNING) {
        log_error("%s: resetting the controller", c->name);
        for (unsigned i = 0; i < c->queues; i++) {
            spin_lock(&c->queue[i]->requests.lock);
            c->queue[i]->stopped = true;
            spin_unlock(&c->queue[i]->requests.lock);
        }
        nvme_reset_begin(c);
    }
    atomic_store_explicit(&c->admin_busy, false, memory_order_release);
}

/* One step of a reset that is under way; whoever finds another CPU at it goes on. */
static void controller_step(struct nvme_controller *c)
{
    if (atomic_exchange_explicit(&c->admin_busy, true, memory_order_acquire)) {
        return;
    }
    if (nvme_reset_step(c)) {
        for (unsigned i = 0; i < c->queues; i++) {
            queue_resume(c->queue[i]);
        }
    }
    atomic_store_explicit(&c->admin_busy, false, memory_order_release);
}

static void nvme_submit(struct block_device *device, struct block_request *request)
{
    struct nvme_controller *c = ((struct nvme_namespace *)device->driver)->controller;
    struct nvme_queue *q = c->queue[platform_cpu_id() % c->queues];

    spin_lock(&q->requests.lock);
    block_queue_add(&q->requests, device, request);
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

static void queue_poll(struct nvme_queue *q, uint64_t now)
{
    struct nvme_alarm alarm = {0};

    if (atomic_load_explicit(&q->requests.submitted, memory_order_relaxed) == 0) {
        return;
    }
    /* Racy looks at the phase and the time: what is missed now is seen by the next poll. */
    if (nvme_ring_pending(&q->ring) || now >= q->slots.next_check) {
        spin_lock(&q->requests.lock);
        if (!q->stopped) {
            queue_reap(q);
            queue_start(q);
            queue_check_timeouts(q, now, &alarm);
        }
        spin_unlock(&q->requests.lock);
    }
    if (alarm.abort) {
        nvme_admin_abort(q->controller, q->id, alarm.command);
    }
    if (alarm.reset || (alarm.abort && nvme_admin_failed(q->controller))) {
        controller_reset(q->controller);
    }
    block_queue_deliver(&q->requests);
}

/* All queues, not only this CPU's: the CPU that submitted may be away in a guest. */
static void nvme_poll(struct block_device *device)
{
    struct nvme_controller *c = ((struct nvme_namespace *)device->driver)->controller;
    unsigned cpu = platform_cpu_id();
    uint64_t now = platform_clock_ns();
    enum nvme_state state = nvme_state(c);

    if (state != NVME_RUNNING && state != NVME_DEAD &&
        now >= atomic_load_explicit(&c->look_at, memory_order_relaxed)) {
        controller_step(c);
    }
    for (unsigned i = 0; i < c->queues; i++) {
        queue_poll(c->queue[(cpu + i) % c->queues], now);
    }
}

const struct block_ops nvme_block_ops = {
    .submit = nvme_submit,
    .poll = nvme_poll,
};
