/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem: operations on one VM's pools by several threads at once. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "tests/unit/support_tmem.h"
#include "tests/unit/xorshift.h"

#define THREADS 3u
#define SECONDS 1.5
#define HITS    100u /* at least */
#define SHARED  40u  /* handles that all threads fight over */

struct cpu {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    struct mm_waiter waiter;
    _Atomic bool woken;
    _Atomic uint64_t hits;
};

static struct cpu cpus[THREADS];
static _Atomic uint32_t shared_pool[3];
static _Atomic bool stop;

static uint64_t cpu_rnd(struct cpu *cpu, uint64_t below)
{
    return (xorshift64(&cpu->random) >> 16) % below;
}

static void cpu_wake(struct mm_waiter *w)
{
    atomic_store(&CONTAINER_OF(w, struct cpu, waiter)->woken, true);
}

static void cpu_main_loop(struct cpu *cpu)
{
    support_clock_advance(20000);
    if (cpu_rnd(cpu, 2) == 0) {
        fake_disk_step(&disk);
    }
    pager_run();
}

static void cpu_wait(struct cpu *cpu)
{
    while (!atomic_load(&cpu->woken)) {
        cpu_main_loop(cpu);
        if (cpu_rnd(cpu, 500) == 0) {
            waiter_cancel(&cpu->waiter);
            break;
        }
        sched_yield();
    }
    atomic_store(&cpu->woken, false);
}

/* Whatever is found under a handle was put there whole: all words tell the same put. */
static void cpu_check(struct cpu *cpu, gpa_t at, uint64_t object, uint32_t index)
{
    uint64_t content[WORDS];

    while (space_read(space, at, content, PAGE_SIZE, &cpu->waiter) == MM_WAIT) {
        cpu_wait(cpu);
    }
    if (content[0] != object || content[1] != index) {
        panic("a page of handle %lu %lu was found under %lu %u", (unsigned long)content[0],
              (unsigned long)content[1], (unsigned long)object, index);
    }
    for (unsigned i = 3; i < WORDS; i++) {
        if (content[i] != content[2] * i) {
            panic("a page of two puts");
        }
    }
    cpu->hits++;
}

static void cpu_operation(struct cpu *cpu)
{
    uint32_t which = (uint32_t)cpu_rnd(cpu, 3), id = atomic_load(&shared_pool[which]);
    uint64_t object = cpu_rnd(cpu, 4), content[WORDS], what = cpu_rnd(cpu, 2000);
    uint32_t index = (uint32_t)cpu_rnd(cpu, SHARED);
    struct tmem_handle h = handle(id, object, index);
    gpa_t at = gpa((cpu->index + 4) * PAGE_SIZE);
    enum tmem_result result = TMEM_OK;

    if (what < 1000) {
        content[0] = object;
        content[1] = index;
        content[2] = cpu_rnd(cpu, UINT64_MAX);
        for (unsigned i = 3; i < WORDS; i++) {
            content[i] = content[2] * i;
        }
        while (space_write(space, at, content, PAGE_SIZE, &cpu->waiter) == MM_WAIT) {
            cpu_wait(cpu);
        }
        while ((result = tmem_put(tmem, &h, at, &cpu->waiter)) == TMEM_WAIT) {
            cpu_wait(cpu);
        }
    } else if (what < 1900) {
        while ((result = tmem_get(tmem, &h, at, &cpu->waiter)) == TMEM_WAIT) {
            cpu_wait(cpu);
        }
        if (result == TMEM_OK) {
            cpu_check(cpu, at, object, index);
        }
    } else if (what < 1995) {
        tmem_page_flush(tmem, &h);
    } else if (what < 1998) {
        uint32_t position = 0;

        while (tmem_object_flush(tmem, &h, &position) == TMEM_AGAIN) {
        }
    } else if (destroy_of(tmem, id) == TMEM_OK) {
        uint32_t next;

        if (tmem_pool_create(tmem,
                             which == 0   ? TMEM_PERSISTENT
                             : which == 1 ? 0
                                          : TMEM_SHARED_GET,
                             &next) == TMEM_OK) {
            atomic_store(&shared_pool[which], next);
        }
    }
    if (result != TMEM_OK && result != TMEM_MISS && result != TMEM_REFUSED &&
        result != TMEM_BAD_POOL) {
        panic("cpu %u: result %d", cpu->index, (int)result);
    }
    waiter_end_turn(&cpu->waiter);
}

static void *cpu_run(void *argument)
{
    struct cpu *cpu = argument;

    support_set_cpu(cpu->index + 1);
    while (!atomic_load(&stop)) {
        cpu_operation(cpu);
        if (cpu_rnd(cpu, 4) == 0) {
            cpu_main_loop(cpu);
        }
    }
    waiter_cancel(&cpu->waiter);
    return NULL;
}

static uint64_t all_hits(void)
{
    uint64_t hits = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        hits += cpus[i].hits;
    }
    return hits;
}

