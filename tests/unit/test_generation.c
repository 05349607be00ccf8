/* SPDX-License-Identifier: BSD-2-Clause */
/* Generations of frames, of both kinds, against a model that knows each frame's kind and age. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/frame/frame.h"
#include "mm/frame/generation.h"
#include "tests/unit/support.h"

#define FRAMES 200u
#define STEPS  60000u

static struct generations g;
static struct {
    bool listed;
    enum generation_kind kind;
    uint64_t opened; /* generation that it was last put into, counted from the first */
    uint64_t order;  /* when it was */
} model[FRAMES];
static uint64_t generation_now, order_now;

static void reset(void)
{
    generation_init(&g);
    memset(model, 0, sizeof(model));
    generation_now = 0;
    order_now = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        frame_get(pfn(i))->order = 0;
    }
}

static void add(unsigned frame, enum generation_kind kind, unsigned age)
{
    unsigned last = generation_count(&g) - 1;

    generation_add(&g, pfn(frame), kind, age);
    model[frame].listed = true;
    model[frame].kind = kind;
    model[frame].opened = generation_now - (age < last ? age : last);
    model[frame].order = ++order_now;
}

/* What is older than there are lists is ancient. */
static uint64_t age_of(unsigned frame)
{
    uint64_t age = generation_now - model[frame].opened;

    return age < GENERATIONS ? age : GENERATIONS - 1;
}

/* Of one kind: as many pages of each age as the model has, and the first to go is one of the
 * oldest. */
static void check_kind(enum generation_kind kind, uint64_t pages[GENERATIONS])
{
    uint64_t oldest = 0, count = 0;
    pfn_t frame;

    for (unsigned i = 0; i < FRAMES; i++) {
        if (model[i].listed && model[i].kind == kind) {
            assert_int_equal(frame_get(pfn(i))->kind, kind);
            pages[generation_age(&g, pfn(i))]++;
            oldest = age_of(i) > oldest ? age_of(i) : oldest;
            count++;
        }
    }
    assert_int_equal(generation_count_of(&g, kind), count != 0 ? oldest + 1 : 1);
    assert_int_equal(generation_oldest(&g, kind, &frame), count != 0);
    if (count != 0) {
        assert_int_equal(model[frame.v].kind, kind);
        assert_true(model[frame.v].listed);
        assert_int_equal(generation_age(&g, frame) + 1, generation_count_of(&g, kind));
    }
}

static void check(void)
{
    uint64_t pages[GENERATIONS] = {0};

    check_kind(GENERATION_OWN, pages);
    check_kind(GENERATION_COPY, pages);
    for (unsigned age = 0; age < GENERATIONS; age++) {
        assert_int_equal(generation_pages(&g, age), pages[age]);
    }
    assert_int_equal(generation_pages(&g, GENERATIONS), 0);
}

static void scan(void)
{
    while (!generation_make_room(&g, 1 + (unsigned)support_random_below(FRAMES))) {
    }
    generation_advance(&g);
    generation_now++;
}

static void step(void)
{
    unsigned frame = (unsigned)support_random_below(FRAMES);
    enum generation_kind kind = (enum generation_kind)support_random_below(GENERATION_KINDS);
    unsigned age;

    if (support_random_below(40) == 0) {
        scan();
        return;
    }
    if (!model[frame].listed) {
        add(frame, kind, (unsigned)support_random_below(GENERATIONS));
        return;
    }
    switch (support_random_below(4)) {
    case 0:
        generation_remove(&g, pfn(frame));
        model[frame].listed = false;
        break;
    case 1:
        generation_touch(&g, pfn(frame));
        model[frame].opened = generation_now;
        assert_int_equal(generation_age(&g, pfn(frame)), 0);
        break;
    default:
        age = generation_age(&g, pfn(frame));
        generation_change_kind(&g, pfn(frame), kind);
        model[frame].kind = kind;
        assert_int_equal(generation_age(&g, pfn(frame)), age);
        break;
    }
}

