/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/sched.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "base/log.h"
#include "hv/fair.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"

#define LOOK_CPUS  4u         /* looked at for the one whose vCPU gives way to one that wakes */
#define RUN_MIN_NS 1000000ull /* a vCPU that has just begun goes on for so long first */

static struct spinlock sched_lock = SPINLOCK_INIT(RANK_SCHED, "sched");
static struct fair_queue queue;      /* under sched_lock */
static _Atomic uint64_t idle_cpus;   /* bit per CPU */
static _Atomic unsigned waiting_now; /* queue.waiting, for looks without the lock */
static unsigned cpus;                /* constant */

/* What runs on each CPU. */
static struct turn {
    struct vcpu *current;       /* under sched_lock, as all down to `stay`; NULL: none */
    uint64_t charged_ns;        /* until then it has been charged */
    uint64_t serviced_ns;       /* of the time since then, spent for others */
    uint64_t begin_ns;          /* it was picked */
    uint64_t vm_end_ns;         /* its VM's turn ends, if others wait */
    struct fair_group *stay;    /* the next one is of that VM ... */
    struct fair_group *leave;   /* ... or not, if there is another */
    _Atomic uint64_t slice_end; /* its own ends, if others wait; read without the lock */
} __attribute__((aligned(64))) turns[MAX_CPUS];

static struct vcpu *vcpu_of(struct fair_member *member)
{
    return CONTAINER_OF(member, struct vcpu, turn);
}

void sched_init(unsigned count)
{
    cpus = count;
    fair_init(&queue, count);
}

void sched_add_vm(struct vm *vm, uint32_t weight)
{
    fair_group_init(&vm->share, weight);
}

void sched_add_vcpu(struct vcpu *vcpu)
{
    fair_member_init(&vcpu->turn, &vcpu->vm->share);
}

void sched_set_weight(struct vm *vm, uint32_t weight)
{
    spin_lock(&sched_lock);
    fair_set_weight(&queue, &vm->share, weight);
    spin_unlock(&sched_lock);
}

/* ---- under the lock ------------------------------------------------------------------------- */

static void publish_waiting(void)
{
    atomic_store_explicit(&waiting_now, queue.waiting, memory_order_relaxed);
}

static void enqueue(struct vcpu *vcpu, bool woken)
{
    vcpu->state = VCPU_RUNNABLE;
    vcpu->waits_since_ns = arch_clock_ns();
    fair_enqueue(&queue, &vcpu->turn, woken);
    publish_waiting();
}

/* It has waited for a CPU until now. */
static void count_wait(struct vcpu *vcpu, uint64_t now)
{
    vcpu->wait_ns += now - MIN(now, vcpu->waits_since_ns);
}

static uint64_t uncharged(const struct turn *turn, uint64_t now)
{
    uint64_t ran = now - turn->charged_ns;

    return ran - MIN(ran, turn->serviced_ns);
}

static void charge(struct turn *turn, uint64_t now)
{
    uint64_t ns = uncharged(turn, now);

    turn->current->run_ns += ns;
    fair_charge(&queue, &turn->current->turn, ns);
    turn->charged_ns = now;
    turn->serviced_ns = 0;
}

/* Takes the vCPU that this CPU has run off it. */
static struct turn *leave(struct vcpu *vcpu)
{
    struct turn *turn = &turns[arch_cpu_id()];

    ASSERT(turn->current == vcpu);
    charge(turn, arch_clock_ns());
    fair_stop(&queue, &vcpu->turn);
    turn->current = NULL;
    return turn;
}

/* Finds the CPU whose vCPU has had most beside its share, among the CPU that the woken one ran on
 * last and some others.  False: all of them deserve it more. */
static bool find_victim(const struct vcpu *woken, uint64_t now, unsigned *victim)
{
    const struct fair_member *most = &woken->turn;
    uint64_t ran = 0;
    bool found = false;

    for (unsigned i = 0; i < MIN(LOOK_CPUS, cpus); i++) {
        unsigned cpu = (woken->turn.cpu + i) % cpus;
        const struct turn *turn = &turns[cpu];

        if (turn->current != NULL &&
            fair_preempts(most, ran, &turn->current->turn, uncharged(turn, now))) {
            most = &turn->current->turn;
            ran = uncharged(turn, now);
            *victim = cpu;
            found = true;
        }
    }
    return found;
}

