/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of the machine: base/log.h's panic(). */
#include "hv/machine/panic.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "hv/arch.h"
#include "hv/log.h"
#include "hv/operator/console.h"
#include "hv/operator/emulator_port.h"
#include "hv/operator/serial_line.h"

#define PANIC_LOG_LINES 20

static _Atomic bool panicking;
static bool reset_after;

void panic_set_reset(bool reset)
{
    reset_after = reset;
}

static void show_line(const char *line)
{
    console_printf("    %s\n", line);
}

void panic(const char *format, ...)
{
    char message[160], last[192];
    va_list args;

    arch_panic_stop_others(); /* of two CPUs that panic at once, the later one stays there */
    if (atomic_exchange(&panicking, true)) {
        arch_power_off(); /* this CPU was speaking already */
    }
    log_panic_mode();
    console_panic_mode();
    emulator_port_open();
    serial_line_open_default();
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    console_printf("\nhypervisor panic on CPU %u: %s\n", arch_cpu_id(), message);
    arch_panic_dump();
    console_printf("last log lines:\n");
    log_replay(PANIC_LOG_LINES, show_line);
    snprintf(last, sizeof(last), "spillway: PANIC: %s", message);
    console_printf("%s\n", last);
    console_end(last);
    if (reset_after) {
        arch_reset();
    }
    arch_power_off();
}