static void rule7_concurrent_operations(void **state)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000000};
    uint64_t free = frame_alloc_free_count();

    (void)state;
    atomic_store(&stop, false);
    shared_pool[0] = new_pool(TMEM_PERSISTENT);
    shared_pool[1] = new_pool(0);
    shared_pool[2] = new_pool(TMEM_SHARED_GET);
    for (unsigned i = 0; i < THREADS; i++) {
        cpus[i] = (struct cpu){.index = i, .random = i + 99, .waiter.wake = cpu_wake};
        pthread_create(&cpus[i].thread, NULL, cpu_run, &cpus[i]);
    }
    /* Longer on a busy computer. */
    for (unsigned i = 0; i < (unsigned)(SECONDS * 20) || (all_hits() <= HITS && i < 600); i++) {
        /* Memory comes and goes. */
        frame_alloc_set_watermarks(4, i % 2 ? 16 : free - 40, i % 2 ? 64 : free - 30);
        nanosleep(&pause, NULL);
    }
    watermarks_off();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(cpus[i].thread, NULL);
    }
    assert_true(all_hits() > HITS);
}

static _Atomic bool racing;

static void *put_for_ever(void *argument)
{
    struct cpu *cpu = argument;

    support_set_cpu(cpu->index + 1);
    while (!atomic_load(&racing)) {
        struct tmem_handle h = handle(atomic_load(&shared_pool[0]), 1, (uint32_t)cpu_rnd(cpu, 50));

        tmem_put(tmem, &h, gpa(3 * PAGE_SIZE), &cpu->waiter);
    }
    return NULL;
}

/* No put that has found the pool alive gets into it when it has been swept. */
static void rule6_nothing_is_put_behind_a_destroy(void **state)
{
    struct cpu *cpu = &cpus[0];

    (void)state;
    *cpu = (struct cpu){.random = 5, .waiter.wake = cpu_wake};
    atomic_store(&racing, false);
    shared_pool[0] = new_pool(TMEM_PERSISTENT);
    pthread_create(&cpu->thread, NULL, put_for_ever, cpu);
    for (unsigned i = 0; i < 400; i++) {
        uint32_t id = atomic_load(&shared_pool[0]);

        for (unsigned wait = 0; wait < 50 && stats_now().persistent == 0; wait++) {
            sched_yield();
        }
        assert_int_equal(destroy(id), TMEM_OK);
        assert_int_equal(stats_now().persistent, 0);
        atomic_store(&shared_pool[0], new_pool(TMEM_PERSISTENT));
    }
    atomic_store(&racing, true);
    pthread_join(cpu->thread, NULL);
    assert_int_equal(destroy(shared_pool[0]), TMEM_OK);
    assert_int_equal(stats_now().persistent, 0);
}

/* ---- no global lock ------------------------------------------------------------------------- */

static struct tmem_shard *shard_of(uint32_t pool, uint32_t index)
{
    struct tmem_handle h = handle(pool, 1, index);

    return tmem_shard_of(tmem, tmem_page_hash(tmem_object_hash(tmem, &h), index));
}

static _Atomic bool finished;

static void *use_one_handle(void *argument)
{
    const struct tmem_handle *h = argument;
    struct mm_waiter own = {.wake = cpu_wake};

    support_set_cpu(1);
    if (tmem_put(tmem, h, gpa(3 * PAGE_SIZE), &own) == TMEM_OK &&
        tmem_get(tmem, h, gpa(3 * PAGE_SIZE), &own) == TMEM_OK &&
        tmem_page_flush(tmem, h) == TMEM_OK) {
        atomic_store(&finished, true);
    }
    return NULL;
}

/* An operation in progress stops those on handles of its own shard only. */
static void rule7_operations_on_other_handles_do_not_wait(void **state)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};
    uint32_t pool = new_pool(TMEM_PERSISTENT), other = 1;
    struct tmem_shard *busy = shard_of(pool, 0);
    struct tmem_handle h;
    uint64_t content[WORDS];
    pthread_t thread;

    (void)state;
    make_page(5, content);
    guest_write(3, content);
    while (other < 1000 && shard_of(pool, other) == busy) {
        other++;
    }
    assert_true(other < 1000);
    h = handle(pool, 1, other);
    atomic_store(&finished, false);
    spin_lock(&busy->lock);
    pthread_create(&thread, NULL, use_one_handle, &h);
    for (unsigned i = 0; i < 10000 && !atomic_load(&finished); i++) {
        nanosleep(&pause, NULL);
    }
    bool in_time = atomic_load(&finished);

    spin_unlock(&busy->lock);
    pthread_join(thread, NULL);
    assert_true(in_time);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TMEM_CASE(rule6_nothing_is_put_behind_a_destroy),
        TMEM_CASE(rule7_concurrent_operations),
        TMEM_CASE(rule7_operations_on_other_handles_do_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
