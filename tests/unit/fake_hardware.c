/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_hardware.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/platform.h"
#include "tests/unit/support.h"

struct fake_hw fake_hw;
struct fake_jobs fake_jobs;

static struct fake_queue *fake(struct disk_queue *q)
{
    return CONTAINER_OF(q, struct fake_queue, common);
}

static unsigned number_of(const struct block_request *request)
{
    return (unsigned)(request - fake_jobs.request);
}

static uint64_t pages_of(const struct block_slice *slice)
{
    return slice->count == 0 ? BIT(0) : BITS(slice->first + slice->count - 1, slice->first);
}

/* ---- the hardware --------------------------------------------------------------------------- */

static void check_turn(struct fake_queue *f, const struct block_request *request)
{
    bool waits = !list_empty(&f->common.requests.others);

    f->urgent_run = request->urgent && waits ? f->urgent_run + 1 : 0;
    /* A flush that ends by itself has had its turn, too, and is not seen here. */
    assert_true(f->urgent_run <= BLOCK_URGENT_RUN || fake_hw.hardware.write_through);
}

static void fake_issue(struct disk_queue *q, unsigned tag)
{
    struct fake_queue *f = fake(q);
    const struct block_slice *slice = &q->tags.tag[tag].slice;
    unsigned number = number_of(slice->request);

    assert_false(f->has & BIT(tag));
    assert_false(q->stopped);
    assert_int_equal(fake_hw.hardware.state, DISK_RUNNING);
    assert_true(slice->count <= fake_hw.hardware.max_pages);
    assert_false(fake_jobs.flying[number] & pages_of(slice));
    assert_false(fake_jobs.done[number]);
    if (q->tags.tag[tag].retries == 0) {
        check_turn(f, slice->request);
        fake_jobs.commands++;
        fake_jobs.issued[number] =
            fake_jobs.issued[number] == 0 ? fake_jobs.commands : fake_jobs.issued[number];
    }
    fake_jobs.flying[number] |= pages_of(slice);
    f->has |= BIT(tag);
    q->full = (unsigned)__builtin_popcountll(f->has) >= f->room;
}

static void fake_notify(struct disk_queue *q)
{
    assert_int_not_equal(fake(q)->has, fake(q)->told);
    fake(q)->told = fake(q)->has;
}

/* The tag is the engine's again. */
static void let_go(struct fake_queue *f, unsigned tag, bool moved)
{
    const struct block_slice *slice = &f->common.tags.tag[tag].slice;
    unsigned number = number_of(slice->request);

    f->has &= ~BIT(tag);
    f->told &= ~BIT(tag);
    f->answers &= ~BIT(tag);
    fake_jobs.flying[number] &= ~pages_of(slice);
    fake_jobs.moved[number] |= moved ? pages_of(slice) : 0;
}

static bool fake_reap(struct disk_queue *q)
{
    struct fake_queue *f = fake(q);
    uint64_t left = f->answers;

    for (uint64_t now = left; now != 0; now &= now - 1) {
        unsigned tag = (unsigned)__builtin_ctzll(now);
        uint16_t code = f->code[tag];

        let_go(f, tag, code == CODE_GOOD);
        assert_true(disk_queue_answer(q, tag,
                                      code == CODE_GOOD    ? DISK_DONE
                                      : code == CODE_AGAIN ? DISK_AGAIN
                                                           : DISK_FAILED,
                                      code));
    }
    q->full = (unsigned)__builtin_popcountll(f->has) >= f->room;
    return left != 0;
}

static bool fake_pending(struct disk_queue *q)
{
    return fake(q)->answers != 0;
}

static void fake_describe(uint16_t code, char *words, size_t bytes)
{
    assert_int_not_equal(code, CODE_GOOD);
    snprintf(words, bytes, "code %u", code);
}

static bool fake_abort(struct disk_queue *q, unsigned tag, const struct block_device *disk)
{
    assert_ptr_equal(disk, &fake_hw.disk);
    assert_true(fake_hw.hardware.busy);
    assert_true(fake(q)->has & BIT(tag));
    fake_hw.aborts++;
    return fake_hw.can_abort;
}

static void fake_reset_begin(struct disk_hardware *hardware)
{
    assert_true(hardware->busy);
    for (unsigned i = 0; i < hardware->queues; i++) {
        assert_true(hardware->queue[i]->stopped);
    }
    fake_hw.resets++;
    fake_hw.reset_at = platform_clock_ns();
    hardware->deadline = fake_hw.reset_at + DEADLINE;
}

/* It has forgotten all commands, and their tags are free. */
static void forget(void)
{
    for (unsigned i = 0; i < fake_hw.hardware.queues; i++) {
        for (uint64_t left = fake_hw.queue[i].has; left != 0; left &= left - 1) {
            let_go(&fake_hw.queue[i], (unsigned)__builtin_ctzll(left), false);
        }
        fake_hw.queue[i].common.full = false;
    }
}

static enum disk_reset fake_reset_step(struct disk_hardware *hardware)
{
    assert_true(hardware->busy);
    if (fake_hw.reset_ns == NEVER || platform_clock_ns() < fake_hw.reset_at + fake_hw.reset_ns) {
        return DISK_RESET_WAITING;
    }
    forget();
    return fake_hw.reset_fails ? DISK_RESET_FAILED : DISK_RESET_ENDED;
}

