/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/nvme_model.c tests/unit/nvme_model_commands.c tests/unit/nvme_disks.c
 * tests/unit/disk_machine.c drivers/nvme.c drivers/nvme_namespace.c drivers/nvme_admin.c
 * drivers/nvme_reset.c drivers/nvme_queue.c drivers/nvme_ring.c drivers/block.c
 * drivers/block_queue.c drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c
 * drivers/gpt.c */
/*
 * What is found at boot: every namespace of every controller and their partitions; what cannot be
 * used, or has no memory, is left out by name, and all else works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "drivers/block.h"
#include "drivers/gpt.h"
#include "tests/unit/nvme_disks.h"
#include "tests/unit/nvme_model.h"
#include "tests/unit/support.h"

static unsigned count_devices(void)
{
    unsigned count = 0;

    for (struct block_device *d = block_next(NULL); d; d = block_next(d)) {
        count++;
    }
    return count;
}

/* ---- one request at a time ---- */

static bool answered;
static enum block_status answer;

static void note_done(struct block_request *request, enum block_status status)
{
    (void)request;
    answered = true;
    answer = status;
}

static enum block_status transfer(struct block_device *disk, enum block_op op, uint64_t block,
                                  uint8_t *page)
{
    struct block_request request = {.op = op, .block = block, .pages = 1, .done = note_done};

    request.page[0] = pfn((uintptr_t)page >> PAGE_SHIFT);
    answered = false;
    block_submit(disk, &request);
    for (unsigned i = 0; i < 1000 && !answered; i++) {
        disk_machine_advance(1000000);
        block_poll();
    }
    assert_true(answered);
    return answer;
}

/* Writes the last block and reads it back; `data` is where the model keeps the disk. */
static void check_works(struct block_device *disk, const uint8_t *data, uint8_t seed)
{
    static _Alignas(4096) uint8_t page[4096];
    uint64_t last = disk->blocks - 1;

    memset(page, seed, sizeof(page));
    assert_int_equal(transfer(disk, BLOCK_WRITE, last, page), BLOCK_OK);
    assert_memory_equal(data + (disk->start + last) * 4096, page, sizeof(page));
    memset(page, 0, sizeof(page));
    assert_int_equal(transfer(disk, BLOCK_READ, last, page), BLOCK_OK);
    assert_int_equal(page[0], seed);
    assert_int_equal(page[4095], seed);
}

/* ---- namespaces ---- */

/* Each namespace is a disk with contents of its own. */
static void check_namespaces(unsigned count)
{
    char name[16];

    assert_int_equal(count_devices(), count);
    for (unsigned i = 0; i<count; i += count> 100 ? 97 : 1) {
        snprintf(name, sizeof(name), "nvme%u", i);
        assert_non_null(block_find(name));
        check_works(block_find(name), nvme_model_disk(0, i), (uint8_t)(i + 1));
    }
    snprintf(name, sizeof(name), "nvme%u", count - 1);
    assert_non_null(block_find(name));
    check_works(block_find(name), nvme_model_disk(0, count - 1), 0x77);
}

static void test_six_namespaces(void **state)
{
    (void)state;
    nvme_disks_boot((struct nvme_model_options){.namespaces = 6, .blocks = 16});
    check_namespaces(6);
    nvme_model_stop();
}

/* The list has pages of 1,024 entries, of which the last may be full. */
static void test_namespaces_beyond_the_first_page_of_the_list(void **state)
{
    static const unsigned counts[] = {1023, 1024, 1025, 2100};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        nvme_disks_boot(
            (struct nvme_model_options){.namespaces = counts[i], .nsid_step = 3, .blocks = 2});
        check_namespaces(counts[i]);
        nvme_model_stop();
    }
}

/* Version 1.0 has no list; Identify Controller says how many there may be. */
static void test_namespaces_without_a_list(void **state)
{
    (void)state;
    nvme_disks_boot((struct nvme_model_options){
        .namespaces = 5, .nsid_step = 2, .blocks = 16, .no_list = true});
    check_namespaces(5);
    nvme_model_stop();
}

