/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem: each rule of the design a test; an executable model of the rules with several vCPUs of two
 * VMs in too little memory, on a disk that is late and fails; threads; every allocation failing
 * once.
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
#include "mm/pager.h"
#include "mm/space_internal.h"
#include "mm/tmem_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define FRAMES  2048u
#define SLOTS   4096u
#define PAGES   64u /* of guest memory */
#define NOWHERE (PAGES + 10)
#define WORDS   (PAGE_SIZE / sizeof(uint64_t))
#define VMS     2u
#define QUOTA   400u

struct machine_vm {
    struct space *space;
    struct tmem *tmem;
};

static struct fake_disk disk;
static struct store *store;
static struct machine_vm vms[VMS];
static uint64_t free_at_start;
static unsigned woken;

/* Of the first VM. */
static struct space *space;
static struct tmem *tmem;

static void wake(struct mm_waiter *waiter)
{
    assert_null(waiter->space);
    woken++;
}

static struct mm_waiter waiter = {.wake = wake};

/* ---- the machine ---------------------------------------------------------------------------- */

static bool vm_up(struct machine_vm *vm, uint64_t quota)
{
    struct space_config config = {
        .name = "vm", .format = &fake_format, .store = store, .shares = 100};

    vm->tmem = NULL;
    vm->space = space_create(&config);
    if (vm->space == NULL || !space_add_slot(vm->space, gfn(0), PAGES, 0)) {
        return false;
    }
    struct tmem_config tmem_config = {.name = "vm",
                                      .space = vm->space,
                                      .store = store,
                                      .quota = quota,
                                      .shares = 100,
                                      .seed = 42};

    vm->tmem = tmem_create(&tmem_config);
    return vm->tmem != NULL;
}

static void vm_down(struct machine_vm *vm)
{
    if (vm->tmem != NULL) {
        tmem_close(vm->tmem);
        while (!tmem_drain(vm->tmem)) {
            fake_disk_step(&disk);
        }
    }
    if (vm->space != NULL) {
        space_close(vm->space);
        while (!space_drain(vm->space)) {
            fake_disk_step(&disk);
        }
    }
    if (vm->tmem != NULL) {
        tmem_free(vm->tmem);
    }
    if (vm->space != NULL) {
        space_free(vm->space);
    }
    vm->tmem = NULL;
    vm->space = NULL;
}

static void watermarks_off(void)
{
    frame_alloc_set_watermarks(4, 16, 64);
}

static void machine_up(void)
{
    support_memory_init(FRAMES);
    watermarks_off();
    fake_disk_init(&disk, SLOTS + 1, 1);
    store = support_open_store(&disk);
    assert_non_null(store);
    free_at_start = frame_stats_get().free;
    woken = 0;
}

static void machine_down(void)
{
    struct store_stats stats;
    struct frame_stats frames = frame_stats_get();

    store_get_stats(store, &stats);
    assert_int_equal(stats.slots_used, 0);
    assert_int_equal(frames.tmem, 0);
    assert_int_equal(frames.free, free_at_start);
    fake_disk_free(&disk);
    support_memory_free();
}

static int set_up(void **state)
{
    (void)state;
    machine_up();
    for (unsigned i = 0; i < VMS; i++) {
        assert_true(vm_up(&vms[i], QUOTA));
    }
    space = vms[0].space;
    tmem = vms[0].tmem;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VMS; i++) {
        vm_down(&vms[i]);
    }
    machine_down();
    return 0;
}

/* All that can leave memory does. */
static void squeeze(unsigned steps)
{
    frame_alloc_set_watermarks(4, FRAMES, FRAMES);
    while (steps-- > 0) {
        support_clock_advance(10000000);
        pager_run();
        fake_disk_settle(&disk);
    }
    watermarks_off();
}

/* ---- operations that wait ------------------------------------------------------------------- */

/* Content that a seed stands for: one word now and then, else all different. */
static void make_page(uint64_t seed, uint64_t *page)
{
    for (unsigned i = 0; i < WORDS; i++) {
        page[i] = seed % 4 == 0 ? seed : seed * 0x9e3779b97f4a7c15ull * (i + 1);
    }
}

static void wait_woken(void)
{
    for (unsigned i = 0; woken == 0; i++) {
        assert_true(i < 10000);
        support_clock_advance(1000000);
        pager_run();
        fake_disk_step(&disk);
    }
    woken = 0;
}

static void guest_write(uint64_t page, const void *content)
{
    while (space_write(space, gpa(page * PAGE_SIZE), content, PAGE_SIZE, &waiter) == MM_WAIT) {
        wait_woken();
    }
}

static void guest_read(uint64_t page, void *content)
{
    while (space_read(space, gpa(page * PAGE_SIZE), content, PAGE_SIZE, &waiter) == MM_WAIT) {
        wait_woken();
    }
}

static struct tmem_handle handle(uint32_t pool, uint64_t object, uint32_t index)
{
    return (struct tmem_handle){
        .object = {object, ~object, object << 32}, .pool = pool, .index = index};
}

