/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: tests/unit/table_machine.c */
/*
 * The table engine under each format (tests/unit/table_machine.h): random operations against an
 * array, scans, prunes, pages of 1 GiB.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/table_machine.h"
#include "tests/unit/table_model.h"

/* ---- operations ---- */

static bool region_is_hole(unsigned region)
{
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        const struct page_model *p = &model[region * REGION_PAGES + i];

        if (p->leaf || p->kind != 0 || p->value != 0) {
            return false;
        }
    }
    return true;
}

static void map_large(unsigned region)
{
    uint64_t first = model_random_frame();
    unsigned flags = (unsigned)support_random_below(16), level;

    table_leaf(&table, gfn(region_base[region]), &level);
    if (table_map_large(&table, gfn(region_base[region]), pfn(first), flags)) {
        assert_true(region_is_hole(region));
        fill_region(region, first, flags);
    } else {
        /* Either something is there, or a table of holes. */
        assert_true(level == 1 || !region_is_hole(region));
    }
}

static bool region_is_block(unsigned region)
{
    const struct page_model *p = &model[region * REGION_PAGES];

    for (unsigned i = 0; i < REGION_PAGES; i++) {
        if (!p[i].leaf || p[i].value != p[0].value + i || p[i].rights != p[0].rights) {
            return false;
        }
    }
    return IS_ALIGNED(p[0].value, REGION_PAGES);
}

static void collapse(unsigned region)
{
    gfn_t page = gfn(region_base[region] + support_random_below(512));
    bool dirty = false;
    unsigned level;
    pfn_t old;

    table_leaf(&table, page, &level);
    if (!table_collapse(&table, page, &old)) {
        assert_true(level > 1 || !region_is_block(region));
        return;
    }
    assert_true(level == 1 && region_is_block(region));
    table_collapse_end(&table, page, old);
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        dirty |= model[region * REGION_PAGES + i].dirty;
    }
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        model[region * REGION_PAGES + i].dirty = dirty;
    }
}

/* A region of small leaves that can be collapsed. */
static void map_block(unsigned region)
{
    struct page_model page = {.leaf = true, .rights = (unsigned)support_random_below(4)};
    uint64_t first = model_random_frame();

    for (unsigned i = 0; i < REGION_PAGES; i++) {
        page.value = first + i;
        page.dirty = support_random_below(1000) == 0;
        set_page(region * REGION_PAGES + i, page);
    }
}

static void unmap(void)
{
    unsigned from = (unsigned)support_random_below(MODEL_PAGES);
    unsigned count = (unsigned)support_random_below(REGION_PAGES - from % REGION_PAGES) + 1;
    uint64_t expected = 0, got = 0;
    gfn_t first = model_gfn(from);

    for (unsigned i = 0; i < count; i++) {
        expected += model[from + i].leaf || model[from + i].kind != 0 || model[from + i].value != 0;
        model[from + i] = (struct page_model){0};
    }
    assert_true(table_unmap(&table, first, gfn(first.v + count), count_unmapped, &got));
    assert_int_equal(got, expected);
}

static void prune(void)
{
    uint64_t limit = support_random_below(2) == 0 ? TABLE_GFN_LIMIT : 0x40000;
    uint64_t before = table.pages;
    struct table_trash trash;

    table_trash_init(&trash);
    table_prune(&table, gfn(0), gfn(limit), &trash);
    assert_int_equal(table.pages + trash.count, before);
    table_trash_free(&trash);
    for (unsigned region = 0; region < ARRAY_SIZE(region_base); region++) {
        unsigned level;

        table_leaf(&table, gfn(region_base[region]), &level);
        assert_true(level > 1 || !region_is_hole(region) || region_base[region] >= limit);
    }
}

static void random_operation(void)
{
    unsigned region = (unsigned)support_random_below(ARRAY_SIZE(region_base));
    unsigned page = (unsigned)support_random_below(MODEL_PAGES);

    switch (support_random_below(9)) {
    case 0:
        map_large(region);
        break;
    case 1:
        assert_true(table_split(&table, gfn(region_base[region] + page % REGION_PAGES)));
        break;
    case 2:
        collapse(region);
        break;
    case 3:
        map_block(region);
        break;
    case 4:
        prune();
        break;
    case 5:
    case 6:
        unmap();
        break;
    case 7:
        set_page(page, model_random_absent());
        break;
    default:
        set_page(page, model_random_leaf());
        break;
    }
}

static void test_model(void **state)
{
    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        begin_table(formats[i]);
        for (unsigned step = 0; step < 600; step++) {
            random_operation();
            check_pages();
        }
        end_table();
    }
}

/* ---- scan ---- */

struct scan_log {
    struct table_scan scan;
    uint64_t last, leaves, pages, tables;
    uint64_t stop_after;  /* leaves */
    uint64_t skip_region; /* base of a level-2 entry's range not to enter */
};

static bool log_enter(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    struct scan_log *log = scan->owner;

    assert_int_equal(table.format->classify(*entry, level), ENTRY_TABLE);
    log->tables++;
    return level != 2 || ALIGN_DOWN(first.v, 512) != log->skip_region;
}

