/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem: rule 8 of docs/hypercall-abi.md, what memory it may take and which page goes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/policy/pager.h"
#include "tests/unit/support_tmem.h"

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
    assert_int_equal(where(pool, 1, 1), PLACE_WORD);
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
    frame_alloc_drain();
    free = frame_alloc_free_count();
    frame_alloc_set_watermarks(4, free + 20, free + 20);
    while (frame_alloc_free_count() < free + 20) {
        assert_true(pager_run());
    }
    watermarks_off();
    assert_int_equal(stats_now().resident, 50);
    assert_int_equal(disk.queued, 0);
    uint64_t left = stats_now().ephemeral;

    assert_true(left >= 20 && left <= 35); /* frames of descriptors count, too */
    assert_int_equal(stats_now().count[TMEM_EVICTIONS], 50 - left);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(get(ephemeral, 1, i, 2 * i + 1), i < 50 - left ? TMEM_MISS : TMEM_OK);
    }
}

/* More than the VM has memory for is not kept: the oldest make room. */
static void rule8_ephemeral_pages_are_bounded(void **state)
{
    uint32_t ephemeral = new_pool(TMEM_SHARED_GET);
    uint64_t most = tmem->ephemeral_max, hits = 0, old = 0;

    (void)state;
    tmem->ephemeral_max = 200;
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(put(ephemeral, 1, i, 8), TMEM_OK);
        assert_true(stats_now().ephemeral <= 200 + TMEM_SHARDS);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        enum tmem_result result = get(ephemeral, 1, i, 8);

        assert_true(result == TMEM_OK || result == TMEM_MISS);
        hits += result == TMEM_OK;
        old += result == TMEM_OK && i < 1500;
    }
    assert_int_equal(hits, stats_now().ephemeral);
    assert_true(hits > 150 && old < hits / 10);
    tmem->ephemeral_max = most;
}

/* Pages of one word have no frames: to free some, their descriptors go, at a bounded cost for each.
 */
static void rule8_eviction_without_frames_goes_on(void **state)
{
    uint32_t ephemeral = new_pool(TMEM_SHARED_GET);
    uint64_t free;
    unsigned steps = 0;

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        assert_int_equal(put(ephemeral, 1, i, 8), TMEM_OK);
    }
    frame_alloc_drain();
    free = frame_alloc_free_count();
    while (tmem_evict(tmem, 64) > 0) {
        steps++;
    }
    frame_alloc_drain();
    assert_true(frame_alloc_free_count() >= free + 20000 / TMEM_FRAME_PAGES);
    assert_true(steps <= 20000 / 512 + 1);
}

/* Descriptors and tables take what the pages that are there need: nothing stays behind. */
static void rule8_what_is_flushed_pins_no_frame(void **state)
{
    uint32_t pool = new_pool(0), kept = new_pool(0);
    uint64_t before;

    (void)state;
    frame_alloc_drain();
    before = frame_alloc_free_count();
    for (uint32_t i = 0; i < 60000; i++) {
        assert_int_equal(put(pool, i / 7, i, 8), TMEM_OK);
        if (i % 1500 == 0) {
            assert_int_equal(put(kept, 1, i, 8), TMEM_OK);
        }
    }
    frame_alloc_drain();
    assert_true(before - frame_alloc_free_count() >= 60000 / TMEM_FRAME_PAGES);
    for (uint32_t i = 0; i < 60000; i += 2) {
        assert_int_equal(flush(pool, i / 7, i), TMEM_OK);
    }
    for (uint64_t object = 0; object < 60000 / 7; object++) {
        if (object % 3 != 0) {
            assert_int_equal(flush_object(pool, object), TMEM_OK);
        }
    }
    assert_int_equal(flush_pool(pool), TMEM_OK);
    assert_int_equal(stats_now().ephemeral, 40);
    frame_alloc_drain();
    assert_true(before - frame_alloc_free_count() <= TMEM_SHARDS);
    for (uint32_t i = 0; i < 60000; i += 1500) {
        assert_int_equal(get(kept, 1, i, 8), TMEM_OK);
    }
}

/* The longest chain of a shard, of pages or of objects. */
static uint64_t longest_chain(const struct tmem_shard *shard)
{
    uint64_t longest = 0;

    for (uint32_t b = 0; b < shard->buckets; b++) {
        const struct tmem_bucket *buckets =
            frame_array_at(&shard->bucket_frames, b / TMEM_FRAME_BUCKETS);
        const struct tmem_bucket *bucket = &buckets[b % TMEM_FRAME_BUCKETS];
        uint64_t pages = 0, objects = 0;

        for (const struct tmem_page *p = bucket->pages; p != NULL; p = p->chain) {
            pages++;
        }
        for (const struct tmem_page *p = bucket->objects; p != NULL; p = p->next_object) {
            objects++;
        }
        longest = MAX(longest, MAX(pages, objects));
    }
    return longest;
}

