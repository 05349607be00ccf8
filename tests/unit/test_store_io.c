/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to a store whose disk fails: for a moment, for long, for ever, in one block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "mm/content/store_internal.h"
#include "mm/content/store_io.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define SLOTS    2000u
#define RUN      8u /* pages of a request */
#define REQUESTS 40u
#define MS       1000000ull
#define SECOND   (1000 * MS)

struct request {
    struct store_io io;
    uint64_t done, bad, given_up; /* pages that have ended so */
    uint64_t end_ns;
    bool unwanted;
};

static struct fake_disk disk;
static struct store *store;
static struct request requests[REQUESTS];

static void ended(struct store_io *io, uint64_t pages, enum store_answer answer)
{
    struct request *r = CONTAINER_OF(io, struct request, io);

    assert_int_equal(pages & (r->done | r->bad | r->given_up), 0);
    *(answer == STORE_DONE ? &r->done : answer == STORE_BAD_SLOT ? &r->bad : &r->given_up) |= pages;
    if (io->left == 0) {
        assert_int_equal(r->done | r->bad | r->given_up, BITS(io->count - 1, 0));
        r->end_ns = mm_clock_ns();
    }
}

static bool unwanted(struct store_io *io)
{
    return CONTAINER_OF(io, struct request, io)->unwanted;
}

static const struct store_io_owner owner = {.ended = ended, .unwanted = unwanted};

static int set_up(void **state)
{
    (void)state;
    support_memory_init(2000);
    fake_disk_init(&disk, SLOTS + 2, 1);
    store = support_open_store(&disk);
    support_log_level(-1);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &requests[i];

        memset(r, 0, sizeof(*r));
        store_io_init_request(&r->io, &owner);
        r->io.slot = i * RUN;
        r->io.count = RUN;
        for (unsigned page = 0; page < RUN; page++) {
            pfn_t frame;

            assert_true(frame_alloc(0, ALLOC_META, 0, &frame));
            r->io.frame[page] = (uint32_t)frame.v;
            memset(mm_frame_ptr(frame), (int)(i + 3 * page), PAGE_SIZE);
            store_slot_seal(store, r->io.slot + page, mm_frame_ptr(frame));
        }
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    support_log_level(LOG_WARN);
    fake_disk_free(&disk);
    support_memory_free();
    return 0;
}

static void submit(struct request *r, enum block_op op)
{
    r->done = r->bad = r->given_up = 0;
    r->end_ns = 0;
    r->io.request.op = op;
    store_io_submit(store, &r->io);
}

static void submit_all(enum block_op op)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        submit(&requests[i], op);
    }
}

static void pass(uint64_t ns)
{
    uint64_t end = mm_clock_ns() + ns;

    fake_disk_settle(&disk);
    while (mm_clock_ns() < end) {
        support_clock_advance(MS);
        store_io_poll(mm_clock_ns());
        fake_disk_settle(&disk);
    }
}

static void expect_all_done(void)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, 0);
        assert_int_equal(requests[i].done, BITS(RUN - 1, 0));
    }
}

static struct store_stats figures(void)
{
    struct store_stats stats;

    store_get_stats(store, &stats);
    return stats;
}

/* Nothing ends, nothing is retired, the disk is not bothered, and then all of it succeeds at once.
 */
static void outage(enum block_op op, bool *down, uint64_t ns)
{
    uint64_t begin = mm_clock_ns(), errors = disk.failed_reads + disk.failed_writes;

    *down = true;
    submit_all(op);
    pass(ns);
    errors = disk.failed_reads + disk.failed_writes - errors;
    assert_true(errors <= REQUESTS + 10 + ns / (2 * SECOND));
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, BITS(RUN - 1, 0));
    }
    assert_int_equal(store_takes_writes(store), op == BLOCK_READ);
    *down = false;
    pass(3 * SECOND);
    expect_all_done();
    assert_int_equal(figures().retired, 0);
    assert_true(store_takes_writes(store));
    assert_true(requests[0].end_ns - begin <= ns + 2 * SECOND + 100 * MS);
}

static void writes_fail_for_a_while(void **state)
{
    (void)state;
    outage(BLOCK_WRITE, &disk.writes_down, 500 * MS);
    outage(BLOCK_WRITE, &disk.writes_down, 10 * SECOND);
    outage(BLOCK_WRITE, &disk.writes_down, 100 * SECOND);
}

