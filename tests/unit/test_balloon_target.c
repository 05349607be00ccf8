/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/vm/balloon_target.c */
/*
 * What VMs with `balloon = auto` are asked for: the rule case by case, and in a loop with machines
 * and guests of all sizes, where it has to come to rest and keep what it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/vm/balloon_target.h"
#include "tests/unit/support.h"

#define MEMORY 65536u
#define KEPT   (MEMORY / 8)
#define STEP   (MEMORY / 64)
#define HIGH   10000u

static const struct balloon_memory is_short = {.free = HIGH - 1, .high = HIGH, .vms = 1};
static const struct balloon_memory is_enough = {.free = 2 * HIGH, .high = HIGH, .vms = 1};
static const struct balloon_memory is_plenty = {.free = 5 * HIGH, .high = HIGH, .vms = 1};

static struct balloon_guest guest(uint64_t target, uint64_t actual, uint64_t available)
{
    return (struct balloon_guest){.memory = MEMORY,
                                  .min = 1000,
                                  .in_frames = 30000,
                                  .target = target,
                                  .actual = actual,
                                  .available = available,
                                  .known = true};
}

static void expect(const struct balloon_memory *machine, struct balloon_guest view, uint64_t target)
{
    assert_int_equal(balloon_target_auto(machine, &view), target);
}

static void test_up(void **state)
{
    (void)state;
    expect(&is_short, guest(0, 0, 40000), STEP);
    expect(&is_short, guest(5000, 5000, 40000), 5000 + STEP);
    expect(&is_short, guest(5000, 5000, KEPT + 10), 5010); /* and no further */
    expect(&is_short, guest(5000, 5000, KEPT), 5000);
    expect(&is_enough, guest(5000, 5000, 40000), 5000);
    expect(&is_short, guest(MEMORY - 1010, MEMORY - 1010, 40000), MEMORY - 1000); /* its min */
}

static void test_down(void **state)
{
    (void)state;
    expect(&is_plenty, guest(5000, 5000, 40000), 5000 - STEP);
    expect(&is_plenty, guest(5, 5, 40000), 0);
    expect(&is_short, guest(5000, 5000, KEPT / 2 - 1), 5000 - STEP);
    expect(&is_short, guest(5000, 5000, KEPT / 2), 5000);
}

static void test_own_max(void **state)
{
    struct balloon_guest view = guest(5000, 5000, 40000);

    (void)state;
    view.max = 32000;
    view.in_frames = 31990;
    expect(&is_plenty, view, 5000 + STEP);
    view.in_frames = 20000;
    expect(&is_plenty, view, 5000 - STEP);
    view.in_frames = 30000; /* near it, but not at it */
    expect(&is_plenty, view, 5000);
}

static void test_guest_that_says_nothing(void **state)
{
    struct balloon_guest view = guest(0, 0, 40000);

    (void)state;
    view.known = false;
    expect(&is_short, view, 0);
    view.target = 500;
    expect(&is_plenty, view, 500);
    view.target = MEMORY; /* its min was raised meanwhile */
    expect(&is_short, view, MEMORY - 1000);
    view.min = MEMORY + 5;
    expect(&is_short, view, 0);
}

static void test_many_vms_step_less(void **state)
{
    struct balloon_memory machine = is_short;

    (void)state;
    machine.high = 40;
    machine.free = 30;
    machine.vms = 7;
    expect(&machine, guest(100, 100, 40000), 100 + 3 * 40 / 2 / 7);
}

/* ---- in a loop ------------------------------------------------------------------------------ */

#define VMS     5u
#define SECONDS 20000u

struct sim_vm {
    struct balloon_guest view;
    uint64_t used; /* by the guest, which cannot give that up */
    uint64_t lag;  /* pages a second that it inflates or deflates at most */
};

struct sim {
    struct balloon_memory machine;
    uint64_t frames;
    unsigned vms;
    struct sim_vm vm[VMS];
};

/* What the guest has not given up is in frames: its cache takes all there is. */
static void settle_frames(struct sim *sim)
{
    uint64_t in_use = 0;

    for (unsigned i = 0; i < sim->vms; i++) {
        struct balloon_guest *view = &sim->vm[i].view;

        view->in_frames = view->memory - view->actual;
        if (view->max != 0) {
            view->in_frames = MIN(view->in_frames, view->max);
        }
        in_use += view->in_frames;
        view->available =
            view->memory - view->actual - MIN(sim->vm[i].used, view->memory - view->actual);
    }
    /* What does not fit is paged out; the pager leaves a little less free than it wants. */
    sim->machine.free = in_use < sim->frames ? sim->frames - in_use : sim->machine.high / 2;
}

static void guest_answers(struct sim_vm *vm)
{
    struct balloon_guest *view = &vm->view;

    if (view->actual < view->target) {
        view->actual += MIN(vm->lag, view->target - view->actual);
    } else {
        view->actual -= MIN(vm->lag, view->actual - view->target);
    }
}

/* Returns how many targets have changed. */
static unsigned second(struct sim *sim)
{
    unsigned changes = 0;

    settle_frames(sim);
    for (unsigned i = 0; i < sim->vms; i++) {
        struct balloon_guest *view = &sim->vm[i].view;
        uint64_t target = balloon_target_auto(&sim->machine, view);

        assert_true(target <= view->memory - view->min);
        assert_true(target <= view->target || view->available > view->memory / 8);
        changes += target != view->target;
        view->target = target;
    }
    for (unsigned i = 0; i < sim->vms; i++) {
        guest_answers(&sim->vm[i]);
    }
    return changes;
}

static void make(struct sim *sim)
{
    uint64_t sum = 0;

    sim->vms = 1 + (unsigned)support_random_below(VMS);
    for (unsigned i = 0; i < sim->vms; i++) {
        uint64_t memory = 1024 + support_random_below(1u << 20);

        sim->vm[i] = (struct sim_vm){
            .view = {.memory = memory, .min = support_random_below(memory), .known = true},
            .used = support_random_below(memory),
            .lag = 1 + support_random_below(memory),
        };
        if (support_random_below(4) == 0) {
            sim->vm[i].view.max = 1024 + support_random_below(memory);
        }
        sum += memory;
    }
    sim->frames = 1000 + support_random_below(2 * sum);
    sim->machine =
        (struct balloon_memory){.high = 64 + support_random_below(sum / 16), .vms = sim->vms};
}

/* Demand that stays the same leads to targets that stay the same; from anywhere. */
static void comes_to_rest(struct sim *sim)
{
    unsigned quiet = 0;

    for (unsigned i = 0; i < sim->vms; i++) {
        struct balloon_guest *view = &sim->vm[i].view;

        view->target = view->actual = support_random_below(view->memory - view->min + 1);
    }
    for (unsigned i = 0; i < SECONDS && quiet < 100; i++) {
        quiet = second(sim) == 0 ? quiet + 1 : 0;
    }
    assert_int_equal(quiet, 100);
}

static void test_comes_to_rest(void **state)
{
    struct sim sim;

    (void)state;
    support_seed(1);
    for (unsigned run = 0; run < 2000; run++) {
        make(&sim);
        comes_to_rest(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up),
        cmocka_unit_test(test_down),
        cmocka_unit_test(test_own_max),
        cmocka_unit_test(test_guest_that_says_nothing),
        cmocka_unit_test(test_many_vms_step_less),
        cmocka_unit_test(test_comes_to_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
