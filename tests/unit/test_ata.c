/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/disk_machine.c tests/unit/ata_model.c drivers/ata_command.c
 * drivers/block.c drivers/block_queue.c drivers/page_pool.c drivers/gpt.c */
/*
 * The ATA driver against one IDE channel with one drive (tests/unit/ata_model.h).  A drive that is
 * slow to be ready, that loses a command, that takes its time for a reset or never ends it: no poll
 * waits for it, which is to say that none reads or writes more than a few ports, and every request
 * ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ata_model.h"

#include "drivers/ata.c"
#include "drivers/ata_channel.c"

#include "tests/unit/disk_machine.h"
#include "tests/unit/support.h"

#define SECOND   1000000000ull
#define STEP     (SECOND / 100)
#define REQUESTS 16
#define ACCESSES 60 /* of ports, in one poll: enough to issue a command */

/* ---- requests ---- */

static struct {
    struct block_request request[REQUESTS];
    bool done[REQUESTS];
    enum block_status status[REQUESTS];
    unsigned submitted, ended;
    unsigned boot_delays, most_accesses;
} t;

static _Alignas(4096) uint8_t pages[REQUESTS][BLOCK_MAX_PAGES][4096];

static void note_done(struct block_request *request, enum block_status status)
{
    unsigned i = (unsigned)(request - t.request);

    assert_false(t.done[i]);
    t.done[i] = true;
    t.status[i] = status;
    t.ended++;
}

/* The `fail`-th allocation of memory fails; 0: none. */
static void boot_with(unsigned fail)
{
    memset(&t, 0, sizeof(t));
    ata_model_start();
    support_log_level(-1);
    disk_machine_start(ata_model_work);
    disk_machine_fail_dma(fail, false);
    block_init();
    t.boot_delays = disk_machine_delays();
}

static void boot(void)
{
    boot_with(0);
    assert_non_null(block_find("ata0"));
    assert_int_equal(block_find("ata0")->blocks, BLOCKS);
}

static void finish(void)
{
    assert_int_equal(t.ended, t.submitted);
    assert_int_equal(block_queue_outstanding(), 0);
    disk_machine_stop();
    ata_model_stop();
    support_log_level(LOG_WARN);
}

static void submit(unsigned count, uint32_t many)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = t.submitted++;
        struct block_request *r = &t.request[number];

        assert_true(number < REQUESTS);
        r->op = number % 2 ? BLOCK_WRITE : BLOCK_READ;
        r->block = number / 2 * BLOCK_MAX_PAGES;
        r->pages = many;
        r->done = note_done;
        for (uint32_t p = 0; p < many; p++) {
            r->page[p] = pfn((uintptr_t)pages[number][p] >> PAGE_SHIFT);
            memset(pages[number][p], (int)(number * BLOCK_MAX_PAGES + p), 4096);
        }
        block_submit(block_find("ata0"), r);
    }
}

/* Polls for so long, never waiting; how many requests ended meanwhile. */
static unsigned pass(uint64_t ns)
{
    unsigned before = t.ended;

    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        model.accesses = 0;
        block_poll();
        t.most_accesses = MAX(t.most_accesses, model.accesses);
        assert_true(model.accesses <= ACCESSES);
        assert_int_equal(disk_machine_delays(), t.boot_delays);
    }
    return t.ended - before;
}

static void expect_all(enum block_status status)
{
    assert_int_equal(t.ended, t.submitted);
    for (unsigned i = 0; i < t.submitted; i++) {
        assert_int_equal(t.status[i], status);
    }
}

/* Host memory lies above 4 GiB: all goes through the bounce pages, ATA_BOUNCE_PAGES at a time. */
static void test_large_requests_through_few_bounce_pages(void **state)
{
    (void)state;
    boot();
    memset(model.disk, 0xab, 64 * 4096);
    submit(2, BLOCK_MAX_PAGES);
    assert_int_equal(pass(SECOND), 2);
    expect_all(BLOCK_OK);
    for (unsigned p = 0; p < BLOCK_MAX_PAGES; p++) {
        assert_int_equal(pages[0][p][77], 0xab);
        assert_memory_equal(model.disk + p * 4096, pages[1][p], 4096);
    }
    print_message("at most %u port accesses a poll\n", t.most_accesses);
    finish();
}

/* One request of sectors, which begins inside of a block and of a page and ends inside of a page.
 */
static void submit_sectors(enum block_op op, uint32_t many)
{
    unsigned number = t.submitted++;
    struct block_request *r = &t.request[number];

    *r = (struct block_request){
        .op = op, .block = 3, .pages = many, .sector = 5, .offset = 2, .cut = 3, .done = note_done};
    for (uint32_t p = 0; p < many; p++) {
        r->page[p] = pfn((uintptr_t)pages[number][p] >> PAGE_SHIFT);
        memset(pages[number][p], (int)(0x10 + p), 4096);
    }
    block_submit(block_find("ata0"), r);
}