static void reads_fail_for_a_while(void **state)
{
    (void)state;
    submit_all(BLOCK_WRITE);
    pass(SECOND);
    outage(BLOCK_READ, &disk.reads_down, 500 * MS);
    outage(BLOCK_READ, &disk.reads_down, 10 * SECOND);
}

/* Down again each time when the request is on its way again: no verdict about its slots. */
static void many_short_outages(void **state)
{
    (void)state;
    submit(&requests[0], BLOCK_WRITE);
    for (unsigned i = 0; i < 20; i++) {
        disk.writes_down = true;
        pass(100 * MS);
        disk.writes_down = false;
        while (figures().write_health != STORE_WELL) {
            support_clock_advance(MS);
            store_io_poll(mm_clock_ns());
            fake_disk_settle(&disk);
        }
        store_io_poll(mm_clock_ns());
        assert_int_equal(disk.queued, 1);
    }
    pass(SECOND);
    assert_int_equal(requests[0].done, BITS(RUN - 1, 0));
}

/* What comes while the disk is away waits with the rest: no request of its own is spent on it. */
static void requests_that_come_later_wait(void **state)
{
    uint64_t writes;

    (void)state;
    disk.writes_down = true;
    submit(&requests[0], BLOCK_WRITE);
    pass(SECOND);
    writes = figures().writes;
    for (unsigned i = 1; i < REQUESTS; i++) {
        submit(&requests[i], BLOCK_WRITE);
    }
    pass(SECOND);
    assert_int_equal(figures().writes, writes);
    disk.writes_down = false;
    pass(3 * SECOND);
    expect_all_done();
}

/* One line when it begins, one when it ends. */
static void an_outage_is_two_lines(void **state)
{
    (void)state;
    support_log_watch("store fake0: ");
    disk.writes_down = true;
    submit_all(BLOCK_WRITE);
    pass(30 * SECOND);
    assert_int_equal(support_log_seen(), 1);
    disk.writes_down = false;
    pass(5 * SECOND);
    assert_int_equal(support_log_seen(), 2);
}

static void one_bad_slot_costs_one_page(void **state)
{
    (void)state;
    disk.bad_block = 1 + requests[3].io.slot + 5;
    submit_all(BLOCK_WRITE);
    pass(2 * SECOND);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, 0);
        assert_int_equal(requests[i].bad, i == 3 ? BIT(5) : 0);
        assert_int_equal(requests[i].given_up, 0);
    }
    /* The rest does not wait for the verdict. */
    submit_all(BLOCK_WRITE);
    pass(20 * MS);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, i == 3 ? BITS(7, 5) : 0);
    }
    pass(2 * SECOND);
    assert_true(store_takes_writes(store));
}

static void corrupt_data_is_read_again(void **state)
{
    (void)state;
    submit_all(BLOCK_WRITE);
    pass(SECOND);
    disk.corrupt_permille = 200;
    submit_all(BLOCK_READ);
    pass(20 * MS);
    disk.corrupt_permille = 0;
    pass(2 * SECOND);
    assert_true(disk.corrupted > 10);
    expect_all_done();
    disk.data[(1 + requests[7].io.slot + 2) * PAGE_SIZE + 100] ^= 1;
    submit_all(BLOCK_READ);
    pass(2 * SECOND);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].bad, i == 7 ? BIT(2) : 0);
        assert_int_equal(requests[i].done, BITS(7, 0) & ~requests[i].bad);
    }
}

/* Nobody waits for ever; and a disk that comes back after all is used again. */
static void a_disk_that_stays_away_is_given_up(void **state)
{
    (void)state;
    for (enum block_op op = BLOCK_READ; op <= BLOCK_WRITE; op++) {
        disk.reads_down = disk.writes_down = true;
        submit_all(op);
        pass(STORE_PATIENCE_NS - SECOND);
        assert_int_equal(requests[0].given_up, 0);
        pass(5 * SECOND);
        for (unsigned i = 0; i < REQUESTS; i++) {
            assert_int_equal(requests[i].given_up, BITS(RUN - 1, 0));
        }
        submit(&requests[0], op);
        pass(10 * MS);
        assert_int_equal(requests[0].given_up, BITS(RUN - 1, 0));
        disk.reads_down = disk.writes_down = false;
        pass(5 * SECOND);
        submit_all(BLOCK_WRITE);
        pass(10 * MS);
        expect_all_done();
        assert_int_equal(figures().retired, 0);
    }
}