static void test_too_many_namespaces_are_named(void **state)
{
    (void)state;
    support_log_level(-1);
    support_log_watch("namespace 4097 is left out, and all after it");
    nvme_disks_boot((struct nvme_model_options){.namespaces = BLOCK_MAX_DISKS + 10, .blocks = 2});
    assert_int_equal(count_devices(), BLOCK_MAX_DISKS);
    assert_int_equal(support_log_seen(), 1);
    nvme_model_stop();
    support_log_level(LOG_WARN);
}

/* What is polled is the controller, once, however many namespaces it has: its time-outs are seen
 * whichever namespace the request is for. */
static void test_a_lost_request_of_a_late_namespace_is_issued_again(void **state)
{
    static _Alignas(4096) uint8_t page[4096];
    struct block_request request = {.op = BLOCK_READ, .pages = 1, .done = note_done};

    (void)state;
    support_log_level(-1);
    nvme_disks_boot((struct nvme_model_options){.namespaces = 6, .blocks = 16});
    request.page[0] = pfn((uintptr_t)page >> PAGE_SHIFT);
    memset(nvme_model_disk(0, 5), 0x55, 4096);
    nvme_model_inject(0, 1);
    answered = false;
    block_submit(block_find("nvme5"), &request);
    disk_machine_advance(1000000);
    nvme_model_inject(0, 0);
    for (unsigned i = 0; i < 300 && !answered; i++) {
        disk_machine_advance(100000000);
        block_poll();
    }
    assert_true(answered);
    assert_int_equal(answer, BLOCK_OK);
    assert_int_equal(page[9], 0x55);
    nvme_model_stop();
    support_log_level(LOG_WARN);
}

/* The model aborts the test if the driver reads or writes it. */
static void test_zoned_namespace_is_left_out_by_name(void **state)
{
    (void)state;
    support_log_watch("namespace 3 has the Zoned Namespace command set (02h), not NVM: left out");
    nvme_disks_boot((struct nvme_model_options){
        .namespaces = 4, .blocks = 16, .command_sets = true, .zoned = 3});
    assert_int_equal(count_devices(), 3);
    assert_int_equal(support_log_seen(), 1);
    check_works(block_find("nvme1"), nvme_model_disk(0, 1), 1);
    check_works(block_find("nvme2"), nvme_model_disk(0, 3), 2);
    nvme_model_stop();
}

/* ---- memory ---- */

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* A GPT of one partition, blocks 64 to 127, with sectors of 512 bytes. */
static void write_gpt(uint8_t *disk)
{
    uint8_t *header = disk + 512, *entries = disk + 1024;

    disk[510] = 0x55;
    disk[511] = 0xaa;
    disk[446 + 4] = 0xee;
    for (unsigned i = 0; i < 32; i++) {
        entries[i] = (uint8_t)(i + 1);
    }
    put64(entries + 32, 64 * 8);
    put64(entries + 40, 128 * 8 - 1);
    memcpy(header, "EFI PART", 8);
    put32(header + 8, 0x10000);
    put32(header + 12, 92);
    put64(header + 24, 1);
    put64(header + 40, 34);
    put64(header + 48, 2000);
    put64(header + 72, 2);
    put32(header + 80, 128);
    put32(header + 84, 128);
    put32(header + 88, gpt_crc32(entries, 128 * 128));
    put32(header + 16, gpt_crc32(header, 92));
}

#define OWN_CALLS   3 /* of each to platform_dma_alloc(): itself and its queues */
#define FIRST_CALLS 2 /* before them: for finding partitions */

static void start_swept(void)
{
    nvme_disks_start((struct nvme_model_options){.controllers = SWEPT, .queues = 2, .blocks = 512});
    for (unsigned i = 0; i < SWEPT; i++) {
        write_gpt(nvme_model_disk(i, 0));
        memset(nvme_model_disk(i, 0) + 200 * 4096, (int)i, 4096);
    }
    support_log_watch("memory");
}

