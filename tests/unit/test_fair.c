/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/fair.c */
/*
 * Shares of CPU time by simulation: CPUs that pick, tick, preempt and idle as hv/run/sched.c has
 * them do, beside a fluid that is given the same work at the same times.
 *
 * The fluid: VMs get CPU in proportion to their weights at every moment, none more than its vCPUs
 * with work can use, and what one cannot use goes to the others; inside a VM the vCPUs with work
 * get the same.  Lag is what the fluid has given a vCPU or VM so far less what it has had.
 *
 * One that can use a whole CPU and waits for a moment can never make that up on several CPUs, and
 * vCPUs that the fluid serves side by side may have to run one after the other.  So there the fluid
 * is brought to where the CPUs are once a second, and lag counts from then on.
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
#include "tests/unit/support.h"

#define VMS_MAX   24u
#define VCPUS_MAX 8u
#define CPUS_MAX  4u
#define NEVER     UINT64_MAX
#define MS        1000000ull
#define SECOND    1000000000ull
#define FOREVER   (1ull << 52) /* 52 days */

enum vcpu_state { IDLE, WAITING, RUNNING };

struct sim_vcpu {
    struct fair_member member;
    struct sim_vm *vm;
    enum vcpu_state state;
    uint64_t wake_at; /* IDLE */
    uint64_t burst;   /* CPU time until it sleeps again */
    uint64_t total;   /* CPU time that it has had */
    double backlog;   /* that the fluid has still to give it */
    double lag;
    uint64_t waiting_since, longest_wait;
};

struct sim_vm {
    struct fair_group group;
    unsigned vcpus;
    struct sim_vcpu vcpu[VCPUS_MAX];
    unsigned backlogged; /* vCPUs, in the fluid */
    double rate;         /* of each of them there, CPUs */
    double lag;
};

struct sim_cpu {
    struct sim_vcpu *current;
    uint64_t charged_at, slice_end;
};

static struct {
    struct fair_queue queue;
    uint64_t now;
    unsigned cpus, vms;
    struct sim_vm vm[VMS_MAX];
    struct sim_cpu cpu[CPUS_MAX];
    uint64_t synced;             /* when the fluid was brought to where the CPUs are */
    double worst_vcpu, worst_vm; /* lag, ns */
    uint64_t events;
    /* How a vCPU behaves: new burst and new sleep. */
    void (*next)(struct sim_vcpu *vcpu, uint64_t *burst, uint64_t *sleep);
} sim;

/* ---- the fluid ------------------------------------------------------------------------------ */

/* Water-filling: whoever cannot use its part gets all it can use, the others share the rest. */
static void compute_rates(void)
{
    bool full[VMS_MAX] = {false};
    double left = sim.cpus, weight = 0;

    for (unsigned i = 0; i < sim.vms; i++) {
        weight += sim.vm[i].backlogged != 0 ? sim.vm[i].group.weight : 0;
    }
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < sim.vms; i++) {
            struct sim_vm *vm = &sim.vm[i];
            unsigned can = vm->backlogged;

            if (can != 0 && !full[i] && left * vm->group.weight >= weight * can) {
                full[i] = again = true;
                vm->rate = 1;
                left -= can;
                weight -= vm->group.weight;
                break;
            }
        }
    }
    for (unsigned i = 0; i < sim.vms; i++) {
        struct sim_vm *vm = &sim.vm[i];

        if (vm->backlogged != 0 && !full[i]) {
            vm->rate = left * vm->group.weight / weight / vm->backlogged;
        }
    }
}

/* Until the first vCPU has no more work in the fluid. */
static double fluid_next(void)
{
    double next = FOREVER;

    for (unsigned i = 0; i < sim.vms; i++) {
        for (unsigned k = 0; sim.vm[i].backlogged != 0 && k < sim.vm[i].vcpus; k++) {
            double backlog = sim.vm[i].vcpu[k].backlog;

            if (backlog > 0 && backlog / sim.vm[i].rate < next) {
                next = backlog / sim.vm[i].rate;
            }
        }
    }
    return next;
}

static void fluid_flow(double ns)
{
    for (unsigned i = 0; i < sim.vms; i++) {
        struct sim_vm *vm = &sim.vm[i];

        for (unsigned k = 0; vm->backlogged != 0 && k < vm->vcpus; k++) {
            struct sim_vcpu *vcpu = &vm->vcpu[k];
            double part = MIN(vm->rate * ns, vcpu->backlog);

            if (vcpu->backlog > 0) {
                vcpu->lag += part;
                vm->lag += part;
                vcpu->backlog -= part;
                if (vcpu->backlog < 0.001) {
                    vcpu->backlog = 0;
                    vm->backlogged--;
                }
            }
        }
    }
}

static void fluid_give(struct sim_vcpu *vcpu, uint64_t work)
{
    vcpu->vm->backlogged += vcpu->backlog <= 0;
    vcpu->backlog += (double)work;
}