/* Thin and full: what was written before can be written again, new blocks cannot. */
static void a_full_disk_loses_few_slots(void **state)
{
    unsigned bad = 0, given_up = 0;

    (void)state;
    disk.thin = 1;
    submit_all(BLOCK_WRITE);
    pass(20 * SECOND);
    assert_false(store_takes_writes(store));
    pass(STORE_PATIENCE_NS);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, 0);
        bad += (unsigned)__builtin_popcountll(requests[i].bad);
        given_up += (unsigned)__builtin_popcountll(requests[i].given_up);
    }
    assert_int_equal(bad + given_up, REQUESTS * RUN);
    assert_true(bad > 0 && bad < 50);
    assert_false(store_takes_writes(store));
    disk.thin = 0;
    pass(5 * SECOND);
    assert_true(store_takes_writes(store));
    submit_all(BLOCK_WRITE);
    pass(10 * MS);
    expect_all_done();
}

/* Full for ten seconds: somebody has made room. */
static void a_disk_that_is_full_for_a_while(void **state)
{
    unsigned bad = 0;

    (void)state;
    disk.thin = 1;
    submit_all(BLOCK_WRITE);
    pass(10 * SECOND);
    disk.thin = 0;
    pass(5 * SECOND);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[i].io.left, 0);
        assert_int_equal(requests[i].given_up, 0);
        bad += (unsigned)__builtin_popcountll(requests[i].bad);
    }
    assert_true(bad < 50);
    assert_true(store_takes_writes(store));
}

static void what_nobody_wants_ends_at_once(void **state)
{
    (void)state;
    disk.writes_down = true;
    submit_all(BLOCK_WRITE);
    pass(SECOND);
    requests[5].unwanted = true;
    pass(20 * MS);
    assert_int_equal(requests[5].given_up, BITS(RUN - 1, 0));
    assert_int_equal(requests[4].given_up, 0);
    disk.writes_down = false;
    pass(5 * SECOND);
}

/* Any mixture of failures: every request ends, within the sum of what its pages may take. */
static void every_request_ends(void **state)
{
    const uint64_t longest = 2 * STORE_PATIENCE_NS + RUN * 2 * SECOND;
    uint64_t begin[REQUESTS] = {0};
    uint64_t ends = 0;

    (void)state;
    support_seed(5);
    for (unsigned step = 0; step < 300000; step++) {
        unsigned i = (unsigned)support_random_below(REQUESTS);

        if (begin[i] == 0) {
            begin[i] = mm_clock_ns();
            submit(&requests[i], support_random_below(2) ? BLOCK_READ : BLOCK_WRITE);
        }
        if (support_random_below(2000) == 0) {
            disk.writes_down = support_random_below(3) == 0;
            disk.reads_down = support_random_below(3) == 0;
            disk.thin = support_random_below(4) == 0 ? support_random_below(SLOTS) : 0;
            disk.rotten = support_random_below(4) == 0 ? 1 + support_random_below(500) : 0;
            disk.fail_write_permille = support_random_below(4) == 0 ? 400 : 0;
            disk.fail_read_permille = support_random_below(4) == 0 ? 400 : 0;
            disk.corrupt_permille = support_random_below(4) == 0 ? 100 : 0;
        }
        fake_disk_step(&disk);
        support_clock_advance(support_random_below(support_random_below(50) ? 2 * MS : SECOND));
        store_io_poll(mm_clock_ns());
        for (i = 0; i < REQUESTS; i++) {
            if (begin[i] != 0 && requests[i].end_ns != 0) {
                ends++;
                begin[i] = 0;
            }
            assert_true(begin[i] == 0 || mm_clock_ns() - begin[i] < longest);
        }
    }
    assert_true(ends > 10000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(writes_fail_for_a_while),
        CASE(reads_fail_for_a_while),
        CASE(many_short_outages),
        CASE(requests_that_come_later_wait),
        CASE(an_outage_is_two_lines),
        CASE(one_bad_slot_costs_one_page),
        CASE(corrupt_data_is_read_again),
        CASE(a_disk_that_stays_away_is_given_up),
        CASE(a_full_disk_loses_few_slots),
        CASE(a_disk_that_is_full_for_a_while),
        CASE(what_nobody_wants_ends_at_once),
        CASE(every_request_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
