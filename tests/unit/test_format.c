/* SPDX-License-Identifier: BSD-2-Clause */
/* Entry formats: what goes in comes out, under each; and EPT and NPT bit by bit as the manuals have
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support.h"

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

#define ROUNDS 20000u

static pfn_t random_frame(unsigned level)
{
    return pfn(ALIGN_DOWN(support_random() >> 24, table_level_pages(level)));
}

static void check_leaf(const struct table_format *f, unsigned level)
{
    pfn_t frame = random_frame(level);
    unsigned flags = (unsigned)support_random_below(16);
    uint64_t entry = f->make_leaf(frame, level, flags);

    assert_int_equal(f->classify(entry, level), ENTRY_LEAF);
    assert_int_equal(f->pfn(entry, level).v, frame.v);
    assert_int_equal(f->flags(entry), flags);
    assert_true(!(entry & f->accessed_bit) == !(flags & LEAF_ACCESSED));
    assert_true(!(entry & f->dirty_bit) == !(flags & LEAF_DIRTY));
    /* What hardware does to it changes the flags only. */
    entry |= f->accessed_bit | f->dirty_bit;
    assert_int_equal(entry, f->make_leaf(frame, level, flags | LEAF_ACCESSED | LEAF_DIRTY));
    assert_int_equal(entry & ~f->accessed_bit,
                     f->make_leaf(frame, level, (flags & ~LEAF_ACCESSED) | LEAF_DIRTY));
}

static void check_table(const struct table_format *f, unsigned level)
{
    pfn_t frame = random_frame(1);
    uint64_t entry = f->make_table(frame);

    assert_int_equal(f->classify(entry, level), ENTRY_TABLE);
    assert_int_equal(f->pfn(entry, level).v, frame.v);
    assert_false(f->flags(entry) & LEAF_ACCESSED);
    if (f->nonleaf_accessed) {
        entry |= f->accessed_bit;
        assert_int_equal(f->classify(entry, level), ENTRY_TABLE);
        assert_int_equal(f->pfn(entry, level).v, frame.v);
        assert_true(f->flags(entry) & LEAF_ACCESSED);
    }
}

static void check_absent(const struct table_format *f)
{
    unsigned kind = (unsigned)support_random_below(16);
    uint64_t payload = support_random() >> (8 + support_random_below(56));
    uint64_t entry = f->make_absent(kind, payload);

    for (unsigned level = 1; level <= f->levels; level++) {
        assert_int_equal(f->classify(entry, level), ENTRY_ABSENT);
    }
    assert_int_equal(f->absent_kind(entry), kind);
    assert_int_equal(f->absent_payload(entry), payload);
}

static void test_round_trip(void **state)
{
    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        const struct table_format *f = formats[i];

        assert_int_equal(f->levels, TABLE_LEVELS);
        assert_int_equal(f->make_absent(0, 0), 0);
        assert_int_equal(f->absent_kind(0), 0);
        assert_int_equal(f->absent_payload(0), 0);
        for (unsigned round = 0; round < ROUNDS; round++) {
            check_absent(f);
            check_leaf(f, 1 + (unsigned)support_random_below(f->large_levels));
            check_table(f, 2 + (unsigned)support_random_below(3));
        }
        assert_int_equal(f->absent_payload(f->make_absent(15, ABSENT_PAYLOAD_MAX)),
                         ABSENT_PAYLOAD_MAX);
    }
}

/* Intel SDM volume 3C, "EPT Translation Mechanism", "EPT Misconfigurations". */
static void test_ept(void **state)
{
    const struct table_format *f = &ept_format;

    (void)state;
    assert_int_equal(f->make_table(pfn(0x12345)), 0x12345007);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_WRITABLE | LEAF_EXEC), 0x12345037);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_EXEC), 0x12345035);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_WRITABLE), 0x12345033);
    assert_int_equal(f->make_leaf(pfn(0x12200), 2, LEAF_WRITABLE | LEAF_EXEC), 0x122000b7);
    assert_int_equal(f->make_leaf(pfn(0x40000), 3, LEAF_WRITABLE | LEAF_EXEC), 0x400000b7);
    assert_int_equal(f->accessed_bit, 0x100);
    assert_int_equal(f->dirty_bit, 0x200);
    assert_true(f->nonleaf_accessed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t absent = f->make_absent((unsigned)support_random_below(16),
                                         support_random() & ABSENT_PAYLOAD_MAX);
        uint64_t leaf = f->make_leaf(random_frame(2), 1 + (unsigned)support_random_below(2),
                                     (unsigned)support_random_below(16));

        /* Not present: bits 2:0; bit 63 is left alone: suppress #VE. */
        assert_int_equal(absent & (7 | BIT(63)), 0);
        /* Never unreadable, so neither write-only nor execute-only; type WB, no IPAT. */
        assert_int_equal(leaf & 1, 1);
        assert_int_equal(leaf >> 3 & 15, 6);
        assert_int_equal(leaf & (BITS(11, 10) | BITS(63, 52)), 0);
    }
    /* Bits 7:3 of an entry that points to a table are reserved. */
    assert_int_equal(f->make_table(pfn(BITS(39, 0))) & (BITS(11, 3) | BITS(63, 52)), 0);
}

/* AMD APM volume 2, "Nested Paging": the tables are long-mode tables, walked as user accesses. */
static void test_npt(void **state)
{
    const struct table_format *f = &npt_format;

    (void)state;
    assert_int_equal(f->make_table(pfn(0x12345)), 0x12345007);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_WRITABLE | LEAF_EXEC), 0x12345007);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_EXEC), 0x12345005);
    assert_int_equal(f->make_leaf(pfn(0x12345), 1, LEAF_WRITABLE), 0x12345007 | BIT(63));
    assert_int_equal(f->make_leaf(pfn(0x12200), 2, LEAF_WRITABLE | LEAF_EXEC), 0x12200087);
    assert_int_equal(f->accessed_bit, 0x20);
    assert_int_equal(f->dirty_bit, 0x40);
    assert_true(f->nonleaf_accessed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t absent = f->make_absent((unsigned)support_random_below(16),
                                         support_random() & ABSENT_PAYLOAD_MAX);
        uint64_t leaf = f->make_leaf(random_frame(1), 1, (unsigned)support_random_below(16));

        assert_int_equal(absent & 1, 0);
        /* P and US set; PWT, PCD, PAT, G clear: memory type from PAT entry 0, WB. */
        assert_int_equal(leaf & (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(7) | BIT(8)), 5);
        assert_int_equal(leaf & BITS(62, 52), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_ept),
        cmocka_unit_test(test_npt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
