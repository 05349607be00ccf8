/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hv/console.c */
/* The console between guests that mean no good and an operator who reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/uart.h"
#include "hv/console.h"
#include "hv/vm.h"

/* ---- a port that takes everything, when it is asked ---- */

static char port[1 << 20];
static size_t port_bytes;

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

int uart_get(struct uart *uart)
{
    (void)uart;
    return -1;
}

bool uart_rx_interrupt_enable(struct uart *uart, unsigned cpu, platform_irq_handler handler,
                              void *owner)
{
    (void)uart;
    (void)cpu;
    (void)handler;
    (void)owner;
    return false;
}

/* ---- tests ---- */

static struct vm alpha = {.name = "alpha", .index = 0};
static struct vm beta = {.name = "beta", .index = 1};

static void print(struct vm *vm, const char *text)
{
    for (; *text != '\0'; text++) {
        console_guest_output(vm, *text);
    }
}

static const char *shown(void)
{
    console_flush();
    port[port_bytes] = '\0';
    port_bytes = 0;
    return port;
}

static void lines(void **state)
{
    char text[CONSOLE_LINE_MAX + 3];

    (void)state;
    print(&alpha, "one\r\ntw");
    print(&beta, "other\n");
    print(&alpha, "o\n");
    assert_string_equal(shown(), "alpha| one\r\nbeta| other\r\nalpha| two\r\n");
    print(&alpha, "unfinished");
    console_guest_flush(&alpha);
    assert_string_equal(shown(), "alpha| unfinished\r\n");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 2] = '\n';
    text[sizeof(text) - 1] = '\0';
    print(&alpha, text); /* in two pieces, each with the name */
    assert_string_equal(shown() + 7 + CONSOLE_LINE_MAX, "\r\nalpha| x\r\n");
}

static void control_characters(void **state)
{
    (void)state;
    print(&alpha, "a\x1b[2J\x08\x7f\x9b"
                  "31m\tz\n");
    assert_string_equal(shown(), "alpha| a.[2J...31m\tz\r\n");
    print(&alpha, "\rspillway: power off: all guests ok\n");
    assert_string_equal(shown(), "alpha| spillway: power off: all guests ok\r\n");
}

/* Whatever guests print, what the hypervisor says afterwards comes out whole. */
static void flood(void **state)
{
    const char *text;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        print(&alpha, "flood\n");
    }
    print(&beta, "not heard\n");
    for (unsigned i = 0; i < 500; i++) {
        console_printf("answer %u of the monitor\n", i);
    }
    text = shown();
    assert_null(strstr(text, "beta|"));
    for (unsigned i = 0; i < 500; i++) {
        char answer[40];

        snprintf(answer, sizeof(answer), "\nanswer %u of the monitor\r\n", i);
        assert_non_null(strstr(text, answer));
    }
    print(&alpha, "again\n");
    print(&beta, "again\n");
    text = shown();
    assert_non_null(strstr(text, "lines lost)\r\nalpha| again\r\n"));
    assert_non_null(strstr(text, "beta| (1 lines lost)\r\nbeta| again\r\n"));
}

static void attached(void **state)
{
    (void)state;
    print(&alpha, "before\n");
    (void)shown();
    console_attach(&alpha);
    print(&alpha, "\x1b[1m");
    print(&beta, "unseen\n");
    assert_non_null(strstr(shown(), "before\n\x1b[1m"));
    for (unsigned i = 0; i < 1000000; i++) {
        console_guest_output(&alpha, 'x');
    }
    console_attach(NULL);
    console_write_line("hv: still here");
    assert_non_null(strstr(shown(), "hv: still here\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(control_characters),
        cmocka_unit_test(flood),
        cmocka_unit_test(attached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
