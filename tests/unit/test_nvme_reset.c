/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/nvme_model.c tests/unit/nvme_model_commands.c tests/unit/disk_machine.c
 * drivers/nvme.c drivers/nvme_namespace.c drivers/nvme_admin.c drivers/nvme_reset.c
 * drivers/nvme_queue.c drivers/nvme_ring.c drivers/block.c drivers/block_queue.c
 * drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c drivers/gpt.c */
/*
 * A controller that has to be reset, however long that takes: nobody waits for it, and every
 * request ends.  Time passes only here, so that a driver that waits for it would be seen to: by
 * calling platform_delay_us(), or by never returning.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/block_queue.h"
#include "tests/unit/nvme_model.h"
#include "tests/unit/support.h"

#define SECOND   1000000000ull
#define STEP     (SECOND / 50) /* between two polls */
#define REQUESTS 40
#define TIMEOUT  (2 * 10 * SECOND) /* an abort after half of it, a reset after all of it */
#define CAP_TO   120               /* 60.5 s, in units of 500 ms */

static struct {
    struct block_device *disk;
    struct block_request request[REQUESTS];
    bool done[REQUESTS];
    enum block_status status[REQUESTS];
    unsigned submitted, ended;
    unsigned boot_delays;
    uint64_t longest_poll; /* in ns of the host's time */
} t;

static _Alignas(4096) uint8_t pages[REQUESTS][4096];

static void note_done(struct block_request *request, enum block_status status)
{
    unsigned i = (unsigned)(request - t.request);

    assert_false(t.done[i]);
    t.done[i] = true;
    t.status[i] = status;
    t.ended++;
}

static void boot(void)
{
    static const struct nvme_model_options options = {
        .queues = MODEL_CPUS, .lba_shift = 9, .timeout = CAP_TO, .manual = true};

    memset(&t, 0, sizeof(t));
    support_log_level(-1);
    nvme_model_start(&options);
    block_init();
    t.disk = block_find("nvme0");
    assert_non_null(t.disk);
    t.boot_delays = disk_machine_delays();
}

static void finish(void)
{
    assert_int_equal(t.ended, t.submitted);
    assert_int_equal(block_queue_outstanding(), 0);
    nvme_model_stop();
    support_log_level(LOG_WARN);
}

/* `count` reads and writes, by all CPUs in turn. */
static void submit(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned number = t.submitted++;
        struct block_request *r = &t.request[number];

        assert_true(number < REQUESTS);
        r->op = number % 2 ? BLOCK_WRITE : BLOCK_READ;
        r->block = number;
        r->pages = 1;
        r->page[0] = pfn((uintptr_t)pages[number] >> PAGE_SHIFT);
        r->done = note_done;
        memset(pages[number], (int)number, 4096);
        disk_machine_set_cpu(number % MODEL_CPUS);
        block_submit(t.disk, r);
    }
}

static uint64_t host_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* One poll by some CPU, which must not wait. */
static void poll_once(unsigned cpu)
{
    uint64_t begin = host_ns();

    disk_machine_set_cpu(cpu % MODEL_CPUS);
    block_poll();
    t.longest_poll = MAX(t.longest_poll, host_ns() - begin);
    assert_int_equal(disk_machine_delays(), t.boot_delays);
}

