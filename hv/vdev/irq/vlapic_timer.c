/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's timer: Intel SDM vol. 3, "APIC Timer". */
#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/irq/vlapic_internal.h"

/* The timer's input clock is 1 GHz, as with KVM: one tick a nanosecond at divide by 1. */

/* A shorter period would let a guest keep the host's main loop busy; KVM has the same floor. */
#define TIMER_MIN_PERIOD_NS 200000

/* Longest wait for a TSC deadline in one go: ticks * 1000000 must fit 64 bits. */
#define TSC_DELTA_MAX BIT(44)

/* ---- figures; lock held --------------------------------------------------------------------- */

static enum apic_timer_mode timer_mode(const struct vlapic *vlapic)
{
    return FIELD_GET(LVT_TIMER_MODE, vlapic_load(&vlapic->lvt[LVT_TIMER]));
}

static bool masked(const struct vlapic *vlapic)
{
    return vlapic_load(&vlapic->lvt[LVT_TIMER]) & LVT_MASKED;
}

/* The last interrupt has not been taken yet: one more would be lost in it. */
static bool pending(const struct vlapic *vlapic)
{
    return vlapic_irr_is_set(vlapic, FIELD_GET(LVT_VECTOR, vlapic_load(&vlapic->lvt[LVT_TIMER])));
}

/* Divide configuration register: bits 3, 1, 0; 111 divides by 1. */
static unsigned divide_shift(const struct vlapic *vlapic)
{
    unsigned code = (vlapic->divide & 3) | ((vlapic->divide >> 1) & 4);

    return (code + 1) & 7;
}

static uint64_t period(const struct vlapic *vlapic)
{
    return MAX(vlapic->period_ns, TIMER_MIN_PERIOD_NS);
}

static uint64_t guest_tsc(const struct vlapic *vlapic)
{
    return arch_tsc() + __atomic_load_n(&vlapic->vcpu->msr_tsc_offset, __ATOMIC_RELAXED);
}

static uint64_t tsc_khz(const struct vlapic *vlapic)
{
    uint64_t khz = vlapic->vcpu->vm->tsc_khz;

    return khz != 0 ? khz : arch_tsc_khz();
}

/* ---- the host's timer; lock held ------------------------------------------------------------ */

/*
 * The host's timer runs only for an interrupt that the vCPU can take: not while it waits for a CPU
 * or for memory (it looks again when it runs), not while the interrupt is masked, and for the next
 * period not before it has taken that of the last.  So a timer costs nobody but its own vCPU.
 */
static void arm(struct vlapic *vlapic)
{
    bool wanted = vlapic->target_ns != TIMER_NEVER && vlapic->present && !masked(vlapic);
    bool held = wanted && timer_mode(vlapic) == TIMER_PERIODIC && pending(vlapic);

    atomic_store(&vlapic->timer_held, held);
    /* Sent after the look above and before the store, it is taken without an arm(): look again. */
    if (held && !pending(vlapic)) {
        atomic_store(&vlapic->timer_held, false);
        held = false;
    }
    if (wanted && !held) {
        timer_set(&vlapic->timer, vlapic->target_ns);
    } else {
        timer_cancel(&vlapic->timer);
    }
}

static void stop(struct vlapic *vlapic)
{
    vlapic->target_ns = TIMER_NEVER;
    vlapic->tsc_deadline = 0;
}

/* When tsc_deadline is; false: it has passed. */
static bool aim_at_deadline(struct vlapic *vlapic)
{
    uint64_t now = guest_tsc(vlapic);
    uint64_t khz = tsc_khz(vlapic);
    uint64_t delta;

    if (now >= vlapic->tsc_deadline) {
        return false;
    }
    delta = MIN(vlapic->tsc_deadline - now, TSC_DELTA_MAX);
    /* Rounded up, so that the guest's TSC has reached the deadline when the timer fires. */
    vlapic->target_ns = arch_clock_ns() + (delta * 1000000 + khz - 1) / khz;
    return true;
}

/* What has come due since the last look has come due.  True: with an interrupt. */
static bool elapse(struct vlapic *vlapic)
{
    uint64_t now = arch_clock_ns();

    if (vlapic->target_ns == TIMER_NEVER || vlapic->target_ns > now) {
        return false;
    }
    switch (timer_mode(vlapic)) {
    case TIMER_TSC_DEADLINE:
        if (aim_at_deadline(vlapic)) {
            return false; /* further than one wait can be */
        }
        stop(vlapic);
        break;
    case TIMER_PERIODIC:
        /* Periods that were missed (the vCPU did not run) are one interrupt. */
        vlapic->target_ns = now + period(vlapic) - (now - vlapic->target_ns) % period(vlapic);
        break;
    default:
        vlapic->target_ns = TIMER_NEVER;
        break;
    }
    return !masked(vlapic);
}

/* ---- without the lock ----------------------------------------------------------------------- */

/* Ends what lock_and_elapse() began. */
static void fire_and_unlock(struct vlapic *vlapic, bool due)
{
    if (due) {
        vlapic_fire_lvt(vlapic, LVT_TIMER);
    }
    arm(vlapic);
    spin_unlock(&vlapic->lock);
}

/* Every operation begins with this: what had to happen before has happened. */
static bool lock_and_elapse(struct vlapic *vlapic)
{
    spin_lock(&vlapic->lock);
    return elapse(vlapic);
}