static enum tmem_result put_from(uint32_t pool, uint64_t object, uint32_t index, uint64_t page)
{
    struct tmem_handle h = handle(pool, object, index);
    enum tmem_result result;

    while ((result = tmem_put(tmem, &h, gpa(page * PAGE_SIZE), &waiter)) == TMEM_WAIT) {
        wait_woken();
    }
    return result;
}

static enum tmem_result put(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed)
{
    uint64_t content[WORDS];

    make_page(seed, content);
    guest_write(1, content);
    return put_from(pool, object, index, 1);
}

/* On TMEM_OK the page must be what the seed stands for. */
static enum tmem_result get(uint32_t pool, uint64_t object, uint32_t index, uint64_t seed)
{
    struct tmem_handle h = handle(pool, object, index);
    uint64_t content[WORDS], expected[WORDS];
    enum tmem_result result;

    while ((result = tmem_get(tmem, &h, gpa(2 * PAGE_SIZE), &waiter)) == TMEM_WAIT) {
        wait_woken();
    }
    if (result == TMEM_OK) {
        make_page(seed, expected);
        guest_read(2, content);
        assert_memory_equal(content, expected, PAGE_SIZE);
    }
    return result;
}

static uint32_t new_pool(uint32_t flags)
{
    uint32_t id;

    assert_int_equal(tmem_pool_create(tmem, flags, &id), TMEM_OK);
    return id;
}

static enum tmem_result destroy_of(struct tmem *of, uint32_t pool)
{
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_pool_destroy(of, pool, &position)) == TMEM_AGAIN) {
    }
    return result;
}

static enum tmem_result destroy(uint32_t pool)
{
    return destroy_of(tmem, pool);
}

static enum tmem_result flush_pool(uint32_t pool)
{
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_pool_flush(tmem, pool, &position)) == TMEM_AGAIN) {
    }
    return result;
}

static enum tmem_result flush_object(uint32_t pool, uint64_t object)
{
    struct tmem_handle h = handle(pool, object, 0);
    uint32_t position = 0;
    enum tmem_result result;

    while ((result = tmem_object_flush(tmem, &h, &position)) == TMEM_AGAIN) {
    }
    return result;
}

static enum tmem_result flush(uint32_t pool, uint64_t object, uint32_t index)
{
    struct tmem_handle h = handle(pool, object, index);

    return tmem_page_flush(tmem, &h);
}

static struct tmem_stats stats_now(void)
{
    struct tmem_stats stats;

    tmem_get_stats(tmem, &stats);
    return stats;
}

static enum tmem_where where(uint32_t pool, uint64_t object, uint32_t index)
{
    struct tmem_handle h = handle(pool, object, index);
    uint64_t hash = tmem_hash(tmem, &h);
    struct tmem_page *page = tmem_find(tmem, tmem_shard_of(tmem, hash), hash, &h);

    assert_non_null(page);
    return tmem_page_where(page);
}

/* ---- rule 1 --------------------------------------------------------------------------------- */

static void rule1_put_copies_before_it_returns(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    uint64_t other[WORDS];

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    make_page(6, other);
    guest_write(1, other);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

static void rule1_refused_put_keeps_nothing(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    assert_true(tmem_set_quota(tmem, 0));
    assert_int_equal(put(pool, 1, 1, 5), TMEM_REFUSED);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
    assert_int_equal(put_from(pool, 1, 1, NOWHERE), TMEM_FAULT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
    assert_int_equal(stats_now().persistent, 0);
    assert_int_equal(frame_stats_get().tmem, 0);
}

/* ---- rule 2 --------------------------------------------------------------------------------- */

static void rule2_persistent_get_succeeds_and_does_not_remove(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 300; i++) {
            assert_int_equal(put(pool, i % 7, i, 1 + i + round), TMEM_OK);
        }
        squeeze(20);
        for (unsigned again = 0; again < 2; again++) {
            for (uint32_t i = 0; i < 300; i++) {
                assert_int_equal(get(pool, i % 7, i, 1 + i + round), TMEM_OK);
            }
        }
    }
    assert_int_equal(stats_now().persistent, 300);
}

/* A page that was read back keeps its slot and leaves again without a write. */
static void rule2_clean_copy_is_dropped_and_read_again(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct store_stats before, after;

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    squeeze(20);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_SLOT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_FRAME);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_SLOT);
    store_get_stats(store, &before);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    store_get_stats(store, &after);
    assert_int_equal(after.written_pages, before.written_pages);
}

