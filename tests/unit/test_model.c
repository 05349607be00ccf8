/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/memory_model.c tests/unit/memory_model_devices.c */
/*
 * Several spaces in too little memory, on a disk that is late, reorders and fails, with CPUs that
 * use translations until a shootdown; every byte is compared with a plain array.
 *
 * One thread plays all CPUs, so that a seed repeats a run: MODEL_SEED=n, MODEL_STEPS=n.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/policy/pager.h"
#include "tests/unit/memory_model.h"
#include "tests/unit/support.h"

static struct store *store;
/* Summed over all runs: the paths that this test is about must have been taken. */
static uint64_t taken_back, large_maps, large_splits, clean_drops, readahead_hits, pins,
    device_writes;
static uint64_t discarded[PLACE_KINDS], discarded_large, overwritten;

/* ---- checks --------------------------------------------------------------------------------- */

static void check_sums(const struct model_space *in)
{
    uint64_t where[PLACE_KINDS] = {0};
    struct space_stats s;

    space_get_stats(in->space, &s);
    assert_int_equal(s.memory, PAGES);
    assert_int_equal(s.resident + s.hole + s.pattern + s.compressed + s.stored + s.disk + s.transit,
                     s.memory);
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned level;
        uint64_t *entry = table_leaf(&in->space->table, model_gfn(i), &level);

        where[entry_kind(in->space, table_entry_get(entry), level)]++;
    }
    for (unsigned i = 0; i < PLACE_KINDS; i++) {
        assert_int_equal(where[i], in->space->where[i]);
    }
}

static void machine_step(void)
{
    static unsigned slowness = 3;

    support_clock_advance(model_random(2000000));
    if (model_random(1000) == 0) {
        slowness = model_random(2) ? 3 : 40;
    }
    model_run_devices();
    if (model_random(slowness) == 0) {
        fake_disk_step(&model_disk);
    }
    if (model_random(2) == 0) {
        pager_run();
    }
}

/* A vCPU that is parked must come back by what disk and pager do, whatever the others do. */
static void unpark_all(void)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        for (unsigned tries = 0; model_vcpus[i].busy; tries++) {
            assert_true(tries < 100000);
            model_run_vcpu(&model_vcpus[i]);
            fake_disk_step(&model_disk);
            support_clock_advance(100000);
            pager_run();
        }
    }
}

static void read_back(void)
{
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned page = 0; page < PAGES; page++) {
            model_vcpus[0].in = &model_spaces[s];
            memset(model_vcpus[0].tlb, 0, sizeof(model_vcpus[0].tlb));
            model_vcpus[0].op = (struct op){.kind = OP_READ, .page = page};
            model_vcpus[0].busy = true;
            unpark_all();
        }
    }
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void open_store(uint64_t slots, uint64_t seed)
{
    fake_disk_init(&model_disk, slots + 2, seed);
    store = support_open_store(&model_disk);
    assert_non_null(store);
}

static void create_spaces(const struct table_format *format, uint64_t max_pages)
{
    for (unsigned i = 0; i < SPACES; i++) {
        struct space_config config = {
            .name = "model",
            .format = format,
            .store = store,
            .min_pages = 16,
            .max_pages = i == 0 ? max_pages : 0,
            .shares = 100 * (i + 1),
        };

        memset(&model_spaces[i], 0, sizeof(model_spaces[i]));
        model_spaces[i].space = space_create(&config);
        assert_non_null(model_spaces[i].space);
        assert_true(space_add_memslot(model_spaces[i].space, gfn(SLOT_B_BASE), SLOT_B, 0));
        assert_true(space_add_memslot(model_spaces[i].space, gfn(0), SLOT_A, 0));
        assert_false(space_add_memslot(model_spaces[i].space, gfn(SLOT_A - 1), 2, 0));
    }
    memset(model_vcpus, 0, sizeof(model_vcpus));
    for (unsigned i = 0; i < VCPUS; i++) {
        model_vcpus[i].waiter.wake = model_wake;
    }
}

static void destroy_spaces(void)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        waiter_cancel(&model_vcpus[i].waiter);
        model_vcpus[i].in = NULL;
    }
    for (unsigned kind = 0; kind < PLACE_KINDS; kind++) {
        discarded[kind] += model_counts.discarded[kind];
    }
    discarded_large += model_counts.discarded_large;
    overwritten += model_counts.overwritten;
    for (unsigned i = 0; i < SPACES; i++) {
        taken_back += model_spaces[i].space->taken_back;
        large_maps += model_spaces[i].space->large_maps;
        large_splits += model_spaces[i].space->large_splits;
        clean_drops += model_spaces[i].space->clean_drops;
        readahead_hits += model_spaces[i].space->readahead_hits;
        space_close(model_spaces[i].space);
    }
    for (unsigned i = 0; i < 100; i++) { /* nothing is freed below a device */
        support_store_step(&model_disk);
        for (unsigned s = 0; s < SPACES; s++) {
            assert_true(!space_drain(model_spaces[s].space) || model_spaces[s].space->pins == 0);
        }
        model_run_devices();
    }
    model_end_pins();
    for (unsigned i = 0; i < SPACES; i++) {
        while (!space_drain(model_spaces[i].space)) {
            support_store_step(&model_disk);
        }
        space_free(model_spaces[i].space);
    }
}

