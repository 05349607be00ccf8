/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hv/admission.h"
#include "hv/console.h"
#include "hv/guest_load.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/sched.h"
#include "hv/vcpu_request.h"
#include "hv/vdev/devices.h"
#include "hv/vm_control.h"
#include "hv/vm_tmem.h"
#include "mm/frame_alloc.h"

static struct vm vms[CONFIG_VMS_MAX];
static unsigned vms_used;
static struct spinlock vms_lock =
    SPINLOCK_INIT(RANK_VM_LIST, "vms"); /* life and death of all VMs */
static _Atomic uint64_t promised_pages;

void vm_list_lock(void)
{
    spin_lock(&vms_lock);
}

void vm_list_unlock(void)
{
    spin_unlock(&vms_lock);
}

unsigned vm_count(void)
{
    return vms_used;
}

struct vm *vm_at(unsigned index)
{
    return index < vms_used ? &vms[index] : NULL;
}

struct vm *vm_find(const char *name)
{
    for (unsigned i = 0; i < vms_used; i++) {
        if (strcmp(vms[i].name, name) == 0) {
            return &vms[i];
        }
    }
    return NULL;
}

const char *vm_state_name(const struct vm *vm)
{
    static const char *const names[] = {
        [VM_STOPPED] = "stopped", [VM_LOADING] = "loading", [VM_RUNNING] = "running",
        [VM_PAUSED] = "paused",   [VM_ENDING] = "ending",
    };

    if (vm->state == VM_STOPPED && vm->outcome == VM_OUTCOME_FAILED) {
        return "failed";
    }
    return vm->state == VM_STOPPED && vm->outcome == VM_OUTCOME_OK ? "ended" : names[vm->state];
}

static void load_wake(struct mm_waiter *waiter)
{
    atomic_store(&CONTAINER_OF(waiter, struct vm, load_waiter)->load_ready, true);
    loop_wake_vms();
}

void vm_init_all(void)
{
    const struct config *config = machine_config();

    for (uint32_t i = 0; i < config->vm_count; i++) {
        struct vm *vm = &vms[vms_used];

        spin_init(&vm->lock, RANK_VM, "vm");
        list_init(&vm->link);
        list_init(&vm->load_waiter.link);
        vm->load_waiter.wake = load_wake;
        vm->config = &config->vm[i];
        vm->name = vm->config->name;
        vm->index = vms_used++;
        vm->memory_pages = vm->config->memory / PAGE_SIZE;
        vm->min_pages = vm->config->min / PAGE_SIZE;
        vm->max_pages = vm->config->max / PAGE_SIZE;
        vm->shares = vm->config->shares;
        vm->tmem_pages = vm->config->tmem / PAGE_SIZE;
        vm->tsc_khz = arch_tsc_khz();
    }
}

/* ---- start ---- */

bool vm_promise(struct vm *vm, uint64_t need, char *message, size_t bytes)
{
    struct admission a = {.promised = atomic_load(&promised_pages)};
    struct frame_stats frames;

    frames = frame_stats_get();
    a.pool = frames.frames;
    if (machine_store() != NULL) {
        struct store_stats store;

        store_get_stats(machine_store(), &store);
        a.store = store.slots - store.retired;
    }
    if (!admission_check(&a, need, vm->min_pages, message, bytes)) {
        return false;
    }
    atomic_fetch_add(&promised_pages, need);
    vm->promised += need;
    return true;
}

void vm_unpromise(struct vm *vm, uint64_t pages)
{
    atomic_fetch_sub(&promised_pages, pages);
    vm->promised -= pages;
}

static bool create_space(struct vm *vm)
{
    struct space_config config = {
        .name = vm->name,
        .format = machine_backend()->format,
        .store = machine_store(),
        .min_pages = vm->min_pages,
        .max_pages = vm->max_pages,
        .shares = vm->shares,
    };
    struct guest_slot slot[GUEST_LAYOUT_SLOTS];
    unsigned slots = guest_layout(vm->memory_pages * PAGE_SIZE, slot);

    vm->space = space_create(&config);
    if (vm->space == NULL) {
        return false;
    }
    for (unsigned i = 0; i < slots; i++) {
        if (!space_add_slot(vm->space, slot[i].base, slot[i].pages, 0)) {
            return false;
        }
    }
    return true;
}

