/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every CPU's main loop: work that is not a guest's, then a vCPU, else idle.
 */
#ifndef SPILLWAY_HV_LOOP_H
#define SPILLWAY_HV_LOOP_H

#include "base/types.h"

/* Boot CPU, before any timer is used. */
void loop_init(void);
/* Never returns. */
_Noreturn void loop_run(void);
/*
 * One round of the work that is not a guest's: timers, disks, NICs, pager, VMs, monitor.  Bounded.
 * No locks held; a vCPU may be loaded.
 */
void loop_poll(void);
/* Arms this CPU's timer for the next thing to do, at the latest at `limit_ns`. */
void loop_arm_timer(uint64_t limit_ns);
/* There is work for loop_poll() on this CPU?  Cheap: looked at before every entry to a guest. */
bool loop_work_pending(void);

/* The pager has work. */
void loop_wake_pager(void);
/* The monitor has something to read, or a guest takes what is typed for it again. */
void loop_wake_monitor(void);
/* A VM wants vm_poll(). */
void loop_wake_vms(void);
/* The same, when so much time has passed: steps of long work leave the CPU to guests in between. */
void loop_wake_vms_after(uint64_t ns);

#endif
