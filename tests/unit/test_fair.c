/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/fair.c tests/unit/fair_machine.c */
/*
 * Shares of CPU time by simulation (tests/unit/fair_machine.h).
 *
 * FAIR_EVENTS=N: so many events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "hv/fair.h"
#include "tests/unit/fair_machine.h"
#include "tests/unit/support.h"

/* ---- named cases ---------------------------------------------------------------------------- */

/* What was found: alone for 25 s, it then got nothing for nearly as long. */
static void newcomer_beside_one_that_was_alone(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= 2; cpus++) {
        machine(cpus);
        struct sim_vm *old[] = {add_vm(1, 100, SECOND), add_vm(1, 100, SECOND)};
        struct sim_vm *newcomer = add_vm(1, 100, 26 * SECOND);

        if (cpus == 1) {
            old[1]->vcpu[0].wake_at = NEVER;
        }
        run_until(26 * SECOND);
        assert_int_equal(total_of(old[0]), 25 * SECOND);
        uint64_t before = total_of(old[0]);

        for (unsigned i = 0; i < sim.vms; i++) {
            sim.vm[i].vcpu[0].longest_wait = 0;
        }
        run_until(36 * SECOND);
        assert_share(old[0], before, 26 * SECOND, cpus == 1 ? 0.5 : 1.0 / 3);
        assert_share(newcomer, 0, 26 * SECOND, cpus == 1 ? 0.5 : 1.0 / 3);
        assert_true(old[0]->vcpu[0].longest_wait <= 3 * FAIR_SLICE_NS);
        assert_true(newcomer->vcpu[0].longest_wait <= 3 * FAIR_SLICE_NS);
        assert_lag();
    }
}

static void share_is_by_vm_and_not_by_vcpu(void **state)
{
    (void)state;
    for (unsigned cpus = 1; cpus <= 2; cpus++) {
        machine(cpus);
        struct sim_vm *wide = add_vm(8, 100, SECOND);
        struct sim_vm *narrow[] = {add_vm(1, 100, SECOND), add_vm(1, 100, SECOND)};

        run_until(11 * SECOND);
        assert_share(wide, 0, SECOND, 1.0 / 3);
        assert_share(narrow[0], 0, SECOND, 1.0 / 3);
        assert_share(narrow[1], 0, SECOND, 1.0 / 3);
        for (unsigned k = 0; k < wide->vcpus; k++) {
            double part = (double)wide->vcpu[k].total / (double)total_of(wide);

            assert_true(part > 0.125 * 0.95 && part < 0.125 * 1.05);
        }
        assert_lag();
    }
}

static void weights_decide(void **state)
{
    static const uint32_t weights[] = {1, 100, 300, 10000};
    double sum = 0;

    (void)state;
    machine(1);
    for (unsigned i = 0; i < ARRAY_SIZE(weights); i++) {
        add_vm(i + 1, weights[i], SECOND);
        sum += weights[i];
    }
    run_until(1801 * SECOND);
    for (unsigned i = 1; i < ARRAY_SIZE(weights); i++) {
        assert_share(&sim.vm[i], 0, SECOND, weights[i] / sum);
    }
    assert_true(total_of(&sim.vm[0]) > 0);
    assert_lag();
}

/* More than a VM can use goes to the others, and does not become a claim on what comes later. */
static void what_one_cannot_use(void **state)
{
    (void)state;
    machine(2);
    struct sim_vm *heavy = add_vm(1, 300, SECOND), *wide = add_vm(8, 100, SECOND);
    struct sim_vm *newcomer = add_vm(1, 100, 101 * SECOND);

    run_until(101 * SECOND);
    assert_share(heavy, 0, SECOND, 0.5);
    assert_share(wide, 0, SECOND, 0.5);
    uint64_t before[] = {total_of(heavy), total_of(wide)};

    run_until(111 * SECOND);
    assert_share(heavy, before[0], 101 * SECOND, 0.5);
    assert_share(wide, before[1], 101 * SECOND, 0.25);
    assert_share(newcomer, 0, 101 * SECOND, 0.25);
    assert_lag();
}

static void a_new_weight_counts_at_once(void **state)
{
    (void)state;
    machine(1);
    struct sim_vm *a = add_vm(2, 1, SECOND), *b = add_vm(1, 10000, SECOND);

    run_until(11 * SECOND);
    uint64_t before[] = {total_of(a), total_of(b)};

    fair_set_weight(&sim.queue, &a->group, 300);
    fair_set_weight(&sim.queue, &b->group, 100);
    uint64_t begin = sim.now;

    run_until(21 * SECOND);
    assert_share(a, before[0], begin, 0.75);
    assert_share(b, before[1], begin, 0.25);
}

