/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run.h"

#include "base/log.h"
#include "hv/exit.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/sched.h"
#include "hv/vcpu_request.h"
#include "hv/vdev/lapic.h"
#include "hv/vm_control.h"

/* A vCPU that spins on a lock goes behind whoever may hold it: more than the preference for staying
 * on a CPU is worth. */
#define SPIN_PENALTY_NS 3000000ull

/* Why the CPU lets go of the vCPU. */
enum leave {
    LEAVE_NOT, /* stays: enter the guest again */
    LEAVE_YIELD,
    LEAVE_SLEEP,
    LEAVE_PARK,
    LEAVE_STOP,
};

/* Chooses what the next entry delivers, and asks for a window for what has to wait. */
static void prepare_events(struct vcpu *vcpu)
{
    const struct vcpu_backend *backend = machine_backend();
    int vector = lapic_highest_pending(vcpu->lapic);
    bool want_interrupt = vector >= 0;
    bool want_nmi = vcpu->nmi_pending;

    if (!want_interrupt && !want_nmi) {
        return;
    }
    if (!vcpu->event.valid && want_nmi && backend->nmi_allowed(vcpu)) {
        vcpu->event = (struct guest_event){.valid = true, .vector = 2, .type = EVENT_NMI};
        vcpu->nmi_pending = false;
        want_nmi = false;
    } else if (!vcpu->event.valid && want_interrupt && backend->interruptible(vcpu)) {
        lapic_accept(vcpu->lapic, (unsigned)vector);
        vcpu->event =
            (struct guest_event){.valid = true, .vector = (uint8_t)vector, .type = EVENT_INTERRUPT};
        want_interrupt = lapic_highest_pending(vcpu->lapic) >= 0;
    }
    if (want_interrupt || want_nmi) {
        backend->request_window(vcpu, want_interrupt, want_nmi);
    }
}

/* HLT ends when something can be delivered. */
static bool activity_ends(struct vcpu *vcpu)
{
    if (vcpu->activity == ACTIVITY_WAIT_SIPI) {
        return false;
    }
    if (vcpu->nmi_pending || vcpu->event.valid || lapic_highest_pending(vcpu->lapic) >= 0) {
        vcpu->activity = ACTIVITY_ACTIVE;
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
    prepare_events(vcpu);
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
    case EXIT_PARK:
        vcpu->park_start_ns = arch_clock_ns();
        return LEAVE_PARK;
    case EXIT_FAIL:
    case EXIT_STOP:
        return LEAVE_NOT; /* the VM's end has put VCPU_REQUEST_STOP into the requests */
    }
    panic("exit handler returned %d", result);
}

/* The loaded vCPU until it has a reason to leave. */
static enum leave run_loaded(struct vcpu *vcpu, uint64_t start_ns)
{
    const struct vcpu_backend *backend = machine_backend();
    uint64_t slice_end = start_ns + SCHED_SLICE_NS;

    for (;;) {
        struct vcpu_exit exit;
        enum leave leave = before_entry(vcpu);

        if (leave != LEAVE_NOT) {
            return leave;
        }
        loop_arm_timer(slice_end);
        backend->run(vcpu, &exit);
        vcpu->exits[exit.kind]++;
        leave = after_exit(vcpu, exit_dispatch(vcpu, &exit));
        if (leave != LEAVE_NOT) {
            return leave;
        }
        if (exit.kind == EXIT_KIND_PAUSE && sched_waiting()) {
            vcpu->vruntime_ns += SPIN_PENALTY_NS;
            return LEAVE_YIELD;
        }
        if (exit.kind == EXIT_KIND_INTERRUPT || loop_work_pending()) {
            uint64_t now;

            loop_poll();
            now = arch_clock_ns();
            if (sched_should_yield(now - start_ns)) {
                return LEAVE_YIELD;
            }
            if (now >= slice_end) {
                slice_end = now + SCHED_SLICE_NS;
            }
        }
    }
}

void run_vcpu(struct vcpu *vcpu)
{
    uint64_t start = arch_clock_ns();
    enum leave leave;

    if (vcpu->park_start_ns != 0) {
        vcpu->stall_ns += start - vcpu->park_start_ns;
        vcpu->park_start_ns = 0;
    }
    /* Not woken by its waiter but by a stop request or by chance: it will ask again. */
    space_cancel_wait(&vcpu->waiter);
    machine_backend()->load(vcpu);
    leave = run_loaded(vcpu, start);
    machine_backend()->put(vcpu);
    sched_account(vcpu, arch_clock_ns() - start);

    switch (leave) {
    case LEAVE_NOT:
    case LEAVE_YIELD:
        sched_yield(vcpu);
        break;
    case LEAVE_SLEEP:
        sched_sleep(vcpu);
        break;
    case LEAVE_PARK:
        sched_park(vcpu);
        break;
    case LEAVE_STOP:
        sched_stop(vcpu);
        loop_wake_vms();
        break;
    }
}