/* Which controller's disk a block device is, by the mark in block 200. */
static unsigned find_disk(struct block_device *disk)
{
    static _Alignas(4096) uint8_t page[4096];

    assert_int_equal(transfer(disk, BLOCK_READ, 200, page), BLOCK_OK);
    assert_true(page[0] < SWEPT);
    return page[0];
}

/* Every disk that was found works, and so does its partition if there are any; a bit for each. */
static unsigned check_disks(bool with_partitions)
{
    unsigned seen = 0;
    char name[24];

    for (struct block_device *d = block_next(NULL); d; d = block_next(d)) {
        if (d->partuuid[0] != '\0') {
            continue;
        }
        unsigned number = find_disk(d);

        assert_false(seen & 1u << number);
        seen |= 1u << number;
        check_works(d, nvme_model_disk(number, 0), (uint8_t)(0x10 + number));
        snprintf(name, sizeof(name), "%sp1", d->name);
        assert_true((block_find(name) != NULL) == with_partitions);
        if (with_partitions) {
            check_works(block_find(name), nvme_model_disk(number, 0), 0x20);
        }
    }
    return seen;
}

/* The n-th allocation fails: at most the disk that it is for is left out. */
static void test_memory_fails_once(void **state)
{
    unsigned left_out = 0, n;
    uint64_t bytes;

    (void)state;
    support_log_level(-1);
    start_swept();
    block_init();
    assert_int_equal(check_disks(true), (1u << SWEPT) - 1);
    assert_int_equal(support_log_seen(), 0);
    bytes = disk_machine_dma_bytes() / SWEPT;
    nvme_model_stop();
    for (n = 1;; n++) {
        unsigned owner = (n - 1 - FIRST_CALLS) / OWN_CALLS, nth = (n - 1 - FIRST_CALLS) % OWN_CALLS;
        unsigned lost;

        start_swept();
        disk_machine_fail_dma(n, false);
        block_init();
        if (disk_machine_dma_failures() == 0) {
            break;
        }
        lost = ~check_disks(n != 2) & ((1u << SWEPT) - 1); /* the second is for the scan */
        if (n > FIRST_CALLS && nth < 2) {
            /* For the controller or its first queue; a second one it can do without. */
            assert_int_equal(lost, 1u << owner);
            left_out++;
            /* It has given back what it had, and cannot write to it any more. */
            assert_true(disk_machine_dma_bytes() <= (SWEPT - 1) * bytes + PAGE_SIZE);
            assert_int_equal(nvme_model_masters_off(), nth);
        } else {
            assert_int_equal(lost, 0);
        }
        assert_true(support_log_seen() >=
                    (n != 1)); /* the first is tried again when it is needed */
        nvme_model_stop();
    }
    nvme_model_stop();
    support_log_level(LOG_WARN);
    assert_int_equal(n - 1, FIRST_CALLS + SWEPT * OWN_CALLS);
    assert_int_equal(left_out, 2 * SWEPT);
}

/* The n-th allocation and all after it fail: the disks that came first work, with partitions. */
static void test_memory_runs_out(void **state)
{
    (void)state;
    support_log_level(-1);
    for (unsigned n = 1; n <= FIRST_CALLS + SWEPT * OWN_CALLS; n++) {
        /* Two allocations make a disk. */
        unsigned disks = n > FIRST_CALLS ? (n - 1 - FIRST_CALLS + 1) / OWN_CALLS : 0;

        start_swept();
        disk_machine_fail_dma(n, true);
        block_init();
        assert_int_equal(check_disks(true), (1u << disks) - 1);
        assert_true(support_log_seen() >= 1);
        nvme_model_stop();
    }
    support_log_level(LOG_WARN);
}

/* Namespaces that fit no page any more are left out, the first of them by name. */
static void test_no_memory_for_late_namespaces(void **state)
{
    unsigned found;

    (void)state;
    support_log_level(-1);
    support_log_watch("no memory for namespace");
    nvme_disks_start((struct nvme_model_options){.namespaces = 60, .blocks = 16});
    disk_machine_fail_dma(FIRST_CALLS + 3, false); /* after the controller and its queue */
    block_init();
    support_log_level(LOG_WARN);
    found = count_devices();
    assert_true(found >= 8 && found < 60);
    assert_int_equal(support_log_seen(), 1);
    check_namespaces(found);
    nvme_model_stop();
}

