/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine with some VMs, whose parts are always the same: of a VM's life only hv/vm/ is real, the
 * rest says yes at once, unless a test has it wait or fail.
 */
#ifndef SPILLWAY_TESTS_UNIT_VM_MACHINE_H
#define SPILLWAY_TESTS_UNIT_VM_MACHINE_H

#include "hv/config/config.h"
#include "hv/run/vcpu.h"
#include "hv/vm/control.h"

#define VMS   8
#define VCPUS 2

extern struct config host_config;
extern struct vcpu vcpus[VMS * VCPUS];
extern uint64_t now_ns;
extern bool load_waits, load_fails, load_holds;
extern unsigned loading; /* VMs */
extern unsigned failures;
extern char failure[200];       /* the last one */
extern unsigned breaks, pulses; /* that the VM has been given */
extern struct vm *first_vm;
extern struct vm_answer last_answer;

/* Polls with time passing until the first VM is in that state. */
void poll_until(enum vm_state state);
/* As its guest does. */
void power_off(void);
void kill_first_vm(void);
/* All VMs are there, and stopped. */
void vm_machine_start(void);

#endif
