/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's end: its vCPUs stop, then all that it holds is given back, step by step. */
#include "hv/vm/internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/guest/serial.h"
#include "hv/load/load.h"
#include "hv/loop.h"
#include "hv/run/vcpu.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"

/* A VM is given up after so many triple faults, each so soon after a start. */
#define EARLY_FAULTS 3u
#define EARLY_NS     10000000000ull

void vm_set_ending(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    vm->state = VM_ENDING;
    vm->run.outcome = outcome;
    vm->run.exit_code = code;
    vm->run.closed = false;
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        vcpu_request(vm->run.vcpu[i], VCPU_REQUEST_STOP);
    }
    loop_wake_vms();
}

void vm_end_from(struct vm *vm, enum vm_outcome outcome, uint32_t code, bool restart)
{
    spin_lock(&vm->lock);
    if (vm_is_up(vm)) {
        vm->run.restart = restart;
        vm_set_ending(vm, outcome, code);
    }
    spin_unlock(&vm->lock);
}

bool vm_stay_off(struct vm *vm)
{
    if (vm->state != VM_ENDING || !vm->run.restart) {
        return false;
    }
    vm->run.restart = false;
    vm->run.outcome = VM_OUTCOME_STOPPED;
    loop_wake_vms(); /* it may be waiting for its restart */
    return true;
}

void vm_end(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    vm_end_from(vm, outcome, code, false);
}

void vm_reset_request(struct vm *vm)
{
    vm_end_from(vm, VM_OUTCOME_RESET, 0, true);
}

void vm_fail(struct vm *vm, const char *format, ...)
{
    char message[120];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    vm_log(vm, LOG_ERROR, "vm %s: failed: %s", vm->name, message);
    vm_end_from(vm, VM_OUTCOME_FAILED, 0, false);
}

void vm_lose_page(struct vm *vm, const char *format, ...)
{
    char page[80];
    va_list args;

    va_start(args, format);
    vsnprintf(page, sizeof(page), format, args);
    va_end(args);
    vm_fail(vm, "%s is lost: the store could not give it back", page);
}

void vm_triple_fault(struct vm *vm, unsigned vcpu, uint64_t rip)
{
    unsigned count;

    spin_lock(&vm->lock);
    vm->triple_faults = arch_clock_ns() - vm->run.start_ns < EARLY_NS ? vm->triple_faults + 1 : 0;
    count = vm->triple_faults;
    spin_unlock(&vm->lock);
    if (vm->config->triple_fault_fails || count >= EARLY_FAULTS) {
        vm_fail(vm, "triple fault on vCPU %u at RIP 0x%lx", vcpu, (unsigned long)rip);
        return;
    }
    vm_log(vm, LOG_WARN, "vm %s: triple fault on vCPU %u at RIP 0x%lx: it is reset", vm->name, vcpu,
           (unsigned long)rip);
    vm_reset_request(vm);
}

bool vm_vcpus_stopped(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        if (vm->run.vcpu[i]->state != VCPU_STOPPED) {
            return false;
        }
    }
    return true;
}

static void keep_figures(struct vm *vm)
{
    vm->run.total.exits = vm_exits(vm);
    vm->run.total.stall_us = vm_stall_us(vm);
    vm->run.total.run_us = vm_run_us(vm);
    if (vm->run.space != NULL) {
        space_get_stats(vm->run.space, &vm->run.total.memory);
    }
    if (vm->run.tmem != NULL) {
        tmem_get_stats(vm->run.tmem, &vm->run.total.tmem);
    }
}

/* Frees all that holds on to the space, then closes the space. */
static void release_parts(struct vm *vm)
{
    keep_figures(vm);
    waiter_cancel(&vm->run.load_waiter);
    frame_promise_end(&vm->run.parts);
    if (vm->run.load != NULL) {
        vm_end_load(vm);
    }
    if (vm->run.devices != NULL) {
        vm_devices_destroy(vm);
    }
    while (vm->run.vcpu_count > 0) {
        vcpu_destroy(vm->run.vcpu[--vm->run.vcpu_count]);
        vm->run.vcpu[vm->run.vcpu_count] = NULL;
    }
    if (vm->run.tmem != NULL) {
        tmem_close(vm->run.tmem);
    }
    if (vm->run.space != NULL) {
        space_close(vm->run.space);
    }
    vm->run.closed = true;
}

