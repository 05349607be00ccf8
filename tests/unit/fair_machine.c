/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fair_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "tests/unit/support.h"

struct sim sim;

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

void run_until(uint64_t end)
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

void machine(unsigned cpus)
{
    memset(&sim, 0, sizeof(sim));
    sim.cpus = cpus;
    sim.now = sim.synced = SECOND;
    sim.next = always_busy;
    fair_init(&sim.queue, cpus);
}

struct sim_vm *add_vm(unsigned vcpus, uint32_t weight, uint64_t start)
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

uint64_t total_of(const struct sim_vm *vm)
{
    uint64_t total = 0;

    for (unsigned k = 0; k < vm->vcpus; k++) {
        total += vm->vcpu[k].total;
    }
    return total;
}

void assert_share(const struct sim_vm *vm, uint64_t before, uint64_t begin, double share)
{
    double got = (double)(total_of(vm) - before) / ((double)(sim.now - begin) * sim.cpus);

    if (got < share * 0.95 || got > share * 1.05) {
        fail_msg("got %.4f of the machine, expected %.4f", got, share);
    }
}

bool lag_is_small(void)
{
    double side_by_side = sim.cpus > 1 ? FAIR_LAG_NS / 4 : 0;

    return sim.worst_vcpu <= FAIR_LAG_NS + side_by_side &&
           sim.worst_vm <= (double)(FAIR_LAG_NS * sim.cpus);
}

void assert_lag(void)
{
    printf("lag at most %.1f ms of a vCPU, %.1f ms of a VM in %lu events\n", sim.worst_vcpu / MS,
           sim.worst_vm / MS, (unsigned long)sim.events);
    assert_true(lag_is_small());
}
