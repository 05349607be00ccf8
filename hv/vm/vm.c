/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/guest/vm.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/vdev/legacy/vcmos.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "hv/vm/tmem.h"

#define POLL_REST_NS 100000ull /* between two steps at least: what is waited for may be a disk */

static struct vm *vms; /* of the configuration; their clocks, likewise */
static struct vcmos *clocks;
static unsigned vms_used;
static struct spinlock vms_lock =
    SPINLOCK_INIT(RANK_VM_LIST, "vms"); /* life and death of all VMs */

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

    if (vm->state == VM_STOPPED && vm->run.outcome == VM_OUTCOME_FAILED) {
        return "failed";
    }
    return vm->state == VM_STOPPED && vm->run.outcome == VM_OUTCOME_OK ? "ended" : names[vm->state];
}

void vm_init_all(void)
{
    const struct config *config = machine_config();

    vms = calloc(config->vm_count, sizeof(*vms));
    clocks = calloc(config->vm_count, sizeof(*clocks));
    if (config->vm_count != 0 && (vms == NULL || clocks == NULL)) {
        panic("no room for %u VMs", (unsigned)config->vm_count);
    }
    for (uint32_t i = 0; i < config->vm_count; i++) {
        struct vm *vm = &vms[vms_used];

        spin_init(&vm->lock, RANK_VM, "vm");
        vm->config = &config->vm[i];
        vm->name = vm->config->name;
        vm->cmos = &clocks[vms_used];
        vm->index = vms_used++;
        vm->memory_pages = vm->config->memory / PAGE_SIZE;
        vm->min_pages = vm->config->min / PAGE_SIZE;
        vm->max_pages = vm->config->max / PAGE_SIZE;
        vm->shares = vm->config->shares;
        vm->cpu_shares = vm->config->cpu_shares;
        vm->tmem_pages = vm->config->tmem / PAGE_SIZE;
        vm->balloon = vm->config->balloon;
        vm->tsc_khz = arch_tsc_khz();
    }
    vm_watch_init();
}

/* One step.  True: it wants the next one soon. */
static bool poll_one(struct vm *vm)
{
    if (vm->state == VM_LOADING) {
        return vm_poll_loading(vm);
    }
    if (vm->state == VM_ENDING) {
        return vm_poll_ending(vm);
    }
    if (vm->state != VM_STOPPED && vm->run.stop_ns != 0) {
        vm_poll_stop(vm);
    }
    return vm_is_up(vm) && vm_tmem_poll(vm);
}

void vm_poll(void)
{
    uint64_t begin = arch_clock_ns();
    bool more = false;

    if (!spin_trylock(&vms_lock)) {
        loop_wake_vms_after(POLL_REST_NS);
        return;
    }
    for (unsigned i = 0; i < vms_used; i++) {
        more |= poll_one(&vms[i]);
    }
    vm_watch();
    spin_unlock(&vms_lock);
    if (more) { /* half of the CPU is for its guests */
        loop_wake_vms_after(MAX(arch_clock_ns() - begin, POLL_REST_NS));
    }
}

bool vm_any_started(void)
{
    for (unsigned i = 0; i < vms_used; i++) {
        if (vms[i].state != VM_STOPPED || vms[i].run.outcome != VM_OUTCOME_NONE) {
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
        failed += vms[i].run.outcome == VM_OUTCOME_FAILED;
    }
    return failed;
}

uint32_t vm_cpu_shares(const struct vm *vm)
{
    return vm->cpu_shares != 0 ? vm->cpu_shares : vm->shares;
}

uint64_t vm_exits(const struct vm *vm)
{
    uint64_t exits = 0;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        for (unsigned kind = 0; kind < EXIT_KIND_COUNT; kind++) {
            exits += vm->run.vcpu[i]->exits[kind];
        }
    }
    return exits;
}

uint64_t vm_stall_us(const struct vm *vm)
{
    uint64_t now = arch_clock_ns(), ns = 0;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        ns += vcpu_stall_ns(vm->run.vcpu[i], now);
    }
    return ns / 1000;
}

uint64_t vm_run_us(const struct vm *vm)
{
    uint64_t ns = 0;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        ns += vm->run.vcpu[i]->run_ns;
    }
    return ns / 1000;
}
