/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator does to a VM that runs. */
#include "hv/vm_control.h"

#include <stdio.h>
#include <string.h>

#include "hv/config.h"
#include "hv/sched.h"
#include "hv/vm_internal.h"
#include "hv/vm_tmem.h"

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
    vm->stop_ns = 0; /* the operator has thought again */
    vm_end_from(vm, VM_OUTCOME_RESET, 0, true);
    return NULL;
}

/* The settings are in force from now on. */
static void apply(struct vm *vm)
{
    spin_lock(&vm->lock);
    if (vm->space != NULL && vm->state != VM_ENDING) {
        space_set_limits(vm->space, vm->min_pages, vm->max_pages, vm->shares);
        sched_set_weight(vm, vm_cpu_shares(vm));
    }
    if (vm->tmem != NULL) {
        tmem_set_shares(vm->tmem, vm->shares);
    }
    spin_unlock(&vm->lock);
}

static const char *set_limits(struct vm *vm, uint64_t min_pages, uint64_t max_pages)
{
    static char refused[192];
    struct admission_terms terms = vm_terms(vm);

    terms.min = min_pages;
    terms.max = max_pages;
    if (max_pages != 0 && min_pages > max_pages) {
        snprintf(refused, sizeof(refused), "min would be %lu KiB, expected at most max, %lu KiB",
                 (unsigned long)(min_pages * (PAGE_SIZE / 1024)),
                 (unsigned long)(max_pages * (PAGE_SIZE / 1024)));
        return refused;
    }
    if (vm_is_up(vm) && !vm_promise(vm, &terms, refused, sizeof(refused))) {
        return refused;
    }
    vm->min_pages = min_pages;
    vm->max_pages = max_pages;
    apply(vm);
    return NULL;
}

const char *vm_set(struct vm *vm, const char *key, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes)) {
        return "expected KEY=NUMBER, such as min=16M, max=128M or shares=100";
    }
    if (strcmp(key, "min") == 0 && bytes <= vm->config->memory) {
        return set_limits(vm, bytes / PAGE_SIZE, vm->max_pages);
    } else if (strcmp(key, "max") == 0 && (bytes == 0 || bytes >= CONFIG_MEMORY_MIN)) {
        return set_limits(vm, vm->min_pages, bytes / PAGE_SIZE);
    } else if (strcmp(key, "shares") == 0 && bytes >= 1 && bytes <= 10000) {
        vm->shares = (uint32_t)bytes;
    } else if (strcmp(key, "cpu-shares") == 0 && bytes <= 10000) {
        vm->cpu_shares = (uint32_t)bytes;
    } else if (strcmp(key, "tmem") == 0) {
        return vm_tmem_set(vm, bytes / PAGE_SIZE);
    } else {
        return "expected min=SIZE (at most its memory), max=SIZE (from 4M on; 0: no limit), "
               "shares=1..10000, cpu-shares=1..10000 (0: as shares) or tmem=SIZE";
    }
    apply(vm);
    return NULL;
}