/* Says how long after its power button was pressed; nothing if it was not. */
static void format_answer(const struct vm *vm, char *text, size_t bytes)
{
    unsigned long ms = (unsigned long)((vm->run.end_ns - vm->run.stop_ns) / 1000000);

    text[0] = '\0';
    if (vm->run.stop_ns != 0) {
        snprintf(text, bytes, ", %lu.%03lu s after its power button was pressed", ms / 1000,
                 ms % 1000);
    }
}

static void report_reset(struct vm *vm, const char *answer, unsigned long pause_ms)
{
    if (pause_ms != 0) {
        vm_log(vm, LOG_INFO, "vm %s: reset, %u times at once: it is started again in %lu.%lu s",
               vm->name, vm->early_runs, pause_ms / 1000, pause_ms / 100 % 10);
    } else {
        vm_log(vm, LOG_INFO, "vm %s: reset%s%s", vm->name, answer,
               vm->run.stop_ns != 0 ? "; it stays off" : "");
    }
}

/* The log has the reason already, unless the guest itself has failed with a code. */
static void report_failure(struct vm *vm, unsigned long ms, const char *answer)
{
    if (vm->run.exit_code != 0) {
        vm_log(vm, LOG_ERROR, "vm %s: failed with code %u after %lu.%03lu s%s", vm->name,
               (unsigned)vm->run.exit_code, ms / 1000, ms % 1000, answer);
    } else if (vm->run.made) {
        vm_log(vm, LOG_ERROR, "vm %s: is off, failed after %lu.%03lu s%s", vm->name, ms / 1000,
               ms % 1000, answer);
    }
}

static void report_end(struct vm *vm, uint64_t pause)
{
    unsigned long ms = (unsigned long)((vm->run.end_ns - vm->run.start_ns) / 1000000);
    char answer[64];

    format_answer(vm, answer, sizeof(answer));
    switch (vm->run.outcome) {
    case VM_OUTCOME_OK:
        vm_log(vm, LOG_INFO, "vm %s: ended well after %lu.%03lu s%s", vm->name, ms / 1000,
               ms % 1000, answer);
        break;
    case VM_OUTCOME_FAILED:
        report_failure(vm, ms, answer);
        break;
    case VM_OUTCOME_STOPPED:
        vm_log(vm, LOG_INFO, "vm %s: stopped by the operator", vm->name);
        break;
    case VM_OUTCOME_RESET:
        report_reset(vm, answer, (unsigned long)(pause / 1000000));
        break;
    case VM_OUTCOME_NONE:
        break;
    }
}

static void finish_end(struct vm *vm)
{
    if (vm->run.tmem != NULL) {
        tmem_free(vm->run.tmem);
        vm->run.tmem = NULL;
    }
    if (vm->run.space != NULL) {
        space_free(vm->run.space);
        vm->run.space = NULL;
    }
    guest_serial_flush(vm);
    vm_unpromise(vm);
    vm->run.end_ns = arch_clock_ns();
    if (vm->run.outcome != VM_OUTCOME_RESET) {
        vm->triple_faults = 0;
    }
    /* A reset in answer to the power button counts as an end. */
    if (vm->run.restart && vm->run.stop_ns == 0) {
        report_end(vm, vm_restart_begin(vm));
        vm_poll_restart(vm);
    } else {
        vm->state = VM_STOPPED;
        report_end(vm, 0);
    }
}

bool vm_poll_ending(struct vm *vm)
{
    if (vm->restart_ns != 0) {
        vm_poll_restart(vm);
        return false;
    }
    if (!vm->run.closed) {
        if (!vm_vcpus_stopped(vm)) {
            return false; /* the last one wakes us */
        }
        if (!vm_devices_stop(vm)) {
            return true; /* I/O of its devices is in flight */
        }
        release_parts(vm);
    }
    if ((vm->run.tmem != NULL && !tmem_drain(vm->run.tmem)) ||
        (vm->run.space != NULL && !space_drain(vm->run.space))) {
        return true; /* I/O is in flight, or pages are left */
    }
    finish_end(vm);
    return false;
}