/* Not longer when there are many pages than when there are few. */
static void rule8_chains_stay_short(void **state)
{
    uint32_t pool = new_pool(0);
    unsigned count = 0;

    (void)state;
    for (uint32_t i = 0; count < 20000; i++) {
        struct tmem_handle h = handle(pool, i, 1);

        if (tmem_shard_of(tmem, tmem_hash(tmem, &h)) == tmem->shard[0]) {
            assert_int_equal(put(pool, i, 1, 8), TMEM_OK);
            count++;
            assert_true(count % 1000 != 0 || longest_chain(tmem->shard[0]) <= 24);
        }
    }
    assert_int_equal(flush_pool(pool), TMEM_OK);
}

/* A VM needs no two frames side by side. */
static void rule8_memory_in_pieces_is_enough(void **state)
{
    static pfn_t frame[FRAMES];
    unsigned count = 0;

    (void)state;
    machine_up();
    while (frame_alloc(0, ALLOC_META, 0, &frame[count])) {
        count++;
    }
    for (unsigned i = 0; i < count; i++) {
        if (frame[i].v % 2 == 0) {
            frame_free(frame[i]);
        }
    }
    assert_true(vm_up(&vms[0], QUOTA));
    vm_down(&vms[0]);
    for (unsigned i = 0; i < count; i++) {
        if (frame[i].v % 2 != 0) {
            frame_free(frame[i]);
        }
    }
    machine_down();
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
        assert_int_equal(where(pool, 1, i), i < 20 ? PLACE_SLOT : PLACE_FRAME);
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

/* The disk has one request, and this is it; it is done. */
static void expect_request(enum block_op op, bool urgent)
{
    const struct block_request *request;

    assert_int_equal(disk.queued, 1);
    request = LIST_ENTRY(disk.queue.next, struct block_request, link);
    assert_int_equal(request->op, op);
    assert_int_equal(request->urgent, urgent);
    fake_disk_settle(&disk);
}

/* Of guest memory and of tmem: not what is written back, nor what is read ahead of need. */
static void reads_that_a_vcpu_waits_for_are_urgent(void **state)
{
    uint32_t pool = new_pool(TMEM_PERSISTENT);
    struct tmem_handle h = handle(pool, 1, 1);
    uint64_t content[WORDS];

    (void)state;
    watermarks_off();
    make_page(7, content);
    guest_write(3, content);
    assert_int_equal(reclaim_batch(space, 1, 0), 1);
    expect_request(BLOCK_WRITE, false);
    assert_int_equal(space_read(space, gpa(3 * PAGE_SIZE), content, PAGE_SIZE, &waiter), MM_WAIT);
    expect_request(BLOCK_READ, true);
    wait_woken();

    assert_int_equal(put(pool, 1, 1, 5), TMEM_OK);
    assert_int_equal(tmem_write_out(tmem, 1), 1);
    expect_request(BLOCK_WRITE, false);
    assert_int_equal(tmem_get(tmem, &h, gpa(2 * PAGE_SIZE), &waiter), TMEM_WAIT);
    expect_request(BLOCK_READ, true);
    wait_woken();
    support_clock_advance(1000000000);
    assert_int_equal(tmem_write_out(tmem, 1), 1); /* it has a clean copy */
    tmem_prefetch(tmem, &h);
    expect_request(BLOCK_READ, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TMEM_CASE(rule8_persistent_pages_count_against_the_quota),
        TMEM_CASE(rule8_persistent_pages_need_no_ram),
        TMEM_CASE(rule8_a_page_of_one_word_takes_no_frame),
        TMEM_CASE(rule8_ephemeral_pages_go_first_and_oldest_first),
        TMEM_CASE(rule8_ephemeral_pages_are_bounded),
        TMEM_CASE(rule8_eviction_without_frames_goes_on),
        TMEM_CASE(rule8_what_is_flushed_pins_no_frame),
        TMEM_CASE(rule8_chains_stay_short),
        cmocka_unit_test(rule8_memory_in_pieces_is_enough),
        TMEM_CASE(rule8_oldest_persistent_pages_are_written_first),
        TMEM_CASE(rule8_a_promised_put_waits_for_a_frame),
        TMEM_CASE(reads_that_a_vcpu_waits_for_are_urgent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
