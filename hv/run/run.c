/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/run.h"

#include "base/log.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/run/exit.h"
#include "hv/run/sched.h"
#include "hv/run/vcpu_request.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/lines.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmsteal.h"

/* After so many PAUSEs in a turn we call it a loop, where the CPU does not see that by itself. */
#define PAUSES_IN_VAIN 3u

_Static_assert(GUEST_STAY_MAX_NS > FAIR_SLICE_NS, "the guard ends no stay that the timer ends");

/* Exits between two looks at the clock, should no interrupt end a stay: see shall_poll(). */
#define EXITS_UNTIMED 32

/* Why the CPU lets go of the vCPU. */
enum leave {
    LEAVE_NOT, /* stays: enter the guest again */
    LEAVE_YIELD,
    LEAVE_SPIN, /* it only waits for another vCPU */
    LEAVE_SLEEP,
    LEAVE_PARK,
    LEAVE_STOP,
};

static bool interrupt_pending(const struct vcpu *vcpu)
{
    return vlapic_extint_pending(vcpu->vlapic) || vlapic_highest_pending(vcpu->vlapic) >= 0;
}

/* Takes the pending interrupt; returns its vector. */
static uint8_t acknowledge(struct vcpu *vcpu)
{
    int vector;

    if (vlapic_extint_pending(vcpu->vlapic)) {
        return lines_acknowledge(vcpu->vm->run.lines);
    }
    vector = vlapic_highest_pending(vcpu->vlapic);
    vlapic_accept(vcpu->vlapic, (unsigned)vector);
    return (uint8_t)vector;
}

/* Chooses what the next entry delivers, and asks for a window for what has to wait. */
static void prepare_events(struct vcpu *vcpu)
{
    const struct vcpu_backend *backend;
    bool want_interrupt = vcpu_may_have_interrupt(vcpu) && interrupt_pending(vcpu);
    bool want_nmi = vcpu->nmis > 0;

    if (!want_interrupt && !want_nmi) {
        return;
    }
    backend = machine_backend();
    if (!vcpu->event.valid && want_nmi && backend->nmi_allowed(vcpu)) {
        vcpu->event = (struct guest_event){.valid = true, .vector = 2, .type = EVENT_NMI};
        want_nmi = --vcpu->nmis > 0;
    } else if (!vcpu->event.valid && want_interrupt && backend->interruptible(vcpu)) {
        vcpu->event = (struct guest_event){
            .valid = true, .vector = acknowledge(vcpu), .type = EVENT_INTERRUPT};
        want_interrupt = interrupt_pending(vcpu);
    }
    if (want_interrupt || want_nmi) {
        backend->request_window(vcpu, want_interrupt, want_nmi);
    }
}

/* HLT ends when something can be delivered: with IF = 0 no interrupt, in an NMI's handler no NMI.
 * Or by a kick, which is for one HLT, and may come before it. */
static bool activity_ends(struct vcpu *vcpu)
{
    const struct vcpu_backend *backend = machine_backend();

    if (vcpu->activity == ACTIVITY_WAIT_SIPI) {
        return false;
    }
    if (vcpu->kicked || vcpu->event.valid || (vcpu->nmis > 0 && backend->nmi_allowed(vcpu)) ||
        (interrupt_pending(vcpu) && backend->interruptible(vcpu))) {
        vcpu->activity = ACTIVITY_ACTIVE;
        vcpu->kicked = false;
        return true;
    }
    return false;
}

static enum leave before_entry(struct vcpu *vcpu)
{
    if (atomic_load_explicit(&vcpu->requests, memory_order_acquire) != 0 &&
        vcpu_take_requests(vcpu)) {
        return LEAVE_STOP;
    }
    if (vcpu->activity != ACTIVITY_ACTIVE && !activity_ends(vcpu)) {
        return LEAVE_SLEEP;
    }
    if (vcpu->lent_pages == 0) { /* else it is in the middle of an instruction */
        prepare_events(vcpu);
    }
    return LEAVE_NOT;
}

static enum leave after_exit(struct vcpu *vcpu, enum exit_result result)
{
    switch (result) {
    case EXIT_RESUME:
        return LEAVE_NOT;
    case EXIT_HALT:
        vcpu->activity = ACTIVITY_HALTED;
        return LEAVE_NOT;
    case EXIT_YIELD:
        return LEAVE_SPIN;
    case EXIT_PARK:
        return LEAVE_PARK;
    case EXIT_FAIL:
        return LEAVE_NOT; /* the VM's end has put VCPU_REQUEST_STOP into the requests */
    }
    panic("exit handler returned %d", result);
}

/* A PAUSE has exited: does the vCPU only wait for another one? */
static bool spins(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    vcpu->pauses++;
    return sched_waiting() &&
           (exit->pause.in_loop || vcpu->called_sibling || vcpu->pauses >= PAUSES_IN_VAIN);
}

/*
 * An interrupt, or the time for one.  The guard ends a long stay, but starts anew at each entry:
 * with interrupts lost, a guest that exits without end would keep the CPU.
 */
