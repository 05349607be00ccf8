/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/sched.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "base/log.h"
#include "hv/vcpu.h"
#include "hv/vdev/lapic.h"

#define AFFINITY_NS 2000000ull /* what staying on a CPU is worth */
/* So much further must a vCPU be that gives way to one that wakes. */
#define PREEMPT_NS 1000000ull

static struct spinlock sched_lock = SPINLOCK_INIT(RANK_SCHED, "sched");
static struct list run_queue = LIST_INIT(run_queue); /* under sched_lock */
static _Atomic unsigned queued;                      /* its length */
static uint64_t min_vruntime;                        /* of what was picked last; under sched_lock */
static _Atomic uint64_t idle_cpus;                   /* bit per CPU */

/* What runs on each CPU. */
static struct {
    struct vcpu *current; /* under sched_lock; NULL: none */
    uint64_t since_ns;    /* under sched_lock */
    _Atomic bool preempt; /* somebody who has run less waits */
} running[MAX_CPUS];

static void enqueue(struct vcpu *vcpu)
{
    ASSERT(list_empty(&vcpu->run_link));
    vcpu->state = VCPU_RUNNABLE;
    list_push_back(&run_queue, &vcpu->run_link);
    queued++;
}

/* After a sleep: neither punished nor given more than one slice of credit. */
static void enqueue_woken(struct vcpu *vcpu)
{
    uint64_t floor = min_vruntime > SCHED_SLICE_NS ? min_vruntime - SCHED_SLICE_NS : 0;

    vcpu->vruntime_ns = MAX(vcpu->vruntime_ns, floor);
    enqueue(vcpu);
}

/* The CPU that a woken vCPU ran on last gives up what it runs, if that has had more time.  The lock
 * is held. */
static bool shall_preempt(const struct vcpu *woken)
{
    unsigned cpu = woken->cpu;
    const struct vcpu *current = running[cpu].current;
    uint64_t ran;

    if (current == NULL) {
        return false;
    }
    ran = current->vruntime_ns + (arch_clock_ns() - running[cpu].since_ns);
    return ran > woken->vruntime_ns + PREEMPT_NS;
}

/* A vCPU became runnable: some CPU shall come and pick, an idle one (best the one that it ran on
 * last) or one whose vCPU has to give way. */
static void kick_for(unsigned preferred, bool preempt)
{
    uint64_t idle = atomic_load(&idle_cpus);

    if (idle != 0) {
        arch_cpu_kick(idle & BIT(preferred) ? preferred : (unsigned)__builtin_ctzll(idle));
    } else if (preempt) {
        atomic_store(&running[preferred].preempt, true);
        if (preferred != arch_cpu_id()) {
            arch_cpu_kick(preferred);
        }
    }
}

static uint64_t effective_vruntime(const struct vcpu *vcpu, unsigned cpu)
{
    uint64_t bonus = vcpu->cpu == cpu ? AFFINITY_NS : 0;

    return vcpu->vruntime_ns > bonus ? vcpu->vruntime_ns - bonus : 0;
}

struct vcpu *sched_pick(void)
{
    unsigned cpu = arch_cpu_id();
    struct vcpu *best = NULL;

    if (atomic_load_explicit(&queued, memory_order_relaxed) == 0) {
        return NULL;
    }
    spin_lock(&sched_lock);
    LIST_FOR_EACH (link, &run_queue) {
        struct vcpu *vcpu = LIST_ENTRY(link, struct vcpu, run_link);

        if (best == NULL || effective_vruntime(vcpu, cpu) < effective_vruntime(best, cpu)) {
            best = vcpu;
        }
    }
    if (best != NULL) {
        list_remove(&best->run_link);
        queued--;
        best->state = VCPU_RUNNING;
        best->cpu = cpu;
        running[cpu].since_ns = arch_clock_ns();
        min_vruntime = MAX(min_vruntime, best->vruntime_ns);
    }
    running[cpu].current = best;
    atomic_store(&running[cpu].preempt, false);
    spin_unlock(&sched_lock);
    return best;
}

bool sched_waiting(void)
{
    return atomic_load_explicit(&queued, memory_order_relaxed) != 0;
}

void sched_start(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    ASSERT(vcpu->state == VCPU_STOPPED);
    vcpu->wake_pending = false;
    enqueue_woken(vcpu);
    spin_unlock(&sched_lock);
    kick_for(vcpu->cpu, false);
}

void sched_yield(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    running[arch_cpu_id()].current = NULL;
    enqueue(vcpu);
    spin_unlock(&sched_lock);
}

void sched_sleep(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    running[arch_cpu_id()].current = NULL;
    /* Under the lock, so that a request set after this look finds the vCPU SLEEPING. */
    if (atomic_load(&vcpu->requests) != 0 || lapic_highest_pending(vcpu->lapic) >= 0) {
        enqueue(vcpu);
    } else {
        vcpu->state = VCPU_SLEEPING;
    }
    spin_unlock(&sched_lock);
}

void sched_park(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    running[arch_cpu_id()].current = NULL;
    if (vcpu->wake_pending) {
        vcpu->wake_pending = false;
        enqueue(vcpu);
    } else {
        vcpu->state = VCPU_PARKED;
    }
    spin_unlock(&sched_lock);
}

void sched_stop(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    running[arch_cpu_id()].current = NULL;
    vcpu->state = VCPU_STOPPED;
    spin_unlock(&sched_lock);
}

void sched_notify(struct vcpu *vcpu)
{
    bool preempt = false;
    unsigned cpu;
    uint32_t state;

    spin_lock(&sched_lock);
    state = vcpu->state;
    cpu = vcpu->cpu;
    if (state == VCPU_SLEEPING) {
        enqueue_woken(vcpu);
        preempt = shall_preempt(vcpu);
    }
    spin_unlock(&sched_lock);
    if (state == VCPU_SLEEPING) {
        kick_for(cpu, preempt);
    } else if (state == VCPU_RUNNING && cpu != arch_cpu_id()) {
        arch_cpu_kick(cpu);
    }
}

void sched_unpark(struct vcpu *vcpu)
{
    bool woken = false, preempt = false;

    spin_lock(&sched_lock);
    if (vcpu->state == VCPU_PARKED) {
        enqueue_woken(vcpu);
        preempt = shall_preempt(vcpu);
        woken = true;
    } else if (vcpu->state == VCPU_RUNNING) {
        vcpu->wake_pending = true;
    }
    spin_unlock(&sched_lock);
    if (woken) {
        kick_for(vcpu->cpu, preempt);
    }
}

void sched_account(struct vcpu *vcpu, uint64_t ns)
{
    vcpu->run_ns += ns;
    vcpu->vruntime_ns += ns;
}

void sched_set_idle(bool idle)
{
    uint64_t bit = BIT(arch_cpu_id());

    if (idle) {
        atomic_fetch_or(&idle_cpus, bit);
    } else {
        atomic_fetch_and(&idle_cpus, ~bit);
    }
}

bool sched_should_yield(uint64_t ran_ns)
{
    bool preempt = atomic_load_explicit(&running[arch_cpu_id()].preempt, memory_order_relaxed);

    return (preempt || ran_ns >= SCHED_SLICE_NS) && sched_waiting();
}
