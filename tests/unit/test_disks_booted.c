/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/nvme_model.c tests/unit/nvme_model_commands.c tests/unit/nvme_disks.c
 * tests/unit/disk_machine.c drivers/nvme.c drivers/nvme_namespace.c drivers/nvme_admin.c
 * drivers/nvme_reset.c drivers/nvme_queue.c drivers/nvme_ring.c drivers/block.c
 * drivers/block_queue.c drivers/block_tags.c drivers/disk_queue.c drivers/page_pool.c
 * drivers/gpt.c */
/*
 * The disk that the machine has booted from: found by what its first blocks hold, and nothing less.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/unit/nvme_disks.h"
#include "tests/unit/nvme_model.h"
#include "tests/unit/support.h"

static void check_booted(unsigned disk, uint64_t from, uint64_t blocks)
{
    for (unsigned i = 0; i < SWEPT; i++) {
        char name[16];

        snprintf(name, sizeof(name), "nvme%u", i);
        assert_int_equal(block_find(name)->booted_start, i == disk ? from : 0);
        assert_int_equal(block_find(name)->booted_blocks, i == disk ? blocks : 0);
    }
}

/* Wherever it begins, it is found by its first 4 KiB, and by nothing less. */
static void test_booted_disk_is_found(void **state)
{
    static const struct {
        uint64_t sector, sectors, start, blocks;
    } rows[] = {
        {0, 8, 0, 1},      {64 * 8, 64 * 8, 64, 64}, {63, 100, 7, 14},
        {4088, 8, 511, 1}, {0, 512 * 8, 0, 512},     {65, 7, 8, 1},
        {65, 8, 8, 2},     {4081, 15, 510, 2},
    };
    static uint8_t first[4096];

    (void)state;
    support_log_level(-1);
    for (unsigned byte = 0; byte < 4096; byte += 585) {
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            struct block_volume volume = {rows[i].sector, rows[i].sectors, first};
            unsigned disk = (unsigned)i % SWEPT;

            nvme_disks_start(
                (struct nvme_model_options){.controllers = SWEPT, .queues = 2, .blocks = 512});
            for (unsigned d = 0; d < SWEPT; d++) { /* all alike, but for one byte */
                memset(nvme_model_disk(d, 0) + rows[i].sector * 512, 0x5a, 4096);
                nvme_model_disk(d, 0)[rows[i].sector * 512 + byte] = (uint8_t)d;
            }
            memset(first, 0x5a, sizeof(first));
            first[byte] = (uint8_t)disk;
            block_init();
            block_find_booted(&volume);
            check_booted(disk, rows[i].start, rows[i].blocks);
            nvme_model_stop();
        }
    }
    support_log_level(LOG_WARN);
}

/* On none of the disks, behind the end of all, without memory: nothing is marked. */
static void test_booted_disk_is_none_of_ours(void **state)
{
    static uint8_t first[4096] = {1};
    static const uint64_t sectors[] = {0, 8, 4089, 4096, 1ull << 40, ~0ull};
    struct block_volume volume = {0, 8, first};

    (void)state;
    support_log_level(-1);
    nvme_disks_boot((struct nvme_model_options){.controllers = SWEPT, .queues = 2, .blocks = 512});
    for (size_t i = 0; i < ARRAY_SIZE(sectors); i++) {
        volume.sector = sectors[i];
        block_find_booted(&volume);
        check_booted(SWEPT, 0, 0);
    }
    volume.sector = 0;
    memcpy(nvme_model_disk(1, 0), first, sizeof(first));
    support_log_watch("no memory to look for the disk");
    disk_machine_fail_dma(1, false);
    block_find_booted(&volume);
    assert_int_equal(support_log_seen(), 1);
    check_booted(SWEPT, 0, 0);
    block_find_booted(&volume);
    check_booted(1, 0, 1);
    nvme_model_stop();
    support_log_level(LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_booted_disk_is_found),
        cmocka_unit_test(test_booted_disk_is_none_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
