/* SPDX-License-Identifier: BSD-2-Clause */
/* Which kind of pages reclaim takes: what it costs decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/space/balance.h"

#define MEMORY 40000u /* pages */
#define BATCH  64u

/* Reclaim of one batch; of a hundred pages that leave, so many are wanted back. */
struct load {
    unsigned refaults[GENERATION_KINDS];
    unsigned returns[GENERATION_KINDS]; /* without a wait */
    uint64_t taken[GENERATION_KINDS];
};

static void take(struct balance *balance, struct load *load)
{
    enum generation_kind kind = balance_choose(balance);

    balance_note_eviction(balance, kind, BATCH, kind == GENERATION_OWN ? BATCH : 0, MEMORY);
    load->taken[kind] += BATCH;
    for (unsigned i = 0; i < BATCH; i++) {
        if (i * 100 < load->refaults[kind] * BATCH) {
            balance_note_refault(balance, kind);
        } else if (i * 100 < (load->refaults[kind] + load->returns[kind]) * BATCH) {
            balance_note_return(balance, kind);
        }
    }
}

static unsigned copies_taken(struct load load, unsigned batches)
{
    struct balance balance = {0};

    for (unsigned i = 0; i < batches; i++) {
        take(&balance, &load);
    }
    return (unsigned)(load.taken[GENERATION_COPY] * 100 / (batches * BATCH));
}

/* A file read from end to end: nothing of it is wanted again. */
static void copies_go_first(void **state)
{
    (void)state;
    assert_int_equal(copies_taken((struct load){.refaults = {50, 0}}, 1000), 100);
    assert_int_equal(copies_taken((struct load){.refaults = {0, 0}}, 1000), 100);
}

/* Of as many pages of both kinds, of which the copies cost half a write each. */
static enum generation_kind choose_if_written(uint64_t written)
{
    struct balance balance = {0};

    balance_note_eviction(&balance, GENERATION_OWN, 4000, written, MEMORY);
    balance_note_eviction(&balance, GENERATION_COPY, 4000, 0, MEMORY);
    for (unsigned i = 0; i < 500; i++) {
        balance_note_refault(&balance, GENERATION_COPY);
    }
    return balance_choose(&balance);
}

/* Pages that are all zero leave without one. */
static void writes_cost(void **state)
{
    (void)state;
    assert_int_equal(choose_if_written(4000), GENERATION_COPY);
    assert_int_equal(choose_if_written(0), GENERATION_OWN);
}

/* The programs that run, beside memory that nobody uses: the copies stay. */
static void copies_in_use_stay(void **state)
{
    (void)state;
    assert_true(copies_taken((struct load){.refaults = {0, 90}}, 1000) < 3);
    assert_true(copies_taken((struct load){.refaults = {20, 95}}, 1000) < 10);
}

/* Both are in use: from the one that gives more frames for what it costs. */
static void both_in_use(void **state)
{
    (void)state;
    assert_true(copies_taken((struct load){.refaults = {80, 30}}, 1000) > 95);
    assert_true(copies_taken((struct load){.refaults = {30, 80}}, 1000) < 10);
    /* Most come back by read-ahead, so that few have to wait: nothing is gained all the same. */
    assert_true(copies_taken((struct load){.refaults = {0, 15}, .returns = {0, 80}}, 1000) < 10);
}

/* What was true an hour ago does not decide for ever. */
static void forgets(void **state)
{
    struct balance balance = {0};
    struct load bad = {.refaults = {0, 90}}, good = {.refaults = {0, 0}};

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        take(&balance, &bad);
    }
    for (unsigned i = 0; i < 5000; i++) {
        take(&balance, &good);
    }
    assert_true(good.taken[GENERATION_COPY] > good.taken[GENERATION_OWN]);
}

/* No sum of what can happen runs over, and small memory has a past, too. */
static void extremes(void **state)
{
    struct balance balance = {0};

    (void)state;
    balance_note_refault(&balance, GENERATION_COPY);
    assert_int_equal(balance_choose(&balance), GENERATION_COPY);
    for (unsigned i = 0; i < 64; i++) {
        balance_note_eviction(&balance, GENERATION_OWN, 1ull << 40, 1ull << 40, 0);
        (void)balance_choose(&balance);
    }
    assert_true(balance.evicted[GENERATION_OWN] <= 1024);
    for (unsigned i = 0; i < 16; i++) {
        balance_note_eviction(&balance, GENERATION_COPY, BATCH, 0, 0);
    }
    assert_true(balance.evicted[GENERATION_COPY] >= 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_go_first),
        cmocka_unit_test(writes_cost),
        cmocka_unit_test(copies_in_use_stay),
        cmocka_unit_test(both_in_use),
        cmocka_unit_test(forgets),
        cmocka_unit_test(extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