/* From the main loop, maybe inside another vCPU's turn: whose timer it is pays for it. */
static void fire(struct timer *timer)
{
    struct vlapic *vlapic = CONTAINER_OF(timer, struct vlapic, timer);
    struct vcpu *vcpu = vlapic->vcpu;
    uint64_t begin = arch_clock_ns();

    fire_and_unlock(vlapic, lock_and_elapse(vlapic));
    vcpu_charge_service(vcpu, arch_clock_ns() - begin);
}

void vlapic_begin_run(struct vlapic *vlapic)
{
    bool due;

    /* Often there is nothing to do, and this is on the way of every vCPU that comes to run. */
    if (vlapic->present && vlapic->target_ns == TIMER_NEVER) {
        return;
    }
    due = lock_and_elapse(vlapic);
    vlapic->present = true;
    fire_and_unlock(vlapic, due);
}

void vlapic_end_run(struct vlapic *vlapic)
{
    spin_lock(&vlapic->lock);
    vlapic->present = false;
    arm(vlapic);
    spin_unlock(&vlapic->lock);
}

void vlapic_timer_accepted(struct vlapic *vlapic)
{
    (void)lock_and_elapse(vlapic); /* the periods that went by meanwhile were in that interrupt */
    fire_and_unlock(vlapic, false);
}

void vlapic_timer_init(struct vlapic *vlapic)
{
    spin_init(&vlapic->lock, RANK_VLAPIC, "vlapic");
    timer_init(&vlapic->timer, fire);
    vlapic->target_ns = TIMER_NEVER;
}

void vlapic_timer_reset(struct vlapic *vlapic)
{
    spin_lock(&vlapic->lock);
    stop(vlapic);
    vlapic->initial_count = 0;
    vlapic->divide = 0;
    vlapic->period_ns = 0;
    arm(vlapic);
    spin_unlock(&vlapic->lock);
}

/* A change between TSC deadline and the counting modes disarms the timer. */
void vlapic_timer_set_mode(struct vlapic *vlapic, uint32_t lvt)
{
    bool due = lock_and_elapse(vlapic);
    bool was = timer_mode(vlapic) == TIMER_TSC_DEADLINE;

    if (due) { /* of the old mode, with the old vector */
        vlapic_fire_lvt(vlapic, LVT_TIMER);
    }
    vlapic_store(&vlapic->lvt[LVT_TIMER], lvt);
    if (was != (timer_mode(vlapic) == TIMER_TSC_DEADLINE)) {
        stop(vlapic);
        vlapic->initial_count = 0;
    }
    fire_and_unlock(vlapic, false);
}

void vlapic_timer_set_count(struct vlapic *vlapic, uint32_t count)
{
    bool due = lock_and_elapse(vlapic);

    if (timer_mode(vlapic) != TIMER_TSC_DEADLINE) {
        vlapic->initial_count = count;
        vlapic->period_ns = (uint64_t)count << divide_shift(vlapic);
        vlapic->target_ns = count == 0 ? TIMER_NEVER : arch_clock_ns() + vlapic->period_ns;
    }
    fire_and_unlock(vlapic, due);
}

/* The count goes on from where it is, at the new rate. */
void vlapic_timer_set_divide(struct vlapic *vlapic, uint32_t divide)
{
    bool due = lock_and_elapse(vlapic);

    if (vlapic->target_ns != TIMER_NEVER && timer_mode(vlapic) != TIMER_TSC_DEADLINE) {
        uint64_t now = arch_clock_ns();
        uint64_t ticks = (vlapic->target_ns - MIN(vlapic->target_ns, now)) >> divide_shift(vlapic);

        vlapic->divide = divide;
        vlapic->target_ns = now + (ticks << divide_shift(vlapic));
    }
    vlapic->divide = divide;
    vlapic->period_ns = (uint64_t)vlapic->initial_count << divide_shift(vlapic);
    fire_and_unlock(vlapic, due);
}

uint32_t vlapic_timer_count(struct vlapic *vlapic)
{
    bool due = lock_and_elapse(vlapic);
    uint32_t count = 0;

    if (timer_mode(vlapic) != TIMER_TSC_DEADLINE && vlapic->target_ns != TIMER_NEVER) {
        uint64_t now = arch_clock_ns();

        count =
            (uint32_t)((vlapic->target_ns - MIN(vlapic->target_ns, now)) >> divide_shift(vlapic));
    }
    fire_and_unlock(vlapic, due);
    return count;
}

void vlapic_timer_set_deadline(struct vlapic *vlapic, uint64_t deadline)
{
    bool due = lock_and_elapse(vlapic);

    if (timer_mode(vlapic) == TIMER_TSC_DEADLINE) {
        stop(vlapic);
        vlapic->tsc_deadline = deadline;
        if (deadline != 0 && !aim_at_deadline(vlapic)) {
            stop(vlapic);
            due = !masked(vlapic);
        }
    }
    fire_and_unlock(vlapic, due);
}

void vlapic_tsc_changed(struct vcpu *vcpu)
{
    uint64_t deadline = vlapic_tsc_deadline(vcpu->vlapic);

    if (deadline != 0) {
        vlapic_timer_set_deadline(vcpu->vlapic, deadline);
    }
}

uint64_t vlapic_tsc_deadline(struct vlapic *vlapic)
{
    bool due = lock_and_elapse(vlapic);
    uint64_t deadline = vlapic->tsc_deadline;

    fire_and_unlock(vlapic, due);
    return deadline;
}
