/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator used by several CPUs at once: no frame is handed out twice, and the sum rule holds
 * at every moment.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

#define FIRST SUPPORT_FIRST_FRAME

#define THREADS        3u
#define THREAD_FRAMES  3000u
#define THREAD_STEPS   20000u
#define EXCHANGE_SLOTS 512u

/* Frames travel between CPUs: taken on one, freed on another. */
static struct {
    _Atomic uint64_t slot[EXCHANGE_SLOTS];
    _Atomic uint8_t owners[THREAD_FRAMES]; /* 1 while a frame is in use */
    _Atomic bool over;
} shared;

static void thread_take(uint64_t random)
{
    _Atomic uint64_t *slot = &shared.slot[random / 16 % EXCHANGE_SLOTS];
    unsigned order = random % 16 == 0 ? 3 : 0;
    uint64_t old;
    pfn_t got;

    if (!frame_alloc(order, (enum alloc_use)(random / 4096 % ALLOC_USE_COUNT), 0, &got)) {
        return;
    }
    for (uint64_t i = 0; i < 1ull << order; i++) {
        uint8_t before = atomic_exchange(&shared.owners[got.v - FIRST + i], 1);

        if (before != 0) {
            panic("frame handed out twice");
        }
    }
    old = atomic_exchange(slot, got.v | (uint64_t)order << 48);
    if (old == 0) {
        return;
    }
    got = pfn(old & BITS(47, 0));
    order = (unsigned)(old >> 48);
    for (uint64_t i = 0; i < 1ull << order; i++) {
        atomic_store(&shared.owners[got.v - FIRST + i], 0);
    }
    frame_free(got);
}

static void *thread_run(void *context)
{
    unsigned cpu = *(const unsigned *)context;
    uint64_t random = 88172645463325252ull + cpu * 77777;

    support_set_cpu(cpu);
    for (unsigned i = 0; i < THREAD_STEPS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread_take(random);
    }
    return NULL;
}

/* The sum rule at every moment, from a CPU of its own; and drains as well. */
static void *thread_watch(void *context)
{
    uint64_t looks = 0;

    (void)context;
    support_set_cpu(THREADS);
    while (!atomic_load(&shared.over)) {
        struct frame_stats s = frame_stats_get();

        if (s.free + s.guest + s.compressed + s.tmem + s.meta != s.frames || s.free > s.frames ||
            s.guest > s.frames || s.meta > s.frames) {
            panic("sum rule");
        }
        if (looks++ % 16 == 0) {
            frame_alloc_drain();
        }
        sched_yield(); /* it holds all locks most of the time: let the others have them */
    }
    return NULL;
}

static void test_threads(void **state)
{
    static unsigned id[THREADS];
    pthread_t thread[THREADS], watcher;

    (void)state;
    support_memory_init(THREAD_FRAMES);
    frame_alloc_set_watermarks(20, 40, 60);
    memset(&shared, 0, sizeof(shared));
    pthread_create(&watcher, NULL, thread_watch, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        id[i] = i;
        pthread_create(&thread[i], NULL, thread_run, &id[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    atomic_store(&shared.over, true);
    pthread_join(watcher, NULL);
    for (unsigned i = 0; i < EXCHANGE_SLOTS; i++) {
        if (shared.slot[i] != 0) {
            frame_free(pfn(shared.slot[i] & BITS(47, 0)));
        }
    }
    frame_alloc_drain();
    assert_int_equal(frame_alloc_free_count(), THREAD_FRAMES);
    assert_int_equal(frame_stats_get().free, THREAD_FRAMES);
    support_memory_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
