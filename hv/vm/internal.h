/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of hv/vm/ and nobody else.  vm_list_lock is held for all of it. */
#ifndef SPILLWAY_HV_VM_INTERNAL_H
#define SPILLWAY_HV_VM_INTERNAL_H

#include "hv/guest/vm.h"
#include "hv/vm/control.h"

/* Always false; the answer says why. */
bool vm_refuse(struct vm_answer *answer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* hv/vm/promise.c: from now on the VM is promised these terms, and not what it was before; or they
 * are refused, and nothing has changed. */
bool vm_promise(struct vm *vm, const struct admission_terms *terms, struct vm_answer *answer);
void vm_unpromise(struct vm *vm);
/* Its live settings. */
struct admission_terms vm_terms(const struct vm *vm);
/* Counts the promised pages that have no place any more: the store has lost slots, or has taken no
 * writes for so long that nobody believes in it. */
uint64_t vm_promises_broken(void);
/* Has it been started, and does not end yet?  It holds what it was promised then. */
static inline bool vm_is_up(const struct vm *vm)
{
    return vm->state == VM_RUNNING || vm->state == VM_PAUSED || vm->state == VM_LOADING;
}
/* Starts all of its vCPUs, which are STOPPED. */
void vm_run_vcpus(struct vm *vm);
/* LOADING: copies the next piece of the kernel if it can.  True: call again soon. */
bool vm_poll_loading(struct vm *vm);
/* Its kernel is in place, or is not wanted any more: another VM's may follow. */
void vm_end_load(struct vm *vm);

/*
 * hv/vm/disk.c: the disks of its configuration, for a run: they are there, they are not the
 * store's, and nobody who is up has any block of them, unless both say that they share it.  False:
 * the answer says which one is not, and what was expected.
 */
struct vm_disks {
    struct vm_disk disk[VM_DISKS_MAX];
    unsigned count;
};
bool vm_find_disks(const struct vm *vm, struct vm_disks *disks, struct vm_answer *answer);

/* hv/vm/end.c: the end begins: vCPUs are asked to stop.  vm->lock held, or the VM has not run. */
void vm_set_ending(struct vm *vm, enum vm_outcome outcome, uint32_t code);
/* As vm_set_ending() for a VM that has not ended; then, if asked, it starts again.  Takes vm->lock;
 * the list's lock is not needed. */
void vm_end_from(struct vm *vm, enum vm_outcome outcome, uint32_t code, bool restart);
/* Keeps a VM that is ENDING from starting again: its outcome is STOPPED.  False: it was not about
 * to.  vm->lock is held. */
bool vm_stay_off(struct vm *vm);
/* Have all of its vCPUs stopped?  None is in a guest or waits for a CPU then. */
bool vm_vcpus_stopped(const struct vm *vm);
/* ENDING: gives back some of what can be given back now.  True: call again soon. */
bool vm_poll_ending(struct vm *vm);

/* hv/vm/restart.c: begins the wait before the next run of a VM that has ended; how long, in ns. */
uint64_t vm_restart_begin(struct vm *vm);
/* Ends that wait. */
void vm_restart_now(struct vm *vm);
/* Starts it when it is time; or it stays off, should it have been killed. */
void vm_poll_restart(struct vm *vm);

/* hv/vm/watch.c: once a second: tells of vCPUs that have been waiting for long, and what for, and
 * ends a VM if that is because the promises cannot be kept any more. */
void vm_watch_init(void);
void vm_watch(void);

/* hv/vm/balloon.c: once a second: asks VMs for as much of their memory as they shall give up now.
 */
void vm_balloons_poll(void);

/* hv/vm/stop.c: RUNNING or PAUSED, and asked to stop: cuts its power when its time is over. */
void vm_poll_stop(struct vm *vm);

#endif
