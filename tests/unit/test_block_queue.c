/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/block_queue.c drivers/block_tags.c */
/*
 * Requests to disks without disks: the queue that cuts them into slices, and the tags of what is in
 * flight.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/block.h"
#include "drivers/block_tags.h"
#include "drivers/nvme_ring.h"

/* ---- block_queue ---- */

struct answer {
    unsigned calls;
    enum block_status status;
};

static void note_done(struct block_request *request, enum block_status status)
{
    struct answer *answer = request->owner;

    answer->calls++;
    answer->status = status;
}

static struct block_request make_request(enum block_op op, uint64_t block, uint32_t pages,
                                         struct answer *answer)
{
    struct block_request request = {.op = op, .block = block, .pages = pages};

    memset(answer, 0, sizeof(*answer));
    request.done = note_done;
    request.owner = answer;
    return request;
}

static void add(struct block_queue *queue, struct block_device *device,
                struct block_request *request)
{
    spin_lock(&queue->lock);
    block_queue_add(queue, device, request);
    spin_unlock(&queue->lock);
}

static void test_queue_slices(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000, .start = 5000};
    struct block_queue queue;
    struct block_slice slice[4];
    struct answer answer;
    struct block_request request = make_request(BLOCK_READ, 900, 64, &answer);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    assert_int_equal(block_queue_outstanding(), 1);
    for (int i = 0; i < 3; i++) {
        assert_true(block_queue_take(&queue, 24, &slice[i]));
    }
    assert_false(block_queue_take(&queue, 24, &slice[3]));
    assert_int_equal(slice[2].first, 48);
    assert_int_equal(slice[2].count, 16);
    assert_int_equal(block_slice_start(&slice[1]), 5000 + 900 + 24);
    block_queue_end(&queue, &slice[1], BLOCK_OK);
    block_queue_end(&queue, &slice[0], BLOCK_OK);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 0);
    block_queue_end(&queue, &slice[2], BLOCK_OK);
    assert_int_equal(answer.calls, 0);
    block_queue_deliver(&queue);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_OK);
    assert_int_equal(device.reads, 1);
    assert_int_equal(device.read_pages, 64);
    assert_int_equal(block_queue_outstanding(), 0);
}

/* Sectors: the first slice begins inside of its page, the last one ends inside of it, and none is
 * lost or moved twice. */
static void test_queue_slices_of_sectors(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000, .start = 5000, .unit = 1};
    struct block_request request = {
        .op = BLOCK_READ, .block = 900, .pages = 3, .sector = 5, .offset = 3, .cut = 7};
    struct block_slice slice;
    struct block_queue queue;
    struct answer answer;
    uint64_t next = (5000 + 900) * 8 + 5;
    uint32_t before;

    (void)state;
    memset(&answer, 0, sizeof(answer));
    request.done = note_done;
    request.owner = &answer;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    for (unsigned i = 0; i < 3; i++) {
        static const uint32_t sectors[] = {5, 8, 1};

        assert_true(block_queue_take(&queue, 1, &slice));
        assert_int_equal(block_slice_sector(&slice), next);
        assert_int_equal(block_slice_sectors(&slice), sectors[i]);
        assert_int_equal(block_slice_offset(&slice), i == 0 ? 3 : 0);
        assert_int_equal(block_slice_bytes(&slice, 0, &before), sectors[i] * 512);
        assert_int_equal(before, i == 0 ? 3 * 512 : 0);
        next += sectors[i];
        block_queue_end(&queue, &slice, BLOCK_OK);
    }
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_OK);
}

