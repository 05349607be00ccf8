/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUs that pick, tick, preempt and idle as hv/run/sched.c has them do, simulated, beside a fluid
 * that is given the same work at the same times; for tests/unit/test_fair.c.
 *
 * The fluid: VMs get CPU in proportion to their weights at every moment, none more than its vCPUs
 * with work can use, and what one cannot use goes to the others; inside a VM the vCPUs with work
 * get the same.  Lag is what the fluid has given a vCPU or VM so far less what it has had.
 *
 * One that can use a whole CPU and waits for a moment can never make that up on several CPUs, and
 * vCPUs that the fluid serves side by side may have to run one after the other.  So there the fluid
 * is brought to where the CPUs are once a second, and lag counts from then on.
 */
#ifndef SPILLWAY_TESTS_UNIT_FAIR_MACHINE_H
#define SPILLWAY_TESTS_UNIT_FAIR_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "hv/fair.h"

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

struct sim {
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
};

extern struct sim sim;

void run_until(uint64_t end);
void machine(unsigned cpus);
/* Its vCPUs wake for the first time at `start`. */
struct sim_vm *add_vm(unsigned vcpus, uint32_t weight, uint64_t start);
uint64_t total_of(const struct sim_vm *vm);
/* Of the time since `begin` the VM has had that part of all CPUs, within 5% of it. */
void assert_share(const struct sim_vm *vm, uint64_t before, uint64_t begin, double share);
/* On several CPUs a VM's is that of several vCPUs, and a vCPU may be later than the fluid has it by
 * as much as its siblings were served before it. */
bool lag_is_small(void);
void assert_lag(void);

#endif
