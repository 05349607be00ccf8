/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/disk_queue.h"

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/platform.h"

#define BOOT_POLL_US 10u
#define WORDS        96 /* for a reason of a failure */

/* What the look for time-outs of one queue asks for; acted upon without its lock. */
struct alarm {
    const struct block_device *disk; /* NULL: nothing is overdue */
    unsigned tag;
    bool again; /* it was aborted a while ago */
};

void disk_queue_init(struct disk_queue *q, struct disk_hardware *hw, unsigned tags)
{
    block_queue_init(&q->requests);
    block_tags_init(&q->tags, tags);
    q->hardware = hw;
}

static enum disk_state state_of(const struct disk_hardware *hw)
{
    return (enum disk_state)atomic_load_explicit(&hw->state, memory_order_relaxed);
}

static void enter(struct disk_hardware *hw, enum disk_state state)
{
    atomic_store_explicit(&hw->state, state, memory_order_relaxed);
}

/* ---- commands; the lock is held ------------------------------------------------------------- */

static void tag_issue(struct disk_queue *q, unsigned index)
{
    struct block_tag *tag = &q->tags.tag[index];

    tag->deadline = platform_clock_ns() + BLOCK_COMMAND_TIMEOUT_NS;
    tag->aborted = false;
    q->unnotified = true;
    q->hardware->ops->issue(q, index);
}

/* Gives the hardware as many waiting slices as it has room for, and tells it of all it has got. */
static void queue_start(struct disk_queue *q)
{
    const struct disk_hardware *hw = q->hardware;

    if (state_of(hw) == DISK_DEAD) {
        block_queue_fail_waiting(&q->requests, BLOCK_TIMEOUT);
        return;
    }
    while (!q->stopped && !q->full && q->tags.free != 0 && block_queue_waits(&q->requests)) {
        unsigned index = block_tags_take(&q->tags);
        struct block_slice *slice = &q->tags.tag[index].slice;

        block_queue_take(&q->requests, hw->max_pages, slice);
        if (slice->request->op == BLOCK_FLUSH && hw->write_through) {
            block_tags_end(&q->tags, index, &q->requests, BLOCK_OK);
        } else {
            tag_issue(q, index);
        }
    }
    if (q->unnotified) {
        q->unnotified = false;
        hw->ops->notify(q);
    }
}

static void report(const struct disk_queue *q, const struct block_slice *slice, uint16_t code)
{
    static const char *const verbs[] = {"read", "write", "flush", "discard"};
    const struct block_device *device = block_request_device(slice->request);
    char words[WORDS];

    if (block_report_error(device)) {
        q->hardware->ops->describe(code, words, sizeof(words));
        log_error("%s: %s of %u blocks at %llu: %s", device->disk->name, verbs[slice->request->op],
                  block_slice_blocks(slice), (unsigned long long)block_slice_start(slice), words);
    }
}

/* Once more if that may help, else its owner is told.  A function of its own, so that the good way
 * saves no registers. */
__attribute__((noinline)) static void tag_failed(struct disk_queue *q, unsigned tag,
                                                 enum disk_verdict verdict, uint16_t code)
{
    if (verdict == DISK_AGAIN && block_tags_retry(&q->tags, tag)) {
        tag_issue(q, tag);
        return;
    }
    report(q, &q->tags.tag[tag].slice, code);
    block_tags_end(&q->tags, tag, &q->requests,
                   q->tags.tag[tag].aborted ? BLOCK_TIMEOUT : BLOCK_ERROR);
}

bool disk_queue_answer(struct disk_queue *q, unsigned tag, enum disk_verdict verdict, uint16_t code)
{
    if (tag >= BLOCK_TAGS || !(q->tags.used & BIT(tag))) {
        return false;
    }
    if (verdict == DISK_DONE) {
        block_tags_end(&q->tags, tag, &q->requests, BLOCK_OK);
    } else {
        tag_failed(q, tag, verdict, code);
    }
    return true;
}

static struct alarm check_timeouts(struct disk_queue *q, uint64_t now)
{
    bool silent = now >= q->last_answer + BLOCK_COMMAND_TIMEOUT_NS;
    uint64_t grace =
        silent ? 0 : (q->hardware->ops->patience - 1) * (uint64_t)BLOCK_COMMAND_TIMEOUT_NS;
    int index = block_tags_overdue(&q->tags, now, grace);

    if (index < 0) {
        return (struct alarm){0};
    }
    struct block_tag *tag = &q->tags.tag[index];
    struct alarm alarm = {.disk = block_request_device(tag->slice.request)->disk,
                          .tag = (unsigned)index,
                          .again = tag->aborted};

    if (!tag->aborted) {
        tag->aborted = true;
        tag->deadline = now + BLOCK_COMMAND_TIMEOUT_NS;
    }
    return alarm;
}

/* ---- resets; the caller owns `busy` --------------------------------------------------------- */