/* Which ranges of sectors are on a device of 100 blocks, and in its units. */
static void test_queue_refuses_sectors(void **state)
{
    static const struct {
        uint64_t block;
        uint32_t pages;
        uint8_t sector, offset, cut, unit;
        enum block_status want;
    } cases[] = {
        {99, 1, 0, 0, 0, 1, BLOCK_OK},    {99, 1, 1, 0, 0, 1, BLOCK_RANGE},
        {99, 1, 1, 0, 1, 1, BLOCK_OK},    {99, 1, 7, 7, 0, 1, BLOCK_OK},
        {99, 2, 7, 7, 7, 1, BLOCK_RANGE}, {98, 2, 7, 4, 3, 1, BLOCK_OK},
        {98, 2, 7, 4, 2, 1, BLOCK_RANGE}, {98, 1, 7, 1, 0, 1, BLOCK_OK},
        {0, 1, 8, 0, 0, 1, BLOCK_RANGE},  {0, 2, 0, 8, 0, 1, BLOCK_RANGE},
        {0, 2, 0, 0, 8, 1, BLOCK_RANGE},  {0, 1, 0, 4, 4, 1, BLOCK_RANGE},
        {0, 1, 2, 0, 2, 2, BLOCK_OK},     {0, 1, 1, 0, 0, 2, BLOCK_RANGE},
        {0, 1, 0, 4, 0, 8, BLOCK_RANGE},  {0, 1, 0, 0, 4, 8, BLOCK_RANGE},
        {0, 1, 0, 0, 0, 8, BLOCK_OK},     {~0ull >> 3, 1, 0, 0, 0, 1, BLOCK_RANGE},
    };
    struct block_queue queue;
    struct block_slice slice;

    (void)state;
    block_queue_init(&queue);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct block_device device = {.name = "d", .blocks = 100, .unit = cases[i].unit};
        struct answer answer;
        struct block_request request =
            make_request(BLOCK_WRITE, cases[i].block, cases[i].pages, &answer);

        request.sector = cases[i].sector;
        request.offset = cases[i].offset;
        request.cut = cases[i].cut;
        add(&queue, &device, &request);
        while (block_queue_take(&queue, 64, &slice)) {
            block_queue_end(&queue, &slice, BLOCK_OK);
        }
        block_queue_deliver(&queue);
        assert_int_equal(answer.status, cases[i].want);
    }
}

static void test_queue_first_failure_stops_the_rest(void **state)
{
    struct block_device device = {.name = "d", .blocks = 1000};
    struct block_queue queue;
    struct block_slice slice[2], none;
    struct answer answer;
    struct block_request request = make_request(BLOCK_WRITE, 0, 64, &answer);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &request);
    assert_true(block_queue_take(&queue, 8, &slice[0]));
    assert_true(block_queue_take(&queue, 8, &slice[1]));
    block_queue_end(&queue, &slice[0], BLOCK_TIMEOUT);
    assert_false(block_queue_take(&queue, 8, &none));
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 0);
    block_queue_end(&queue, &slice[1], BLOCK_ERROR);
    block_queue_deliver(&queue);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, BLOCK_TIMEOUT);
    assert_int_equal(device.errors, 1);
    assert_int_equal(device.writes, 0);
}

static void test_queue_refuses(void **state)
{
    static const struct {
        enum block_op op;
        uint64_t block;
        uint32_t pages;
        enum block_status want;
    } cases[] = {
        {BLOCK_READ, 100, 1, BLOCK_RANGE},   {BLOCK_READ, 99, 2, BLOCK_RANGE},
        {BLOCK_READ, ~0ull, 1, BLOCK_RANGE}, {BLOCK_READ, ~0ull - 63, 64, BLOCK_RANGE},
        {BLOCK_READ, 0, 0, BLOCK_RANGE},     {BLOCK_READ, 0, BLOCK_MAX_PAGES + 1, BLOCK_RANGE},
        {BLOCK_WRITE, 0, 1, BLOCK_ERROR},
    };
    struct block_device device = {.name = "d", .blocks = 100, .read_only = true};
    struct block_queue queue;
    struct block_slice slice;

    (void)state;
    block_queue_init(&queue);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer answer;
        struct block_request request =
            make_request(cases[i].op, cases[i].block, cases[i].pages, &answer);

        add(&queue, &device, &request);
        assert_false(block_queue_take(&queue, 64, &slice));
        assert_int_equal(answer.calls, 0);
        block_queue_deliver(&queue);
        assert_int_equal(answer.calls, 1);
        assert_int_equal(answer.status, cases[i].want);
    }
}

