/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/lock.h"
#include "hv/arch.h"
#include "hv/console.h"

static struct spinlock log_lock = SPINLOCK_INIT(RANK_LOG, "log");
static char ring[LOG_LINES][LOG_LINE_MAX];
static uint64_t written; /* lines ever written */
static enum log_level console_level = LOG_INFO;
static bool panicking;

void log_set_level(enum log_level level)
{
    console_level = level;
}

static void ring_store(const char *line)
{
    if (!panicking) {
        spin_lock(&log_lock);
    }
    memcpy(ring[written++ % LOG_LINES], line, LOG_LINE_MAX);
    if (!panicking) {
        spin_unlock(&log_lock);
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX] = {0};
    uint64_t us = arch_clock_ns() / 1000;
    va_list args;
    int used = snprintf(line, sizeof(line), "[%lu.%06lu] hv: ", (unsigned long)(us / 1000000),
                        (unsigned long)(us % 1000000));

    va_start(args, format);
    vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
    va_end(args);
    ring_store(line);
    if (level <= console_level) {
        console_write_line(line);
    }
}

void log_replay(unsigned count, void (*show)(const char *line))
{
    uint64_t end = written;
    uint64_t begin = end > count ? end - count : 0;

    if (end - begin > LOG_LINES) {
        begin = end - LOG_LINES;
    }
    for (uint64_t i = begin; i < end; i++) {
        char line[LOG_LINE_MAX];

        if (!panicking) {
            spin_lock(&log_lock);
        }
        memcpy(line, ring[i % LOG_LINES], sizeof(line));
        if (!panicking) {
            spin_unlock(&log_lock);
        }
        show(line);
    }
}

void log_panic_mode(void)
{
    panicking = true;
}
