/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's timer: Intel SDM vol. 3, "APIC Timer". */
#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/lapic_internal.h"

/* The timer's input clock is 1 GHz, as with KVM: one tick a nanosecond at divide by 1. */

/* A shorter period would let a guest keep the host's main loop busy; KVM has the same floor. */
#define TIMER_MIN_PERIOD_NS 200000

/* Longest wait for a TSC deadline in one go: ticks * 1000000 must fit 64 bits. */
#define TSC_DELTA_MAX BIT(44)

/* ---- figures; lock held --------------------------------------------------------------------- */

static enum lapic_timer_mode timer_mode(const struct lapic *lapic)
{
    return FIELD_GET(LVT_TIMER_MODE, lapic_load(&lapic->lvt[LVT_TIMER]));
}

static bool masked(const struct lapic *lapic)
{
    return lapic_load(&lapic->lvt[LVT_TIMER]) & LVT_MASKED;
}

/* The last interrupt has not been taken yet: one more would be lost in it. */
static bool pending(const struct lapic *lapic)
{
    return lapic_irr_is_set(lapic, FIELD_GET(LVT_VECTOR, lapic_load(&lapic->lvt[LVT_TIMER])));
}

/* Divide configuration register: bits 3, 1, 0; 111 divides by 1. */
static unsigned divide_shift(const struct lapic *lapic)
{
    unsigned code = (lapic->divide & 3) | ((lapic->divide >> 1) & 4);

    return (code + 1) & 7;
}

static uint64_t period(const struct lapic *lapic)
{
    return MAX(lapic->period_ns, TIMER_MIN_PERIOD_NS);
}

static uint64_t guest_tsc(const struct lapic *lapic)
{
    return arch_tsc() + __atomic_load_n(&lapic->vcpu->msr_tsc_offset, __ATOMIC_RELAXED);
}

static uint64_t tsc_khz(const struct lapic *lapic)
{
    uint64_t khz = lapic->vcpu->vm->tsc_khz;

    return khz != 0 ? khz : arch_tsc_khz();
}

/* ---- the host's timer; lock held ------------------------------------------------------------ */

/*
 * The host's timer runs only for an interrupt that the vCPU can take: not while it waits for a CPU
 * or for memory (it looks again when it runs), not while the interrupt is masked, and for the next
 * period not before it has taken that of the last.  So a timer costs nobody but its own vCPU.
 */
static void arm(struct lapic *lapic)
{
    bool wanted = lapic->target_ns != TIMER_NEVER && lapic->present && !masked(lapic);
    bool held = wanted && timer_mode(lapic) == TIMER_PERIODIC && pending(lapic);

    atomic_store(&lapic->timer_held, held);
    /* Sent after the look above and before the store, it is taken without an arm(): look again. */
    if (held && !pending(lapic)) {
        atomic_store(&lapic->timer_held, false);
        held = false;
    }
    if (wanted && !held) {
        timer_set(&lapic->timer, lapic->target_ns);
    } else {
        timer_cancel(&lapic->timer);
    }
}

static void stop(struct lapic *lapic)
{
    lapic->target_ns = TIMER_NEVER;
    lapic->tsc_deadline = 0;
}

/* When tsc_deadline is; false: it has passed. */
static bool aim_at_deadline(struct lapic *lapic)
{
    uint64_t now = guest_tsc(lapic);
    uint64_t khz = tsc_khz(lapic);
    uint64_t delta;

    if (now >= lapic->tsc_deadline) {
        return false;
    }
    delta = MIN(lapic->tsc_deadline - now, TSC_DELTA_MAX);
    /* Rounded up, so that the guest's TSC has reached the deadline when the timer fires. */
    lapic->target_ns = arch_clock_ns() + (delta * 1000000 + khz - 1) / khz;
    return true;
}

/* What has come due since the last look has come due.  True: with an interrupt. */
static bool elapse(struct lapic *lapic)
{
    uint64_t now = arch_clock_ns();

    if (lapic->target_ns == TIMER_NEVER || lapic->target_ns > now) {
        return false;
    }
    switch (timer_mode(lapic)) {
    case TIMER_TSC_DEADLINE:
        if (aim_at_deadline(lapic)) {
            return false; /* further than one wait can be */
        }
        stop(lapic);
        break;
    case TIMER_PERIODIC:
        /* Periods that were missed (the vCPU did not run) are one interrupt. */
        lapic->target_ns = now + period(lapic) - (now - lapic->target_ns) % period(lapic);
        break;
    default:
        lapic->target_ns = TIMER_NEVER;
        break;
    }
    return !masked(lapic);
}

/* ---- without the lock ----------------------------------------------------------------------- */

/* Ends what lock_and_elapse() began. */
static void fire_and_unlock(struct lapic *lapic, bool due)
{
    if (due) {
        lapic_fire_lvt(lapic, LVT_TIMER);
    }
    arm(lapic);
    spin_unlock(&lapic->lock);
}

/* Every operation begins with this: what had to happen before has happened. */
static bool lock_and_elapse(struct lapic *lapic)
{
    spin_lock(&lapic->lock);
    return elapse(lapic);
}