/* While the write is in flight the page is still read from its frame. */
static void rule2_get_while_it_is_written(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    assert_int_equal(disk.queued, 1);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(disk.queued, 1);
    fake_disk_settle(&disk);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_SLOT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

static void rule2_write_errors_lose_nothing(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct store_stats figures;

    (void)state;
    support_log_level(LOG_ERROR);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    disk.bad_block = 1 + 5; /* one of the slots of the first cluster of ours */
    disk.fail_write_permille = 300;
    squeeze(10);
    disk.fail_write_permille = 0;
    disk.bad_block = 0;
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(get(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    store_get_stats(store, &figures);
    assert_true(figures.retired > 0);
    support_log_level(LOG_WARN);
}

static void read_error_is_reported_and_never_wrong_data(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    support_log_level(-1);
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    squeeze(20);
    disk.fail_read_permille = 1000;
    assert_int_equal(get(pool, 1, 1, 5), TMEM_BROKEN);
    disk.fail_read_permille = 0;
    assert_int_equal(get(pool, 1, 1, 5), TMEM_BROKEN);
    assert_int_equal(put(pool, 1, 1, 6), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 6), TMEM_OK);
    squeeze(20);
    disk.corrupt_permille = 1000;
    assert_int_equal(get(pool, 1, 1, 6), TMEM_BROKEN);
    disk.corrupt_permille = 0;
    support_log_level(LOG_WARN);
}

/* ---- rule 3 --------------------------------------------------------------------------------- */

static void rule3_ephemeral_get_removes(void **state)
{
    uint32_t pool = new_pool(0);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
    assert_int_equal(stats_now().ephemeral, 0);
}

static void rule3_unless_created_otherwise(void **state)
{
    uint32_t pool = new_pool(TMEM_SHARED_GET);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

static void rule3_not_removed_before_it_is_delivered(void **state)
{
    uint32_t pool = new_pool(0);
    struct tmem_handle h = handle(pool, 1, 1);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    support_fail_alloc(1); /* no frame for the destination */
    assert_int_equal(tmem_get(tmem, &h, gpa(9 * PAGE_SIZE), &waiter), TMEM_WAIT);
    assert_true(support_alloc_failed());
    space_cancel_wait(&waiter);
    assert_int_equal(tmem_get(tmem, &h, gpa(NOWHERE * PAGE_SIZE), &waiter), TMEM_FAULT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
}

/* ---- rules 4 and 5 -------------------------------------------------------------------------- */

static void rule4_put_replaces(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        assert_int_equal(put(pool, 1, 1, seed), TMEM_OK);
        if (seed % 3 == 0) {
            squeeze(10);
        }
        assert_int_equal(get(pool, 1, 1, seed), TMEM_OK);
    }
    assert_int_equal(stats_now().persistent, 1);
}

static void rule4_put_replaces_while_io_is_in_flight(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct tmem_handle h = handle(pool, 1, 1);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    assert_int_equal(put(pool, 1, 1, 6), TMEM_OK);
    fake_disk_settle(&disk);
    assert_int_equal(get(pool, 1, 1, 6), TMEM_OK);
    squeeze(10);
    tmem_prefetch(tmem, &h);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_READING);
    assert_int_equal(put(pool, 1, 1, 7), TMEM_OK);
    fake_disk_settle(&disk);
    assert_int_equal(get(pool, 1, 1, 7), TMEM_OK);
}

static void rule4_failed_put_drops_the_old_data(void **state)
{
    uint32_t persistent = new_pool(TMEM_PERSISTENT), ephemeral = new_pool(TMEM_SHARED_GET);

    (void)state;
    assert_int_equal(put(persistent, 1, 1, 5), TMEM_OK);
    assert_int_equal(put_from(persistent, 1, 1, NOWHERE), TMEM_FAULT);
    assert_int_equal(get(persistent, 1, 1, 5), TMEM_MISS);

    assert_int_equal(put(ephemeral, 1, 1, 5), TMEM_OK);
    frame_alloc_set_watermarks(4, FRAMES, FRAMES);
    assert_int_equal(put_from(ephemeral, 1, 1, 1), TMEM_REFUSED);
    watermarks_off();
    assert_int_equal(get(ephemeral, 1, 1, 5), TMEM_MISS);
}

static void rule5_a_miss_stays_a_miss(void **state)
{
    uint32_t pool = new_pool(0);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(put(pool, 1, 2, 6), TMEM_OK);
    squeeze(5);
    assert_int_equal(stats_now().ephemeral, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
    }
    assert_int_equal(put(pool, 1, 1, 7), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 7), TMEM_OK);
}

/* ---- rule 6 --------------------------------------------------------------------------------- */

static void rule6_flushes_are_idempotent(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), other = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
        assert_int_equal(put(pool, 1, 2, 6), TMEM_OK);
        assert_int_equal(put(pool, 2, 1, 7), TMEM_OK);
        assert_int_equal(put(other, 1, 1, 9), TMEM_OK);
        if (round == 1) {
            squeeze(10);
        }
        for (unsigned twice = 0; twice < 2; twice++) {
            assert_int_equal(flush(pool, 1, 1), TMEM_OK);
            assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
            assert_int_equal(get(pool, 1, 2, 6), twice == 0 ? TMEM_OK : TMEM_MISS);
            assert_int_equal(flush_object(pool, 1), TMEM_OK);
            assert_int_equal(get(pool, 1, 2, 6), TMEM_MISS);
            assert_int_equal(get(pool, 2, 1, 7), twice == 0 ? TMEM_OK : TMEM_MISS);
            assert_int_equal(flush_pool(pool), TMEM_OK);
            assert_int_equal(get(pool, 2, 1, 7), TMEM_MISS);
            assert_int_equal(get(other, 1, 1, 9), TMEM_OK);
        }
    }
    assert_int_equal(stats_now().persistent, 1);
}