static bool create_vcpus(struct vm *vm)
{
    for (vm->vcpu_count = 0; vm->vcpu_count < vm->config->vcpus; vm->vcpu_count++) {
        vm->vcpu[vm->vcpu_count] = vcpu_create(vm, vm->vcpu_count);
        if (vm->vcpu[vm->vcpu_count] == NULL) {
            return false;
        }
    }
    return true;
}

static bool begin_load(struct vm *vm)
{
    char error[GUEST_LOAD_ERROR_MAX];
    const struct handover_file *kernel = machine_file(vm->config->kernel);
    const struct handover_file *initrd = machine_file(vm->config->initrd);
    struct guest_image image = {.cmdline = vm->config->cmdline};

    image.kernel = arch_ptr(hpa(kernel->address));
    image.kernel_bytes = kernel->bytes;
    if (initrd != NULL) {
        image.initrd = arch_ptr(hpa(initrd->address));
        image.initrd_bytes = initrd->bytes;
    }
    vm->load = guest_load_start(vm, &image, error);
    if (vm->load == NULL) {
        log_error("vm %s: not started: %s: %s", vm->name, vm->config->kernel, error);
    }
    return vm->load != NULL;
}

/* Under vm->lock or before the VM is visible: the end begins. */
static void set_ending(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    vm->state = VM_ENDING;
    vm->outcome = outcome;
    vm->exit_code = code;
    vm->closed = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_request(vm->vcpu[i], VCPU_REQUEST_STOP);
    }
    loop_wake_vms();
}

static void refuse(struct vm *vm, const char *why)
{
    log_error("vm %s: not started: %s", vm->name, why);
    vm->outcome = VM_OUTCOME_FAILED;
}

const char *vm_start(struct vm *vm)
{
    static char message[160];

    if (vm->state != VM_STOPPED) {
        return "expected a VM that is stopped";
    }
    if (!vm_promise(vm, admission_need(vm->memory_pages) + admission_tmem_need(vm->tmem_pages),
                    message, sizeof(message))) {
        refuse(vm, message);
        return message;
    }
    vm->outcome = VM_OUTCOME_NONE;
    vm->exit_code = 0;
    vm->restart = false;
    vm->closed = false;
    vm->vcpu_count = 0;
    vm->unowned_io = vm->unowned_mmio = vm->unowned_msr = 0;
    memset(&vm->last_memory, 0, sizeof(vm->last_memory));
    memset(&vm->last_tmem, 0, sizeof(vm->last_tmem));
    vm->last_exits = vm->last_stall_us = vm->last_run_us = 0;
    vm->start_ns = arch_clock_ns();
    vm->state = VM_LOADING;
    if (!create_space(vm) || !vm_tmem_create(vm) || !create_vcpus(vm) || !vm_devices_create(vm)) {
        log_error("vm %s: not started: no memory for its control structures", vm->name);
        set_ending(vm, VM_OUTCOME_FAILED, 0);
        return "no memory for the VM's control structures";
    }
    vm_devices_reset(vm);
    if (!begin_load(vm)) {
        set_ending(vm, VM_OUTCOME_FAILED, 0);
        return "its kernel cannot be loaded, see the log";
    }
    atomic_store(&vm->load_ready, true);
    loop_wake_vms();
    return NULL;
}

static void start_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        sched_start(vm->vcpu[i]);
    }
}

/* The kernel is in place: the vCPUs run. */
static void finish_load(struct vm *vm)
{
    guest_load_free(vm->load);
    vm->load = NULL;
    vm->state = VM_RUNNING;
    log_info("vm %s: started, %lu MiB, %u vCPU%s", vm->name,
             (unsigned long)(vm->memory_pages / 256), vm->vcpu_count,
             vm->vcpu_count == 1 ? "" : "s");
    start_vcpus(vm);
}

