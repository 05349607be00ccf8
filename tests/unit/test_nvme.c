/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/nvme_model.c tests/unit/nvme_model_commands.c tests/unit/disk_machine.c
 * drivers/nvme.c drivers/nvme_namespace.c drivers/nvme_admin.c drivers/nvme_reset.c
 * drivers/nvme_queue.c drivers/nvme_ring.c drivers/block.c drivers/block_queue.c
 * drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c drivers/gpt.c */
/*
 * The NVMe driver on four CPUs (threads) against a controller in a thread: every block read must
 * be what was last written, every request is answered exactly once, through errors, lost commands,
 * resets and a controller that dies.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/block_queue.h"
#include "drivers/platform.h"
#include "tests/unit/nvme_model.h"
#include "tests/unit/support.h"

#define REQUESTS   24 /* of each CPU */
#define TURN_NS    100000000ull
#define OWN_BLOCKS (MODEL_BLOCKS / MODEL_CPUS / REQUESTS)

static struct block_device *disk;

struct job {
    struct block_request request;
    uint8_t *buffer; /* OWN_BLOCKS pages */
    uint64_t first;  /* first block of the job's own stretch */
    uint32_t version[OWN_BLOCKS];
    bool known[OWN_BLOCKS]; /* false after a failed write */
    atomic_bool busy;
    bool idle; /* nothing to check */
    enum block_status status;
};

struct worker {
    pthread_t thread;
    unsigned cpu;
    unsigned rounds;
    uint64_t seed;
    struct job job[REQUESTS];
    unsigned answered[4]; /* by minus status */
    unsigned wrong;
};

static void job_done(struct block_request *request, enum block_status status)
{
    struct job *job = request->owner;

    if (!atomic_load(&job->busy)) {
        abort(); /* answered twice */
    }
    job->status = status;
    atomic_store_explicit(&job->busy, false, memory_order_release);
}

static unsigned worker_random(struct worker *w, unsigned below)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return (unsigned)(w->seed % below);
}

static uint64_t stamp(const struct job *job, unsigned block)
{
    return (job->first + block) << 32 | job->version[block];
}

static void job_start(struct worker *w, struct job *job)
{
    struct block_request *r = &job->request;
    uint32_t pages = 1 + worker_random(w, OWN_BLOCKS);
    unsigned at = worker_random(w, OWN_BLOCKS - pages + 1), kind = worker_random(w, 20);

    r->op = kind == 0 ? BLOCK_FLUSH : kind < 8 ? BLOCK_WRITE : BLOCK_READ;
    r->block = job->first + at;
    r->pages = r->op == BLOCK_FLUSH ? 0 : pages;
    r->done = job_done;
    r->owner = job;
    for (uint32_t i = 0; i < r->pages; i++) {
        uint8_t *page = job->buffer + ((i * 5) % OWN_BLOCKS) * PAGE_SIZE;
        r->page[i] = pfn((uintptr_t)page >> PAGE_SHIFT);
        if (r->op == BLOCK_WRITE) {
            job->version[at + i]++;
            job->known[at + i] = false;
            uint64_t v = stamp(job, at + i);
            memcpy(page, &v, 8);
            memcpy(page + PAGE_SIZE - 8, &v, 8);
        } else {
            memset(page, 0xee, PAGE_SIZE);
        }
    }
    atomic_store(&job->busy, true);
    job->idle = false;
    block_submit(disk, r);
}

static void job_check(struct worker *w, struct job *job)
{
    const struct block_request *r = &job->request;

    w->answered[-job->status]++;
    job->idle = true;
    for (uint32_t i = 0; i < r->pages && job->status == BLOCK_OK; i++) {
        unsigned block = (unsigned)(r->block - job->first) + i;
        const uint8_t *page = platform_frame_ptr(r->page[i]);
        uint64_t v = stamp(job, block);

        if (r->op == BLOCK_WRITE) {
            job->known[block] = true;
        } else if (job->known[block]) {
            w->wrong += memcmp(page, &v, 8) != 0 || memcmp(page + PAGE_SIZE - 8, &v, 8) != 0;
        }
    }
}

/*
 * Time passes when every CPU has polled and the controller has looked twice since it last did:
 * however late the host lets one of these threads run, the others are never too late for it.
 */
