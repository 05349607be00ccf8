/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator does to a VM that runs: pause, resume, kill, reset. */
#include "hv/vm/control.h"

#include "hv/run/sched.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vm/internal.h"

const char *vm_pause(struct vm *vm)
{
    const char *answer = NULL;

    spin_lock(&vm->lock);
    if (vm->state == VM_RUNNING) {
        vm->state = VM_PAUSED;
        for (unsigned i = 0; i < vm->vcpu_count; i++) {
            vcpu_request(vm->vcpu[i], VCPU_REQUEST_STOP);
        }
    } else {
        answer = "expected a VM that is running";
    }
    spin_unlock(&vm->lock);
    return answer;
}

const char *vm_resume(struct vm *vm)
{
    const char *answer = NULL;

    spin_lock(&vm->lock);
    if (vm->state != VM_PAUSED) {
        answer = "expected a VM that is paused";
    } else if (!vm_vcpus_stopped(vm)) {
        answer = "the VM is still pausing: try again";
    } else {
        vm->state = VM_RUNNING;
        for (unsigned i = 0; i < vm->vcpu_count; i++) {
            kvmclock_paused(vm->vcpu[i]);
        }
        vm_run_vcpus(vm);
    }
    spin_unlock(&vm->lock);
    return answer;
}

const char *vm_kill(struct vm *vm)
{
    bool off;

    spin_lock(&vm->lock);
    off = vm_stay_off(vm);
    spin_unlock(&vm->lock);
    if (off) {
        return NULL;
    }
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return "expected a VM that is not stopped";
    }
    vm_end_from(vm, VM_OUTCOME_STOPPED, 0, false);
    return NULL;
}

const char *vm_reset(struct vm *vm)
{
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return "expected a VM that is not stopped";
    }
    vm->run.stop_ns = 0; /* the operator has thought again */
    vm_end_from(vm, VM_OUTCOME_RESET, 0, true);
    return NULL;
}
