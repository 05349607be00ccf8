/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's timer: Intel SDM vol. 3, "APIC Timer". */
#include "hv/arch.h"
#include "hv/vcpu.h"
#include "hv/vdev/lapic_internal.h"
#include "hv/vm.h"

/* The timer's input clock is 1 GHz, as with KVM: one tick a nanosecond at divide by 1. */

/* A period below this would let a guest keep the host's main loop busy. */
#define TIMER_MIN_PERIOD_NS 100000

/* Longest wait for a TSC deadline in one go: ticks * 1000000 must fit 64 bits. */
#define TSC_DELTA_MAX BIT(44)

static enum lapic_timer_mode timer_mode(const struct lapic *lapic)
{
    return FIELD_GET(LVT_TIMER_MODE, lapic_load(&lapic->lvt[LVT_TIMER]));
}

/* Divide configuration register: bits 3, 1, 0; 111 divides by 1. */
static unsigned divide_shift(const struct lapic *lapic)
{
    unsigned code = (lapic->divide & 3) | ((lapic->divide >> 1) & 4);

    return (code + 1) & 7;
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

/* Arms for tsc_deadline, or says that it has passed already.  Lock held. */
static bool arm_deadline(struct lapic *lapic)
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
    timer_set(&lapic->timer, lapic->target_ns);
    return true;
}

/* Lock held. */
static void stop(struct lapic *lapic)
{
    lapic->target_ns = TIMER_NEVER;
    lapic->tsc_deadline = 0;
    timer_cancel(&lapic->timer);
}

/* The timer has run out: arms the next period.  False: not due after all.  Lock held. */
static bool expire(struct lapic *lapic)
{
    uint64_t now = arch_clock_ns();

    if (lapic->target_ns == TIMER_NEVER) {
        return false; /* stopped while fire() was on its way here */
    }
    if (lapic->target_ns > now) {
        timer_set(&lapic->timer, lapic->target_ns); /* armed again meanwhile */
        return false;
    }
    switch (timer_mode(lapic)) {
    case TIMER_TSC_DEADLINE:
        if (arm_deadline(lapic)) {
            return false;
        }
        lapic->tsc_deadline = 0;
        lapic->target_ns = TIMER_NEVER;
        return true;
    case TIMER_PERIODIC: {
        uint64_t period = MAX(lapic->period_ns, TIMER_MIN_PERIOD_NS);

        /* Periods that were missed (the CPU was busy) are one interrupt. */
        lapic->target_ns += period;
        if (lapic->target_ns <= now) {
            lapic->target_ns = now + period;
        }
        timer_set(&lapic->timer, lapic->target_ns);
        return true;
    }
    default:
        lapic->target_ns = TIMER_NEVER;
        return true;
    }
}

static void fire(struct timer *timer)
{
    struct lapic *lapic = CONTAINER_OF(timer, struct lapic, timer);
    bool expired;

    spin_lock(&lapic->lock);
    expired = expire(lapic);
    spin_unlock(&lapic->lock);
    if (expired) {
        lapic_fire_lvt(lapic, LVT_TIMER);
    }
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
    spin_unlock(&lapic->lock);
}

/* A change between TSC deadline and the counting modes disarms the timer. */
void lapic_timer_set_mode(struct lapic *lapic, uint32_t lvt)
{
    bool was, is;

    spin_lock(&lapic->lock);
    was = timer_mode(lapic) == TIMER_TSC_DEADLINE;
    lapic_store(&lapic->lvt[LVT_TIMER], lvt);
    is = timer_mode(lapic) == TIMER_TSC_DEADLINE;
    if (was != is) {
        stop(lapic);
        lapic->initial_count = 0;
    }
    spin_unlock(&lapic->lock);
}

void lapic_timer_set_count(struct lapic *lapic, uint32_t count)
{
    spin_lock(&lapic->lock);
    if (timer_mode(lapic) != TIMER_TSC_DEADLINE) {
        lapic->initial_count = count;
        lapic->period_ns = (uint64_t)count << divide_shift(lapic);
        if (count == 0) {
            stop(lapic);
        } else {
            lapic->target_ns = arch_clock_ns() + lapic->period_ns;
            timer_set(&lapic->timer, lapic->target_ns);
        }
    }
    spin_unlock(&lapic->lock);
}

/* The count goes on from where it is, at the new rate. */
void lapic_timer_set_divide(struct lapic *lapic, uint32_t divide)
{
    spin_lock(&lapic->lock);
    if (lapic->target_ns != TIMER_NEVER && timer_mode(lapic) != TIMER_TSC_DEADLINE) {
        uint64_t now = arch_clock_ns();
        uint64_t left = lapic->target_ns > now ? lapic->target_ns - now : 0;
        uint64_t ticks = left >> divide_shift(lapic);

        lapic->divide = divide;
        lapic->target_ns = now + (ticks << divide_shift(lapic));
        timer_set(&lapic->timer, lapic->target_ns);
    }
    lapic->divide = divide;
    lapic->period_ns = (uint64_t)lapic->initial_count << divide_shift(lapic);
    spin_unlock(&lapic->lock);
}

uint32_t lapic_timer_count(struct lapic *lapic)
{
    uint64_t now = arch_clock_ns();
    uint32_t count = 0;

    spin_lock(&lapic->lock);
    if (timer_mode(lapic) != TIMER_TSC_DEADLINE && lapic->target_ns != TIMER_NEVER &&
        lapic->target_ns > now) {
        count = (uint32_t)((lapic->target_ns - now) >> divide_shift(lapic));
    }
    spin_unlock(&lapic->lock);
    return count;
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t deadline)
{
    bool passed = false;

    spin_lock(&lapic->lock);
    if (timer_mode(lapic) == TIMER_TSC_DEADLINE) {
        lapic->tsc_deadline = deadline;
        if (deadline == 0) {
            stop(lapic);
        } else if (!arm_deadline(lapic)) {
            stop(lapic);
            passed = true;
        }
    }
    spin_unlock(&lapic->lock);
    if (passed) {
        lapic_fire_lvt(lapic, LVT_TIMER);
    }
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
    uint64_t deadline;

    spin_lock(&lapic->lock);
    deadline = lapic->tsc_deadline;
    spin_unlock(&lapic->lock);
    return deadline;
}
