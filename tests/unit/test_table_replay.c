/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every intermediate state of a table update is safe.
 *
 * The engine is compiled into this file with its entry operations replaced by recording ones.  Each
 * operation starts from a random table; then every prefix of its stores is applied to a copy of
 * memory as it was before, as a CPU that walks at that moment would find it:
 *   - pages that the operation is not about translate as before,
 *   - pages that it is about translate as before or as afterwards,
 *   - no store goes to a table that has been unlinked (a CPU may still have the way to it cached).
 * While the operation runs, "hardware" sets A and D between any two of its steps; no D is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/table_model.h"

#define FRAMES     200u
#define STORES_MAX 20000u

struct store {
    uint64_t offset; /* from the first frame, in entries */
    uint64_t value;
};

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

static struct table subject;
static struct store stores[STORES_MAX];
static unsigned store_count;
static bool recording;
static bool dirtied[MODEL_PAGES]; /* by "hardware", while the operation ran */
static uint64_t *before;          /* memory as it was; replayed upon */
static uint64_t prefixes, dirty_events;
static unsigned hardware_in; /* it acts at one in so many steps; 0: never */
static unsigned focus;       /* region that the operation is about: hardware writes there most */

/* ---- recording ---- */

static void hardware_write(void)
{
    unsigned region = support_random_below(2) == 0
                          ? focus
                          : (unsigned)support_random_below(ARRAY_SIZE(region_base));
    unsigned page = region * REGION_PAGES + (unsigned)support_random_below(REGION_PAGES), level;
    uint64_t *entry = model_walk(&subject, model_live, model_gfn(page), &level);

    if (subject.format->classify(*entry, level) == ENTRY_LEAF &&
        (subject.format->flags(*entry) & LEAF_WRITABLE)) {
        *entry |= subject.format->accessed_bit | subject.format->dirty_bit;
        dirtied[page] = true;
        dirty_events++;
    }
}

static void hardware(void)
{
    if (recording && hardware_in != 0 && support_random_below(hardware_in) == 0) {
        hardware_write();
    }
}

static void record(const uint64_t *entry, uint64_t value)
{
    if (recording) {
        assert_true(store_count < STORES_MAX);
        stores[store_count++] = (struct store){
            (uint64_t)(entry - (const uint64_t *)mm_frame_ptr(pfn(SUPPORT_FIRST_FRAME))), value};
    }
}

static uint64_t recording_get(const uint64_t *entry)
{
    hardware();
    return table_entry_get(entry);
}

static void recording_set(uint64_t *entry, uint64_t value)
{
    table_entry_set(entry, value);
    record(entry, value);
}

static uint64_t recording_exchange(uint64_t *entry, uint64_t value)
{
    hardware();
    record(entry, value);
    return table_entry_exchange(entry, value);
}

static bool recording_cmpxchg(uint64_t *entry, uint64_t *expected, uint64_t value)
{
    hardware();
    if (!table_entry_cmpxchg(entry, expected, value)) {
        return false;
    }
    record(entry, value);
    return true;
}

static void recording_add(uint64_t *entry, uint64_t flags)
{
    hardware();
    table_entry_add(entry, flags);
    record(entry, *entry);
}

#define table_entry_get      recording_get
#define table_entry_set      recording_set
#define table_entry_exchange recording_exchange
#define table_entry_cmpxchg  recording_cmpxchg
#define table_entry_add      recording_add
#include "mm/table/table.c"
#undef table_entry_get
#undef table_entry_set
#undef table_entry_exchange
#undef table_entry_cmpxchg
#undef table_entry_add

/* ---- replay ---- */

static uint64_t *copy_pointer(pfn_t frame)
{
    assert_true(frame.v - SUPPORT_FIRST_FRAME < FRAMES);
    return before + (frame.v - SUPPORT_FIRST_FRAME) * TABLE_ENTRIES;
}

/* Which frames a walk can reach. */
static void mark_reachable(pfn_t self, unsigned level, bool *reachable)
{
    reachable[self.v - SUPPORT_FIRST_FRAME] = true;
    for (unsigned i = 0; level > 1 && i < TABLE_ENTRIES; i++) {
        uint64_t entry = copy_pointer(self)[i];

        if (subject.format->classify(entry, level) == ENTRY_TABLE) {
            mark_reachable(subject.format->pfn(entry, level), level - 1, reachable);
        }
    }
}

struct operation {
    const char *name;
    gfn_t first, end; /* pages that it is about */
    bool keeps;       /* those translate as before all the time */
};

static bool is_about(const struct operation *op, gfn_t page)
{
    return page.v >= op->first.v && page.v < op->end.v;
}

