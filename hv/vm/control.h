/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMs as the operator sees them: start, stop, pause, resume, reset, kill.
 *
 * Each call checks, starts the change and returns; vm_poll() carries it on from
 * the main loop until it is done.  False: it is refused, nothing has changed, and
 * the answer is one line that says what was expected.
 *
 *   STOPPED --start--> LOADING --> RUNNING <--pause/resume--> PAUSED
 *      ^                  |           |                          |
 *      +------ ENDING <---+-----------+--------------------------+
 */
#ifndef SPILLWAY_HV_VM_CONTROL_H
#define SPILLWAY_HV_VM_CONTROL_H

#include "hv/guest/vm.h"

/* The caller's; it is written to when a call is refused. */
struct vm_answer {
    char text[192];
};

/*
 * Keeps every VM in being: whoever reads or changes a VM, and is not one of its own vCPUs, does so
 * between these two.  All calls below but vm_poll() want it held.  RANK_VM_LIST.
 */
void vm_list_lock(void);
void vm_list_unlock(void);

/* Makes every VM of the configuration, STOPPED.  Boot CPU, once. */
void vm_init_all(void);
unsigned vm_count(void);
struct vm *vm_at(unsigned index);
struct vm *vm_find(const char *name);

bool vm_start(struct vm *vm, struct vm_answer *answer);
/* As vm_start(), at boot or after a reset, when nobody reads an answer: a refusal counts as a
 * failure of the VM. */
void vm_start_unasked(struct vm *vm);
bool vm_pause(struct vm *vm, struct vm_answer *answer);
bool vm_resume(struct vm *vm, struct vm_answer *answer);
bool vm_reset(struct vm *vm, struct vm_answer *answer);
/* Presses the guest's power button; cuts its power when it has not powered off some seconds later.
 * A guest that ends in one way or the other has not failed, unless it says so itself. */
bool vm_stop(struct vm *vm, struct vm_answer *answer);
/* Ends the VM as if its power were cut (outcome STOPPED). */
bool vm_kill(struct vm *vm, struct vm_answer *answer);
/* A pulse at LINT1 of each vCPU, as of a PC's NMI button: which of them takes an NMI is in their
 * APICs' hands (Linux has all masked but the boot CPU's). */
bool vm_nmi(struct vm *vm, struct vm_answer *answer);
/* A BREAK on its serial line. */
bool vm_break(struct vm *vm, struct vm_answer *answer);
/* "min=16M", "max=...", "shares=...", "cpu-shares=...", "tmem=...", "balloon=...": live. */
bool vm_set(struct vm *vm, const char *key, const char *value, struct vm_answer *answer);

/* Takes the list's lock itself.  One bounded step for every VM that is changing.  Main loop, any
 * CPU. */
void vm_poll(void);
/* Some VM is running, or has been. */
bool vm_any_started(void);
/* No VM is running, loading or ending. */
bool vm_all_stopped(void);
/* VMs whose last run failed (or that were refused). */
unsigned vm_failed_count(void);

/* Its weight when CPUs are shared. */
uint32_t vm_cpu_shares(const struct vm *vm);
/* One word, as `vms` shows it. */
const char *vm_state_name(const struct vm *vm);
/* Sums over the vCPUs. */
uint64_t vm_exits(const struct vm *vm);
uint64_t vm_stall_us(const struct vm *vm);
uint64_t vm_run_us(const struct vm *vm);

#endif