static void rule6_a_destroyed_pool_is_dead(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), later;

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(put(pool, 1, i, i), TMEM_OK);
    }
    squeeze(1);
    assert_int_equal(destroy(pool), TMEM_OK);
    assert_int_equal(stats_now().persistent, 0);
    assert_int_equal(destroy(pool), TMEM_BAD_POOL);
    assert_int_equal(put(pool, 1, 1, 5), TMEM_BAD_POOL);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_BAD_POOL);
    assert_int_equal(flush(pool, 1, 1), TMEM_BAD_POOL);
    assert_int_equal(flush_pool(pool), TMEM_BAD_POOL);
    later = new_pool(TMEM_PERSISTENT);
    assert_int_not_equal(later, pool);
    assert_int_equal(get(later, 1, 1, 5), TMEM_MISS);
    assert_int_equal(put(pool, 1, 1, 5), TMEM_BAD_POOL);
}

static void rule6_ids_are_never_used_twice(void **state)
{
    static uint8_t used[TMEM_POOLS * TMEM_POOLS * 62];
    uint32_t last = 0;

    (void)state;
    memset(used, 0, sizeof(used));
    for (unsigned i = 0; i < TMEM_POOLS * 60; i++) {
        uint32_t id = new_pool(0);

        assert_true(id < sizeof(used));
        assert_false(used[id]);
        used[id] = 1;
        if (i % 2) {
            assert_int_equal(destroy(last), TMEM_OK);
        }
        last = id;
        if (i % 2) {
            assert_int_equal(destroy(id), TMEM_OK);
        }
    }
}

/* The last id of a place: it is not wrapped around, the place is given up. */
static void rule6_ids_run_out(void **state)
{
    uint32_t id;

    (void)state;
    for (uint32_t i = 0; i < TMEM_POOLS; i++) {
        atomic_store(&tmem->pool[i].state, POOL_FREE | (UINT32_MAX - TMEM_POOLS + 1 + i));
    }
    for (uint32_t i = 0; i < TMEM_POOLS; i++) {
        assert_int_equal(destroy(new_pool(0)), TMEM_OK);
    }
    assert_int_equal(tmem_pool_create(tmem, 0, &id), TMEM_REFUSED);
}

static void rule6_position_of_any_value_is_safe(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), position = 0x7fffffff;

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_pool_flush(tmem, pool, &position), TMEM_OK);
    position = UINT32_MAX;
    assert_int_equal(tmem_pool_destroy(tmem, pool, &position), TMEM_AGAIN);
    assert_int_equal(position, 0);
    assert_int_equal(destroy(pool), TMEM_OK);
    assert_int_equal(stats_now().persistent, 0);
}

/* ---- rule 7 --------------------------------------------------------------------------------- */

static void rule7_ids_of_any_value_are_safe(void **state)
{
    static const uint32_t bad[] = {0, 1, 63, 64 + 63, 0x7fffffff, 0x80000000, UINT32_MAX};
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(put(bad[i], 1, 1, 5), TMEM_BAD_POOL);
        assert_int_equal(get(bad[i], 1, 1, 5), TMEM_BAD_POOL);
        assert_int_equal(flush(bad[i], 1, 1), TMEM_BAD_POOL);
        assert_int_equal(flush_object(bad[i], 1), TMEM_BAD_POOL);
        assert_int_equal(flush_pool(bad[i]), TMEM_BAD_POOL);
        assert_int_equal(destroy(bad[i]), TMEM_BAD_POOL);
        assert_int_equal(put(pool, UINT64_MAX - i, bad[i], i), TMEM_OK);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(get(pool, UINT64_MAX - i, bad[i], i), TMEM_OK);
    }
}

static void rule7_pools_are_private_to_a_vm(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), other;
    struct tmem_handle h = handle(pool, 1, 1);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_get(vms[1].tmem, &h, gpa(0), &waiter), TMEM_BAD_POOL);
    assert_int_equal(tmem_pool_create(vms[1].tmem, TMEM_PERSISTENT, &other), TMEM_OK);
    assert_int_equal(other, pool); /* numbers are each VM's own */
    assert_int_equal(tmem_get(vms[1].tmem, &h, gpa(0), &waiter), TMEM_MISS);
    assert_int_equal(destroy_of(vms[1].tmem, other), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

/* ---- rule 8 --------------------------------------------------------------------------------- */

static void rule8_persistent_pages_count_against_the_quota(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (uint32_t i = 0; i < QUOTA; i++) {
        assert_int_equal(put(pool, 1, i, i), TMEM_OK);
    }
    assert_int_equal(put(pool, 1, QUOTA, 1), TMEM_REFUSED);
    assert_int_equal(put(pool, 1, 0, 99), TMEM_OK); /* no page more */
    assert_int_equal(flush(pool, 1, 3), TMEM_OK);
    assert_int_equal(put(pool, 1, QUOTA, 1), TMEM_OK);
    assert_false(tmem_set_quota(tmem, QUOTA - 1));
    assert_int_equal(tmem_quota(tmem), QUOTA);
    assert_true(tmem_set_quota(tmem, QUOTA + 1));
    assert_int_equal(put(pool, 1, 3, 1), TMEM_OK);
    assert_int_equal(put(pool, 1, QUOTA + 1, 1), TMEM_REFUSED);
    assert_int_equal(stats_now().persistent, QUOTA + 1);
    assert_int_equal(stats_now().count[TMEM_REFUSALS], 2);
}

static void rule8_persistent_pages_need_no_ram(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    assert_true(frame_stats_get().tmem >= 300);
    squeeze(40);
    assert_int_equal(frame_stats_get().tmem, 0);
    assert_int_equal(stats_now().resident, 0);
    assert_int_equal(stats_now().persistent, 300);
}

static void rule8_a_page_of_one_word_takes_no_frame(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 8), TMEM_OK);
    assert_int_equal(where(pool, 1, 1), TMEM_AT_PATTERN);
    assert_int_equal(frame_stats_get().tmem, 0);
    assert_int_equal(get(pool, 1, 1, 8), TMEM_OK);
}

