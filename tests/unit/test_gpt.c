/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/gpt.c */
/* Partitions of a GPT: a good one, headers that are not, and the protective MBR. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "drivers/gpt.h"

#define ENTRIES 128

static uint8_t disk_entries[ENTRIES * 128];

static void put32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, 4);
}

static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, 8);
}

static void seal_header(uint8_t *header)
{
    put32(header + 16, 0);
    put32(header + 16, gpt_crc32(header, 92));
}

static void make_header(uint8_t *header)
{
    memset(header, 0, 512);
    memset(disk_entries, 0, sizeof(disk_entries));
    for (unsigned i = 0; i < 32; i++) {
        disk_entries[i] = (uint8_t)(i + 1);
    }
    put64(disk_entries + 32, 2048);
    put64(disk_entries + 40, 4095);
    memcpy(header, "EFI PART", 8);
    put32(header + 8, 0x10000);
    put32(header + 12, 92);
    put64(header + 24, 1);
    put64(header + 40, 34);
    put64(header + 48, 9999);
    put64(header + 72, 2);
    put32(header + 80, ENTRIES);
    put32(header + 84, 128);
    put32(header + 88, gpt_crc32(disk_entries, sizeof(disk_entries)));
    seal_header(header);
}

static void test_gpt_good(void **state)
{
    uint8_t header[512];
    struct gpt_table table;
    struct gpt_partition partition;

    (void)state;
    assert_int_equal(gpt_crc32((const uint8_t *)"123456789", 9), 0xcbf43926);
    make_header(header);
    assert_true(gpt_parse_header(header, 512, 1, &table));
    assert_true(gpt_check_entries(&table, disk_entries));
    assert_true(gpt_parse_entry(&table, disk_entries, 0, &partition));
    assert_int_equal(partition.first_lba, 2048);
    assert_int_equal(partition.last_lba, 4095);
    assert_string_equal(partition.uuid, "14131211-1615-1817-191a-1b1c1d1e1f20");
    assert_false(gpt_parse_entry(&table, disk_entries, 1, &partition));
    put64(disk_entries + 40, 10000); /* beyond the usable area */
    assert_false(gpt_parse_entry(&table, disk_entries, 0, &partition));
    assert_false(gpt_check_entries(&table, disk_entries));
}

static void test_gpt_bad_headers(void **state)
{
    uint8_t good[512], header[512];
    struct gpt_table table;

    (void)state;
    make_header(good);
    for (unsigned i = 0; i < 92 * 8; i++) {
        memcpy(header, good, sizeof(header));
        header[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(gpt_parse_header(header, 512, 1, &table));
    }
    assert_false(gpt_parse_header(good, 512, 2, &table));
    /* Consistent, but sizes that would overrun the buffer. */
    static const struct {
        unsigned at;
        uint32_t value;
    } cases[] = {{80, 0}, {80, 513}, {80, ~0u}, {84, 64}, {84, 0x80000000u}, {84, 0}, {12, 4096}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memcpy(header, good, sizeof(header));
        put32(header + cases[i].at, cases[i].value);
        seal_header(header);
        assert_false(gpt_parse_header(header, 512, 1, &table));
    }
}

static void test_gpt_protective_mbr(void **state)
{
    uint8_t sector[512] = {0};

    (void)state;
    assert_false(gpt_is_protective_mbr(sector));
    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector[446 + 4] = 0x83;
    assert_false(gpt_is_protective_mbr(sector));
    sector[446 + 16 + 4] = 0xee;
    assert_true(gpt_is_protective_mbr(sector));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt_good),
        cmocka_unit_test(test_gpt_bad_headers),
        cmocka_unit_test(test_gpt_protective_mbr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
