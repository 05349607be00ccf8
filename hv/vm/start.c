/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM's start: memory is promised, its parts are made, its kernel is loaded. */
#include "hv/vm/internal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/block.h"
#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/load/load.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/run/vcpu.h"
#include "hv/vdev/devices.h"
#include "hv/vm/control.h"
#include "hv/vm/tmem.h"
#include "mm/frame/frame_alloc.h"

/* Each takes memory of the heap; others wait until one has ended. */
#define LOADS_MAX 4

static unsigned loads; /* kernels that are being loaded; under the list's lock */

static bool create_space(struct vm *vm)
{
    struct admission_terms terms = vm_terms(vm);
    struct space_config config = {
        .name = vm->name,
        .format = machine_backend()->format,
        .store = machine_store(),
        .min_pages = vm->min_pages,
        .max_pages = vm->max_pages,
        .working_pages = admission_working(&terms),
        .shares = vm->shares,
    };
    struct guest_memslot memslot[GUEST_LAYOUT_MEMSLOTS];
    unsigned memslots = guest_layout(vm->memory_pages * PAGE_SIZE, memslot);

    vm->run.space = space_create(&config);
    if (vm->run.space == NULL) {
        return false;
    }
    for (unsigned i = 0; i < memslots; i++) {
        if (!space_add_memslot(vm->run.space, memslot[i].base, memslot[i].pages, 0)) {
            return false;
        }
    }
    return true;
}

static bool create_vcpus(struct vm *vm)
{
    sched_add_vm(vm, vm_cpu_shares(vm));
    while (vm->run.vcpu_count < vm->config->vcpus) {
        struct vcpu *vcpu = vcpu_create(vm, vm->run.vcpu_count);

        if (vcpu == NULL) {
            return false;
        }
        vm->run.vcpu[vm->run.vcpu_count++] = vcpu;
    }
    return true;
}

/* NULL, and no bytes: there is no file of that name, which is that of none. */
static const void *file_data(const char *path, size_t *bytes)
{
    const struct handover_file *file = machine_file(path);

    *bytes = file != NULL ? file->bytes : 0;
    return file != NULL ? arch_ptr(hpa(file->address)) : NULL;
}

/* Or leaves it to a later poll, if enough others are loading.  False: the log says why. */
static bool begin_load(struct vm *vm)
{
    char error[GUEST_LOAD_ERROR_MAX];
    struct guest_image image = {.cmdline = vm->config->cmdline};

    if (loads == LOADS_MAX) {
        return true;
    }
    image.kernel = file_data(vm->config->kernel, &image.kernel_bytes);
    image.initrd = file_data(vm->config->initrd, &image.initrd_bytes);
    for (; image.modules < vm->config->modules; image.modules++) {
        const struct config_module *module = &vm->config->module[image.modules];
        struct guest_module *out = &image.module[image.modules];

        out->data = file_data(module->path, &out->bytes);
        out->words = module->words;
    }
    vm->run.load = guest_load_start(vm, &image, error);
    if (vm->run.load == NULL) {
        vm_log(vm, LOG_ERROR, "vm %s: not started: %s: %s", vm->name, vm->config->kernel, error);
        return false;
    }
    loads++;
    return true;
}

void vm_end_load(struct vm *vm)
{
    guest_load_free(vm->run.load);
    vm->run.load = NULL;
    loads--;
    loop_wake_vms();
}

/* From what has been gathered.  False: the VM ends, and the answer says why. */
static bool make_parts(struct vm *vm, struct vm_answer *answer)
{
    bool made;

    frame_promise_use(&vm->run.parts);
    made = create_space(vm) && vm_tmem_create(vm) && create_vcpus(vm) && vm_devices_create(vm);
    frame_promise_use(NULL);
    frame_promise_end(&vm->run.parts);
    if (!made) {
        vm_log(vm, LOG_ERROR, "vm %s: not started: no memory for its control structures", vm->name);
        vm_set_ending(vm, VM_OUTCOME_FAILED, 0);
        return vm_refuse(answer, "no memory for the VM's control structures");
    }
    vm_devices_reset(vm);
    if (!begin_load(vm)) {
        vm_set_ending(vm, VM_OUTCOME_FAILED, 0);
        return vm_refuse(answer, "its kernel cannot be loaded, see the log");
    }
    vm->run.made = true;
    return true;
}

/* Memory that others have now may have to be freed for its parts first.  True: it is there. */
static bool gather_parts(struct vm *vm)
{
    struct admission_terms terms = vm_terms(vm);

    return frame_promise_gather(&vm->run.parts, admission_start_cost(&terms));
}

static void load_wake(struct mm_waiter *waiter)
{
    atomic_store(&CONTAINER_OF(waiter, struct vm, run.load_waiter)->run.load_ready, true);
    loop_wake_vms();
}

