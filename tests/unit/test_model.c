/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several spaces in too little memory, on a disk that is late, reorders and fails, with CPUs that
 * use translations until a shootdown; every byte is compared with a plain array.
 *
 * One thread plays all CPUs, so that a seed repeats a run: MODEL_SEED=n, MODEL_STEPS=n.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mm/env.h"
#include "mm/pager.h"
#include "mm/space_internal.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/support.h"

#define SPACES      3u
#define VCPUS       6u
#define TLB_ENTRIES 8u
#define WORDS       (PAGE_SIZE / sizeof(uint64_t))
#define SLOT_A      600u /* pages at 0 */
#define SLOT_B_BASE 1000u
#define SLOT_B      500u
#define PAGES       (SLOT_A + SLOT_B)
#define FRAMES      1600u

enum op_kind {
    OP_READ,
    OP_WRITE,
    OP_FILL,
    OP_HV_READ,
    OP_HV_WRITE,
    OP_HV_WRITE_PAGE,
    OP_CMPXCHG,
    OP_KINDS,
};

struct op {
    enum op_kind kind;
    unsigned page; /* index in the model */
    unsigned word;
    unsigned bytes;
    uint64_t value;
};

struct translation {
    bool valid, dirty;
    unsigned page;
    pfn_t frame;
};

struct model_space {
    struct space *space;
    uint64_t word[PAGES][WORDS];
    bool lost[PAGES];
};

struct model_vcpu {
    struct mm_waiter waiter;
    struct model_space *in;
    struct translation tlb[TLB_ENTRIES];
    struct op op;
    bool busy, parked;
};

static struct model_space spaces[SPACES];
static struct model_vcpu vcpus[VCPUS];
static struct fake_disk disk;
static struct store *store;
static uint64_t random_state, lost_pages, stale_writes, waits;
/* Summed over all runs: the paths that this test is about must have been taken. */
static uint64_t taken_back, large_maps, large_splits, clean_drops, readahead_hits;

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545f4914f6cdd1dull >> 16) % below;
}

static gfn_t gfn_of(unsigned page)
{
    return gfn(page < SLOT_A ? page : SLOT_B_BASE + page - SLOT_A);
}

/* ---- the machine ---------------------------------------------------------------------------- */

/* CPUs inside the guest go on until the kick: they may write through what they have cached. */
static void late_writes(struct model_vcpu *vcpu)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        struct translation *t = &vcpu->tlb[i];

        if (t->valid && t->dirty && rnd(2) == 0) {
            uint64_t value = rnd(UINT64_MAX);
            unsigned word = (unsigned)rnd(WORDS);

            ((uint64_t *)mm_frame_ptr(t->frame))[word] = value;
            vcpu->in->word[t->page][word] = value;
            stale_writes++;
        }
    }
}

static void model_shootdown(struct space *space)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        if (vcpus[i].in != NULL && vcpus[i].in->space == space) {
            late_writes(&vcpus[i]);
            memset(vcpus[i].tlb, 0, sizeof(vcpus[i].tlb));
        }
    }
    atomic_fetch_add(space_flush_gen(space), 1);
}

static void wake(struct mm_waiter *waiter)
{
    struct model_vcpu *vcpu = CONTAINER_OF(waiter, struct model_vcpu, waiter);

    assert_true(vcpu->parked);
    assert_null(waiter->space);
    vcpu->parked = false;
}

/* The walk that hardware does: sets A on the way if the format says so, A and D in the leaf. */
static bool walk(struct space *space, gfn_t page, bool write, pfn_t *frame)
{
    const struct table_format *format = space->table.format;
    pfn_t table = space->table.root;

    for (unsigned level = format->levels;; level--) {
        uint64_t *entry =
            (uint64_t *)mm_frame_ptr(table) + page.v / table_level_pages(level) % TABLE_ENTRIES;

        switch (format->classify(*entry, level)) {
        case ENTRY_ABSENT:
            return false;
        case ENTRY_TABLE:
            *entry |= format->nonleaf_accessed ? format->accessed_bit : 0;
            table = format->pfn(*entry, level);
            break;
        case ENTRY_LEAF:
            *entry |= format->accessed_bit | (write ? format->dirty_bit : 0);
            *frame = pfn(format->pfn(*entry, level).v + page.v % table_level_pages(level));
            return true;
        }
    }
}

