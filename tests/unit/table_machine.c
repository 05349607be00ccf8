/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/table_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct table table;
struct page_model model[MODEL_PAGES];

void begin_table(const struct table_format *format)
{
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(0, 0, 0);
    memset(model, 0, sizeof(model));
    assert_true(table_init(&table, format));
}

uint64_t free_frames(void)
{
    return frame_stats_get().free;
}

void end_table(void)
{
    table_destroy(&table);
    assert_int_equal(free_frames(), FRAMES);
    support_memory_free();
}

void check_pages(void)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        struct page_model is = model_look(&table, model_live, model_gfn(page));

        if (!model_same(is, model[page]) || is.dirty != model[page].dirty) {
            fail_msg("%s: page %u: leaf %d rights %u kind %u value 0x%llx", table.format->name,
                     page, is.leaf, is.rights, is.kind, (unsigned long long)is.value);
        }
    }
    assert_int_equal(table.pages, model_count(&table, table.root, TABLE_LEVELS));
    assert_int_equal(table.pages + free_frames(), FRAMES);
}

void set_page(unsigned page, struct page_model value)
{
    uint64_t *entry = table_leaf_alloc(&table, model_gfn(page), NULL);
    unsigned level;

    assert_non_null(entry);
    assert_ptr_equal(entry, table_leaf(&table, model_gfn(page), &level));
    assert_int_equal(level, 1);
    table_entry_set(entry, model_entry(&table, value));
    model[page] = value;
}

void fill_region(unsigned region, uint64_t first, unsigned flags)
{
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        model[region * REGION_PAGES + i] = (struct page_model){.leaf = true,
                                                               .dirty = flags & LEAF_DIRTY,
                                                               .rights = flags & RIGHTS,
                                                               .value = first + i};
    }
}

void count_unmapped(void *owner, gfn_t first, uint64_t entry, unsigned level)
{
    (void)first;
    assert_true(entry != 0);
    *(uint64_t *)owner += table_level_pages(level);
}

void put_gigabyte(void)
{
    struct table_trash trash;
    unsigned level;
    uint64_t *entry;

    /* Makes the level-3 table, then takes what is below it away; the third gigabyte keeps it. */
    set_page(0, model_random_leaf());
    table_entry_set(table_leaf_alloc(&table, gfn(0x80000), NULL), table.format->make_absent(5, 1));
    assert_true(table_unmap(&table, gfn(0), gfn(0x40000), count_unmapped, &(uint64_t){0}));
    table_trash_init(&trash);
    table_prune(&table, gfn(0), gfn(0x40000), &trash);
    table_trash_free(&trash);
    entry = table_leaf(&table, gfn(0), &level);
    assert_int_equal(level, 3);
    table_entry_set(entry, table.format->make_leaf(pfn(0x80000), 3, RIGHTS | LEAF_DIRTY));
    memset(model, 0, sizeof(model));
    for (unsigned region = 0; region < 4; region++) {
        fill_region(region, 0x80000 + region_base[region], RIGHTS | LEAF_DIRTY);
    }
}