static void random_generations(void **state)
{
    (void)state;
    (void)support_seed(11);
    reset();
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (i % 16 == 0) {
            check();
        }
    }
    assert_true(generation_now > 1000); /* sequence numbers have come round */
}

/* Ages are told apart as long as there are lists for them, and the ancient are in order, too. */
static void ages_hold(void **state)
{
    pfn_t frame;

    (void)state;
    reset();
    for (unsigned i = 0; i < 8 * GENERATIONS; i++) {
        add(i, i % 2 == 0 ? GENERATION_OWN : GENERATION_COPY, 0);
        if (i % 4 == 3) {
            scan();
        }
    }
    for (unsigned i = 0; i < 8 * GENERATIONS; i++) {
        assert_int_equal(generation_age(&g, pfn(i)), age_of(i));
    }
    /* In order, each kind for itself. */
    for (unsigned i = 0; i < 8 * GENERATIONS; i++) {
        assert_true(generation_oldest(&g, i % 2 == 0 ? GENERATION_OWN : GENERATION_COPY, &frame));
        assert_int_equal(frame.v, i);
        generation_remove(&g, frame);
    }
    assert_false(generation_oldest(&g, GENERATION_COPY, &frame));
}

/* One page alone becomes as old as can be told, and is found. */
static void alone(void **state)
{
    pfn_t frame;

    (void)state;
    reset();
    add(3, GENERATION_COPY, 0);
    for (unsigned i = 0; i < 3 * GENERATIONS; i++) {
        scan();
        assert_true(generation_oldest(&g, GENERATION_COPY, &frame));
        assert_int_equal(frame.v, 3);
        assert_int_equal(generation_age(&g, frame) + 1, generation_count_of(&g, GENERATION_COPY));
        assert_int_equal(generation_age(&g, frame), age_of(3));
    }
}

/* Once they are ancient, a scan moves none of them. */
static void idle_pages_cost_nothing(void **state)
{
    (void)state;
    reset();
    for (unsigned i = 0; i < FRAMES; i++) {
        add(i, GENERATION_OWN, 0);
    }
    for (unsigned i = 0; i < GENERATIONS; i++) {
        scan();
    }
    for (unsigned i = 0; i < 3 * GENERATIONS; i++) {
        assert_true(generation_make_room(&g, 0));
        generation_advance(&g);
    }
    assert_int_equal(generation_pages(&g, GENERATIONS - 1), FRAMES);
}

/* A kind of which all have been used is young, however old the others are. */
static void each_kind_has_its_oldest(void **state)
{
    (void)state;
    reset();
    add(0, GENERATION_OWN, 0);
    add(1, GENERATION_COPY, 0);
    for (unsigned i = 0; i < 3; i++) {
        scan();
        generation_touch(&g, pfn(1));
        assert_int_equal(generation_count_of(&g, GENERATION_COPY), 1);
    }
    scan();
    assert_int_equal(generation_count_of(&g, GENERATION_OWN), 5);
    assert_int_equal(generation_count_of(&g, GENERATION_COPY), 2);
    assert_int_equal(generation_count(&g), 5);
    /* One that comes to a list older than its kind had. */
    add(2, GENERATION_COPY, 4);
    assert_int_equal(generation_age(&g, pfn(2)), 4);
    assert_int_equal(generation_count_of(&g, GENERATION_COPY), 5);
}

/* A block counts with all its pages, and moves with them. */
static void blocks_count_whole(void **state)
{
    (void)state;
    reset();
    frame_get(pfn(0))->order = 4;
    add(0, GENERATION_OWN, 0);
    assert_int_equal(generation_pages(&g, 0), 16);
    scan();
    assert_int_equal(generation_pages(&g, 1), 16);
    generation_touch(&g, pfn(0));
    assert_int_equal(generation_pages(&g, 0), 16);
    assert_int_equal(generation_pages(&g, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_generations),
        cmocka_unit_test(ages_hold),
        cmocka_unit_test(alone),
        cmocka_unit_test(idle_pages_cost_nothing),
        cmocka_unit_test(each_kind_has_its_oldest),
        cmocka_unit_test(blocks_count_whole),
    };

    support_memory_init_empty(FRAMES);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
