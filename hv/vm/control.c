/* SPDX-License-Identifier: BSD-2-Clause */
/* Pause, resume, kill, reset, NMI and BREAK: the operator's part of a running VM's life. */
#include "hv/vm/control.h"

#include <stdarg.h>
#include <stdio.h>

#include "hv/run/sched.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vm/internal.h"

bool vm_refuse(struct vm_answer *answer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->text, sizeof(answer->text), format, args);
    va_end(args);
    return false;
}

bool vm_pause(struct vm *vm, struct vm_answer *answer)
{
    bool runs;

    spin_lock(&vm->lock);
    runs = vm->state == VM_RUNNING;
    if (runs) {
        vm->state = VM_PAUSED;
        for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
            vcpu_request(vm->run.vcpu[i], VCPU_REQUEST_STOP);
        }
    }
    spin_unlock(&vm->lock);
    return runs || vm_refuse(answer, "expected a VM that is running");
}

/* PAUSED, its lock held. */
static bool resume(struct vm *vm)
{
    if (!vm_vcpus_stopped(vm)) {
        return false;
    }
    vm->state = VM_RUNNING;
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        kvmclock_paused(vm->run.vcpu[i]);
    }
    vm_run_vcpus(vm);
    return true;
}

bool vm_resume(struct vm *vm, struct vm_answer *answer)
{
    bool done;

    spin_lock(&vm->lock);
    done = vm->state != VM_PAUSED
               ? vm_refuse(answer, "expected a VM that is paused")
               : resume(vm) || vm_refuse(answer, "the VM is still pausing: try again");
    spin_unlock(&vm->lock);
    return done;
}

bool vm_kill(struct vm *vm, struct vm_answer *answer)
{
    bool off;

    spin_lock(&vm->lock);
    off = vm_stay_off(vm);
    spin_unlock(&vm->lock);
    if (off) {
        return true;
    }
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return vm_refuse(answer, "expected a VM that is not stopped");
    }
    vm_end_from(vm, VM_OUTCOME_STOPPED, 0, false);
    return true;
}

bool vm_reset(struct vm *vm, struct vm_answer *answer)
{
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return vm_refuse(answer, "expected a VM that is not stopped");
    }
    vm->run.stop_ns = 0; /* the operator has thought again */
    vm_end_from(vm, VM_OUTCOME_RESET, 0, true);
    return true;
}

/* Its guest has begun to run: a signal finds somebody. */
static bool has_guest(const struct vm *vm)
{
    return vm->state == VM_RUNNING || vm->state == VM_PAUSED;
}

bool vm_nmi(struct vm *vm, struct vm_answer *answer)
{
    bool done;

    spin_lock(&vm->lock);
    done = has_guest(vm);
    for (unsigned i = 0; done && i < vm->run.vcpu_count; i++) {
        vlapic_pulse_lint1(vm->run.vcpu[i]);
    }
    spin_unlock(&vm->lock);
    return done || vm_refuse(answer, "expected a VM that is running or paused");
}

bool vm_break(struct vm *vm, struct vm_answer *answer)
{
    bool up, taken;

    spin_lock(&vm->lock);
    up = has_guest(vm);
    taken = up && vm_devices_break(vm);
    spin_unlock(&vm->lock);
    if (!up) {
        return vm_refuse(answer, "expected a VM that is running or paused");
    }
    return taken || vm_refuse(answer, "expected a guest that reads its serial port");
}
