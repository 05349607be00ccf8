/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "hv/guest/vm.h"
#include "tests/unit/xorshift.h"

#define CPUS 64u

static _Thread_local unsigned this_cpu = CPUS; /* not set */
static _Atomic unsigned next_cpu;
static int printed_level = LOG_WARN;
static const char *watched; /* NULL: nothing */
static _Atomic unsigned watched_lines;
static uint64_t random_state = 1;

bool support_panic_expected;
char support_panic_text[256];
jmp_buf support_panic_jump;

void support_set_cpu(unsigned cpu)
{
    this_cpu = cpu;
}

unsigned support_cpu(void)
{
    if (this_cpu == CPUS) {
        this_cpu = next_cpu++ % CPUS;
    }
    return this_cpu;
}

/* The main thread is CPU 0. */
__attribute__((constructor)) static void first_cpu(void)
{
    support_cpu();
}

unsigned lock_cpu_id(void)
{
    return support_cpu();
}

void support_log_level(int level)
{
    printed_level = level;
}

void support_log_watch(const char *text)
{
    watched = text;
    watched_lines = 0;
}

unsigned support_log_seen(void)
{
    return watched_lines;
}

static void log_args(enum log_level level, const char *format, va_list args)
{
    char line[256];

    vsnprintf(line, sizeof(line), format, args);
    if (watched != NULL && strstr(line, watched) != NULL) {
        watched_lines++;
    }
    if ((int)level <= printed_level) {
        fprintf(stderr, "log: %s\n", line);
    }
}

/* Both weak: test_log has the true ones. */
__attribute__((weak)) void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_args(level, format, args);
    va_end(args);
}

__attribute__((weak)) void vm_log(struct vm *vm, enum log_level level, const char *format, ...)
{
    va_list args;

    (void)vm;
    va_start(args, format);
    log_args(level, format, args);
    va_end(args);
}

void panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(support_panic_text, sizeof(support_panic_text), format, args);
    va_end(args);
    if (support_panic_expected) {
        longjmp(support_panic_jump, 1);
    }
    fprintf(stderr, "PANIC: %s\n", support_panic_text);
    abort();
}

uint64_t support_seed(uint64_t fallback)
{
    const char *text = getenv("SEED");
    uint64_t seed = text == NULL ? fallback : strtoull(text, NULL, 0);

    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    random_state = seed * 2 + 1;
    return seed;
}

uint64_t support_random(void)
{
    return xorshift64(&random_state);
}

uint64_t support_random_below(uint64_t below)
{
    return (support_random() >> 16) % below;
}