static void rule8_ephemeral_pages_go_first_and_oldest_first(void **state)
{
    uint32_t ephemeral = new_pool(TMEM_SHARED_GET), persistent = new_pool(TMEM_PERSISTENT);
    uint64_t free;

    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(put(ephemeral, 1, i, 2 * i + 1), TMEM_OK);
        assert_int_equal(put(persistent, 1, i, 2 * i + 1), TMEM_OK);
    }
    free = frame_alloc_free_count();
    frame_alloc_set_watermarks(4, free + 20, free + 20);
    while (frame_alloc_free_count() < free + 20) {
        assert_true(pager_run());
    }
    watermarks_off();
    assert_int_equal(stats_now().resident, 50);
    assert_int_equal(disk.queued, 0);
    uint64_t left = stats_now().ephemeral;

    assert_true(left >= 20 && left <= 30);
    assert_int_equal(stats_now().count[TMEM_EVICTIONS], 50 - left);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(get(ephemeral, 1, i, 2 * i + 1), i < 50 - left ? TMEM_MISS : TMEM_OK);
    }
}

static void rule8_oldest_persistent_pages_are_written_first(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    assert_int_equal(tmem_write_out(tmem, 20), 20);
    fake_disk_settle(&disk);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(where(pool, 1, i), i < 20 ? TMEM_AT_SLOT : TMEM_AT_FRAME);
    }
}