/* Sleeps for half of the time, and wakes for little: it gets all it wants, and at once. */
static void half_asleep(struct sim_vcpu *vcpu, uint64_t *burst, uint64_t *sleep)
{
    bool sleeper = vcpu->vm == &sim.vm[0];

    *burst = sleeper ? MS : FOREVER;
    *sleep = sleeper ? 9 * MS : 0;
}

static void one_that_sleeps_is_served_at_once(void **state)
{
    (void)state;
    machine(1);
    sim.next = half_asleep;
    struct sim_vm *sleeper = add_vm(1, 100, SECOND);

    add_vm(4, 100, SECOND);
    add_vm(1, 100, SECOND);
    run_until(61 * SECOND);
    assert_share(sleeper, 0, SECOND, 0.1);
    assert_true(sleeper->vcpu[0].longest_wait <= 2 * FAIR_SLICE_NS);
    assert_lag();
}

/* A member goes behind or before its siblings; its VM's share stays what it was. */
static void order_inside_a_vm(void **state)
{
    struct fair_queue queue;
    struct fair_group group, other;
    struct fair_member member[4], stranger;

    (void)state;
    fair_init(&queue, 1);
    fair_group_init(&group, 100);
    fair_group_init(&other, 100);
    fair_member_init(&stranger, &other);
    for (unsigned i = 0; i < 4; i++) {
        fair_member_init(&member[i], &group);
        member[i].cpu = 7;
        fair_enqueue(&queue, &member[i], true);
    }
    fair_enqueue(&queue, &stranger, true);
    fair_put_last(&member[0]);
    fair_put_first(&member[2]);
    static const unsigned order[] = {2, 1, 3, 0};

    for (unsigned i = 0; i < 4; i++) {
        assert_ptr_equal(fair_pick_of(&queue, &group, 0), &member[order[i]]);
    }
    assert_null(fair_pick_of(&queue, &group, 0));
    assert_ptr_equal(fair_pick(&queue, 0, &other), &stranger); /* nobody else waits */
    assert_null(fair_pick(&queue, 0, NULL));
    assert_int_equal(queue.waiting, 0);
    assert_int_equal(queue.running, 5);
}

static void a_group_can_be_avoided(void **state)
{
    struct fair_queue queue;
    struct fair_group a, b;
    struct fair_member of_a, of_b;

    (void)state;
    fair_init(&queue, 1);
    fair_group_init(&a, 100);
    fair_group_init(&b, 1);
    fair_member_init(&of_a, &a);
    fair_member_init(&of_b, &b);
    b.vtime = 5 * MS; /* behind a in the queue */
    fair_enqueue(&queue, &of_a, true);
    fair_enqueue(&queue, &of_b, true);
    assert_ptr_equal(fair_pick(&queue, 0, &a), &of_b);
}

/* ---- 64 members ----------------------------------------------------------------------------- */

#define MEMBERS 64u

/* Whom the rule names, by a look at all who wait: the one with least virtual time, where of the
 * four with least one that ran on this CPU may be 2 ms further. */
static struct fair_member *by_looking_at_all(struct fair_member member[MEMBERS], unsigned cpu)
{
    struct fair_member *order[MEMBERS];
    unsigned count = 0;

    for (unsigned i = 0; i < MEMBERS; i++) {
        unsigned at = count;

        if (!member[i].waits) {
            continue;
        }
        for (; at > 0 && (order[at - 1]->vtime > member[i].vtime ||
                          (order[at - 1]->vtime == member[i].vtime &&
                           order[at - 1]->order > member[i].order));
             at--) {
            order[at] = order[at - 1];
        }
        order[at] = &member[i];
        count++;
    }
    for (unsigned i = 0; i < MIN(count, 4u); i++) {
        if (order[i]->cpu == cpu && order[i]->vtime < order[0]->vtime + 2 * MS) {
            return order[i];
        }
    }
    return count != 0 ? order[0] : NULL;
}

static void put_and_check(struct fair_member member[MEMBERS], struct fair_member *one, bool first)
{
    (first ? fair_put_first : fair_put_last)(one);
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (&member[i] != one && member[i].waits) {
            assert_true(first ? one->vtime < member[i].vtime : one->vtime > member[i].vtime);
        }
    }
}

