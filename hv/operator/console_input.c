/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/operator/console_input.h"

#include "base/lock.h"
#include "drivers/uart.h"
#include "hv/loop.h"

#define STOP_BYTES  (CONSOLE_INPUT_BYTES - 1024) /* the other side may be slow to hear of it */
#define GO_ON_BYTES (CONSOLE_INPUT_BYTES / 2)

/* head and tail count bytes for ever; their difference is what waits. */
static struct {
    struct spinlock lock; /* all of this */
    char ring[CONSOLE_INPUT_BYTES];
    uint64_t head, tail;
    struct uart *uart;
    bool stopped; /* the other side has been asked to wait */
} input = {.lock = SPINLOCK_INIT(RANK_CONSOLE, "console input")};

static void stop_or_go_on(void)
{
    uint64_t waiting = input.head - input.tail;

    if (input.stopped ? waiting <= GO_ON_BYTES : waiting >= STOP_BYTES) {
        input.stopped = !input.stopped;
        uart_set_ready(input.uart, !input.stopped);
    }
}

void console_input_take(struct uart *uart)
{
    bool any = false;
    int c;

    spin_lock(&input.lock);
    input.uart = uart;
    while (input.head - input.tail < CONSOLE_INPUT_BYTES && (c = uart_get(uart)) >= 0) {
        input.ring[input.head % CONSOLE_INPUT_BYTES] = (char)c;
        input.head++;
        any = true;
    }
    stop_or_go_on();
    spin_unlock(&input.lock);
    if (any) {
        loop_wake_monitor();
    }
}

int console_input_peek(void)
{
    int c = -1;

    spin_lock(&input.lock);
    if (input.head != input.tail) {
        c = (unsigned char)input.ring[input.tail % CONSOLE_INPUT_BYTES];
    }
    spin_unlock(&input.lock);
    return c;
}

static void drop_to(uint64_t tail)
{
    input.tail = tail;
    stop_or_go_on();
}

void console_input_drop(void)
{
    spin_lock(&input.lock);
    if (input.head != input.tail) {
        drop_to(input.tail + 1);
    }
    spin_unlock(&input.lock);
}

bool console_input_skip_to(char c)
{
    bool found = false;

    spin_lock(&input.lock);
    for (uint64_t at = input.tail; at != input.head && !found; at++) {
        if (input.ring[at % CONSOLE_INPUT_BYTES] == c) {
            drop_to(at);
            found = true;
        }
    }
    spin_unlock(&input.lock);
    return found;
}
