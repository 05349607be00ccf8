/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads as CPUs: several fault in the same spaces at the same time while any of them runs the
 * pager and completes disk requests.  Each thread owns one word of every page, and some runs of
 * pages alone, which it discards now and then.
 *
 * A guest access is a walk and an access with the CPU "in the guest"; a shootdown waits until every
 * other CPU has left it, as hv/run/tlb.c does.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/policy/pager.h"
#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"
#include "tests/unit/xorshift.h"

#define CPUS    3u
#define SPACES  2u
#define PAGES   800u
#define RUN     16u /* pages of one thread */
#define SECONDS 1.5 /* per format: spinlocks crawl where CPUs are threads that get preempted */

struct cpu {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    struct mm_waiter waiter;
    _Atomic bool woken;
    _Atomic uint64_t visit; /* odd: in a guest */
    uint64_t model[SPACES][PAGES];
    uint64_t waits, cancels, discards;
};

static struct cpu cpus[CPUS];
static struct space *spaces[SPACES];
static struct fake_disk disk;
static _Atomic unsigned running;

static uint64_t rnd(struct cpu *cpu, uint64_t below)
{
    return (xorshift64(&cpu->random) >> 16) % below;
}

static void wait_until_out(struct space *space)
{
    unsigned self = support_cpu();

    atomic_fetch_add(space_flush_gen(space), 1);
    for (unsigned i = 0; i < CPUS; i++) {
        uint64_t visit = atomic_load(&cpus[i].visit);

        while (i != self && (visit & 1) && atomic_load(&cpus[i].visit) == visit) {
            sched_yield();
        }
    }
}

static void wake(struct mm_waiter *waiter)
{
    struct cpu *cpu = CONTAINER_OF(waiter, struct cpu, waiter);

    atomic_store(&cpu->woken, true);
}

/* As hardware: D and A are set only in an entry that is still what was read. */
static uint64_t *walk(struct space *space, uint64_t page, bool write)
{
    const struct table_format *format = space->table.format;
    pfn_t table = space->table.root;

    for (unsigned level = format->levels; level > 0; level--) {
        uint64_t *entry =
            (uint64_t *)mm_frame_ptr(table) + page / table_level_pages(level) % TABLE_ENTRIES;
        uint64_t value = table_entry_get(entry);
        enum entry_class class = format->classify(value, level);

        if (class == ENTRY_ABSENT) {
            return NULL;
        }
        uint64_t set =
            format->accessed_bit | (write && class == ENTRY_LEAF ? format->dirty_bit : 0);

        if (!table_entry_cmpxchg(entry, &value, value | set)) {
            return NULL;
        }
        table = format->pfn(value, level);
        if (class == ENTRY_LEAF) {
            return mm_frame_ptr(pfn(table.v + page % table_level_pages(level)));
        }
    }
    return NULL;
}

static bool guest_access(struct cpu *cpu, unsigned s, uint64_t page, bool write, uint64_t value)
{
    atomic_fetch_add(&cpu->visit, 1);
    uint64_t *at = walk(spaces[s], page, write);

    if (at != NULL) {
        if (write) {
            __atomic_store_n(&at[cpu->index], value, __ATOMIC_RELAXED);
            cpu->model[s][page] = value;
        } else if (__atomic_load_n(&at[cpu->index], __ATOMIC_RELAXED) != cpu->model[s][page]) {
            panic("cpu %u space %u page %lu: wrong content", cpu->index, s, (unsigned long)page);
        }
    }
    atomic_fetch_add(&cpu->visit, 1);
    return at != NULL;
}

static void main_loop(struct cpu *cpu)
{
    support_clock_advance(20000);
    if (rnd(cpu, 2) == 0) {
        fake_disk_step(&disk);
    }
    pager_run();
}

static void wait_for_wake(struct cpu *cpu)
{
    cpu->waits++;
    while (!atomic_load(&cpu->woken)) {
        main_loop(cpu);
        if (rnd(cpu, 500) == 0) {
            waiter_cancel(&cpu->waiter);
            cpu->cancels++;
            break;
        }
        sched_yield();
    }
    atomic_store(&cpu->woken, false);
}

static enum mm_result hypervisor_access(struct cpu *cpu, unsigned s, uint64_t page, bool write,
                                        uint64_t value)
{
    gpa_t at = gpa(page * PAGE_SIZE + cpu->index * sizeof(value));
    uint64_t got;
    enum mm_result result;

    if (write) {
        result = space_write(spaces[s], at, &value, sizeof(value), &cpu->waiter);
        if (result == MM_OK) {
            cpu->model[s][page] = value;
        }
        return result;
    }
    result = space_read(spaces[s], at, &got, sizeof(got), &cpu->waiter);
    if (result == MM_OK && got != cpu->model[s][page]) {
        panic("cpu %u space %u page %lu: read wrong content", cpu->index, s, (unsigned long)page);
    }
    return result;
}

/* Every fourth run of pages is all threads'. */
static bool is_anothers(const struct cpu *cpu, uint64_t page)
{
    uint64_t owner = page / RUN % (CPUS + 1);

    return owner != CPUS && owner != cpu->index;
}