/* Whatever happens to them, waiting or not, they come in the order that the rule says. */
static void many_members(void **state)
{
    static struct fair_member member[MEMBERS];
    struct fair_queue queue;
    struct fair_group group;

    (void)state;
    support_seed(2);
    fair_init(&queue, 2);
    fair_group_init(&group, 100);
    for (unsigned i = 0; i < MEMBERS; i++) {
        fair_member_init(&member[i], &group);
        member[i].vtime = 1000 * SECOND;
    }
    group.now = 1000 * SECOND;
    for (unsigned step = 0; step < 200000; step++) {
        struct fair_member *one = &member[support_random_below(MEMBERS)];
        unsigned choice = (unsigned)support_random_below(8), cpu = choice & 1;

        if (choice < 3 && !one->waits) {
            fair_enqueue(&queue, one, choice == 0);
        } else if (choice == 3 && one->waits) {
            put_and_check(member, one, support_random_below(2) != 0);
        } else if (choice == 4) {
            fair_charge(&queue, one, support_random_below(3 * MS)); /* by others' work, too */
        } else if (choice > 4) {
            struct fair_member *expected = by_looking_at_all(member, cpu);

            assert_ptr_equal(fair_pick(&queue, cpu, NULL), expected);
            if (expected != NULL) {
                fair_charge(&queue, expected, support_random_below(8 * MS));
                fair_stop(&queue, expected);
            }
        }
    }
}

/* ---- random --------------------------------------------------------------------------------- */

static uint64_t random_time(uint64_t most)
{
    /* All magnitudes alike, from 10 us on. */
    unsigned bits = (unsigned)support_random_below(16);

    return 10000 + support_random_below(MAX(most >> bits, 1));
}

static void random_behaviour(struct sim_vcpu *vcpu, uint64_t *burst, uint64_t *sleep)
{
    unsigned choice = (unsigned)support_random_below(100);

    (void)vcpu;
    *burst = choice < 2 ? 30 * SECOND : random_time(2 * SECOND);
    *sleep = choice >= 95 ? 60 * SECOND : random_time(SECOND);
}

static void random_machine(void)
{
    unsigned cpus = 1 + (unsigned)support_random_below(CPUS_MAX);
    unsigned left = cpus * (unsigned)(FAIR_PERIOD_NS / FAIR_SLICE_MIN_NS);

    machine(cpus);
    sim.next = random_behaviour;
    for (unsigned vms = 1 + (unsigned)support_random_below(VMS_MAX); vms > 0 && left > 0; vms--) {
        static const uint32_t weights[] = {1, 10, 50, 100, 100, 100, 200, 1000, 10000};
        unsigned vcpus = MIN(1 + (unsigned)support_random_below(VCPUS_MAX), left);

        left -= vcpus;
        add_vm(vcpus, weights[support_random_below(ARRAY_SIZE(weights))],
               SECOND + support_random_below(20 * SECOND));
    }
}

static uint64_t wanted_events(void)
{
    const char *text = getenv("FAIR_EVENTS");

    return text != NULL ? strtoull(text, NULL, 0) : 10000000;
}

static void random_arrivals_sleeps_and_weights(void **state)
{
    uint64_t events = 0, wanted = wanted_events();
    double worst_vcpu = 0, worst_vm = 0;

    (void)state;
    support_seed(1);
    while (events < wanted) {
        random_machine();
        while (sim.events < 50000 && sim.now < 3600 * SECOND) {
            run_until(sim.now + 100 * MS);
            if (!lag_is_small()) {
                fail_msg("lag %.1f ms of a vCPU, %.1f ms of a VM: %u CPUs, %u VMs, second %.1f",
                         sim.worst_vcpu / MS, sim.worst_vm / MS, sim.cpus, sim.vms,
                         (double)sim.now / SECOND);
            }
        }
        events += sim.events;
        worst_vcpu = MAX(worst_vcpu, sim.worst_vcpu);
        worst_vm = MAX(worst_vm, sim.worst_vm);
    }
    printf("lag at most %.1f ms of a vCPU, %.1f ms of a VM in %lu events\n", worst_vcpu / MS,
           worst_vm / MS, (unsigned long)events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newcomer_beside_one_that_was_alone),
        cmocka_unit_test(share_is_by_vm_and_not_by_vcpu),
        cmocka_unit_test(weights_decide),
        cmocka_unit_test(what_one_cannot_use),
        cmocka_unit_test(a_new_weight_counts_at_once),
        cmocka_unit_test(one_that_sleeps_is_served_at_once),
        cmocka_unit_test(order_inside_a_vm),
        cmocka_unit_test(a_group_can_be_avoided),
        cmocka_unit_test(many_members),
        cmocka_unit_test(random_arrivals_sleeps_and_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