/* Polls for so long; how many requests ended meanwhile. */
static unsigned pass(uint64_t ns)
{
    unsigned before = t.ended, cpu = 0;

    for (uint64_t at = 0; at < ns; at += STEP) {
        disk_machine_advance(STEP);
        poll_once(cpu++);
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

/* The commands of `count` requests are lost; at the end of it the reset has begun. */
static void lose_commands(unsigned count)
{
    nvme_model_inject(0, 1);
    submit(count);
    assert_int_equal(pass(TIMEOUT - SECOND), 0);
    assert_true(nvme_model_aborts() > 0);
    nvme_model_inject(0, 0);
}

static void test_reset_of_30_seconds(void **state)
{
    (void)state;
    boot();
    nvme_model_set_ready(15 * SECOND, 15 * SECOND);
    lose_commands(16);
    assert_int_equal(pass(5 * SECOND), 0); /* it has begun by now */
    submit(8);
    assert_int_equal(pass(20 * SECOND), 0);
    submit(8); /* it is not over yet */
    assert_int_equal(nvme_model_starts(), 1);
    assert_int_equal(pass(15 * SECOND), 32);
    expect_all(BLOCK_OK);
    assert_int_equal(nvme_model_starts(), 2);
    for (unsigned i = 1; i < t.submitted; i += 2) {
        assert_memory_equal(nvme_model_disk(0, 0) + i * 4096, pages[i], 4096);
    }
    submit(8); /* and it works as before */
    assert_int_equal(pass(SECOND), 8);
    expect_all(BLOCK_OK);
    print_message("longest poll: %.1f us of the host's time\n", (double)t.longest_poll / 1000);
    finish();
}

/* The controller is given up at the time that CAP.TO sets, and not before. */
static void never_ready(uint64_t stop_ns, uint64_t start_ns)
{
    boot();
    nvme_model_set_ready(stop_ns, start_ns);
    lose_commands(16);
    assert_int_equal(pass(5 * SECOND), 0);
    submit(8);
    assert_int_equal(pass(50 * SECOND), 0);
    assert_int_equal(nvme_model_masters_off(), 0);
    assert_int_equal(pass(15 * SECOND), 24);
    expect_all(BLOCK_TIMEOUT);
    assert_int_equal(nvme_model_masters_off(), 1);
    submit(8);
    assert_int_equal(pass(STEP * MODEL_CPUS), 8); /* at once */
    expect_all(BLOCK_TIMEOUT);
    finish();
}

static void test_controller_that_never_stops(void **state)
{
    (void)state;
    never_ready(NVME_MODEL_NEVER, 0);
}

static void test_controller_that_never_starts(void **state)
{
    (void)state;
    never_ready(0, NVME_MODEL_NEVER);
}

static void test_admin_commands_without_answer(void **state)
{
    (void)state;
    boot();
    nvme_model_set_ready(SECOND, SECOND);
    lose_commands(16);
    nvme_model_ignore_admin();
    assert_int_equal(pass(6 * SECOND), 0);
    submit(8);
    assert_int_equal(pass(6 * SECOND), 24);
    expect_all(BLOCK_TIMEOUT);
    assert_int_equal(nvme_model_starts(), 2);
    finish();
}

static void test_fewer_queues_after_the_reset(void **state)
{
    (void)state;
    boot();
    lose_commands(16);
    nvme_model_grant(MODEL_CPUS - 1);
    assert_int_equal(pass(3 * SECOND), 16);
    expect_all(BLOCK_TIMEOUT);
    finish();
}

static void test_controller_that_leaves_the_bus(void **state)
{
    (void)state;
    boot();
    nvme_model_set_ready(15 * SECOND, 15 * SECOND);
    lose_commands(16);
    assert_int_equal(pass(5 * SECOND), 0);
    submit(8);
    nvme_model_unplug();
    assert_int_equal(pass(STEP * MODEL_CPUS), 24);
    expect_all(BLOCK_TIMEOUT);
    finish();
}

/* It comes back each time and goes on losing commands: a request is tried three times. */
static void test_requests_that_no_reset_helps(void **state)
{
    (void)state;
    boot();
    nvme_model_set_ready(SECOND, SECOND);
    nvme_model_inject(0, 1);
    submit(16);
    assert_int_equal(pass(3 * TIMEOUT), 0);
    assert_int_equal(pass(10 * SECOND), 16);
    expect_all(BLOCK_TIMEOUT);
    assert_int_equal(nvme_model_starts(), 4);
    nvme_model_inject(0, 0);
    submit(8);
    assert_int_equal(pass(SECOND), 8);
    assert_int_equal(t.status[16], BLOCK_OK);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_of_30_seconds),
        cmocka_unit_test(test_controller_that_never_stops),
        cmocka_unit_test(test_controller_that_never_starts),
        cmocka_unit_test(test_admin_commands_without_answer),
        cmocka_unit_test(test_fewer_queues_after_the_reset),
        cmocka_unit_test(test_controller_that_leaves_the_bus),
        cmocka_unit_test(test_requests_that_no_reset_helps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