/* ---- waking --------------------------------------------------------------------------------- */

#define NO_CPU UINT32_MAX

static void shorten_slice(struct turn *turn, uint64_t now)
{
    uint64_t end = MAX(now, turn->begin_ns + RUN_MIN_NS);

    if (end < atomic_load(&turn->slice_end)) {
        atomic_store(&turn->slice_end, end);
    }
}

/* Returns the CPU that shall come and pick it: an idle one, best the one that it ran on last, or
 * the one whose vCPU gives way; NO_CPU: it has to wait.  The caller kicks it without the lock. */
static unsigned wake(struct vcpu *vcpu)
{
    uint64_t idle = atomic_load(&idle_cpus), now = arch_clock_ns();
    unsigned cpu = vcpu->turn.cpu;

    enqueue(vcpu, true);
    if (idle != 0) {
        return idle & BIT(cpu) ? cpu : (unsigned)__builtin_ctzll(idle);
    }
    if (!find_victim(vcpu, now, &cpu)) {
        return NO_CPU;
    }
    shorten_slice(&turns[cpu], now);
    return cpu;
}

static void kick(unsigned cpu)
{
    if (cpu != NO_CPU && cpu != arch_cpu_id()) {
        arch_cpu_kick(cpu);
    }
}

void sched_start(struct vcpu *vcpu)
{
    unsigned cpu;

    spin_lock(&sched_lock);
    ASSERT(vcpu->state == VCPU_STOPPED);
    vcpu->wake_pending = false;
    if (vcpu->activity == ACTIVITY_ACTIVE) { /* it would have run all the while */
        count_wait(vcpu, arch_clock_ns());
    }
    cpu = wake(vcpu);
    spin_unlock(&sched_lock);
    kick(cpu);
}

/* Lets that vCPU, which has no CPU, come first: the one that runs here may be about to wait for its
 * answer.  The lock is held. */
static void call_sibling(struct vcpu *vcpu)
{
    struct vcpu *caller = turns[arch_cpu_id()].current;

    if (caller != NULL && caller->vm == vcpu->vm) {
        caller->called_sibling = true;
        fair_put_first(&vcpu->turn);
    }
}

void sched_notify(struct vcpu *vcpu)
{
    unsigned cpu = NO_CPU;

    spin_lock(&sched_lock);
    if (vcpu->state == VCPU_SLEEPING) {
        cpu = wake(vcpu);
    } else if (vcpu->state == VCPU_RUNNABLE) {
        call_sibling(vcpu);
    } else if (vcpu->state == VCPU_RUNNING) {
        cpu = vcpu->turn.cpu;
    }
    spin_unlock(&sched_lock);
    kick(cpu);
}

bool sched_prefer(struct vcpu *vcpu)
{
    bool waits;

    spin_lock(&sched_lock);
    waits = vcpu->state == VCPU_RUNNABLE;
    if (waits) {
        fair_put_first(&vcpu->turn);
    }
    spin_unlock(&sched_lock);
    return waits;
}

void sched_unpark(struct vcpu *vcpu)
{
    unsigned cpu = NO_CPU;

    spin_lock(&sched_lock);
    if (vcpu->state == VCPU_PARKED) {
        cpu = wake(vcpu);
    } else if (vcpu->state == VCPU_RUNNING) {
        vcpu->wake_pending = true;
    }
    spin_unlock(&sched_lock);
    kick(cpu);
}

/* ---- running -------------------------------------------------------------------------------- */

/* The lock is held. */
static struct fair_member *choose(struct turn *turn, unsigned cpu, uint64_t now)
{
    struct fair_member *member = NULL;
    uint64_t slice = fair_slice(&queue);