/* From the main loop, maybe inside another vCPU's turn: whose timer it is pays for it. */
static void fire(struct timer *timer)
{
    struct lapic *lapic = CONTAINER_OF(timer, struct lapic, timer);
    struct vcpu *vcpu = lapic->vcpu;
    uint64_t begin = arch_clock_ns();

    fire_and_unlock(lapic, lock_and_elapse(lapic));
    vcpu_charge_service(vcpu, arch_clock_ns() - begin);
}

void lapic_begin_run(struct lapic *lapic)
{
    bool due;

    /* Often there is nothing to do, and this is on the way of every vCPU that comes to run. */
    if (lapic->present && lapic->target_ns == TIMER_NEVER) {
        return;
    }
    due = lock_and_elapse(lapic);
    lapic->present = true;
    fire_and_unlock(lapic, due);
}

void lapic_end_run(struct lapic *lapic)
{
    spin_lock(&lapic->lock);
    lapic->present = false;
    arm(lapic);
    spin_unlock(&lapic->lock);
}

void lapic_timer_accepted(struct lapic *lapic)
{
    (void)lock_and_elapse(lapic); /* the periods that went by meanwhile were in that interrupt */
    fire_and_unlock(lapic, false);
}

void lapic_timer_init(struct lapic *lapic)
{
    spin_init(&lapic->lock, RANK_VLAPIC, "vlapic");
    timer_init(&lapic->timer, fire);
    lapic->target_ns = TIMER_NEVER;
}

void lapic_timer_reset(struct lapic *lapic)
{
    spin_lock(&lapic->lock);
    stop(lapic);
    lapic->initial_count = 0;
    lapic->divide = 0;
    lapic->period_ns = 0;
    arm(lapic);
    spin_unlock(&lapic->lock);
}

/* A change between TSC deadline and the counting modes disarms the timer. */
void lapic_timer_set_mode(struct lapic *lapic, uint32_t lvt)
{
    bool due = lock_and_elapse(lapic);
    bool was = timer_mode(lapic) == TIMER_TSC_DEADLINE;

    if (due) { /* of the old mode, with the old vector */
        lapic_fire_lvt(lapic, LVT_TIMER);
    }
    lapic_store(&lapic->lvt[LVT_TIMER], lvt);
    if (was != (timer_mode(lapic) == TIMER_TSC_DEADLINE)) {
        stop(lapic);
        lapic->initial_count = 0;
    }
    fire_and_unlock(lapic, false);
}

void lapic_timer_set_count(struct lapic *lapic, uint32_t count)
{
    bool due = lock_and_elapse(lapic);

    if (timer_mode(lapic) != TIMER_TSC_DEADLINE) {
        lapic->initial_count = count;
        lapic->period_ns = (uint64_t)count << divide_shift(lapic);
        lapic->target_ns = count == 0 ? TIMER_NEVER : arch_clock_ns() + lapic->period_ns;
    }
    fire_and_unlock(lapic, due);
}

/* The count goes on from where it is, at the new rate. */
void lapic_timer_set_divide(struct lapic *lapic, uint32_t divide)
{
    bool due = lock_and_elapse(lapic);

    if (lapic->target_ns != TIMER_NEVER && timer_mode(lapic) != TIMER_TSC_DEADLINE) {
        uint64_t now = arch_clock_ns();
        uint64_t ticks = (lapic->target_ns - MIN(lapic->target_ns, now)) >> divide_shift(lapic);

        lapic->divide = divide;
        lapic->target_ns = now + (ticks << divide_shift(lapic));
    }
    lapic->divide = divide;
    lapic->period_ns = (uint64_t)lapic->initial_count << divide_shift(lapic);
    fire_and_unlock(lapic, due);
}

uint32_t lapic_timer_count(struct lapic *lapic)
{
    bool due = lock_and_elapse(lapic);
    uint32_t count = 0;

    if (timer_mode(lapic) != TIMER_TSC_DEADLINE && lapic->target_ns != TIMER_NEVER) {
        uint64_t now = arch_clock_ns();

        count = (uint32_t)((lapic->target_ns - MIN(lapic->target_ns, now)) >> divide_shift(lapic));
    }
    fire_and_unlock(lapic, due);
    return count;
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t deadline)
{
    bool due = lock_and_elapse(lapic);

    if (timer_mode(lapic) == TIMER_TSC_DEADLINE) {
        stop(lapic);
        lapic->tsc_deadline = deadline;
        if (deadline != 0 && !aim_at_deadline(lapic)) {
            stop(lapic);
            due = !masked(lapic);
        }
    }
    fire_and_unlock(lapic, due);
}

void lapic_tsc_changed(struct vcpu *vcpu)
{
    uint64_t deadline = lapic_tsc_deadline(vcpu->lapic);

    if (deadline != 0) {
        lapic_timer_set_deadline(vcpu->lapic, deadline);
    }
}

uint64_t lapic_tsc_deadline(struct lapic *lapic)
{
    bool due = lock_and_elapse(lapic);
    uint64_t deadline = lapic->tsc_deadline;

    fire_and_unlock(lapic, due);
    return deadline;
}