/* A put within the quota waits for memory, it is not refused: it was promised. */
static void rule8_a_promised_put_waits_for_a_frame(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct tmem_handle h = handle(pool, 1, 1);
    uint64_t content[WORDS];

    (void)state;
    make_page(5, content);
    guest_write(1, content);
    for (unsigned n = 1; n <= 2; n++) { /* the page's frame, then its descriptor's */
        support_fail_alloc(n);
        assert_int_equal(tmem_put(tmem, &h, gpa(PAGE_SIZE), &waiter), TMEM_WAIT);
        assert_true(support_alloc_failed());
        wait_woken();
    }
    support_fail_alloc(0);
    assert_int_equal(tmem_put(tmem, &h, gpa(PAGE_SIZE), &waiter), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

/* ---- allocations ---------------------------------------------------------------------------- */

static void every_allocation_of_create_may_fail(void **state)
{
    (void)state;
    machine_up();
    for (unsigned n = 1;; n++) {
        uint64_t before = frame_stats_get().free;
        bool made, failed;

        support_fail_alloc(n);
        made = vm_up(&vms[0], QUOTA);
        failed = support_alloc_failed();
        support_fail_alloc(0);
        vm_down(&vms[0]);
        assert_int_equal(frame_stats_get().free, before);
        if (!failed) {
            assert_true(made && n > TMEM_SHARDS);
            break;
        }
        if (n > 200) {
            fail_msg("it never succeeds");
        }
    }
    machine_down();
}

static void reads_wait_when_there_is_no_request(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(put(pool, 1, i, 2 * i + 1), TMEM_OK);
    }
    squeeze(20);
    for (uint32_t i = 0; i < 100; i++) {
        struct tmem_handle h = handle(pool, 1, i);

        tmem_prefetch(tmem, &h);
    }
    assert_int_equal(disk.queued, TMEM_IOS);
    assert_int_equal(get(pool, 1, 99, 199), TMEM_OK);
    assert_int_equal(get(pool, 1, 0, 1), TMEM_OK);
}

/* ---- the model ------------------------------------------------------------------------------ */

#define MODEL_VCPUS   5u
#define MODEL_POOLS   4u
#define MODEL_OBJECTS 3u
#define MODEL_INDICES 60u

struct model_pool {
    uint32_t id, flags;
    bool exists;
    uint64_t seed[MODEL_OBJECTS][MODEL_INDICES]; /* 0: nothing */
};

struct model_vm {
    struct model_pool pool[MODEL_POOLS];
};

enum model_kind {
    MODEL_PUT,
    MODEL_GET,
    MODEL_FLUSH,
    MODEL_FLUSH_OBJECT,
    MODEL_FLUSH_POOL,
    MODEL_DESTROY,
};

struct model_vcpu {
    struct mm_waiter waiter;
    unsigned vm, number;
    bool busy, parked;
    enum model_kind kind;
    unsigned pool, object, index;
    uint32_t id; /* of the pool when the operation began */
    uint64_t seed;
};

static struct model_vm model[VMS];
static struct model_vcpu vcpus[MODEL_VCPUS];
static uint64_t model_hits, model_broken, model_waits, model_refused;

static void model_wake(struct mm_waiter *w)
{
    struct model_vcpu *vcpu = CONTAINER_OF(w, struct model_vcpu, waiter);

    assert_true(vcpu->parked);
    vcpu->parked = false;
}

static uint64_t rnd(uint64_t below)
{
    return support_random_below(below);
}

static void model_begin(struct model_vcpu *vcpu)
{
    static const enum model_kind often[] = {MODEL_PUT, MODEL_PUT, MODEL_PUT, MODEL_PUT,  MODEL_GET,
                                            MODEL_GET, MODEL_GET, MODEL_GET, MODEL_FLUSH};
    struct model_pool *pool;

    vcpu->vm = (unsigned)rnd(VMS);
    vcpu->pool = (unsigned)rnd(MODEL_POOLS);
    vcpu->object = (unsigned)rnd(MODEL_OBJECTS);
    vcpu->index = (unsigned)rnd(MODEL_INDICES);
    vcpu->seed = 1 + rnd(1000000);
    vcpu->kind = rnd(100) != 0 ? often[rnd(ARRAY_SIZE(often))] : (enum model_kind)rnd(6);
    pool = &model[vcpu->vm].pool[vcpu->pool];
    if (!pool->exists) {
        memset(pool, 0, sizeof(*pool));
        pool->flags = vcpu->pool < 2 ? TMEM_PERSISTENT : vcpu->pool == 2 ? 0 : TMEM_SHARED_GET;
        assert_int_equal(tmem_pool_create(vms[vcpu->vm].tmem, pool->flags, &pool->id), TMEM_OK);
        pool->exists = true;
    }
    vcpu->id = pool->id;
    vcpu->busy = true;
}

static bool failures_happened(void)
{
    return disk.failed_reads + disk.corrupted != 0;
}

static bool model_dead(const struct model_vcpu *vcpu)
{
    const struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];

    return !pool->exists || pool->id != vcpu->id;
}

static enum tmem_result model_put(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct machine_vm *vm = &vms[vcpu->vm];
    uint64_t content[WORDS];
    gpa_t at = gpa((vcpu->number * 2 + 4) * PAGE_SIZE);
    enum tmem_result result;

    make_page(vcpu->seed, content);
    switch (space_write(vm->space, at, content, PAGE_SIZE, &vcpu->waiter)) {
    case MM_WAIT:
        return TMEM_WAIT;
    case MM_OK:
        break;
    default:
        return TMEM_LOST;
    }
    result = tmem_put(vm->tmem, h, at, &vcpu->waiter);
    if (result == TMEM_WAIT || result == TMEM_LOST) {
        return result;
    }
    if (model_dead(vcpu)) {
        assert_int_equal(result, TMEM_BAD_POOL);
        return result;
    }
    uint64_t *seed = &model[vcpu->vm].pool[vcpu->pool].seed[vcpu->object][vcpu->index];

    assert_true(result == TMEM_OK || result == TMEM_REFUSED);
    *seed = result == TMEM_OK ? vcpu->seed : 0;
    model_refused += result == TMEM_REFUSED;
    return result;
}

static void model_check_content(struct model_vcpu *vcpu, gpa_t at, uint64_t seed)
{
    uint64_t content[WORDS], expected[WORDS];

    /* It has just been written: it is resident, unless somebody else's time has come. */
    if (space_read(vms[vcpu->vm].space, at, content, PAGE_SIZE, &vcpu->waiter) != MM_OK) {
        space_cancel_wait(&vcpu->waiter);
        return;
    }
    make_page(seed, expected);
    assert_memory_equal(content, expected, PAGE_SIZE);
    model_hits++;
}

static enum tmem_result model_get(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];
    gpa_t at = gpa((vcpu->number * 2 + 5) * PAGE_SIZE);
    enum tmem_result result = tmem_get(vms[vcpu->vm].tmem, h, at, &vcpu->waiter);

    if (result == TMEM_WAIT || result == TMEM_LOST) {
        return result;
    }
    if (model_dead(vcpu)) {
        assert_int_equal(result, TMEM_BAD_POOL);
        return result;
    }
    uint64_t *seed = &pool->seed[vcpu->object][vcpu->index];

    if (result == TMEM_OK) {
        assert_true(*seed != 0);
        model_check_content(vcpu, at, *seed);
        *seed = pool->flags == 0 ? 0 : *seed;
    } else if (result == TMEM_BROKEN) {
        assert_true(failures_happened() && *seed != 0);
        model_broken++;
    } else {
        assert_int_equal(result, TMEM_MISS);
        assert_true(*seed == 0 || !(pool->flags & TMEM_PERSISTENT));
        *seed = 0;
    }
    return result;
}