static struct translation *cached(struct model_vcpu *vcpu, unsigned page, bool write)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        struct translation *t = &vcpu->tlb[i];

        if (t->valid && t->page == page && (!write || t->dirty)) {
            return t;
        }
    }
    return NULL;
}

static enum mm_result translate(struct model_vcpu *vcpu, unsigned page, bool write, uint64_t **at)
{
    struct space *space = vcpu->in->space;
    struct translation *t = cached(vcpu, page, write);
    pfn_t frame;

    if (t == NULL) {
        while (!walk(space, gfn_of(page), write, &frame)) {
            enum mm_result result =
                space_fault(space, gfn_of(page), write ? FAULT_WRITE : FAULT_READ, &vcpu->waiter);

            if (result != MM_OK) {
                return result;
            }
        }
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            vcpu->tlb[i].valid &= vcpu->tlb[i].page != page;
        }
        t = &vcpu->tlb[rnd(TLB_ENTRIES)];
        *t = (struct translation){.valid = true, .dirty = write, .page = page, .frame = frame};
    }
    *at = mm_frame_ptr(t->frame);
    return MM_OK;
}

/* ---- operations ----------------------------------------------------------------------------- */

static void compare_page(struct model_space *in, unsigned page, const uint64_t *got)
{
    for (unsigned i = 0; i < WORDS; i++) {
        if (got[i] != in->word[page][i]) {
            fail_msg("space %u page %u word %u: got %llx, expected %llx", (unsigned)(in - spaces),
                     page, i, (unsigned long long)got[i], (unsigned long long)in->word[page][i]);
        }
    }
}

static enum mm_result guest_op(struct model_vcpu *vcpu, const struct op *op)
{
    bool write = op->kind != OP_READ;
    uint64_t *at;
    enum mm_result result = translate(vcpu, op->page, write, &at);

    if (result != MM_OK) {
        return result;
    }
    if (op->kind == OP_WRITE) {
        at[op->word] = op->value;
        vcpu->in->word[op->page][op->word] = op->value;
    } else if (op->kind == OP_FILL) {
        for (unsigned i = 0; i < WORDS; i++) {
            at[i] = op->value;
            vcpu->in->word[op->page][i] = op->value;
        }
    }
    compare_page(vcpu->in, op->page, at);
    return MM_OK;
}

/* Bytes from `word` of the page on, maybe into the next page, if that follows in the model. */
static unsigned span_bytes(const struct op *op)
{
    unsigned room = (unsigned)(PAGE_SIZE - op->word * sizeof(uint64_t));
    bool last = op->page == SLOT_A - 1 || op->page == PAGES - 1;

    return last ? (op->bytes < room ? op->bytes : room) : op->bytes;
}

static enum mm_result hv_read(struct model_vcpu *vcpu, const struct op *op)
{
    static char buffer[PAGE_SIZE];
    unsigned bytes = span_bytes(op);
    gpa_t at = gpa(gfn_to_gpa(gfn_of(op->page)).v + op->word * sizeof(uint64_t));
    enum mm_result result = space_read(vcpu->in->space, at, buffer, bytes, &vcpu->waiter);

    if (result == MM_OK) {
        assert_memory_equal(buffer, &vcpu->in->word[op->page][op->word], bytes);
    }
    return result;
}

static enum mm_result hv_write(struct model_vcpu *vcpu, const struct op *op)
{
    static uint64_t buffer[WORDS];
    unsigned bytes = op->kind == OP_HV_WRITE ? span_bytes(op) : (unsigned)PAGE_SIZE;
    unsigned word = op->kind == OP_HV_WRITE ? op->word : 0;
    gpa_t at = gpa(gfn_to_gpa(gfn_of(op->page)).v + word * sizeof(uint64_t));

    for (unsigned i = 0; i < WORDS; i++) {
        buffer[i] = op->value * (i + 1);
    }
    enum mm_result result = space_write(vcpu->in->space, at, buffer, bytes, &vcpu->waiter);

