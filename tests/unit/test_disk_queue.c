/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/fake_hardware.c tests/unit/disk_machine.c drivers/disk_queue.c
 * drivers/block_queue.c drivers/block_tags.c */
/* The queue engine over fake hardware: whose turn it is, answers, time-outs, resets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_hardware.h"
#include "tests/unit/support.h"
#include "tests/unit/xorshift.h"

#define ROUNDS 300

/* ---- whose turn it is ----------------------------------------------------------------------- */

static void urgent_reads_go_first(void **state)
{
    unsigned order[4];

    (void)state;
    fake_hw_begin(1, 1, BLOCK_MAX_PAGES);
    fake_hw_write_back(); /* has the only tag */
    order[2] = fake_hw_write_back();
    order[3] = fake_hw_submit(0, BLOCK_READ, false, 1);
    order[0] = fake_hw_urgent_read();
    order[1] = fake_hw_urgent_read();
    fake_hw_settle();
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        assert_int_equal(fake_jobs.issued[order[i]], 2 + i);
    }
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

/* Urgent reads come without end.  A write of several commands gets on by one of them each time that
 * BLOCK_URGENT_RUN reads have passed, and not before. */
static void urgent_reads_do_not_starve_writes(void **state)
{
    const unsigned slices = 3;
    unsigned write, reads = 0;

    (void)state;
    fake_hw_begin(1, 1, 4);
    fake_hw_urgent_read();
    write = fake_hw_submit(0, BLOCK_WRITE, false, 4 * slices);
    for (; !fake_jobs.done[write]; reads++) {
        assert_true(reads <= (BLOCK_URGENT_RUN + 1) * slices);
        fake_hw_urgent_read();
        fake_hw_answer_all(CODE_GOOD);
        fake_hw_poll(0);
    }
    assert_int_equal(fake_jobs.issued[write], 1 + BLOCK_URGENT_RUN + 1);
    assert_int_equal(fake_jobs.commands - 1, (BLOCK_URGENT_RUN + 1) * slices + 1);
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

/* What has waited for long does not make a debt: reads that passed nobody do not count. */
static void reads_that_pass_nobody_do_not_count(void **state)
{
    unsigned write, last = 0;

    (void)state;
    fake_hw_begin(1, 1, BLOCK_MAX_PAGES);
    for (unsigned i = 0; i < 3 * BLOCK_URGENT_RUN; i++) {
        fake_hw_urgent_read();
    }
    fake_hw_settle();
    fake_hw_urgent_read();
    write = fake_hw_write_back();
    for (unsigned i = 0; i < BLOCK_URGENT_RUN; i++) {
        last = fake_hw_urgent_read();
    }
    fake_hw_settle();
    assert_true(fake_jobs.issued[last] < fake_jobs.issued[write]);
    fake_hw_finish();
}

static void all_tags_busy(void **state)
{
    struct fake_queue *f = &fake_hw.queue[0];

    (void)state;
    fake_hw_begin(1, 5, BLOCK_MAX_PAGES);
    for (unsigned i = 0; i < 20; i++) {
        fake_hw_submit(0, i % 3 ? BLOCK_WRITE : BLOCK_READ, i % 3 == 0, 1);
    }
    assert_int_equal(f->has, BITS(4, 0));
    assert_int_equal(f->told, f->has);
    fake_hw_answer(f, 3, CODE_GOOD);
    fake_hw_poll(1); /* by any CPU */
    assert_int_equal(fake_jobs.ended, 1);
    assert_int_equal(f->has, BITS(4, 0));
    f->room = 2; /* the ring is what is short */
    fake_hw_answer(f, 0, CODE_GOOD);
    fake_hw_answer(f, 1, CODE_GOOD);
    fake_hw_answer(f, 2, CODE_GOOD);
    fake_hw_answer(f, 4, CODE_GOOD);
    fake_hw_poll(0);
    assert_int_equal(__builtin_popcountll(f->has), 2);
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

static void each_cpu_has_its_queue(void **state)
{
    (void)state;
    fake_hw_begin(3, 1, BLOCK_MAX_PAGES);
    for (unsigned cpu = 0; cpu < MACHINE_CPUS; cpu++) {
        fake_hw_submit(cpu, BLOCK_READ, true, 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fake_hw.queue[i].has, BIT(0));
    }
    assert_false(list_empty(&fake_hw.queue[0].common.requests.urgent)); /* that of CPU 3 */
    fake_hw_settle();
    fake_hw_finish();
}

/* ---- answers -------------------------------------------------------------------------------- */

static void failures_are_tried_again(void **state)
{
    struct fake_queue *f = &fake_hw.queue[0];
    unsigned lucky, hopeless, refused;

    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    lucky = fake_hw_submit(0, BLOCK_WRITE, false, 1);
    hopeless = fake_hw_submit(0, BLOCK_WRITE, false, 1);
    refused = fake_hw_submit(0, BLOCK_READ, true, 1);
    fake_hw_answer(f, 2, CODE_FAILED);
    for (unsigned i = 0; i < BLOCK_RETRIES; i++) {
        fake_hw_answer(f, 0, CODE_AGAIN);
        fake_hw_answer(f, 1, CODE_AGAIN);
        fake_hw_poll(0);
        assert_int_equal(f->told, BIT(0) | BIT(1));
        assert_int_equal(fake_jobs.ended, 1);
    }
    fake_hw_answer(f, 0, CODE_GOOD);
    fake_hw_answer(f, 1, CODE_AGAIN);
    fake_hw_poll(0);
    assert_int_equal(fake_jobs.status[lucky], BLOCK_OK);
    assert_int_equal(fake_jobs.status[hopeless], BLOCK_ERROR);
    assert_int_equal(fake_jobs.status[refused], BLOCK_ERROR);
    assert_int_equal(fake_hw.disk.errors + fake_hw.partition.errors, 2);
    fake_hw_finish();
}

static void answers_to_nobody(void **state)
{
    struct disk_queue *q = &fake_hw.queue[0].common;

    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    fake_hw_write_back();
    spin_lock(&q->requests.lock);
    assert_false(disk_queue_answer(q, 1, DISK_DONE, 0));
    assert_false(disk_queue_answer(q, BLOCK_TAGS, DISK_DONE, 0));
    assert_false(disk_queue_answer(q, (unsigned)-2, DISK_AGAIN, 0));
    spin_unlock(&q->requests.lock);
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

static void flushes(void **state)
{
    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    fake_hw_submit(0, BLOCK_FLUSH, false, 0);
    assert_int_equal(fake_hw.queue[0].told, BIT(0));
    fake_hw_settle();
    fake_hw.hardware.write_through = true;
    fake_hw_submit(0, BLOCK_FLUSH, false, 0);
    assert_int_equal(fake_hw.queue[0].has, 0);
    fake_hw_poll(0);
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

/* ---- time-outs and resets ------------------------------------------------------------------- */

static void lost_answer_is_aborted_then_all_is_reset(void **state)
{
    (void)state;
    fake_hw_begin(2, 4, BLOCK_MAX_PAGES);
    for (unsigned i = 0; i < 12; i++) { /* each queue full, and as many wait */
        fake_hw_submit(i, BLOCK_READ, true, 1);
    }
    fake_hw_pass(TIMEOUT - STEP);
    assert_int_equal(fake_hw.aborts, 0);
    fake_hw_pass(SLACK);
    assert_in_range(fake_hw.aborts, 1, 2); /* one of each queue at a time */
    fake_hw_pass(TIMEOUT - SECOND);
    assert_int_equal(fake_hw.resets, 0);
    fake_hw_pass(SECOND + 2 * SLACK);
    assert_int_equal(fake_hw.resets, 1);
    fake_hw_submit(1, BLOCK_WRITE, false, 1); /* only queued */
    assert_int_equal(fake_hw_pass(RESET_NS - 2 * SLACK - SECOND), 0);
    assert_int_equal(fake_hw.hardware.state, DISK_RESETTING);
    fake_hw_pass(2 * SLACK + SECOND);
    assert_int_equal(fake_hw.hardware.state, DISK_RUNNING);
    assert_int_equal(fake_hw.queue[0].told, BITS(3, 0));
    assert_int_equal(fake_hw.queue[1].told, BITS(3, 0));
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

/* An abort works: the command is answered as failed, and issued again. */
static void abort_is_answered(void **state)
{
    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    fake_hw_urgent_read();
    for (unsigned i = 1; i <= BLOCK_RETRIES + 1; i++) {
        fake_hw_pass(TIMEOUT + SLACK);
        assert_int_equal(fake_hw.aborts, i);
        fake_hw_answer(&fake_hw.queue[0], 0, CODE_AGAIN);
        fake_hw_poll(0);
    }
    assert_int_equal(fake_jobs.status[0], BLOCK_TIMEOUT);
    assert_int_equal(fake_hw.resets, 0);
    fake_hw_finish();
}

static void hardware_that_cannot_abort(void **state)
{
    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    fake_hw.can_abort = false;
    fake_hw_write_back();
    fake_hw_pass(TIMEOUT + SLACK);
    assert_int_equal(fake_hw.resets, 1);
    fake_hw_pass(RESET_NS + STEP);
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

/* A command is lost and others are answered: the hardware is slow, until its patience is over. */
static void hardware_that_answers_others(void **state)
{
    (void)state;
    fake_hw_begin(1, 2, BLOCK_MAX_PAGES);
    fake_hw_ops.patience = 6;
    fake_hw.can_abort = false;
    fake_hw_write_back(); /* tag 0 */
    for (uint64_t at = 0; at < 6 * TIMEOUT - SECOND; at += SECOND) {
        fake_hw_urgent_read();
        fake_hw_answer(&fake_hw.queue[0], 1, CODE_GOOD);
        assert_int_equal(fake_hw_pass(SECOND), 1);
        assert_int_equal(fake_hw.resets, 0);
    }
    fake_hw_pass(SECOND + SLACK);
    assert_int_equal(fake_hw.resets, 1);
    fake_hw_pass(RESET_NS + STEP);
    fake_hw_settle();
    fake_hw_expect_all(BLOCK_OK);
    fake_hw_finish();
}

static void requests_that_no_reset_helps(void **state)
{
    (void)state;
    fake_hw_begin(1, 4, BLOCK_MAX_PAGES);
    fake_hw.can_abort = false;
    fake_hw_write_back();
    for (unsigned i = 1; i <= BLOCK_RETRIES + 1; i++) {
        assert_int_equal(fake_jobs.ended, 0);
        fake_hw_pass(TIMEOUT + SLACK);
        assert_int_equal(fake_hw.resets, i);
        fake_hw_pass(RESET_NS + STEP);
    }
    fake_hw_expect_all(BLOCK_TIMEOUT);
    assert_int_equal(fake_hw.hardware.state, DISK_RUNNING);
    fake_hw_finish();
}

/* The hardware does not come back: all fails, also what comes later, at once. */
static void dead(uint64_t reset_ns, bool fails)
{
    fake_hw_begin(2, 2, BLOCK_MAX_PAGES);
    fake_hw.reset_ns = reset_ns;
    fake_hw.reset_fails = fails;
    for (unsigned i = 0; i < 8; i++) {
        fake_hw_submit(i, i % 2 ? BLOCK_READ : BLOCK_WRITE, i % 2, 1);
    }
    fake_hw_pass(2 * (TIMEOUT + SLACK));
    assert_int_equal(fake_hw.resets, 1);
    fake_hw_pass(DEADLINE);
    fake_hw_expect_all(BLOCK_TIMEOUT);
    fake_hw_submit(0, BLOCK_READ, true, 1);
    fake_hw_submit(1, BLOCK_WRITE, false, 1);
    fake_hw_poll(0);
    fake_hw_expect_all(BLOCK_TIMEOUT);
    assert_int_equal(fake_hw.given_up, 1);
    assert_int_equal(fake_hw.given_up_late, reset_ns == NEVER);
    fake_hw_finish();
}

static void reset_that_does_not_end(void **state)
{
    (void)state;
    dead(NEVER, false);
}

static void reset_that_fails(void **state)
{
    (void)state;
    dead(SECOND, true);
}

/* ---- anything ------------------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
    return (unsigned)((xorshift64(&random_state) >> 32) % limit);
}

static void random_submit(void)
{
    unsigned kind = random_below(10);
    enum block_op op = kind == 0 ? BLOCK_FLUSH : kind < 5 ? BLOCK_WRITE : BLOCK_READ;

    if (fake_jobs.submitted < REQUESTS) {
        fake_hw_submit(random_below(MACHINE_CPUS), op, op == BLOCK_READ && random_below(4) != 0,
                       op == BLOCK_FLUSH ? 0 : 1 + random_below(BLOCK_MAX_PAGES));
    }
}

/* Nearly all go well; some of the others will never be answered. */
static void random_answers(unsigned lost_permille)
{
    for (unsigned i = 0; i < fake_hw.hardware.queues; i++) {
        struct fake_queue *f = &fake_hw.queue[i];

        for (uint64_t left = f->told & ~f->answers; left != 0; left &= left - 1) {
            unsigned kind = random_below(1000);

            if (kind >= lost_permille && !f->common.stopped && random_below(2) == 0) {
                fake_hw_answer(f, (unsigned)__builtin_ctzll(left),
                               kind < 960   ? CODE_GOOD
                               : kind < 990 ? CODE_AGAIN
                                            : CODE_FAILED);
            }
        }
    }
}

static void random_round(void)
{
    unsigned lost_permille = random_below(3) == 0 ? 1000 : random_below(300);
    unsigned steps = random_below(400);

    fake_hw_begin(1 + random_below(3), 1 + random_below(8), 1 + random_below(BLOCK_MAX_PAGES));
    fake_hw.can_abort = random_below(2) == 0;
    fake_hw.hardware.write_through = random_below(2) == 0;
    fake_hw.reset_ns = random_below(8) == 0 ? NEVER : random_below(6) * SECOND;
    fake_hw.reset_fails = random_below(8) == 0;
    fake_hw_ops.patience = 1 + random_below(3);
    for (unsigned i = 0; i < fake_hw.hardware.queues; i++) {
        fake_hw.queue[i].room = 1 + random_below(8);
    }
    for (unsigned i = 0; i < steps; i++) {
        for (unsigned n = random_below(6); n > 0; n--) {
            random_submit();
        }
        random_answers(lost_permille);
        disk_machine_tick(random_below(4) == 0 ? random_below(8) * SECOND : STEP);
        fake_hw_poll(random_below(MACHINE_CPUS));
    }
    for (unsigned i = 0; block_queue_outstanding() != 0; i++) {
        assert_true(i < 100000);
        random_answers(0);
        disk_machine_tick(STEP);
        fake_hw_poll(i % MACHINE_CPUS);
    }
    fake_hw_finish();
}

static void anything_at_any_time(void **state)
{
    unsigned resets = 0, deaths = 0, aborts = 0;

    (void)state;
    random_state = support_seed(10) * 2 + 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        random_round();
        resets += fake_hw.resets;
        deaths += fake_hw.given_up;
        aborts += fake_hw.aborts;
    }
    print_message("%u aborts, %u resets, given up %u times\n", aborts, resets, deaths);
    assert_true(resets > ROUNDS / 4 && deaths > ROUNDS / 20 && aborts > resets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urgent_reads_go_first),
        cmocka_unit_test(urgent_reads_do_not_starve_writes),
        cmocka_unit_test(reads_that_pass_nobody_do_not_count),
        cmocka_unit_test(all_tags_busy),
        cmocka_unit_test(each_cpu_has_its_queue),
        cmocka_unit_test(failures_are_tried_again),
        cmocka_unit_test(answers_to_nobody),
        cmocka_unit_test(flushes),
        cmocka_unit_test(lost_answer_is_aborted_then_all_is_reset),
        cmocka_unit_test(abort_is_answered),
        cmocka_unit_test(hardware_that_cannot_abort),
        cmocka_unit_test(hardware_that_answers_others),
        cmocka_unit_test(requests_that_no_reset_helps),
        cmocka_unit_test(reset_that_does_not_end),
        cmocka_unit_test(reset_that_fails),
        cmocka_unit_test(anything_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
