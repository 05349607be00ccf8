/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/machine/refuse.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "hv/arch.h"
#include "hv/config/config.h"
#include "hv/machine.h"
#include "hv/operator/console.h"
#include "hv/operator/console_input.h"
#include "hv/operator/serial_line.h"

#define SHOWN_MAX 100 /* of a file that is something else altogether */
#define WAIT_NS   60000000000ull

static unsigned noted;

void refuse_note(const char *error)
{
    char line[CONFIG_ERROR_MAX + 32];

    if (++noted > SHOWN_MAX) {
        return;
    }
    snprintf(line, sizeof(line), "spillway: configuration: %s", error);
    console_write_line(line);
}

void refuse_value(unsigned line, const char *format, ...)
{
    char error[CONFIG_ERROR_MAX];
    int used = snprintf(error, sizeof(error), CONFIG_FILE_NAME ":%u: ", line);
    va_list args;

    va_start(args, format);
    vsnprintf(error + used, sizeof(error) - (size_t)used, format, args);
    va_end(args);
    refuse_note(error);
}

/* Ignores keys that were typed before. */
static void wait_for_key(void)
{
    uint64_t end = arch_clock_ns() + WAIT_NS;

    serial_line_poll();
    while (console_input_peek() >= 0) {
        console_input_drop();
    }
    while (console_input_peek() < 0 && arch_clock_ns() < end) {
        serial_line_poll();
        __builtin_ia32_pause();
    }
}

void refuse_configuration(void)
{
    char line[96];

    snprintf(line, sizeof(line),
             "spillway: configuration: %u error%s, no guest is started; off in 60 s, or at a key",
             noted, noted == 1 ? "" : "s");
    machine_say_last(line);
    wait_for_key();
    arch_power_off();
}

void refuse_machine(const char *why)
{
    char line[160];

    log_error("%s", why);
    snprintf(line, sizeof(line), "spillway: PANIC: %s", why);
    machine_say_last(line);
    arch_power_off();
}