static bool log_leaf(struct table_scan *scan, gfn_t first, uint64_t *entry, unsigned level)
{
    struct scan_log *log = scan->owner;

    assert_int_equal(table.format->classify(*entry, level), ENTRY_LEAF);
    assert_true(log->leaves == 0 || first.v > log->last);
    assert_true(IS_ALIGNED(first.v, table_level_pages(level)));
    log->last = first.v;
    log->leaves++;
    log->pages += table_level_pages(level);
    return log->leaves != log->stop_after;
}

static gfn_t run_scan(struct scan_log *log, uint64_t first, uint64_t last)
{
    log->scan = (struct table_scan){.enter = log_enter, .leaf = log_leaf, .owner = log};
    return table_scan(&table, gfn(first), gfn(last), &log->scan);
}

static void scan_format(const struct table_format *format)
{
    struct scan_log log = {.skip_region = ~0ull};
    struct page_model leaf = {.leaf = true, .rights = RIGHTS, .value = 77};
    gfn_t next;

    begin_table(format);
    set_page(0, leaf);
    set_page(511, leaf);
    assert_true(table_map_large(&table, gfn(0x200), pfn(0x5000), RIGHTS));
    set_page(2 * REGION_PAGES + 3, leaf);
    set_page(2 * REGION_PAGES + 4, model_random_absent());
    set_page(MODEL_PAGES - 1, leaf);

    assert_int_equal(run_scan(&log, 0, TABLE_GFN_LIMIT).v, TABLE_GFN_LIMIT);
    assert_int_equal(log.leaves, 5);
    assert_int_equal(log.pages, 4 + 512);
    assert_int_equal(log.last, TABLE_GFN_LIMIT - 1);
    assert_int_equal(log.tables, table.pages - 1);

    log = (struct scan_log){.skip_region = 0};
    run_scan(&log, 0, 0x600);
    assert_int_equal(log.leaves, 2);
    assert_int_equal(log.last, 0x403);

    /* Stopped after each leaf and resumed, it sees the same. */
    log = (struct scan_log){.skip_region = ~0ull, .stop_after = 1};
    for (next = gfn(0); next.v < TABLE_GFN_LIMIT; log.stop_after++) {
        next = run_scan(&log, next.v, TABLE_GFN_LIMIT);
    }
    assert_int_equal(log.leaves, 5);
    assert_int_equal(log.pages, 4 + 512);

    /* Begins and ends in the middle of a large leaf. */
    log = (struct scan_log){.skip_region = ~0ull};
    assert_int_equal(run_scan(&log, 0x3ff, 0x403).v, 0x403);
    assert_int_equal(log.leaves, 1);
    assert_int_equal(log.last, 0x200);
    log = (struct scan_log){.skip_region = ~0ull};
    assert_int_equal(run_scan(&log, 5, 5).v, 5);
    assert_int_equal(run_scan(&log, 1, 511).v, 511);
    assert_int_equal(log.leaves, 0);
    end_table();
}

static void test_scan(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        scan_format(formats[i]);
    }
}

static void test_clear_accessed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        const struct table_format *f = formats[i];
        uint64_t leaf = f->make_leaf(pfn(0x800), 1, RIGHTS | LEAF_ACCESSED | LEAF_DIRTY);

        assert_true(table_entry_clear_accessed(f, &leaf));
        assert_int_equal(leaf, f->make_leaf(pfn(0x800), 1, RIGHTS | LEAF_DIRTY));
        assert_false(table_entry_clear_accessed(f, &leaf));
        table_entry_add(&leaf, f->accessed_bit);
        assert_int_equal(f->flags(leaf), RIGHTS | LEAF_DIRTY | LEAF_ACCESSED);
    }
}

/* ---- prune ---- */

/* The tables that decide one page go, if there are only holes in them, and no others. */
static void test_prune_page(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        struct table_trash trash;

        begin_table(formats[i]);
        for (unsigned region = 0; region < 2; region++) {
            assert_non_null(table_leaf_alloc(&table, gfn(region_base[region]), NULL));
        }
        set_page(REGION_PAGES, model_random_leaf());
        assert_int_equal(table.pages, 5);
        table_trash_init(&trash);
        table_prune(&table, gfn(region_base[1]), gfn(region_base[1] + 1), &trash);
        assert_int_equal(trash.count, 0);
        table_prune(&table, gfn(region_base[0] + 7), gfn(region_base[0] + 8), &trash);
        assert_int_equal(trash.count, 1);
        assert_int_equal(table.pages, 4);
        set_page(REGION_PAGES, (struct page_model){0});
        table_prune(&table, gfn(region_base[1] + 3), gfn(region_base[1] + 4), &trash);
        assert_int_equal(trash.count, 4); /* all but the root */
        table_trash_free(&trash);
        check_pages();
        end_table();
    }
}

/* ---- 1 GiB ---- */

static void test_gigabyte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        begin_table(formats[i]);
        put_gigabyte();
        check_pages();
        set_page(5, model_random_leaf());
        check_pages();
        assert_true(table_unmap(&table, gfn(0x210), gfn(0x3fe01), count_unmapped, &(uint64_t){0}));
        memset(&model[REGION_PAGES + 0x10], 0, (2 * REGION_PAGES - 0x10 + 1) * sizeof(model[0]));
        check_pages();
        end_table();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),          cmocka_unit_test(test_scan),
        cmocka_unit_test(test_clear_accessed), cmocka_unit_test(test_prune_page),
        cmocka_unit_test(test_gigabyte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
