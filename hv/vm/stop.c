/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stop: the guest is asked to power off by its power button; when it does not within a period
 * of grace, its power is cut.  The period is short for one that does not hear the button, and long
 * for one that has: a data base has to be written first.
 *
 * The period counts the time that the guest had: not while it is paused, nor while all of it
 * waits for pages or for a CPU.  That is sampled by vm_poll(), which a timer calls so long as some
 * VM has been asked.
 *
 * A guest that sleeps (s2idle) takes a press for waking up alone, as a PC does: after some seconds
 * there is a second one.
 */
#include "base/bits.h"
#include "base/log.h"
#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/timer.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"

#define DEAF_S  10u /* has not heard the button */
#define GRACE_S 90u /* has: as long as systemd waits for a service that stops */
#define AGAIN_S 3u  /* after so many the button is pressed a second time */
#define TICK_NS 100000000ull

/* Both under the list's lock; fire() uses neither. */
static struct timer tick;
static bool tick_ready;

static void tick_fire(struct timer *timer)
{
    (void)timer;
    loop_wake_vms();
}

static void arm_tick(uint64_t now)
{
    if (!tick_ready) {
        timer_init(&tick, tick_fire);
        tick_ready = true;
    }
    timer_set(&tick, now + TICK_NS);
}

/* Some vCPU runs, or all sleep because they want to. */
static bool has_its_time(const struct vm *vm)
{
    bool waits = false;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        uint32_t state = atomic_load_explicit(&vm->run.vcpu[i]->state, memory_order_relaxed);

        if (state == VCPU_RUNNING) {
            return true;
        }
        waits |= state == VCPU_RUNNABLE || state == VCPU_PARKED;
    }
    return !waits;
}

static void press(struct vm *vm)
{
    vm->run.stop_ns = vm->run.stop_seen_ns = arch_clock_ns();
    vm->run.stop_spent_ns = 0;
    vm->run.stop_heard = false;
    vm_devices_press_power_button(vm);
    arm_tick(vm->run.stop_ns);
    vm_log(vm, LOG_INFO,
           "vm %s: power button pressed; its power is cut after %u s of its running time, or %u s "
           "when it has heard it",
           vm->name, DEAF_S, GRACE_S);
}

/* The VM's lock is held. */
static bool stop(struct vm *vm, struct vm_answer *answer)
{
    if (vm->state == VM_LOADING) {
        vm_set_ending(vm, VM_OUTCOME_STOPPED, 0); /* nobody is there to be asked */
        return true;
    }
    if (vm_stay_off(vm)) {
        return true;
    }
    if (vm->state != VM_RUNNING) {
        return vm_refuse(answer, vm->state == VM_PAUSED
                                     ? "expected a VM that is running: resume or kill it"
                                     : "expected a VM that is not stopped");
    }
    if (vm->run.stop_ns != 0) {
        return vm_refuse(answer, "its power button has been pressed already; kill cuts its power "
                                 "at once");
    }
    press(vm);
    return true;
}

bool vm_stop(struct vm *vm, struct vm_answer *answer)
{
    bool done;

    spin_lock(&vm->lock);
    done = stop(vm, answer);
    spin_unlock(&vm->lock);
    return done;
}

/* So much of the period has gone by; presses the button again when it is time. */
static void count(struct vm *vm, uint64_t passed)
{
    uint64_t again = AGAIN_S * NS_PER_S;
    bool pressed_again = vm->run.stop_spent_ns >= again;

    vm->run.stop_heard |= vm_devices_power_button_heard(vm);
    vm->run.stop_spent_ns += passed;
    if (!pressed_again && vm->run.stop_spent_ns >= again) {
        vm_devices_press_power_button(vm);
    }
}

static void cut_when_over(struct vm *vm)
{
    unsigned grace = vm->run.stop_heard ? GRACE_S : DEAF_S;

    if (vm->run.stop_spent_ns >= grace * NS_PER_S) {
        vm_log(vm, LOG_INFO,
               "vm %s: has not powered off within %u s of its running time: its power is cut",
               vm->name, grace);
        vm_set_ending(vm, VM_OUTCOME_STOPPED, 0);
    }
}

void vm_poll_stop(struct vm *vm)
{
    uint64_t now = arch_clock_ns();
    uint64_t passed;

    spin_lock(&vm->lock);
    /* A late poll has seen no more of the guest than one in time. */
    passed = MIN(now - vm->run.stop_seen_ns, 2 * TICK_NS);
    vm->run.stop_seen_ns = now;
    if (vm->state == VM_RUNNING && has_its_time(vm)) {
        count(vm, passed);
        cut_when_over(vm);
    }
    spin_unlock(&vm->lock);
    arm_tick(now);
}