static void poll_loading(struct vm *vm)
{
    if (!atomic_exchange(&vm->load_ready, false)) {
        return;
    }
    switch (guest_load_step(vm->load, &vm->load_waiter)) {
    case MM_OK:
        if (guest_load_done(vm->load)) {
            finish_load(vm);
        } else {
            atomic_store(&vm->load_ready, true);
            loop_wake_vms();
        }
        break;
    case MM_WAIT:
        break;
    case MM_NO_SLOT:
    case MM_LOST:
        log_error("vm %s: not started: its kernel could not be copied into its memory", vm->name);
        set_ending(vm, VM_OUTCOME_FAILED, 0);
        break;
    }
}

/* ---- end ---- */

static void end_from(struct vm *vm, enum vm_outcome outcome, uint32_t code, bool restart)
{
    spin_lock(&vm->lock);
    if (vm->state == VM_RUNNING || vm->state == VM_PAUSED || vm->state == VM_LOADING) {
        vm->restart = restart;
        set_ending(vm, outcome, code);
    }
    spin_unlock(&vm->lock);
}

void vm_end(struct vm *vm, enum vm_outcome outcome, uint32_t code)
{
    end_from(vm, outcome, code, false);
}

void vm_reset_request(struct vm *vm)
{
    end_from(vm, VM_OUTCOME_RESET, 0, true);
}

void vm_fail(struct vm *vm, const char *format, ...)
{
    char message[120];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    log_error("vm %s: failed: %s", vm->name, message);
    end_from(vm, VM_OUTCOME_FAILED, UINT32_MAX, false);
}

static bool vcpus_stopped(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i]->state != VCPU_STOPPED) {
            return false;
        }
    }
    return true;
}

static void keep_figures(struct vm *vm)
{
    vm->last_exits = vm_exits(vm);
    vm->last_stall_us = vm_stall_us(vm);
    vm->last_run_us = vm_run_us(vm);
    if (vm->space != NULL) {
        space_get_stats(vm->space, &vm->last_memory);
    }
    if (vm->tmem != NULL) {
        tmem_get_stats(vm->tmem, &vm->last_tmem);
    }
}

/* All that holds on to the space goes, then the space is closed. */
static void release_parts(struct vm *vm)
{
    keep_figures(vm);
    space_cancel_wait(&vm->load_waiter);
    if (vm->load != NULL) {
        guest_load_free(vm->load);
        vm->load = NULL;
    }
    if (vm->devices != NULL) {
        vm_devices_destroy(vm);
    }
    while (vm->vcpu_count > 0) {
        vcpu_destroy(vm->vcpu[--vm->vcpu_count]);
        vm->vcpu[vm->vcpu_count] = NULL;
    }
    if (vm->tmem != NULL) {
        tmem_close(vm->tmem);
    }
    if (vm->space != NULL) {
        space_close(vm->space);
    }
    vm->closed = true;
}

static void report_end(const struct vm *vm)
{
    unsigned long ms = (unsigned long)((vm->end_ns - vm->start_ns) / 1000000);

    switch (vm->outcome) {
    case VM_OUTCOME_OK:
        log_info("vm %s: ended well after %lu.%03lu s", vm->name, ms / 1000, ms % 1000);
        break;
    case VM_OUTCOME_FAILED:
        log_error("vm %s: failed with code %u after %lu.%03lu s", vm->name, (unsigned)vm->exit_code,
                  ms / 1000, ms % 1000);
        break;
    case VM_OUTCOME_STOPPED:
        log_info("vm %s: stopped by the operator", vm->name);
        break;
    case VM_OUTCOME_RESET:
        log_info("vm %s: reset", vm->name);
        break;
    case VM_OUTCOME_NONE:
        break;
    }
}

static void finish_end(struct vm *vm)
{
    if (vm->tmem != NULL) {
        tmem_free(vm->tmem);
        vm->tmem = NULL;
    }
    if (vm->space != NULL) {
        space_free(vm->space);
        vm->space = NULL;
    }
    console_guest_flush(vm);
    vm_unpromise(vm, vm->promised);
    vm->end_ns = arch_clock_ns();
    vm->state = VM_STOPPED;
    report_end(vm);
    if (vm->restart) {
        vm_start(vm);
    }
}