    if (turn->stay != NULL) {
        member = fair_pick_of(&queue, turn->stay, cpu);
    }
    if (member == NULL) {
        member = fair_pick(&queue, cpu, turn->leave);
        turn->vm_end_ns = now + slice;
    }
    turn->stay = NULL;
    turn->leave = NULL;
    atomic_store_explicit(&turn->slice_end, MIN(turn->vm_end_ns, now + slice),
                          memory_order_relaxed);
    return member;
}

struct vcpu *sched_pick(void)
{
    unsigned cpu = arch_cpu_id();
    struct turn *turn = &turns[cpu];
    struct fair_member *member;
    uint64_t now;

    if (!sched_waiting()) {
        return NULL;
    }
    spin_lock(&sched_lock);
    now = arch_clock_ns();
    member = choose(turn, cpu, now);
    if (member != NULL) {
        turn->current = vcpu_of(member);
        turn->current->state = VCPU_RUNNING;
        turn->charged_ns = turn->begin_ns = now;
        turn->serviced_ns = 0;
        count_wait(turn->current, now);
    }
    publish_waiting();
    spin_unlock(&sched_lock);
    return member != NULL ? turn->current : NULL;
}

bool sched_waiting(void)
{
    return atomic_load_explicit(&waiting_now, memory_order_relaxed) != 0;
}

void sched_tick(struct vcpu *vcpu)
{
    struct turn *turn = &turns[arch_cpu_id()];
    uint64_t now;

    spin_lock(&sched_lock);
    ASSERT(turn->current == vcpu);
    now = arch_clock_ns();
    charge(turn, now);
    if (now >= turn->slice_end && queue.waiting == 0) { /* nobody waits for its end */
        turn->vm_end_ns = now + fair_slice(&queue);
        atomic_store_explicit(&turn->slice_end, turn->vm_end_ns, memory_order_relaxed);
    }
    spin_unlock(&sched_lock);
}

uint64_t sched_slice_end(void)
{
    return atomic_load_explicit(&turns[arch_cpu_id()].slice_end, memory_order_relaxed);
}

bool sched_should_yield(uint64_t now_ns)
{
    return now_ns >= sched_slice_end() && sched_waiting();
}

void vcpu_charge_service(struct vcpu *vcpu, uint64_t ns)
{
    struct turn *turn = &turns[arch_cpu_id()];

    spin_lock(&sched_lock);
    if (turn->current != vcpu) {
        vcpu->run_ns += ns;
        fair_charge(&queue, &vcpu->turn, ns);
        turn->serviced_ns += turn->current != NULL ? ns : 0;
    }
    spin_unlock(&sched_lock);
}

void sched_yield(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    leave(vcpu);
    enqueue(vcpu, false);
    spin_unlock(&sched_lock);
}

void sched_yield_to_sibling(struct vcpu *vcpu)
{
    struct fair_group *group = &vcpu->vm->share;
    struct turn *turn;

    spin_lock(&sched_lock);
    turn = leave(vcpu);
    if (group->waiting == 0) {
        turn->leave = group;
    } else if (turn->charged_ns < turn->vm_end_ns) {
        turn->stay = group;
    }
    enqueue(vcpu, false);
    fair_put_last(&vcpu->turn);
    spin_unlock(&sched_lock);
}

void sched_sleep(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    leave(vcpu);
    /* Under the lock, so that a request set after this look finds the vCPU SLEEPING.  Each
     * interrupt comes with one; those that were pending before do not end its activity. */
    if (atomic_load(&vcpu->requests) != 0) {
        enqueue(vcpu, false);
    } else {
        vcpu->state = VCPU_SLEEPING;
    }
    spin_unlock(&sched_lock);
}

void sched_park(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    leave(vcpu);
    if (vcpu->wake_pending) {
        vcpu->wake_pending = false;
        enqueue(vcpu, false);
    } else {
        vcpu->state = VCPU_PARKED;
    }
    spin_unlock(&sched_lock);
}

void sched_stop(struct vcpu *vcpu)
{
    spin_lock(&sched_lock);
    leave(vcpu);
    vcpu->state = VCPU_STOPPED;
    vcpu->waits_since_ns = arch_clock_ns();
    spin_unlock(&sched_lock);
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