static void check_prefix(const struct operation *op, const struct page_model *old,
                         const struct page_model *new, unsigned prefix)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        struct page_model is = model_look(&subject, copy_pointer, model_gfn(page)), was = old[page];
        bool good;

        /* The replayed stores carry the D bits that the engine saw, hardware's own are not there:
         * D is checked at the end, on live memory. */
        was.dirty = false;
        good = model_same(is, was);
        if (!op->keeps && is_about(op, model_gfn(page))) {
            struct page_model will = new[page];

            will.dirty = false;
            good |= model_same(is, will);
        }
        if (!good) {
            fail_msg("%s, %s: after %u of %u stores page %u is leaf %d, rights %u, value 0x%llx",
                     subject.format->name, op->name, prefix, store_count, page, is.leaf, is.rights,
                     (unsigned long long)is.value);
        }
    }
    prefixes++;
}

static void replay(const struct operation *op, const struct page_model *old,
                   const struct page_model *new)
{
    bool first[FRAMES] = {false}, now[FRAMES] = {false};

    mark_reachable(subject.root, TABLE_LEVELS, first);
    memcpy(now, first, sizeof(now));
    check_prefix(op, old, new, 0);
    for (unsigned i = 0; i < store_count; i++) {
        uint64_t frame = stores[i].offset / TABLE_ENTRIES;

        if (first[frame] && !now[frame]) {
            fail_msg("%s: store %u goes to a table that is unlinked", op->name, i);
        }
        before[stores[i].offset] = stores[i].value;
        /* A table that cannot be reached yet changes nothing that a walk finds. */
        if (now[frame]) {
            memset(now, 0, sizeof(now));
            mark_reachable(subject.root, TABLE_LEVELS, now);
            check_prefix(op, old, new, i + 1);
        }
    }
}

/* ---- operations ---- */

static void look_at_all(struct page_model *pages)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        pages[page] = model_look(&subject, model_live, model_gfn(page));
    }
}

static void begin_recording(void)
{
    memcpy(before, mm_frame_ptr(pfn(SUPPORT_FIRST_FRAME)), FRAMES * PAGE_SIZE);
    memset(dirtied, 0, sizeof(dirtied));
    store_count = 0;
    recording = true;
}

/* A D bit that hardware set while the operation ran is in the table, or was handed to `unmapped`.
 */
static void check_dirty(const struct page_model *new, const bool *reported)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        if (dirtied[page] && !new[page].dirty && !reported[page]) {
            fail_msg("%s: page %u: a D bit is lost", subject.format->name, page);
        }
    }
}

static bool reported_dirty[MODEL_PAGES];

static void note_unmapped(void *owner, gfn_t first, uint64_t entry, unsigned level)
{
    (void)owner;
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        if (model_gfn(page).v - first.v < table_level_pages(level) &&
            subject.format->classify(entry, level) == ENTRY_LEAF) {
            reported_dirty[page] |= (subject.format->flags(entry) & LEAF_DIRTY) != 0;
        }
    }
}

/* The shootdown: until then, CPUs may set flags in the table that they have the way to cached. */
static bool late_hardware(pfn_t old)
{
    uint64_t *entry = &model_live(old)[support_random_below(TABLE_ENTRIES)];

    if (!(subject.format->flags(*entry) & LEAF_WRITABLE)) {
        return false;
    }
    *entry |= subject.format->dirty_bit | subject.format->accessed_bit;
    return true;
}

static bool is_dirty(gfn_t page)
{
    return model_look(&subject, model_live, page).dirty;
}

static void run_operation(unsigned kind, unsigned region, struct operation *op)
{
    unsigned index = (unsigned)support_random_below(REGION_PAGES);
    uint64_t base = region_base[region];
    struct table_trash trash;
    pfn_t old;

    *op = (struct operation){.first = gfn(base), .end = gfn(base + REGION_PAGES), .keeps = true};
    begin_recording();
    switch (kind) {
    case 0:
        op->name = "leaf_alloc";
        assert_non_null(table_leaf_alloc(&subject, gfn(base + index), NULL));
        break;
    case 1:
        op->name = "split";
        assert_true(table_split(&subject, gfn(base + index)));
        break;
    case 2:
        op->name = "collapse";
        if (table_collapse(&subject, gfn(base + index), &old)) {
            bool late = support_random_below(2) == 0 && late_hardware(old);

            table_collapse_end(&subject, gfn(base + index), old);
            assert_true(!late || is_dirty(gfn(base + index)));
        }
        break;
    case 3:
        op->name = "map_large";
        op->keeps = false;
        table_map_large(&subject, gfn(base), pfn(model_random_frame()), RIGHTS);
        break;
    case 4:
        op->name = "unmap";
        op->keeps = false;
        op->first = gfn(base + index);
        op->end = gfn(base + index + support_random_below(REGION_PAGES - index) + 1);
        assert_true(table_unmap(&subject, op->first, op->end, note_unmapped, NULL));
        break;
    default:
        op->name = "prune";
        table_trash_init(&trash);
        table_prune(&subject, gfn(0), gfn(TABLE_GFN_LIMIT), &trash);
        table_trash_free(&trash);
        break;
    }
    recording = false;
}

