/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine that the monitor's commands look at: its VMs, disks, NICs and store have figures that
 * are all different, and what is shown is kept.
 */
#ifndef SPILLWAY_TESTS_UNIT_COMMAND_MACHINE_H
#define SPILLWAY_TESTS_UNIT_COMMAND_MACHINE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

#include "hv/guest/vm.h"
#include "mm/content/store.h"

#define TEXT_BYTES (1u << 20)
#define VMS_MAX    20u

extern char shown[TEXT_BYTES]; /* by commands */
extern size_t shown_bytes;
extern unsigned vms_used, nics_used;
extern bool has_store;
extern struct store_stats store_stats;
/* Where poweroff and reboot go. */
extern jmp_buf ended;

struct vm *add_vm(const char *name, enum vm_state state);
/* For cmocka: VMs in each state, NICs, and a store. */
int command_machine_begin(void **state);

#endif
