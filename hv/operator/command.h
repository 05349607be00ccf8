/* SPDX-License-Identifier: BSD-2-Clause */
/* The monitor's commands: a line of words in, text on the console out. */
#ifndef SPILLWAY_HV_OPERATOR_COMMAND_H
#define SPILLWAY_HV_OPERATOR_COMMAND_H

#include "base/types.h"

/* Runs one line (which it cuts into words).  Main loop, no locks but RANK_MONITOR held. */
void command_run(char *line);
/* `top` is on: one more screen of it. */
void command_top_refresh(void);
bool command_top_active(void);
void command_top_end(void);

#endif
