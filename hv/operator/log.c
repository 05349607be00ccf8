/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/log.h"

#include <stdio.h>
#include <string.h>

#include "base/lock.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/operator/console.h"

#define SOURCES (1 + CONFIG_VMS_MAX)
#define NONE    UINT16_MAX

struct entry {
    char line[LOG_LINE_MAX];
    uint64_t sequence; /* from 1; 0: never used */
    uint64_t times;    /* it was said */
    enum log_level level;
    uint16_t next; /* of the same source */
};

/* Oldest first. */
struct source {
    uint16_t first, last;
    uint16_t lines; /* 0: first and last mean nothing */
};

static struct {
    struct spinlock lock; /* all of this */
    struct entry entry[LOG_LINES];
    struct source source[SOURCES];
    uint16_t used;    /* entries */
    uint64_t written; /* lines ever stored */
    enum log_level console_level;
    bool held;
    uint64_t held_since; /* what had been written */
    bool panicking;
} ring = {.lock = SPINLOCK_INIT(RANK_LOG, "log"), .console_level = LOG_INFO};

static void lock(void)
{
    if (!ring.panicking) {
        spin_lock(&ring.lock);
    }
}

static void unlock(void)
{
    if (!ring.panicking) {
        spin_unlock(&ring.lock);
    }
}

void log_set_level(enum log_level level)
{
    ring.console_level = level;
}

/* ---- keeping ---- */

/* Takes the oldest entry away from the source that has most. */
static uint16_t evict_locked(void)
{
    struct source *most = &ring.source[0];
    uint16_t index;

    for (unsigned i = 1; i < SOURCES; i++) {
        if (ring.source[i].lines > most->lines) {
            most = &ring.source[i];
        }
    }
    index = most->first;
    most->first = ring.entry[index].next;
    most->lines--;
    return index;
}

static void append_locked(struct source *source, uint16_t index)
{
    ring.entry[index].next = NONE;
    if (source->lines++ == 0) {
        source->first = index;
    } else {
        ring.entry[source->last].next = index;
    }
    source->last = index;
}

/* Behind the time stamp. */
static const char *text_of(const char *line)
{
    const char *end = strchr(line, ']');

    return end != NULL ? end : line;
}

static bool is_said_again_locked(const struct source *source, const char *line)
{
    return source->lines != 0 && strcmp(text_of(ring.entry[source->last].line), text_of(line)) == 0;
}

/* Keeps the line; returns how often its source has said it in a row. */
static uint64_t store(unsigned number, enum log_level level, const char *line)
{
    struct source *source = &ring.source[number];
    uint64_t times = 1;
    struct entry *entry;

    lock();
    if (is_said_again_locked(source, line)) {
        times = ++ring.entry[source->last].times;
    } else {
        append_locked(source, ring.used < LOG_LINES ? ring.used++ : evict_locked());
        entry = &ring.entry[source->last];
        memcpy(entry->line, line, LOG_LINE_MAX);
        entry->sequence = ++ring.written;
        entry->times = 1;
        entry->level = level;
    }
    unlock();
    return times;
}

/* ---- saying ---- */

/* 1, 10, 100 and so on: a line that is said again and again is still heard now and then. */
static bool is_power_of_ten(uint64_t number)
{
    while (number % 10 == 0) {
        number /= 10;
    }
    return number == 1;
}

static void add_times(char *line, uint64_t times)
{
    size_t used = strlen(line);

    if (times > 1) {
        snprintf(line + used, LOG_LINE_MAX - used, " (%lu times)", (unsigned long)times);
    }
}

void log_source_line(unsigned source, enum log_level level, const char *format, va_list args)
{
    char line[LOG_LINE_MAX] = {0};
    uint64_t us = arch_clock_ns() / 1000;
    uint64_t times;
    int used;

    if (level > ring.console_level && level > LOG_INFO) {
        return;
    }
    used = snprintf(line, sizeof(line), "[%lu.%06lu] hv: ", (unsigned long)(us / 1000000),
                    (unsigned long)(us % 1000000));
    vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
    times = store(source, level, line);
    if (level <= ring.console_level && !ring.held && is_power_of_ten(times)) {
        add_times(line, times);
        console_write_line(line);
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_source_line(LOG_SOURCE_HOST, level, format, args);
    va_end(args);
}

/* ---- showing again ---- */

/* The oldest entry behind that sequence number; NULL: none. */
static const struct entry *next_locked(uint64_t sequence)
{
    const struct entry *found = NULL;

    for (unsigned i = 0; i < ring.used; i++) {
        const struct entry *entry = &ring.entry[i];

        if (entry->sequence > sequence && (found == NULL || entry->sequence < found->sequence)) {
            found = entry;
        }
    }
    return found;
}

/* Calls show() for the lines behind a sequence number, up to a level. */
static void replay_from(uint64_t sequence, enum log_level level, void (*show)(const char *line))
{
    char line[LOG_LINE_MAX];
    const struct entry *entry;
    bool wanted;

    for (;;) {
        lock();
        entry = next_locked(sequence);
        if (entry == NULL) {
            break;
        }
        sequence = entry->sequence;
        wanted = entry->level <= level;
        memcpy(line, entry->line, sizeof(line));
        add_times(line, entry->times);
        unlock();
        if (wanted) {
            show(line);
        }
    }
    unlock();
}

/* The sequence number before that of the last `count` entries. */
static uint64_t before_last(unsigned count)
{
    uint64_t sequence = 0;
    unsigned skip;

    lock();
    skip = ring.used > count ? ring.used - count : 0;
    while (skip-- > 0) {
        sequence = next_locked(sequence)->sequence;
    }
    unlock();
    return sequence;
}

void log_replay(unsigned count, void (*show)(const char *line))
{
    replay_from(before_last(count), LOG_DEBUG, show);
}

void log_hold(bool hold)
{
    uint64_t since;

    lock();
    since = ring.held_since;
    ring.held_since = ring.written;
    ring.held = hold;
    unlock();
    if (!hold) {
        replay_from(since, ring.console_level, console_write_line);
    }
}

void log_panic_mode(void)
{
    ring.panicking = true;
}