static void note_lag(void)
{
    for (unsigned i = 0; i < sim.vms; i++) {
        for (unsigned k = 0; k < sim.vm[i].vcpus; k++) {
            sim.worst_vcpu = MAX(sim.worst_vcpu, sim.vm[i].vcpu[k].lag);
        }
        sim.worst_vm = MAX(sim.worst_vm, sim.vm[i].lag);
    }
}

static void sync_fluid(void)
{
    for (unsigned i = 0; i < sim.vms; i++) {
        struct sim_vm *vm = &sim.vm[i];

        vm->lag = 0;
        vm->backlogged = 0;
        for (unsigned k = 0; k < vm->vcpus; k++) {
            struct sim_vcpu *vcpu = &vm->vcpu[k];

            vcpu->lag = 0;
            vcpu->backlog = vcpu->state == IDLE ? 0 : (double)vcpu->burst;
            vm->backlogged += vcpu->backlog > 0;
        }
    }
    sim.synced = sim.now;
}

/* Fluid and CPUs work on until then. */
static void flow(uint64_t to)
{
    double left = (double)(to - sim.now);

    while (left > 0) {
        compute_rates();
        double step = MIN(left, fluid_next());

        fluid_flow(step);
        left -= step;
    }
    for (unsigned i = 0; i < sim.cpus; i++) {
        struct sim_vcpu *vcpu = sim.cpu[i].current;

        if (vcpu != NULL) {
            vcpu->total += to - sim.now;
            vcpu->burst -= to - sim.now;
            vcpu->lag -= (double)(to - sim.now);
            vcpu->vm->lag -= (double)(to - sim.now);
        }
    }
    sim.now = to;
    note_lag();
}

/* ---- CPUs ----------------------------------------------------------------------------------- */

static void tick(struct sim_cpu *cpu)
{
    if (cpu->current != NULL) {
        fair_charge(&sim.queue, &cpu->current->member, sim.now - cpu->charged_at);
        cpu->charged_at = sim.now;
    }
}

static void pick(struct sim_cpu *cpu)
{
    struct fair_member *member = fair_pick(&sim.queue, (unsigned)(cpu - sim.cpu), NULL);

    cpu->current = NULL;
    if (member != NULL) {
        struct sim_vcpu *vcpu = CONTAINER_OF(member, struct sim_vcpu, member);

        vcpu->state = RUNNING;
        vcpu->longest_wait = MAX(vcpu->longest_wait, sim.now - vcpu->waiting_since);
        cpu->current = vcpu;
        cpu->charged_at = sim.now;
        cpu->slice_end = sim.now + fair_slice(&sim.queue);
    }
}

static void wait(struct sim_vcpu *vcpu, bool woken)
{
    vcpu->state = WAITING;
    vcpu->waiting_since = sim.now;
    fair_enqueue(&sim.queue, &vcpu->member, woken);
}

static void release(struct sim_cpu *cpu)
{
    tick(cpu);
    fair_stop(&sim.queue, &cpu->current->member);
}

static void yield(struct sim_cpu *cpu)
{
    struct sim_vcpu *vcpu = cpu->current;

    release(cpu);
    wait(vcpu, false);
    pick(cpu);
}

static struct sim_cpu *idle_cpu(unsigned preferred)
{
    if (sim.cpu[preferred].current == NULL) {
        return &sim.cpu[preferred];
    }
    for (unsigned i = 0; i < sim.cpus; i++) {
        if (sim.cpu[i].current == NULL) {
            return &sim.cpu[i];
        }
    }
    return NULL;
}

/* The one whose vCPU has had most beside its share. */
static struct sim_cpu *least_deserving(unsigned preferred)
{
    struct sim_cpu *found = &sim.cpu[preferred];

    for (unsigned i = 0; i < sim.cpus; i++) {
        struct sim_cpu *cpu = &sim.cpu[i];

        if (fair_preempts(&found->current->member, sim.now - found->charged_at,
                          &cpu->current->member, sim.now - cpu->charged_at)) {
            found = cpu;
        }
    }
    return found;
}

static void wake(struct sim_vcpu *vcpu)
{
    struct sim_cpu *cpu = idle_cpu(vcpu->member.cpu);

    fluid_give(vcpu, vcpu->burst);
    wait(vcpu, true);
    if (cpu != NULL) {
        pick(cpu);
        return;
    }
    cpu = least_deserving(vcpu->member.cpu);
    if (fair_preempts(&vcpu->member, 0, &cpu->current->member, sim.now - cpu->charged_at)) {
        yield(cpu);
    }
}

static void sleep_now(struct sim_cpu *cpu)
{
    struct sim_vcpu *vcpu = cpu->current;
    uint64_t sleep = 0;

    release(cpu);
    vcpu->state = IDLE;
    sim.next(vcpu, &vcpu->burst, &sleep);
    vcpu->wake_at = sleep >= FOREVER ? NEVER : sim.now + sleep;
    pick(cpu);
}