static void run_model(const struct table_format *format, uint64_t seed, unsigned steps,
                      uint64_t max_pages)
{
    struct store_stats before, after;
    uint64_t free_before = frame_stats_get().free;

    print_message("model: format %s, seed %llu, %u steps\n", format->name, (unsigned long long)seed,
                  steps);
    model_seed(seed);
    store_get_stats(store, &before);
    create_spaces(format, max_pages);
    for (unsigned i = 0; i < steps; i++) {
        model_run_vcpu(&model_vcpus[model_random(VCPUS)]);
        machine_step();
        if (i % 12000 == 11999) { /* memory is plenty again */
            for (unsigned s = 0; s < SPACES; s++) {
                model_discard_all(&model_spaces[s]);
            }
        }
        if (i % 512 == 0) {
            check_sums(&model_spaces[model_random(SPACES)]);
        }
    }
    pins += model_counts.pins;
    device_writes += model_counts.device_writes;
    if (model_random(2) == 0) {
        model_end_pins();
        unpark_all();
        read_back();
    }
    destroy_spaces();
    store_get_stats(store, &after);
    assert_int_equal(frame_stats_get().free, free_before);
    assert_int_equal(after.slots_used, before.slots_used);
    print_message("model: %llu waits, %llu late writes, %llu/%llu pages in/out, %llu lost\n",
                  (unsigned long long)model_counts.waits,
                  (unsigned long long)model_counts.stale_writes,
                  (unsigned long long)(after.read_pages - before.read_pages),
                  (unsigned long long)(after.written_pages - before.written_pages),
                  (unsigned long long)model_counts.lost_pages);
}

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL ? fallback : strtoull(text, NULL, 0);
}

static void begin(uint64_t slots)
{
    support_memory_init(FRAMES);
    support_on_shootdown(model_shootdown);
    frame_alloc_set_watermarks(16, 64, 128);
    open_store(slots, number_from("MODEL_SEED", 1));
}

static void end(void)
{
    fake_disk_free(&model_disk);
    support_memory_free();
}

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

static void each_format(uint64_t slots, void (*prepare)(void), uint64_t max_pages)
{
    unsigned steps = (unsigned)number_from("MODEL_STEPS", 60000);
    uint64_t seed = number_from("MODEL_SEED", 1);

    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        begin(slots);
        prepare();
        run_model(formats[i], seed, steps, max_pages);
        run_model(formats[i], seed + 1, steps / 4, max_pages);
        end();
    }
}

static void nothing(void)
{
}

static void failing_writes(void)
{
    model_disk.fail_write_permille = 50;
}

static void failing_reads(void)
{
    model_disk.fail_read_permille = 50;
    model_disk.rotten = 101;
    model_disk.corrupt_permille = 5;
}

static void bad_block(void)
{
    model_disk.bad_block = 37;
}

static void test_good_disk(void **state)
{
    (void)state;
    each_format(6000, nothing, 0);
}

static void test_limit(void **state)
{
    (void)state;
    each_format(6000, nothing, 200);
}

static void test_failing_writes(void **state)
{
    (void)state;
    each_format(20000, failing_writes, 0);
}

static void test_failing_reads(void **state)
{
    (void)state;
    each_format(20000, failing_reads, 0);
}

static void test_bad_block(void **state)
{
    (void)state;
    each_format(6000, bad_block, 0);
}

/* Little more than the pages that do not fit: clusters run out, and copies are given up. */
static void test_small_store(void **state)
{
    (void)state;
    each_format(SPACES * PAGES, nothing, 0);
}

/* Pages and slots together are just enough: copies of resident pages have to give way. */
static void test_full_store(void **state)
{
    (void)state;
    each_format(SPACES * PAGES - FRAMES + 200, nothing, 0);
}

static void test_all_paths_were_taken(void **state)
{
    (void)state;
    print_message("model: %llu taken back, %llu large maps, %llu splits, %llu clean drops, "
                  "%llu read-ahead hits, %llu pins, %llu writes of devices\n",
                  (unsigned long long)taken_back, (unsigned long long)large_maps,
                  (unsigned long long)large_splits, (unsigned long long)clean_drops,
                  (unsigned long long)readahead_hits, (unsigned long long)pins,
                  (unsigned long long)device_writes);
    for (unsigned kind = 0; kind < PLACE_KINDS; kind++) {
        print_message("model: %llu pages discarded from place %u\n",
                      (unsigned long long)discarded[kind], kind);
        assert_true(discarded[kind] > 0 || kind == PLACE_DISK); /* test_disk_identity */
    }
    print_message("model: %llu large pages discarded\n", (unsigned long long)discarded_large);
    assert_true(discarded_large > 0);
    print_message("model: %llu pages overwritten unread\n", (unsigned long long)overwritten);
    assert_true(overwritten > 1000);
    assert_true(taken_back > 0 && large_maps > 0 && large_splits > 0 && clean_drops > 0 &&
                readahead_hits > 0 && pins > 0 && device_writes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_disk),      cmocka_unit_test(test_limit),
        cmocka_unit_test(test_failing_writes), cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_bad_block),      cmocka_unit_test(test_small_store),
        cmocka_unit_test(test_full_store),     cmocka_unit_test(test_all_paths_were_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