static struct {
    atomic_uint running; /* a bit for each worker that has not ended */
    atomic_uint polled;  /* and for those that have polled */
    atomic_uint passes;  /* of the controller, when time last passed */
} turn;

static void turn_end(unsigned cpu)
{
    unsigned polled = atomic_fetch_or(&turn.polled, 1u << cpu) | 1u << cpu;
    unsigned passes = nvme_model_passes();

    if ((atomic_load(&turn.running) & ~polled) == 0 && passes - atomic_load(&turn.passes) >= 2 &&
        atomic_compare_exchange_strong(&turn.polled, &polled, 0)) {
        atomic_store(&turn.passes, passes);
        disk_machine_tick(TURN_NS);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    unsigned started = 0, open = 0;

    disk_machine_set_cpu(w->cpu);
    while (started < w->rounds || open != 0) {
        for (unsigned i = 0; i < REQUESTS; i++) {
            struct job *job = &w->job[i];
            if (atomic_load_explicit(&job->busy, memory_order_acquire)) {
                continue;
            }
            if (!job->idle) {
                job_check(w, job);
                open--;
            }
            if (started < w->rounds) {
                job_start(w, job);
                started++;
                open++;
            }
        }
        block_poll();
        turn_end(w->cpu);
        sched_yield();
    }
    atomic_fetch_and(&turn.running, ~(1u << w->cpu));
    return NULL;
}

static struct worker workers[MODEL_CPUS];

static void run_workers(unsigned rounds, unsigned answered[4])
{
    memset(workers, 0, sizeof(workers));
    memset(answered, 0, 4 * sizeof(answered[0]));
    atomic_store(&turn.running, (1u << MODEL_CPUS) - 1);
    for (unsigned c = 0; c < MODEL_CPUS; c++) {
        struct worker *w = &workers[c];
        w->cpu = c;
        w->rounds = rounds;
        w->seed = 0x9e3779b97f4a7c15ull * (c + 1);
        for (unsigned i = 0; i < REQUESTS; i++) {
            w->job[i].buffer = aligned_alloc(PAGE_SIZE, OWN_BLOCKS * PAGE_SIZE);
            w->job[i].first = (c * REQUESTS + i) * (uint64_t)OWN_BLOCKS;
            w->job[i].idle = true;
            assert_non_null(w->job[i].buffer);
        }
        assert_int_equal(pthread_create(&w->thread, NULL, worker_main, w), 0);
    }
    for (unsigned c = 0; c < MODEL_CPUS; c++) {
        struct worker *w = &workers[c];
        pthread_join(w->thread, NULL);
        assert_int_equal(w->wrong, 0);
        for (unsigned s = 0; s < 4; s++) {
            answered[s] += w->answered[s];
        }
        for (unsigned i = 0; i < REQUESTS; i++) {
            free(w->job[i].buffer);
        }
    }
    assert_int_equal(answered[0] + answered[1] + answered[2] + answered[3], rounds * MODEL_CPUS);
    assert_int_equal(block_queue_outstanding(), 0);
}

static void start(struct nvme_model_options options)
{
    disk_machine_set_cpu(0);
    options.timeout = 10; /* 5.5 s */
    nvme_model_start(&options);
    nvme_model_inject(0, 0);
    block_init();
    nvme_model_inject(options.fail_one_in, options.lose_one_in);
    disk = block_find("nvme0");
    assert_non_null(disk);
    assert_int_equal(disk->blocks, MODEL_BLOCKS);
}

static void test_many_queues(void **state)
{
    unsigned answered[4];

    (void)state;
    start((struct nvme_model_options){.queues = MODEL_CPUS, .lba_shift = 9});
    run_workers(3000, answered);
    assert_int_equal(answered[0], 3000 * MODEL_CPUS);
    assert_int_equal(nvme_model_starts(), 1);
    nvme_model_stop();
}

static void test_one_queue_small_commands(void **state)
{
    unsigned answered[4];

    (void)state;
    start((struct nvme_model_options){.queues = 1, .lba_shift = 12, .mdts = 2});
    run_workers(1000, answered);
    assert_int_equal(answered[0], 1000 * MODEL_CPUS);
    nvme_model_stop();
}

static void test_errors_pass_or_are_told(void **state)
{
    unsigned answered[4];

    (void)state;
    start((struct nvme_model_options){.queues = 2, .lba_shift = 9, .fail_one_in = 5});
    run_workers(2000, answered);
    /* One in 125 fails three times in a row. */
    assert_true(answered[1] > 0 && answered[1] < 2000 * MODEL_CPUS / 20);
    assert_int_equal(answered[2], 0);
    assert_int_equal(nvme_model_starts(), 1);
    nvme_model_stop();
}

static void test_lost_commands_are_issued_again(void **state)
{
    unsigned answered[4];

    (void)state;
    start((struct nvme_model_options){.queues = MODEL_CPUS, .lba_shift = 9, .lose_one_in = 1000});
    run_workers(3000, answered);
    assert_true(nvme_model_aborts() > 0);
    assert_true(nvme_model_starts() > 1);
    assert_int_equal(answered[1], 0);
    nvme_model_stop();
}

static void test_dead_controller_fails_all(void **state)
{
    unsigned answered[4];

    (void)state;
    start((struct nvme_model_options){
        .queues = 2, .lba_shift = 9, .lose_one_in = 500, .no_restart = true});
    run_workers(1000, answered);
    assert_true(answered[2] > 0);
    run_workers(10, answered);
    assert_int_equal(answered[2], 10 * MODEL_CPUS);
    nvme_model_stop();
}

static void move_sectors(struct job *job, enum block_op op, unsigned sector, unsigned offset,
                         unsigned cut)
{
    struct block_request *r = &job->request;

    *r = (struct block_request){.op = op,
                                .block = 1,
                                .pages = 3,
                                .sector = (uint8_t)sector,
                                .offset = (uint8_t)offset,
                                .cut = (uint8_t)cut,
                                .done = job_done,
                                .owner = job};
    for (unsigned i = 0; i < 3; i++) {
        r->page[i] = pfn((uintptr_t)(job->buffer + (2 - i) * PAGE_SIZE) >> PAGE_SHIFT);
    }
    atomic_store(&job->busy, true);
    block_submit(disk, r);
    while (atomic_load_explicit(&job->busy, memory_order_acquire)) {
        block_poll();
        sched_yield();
    }
}

/* Sectors of a disk that has them go to any place; one whose blocks are of 4 KiB refuses. */
static void test_sectors(void **state)
{
    struct job job = {.buffer = aligned_alloc(PAGE_SIZE, 3 * PAGE_SIZE)};

    (void)state;
    start((struct nvme_model_options){.queues = 1, .lba_shift = 9, .mdts = 1});
    memset(job.buffer, 1, 3 * PAGE_SIZE);
    move_sectors(&job, BLOCK_WRITE, 0, 0, 0);
    memset(job.buffer, 2, 3 * PAGE_SIZE);
    move_sectors(&job, BLOCK_WRITE, 7, 3, 6);
    assert_int_equal(job.status, BLOCK_OK);
    memset(job.buffer, 3, 3 * PAGE_SIZE);
    move_sectors(&job, BLOCK_READ, 6, 2, 4); /* 18 sectors: one of 1, 15 of 2, two of 1 */
    assert_int_equal(job.status, BLOCK_OK);
    for (unsigned i = 0; i < 24; i++) {
        uint8_t want = i < 2 || i >= 20 ? 3 : i == 2 || i >= 18 ? 1 : 2;

        assert_int_equal(job.buffer[(2 - i / 8) * PAGE_SIZE + i % 8 * 512], want);
        assert_int_equal(job.buffer[(2 - i / 8) * PAGE_SIZE + i % 8 * 512 + 511], want);
    }
    nvme_model_stop();
    start((struct nvme_model_options){.queues = 1, .lba_shift = 12});
    support_log_level(-1);
    move_sectors(&job, BLOCK_READ, 4, 4, 0);
    support_log_level(LOG_WARN);
    assert_int_equal(job.status, BLOCK_RANGE);
    nvme_model_stop();
    free(job.buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_queues),
        cmocka_unit_test(test_one_queue_small_commands),
        cmocka_unit_test(test_errors_pass_or_are_told),
        cmocka_unit_test(test_lost_commands_are_issued_again),
        cmocka_unit_test(test_dead_controller_fails_all),
        cmocka_unit_test(test_sectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
