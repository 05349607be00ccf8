/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: the operator's side of the serial console.
 *
 *   console input --> monitor_poll --> line editor (hv/operator/line_edit.h) --> command
 * (hv/operator/command.h)
 *                        \--> the attached guest's serial port
 *
 * One CPU at a time is in it (trylock, RANK_MONITOR).
 */
#ifndef SPILLWAY_HV_OPERATOR_MONITOR_H
#define SPILLWAY_HV_OPERATOR_MONITOR_H

#include "base/types.h"

/* Shows the prompt for the first time. */
void monitor_start(void);
/* Takes the characters that have come, runs complete commands, refreshes `top`, ends the machine
 * when its last VM has ended.  `called`: by loop_wake_monitor(); else it looks every few
 * milliseconds. Main loop, any CPU; bounded. */
void monitor_poll(bool called);

#endif
