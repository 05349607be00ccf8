/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: drivers/ata_command.c */
/* ATA without a drive: PRDs, task files, ranges of a TRIM, and what a drive says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/ata_command.h"

static void test_ata_prd(void **state)
{
    struct ata_prd table[64];
    struct ata_piece piece[64];

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        piece[i] = (struct ata_piece){0x108000 + i * 0x1000, 0x1000};
    }
    /* 8 pages up to the boundary, 3 full pieces, 8 pages. */
    assert_int_equal(ata_prd_build(table, piece, 64), 5);
    assert_int_equal(table[0].address, 0x108000);
    assert_int_equal(table[0].bytes, 0x8000);
    assert_int_equal(table[1].address, 0x110000);
    assert_int_equal(table[1].bytes, 0);
    assert_int_equal(table[3].flags, 0);
    assert_int_equal(table[4].bytes, 0x8000);
    assert_int_equal(table[4].flags, ATA_PRD_LAST);
    piece[1].address = 0x300000;
    piece[2].address = 0x2ff000;
    assert_int_equal(ata_prd_build(table, piece, 3), 3);
    assert_int_equal(table[2].flags, ATA_PRD_LAST);
    /* Sectors: the first page from its middle on, the last one not to its end. */
    piece[0] = (struct ata_piece){0x108800, 0x800};
    piece[1] = (struct ata_piece){0x109000, 0x1000};
    piece[2] = (struct ata_piece){0x10a000, 0x200};
    piece[3] = (struct ata_piece){0x10b000, 0x1000};
    assert_int_equal(ata_prd_build(table, piece, 4), 2);
    assert_int_equal(table[0].address, 0x108800);
    assert_int_equal(table[0].bytes, 0x1a00);
    assert_int_equal(table[1].address, 0x10b000);
}

static void test_ata_taskfile(void **state)
{
    struct ata_taskfile t;

    (void)state;
    ata_taskfile_build(&t, BLOCK_READ, true, 0x123456789ull, 512);
    assert_int_equal(t.command, 0x25);
    assert_int_equal(t.lba, 0x123456789ull);
    assert_int_equal(t.sectors, 512);
    ata_taskfile_build(&t, BLOCK_WRITE, false, 0xd5e6f78, 256);
    assert_int_equal(t.command, 0xca);
    assert_int_equal(t.sectors, 0); /* 256 */
    assert_int_equal(t.device, 0xe0 | 0xd);
    ata_taskfile_build(&t, BLOCK_FLUSH, true, 99, 0);
    assert_int_equal(t.command, 0xea);
    ata_taskfile_build(&t, BLOCK_FLUSH, false, 99, 0);
    assert_int_equal(t.command, 0xe7);
}

static void test_ata_trim(void **state)
{
    uint64_t range[ATA_TRIM_WORDS];
    struct ata_taskfile t;

    (void)state;
    ata_taskfile_build(&t, BLOCK_DISCARD, true, 0x123456789ull, 512);
    assert_int_equal(t.command, 0x06);
    assert_int_equal(t.features, 1);
    assert_int_equal(t.sectors, 1);
    assert_int_equal(t.lba, 0);
    ata_trim_build(range, 0x123456789ull, 0x1000f);
    assert_int_equal(range[0], 0xffff000123456789ull);
    assert_int_equal(range[1], 0x0010000123466788ull);
    assert_int_equal(range[2], 0);
    assert_int_equal(range[63], 0);
    ata_trim_build(range, 5, ATA_TRIM_MAX);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(range[i], 0xffffull << 48 | (5 + i * 0xffffull));
    }
}

static void test_ata_identity(void **state)
{
    uint16_t words[256] = {0};
    struct ata_identity id;
    char text[64];

    (void)state;
    words[27] = 'A' << 8 | 'B';
    words[28] = 'C' << 8 | ' ';
    words[49] = 0x300;
    words[60] = 0x5678;
    words[61] = 0x1234;
    ata_identity_parse(&id, words);
    assert_true(id.usable);
    assert_false(id.lba48);
    assert_string_equal(id.model, "ABC");
    assert_int_equal(id.sectors, 0x12345678);
    words[169] = 1;
    ata_identity_parse(&id, words);
    assert_false(id.trims); /* it is a 48-bit command */
    words[83] = 0x400;
    words[102] = 1;
    ata_identity_parse(&id, words);
    assert_true(id.lba48 && id.trims);
    words[169] = 0xfffe;
    ata_identity_parse(&id, words);
    assert_false(id.trims);
    assert_int_equal(id.sectors, 0x100000000ull);
    words[106] = 0x5000;
    words[117] = 2048;
    ata_identity_parse(&id, words);
    assert_false(id.usable);
    ata_error_describe(0x84, text, sizeof(text));
    assert_string_equal(text, "ABRT ICRC");
    ata_error_describe(0xff, text, 12);
    assert_true(strlen(text) < 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ata_prd),
        cmocka_unit_test(test_ata_taskfile),
        cmocka_unit_test(test_ata_trim),
        cmocka_unit_test(test_ata_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
