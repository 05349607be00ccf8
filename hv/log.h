/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: the last lines, shown on the console up to a level.  Lines of the hypervisor's own are
 * those of base/log.h; those about a VM are written by vm_log() of hv/guest/vm.h.
 *
 * Each VM is a source of lines, and so is the hypervisor.  When the log is full, the source that
 * has most lines in it loses its oldest one: lines about a noisy VM cannot push out those about
 * the others.  A line that its source has just said is counted, not stored again.
 * Lock: RANK_LOG.
 */
#ifndef SPILLWAY_HV_LOG_H
#define SPILLWAY_HV_LOG_H

#include <stdarg.h>

#include "base/log.h"
#include "base/types.h"

#define LOG_LINE_MAX 160
#define LOG_LINES    512

/* The hypervisor itself; a VM is the source 1 + its index. */
#define LOG_SOURCE_HOST 0

/* As log_line(), from that source. */
void log_source_line(unsigned source, enum log_level level, const char *format, va_list args);
/* Lines of this level and more important ones are shown on the console, and kept; those down to
 * LOG_INFO are always kept. */
void log_set_level(enum log_level level);
/* Calls show(line) for the last `count` lines, oldest first. */
void log_replay(unsigned count, void (*show)(const char *line));
/* While held, no line goes to the console: for a live view.  Afterwards those that would have gone
 * are shown, so far as they are still there. */
void log_hold(bool hold);
/* Panic: no locks from here on. */
void log_panic_mode(void);

#endif