static enum tmem_result model_remove(struct model_vcpu *vcpu, const struct tmem_handle *h)
{
    struct model_pool *pool = &model[vcpu->vm].pool[vcpu->pool];
    struct tmem *of = vms[vcpu->vm].tmem;
    bool dead = model_dead(vcpu);
    enum tmem_result result;
    uint32_t position = 0;

    do {
        result = vcpu->kind == MODEL_FLUSH          ? tmem_page_flush(of, h)
                 : vcpu->kind == MODEL_FLUSH_OBJECT ? tmem_object_flush(of, h, &position)
                 : vcpu->kind == MODEL_FLUSH_POOL   ? tmem_pool_flush(of, vcpu->id, &position)
                                                    : tmem_pool_destroy(of, vcpu->id, &position);
    } while (result == TMEM_AGAIN);
    assert_int_equal(result, dead ? TMEM_BAD_POOL : TMEM_OK);
    if (dead) {
        return result;
    }
    if (vcpu->kind == MODEL_FLUSH) {
        pool->seed[vcpu->object][vcpu->index] = 0;
    } else if (vcpu->kind == MODEL_FLUSH_OBJECT) {
        memset(pool->seed[vcpu->object], 0, sizeof(pool->seed[0]));
    } else {
        memset(pool->seed, 0, sizeof(pool->seed));
        pool->exists = vcpu->kind != MODEL_DESTROY;
    }
    return result;
}

static void model_step(struct model_vcpu *vcpu)
{
    struct tmem_handle h;
    enum tmem_result result;

    if (vcpu->parked) {
        if (rnd(300) == 0) {
            space_cancel_wait(&vcpu->waiter);
            vcpu->parked = vcpu->busy = false;
        }
        return;
    }
    if (!vcpu->busy) {
        model_begin(vcpu);
    }
    h = handle(vcpu->id, vcpu->object, vcpu->index);
    vcpu->parked = true; /* before, since wake() may come at once */
    switch (vcpu->kind) {
    case MODEL_PUT:
        result = model_put(vcpu, &h);
        break;
    case MODEL_GET:
        result = model_get(vcpu, &h);
        break;
    default:
        result = model_remove(vcpu, &h);
        break;
    }
    if (result == TMEM_WAIT) {
        model_waits++;
        return;
    }
    if (result == TMEM_LOST) {
        assert_true(failures_happened());
    }
    vcpu->parked = vcpu->busy = false;
}

static void model_sums(void)
{
    for (unsigned v = 0; v < VMS; v++) {
        struct tmem_stats s;
        uint64_t pages[2] = {0, 0};

        tmem_get_stats(vms[v].tmem, &s);
        for (unsigned i = 0; i < TMEM_POOLS; i++) {
            struct tmem_pool_stats p;

            if (tmem_get_pool_stats(vms[v].tmem, i, &p)) {
                pages[(p.flags & TMEM_PERSISTENT) != 0] += p.pages;
            }
        }
        assert_int_equal(s.ephemeral, pages[0]);
        assert_int_equal(s.persistent, pages[1]);
        assert_true(s.persistent <= s.quota && s.resident <= s.persistent);
    }
}

static void model_machine(uint64_t step, bool failing)
{
    support_clock_advance(rnd(1000000));
    if (rnd(3) == 0) {
        fake_disk_step(&disk);
    }
    if (rnd(4) == 0) {
        pager_run();
    }
    if (rnd(500) == 0) {
        uint64_t free = frame_alloc_free_count();

        frame_alloc_set_watermarks(4, free / 2 + rnd(free), free / 2 + free);
    } else if (rnd(500) == 0) {
        watermarks_off();
    }
    if (failing && rnd(50) == 0) {
        support_fail_alloc(1 + (unsigned)rnd(3));
    }
    if (step % 5000 == 0) {
        model_sums();
    }
}

static void run_model(uint64_t steps, bool failing)
{
    memset(model, 0, sizeof(model));
    model_hits = model_broken = model_waits = model_refused = 0;
    for (unsigned i = 0; i < MODEL_VCPUS; i++) {
        vcpus[i] = (struct model_vcpu){.number = i, .waiter.wake = model_wake};
    }
    if (failing) {
        disk.fail_read_permille = 3;
        disk.corrupt_permille = 2;
        disk.fail_write_permille = 20;
    }
    for (uint64_t step = 0; step < steps; step++) {
        model_step(&vcpus[rnd(MODEL_VCPUS)]);
        model_machine(step, failing);
    }
    for (unsigned i = 0; i < MODEL_VCPUS; i++) {
        space_cancel_wait(&vcpus[i].waiter);
    }
    support_fail_alloc(0);
    watermarks_off();
    assert_true(model_hits > steps / 20 && model_waits > 0 && model_refused > 0);
}