static uint64_t choose_page(struct cpu *cpu)
{
    uint64_t page;

    do {
        page = rnd(cpu, 3) == 0 ? rnd(cpu, PAGES) : rnd(cpu, 60);
    } while (is_anothers(cpu, page));
    return page;
}

/* Of one of its own runs: what is behind that page. */
static void discard(struct cpu *cpu)
{
    unsigned s = (unsigned)rnd(cpu, SPACES);
    uint64_t page = choose_page(cpu);
    struct gfn_range range = {gfn(page), 1 + rnd(cpu, RUN - page % RUN)};

    if (page / RUN % (CPUS + 1) != cpu->index) {
        return;
    }
    /* Memory may be too short to split the large page that they are in. */
    if (space_discard(spaces[s], &range, 1) == range.pages) {
        memset(&cpu->model[s][page], 0, range.pages * sizeof(cpu->model[s][page]));
        cpu->discards++;
    }
}

static void one_access(struct cpu *cpu)
{
    unsigned s = (unsigned)rnd(cpu, SPACES);
    uint64_t page = choose_page(cpu);
    bool write = rnd(cpu, 3) == 0, guest = rnd(cpu, 5) != 0;
    uint64_t value = rnd(cpu, 4) == 0 ? 0 : rnd(cpu, UINT64_MAX);

    for (;;) {
        enum mm_result result = MM_OK;

        if (!guest) {
            result = hypervisor_access(cpu, s, page, write, value);
        } else if (!guest_access(cpu, s, page, write, value)) {
            result =
                space_fault(spaces[s], gfn(page), write ? ACCESS_WRITE : ACCESS_READ, &cpu->waiter);
            if (result == MM_OK) {
                continue;
            }
        }
        if (result == MM_OK) {
            waiter_end_turn(&cpu->waiter);
            return;
        }
        if (result != MM_WAIT) {
            panic("cpu %u: result %d", cpu->index, (int)result);
        }
        wait_for_wake(cpu);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *run(void *context)
{
    struct cpu *cpu = context;
    double until = now() + SECONDS;

    support_set_cpu(cpu->index);
    while (now() < until) {
        one_access(cpu);
        if (rnd(cpu, 40) == 0) {
            discard(cpu);
        }
        if (rnd(cpu, 4) == 0) {
            main_loop(cpu);
        }
    }
    atomic_fetch_sub(&running, 1);
    while (atomic_load(&running) != 0) {
        main_loop(cpu); /* the others may wait for what this CPU alone would do */
        sched_yield();
    }
    return NULL;
}

static void create_spaces(const struct table_format *format, struct store *store)
{
    for (unsigned i = 0; i < SPACES; i++) {
        struct space_config config = {
            .name = "smp", .format = format, .store = store, .min_pages = 8, .shares = 100};

        spaces[i] = space_create(&config);
        assert_non_null(spaces[i]);
        assert_true(space_add_memslot(spaces[i], gfn(0), PAGES, 0));
    }
}

static void destroy_spaces(void)
{
    for (unsigned i = 0; i < SPACES; i++) {
        space_close(spaces[i]);
        while (!space_drain(spaces[i])) {
            support_store_step(&disk);
        }
        space_free(spaces[i]);
    }
}

static void start_cpus(uint64_t seed)
{
    atomic_store(&running, CPUS);
    for (unsigned i = 0; i < CPUS; i++) {
        memset(&cpus[i], 0, sizeof(cpus[i]));
        cpus[i].index = i;
        cpus[i].random = seed * 77 + i * 3 + 1;
        cpus[i].waiter.wake = wake;
    }
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(pthread_create(&cpus[i].thread, NULL, run, &cpus[i]), 0);
    }
}

static void run_format(const struct table_format *format, uint64_t seed)
{
    uint64_t free_before, waits = 0, discards = 0;
    struct store_stats stats;
    struct store *store;

    support_memory_init(900);
    support_on_shootdown(wait_until_out);
    frame_alloc_set_watermarks(8, 24, 40); /* 2 MiB pages at first */
    fake_disk_init(&disk, 4000, seed);
    store = support_open_store(&disk);
    free_before = frame_stats_get().free;
    create_spaces(format, store);
    start_cpus(seed);
    for (unsigned i = 0; i < CPUS; i++) {
        pthread_join(cpus[i].thread, NULL);
        waits += cpus[i].waits;
        discards += cpus[i].discards;
    }
    store_get_stats(store, &stats);
    print_message("smp: format %s: %llu waits, %llu discards, %llu/%llu pages in/out\n",
                  format->name, (unsigned long long)waits, (unsigned long long)discards,
                  (unsigned long long)stats.read_pages, (unsigned long long)stats.written_pages);
    assert_true(discards > 0);
    destroy_spaces();
    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frame_stats_get().free, free_before);
    fake_disk_free(&disk);
    support_memory_free();
}

static void test_cpus_share_spaces(void **state)
{
    static const struct table_format *const formats[] = {SUPPORT_FORMATS};
    uint64_t seed = support_seed(1);

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        run_format(formats[i], seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpus_share_spaces)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