static void fake_give_up(struct disk_hardware *hardware, bool late)
{
    assert_true(hardware->busy);
    fake_hw.given_up++;
    fake_hw.given_up_late += late;
    forget();
}

struct disk_ops fake_hw_ops = {
    .issue = fake_issue,
    .notify = fake_notify,
    .reap = fake_reap,
    .pending = fake_pending,
    .describe = fake_describe,
    .abort = fake_abort,
    .reset_begin = fake_reset_begin,
    .reset_step = fake_reset_step,
    .give_up = fake_give_up,
    .patience = 1,
};

/* ---- helpers -------------------------------------------------------------------------------- */

void fake_hw_begin(unsigned queues, unsigned tags, uint32_t max_pages)
{
    memset(&fake_hw, 0, sizeof(fake_hw));
    memset(&fake_jobs, 0, sizeof(fake_jobs));
    disk_machine_start(NULL);
    support_log_level(-1);
    fake_hw_ops.patience = 1;
    fake_hw.can_abort = true;
    fake_hw.reset_ns = RESET_NS;
    fake_hw.hardware.ops = &fake_hw_ops;
    fake_hw.hardware.max_pages = max_pages;
    for (unsigned i = 0; i < queues; i++) {
        disk_queue_init(&fake_hw.queue[i].common, &fake_hw.hardware, tags);
        fake_hw.queue[i].room = BLOCK_TAGS;
        fake_hw.hardware.queue[fake_hw.hardware.queues++] = &fake_hw.queue[i].common;
    }
    fake_hw.disk =
        (struct block_device){.name = "fake0", .blocks = 1u << 20, .disk = &fake_hw.disk};
    fake_hw.partition = (struct block_device){
        .name = "fake0p1", .blocks = 1u << 19, .start = 4096, .disk = &fake_hw.disk};
}

void fake_hw_finish(void)
{
    assert_int_equal(fake_jobs.ended, fake_jobs.submitted);
    assert_int_equal(block_queue_outstanding(), 0);
    assert_false(fake_hw.hardware.busy);
    for (unsigned i = 0; i < fake_hw.hardware.queues; i++) {
        assert_int_equal(fake_hw.queue[i].common.tags.used, 0);
        assert_int_equal(fake_hw.queue[i].has, 0);
    }
    disk_machine_stop();
    support_log_level(LOG_WARN);
}

static void note_done(struct block_request *request, enum block_status status)
{
    unsigned number = number_of(request);
    uint32_t units = request->op == BLOCK_FLUSH ? 1 : request->pages;

    assert_false(fake_jobs.done[number]);
    assert_int_equal(fake_jobs.flying[number], 0);
    if (status == BLOCK_OK && !(request->op == BLOCK_FLUSH && fake_hw.hardware.write_through)) {
        assert_int_equal(fake_jobs.moved[number], BITS(units - 1, 0));
    }
    fake_jobs.done[number] = true;
    fake_jobs.status[number] = status;
    fake_jobs.ended++;
}

unsigned fake_hw_submit(unsigned cpu, enum block_op op, bool urgent, uint32_t pages)
{
    unsigned number = fake_jobs.submitted++;
    struct block_request *r = &fake_jobs.request[number];

    assert_true(number < REQUESTS);
    *r = (struct block_request){
        .op = op, .urgent = urgent, .block = number, .pages = pages, .done = note_done};
    disk_machine_set_cpu(cpu);
    disk_hardware_submit(&fake_hw.hardware, number % 2 ? &fake_hw.partition : &fake_hw.disk, r);
    return number;
}

unsigned fake_hw_write_back(void)
{
    return fake_hw_submit(0, BLOCK_WRITE, false, 1);
}

unsigned fake_hw_urgent_read(void)
{
    return fake_hw_submit(0, BLOCK_READ, true, 1);
}

void fake_hw_answer(struct fake_queue *f, unsigned tag, uint16_t code)
{
    assert_true(f->told & BIT(tag));
    f->code[tag] = code;
    f->answers |= BIT(tag);
}

void fake_hw_answer_all(uint16_t code)
{
    for (unsigned i = 0; i < fake_hw.hardware.queues; i++) {
        for (uint64_t left = fake_hw.queue[i].told; left != 0; left &= left - 1) {
            fake_hw_answer(&fake_hw.queue[i], (unsigned)__builtin_ctzll(left), code);
        }
    }
}

void fake_hw_poll(unsigned cpu)
{
    disk_machine_set_cpu(cpu);
    disk_hardware_poll(&fake_hw.hardware);
    assert_int_equal(disk_machine_delays(), 0);
}

void fake_hw_settle(void)
{
    for (unsigned i = 0; block_queue_outstanding() != 0; i++) {
        assert_true(i < 10 * REQUESTS);
        fake_hw_answer_all(CODE_GOOD);
        fake_hw_poll(i % MACHINE_CPUS);
    }
}

unsigned fake_hw_pass(uint64_t ns)
{
    unsigned before = fake_jobs.ended, cpu = 0;

    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_tick(STEP);
        fake_hw_poll(cpu++ % MACHINE_CPUS);
    }
    return fake_jobs.ended - before;
}

void fake_hw_expect_all(enum block_status status)
{
    assert_int_equal(fake_jobs.ended, fake_jobs.submitted);
    for (unsigned i = 0; i < fake_jobs.submitted; i++) {
        assert_int_equal(fake_jobs.status[i], status);
    }
}