static void model_of_the_rules(void **state)
{
    struct store_stats figures;

    (void)state;
    support_seed(7);
    run_model(200000, false);
    store_get_stats(store, &figures);
    assert_true(figures.reads > 0 && figures.writes > 0);
    assert_int_equal(figures.retired, 0);
}

static void model_with_failing_disk_and_allocations(void **state)
{
    (void)state;
    support_log_level(-1);
    support_seed(11);
    run_model(100000, true);
    assert_true(model_broken > 0);
    support_log_level(LOG_WARN);
}

/* ---- threads -------------------------------------------------------------------------------- */

#define THREADS 3u
#define SECONDS 1.5
#define SHARED  40u /* handles that all threads fight over */

struct cpu {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    struct mm_waiter waiter;
    _Atomic bool woken;
    uint64_t hits;
};

static struct cpu cpus[THREADS];
static _Atomic uint32_t shared_pool[3];
static _Atomic bool stop;

static uint64_t cpu_rnd(struct cpu *cpu, uint64_t below)
{
    cpu->random ^= cpu->random >> 12;
    cpu->random ^= cpu->random << 25;
    cpu->random ^= cpu->random >> 27;
    return (cpu->random * 0x2545f4914f6cdd1dull >> 16) % below;
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
            space_cancel_wait(&cpu->waiter);
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
    space_cancel_wait(&cpu->waiter);
    return NULL;
}

static void rule7_concurrent_operations(void **state)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000000};
    uint64_t free = frame_alloc_free_count();
    uint64_t hits = 0;

    (void)state;
    atomic_store(&stop, false);
    shared_pool[0] = new_pool(TMEM_PERSISTENT);
    shared_pool[1] = new_pool(0);
    shared_pool[2] = new_pool(TMEM_SHARED_GET);
    for (unsigned i = 0; i < THREADS; i++) {
        cpus[i] = (struct cpu){.index = i, .random = i + 99, .waiter.wake = cpu_wake};
        pthread_create(&cpus[i].thread, NULL, cpu_run, &cpus[i]);
    }
    for (unsigned i = 0; i < (unsigned)(SECONDS * 20); i++) {
        /* Memory comes and goes. */
        frame_alloc_set_watermarks(4, i % 2 ? 16 : free - 40, i % 2 ? 64 : free - 30);
        nanosleep(&pause, NULL);
    }
    watermarks_off();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(cpus[i].thread, NULL);
        hits += cpus[i].hits;
    }
    assert_true(hits > 100);
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

/* The VM is killed in the middle of all: tear_down() checks that nothing is left. */
static void killed_in_mid_traffic(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), ephemeral = new_pool(0);

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(put(pool, 1, i, i), TMEM_OK);
        assert_int_equal(put(ephemeral, 1, i, i), TMEM_OK);
    }
    tmem_write_out(tmem, 60);
    fake_disk_settle(&disk);
    for (uint32_t i = 0; i < 10; i++) {
        struct tmem_handle h = handle(pool, 1, i);

        tmem_prefetch(tmem, &h);
    }
    tmem_write_out(tmem, 60);
    assert_true(disk.queued > 5);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rule1_put_copies_before_it_returns),
        CASE(rule1_refused_put_keeps_nothing),
        CASE(rule2_persistent_get_succeeds_and_does_not_remove),
        CASE(rule2_clean_copy_is_dropped_and_read_again),
        CASE(rule2_get_while_it_is_written),
        CASE(rule2_write_errors_lose_nothing),
        CASE(read_error_is_reported_and_never_wrong_data),
        CASE(rule3_ephemeral_get_removes),
        CASE(rule3_unless_created_otherwise),
        CASE(rule3_not_removed_before_it_is_delivered),
        CASE(rule4_put_replaces),
        CASE(rule4_put_replaces_while_io_is_in_flight),
        CASE(rule4_failed_put_drops_the_old_data),
        CASE(rule5_a_miss_stays_a_miss),
        CASE(rule6_flushes_are_idempotent),
        CASE(rule6_a_destroyed_pool_is_dead),
        CASE(rule6_ids_are_never_used_twice),
        CASE(rule6_ids_run_out),
        CASE(rule6_position_of_any_value_is_safe),
        CASE(rule6_nothing_is_put_behind_a_destroy),
        CASE(rule7_ids_of_any_value_are_safe),
        CASE(rule7_pools_are_private_to_a_vm),
        CASE(rule7_concurrent_operations),
        CASE(rule8_persistent_pages_count_against_the_quota),
        CASE(rule8_persistent_pages_need_no_ram),
        CASE(rule8_a_page_of_one_word_takes_no_frame),
        CASE(rule8_ephemeral_pages_go_first_and_oldest_first),
        CASE(rule8_oldest_persistent_pages_are_written_first),
        CASE(rule8_a_promised_put_waits_for_a_frame),
        cmocka_unit_test(every_allocation_of_create_may_fail),
        CASE(reads_wait_when_there_is_no_request),
        CASE(model_of_the_rules),
        CASE(model_with_failing_disk_and_allocations),
        CASE(killed_in_mid_traffic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