/* Nothing before, nothing behind them is touched, on the disk and in memory. */
static void test_sectors(void **state)
{
    const uint32_t many = ATA_BOUNCE_PAGES + 2, bytes = (many * 8 - 2 - 3) * 512;
    uint8_t *at;

    (void)state;
    boot();
    at = model.disk + 3 * 4096 + 5 * 512;
    for (unsigned i = 0; i < 64 * 4096; i++) {
        model.disk[i] = (uint8_t)(i >> 9);
    }
    submit_sectors(BLOCK_READ, many);
    assert_int_equal(pass(SECOND), 1);
    assert_memory_equal((uint8_t *)pages[0] + 2 * 512, at, bytes);
    assert_int_equal(pages[0][0][2 * 512 - 1], 0x10);
    assert_int_equal(pages[0][many - 1][4096 - 3 * 512], 0x10 + many - 1);
    submit_sectors(BLOCK_WRITE, many);
    assert_int_equal(pass(SECOND), 1);
    assert_memory_equal(at, (uint8_t *)pages[1] + 2 * 512, bytes);
    assert_int_equal(at[-1], (uint8_t)((3 * 8 + 5) - 1));
    assert_int_equal(at[bytes], (uint8_t)(3 * 8 + 5 + bytes / 512));
    expect_all(BLOCK_OK);
    finish();
}

/* And reads and writes behind it are as ever: a bounce page is used for both. */
static void test_discard(void **state)
{
    struct block_request *r = &t.request[0];

    (void)state;
    boot();
    assert_int_equal(block_find("ata0")->discard_max, 64 * 65535);
    memset(model.disk, 0x5a, BLOCKS * 4096);
    *r = (struct block_request){
        .op = BLOCK_DISCARD, .block = 2, .sector = 3, .sectors = 37, .done = note_done};
    t.submitted = 1;
    block_submit(block_find("ata0"), r);
    assert_int_equal(pass(SECOND), 1);
    for (unsigned s = 0; s < BLOCKS * 8; s++) {
        assert_int_equal(model.disk[s * 512], s >= 19 && s < 56 ? 0xdd : 0x5a);
    }
    submit(1, 2); /* a write, of blocks 0 and 1 */
    assert_int_equal(pass(SECOND), 1);
    assert_memory_equal(model.disk, pages[1][0], 4096);
    assert_int_equal(model.disk[8192], 0x5a);
    expect_all(BLOCK_OK);
    finish();
}

static void test_drive_that_is_slow_to_be_ready(void **state)
{
    (void)state;
    boot();
    model.after_ns = 5 * STEP;
    submit(6, 1);
    assert_int_equal(pass(SECOND), 6);
    expect_all(BLOCK_OK);
    assert_int_equal(model.resets, 0);
    finish();
}

static void test_reset_of_3_seconds(void **state)
{
    (void)state;
    boot();
    model.reset_ns = 3 * SECOND;
    model.lose = true;
    submit(2, 1);
    assert_int_equal(pass(9 * SECOND), 0);
    model.lose = false;
    model.pending = false; /* it is lost all the same */
    submit(2, 1);
    assert_int_equal(pass(3 * SECOND), 0);
    assert_int_equal(model.resets, 1);
    submit(2, 1);
    assert_int_equal(pass(2 * SECOND), 6);
    expect_all(BLOCK_OK);
    finish();
}

static void test_drive_that_never_ends_its_reset(void **state)
{
    (void)state;
    boot();
    model.reset_ns = 3600 * SECOND;
    model.lose = true;
    submit(4, 1);
    assert_int_equal(pass(12 * SECOND), 0);
    submit(4, 1);
    assert_int_equal(pass(4 * SECOND), 8);
    expect_all(BLOCK_TIMEOUT);
    submit(4, 1);
    assert_int_equal(pass(STEP), 4); /* at once */
    expect_all(BLOCK_TIMEOUT);
    finish();
}

/* After what block_init() takes: the first channel, what it needs below 4 GiB, the second channel.
 */
static void test_memory_fails_once(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 6; n++) {
        bool lost = n == 3 || n == 4;

        support_log_watch("left out, its disks are not used");
        boot_with(n);
        assert_int_equal(support_log_seen(), n >= 3 && n <= 5);
        assert_true((block_find("ata0") == NULL) == lost);
        assert_int_equal(disk_machine_dma_failures(), n < 6);
        if (!lost) {
            submit(2, 1);
            assert_int_equal(pass(SECOND), 2);
            expect_all(BLOCK_OK);
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_large_requests_through_few_bounce_pages),
        cmocka_unit_test(test_sectors),
        cmocka_unit_test(test_drive_that_is_slow_to_be_ready),
        cmocka_unit_test(test_reset_of_3_seconds),
        cmocka_unit_test(test_drive_that_never_ends_its_reset),
        cmocka_unit_test(test_memory_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
