/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log, panic and assert, as every layer sees them.
 *
 * Contract: the hypervisor supplies these in hv/operator/log.c and hv/machine/panic.c; the host
 * tests supply them in tests/unit/support.c.  All may be called in any context
 * and with any locks held.
 *
 * Four tiers of failure that are never mixed: return an error; stop the guest
 * (vm_fail); panic(); ASSERT().  An ASSERT is never error handling: it states
 * what the code above it has made true, and vanishes with -DNDEBUG.
 */
#ifndef SPILLWAY_BASE_LOG_H
#define SPILLWAY_BASE_LOG_H

enum log_level {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG,
};

/* One line without newline; the time stamp and "hv: " are added. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)

/* Stops the whole machine with registers, backtrace and the last log lines. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef NDEBUG
#define ASSERT(cond) ((void)sizeof(cond))
#else
#define ASSERT(cond)                                                                               \
    ((cond) ? (void)0 : panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond))
#endif

#endif
