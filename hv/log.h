/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: a ring of the last lines, shown on the console up to a level.  The
 * calls that write are those of base/log.h.  Lock: RANK_LOG.
 */
#ifndef SPILLWAY_HV_LOG_H
#define SPILLWAY_HV_LOG_H

#include "base/log.h"
#include "base/types.h"

#define LOG_LINE_MAX 160
#define LOG_LINES    128

/* Lines of this level and more important ones are shown on the console. */
void log_set_level(enum log_level level);
/* Calls show(line) for the last `count` lines, oldest first. */
void log_replay(unsigned count, void (*show)(const char *line));
/* Panic: no locks from here on. */
void log_panic_mode(void);

#endif