/* ---- discards ---- */

static enum block_status discard(struct block_device *disk, uint64_t sector, uint32_t sectors)
{
    struct block_request request = {.op = BLOCK_DISCARD,
                                    .block = sector / 8,
                                    .sector = (uint8_t)(sector % 8),
                                    .sectors = sectors,
                                    .done = note_done};

    answered = false;
    block_submit(disk, &request);
    for (unsigned i = 0; i < 1000 && !answered; i++) {
        disk_machine_advance(1000000);
        block_poll();
    }
    assert_true(answered);
    return answer;
}

/* Those sectors and no others, of a partition from its beginning on; blocks of the disk's size. */
static void test_discard_of_nvme(void **state)
{
    static const unsigned shifts[] = {9, 12};

    (void)state;
    support_log_level(-1);
    for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
        struct nvme_model_options options = {
            .queues = 1, .lba_shift = shifts[i], .blocks = 512, .discards = true, .manual = true};
        uint32_t unit = 1u << (shifts[i] - 9), first = 3 * unit, many = 40 * unit;
        uint64_t from = 0;
        struct block_device *disk;

        nvme_model_start(&options);
        write_gpt(nvme_model_disk(0, 0));
        block_init();
        disk = block_find("nvme0");
        if (unit == 1) { /* the table is one of 512-byte blocks */
            disk = block_find("nvme0p1");
            from = 64 * 8;
        }
        assert_int_equal(disk->discard_max, BLOCK_DISCARD_MAX);
        assert_int_equal(disk->discard_align, unit);
        memset(nvme_model_disk(0, 0), 0x5a, 512 * 4096);
        assert_int_equal(discard(disk, first, many), BLOCK_OK);
        for (uint64_t s = 0; s < 512 * 8; s++) {
            bool gone = s >= from + first && s < from + first + many;

            assert_int_equal(nvme_model_disk(0, 0)[s * 512], gone ? NVME_MODEL_DISCARDED : 0x5a);
            assert_int_equal(nvme_model_disk(0, 0)[s * 512 + 511],
                             gone ? NVME_MODEL_DISCARDED : 0x5a);
        }
        assert_int_equal(discard(disk, disk->blocks * 8 - unit, 2 * unit), BLOCK_RANGE);
        assert_int_equal(discard(disk, disk->blocks * 8 - unit, unit), BLOCK_OK);
        assert_int_equal(discard(disk, 0, 0), BLOCK_RANGE);
        assert_int_equal(discard(disk, 0, unit == 1 ? ~0u : 1), BLOCK_RANGE);
        support_log_watch("discard of 5 blocks at");
        nvme_model_inject(1, 0);
        assert_int_equal(discard(disk, 0, 40), BLOCK_ERROR); /* tried again, and refused */
        nvme_model_inject(0, 0);
        assert_int_equal(support_log_seen(), 1);
        disk->read_only = true;
        assert_int_equal(discard(disk, 0, unit), BLOCK_ERROR);
        nvme_model_stop();
    }
    nvme_disks_boot((struct nvme_model_options){.blocks = 512});
    assert_int_equal(block_find("nvme0")->discard_max, 0);
    assert_int_equal(discard(block_find("nvme0"), 0, 8), BLOCK_RANGE);
    nvme_model_stop();
    support_log_level(LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_six_namespaces),
        cmocka_unit_test(test_namespaces_beyond_the_first_page_of_the_list),
        cmocka_unit_test(test_namespaces_without_a_list),
        cmocka_unit_test(test_too_many_namespaces_are_named),
        cmocka_unit_test(test_a_lost_request_of_a_late_namespace_is_issued_again),
        cmocka_unit_test(test_zoned_namespace_is_left_out_by_name),
        cmocka_unit_test(test_memory_fails_once),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_no_memory_for_late_namespaces),
        cmocka_unit_test(test_discard_of_nvme),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
