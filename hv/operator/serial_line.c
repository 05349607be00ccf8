/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/serial_line.h"

#include "arch/x86/hw/ports.h"
#include "base/log.h"
#include "drivers/uart.h"
#include "hv/operator/console.h"
#include "hv/operator/console_input.h"
#include "hv/operator/sink.h"

#define COM1_BAUD 115200

static struct uart uart;
static bool open;              /* there is such a port */
static bool added;             /* it is a sink */
static uint64_t overruns_told; /* by who polls only */

static size_t take(struct sink *sink, const char *text, size_t bytes, enum sink_patience patience)
{
    (void)sink;
    switch (patience) {
    case SINK_NOW:
        return uart_write_ready(&uart, text, bytes);
    case SINK_WAIT:
        uart_write(&uart, text, bytes);
        break;
    case SINK_PANIC:
        uart_write_unlocked(&uart, text, bytes);
        break;
    }
    return bytes;
}

static void expect(struct sink *sink, bool more)
{
    (void)sink;
    uart_want_transmit(&uart, more);
}

static void finish(struct sink *sink)
{
    (void)sink;
    uart_drain(&uart);
}

static void end(struct sink *sink, const char *line)
{
    (void)sink; /* it was shown the line */
    (void)line;
}

static struct sink serial_sink = {
    .take = take,
    .expect = expect,
    .finish = finish,
    .end = end,
};

void serial_line_open(uint16_t port, unsigned baud)
{
    open = uart_init(&uart, port, baud);
    if (!added) {
        added = true;
        console_add_sink(&serial_sink);
    }
}

void serial_line_open_default(void)
{
    if (!open) {
        serial_line_open(IOPORT_COM1, COM1_BAUD);
    }
}

/* In, out, and what comes meanwhile is the next interrupt. */
static void on_interrupt(void *owner)
{
    (void)owner;
    console_input_take(&uart);
    console_drain();
    uart_interrupt_again(&uart);
}

void serial_line_enable_interrupts(void)
{
    uart_interrupt_enable(&uart, 0, on_interrupt, NULL);
}

void serial_line_poll(void)
{
    uint64_t overruns;

    if (!open) {
        return;
    }
    console_input_take(&uart);
    overruns = __atomic_load_n(&uart.overruns, __ATOMIC_RELAXED);
    if (overruns != overruns_told) {
        overruns_told = overruns;
        log_warn("console: the port has lost characters that were typed, %lu times so far",
                 (unsigned long)overruns);
    }
}