static void poll_ending(struct vm *vm)
{
    if (!vm->closed) {
        if (!vcpus_stopped(vm)) {
            return; /* the last one wakes us */
        }
        release_parts(vm);
    }
    if ((vm->tmem != NULL && !tmem_drain(vm->tmem)) ||
        (vm->space != NULL && !space_drain(vm->space))) {
        loop_wake_vms(); /* I/O is in flight */
        return;
    }
    finish_end(vm);
}

void vm_poll(void)
{
    if (!spin_trylock(&vms_lock)) {
        loop_wake_vms();
        return;
    }
    for (unsigned i = 0; i < vms_used; i++) {
        if (vms[i].state == VM_LOADING) {
            poll_loading(&vms[i]);
        } else if (vms[i].state == VM_ENDING) {
            poll_ending(&vms[i]);
        }
    }
    spin_unlock(&vms_lock);
}

/* ---- the operator ---- */

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
    } else if (!vcpus_stopped(vm)) {
        answer = "the VM is still pausing: try again";
    } else {
        vm->state = VM_RUNNING;
        start_vcpus(vm);
    }
    spin_unlock(&vm->lock);
    return answer;
}

const char *vm_stop(struct vm *vm)
{
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return "expected a VM that is not stopped";
    }
    end_from(vm, VM_OUTCOME_STOPPED, 0, false);
    return NULL;
}

const char *vm_reset(struct vm *vm)
{
    if (vm->state == VM_STOPPED || vm->state == VM_ENDING) {
        return "expected a VM that is not stopped";
    }
    end_from(vm, VM_OUTCOME_RESET, 0, true);
    return NULL;
}

const char *vm_set(struct vm *vm, const char *key, const char *value)
{
    uint64_t bytes;

    if (!config_parse_size(value, &bytes)) {
        return "expected KEY=NUMBER, such as min=16M, max=128M or shares=100";
    }
    if (strcmp(key, "min") == 0 && bytes <= vm->config->memory) {
        vm->min_pages = bytes / PAGE_SIZE;
    } else if (strcmp(key, "max") == 0) {
        vm->max_pages = bytes / PAGE_SIZE;
    } else if (strcmp(key, "shares") == 0 && bytes >= 1 && bytes <= 10000) {
        vm->shares = (uint32_t)bytes;
    } else if (strcmp(key, "tmem") == 0) {
        return vm_tmem_set(vm, bytes / PAGE_SIZE);
    } else {
        return "expected min=SIZE (at most its memory), max=SIZE (0: no limit), shares=1..10000 or "
               "tmem=SIZE";
    }
    spin_lock(&vm->lock);
    if (vm->space != NULL && vm->state != VM_ENDING) {
        space_set_limits(vm->space, vm->min_pages, vm->max_pages, vm->shares);
    }
    if (vm->tmem != NULL) {
        tmem_set_shares(vm->tmem, vm->shares);
    }
    spin_unlock(&vm->lock);
    return NULL;
}

bool vm_any_started(void)
{
    for (unsigned i = 0; i < vms_used; i++) {
        if (vms[i].state != VM_STOPPED || vms[i].outcome != VM_OUTCOME_NONE) {
            return true;
        }
    }
    return false;
}

bool vm_all_stopped(void)
{
    for (unsigned i = 0; i < vms_used; i++) {
        if (vms[i].state != VM_STOPPED) {
            return false;
        }
    }
    return true;
}

unsigned vm_failed_count(void)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < vms_used; i++) {
        failed += vms[i].outcome == VM_OUTCOME_FAILED;
    }
    return failed;
}

uint64_t vm_exits(const struct vm *vm)
{
    uint64_t exits = 0;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
            exits += vm->vcpu[i]->exits[kind];
        }
    }
    return exits;
}

uint64_t vm_stall_us(const struct vm *vm)
{
    uint64_t ns = 0;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        ns += vm->vcpu[i]->stall_ns;
    }
    return ns / 1000;
}

uint64_t vm_run_us(const struct vm *vm)
{
    uint64_t ns = 0;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        ns += vm->vcpu[i]->run_ns;
    }
    return ns / 1000;
}