    if (result == MM_OK) {
        memcpy(&vcpu->in->word[op->page][word], buffer, bytes);
    }
    return result;
}

static enum mm_result hv_cmpxchg(struct model_vcpu *vcpu, const struct op *op)
{
    uint64_t *model = &vcpu->in->word[op->page][op->word];
    uint64_t expected = op->bytes & 1 ? *model : op->value;
    bool done, matches = expected == *model;
    gpa_t at = gpa(gfn_to_gpa(gfn_of(op->page)).v + op->word * sizeof(uint64_t));
    enum mm_result result =
        space_cmpxchg(vcpu->in->space, at, 8, &expected, op->value, &done, &vcpu->waiter);

    if (result == MM_OK) {
        assert_int_equal(done, matches);
        assert_true(expected == *model);
        if (done) {
            *model = op->value;
        }
    }
    return result;
}

static enum mm_result perform(struct model_vcpu *vcpu, const struct op *op)
{
    switch (op->kind) {
    case OP_HV_READ:
        return hv_read(vcpu, op);
    case OP_HV_WRITE:
    case OP_HV_WRITE_PAGE:
        return hv_write(vcpu, op);
    case OP_CMPXCHG:
        return hv_cmpxchg(vcpu, op);
    default:
        return guest_op(vcpu, op);
    }
}

static unsigned choose_page(void)
{
    static unsigned walking;

    switch (rnd(4)) {
    case 0:
        return (unsigned)rnd(PAGES);
    case 1:
        return (unsigned)rnd(40); /* hot */
    default:
        walking = (walking + 1) % PAGES; /* sequential */
        return walking;
    }
}

static uint64_t choose_value(void)
{
    switch (rnd(6)) {
    case 0:
        return 0;
    case 1:
        return rnd(256) * 0x0101010101010101ull;
    case 2:
        return ~rnd(100000);
    default:
        return rnd(UINT64_MAX);
    }
}

static struct op choose_op(void)
{
    static const enum op_kind often[] = {OP_READ, OP_READ, OP_READ, OP_WRITE, OP_WRITE, OP_FILL};
    bool guest = rnd(10) < 8;

    return (struct op){
        .kind = guest ? often[rnd(ARRAY_SIZE(often))] : OP_HV_READ + rnd(OP_KINDS - OP_HV_READ),
        .page = choose_page(),
        .word = (unsigned)rnd(WORDS),
        .bytes = (unsigned)rnd(PAGE_SIZE) + 1,
        .value = choose_value(),
    };
}

static bool may_be_lost(const struct model_vcpu *vcpu)
{
    return disk.failed_reads + disk.corrupted != 0 && vcpu != NULL;
}

static void run_vcpu(struct model_vcpu *vcpu)
{
    enum mm_result result;

    if (vcpu->parked) {
        if (rnd(200) == 0) {
            space_cancel_wait(&vcpu->waiter);
            vcpu->parked = false;
            vcpu->busy = false;
        }
        return;
    }
    if (!vcpu->busy) {
        if (vcpu->in == NULL || rnd(16) == 0) {
            vcpu->in = &spaces[rnd(SPACES)];
            memset(vcpu->tlb, 0, sizeof(vcpu->tlb));
        }
        vcpu->op = choose_op();
        vcpu->busy = true;
    }
    vcpu->parked = true; /* before, since wake() may come at once */
    result = perform(vcpu, &vcpu->op);
    if (result == MM_WAIT) {
        waits++;
        return;
    }
    vcpu->parked = false;
    vcpu->busy = false;
    if (result == MM_LOST) {
        assert_true(may_be_lost(vcpu));
        lost_pages++;
    } else {
        assert_int_equal(result, MM_OK);
    }
}

/* ---- checks --------------------------------------------------------------------------------- */