static bool own(struct disk_hardware *hw)
{
    /* Acquire: what the owner before has left is seen. */
    return !atomic_exchange_explicit(&hw->busy, true, memory_order_acquire);
}

static void disown(struct disk_hardware *hw)
{
    atomic_store_explicit(&hw->busy, false, memory_order_release);
}

/* No command is issued, and no answer taken, from here on. */
static void stop_queues(struct disk_hardware *hw)
{
    for (unsigned i = 0; i < hw->queues; i++) {
        struct disk_queue *q = hw->queue[i];

        spin_lock(&q->requests.lock);
        q->stopped = true;
        spin_unlock(&q->requests.lock);
    }
}

/* The reset has ended: what was in flight is issued again, or fails when that was done often enough
 * or the hardware was given up; and so with what waits. */
static void queue_resume(struct disk_queue *q)
{
    bool alive = state_of(q->hardware) == DISK_RUNNING;

    spin_lock(&q->requests.lock);
    q->stopped = false;
    for (uint64_t left = q->tags.used; left != 0; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctzll(left);

        if (alive && block_tags_retry(&q->tags, index)) {
            tag_issue(q, index);
        } else {
            block_tags_end(&q->tags, index, &q->requests, BLOCK_TIMEOUT);
        }
    }
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

static void reset_begin(struct disk_hardware *hw)
{
    stop_queues(hw);
    atomic_store_explicit(&hw->look_at, 0, memory_order_relaxed);
    hw->ops->reset_begin(hw);
    enter(hw, DISK_RESETTING);
}

static void reset_step(struct disk_hardware *hw)
{
    uint64_t now = platform_clock_ns(); /* before the look: what is late has been looked for */
    enum disk_reset answer;

    if (state_of(hw) != DISK_RESETTING) {
        return;
    }
    answer = hw->ops->reset_step(hw);
    if (answer == DISK_RESET_WAITING && now < hw->deadline) {
        return;
    }
    if (answer != DISK_RESET_ENDED) {
        hw->ops->give_up(hw, answer == DISK_RESET_WAITING);
    }
    enter(hw, answer == DISK_RESET_ENDED ? DISK_RUNNING : DISK_DEAD);
    for (unsigned i = 0; i < hw->queues; i++) {
        queue_resume(hw->queue[i]);
    }
}

bool disk_hardware_wait(struct disk_hardware *hw)
{
    enter(hw, DISK_RESETTING);
    for (reset_step(hw); state_of(hw) == DISK_RESETTING; reset_step(hw)) {
        platform_delay_us(BOOT_POLL_US);
    }
    return state_of(hw) == DISK_RUNNING;
}

/* A command is overdue: aborts it, or resets the hardware.  If another CPU is at it, the command is
 * found again when it still is overdue. */
static void rescue(struct disk_queue *q, const struct alarm *alarm)
{
    struct disk_hardware *hw = q->hardware;

    if (!own(hw)) {
        return;
    }
    if (state_of(hw) == DISK_RUNNING &&
        (alarm->again || !hw->ops->abort(q, alarm->tag, alarm->disk))) {
        reset_begin(hw);
    }
    disown(hw);
}

/* ---- submit and poll ------------------------------------------------------------------------ */

void disk_hardware_submit(struct disk_hardware *hw, struct block_device *device,
                          struct block_request *request)
{
    struct disk_queue *q = hw->queue[platform_cpu_id() % hw->queues];

    spin_lock(&q->requests.lock);
    block_queue_add(&q->requests, device, request);
    queue_start(q);
    spin_unlock(&q->requests.lock);
}

/* Lock held. */
static struct alarm queue_work(struct disk_queue *q, uint64_t now)
{
    if (q->stopped) {
        return (struct alarm){0};
    }
    if (q->hardware->ops->reap(q)) {
        q->last_answer = now;
    }
    queue_start(q);
    return check_timeouts(q, now);
}

static void queue_poll(struct disk_queue *q, uint64_t now)
{
    struct alarm alarm = {0};

    if (atomic_load_explicit(&q->requests.submitted, memory_order_relaxed) == 0) {
        return;
    }
    /* Looks without the lock: what is missed now is seen by the next poll. */
    if (q->hardware->ops->pending(q) || now >= block_tags_next_check(&q->tags)) {
        spin_lock(&q->requests.lock);
        alarm = queue_work(q, now);
        spin_unlock(&q->requests.lock);
    }
    if (alarm.disk) {
        rescue(q, &alarm);
    }
    block_queue_deliver(&q->requests);
}

void disk_hardware_poll(struct disk_hardware *hw)
{
    unsigned cpu = platform_cpu_id();
    uint64_t now = platform_clock_ns();

    if (state_of(hw) == DISK_RESETTING &&
        now >= atomic_load_explicit(&hw->look_at, memory_order_relaxed) && own(hw)) {
        reset_step(hw);
        disown(hw);
    }
    for (unsigned i = 0; i < hw->queues; i++) {
        queue_poll(hw->queue[(cpu + i) % hw->queues], now);
    }
}