static void begin_run(struct vm *vm)
{
    memset(&vm->run, 0, sizeof(vm->run));
    vm->run.start_ns = arch_clock_ns();
    vm->run.load_waiter.wake = load_wake;
    list_init(&vm->run.load_waiter.link);
}

static void take_disks(struct vm *vm, const struct vm_disks *disks)
{
    memcpy(vm->run.disk, disks->disk, sizeof(disks->disk));
    vm->run.disk_count = disks->count;
    for (unsigned i = 0; i < disks->count; i++) {
        const struct vm_disk *disk = &disks->disk[i];

        vm_log(vm, LOG_INFO, "vm %s: disk%u is %s, %lu MiB%s", vm->name, disk->number,
               disk->device->name, (unsigned long)(disk->device->blocks / 256),
               disk->share       ? ", read-only, shared"
               : disk->read_only ? ", read-only"
                                 : "");
    }
}

/* By their numbers, whatever the order of the lines is. */
static void take_nic(struct vm *vm, const struct net_config *nic)
{
    unsigned at = vm->run.nic_count++;

    for (; at > 0 && vm->run.nic[at - 1].number > nic->number; at--) {
        vm->run.nic[at] = vm->run.nic[at - 1];
    }
    vm->run.nic[at].net = machine_switch(nic->net);
    vm->run.nic[at].number = nic->number;
    memcpy(vm->run.nic[at].mac, nic->mac, sizeof(nic->mac));
}

static void take_nics(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->config->nics; i++) {
        take_nic(vm, &machine_config()->nic[vm->config->first_nic + i]);
    }
}

static bool begin_start(struct vm *vm, struct vm_answer *answer)
{
    struct admission_terms terms = vm_terms(vm);
    struct vm_disks disks;

    if (!vm_find_disks(vm, &disks, answer) || !vm_promise(vm, &terms, answer)) {
        vm_log(vm, LOG_ERROR, "vm %s: not started: %s", vm->name, answer->text);
        return false;
    }
    begin_run(vm);
    take_disks(vm, &disks);
    take_nics(vm);
    vm->state = VM_LOADING;
    if (gather_parts(vm) && !make_parts(vm, answer)) {
        return false;
    }
    atomic_store(&vm->run.load_ready, true);
    loop_wake_vms();
    return true;
}

bool vm_start(struct vm *vm, struct vm_answer *answer)
{
    vm->early_runs = 0;
    if (vm->state == VM_ENDING && vm->restart_ns != 0 && vm->run.restart) {
        vm_restart_now(vm);
        return true;
    }
    return vm->state == VM_STOPPED ? begin_start(vm, answer)
                                   : vm_refuse(answer, "expected a VM that is stopped");
}

void vm_start_unasked(struct vm *vm)
{
    struct vm_answer unread;

    if (!begin_start(vm, &unread) && vm->state == VM_STOPPED) {
        vm->run.outcome = VM_OUTCOME_FAILED;
    }
}

void vm_run_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        sched_start(vm->run.vcpu[i]);
    }
}

/* The kernel is in place: the vCPUs run. */
static void finish_load(struct vm *vm)
{
    vm_end_load(vm);
    vm->state = VM_RUNNING;
    vm_log(vm, LOG_INFO, "vm %s: started, %lu MiB, %u vCPU%s", vm->name,
           (unsigned long)(vm->memory_pages / 256), vm->run.vcpu_count,
           vm->run.vcpu_count == 1 ? "" : "s");
    vm_run_vcpus(vm);
}

bool vm_poll_loading(struct vm *vm)
{
    struct vm_answer unread; /* the log has it, too */

    if (!vm->run.made) {
        if (gather_parts(vm)) {
            make_parts(vm, &unread);
        }
        return true;
    }
    if (vm->run.load == NULL && !begin_load(vm)) {
        vm_set_ending(vm, VM_OUTCOME_FAILED, 0);
        return true;
    }
    if (vm->run.load == NULL || !atomic_exchange(&vm->run.load_ready, false)) {
        return false;
    }
    switch (guest_load_step(vm->run.load, &vm->run.load_waiter)) {
    case MM_OK:
        waiter_end_turn(&vm->run.load_waiter);
        if (!guest_load_done(vm->run.load)) {
            atomic_store(&vm->run.load_ready, true);
            return true;
        }
        finish_load(vm);
        break;
    case MM_WAIT:
        break; /* its waiter calls vm_poll() */
    case MM_NO_MEMSLOT:
    case MM_LOST:
        vm_log(vm, LOG_ERROR, "vm %s: not started: its kernel could not be copied into its memory",
               vm->name);
        vm_set_ending(vm, VM_OUTCOME_FAILED, 0);
        break;
    }
    return false;
}