static void check_sums(const struct model_space *in)
{
    uint64_t where[WHERE_COUNT] = {0};
    struct space_stats s;
    static const enum page_where of_kind[] = {
        [PAGE_HOLE] = WHERE_HOLE,      [PAGE_PATTERN] = WHERE_PATTERN, [PAGE_SLOT] = WHERE_STORED,
        [PAGE_IN] = WHERE_TRANSIT,     [PAGE_OUT] = WHERE_TRANSIT,     [PAGE_LOST] = WHERE_LOST,
        [PAGE_FRAME] = WHERE_RESIDENT,
    };

    space_get_stats(in->space, &s);
    assert_int_equal(s.memory, PAGES);
    assert_int_equal(s.resident + s.hole + s.pattern + s.compressed + s.stored + s.disk + s.transit,
                     s.memory);
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned level;
        uint64_t *entry = table_leaf(&in->space->table, gfn_of(i), &level);

        where[of_kind[entry_kind(in->space, table_entry_get(entry), level)]]++;
    }
    for (unsigned i = 0; i < WHERE_COUNT; i++) {
        assert_int_equal(where[i], in->space->where[i]);
    }
}

static void machine_step(void)
{
    static unsigned slowness = 3;

    support_clock_advance(rnd(2000000));
    if (rnd(1000) == 0) {
        slowness = rnd(2) ? 3 : 40;
    }
    if (rnd(slowness) == 0) {
        fake_disk_step(&disk);
    }
    if (rnd(2) == 0) {
        pager_run();
    }
}

/* A vCPU that is parked must come back by what disk and pager do, whatever the others do. */
static void unpark_all(void)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        for (unsigned tries = 0; vcpus[i].busy; tries++) {
            assert_true(tries < 100000);
            run_vcpu(&vcpus[i]);
            fake_disk_step(&disk);
            support_clock_advance(100000);
            pager_run();
        }
    }
}

static void read_back(void)
{
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned page = 0; page < PAGES; page++) {
            vcpus[0].in = &spaces[s];
            memset(vcpus[0].tlb, 0, sizeof(vcpus[0].tlb));
            vcpus[0].op = (struct op){.kind = OP_READ, .page = page};
            vcpus[0].busy = true;
            unpark_all();
        }
    }
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void open_store(uint64_t slots, uint64_t seed)
{
    fake_disk_init(&disk, slots + 1, seed);
    store = support_open_store(&disk);
    assert_non_null(store);
}

static void create_spaces(const struct table_format *format, uint64_t max_pages)
{
    for (unsigned i = 0; i < SPACES; i++) {
        struct space_config config = {
            .name = "model",
            .format = format,
            .store = store,
            .min_pages = 16,
            .max_pages = i == 0 ? max_pages : 0,
            .shares = 100 * (i + 1),
        };

        memset(&spaces[i], 0, sizeof(spaces[i]));
        spaces[i].space = space_create(&config);
        assert_non_null(spaces[i].space);
        assert_true(space_add_slot(spaces[i].space, gfn(SLOT_B_BASE), SLOT_B, 0));
        assert_true(space_add_slot(spaces[i].space, gfn(0), SLOT_A, 0));
        assert_false(space_add_slot(spaces[i].space, gfn(SLOT_A - 1), 2, 0));
    }
    memset(vcpus, 0, sizeof(vcpus));
    for (unsigned i = 0; i < VCPUS; i++) {
        vcpus[i].waiter.wake = wake;
    }
}

static void destroy_spaces(void)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        space_cancel_wait(&vcpus[i].waiter);
        vcpus[i].in = NULL;
    }
    for (unsigned i = 0; i < SPACES; i++) {
        taken_back += spaces[i].space->taken_back;
        large_maps += spaces[i].space->large_maps;
        large_splits += spaces[i].space->large_splits;
        clean_drops += spaces[i].space->clean_drops;
        readahead_hits += spaces[i].space->readahead_hits;
        space_close(spaces[i].space);
    }
    for (unsigned i = 0; i < SPACES; i++) {
        while (!space_drain(spaces[i].space)) {
            fake_disk_step(&disk);
        }
        space_free(spaces[i].space);
    }
}