/* ---- events --------------------------------------------------------------------------------- */

static void run_cpu_events(void)
{
    for (unsigned i = 0; i < sim.cpus; i++) {
        struct sim_cpu *cpu = &sim.cpu[i];

        if (cpu->current == NULL) {
            continue;
        }
        if (cpu->current->burst == 0) {
            sleep_now(cpu);
        } else if (sim.now >= cpu->slice_end) {
            tick(cpu);
            cpu->slice_end = sim.now + fair_slice(&sim.queue);
            if (sim.queue.waiting != 0) {
                yield(cpu);
            }
        }
    }
}

static void run_wakes(void)
{
    for (unsigned i = 0; i < sim.vms; i++) {
        for (unsigned k = 0; k < sim.vm[i].vcpus; k++) {
            struct sim_vcpu *vcpu = &sim.vm[i].vcpu[k];

            if (vcpu->state == IDLE && sim.now >= vcpu->wake_at) {
                wake(vcpu);
            }
        }
    }
}

static uint64_t next_event(uint64_t limit)
{
    uint64_t next = limit;

    for (unsigned i = 0; i < sim.cpus; i++) {
        const struct sim_cpu *cpu = &sim.cpu[i];

        if (cpu->current != NULL) {
            next = MIN(next, MIN(cpu->slice_end, sim.now + cpu->current->burst));
        }
    }
    for (unsigned i = 0; i < sim.vms; i++) {
        for (unsigned k = 0; k < sim.vm[i].vcpus; k++) {
            const struct sim_vcpu *vcpu = &sim.vm[i].vcpu[k];

            next = vcpu->state == IDLE ? MIN(next, vcpu->wake_at) : next;
        }
    }
    return next;
}

static void run_until(uint64_t end)
{
    while (sim.now < end) {
        flow(next_event(end));
        run_cpu_events();
        run_wakes();
        if (sim.cpus > 1 && sim.now - sim.synced >= SECOND) {
            sync_fluid();
        }
        sim.events++;
    }
}

/* ---- setting up ----------------------------------------------------------------------------- */

static void always_busy(struct sim_vcpu *vcpu, uint64_t *burst, uint64_t *sleep)
{
    (void)vcpu;
    *burst = FOREVER;
    *sleep = 0;
}

static void machine(unsigned cpus)
{
    memset(&sim, 0, sizeof(sim));
    sim.cpus = cpus;
    sim.now = sim.synced = SECOND;
    sim.next = always_busy;
    fair_init(&sim.queue, cpus);
}

/* Its vCPUs wake for the first time at `start`. */
static struct sim_vm *add_vm(unsigned vcpus, uint32_t weight, uint64_t start)
{
    struct sim_vm *vm = &sim.vm[sim.vms++];
    uint64_t sleep;

    fair_group_init(&vm->group, weight);
    vm->vcpus = vcpus;
    for (unsigned k = 0; k < vcpus; k++) {
        struct sim_vcpu *vcpu = &vm->vcpu[k];

        fair_member_init(&vcpu->member, &vm->group);
        vcpu->vm = vm;
        vcpu->wake_at = start;
        sim.next(vcpu, &vcpu->burst, &sleep);
    }
    return vm;
}

static uint64_t total_of(const struct sim_vm *vm)
{
    uint64_t total = 0;

    for (unsigned k = 0; k < vm->vcpus; k++) {
        total += vm->vcpu[k].total;
    }
    return total;
}

/* Of the time since `begin` the VM has had that part of all CPUs, within 5% of it. */
static void assert_share(const struct sim_vm *vm, uint64_t before, uint64_t begin, double share)
{
    double got = (double)(total_of(vm) - before) / ((double)(sim.now - begin) * sim.cpus);

    if (got < share * 0.95 || got > share * 1.05) {
        fail_msg("got %.4f of the machine, expected %.4f", got, share);
    }
}

/* On several CPUs a VM's is that of several vCPUs, and a vCPU may be later than the fluid has it by
 * as much as its siblings were served before it. */
static bool lag_is_small(void)
{
    double side_by_side = sim.cpus > 1 ? FAIR_LAG_NS / 4 : 0;

    return sim.worst_vcpu <= FAIR_LAG_NS + side_by_side &&
           sim.worst_vm <= (double)(FAIR_LAG_NS * sim.cpus);
}

static void assert_lag(void)
{
    printf("lag at most %.1f ms of a vCPU, %.1f ms of a VM in %lu events\n", sim.worst_vcpu / MS,
           sim.worst_vm / MS, (unsigned long)sim.events);
    assert_true(lag_is_small());
}

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
        cmocka_unit_test(random_arrivals_sleeps_and_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
