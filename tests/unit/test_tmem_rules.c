/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem: rules 1 to 7 of docs/hypercall-abi.md, by their numbers, on one VM that runs alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "tests/unit/support_tmem.h"

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
    assert_int_equal(where(pool, 1, 1), PLACE_SLOT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(where(pool, 1, 1), PLACE_FRAME);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    assert_int_equal(where(pool, 1, 1), PLACE_SLOT);
    store_get_stats(store, &before);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    store_get_stats(store, &after);
    assert_int_equal(after.written_pages, before.written_pages);
}

/* A slot that only saves a write is given up when slots get scarce: by guest memory and by tmem. */
static void copies_go_when_the_store_is_tight(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT), *taken = malloc(SLOTS * sizeof(*taken));
    uint64_t content[WORDS];
    struct space_stats memory;
    struct store_stats stats;
    unsigned count = 0;

    (void)state;
    make_page(7, content);
    guest_write(3, content);
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    reclaim_batch(space, 64, 0);
    squeeze(20);
    guest_write(4, content); /* into a frame that comes back clean: page 3 is read for it */
    assert_int_equal(put_from(pool, 1, 2, 3), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    store_get_stats(store, &stats);
    assert_true(stats.slots_used >= 2);
    while (!store_is_tight(store)) {
        taken[count++] = store_slot_take(store, STORE_NONE, 0);
    }
    for (unsigned i = 0; i < 50; i++) {
        support_clock_advance(1000000);
        pager_run();
    }
    store_get_stats(store, &stats);
    space_get_stats(space, &memory);
    assert_int_equal(stats.slots_used, count + memory.stored); /* each page that is nowhere else */
    while (count > 0) {
        store_slot_give(store, taken[--count]);
    }
    free(taken);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
}

/* Memory that is short for long does not take a page between its coming and its being fetched. */
static void what_was_read_for_a_get_stays_until_it_comes(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct tmem_handle h = handle(pool, 1, 1);

    (void)state;
    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    squeeze(20);
    assert_int_equal(where(pool, 1, 1), PLACE_SLOT);
    assert_int_equal(tmem_get(tmem, &h, gpa(2 * PAGE_SIZE), &waiter), TMEM_WAIT);
    wait_woken();
    assert_int_equal(tmem_write_out(tmem, 1), 0);
    assert_int_equal(where(pool, 1, 1), PLACE_FRAME);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    assert_int_equal(where(pool, 1, 1), PLACE_SLOT);
    /* Nobody comes: it goes nevertheless. */
    assert_int_equal(tmem_get(tmem, &h, gpa(2 * PAGE_SIZE), &waiter), TMEM_WAIT);
    wait_woken();
    support_clock_advance(1000000000);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
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
    assert_int_equal(where(pool, 1, 1), PLACE_SLOT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
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
    waiter_cancel(&waiter);
    assert_int_equal(tmem_get(tmem, &h, gpa(NOWHERE * PAGE_SIZE), &waiter), TMEM_FAULT);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(get(pool, 1, 1, 5), TMEM_MISS);
}

/* ---- rule 4 --------------------------------------------------------------------------------- */

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
    assert_int_equal(where(pool, 1, 1), PLACE_READING);
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

/* ---- rule 5 --------------------------------------------------------------------------------- */

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

/* More pages of it than a shard's lock is held for, and others beside them. */
static void rule6_flush_object_drops_all_of_it_and_nothing_else(void **state)
{
    uint32_t pool = new_pool(TMEM_SHARED_GET), other = new_pool(TMEM_SHARED_GET);

    (void)state;
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(put(pool, 1, i, 4), TMEM_OK); /* one word: no frame */
        if (i < 100) {
            assert_int_equal(put(pool, 2, i, 4 * i), TMEM_OK);
            assert_int_equal(put(other, 1, i, 4 * i), TMEM_OK);
        }
    }
    for (uint64_t object = 1000; object < 2000; object++) { /* some will share a chain */
        assert_int_equal(put(pool, object, 7, 4), TMEM_OK);
    }
    assert_int_equal(flush_object(pool, 1), TMEM_OK);
    for (uint64_t object = 1000; object < 1040; object++) {
        assert_int_equal(flush_object(pool, object), TMEM_OK);
    }
    assert_int_equal(stats_now().ephemeral, 200 + 960);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(get(pool, 1, i, 4), TMEM_MISS);
        assert_int_equal(get(pool, 2, i, 4 * i), TMEM_OK);
        assert_int_equal(get(other, 1, i, 4 * i), TMEM_OK);
    }
    assert_int_equal(put(pool, 1, 7, 8), TMEM_OK);
    assert_int_equal(get(pool, 1, 7, 8), TMEM_OK);
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
        atomic_store(&tmem->pool[i]->state, POOL_FREE | (UINT32_MAX - TMEM_POOLS + 1 + i));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TMEM_CASE(rule1_put_copies_before_it_returns),
        TMEM_CASE(rule1_refused_put_keeps_nothing),
        TMEM_CASE(rule2_persistent_get_succeeds_and_does_not_remove),
        TMEM_CASE(rule2_clean_copy_is_dropped_and_read_again),
        TMEM_CASE(copies_go_when_the_store_is_tight),
        TMEM_CASE(what_was_read_for_a_get_stays_until_it_comes),
        TMEM_CASE(rule2_get_while_it_is_written),
        TMEM_CASE(rule3_ephemeral_get_removes),
        TMEM_CASE(rule3_unless_created_otherwise),
        TMEM_CASE(rule3_not_removed_before_it_is_delivered),
        TMEM_CASE(rule4_put_replaces),
        TMEM_CASE(rule4_put_replaces_while_io_is_in_flight),
        TMEM_CASE(rule4_failed_put_drops_the_old_data),
        TMEM_CASE(rule5_a_miss_stays_a_miss),
        TMEM_CASE(rule6_flushes_are_idempotent),
        TMEM_CASE(rule6_flush_object_drops_all_of_it_and_nothing_else),
        TMEM_CASE(rule6_a_destroyed_pool_is_dead),
        TMEM_CASE(rule6_ids_are_never_used_twice),
        TMEM_CASE(rule6_ids_run_out),
        TMEM_CASE(rule6_position_of_any_value_is_safe),
        TMEM_CASE(rule7_ids_of_any_value_are_safe),
        TMEM_CASE(rule7_pools_are_private_to_a_vm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