static void run_model(const struct table_format *format, uint64_t seed, unsigned steps,
                      uint64_t max_pages)
{
    struct store_stats before, after;
    uint64_t free_before = frame_stats_get().free;

    print_message("model: format %s, seed %llu, %u steps\n", format->name, (unsigned long long)seed,
                  steps);
    random_state = seed * 2 + 1;
    stale_writes = lost_pages = waits = 0;
    store_get_stats(store, &before);
    create_spaces(format, max_pages);
    for (unsigned i = 0; i < steps; i++) {
        run_vcpu(&vcpus[rnd(VCPUS)]);
        machine_step();
        if (i % 512 == 0) {
            check_sums(&spaces[rnd(SPACES)]);
        }
    }
    if (rnd(2) == 0) {
        unpark_all();
        read_back();
    }
    destroy_spaces();
    store_get_stats(store, &after);
    assert_int_equal(frame_stats_get().free, free_before);
    assert_int_equal(after.slots_used, before.slots_used);
    print_message("model: %llu waits, %llu late writes, %llu/%llu pages in/out, %llu lost\n",
                  (unsigned long long)waits, (unsigned long long)stale_writes,
                  (unsigned long long)(after.read_pages - before.read_pages),
                  (unsigned long long)(after.written_pages - before.written_pages),
                  (unsigned long long)lost_pages);
}

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL ? fallback : strtoull(text, NULL, 0);
}

static void begin(uint64_t slots)
{
    support_memory_init(FRAMES);
    support_on_shootdown(model_shootdown);
    frame_alloc_set_watermarks(16, 64, 128);
    open_store(slots, number_from("MODEL_SEED", 1));
}

static void end(void)
{
    fake_disk_free(&disk);
    support_memory_free();
}

static const struct table_format *const formats[] = {SUPPORT_FORMATS};

static void each_format(uint64_t slots, void (*prepare)(void), uint64_t max_pages)
{
    unsigned steps = (unsigned)number_from("MODEL_STEPS", 60000);
    uint64_t seed = number_from("MODEL_SEED", 1);

    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        begin(slots);
        prepare();
        run_model(formats[i], seed, steps, max_pages);
        run_model(formats[i], seed + 1, steps / 4, max_pages);
        end();
    }
}

static void nothing(void)
{
}

static void failing_writes(void)
{
    disk.fail_write_permille = 50;
}

static void failing_reads(void)
{
    disk.fail_read_permille = 50;
    disk.corrupt_permille = 5;
}

static void bad_block(void)
{
    disk.bad_block = 37;
    disk.fail_read_permille = 0;
}

static void test_good_disk(void **state)
{
    (void)state;
    each_format(6000, nothing, 0);
}

static void test_limit(void **state)
{
    (void)state;
    each_format(6000, nothing, 200);
}

static void test_failing_writes(void **state)
{
    (void)state;
    each_format(20000, failing_writes, 0);
}

static void test_failing_reads(void **state)
{
    (void)state;
    each_format(20000, failing_reads, 0);
}

static void test_bad_block(void **state)
{
    (void)state;
    each_format(6000, bad_block, 0);
}

/* Little more than the pages that do not fit: clusters run out, and copies are given up. */
static void test_small_store(void **state)
{
    (void)state;
    each_format(SPACES * PAGES, nothing, 0);
}

/* Pages and slots together are just enough: copies of resident pages have to give way. */
static void test_full_store(void **state)
{
    (void)state;
    each_format(SPACES * PAGES - FRAMES + 200, nothing, 0);
}

static void test_all_paths_were_taken(void **state)
{
    (void)state;
    print_message("model: %llu taken back, %llu large maps, %llu splits, %llu clean drops, "
                  "%llu read-ahead hits\n",
                  (unsigned long long)taken_back, (unsigned long long)large_maps,
                  (unsigned long long)large_splits, (unsigned long long)clean_drops,
                  (unsigned long long)readahead_hits);
    assert_true(taken_back > 0 && large_maps > 0 && large_splits > 0 && clean_drops > 0 &&
                readahead_hits > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_disk),      cmocka_unit_test(test_limit),
        cmocka_unit_test(test_failing_writes), cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_bad_block),      cmocka_unit_test(test_small_store),
        cmocka_unit_test(test_full_store),     cmocka_unit_test(test_all_paths_were_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