static bool shall_poll(enum exit_kind kind, unsigned *untimed)
{
    if (kind == EXIT_KIND_INTERRUPT || kind == EXIT_KIND_GUARD) {
        return true;
    }
    if (++*untimed < EXITS_UNTIMED) {
        return loop_work_pending();
    }
    *untimed = 0;
    if (arch_clock_ns() < sched_slice_end()) {
        return loop_work_pending();
    }
    arch_take_interrupts();
    return true;
}

/* The guest may change its task priority without an exit: SVM. */
static void run_guest(const struct vcpu_backend *backend, struct vcpu *vcpu, struct vcpu_exit *exit)
{
    if (!backend->keeps_tpr) {
        backend->run(vcpu, exit);
    } else {
        uint64_t tpr = vlapic_get_tpr(vcpu->vlapic);

        vcpu->regs.cr8 = tpr;
        backend->run(vcpu, exit);
        if (vcpu->regs.cr8 != tpr) {
            vlapic_set_tpr(vcpu->vlapic, vcpu->regs.cr8);
        }
    }
}

/* One stay in the guest. */
static void enter(const struct vcpu_backend *backend, struct vcpu *vcpu, struct vcpu_exit *exit)
{
    vcpu->pause_exits = sched_sibling_waits(vcpu);
    if (vcpu->eoi_word == NULL) {
        run_guest(backend, vcpu, exit);
    } else {
        vlapic_eoi_offer(vcpu);
        run_guest(backend, vcpu, exit);
        if (vcpu->eoi_offered) {
            vlapic_eoi_take(vcpu);
        }
    }
    vcpu->exits[exit->kind]++;
}

/* Runs the loaded vCPU until it has a reason to leave. */
static enum leave run_loaded(struct vcpu *vcpu)
{
    const struct vcpu_backend *backend = machine_backend();
    uint64_t slice_end = sched_slice_end(); /* who shortens it kicks this CPU */
    unsigned untimed = 0;

    for (;;) {
        struct vcpu_exit exit;
        enum leave leave = before_entry(vcpu);

        if (leave != LEAVE_NOT) {
            return leave;
        }
        loop_arm_timer(slice_end);
        enter(backend, vcpu, &exit);
        if (vcpu->lent_pages != 0) {
            arch_guest_step_exit(vcpu, &exit);
        }
        leave = after_exit(vcpu, exit_dispatch(vcpu, &exit));
        if (leave != LEAVE_NOT) {
            return leave;
        }
        if (vcpu->waiter.asked) {
            waiter_end_turn(&vcpu->waiter);
        }
        if (exit.kind == EXIT_KIND_PAUSE && spins(vcpu, &exit)) {
            return LEAVE_SPIN;
        }
        if (shall_poll(exit.kind, &untimed)) {
            vm_devices_look(vcpu->vm, false);
            loop_poll();
            sched_tick(vcpu);
            if (sched_should_yield(arch_clock_ns())) {
                return LEAVE_YIELD;
            }
            slice_end = sched_slice_end();
        }
    }
}

/* Notes that it waits for memory from now on. */
static void begin_stall(struct vcpu *vcpu)
{
    uint64_t now = arch_clock_ns();

    atomic_store(&vcpu->stall, VCPU_STALL_NOW | (now - vcpu_stall_ns(vcpu, now)));
    atomic_store(&vcpu->stalled_since_ns, now);
}

/* It runs again.  Perhaps it was not woken by its waiter but by a stop request or by chance: it
 * will ask again. */
static void end_stall(struct vcpu *vcpu)
{
    if (atomic_load_explicit(&vcpu->stalled_since_ns, memory_order_relaxed) == 0) {
        return; /* it did not wait for memory: the lock of all who do is none of its business */
    }
    atomic_store(&vcpu->stall, vcpu_stall_ns(vcpu, arch_clock_ns()));
    atomic_store(&vcpu->stalled_since_ns, 0);
    waiter_stop(&vcpu->waiter);
}

static enum leave run_once(struct vcpu *vcpu)
{
    enum leave leave;

    end_stall(vcpu);
    vcpu->pauses = 0;
    vcpu->called_sibling = false;
    machine_backend()->load(vcpu);
    kvmsteal_begin_run(vcpu);
    vlapic_begin_run(vcpu->vlapic);
    vm_devices_begin_run(vcpu->vm);
    leave = run_loaded(vcpu);
    vm_devices_look(vcpu->vm, leave == LEAVE_SLEEP);
    if (vcpu->lent_pages != 0) {
        arch_guest_step_end(vcpu);
    }
    if (leave != LEAVE_PARK) {
        waiter_end_turn(&vcpu->waiter);
    }
    if (leave != LEAVE_SLEEP) {
        vlapic_end_run(vcpu->vlapic);
    }
    kvmsteal_end_run(vcpu);
    machine_backend()->put(vcpu);
    return leave;
}

void run_vcpu(struct vcpu *vcpu)
{
    switch (run_once(vcpu)) {
    case LEAVE_NOT:
    case LEAVE_YIELD:
        sched_yield(vcpu);
        break;
    case LEAVE_SPIN:
        sched_yield_to_sibling(vcpu);
        break;
    case LEAVE_SLEEP:
        sched_sleep(vcpu);
        break;
    case LEAVE_PARK:
        begin_stall(vcpu);
        sched_park(vcpu);
        break;
    case LEAVE_STOP:
        sched_stop(vcpu);
        loop_wake_vms();
        break;
    }
}
