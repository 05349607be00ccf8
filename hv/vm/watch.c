/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tells of vCPUs that have been waiting for memory for long: looks once a second, and logs one line
 * for each wait that exceeds WAIT_LONG_NS, with what it is for.
 *
 * Such a wait ends by itself as long as what was promised is there.  If the store has lost so much
 * that it is not, and somebody waits for a frame, then nothing but a VM's end will give him one:
 * the one that was started last goes, one at a time.
 */
#include <stdatomic.h>

#include "base/log.h"
#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/timer.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"
#include "mm/content/store.h"

#define PERIOD_NS    1000000000ull
#define WAIT_LONG_NS 5000000000ull

static struct timer timer;
static _Atomic bool due;

static void fire(struct timer *fired)
{
    atomic_store(&due, true);
    loop_wake_vms();
    timer_set(fired, arch_clock_ns() + PERIOD_NS);
}

void vm_watch_init(void)
{
    timer_init(&timer, fire);
    timer_set(&timer, arch_clock_ns() + PERIOD_NS);
}

static const char *what_for(enum mm_waits_for queue)
{
    switch (queue) {
    case MM_WAITS_READ:
        return "a page to be read from";
    case MM_WAITS_FRAME:
        return "a free frame; pages go to";
    case MM_WAITS_ROOM:
        return "room below its max; pages go to";
    case MM_WAITS_NOT:
        break;
    }
    return "its turn; it has a page now from";
}

/* Tells of its wait, if it is long.  True: it is one for a frame. */
static bool watch_vcpu(struct vcpu *vcpu, uint64_t now)
{
    uint64_t since = atomic_load(&vcpu->stalled_since_ns);
    enum mm_waits_for queue = vcpu->waiter.queue;
    const struct store *store = machine_store();

    if (since == 0 || now < since + WAIT_LONG_NS) {
        vcpu->stall_told = false;
        return false;
    }
    if (!vcpu->stall_told) {
        vcpu->stall_told = true;
        vm_log(vcpu->vm, LOG_WARN, "vm %s: vCPU %u has been waiting for %lu s for %s %s",
               vcpu->vm->name, vcpu->index, (unsigned long)((now - since) / 1000000000),
               what_for(queue), store == NULL ? "no store" : store_device_name(store));
    }
    return queue == MM_WAITS_FRAME || queue == MM_WAITS_ROOM;
}

static struct vm *newest(void)
{
    struct vm *found = NULL;

    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm *vm = vm_at(i);

        if (vm->state == VM_ENDING) {
            return NULL; /* what it gives back may do */
        }
        if (vm_is_up(vm) && (found == NULL || vm->run.start_ns > found->run.start_ns)) {
            found = vm;
        }
    }
    return found;
}

void vm_watch(void)
{
    uint64_t now = arch_clock_ns();
    bool starved = false;

    if (!atomic_exchange(&due, false)) {
        return;
    }
    vm_balloons_poll();
    for (unsigned i = 0; i < vm_count(); i++) {
        struct vm *vm = vm_at(i);

        for (unsigned v = 0; vm_is_up(vm) && v < vm->run.vcpu_count; v++) {
            starved |= watch_vcpu(vm->run.vcpu[v], now);
        }
    }
    uint64_t missing = starved ? vm_promises_broken() : 0;
    struct vm *vm = missing != 0 ? newest() : NULL;

    if (vm != NULL) {
        vm_fail(vm, "%s has lost what was promised: %lu MiB are missing; it was started last",
                store_device_name(machine_store()), (unsigned long)((missing + 255) / 256));
    }
}