static void test_queue_flush_and_fail_waiting(void **state)
{
    struct block_device device = {.name = "d", .blocks = 100};
    struct block_queue queue;
    struct block_slice slice;
    struct answer flushed, failed;
    struct block_request flush = make_request(BLOCK_FLUSH, 12345, 0, &flushed);
    struct block_request read = make_request(BLOCK_READ, 0, 64, &failed);

    (void)state;
    block_queue_init(&queue);
    add(&queue, &device, &flush);
    add(&queue, &device, &read);
    assert_true(block_queue_take(&queue, 32, &slice));
    assert_int_equal(slice.count, 0);
    block_queue_end(&queue, &slice, BLOCK_OK);
    assert_true(block_queue_take(&queue, 32, &slice));
    block_queue_fail_waiting(&queue, BLOCK_TIMEOUT);
    block_queue_deliver(&queue);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.status, BLOCK_OK);
    assert_int_equal(failed.calls, 0); /* half of it is still in the hardware */
    block_queue_end(&queue, &slice, BLOCK_OK);
    block_queue_deliver(&queue);
    assert_int_equal(failed.calls, 1);
    assert_int_equal(failed.status, BLOCK_TIMEOUT);
}

/* ---- block_tags ---- */

static void test_tags(void **state)
{
    static struct block_tags tags;
    struct block_device device = {.name = "d", .blocks = 1000};
    struct block_queue queue;
    struct answer answer;
    struct block_request request = make_request(BLOCK_READ, 0, 3, &answer);

    (void)state;
    assert_int_equal(block_tags_for(1), BLOCK_TAGS);
    assert_int_equal(block_tags_for(8), BLOCK_TAGS / 2);
    block_queue_init(&queue);
    block_tags_init(&tags, 3);
    add(&queue, &device, &request);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(tags.free != 0);
        assert_int_equal(block_tags_take(&tags), i);
        assert_true(block_queue_take(&queue, 1, &tags.tag[i].slice));
        tags.tag[i].deadline = 1000 + 100 * i;
    }
    assert_int_equal(tags.free, 0);
    assert_int_equal(block_tags_overdue(&tags, 999, 0), -1);
    assert_int_equal(block_tags_overdue(&tags, 2000, 0), -1); /* it has just looked */
    tags.next_check = 0;
    assert_int_equal(block_tags_overdue(&tags, 1500, 501), -1);
    tags.next_check = 0;
    assert_int_equal(block_tags_overdue(&tags, 1500, 500), 0);
    assert_int_equal(tags.next_check, 1500 + BLOCK_TIMEOUT_CHECK_NS);
    for (unsigned i = 0; i < BLOCK_RETRIES; i++) {
        assert_true(block_tags_retry(&tags, 1));
    }
    assert_false(block_tags_retry(&tags, 1));
    block_tags_end(&tags, 1, &queue, BLOCK_TIMEOUT);
    assert_int_equal(tags.free, BIT(1));
    assert_int_equal(tags.used, BIT(0) | BIT(2));
    assert_int_equal(block_tags_take(&tags), 1); /* with no retries behind it */
    assert_true(block_tags_retry(&tags, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_slices),
        cmocka_unit_test(test_queue_slices_of_sectors),
        cmocka_unit_test(test_queue_refuses_sectors),
        cmocka_unit_test(test_queue_first_failure_stops_the_rest),
        cmocka_unit_test(test_queue_refuses),
        cmocka_unit_test(test_queue_flush_and_fail_waiting),
        cmocka_unit_test(test_tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