static void ignore_unmapped(void *owner, gfn_t first, uint64_t entry, unsigned level)
{
    (void)owner;
    (void)first;
    (void)entry;
    (void)level;
}

static void clear_region(unsigned region, bool tables_too)
{
    gfn_t first = gfn(region_base[region]), end = gfn(first.v + REGION_PAGES);
    struct table_trash trash;

    assert_true(table_unmap(&subject, first, end, ignore_unmapped, NULL));
    if (tables_too) {
        table_trash_init(&trash);
        table_prune(&subject, gfn(0), gfn(TABLE_GFN_LIMIT), &trash);
        table_trash_free(&trash);
    }
}

static void fill_block(unsigned region)
{
    struct page_model page = {.leaf = true,
                              .rights = support_random_below(4) == 0 ? LEAF_EXEC : RIGHTS,
                              .value = model_random_frame()};

    for (unsigned i = 0; i < REGION_PAGES; i++, page.value++) {
        table_entry_set(table_leaf_alloc(&subject, gfn(region_base[region] + i), NULL),
                        model_entry(&subject, page));
    }
}

static void fill_some(unsigned region)
{
    for (unsigned i = (unsigned)support_random_below(8); i > 0; i--) {
        gfn_t page = gfn(region_base[region] + support_random_below(REGION_PAGES));
        struct page_model value =
            support_random_below(3) == 0 ? model_random_absent() : model_random_leaf();

        table_entry_set(table_leaf_alloc(&subject, page, NULL), model_entry(&subject, value));
    }
}

/* A large absent entry that is no hole. */
static void put_absent(unsigned region)
{
    unsigned level;
    uint64_t *entry = table_leaf(&subject, gfn(region_base[region]), &level);

    if (level > 1 && table_entry_get(entry) == 0) {
        table_entry_set(entry, model_entry(&subject, model_random_absent()));
    }
}

/* What makes the operation do something. */
static void prepare(unsigned kind, unsigned region)
{
    pfn_t old;

    fill_some((unsigned)support_random_below(ARRAY_SIZE(region_base)));
    switch (kind) {
    case 0:
        clear_region(region, true);
        if (support_random_below(2) == 0) {
            put_absent(region);
        }
        break;
    case 1:
    case 2:
    case 4:
        fill_block(region);
        if (kind != 2 && table_collapse(&subject, gfn(region_base[region]), &old)) {
            table_collapse_end(&subject, gfn(region_base[region]), old);
        }
        break;
    default:
        clear_region(region, support_random_below(2) == 0);
        break;
    }
}

/* As after a harvest and a shootdown. */
static void clear_flags(void)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        unsigned level;
        uint64_t *entry = model_walk(&subject, model_live, model_gfn(page), &level);

        if (subject.format->classify(*entry, level) == ENTRY_LEAF) {
            *entry &= ~(subject.format->accessed_bit | subject.format->dirty_bit);
        }
    }
}

static void one_round(unsigned kind)
{
    static struct page_model old[MODEL_PAGES], new[MODEL_PAGES];
    static const unsigned rate[] = {0, 8, 500};
    unsigned region = (unsigned)support_random_below(ARRAY_SIZE(region_base));
    struct operation op;

    if (support_random_below(4) != 0) {
        prepare(kind, region);
    }
    if (support_random_below(4) != 0) {
        clear_flags();
    }
    focus = region;
    hardware_in = rate[support_random_below(ARRAY_SIZE(rate))];
    look_at_all(old);
    memset(reported_dirty, 0, sizeof(reported_dirty));
    run_operation(kind, region, &op);
    look_at_all(new);
    check_dirty(new, reported_dirty);
    replay(&op, old, new);
    /* After the last store the copy is what live memory is. */
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        struct page_model copy = model_look(&subject, copy_pointer, model_gfn(page));

        copy.dirty = new[page].dirty;
        assert_true(model_same(copy, new[page]));
    }
}

static void replay_format(const struct table_format *format, unsigned rounds)
{
    support_memory_init(FRAMES);
    frame_alloc_set_watermarks(0, 0, 0);
    before = calloc(FRAMES, PAGE_SIZE);
    assert_true(table_init(&subject, format));
    for (unsigned i = 0; i < rounds; i++) {
        one_round((unsigned)support_random_below(6));
    }
    table_destroy(&subject);
    assert_int_equal(frame_stats_get().free, FRAMES);
    free(before);
    support_memory_free();
}

static void test_replay(void **state)
{
    (void)state;
    support_seed(1);
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        replay_format(formats[i], 200);
    }
    print_message("replay: %llu prefixes of reachable tables, %llu D bits set meanwhile\n",
                  (unsigned long long)prefixes, (unsigned long long)dirty_events);
    assert_true(prefixes > 1000 && dirty_events > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replay)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
