/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/memory_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "mm/env.h"
#include "tests/unit/xorshift.h"

struct model_space model_spaces[SPACES];
struct model_vcpu model_vcpus[VCPUS];
struct fake_disk model_disk;
struct model_counts model_counts;

static uint64_t random_state;

void model_seed(uint64_t seed)
{
    random_state = seed * 2 + 1;
    model_counts = (struct model_counts){0};
}

uint64_t model_random(uint64_t below)
{
    return (xorshift64(&random_state) >> 16) % below;
}

gfn_t model_gfn(unsigned page)
{
    return gfn(page < SLOT_A ? page : SLOT_B_BASE + page - SLOT_A);
}

/* ---- the machine ---------------------------------------------------------------------------- */

/* CPUs inside the guest go on until the kick: they may write through what they have cached. */
static void late_writes(struct model_vcpu *vcpu)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        struct translation *t = &vcpu->tlb[i];

        if (t->valid && t->dirty && model_random(2) == 0) {
            uint64_t value = model_random(UINT64_MAX);
            unsigned word = (unsigned)model_random(WORDS);

            ((uint64_t *)mm_frame_ptr(t->frame))[word] = value;
            vcpu->in->word[t->page][word] = value;
            model_counts.stale_writes++;
        }
    }
}

void model_shootdown(struct space *space)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        if (model_vcpus[i].in != NULL && model_vcpus[i].in->space == space) {
            late_writes(&model_vcpus[i]);
            memset(model_vcpus[i].tlb, 0, sizeof(model_vcpus[i].tlb));
        }
    }
    atomic_fetch_add(space_flush_gen(space), 1);
}

void model_wake(struct mm_waiter *waiter)
{
    struct model_vcpu *vcpu = CONTAINER_OF(waiter, struct model_vcpu, waiter);

    assert_true(vcpu->parked);
    assert_int_equal(waiter->queue, MM_WAITS_NOT);
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
        while (!walk(space, model_gfn(page), write, &frame)) {
            enum mm_result result = space_fault(space, model_gfn(page),
                                                write ? ACCESS_WRITE : ACCESS_READ, &vcpu->waiter);

            if (result != MM_OK) {
                return result;
            }
        }
        for (unsigned i = 0; i < TLB_ENTRIES; i++) {
            vcpu->tlb[i].valid &= vcpu->tlb[i].page != page;
        }
        t = &vcpu->tlb[model_random(TLB_ENTRIES)];
        *t = (struct translation){.valid = true, .dirty = write, .page = page, .frame = frame};
    }
    *at = mm_frame_ptr(t->frame);
    return MM_OK;
}

/* ---- operations ----------------------------------------------------------------------------- */

