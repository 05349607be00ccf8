/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/console_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/uart.h"
#include "hv/arch.h"
#include "hv/loop.h"

char port[1 << 21];
size_t port_bytes;

bool uart_init(struct uart *uart, uint16_t number, unsigned baud)
{
    (void)uart;
    (void)number;
    (void)baud;
    return true;
}

void uart_write(struct uart *uart, const char *data, size_t size)
{
    (void)uart;
    assert_true(size <= sizeof(port) - port_bytes);
    memcpy(port + port_bytes, data, size);
    port_bytes += size;
}

void uart_write_unlocked(struct uart *uart, const char *data, size_t size)
{
    uart_write(uart, data, size);
}

size_t uart_write_ready(struct uart *uart, const char *data, size_t size)
{
    uart_write(uart, data, size);
    return size;
}

void uart_drain(struct uart *uart)
{
    (void)uart;
}

const char *typed = "";
size_t typed_bytes;
bool ready = true, wants_transmit;
unsigned wakes;
uint64_t now_ns;
platform_irq_handler on_interrupt;

uint64_t port_overruns;

int uart_get(struct uart *uart)
{
    uart->overruns = port_overruns;
    return typed_bytes == 0 ? -1 : (typed_bytes--, (unsigned char)*typed++);
}

void uart_set_ready(struct uart *uart, bool is_ready)
{
    (void)uart;
    ready = is_ready;
}

void uart_want_transmit(struct uart *uart, bool want)
{
    (void)uart;
    wants_transmit = want;
}

void uart_interrupt_again(struct uart *uart)
{
    (void)uart;
}

bool uart_interrupt_enable(struct uart *uart, unsigned cpu, platform_irq_handler handler,
                           void *owner)
{
    (void)uart;
    (void)cpu;
    (void)owner;
    on_interrupt = handler;
    return true;
}

void loop_wake_monitor(void)
{
    wakes++;
}

uint64_t arch_clock_ns(void)
{
    return now_ns;
}

char told[64];

void arch_tell_emulator(const char *line)
{
    assert_string_equal(told, "");
    snprintf(told, sizeof(told), "%s", line);
}
