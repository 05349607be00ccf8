/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM that has reset itself is started again: at once, unless it does so again and again right
 * after its start.  Then it waits, each time twice as long, so that one whose kernel cannot even
 * begin does not keep the machine, the console and the log busy.  It stays ENDING meanwhile.
 */
#include "base/bits.h"
#include "hv/arch.h"
#include "hv/loop.h"
#include "hv/vm/control.h"
#include "hv/vm/internal.h"

#define EARLY_US   1000000ull /* of CPU time: a run of less counts */
#define FREE_RUNS  3u         /* of them are followed by another one at once */
#define PAUSE_NS   100000000ull
#define DOUBLINGS  6u
#define PAUSE_MOST 10000000000ull

/* How long to wait after the run that has just ended. */
static uint64_t next_pause(struct vm *vm)
{
    vm->early_runs = vm->run.total.run_us < EARLY_US ? vm->early_runs + 1 : 0;
    if (vm->early_runs <= FREE_RUNS) {
        return 0;
    }
    return MIN(PAUSE_NS << MIN(vm->early_runs - FREE_RUNS - 1, DOUBLINGS + 1), PAUSE_MOST);
}

static void fire(struct timer *timer)
{
    (void)timer;
    loop_wake_vms();
}

uint64_t vm_restart_begin(struct vm *vm)
{
    uint64_t pause = next_pause(vm);

    if (pause != 0) {
        timer_init(&vm->restart_timer, fire);
        timer_set(&vm->restart_timer, vm->run.end_ns + pause);
    }
    vm->restart_ns = vm->run.end_ns + pause;
    return pause;
}

void vm_restart_now(struct vm *vm)
{
    vm->restart_ns = vm->run.end_ns;
    loop_wake_vms();
}

void vm_poll_restart(struct vm *vm)
{
    bool wanted;

    spin_lock(&vm->lock);
    wanted = vm->run.restart;
    if (wanted && arch_clock_ns() < vm->restart_ns) {
        spin_unlock(&vm->lock);
        return; /* its timer calls again */
    }
    vm->restart_ns = 0;
    vm->state = VM_STOPPED;
    spin_unlock(&vm->lock);
    if (wanted) {
        vm_start_unasked(vm);
    } else {
        vm_log(vm, LOG_INFO, "vm %s: stopped by the operator", vm->name);
    }
}