void model_compare_page(struct model_space *in, unsigned page, const uint64_t *got)
{
    for (unsigned i = 0; i < WORDS; i++) {
        if (got[i] != in->word[page][i]) {
            fail_msg("space %u page %u word %u: got %llx, expected %llx",
                     (unsigned)(in - model_spaces), page, i, (unsigned long long)got[i],
                     (unsigned long long)in->word[page][i]);
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
    model_compare_page(vcpu->in, op->page, at);
    return MM_OK;
}

/* REP STOS, REP MOVS on a page that is on a disk; of any other, nothing happens. */
static enum mm_result overwrite(struct model_vcpu *vcpu, const struct op *op)
{
    struct model_space *in = vcpu->in;
    unsigned from = (op->page + op->bytes) % PAGES;
    enum mm_result result;
    bool done;

    if (op->kind == OP_COPY) {
        result = space_overwrite_copy(in->space, model_gfn(op->page), model_gfn(from),
                                      &vcpu->waiter, &done);
    } else {
        result = space_overwrite(in->space, model_gfn(op->page), op->value, &vcpu->waiter, &done);
    }
    assert_true(!done || result == MM_OK);
    for (unsigned i = 0; done && i < WORDS; i++) {
        in->word[op->page][i] = op->kind == OP_COPY ? in->word[from][i] : op->value;
    }
    model_counts.overwritten += done;
    return result;
}

/* As the CPU does it, an element at a time, if not as a whole. */
static enum mm_result fill(struct model_vcpu *vcpu, const struct op *op)
{
    enum mm_result result = overwrite(vcpu, op);

    return result == MM_OK ? guest_op(vcpu, op) : result;
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
    gpa_t at = gpa(gfn_to_gpa(model_gfn(op->page)).v + op->word * sizeof(uint64_t));
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
    gpa_t at = gpa(gfn_to_gpa(model_gfn(op->page)).v + word * sizeof(uint64_t));

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
    gpa_t at = gpa(gfn_to_gpa(model_gfn(op->page)).v + op->word * sizeof(uint64_t));
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

static enum place_kind model_kind(const struct model_space *in, unsigned page, unsigned *level)
{
    const uint64_t *entry = table_leaf(&in->space->table, model_gfn(page), level);

    return entry_kind(in->space, table_entry_get(entry), *level);
}

static void count_discarded(const struct model_space *in, unsigned first, unsigned pages)
{
    for (unsigned page = first; page < first + pages; page++) {
        unsigned level;

        model_counts.discarded[model_kind(in, page, &level)]++;
        model_counts.discarded_large += level > 1 && page % REGION_PAGES == 0 &&
                                        page + REGION_PAGES <= first + pages &&
                                        model_kind(in, page, &level) == PLACE_FRAME;
    }
}

/* All pages are holes now, but for pinned ones and those of a large page that could not be split.
 */
static unsigned holes_after(struct model_space *in, unsigned first, unsigned pages)
{
    unsigned holes = 0;

    for (unsigned page = first; page < first + pages; page++) {
        unsigned level;

        if (model_kind(in, page, &level) == PLACE_HOLE) {
            memset(in->word[page], 0, PAGE_SIZE);
            holes++;
        } else if (!model_is_pinned(in, page, level)) {
            uint64_t base = ALIGN_DOWN(model_gfn(page).v, REGION_PAGES);

            assert_int_equal(level, 2);
            assert_true(base < model_gfn(first).v ||
                        base + REGION_PAGES > model_gfn(first + pages - 1).v + 1);
        }
    }
    return holes;
}

/* In two ranges, the first one with the pages between the memslots, which are nobody's. */
static void discard_pages(struct model_space *in, unsigned first, unsigned pages)
{
    unsigned in_a = first < SLOT_A ? MIN(pages, SLOT_A - first) : 0;
    struct gfn_range ranges[] = {
        {model_gfn(first), in_a != 0 && pages > in_a ? SLOT_B_BASE - first : in_a},
        {model_gfn(first + in_a), pages - in_a},
    };
    uint64_t holes;

    count_discarded(in, first, pages);
    holes = space_discard(in->space, ranges, ARRAY_SIZE(ranges));
    assert_int_equal(holes, holes_after(in, first, pages));
}

void model_discard_all(struct model_space *in)
{
    discard_pages(in, 0, PAGES);
}

/* Large pages are few: one that is there goes in one piece more often than pages are chosen. */
static enum mm_result discard(struct model_vcpu *vcpu, const struct op *op)
{
    unsigned level;

    if (model_random(4) == 0 && model_kind(vcpu->in, 0, &level) == PLACE_FRAME && level > 1) {
        discard_pages(vcpu->in, 0, REGION_PAGES + op->pages);
    } else {
        discard_pages(vcpu->in, op->page, MIN(op->pages, PAGES - op->page));
    }
    return MM_OK;
}

/* ---- vCPUs ---------------------------------------------------------------------------------- */

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
    case OP_DISCARD:
        return discard(vcpu, op);
    case OP_PIN:
        return model_pin_page(vcpu, op);
    case OP_FILL:
        return fill(vcpu, op);
    case OP_COPY:
        return overwrite(vcpu, op);
    default:
        return guest_op(vcpu, op);
    }
}

static unsigned choose_page(void)
{
    static unsigned walking;

    switch (model_random(4)) {
    case 0:
        return (unsigned)model_random(PAGES);
    case 1:
        return (unsigned)model_random(40); /* hot */
    default:
        walking = (walking + 1) % PAGES; /* sequential */
        return walking;
    }
}

static uint64_t choose_value(void)
{
    switch (model_random(6)) {
    case 0:
        return 0;
    case 1:
        return model_random(256) * 0x0101010101010101ull;
    case 2:
        return ~model_random(100000);
    default:
        return model_random(UINT64_MAX);
    }
}

/* Mostly a few; sometimes all of a large page and what is beside it. */
static unsigned choose_pages(void)
{
    return (unsigned)model_random(model_random(400) == 0 ? PAGES : 5) + 1;
}

static struct op choose_op(void)
{
    static const enum op_kind often[] = {OP_READ, OP_READ, OP_READ, OP_WRITE, OP_WRITE, OP_FILL};
    bool guest = model_random(10) < 8;

    return (struct op){
        .kind = guest ? often[model_random(ARRAY_SIZE(often))]
                      : OP_HV_READ + model_random(OP_KINDS - OP_HV_READ),
        .page = choose_page(),
        .word = (unsigned)model_random(WORDS),
        .bytes = (unsigned)model_random(PAGE_SIZE) + 1,
        .pages = choose_pages(),
        .value = choose_value(),
    };
}

static bool may_be_lost(const struct model_vcpu *vcpu)
{
    return model_disk.failed_reads + model_disk.corrupted != 0 && vcpu != NULL;
}

void model_run_vcpu(struct model_vcpu *vcpu)
{
    enum mm_result result;

    if (vcpu->parked) {
        if (model_random(200) == 0) {
            waiter_cancel(&vcpu->waiter);
            vcpu->parked = false;
            vcpu->busy = false;
        }
        return;
    }
    if (!vcpu->busy) {
        if (vcpu->in == NULL || model_random(16) == 0) {
            vcpu->in = &model_spaces[model_random(SPACES)];
            memset(vcpu->tlb, 0, sizeof(vcpu->tlb));
        }
        vcpu->op = choose_op();
        vcpu->busy = true;
    }
    vcpu->parked = true; /* before, since wake() may come at once */
    result = perform(vcpu, &vcpu->op);
    if (result == MM_WAIT) {
        model_counts.waits++;
        return;
    }
    waiter_end_turn(&vcpu->waiter);
    vcpu->parked = false;
    vcpu->busy = false;
    if (result == MM_LOST) {
        assert_true(may_be_lost(vcpu));
        model_counts.lost_pages++;
    } else {
        assert_int_equal(result, MM_OK);
    }
}
