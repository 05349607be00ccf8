/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 16550 serial port by I/O port, 8N1.
 *
 * Usable from the first instruction on: needs no memory, no interrupt and no
 * clock.  Life cycle: uart_init(), then any of the calls below from any CPU.
 * Locks: `lock` (RANK_UART) is taken by all but the *_unlocked calls, which are
 * for panic, when its holder may be stopped for ever.
 */
#ifndef SPILLWAY_DRIVERS_UART_H
#define SPILLWAY_DRIVERS_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "drivers/platform.h"

struct uart {
    struct spinlock lock; /* protects all below */
    uint16_t port;        /* first of eight I/O ports */
    bool present;         /* something answered at uart_init */
    bool stuck;           /* the last byte could not be sent: try once, do not wait */
    unsigned fifo;        /* bytes the transmit FIFO holds when it is empty */
    unsigned room;        /* bytes that may be sent before THRE is looked at again */
    bool interrupts;      /* uart_interrupt_enable() has been */
    bool ready, sending;  /* uart_set_ready(), uart_want_transmit() */
    uint8_t ier;          /* as it is */
    uint64_t overruns;    /* how often received bytes have been lost in the port */
};

/*
 * "com1" .. "com4" or "0xPORT", optionally ",SPEED" (default 115200).  False, and nothing
 * changed, if the text is neither.  The speed must divide 115200.
 */
bool uart_parse(const char *text, uint16_t *port, unsigned *baud);

/* Sets the speed and 8N1, empties the FIFOs, masks the interrupts.  False if no UART answers;
 * the other calls are then harmless and do nothing. */
bool uart_init(struct uart *uart, uint16_t port, unsigned baud);

/* Sends `size` bytes in one piece (no other CPU's bytes between); waits for room, but not for ever:
 * what a dead port will not take is lost. */
void uart_write(struct uart *uart, const char *data, size_t size);
/* Sends what the FIFO takes now, without waiting; how many bytes that was. */
size_t uart_write_ready(struct uart *uart, const char *data, size_t size);
/*
 * Waits, but not for ever, until the last byte has left the port.  Before power-off or reset:
 * what is still in the FIFO then is lost.  Takes no lock.
 */
void uart_drain(struct uart *uart);
/* uart_write without the lock: panic only. */
void uart_write_unlocked(struct uart *uart, const char *data, size_t size);

/* Next received byte 0..255, or -1 if there is none. */
int uart_get(struct uart *uart);

/* May the other side send (RTS)?  It depends on its settings whether it cares.  While it may not,
 * receiving does not interrupt. */
void uart_set_ready(struct uart *uart, bool ready);

/*
 * Interrupt on receive, and while uart_want_transmit() says so on an empty transmit FIFO, delivered
 * to `cpu` as handler(owner).  The line is an edge: a handler reads with uart_get() until it
 * returns -1, sends, and ends with uart_interrupt_again().  False if the port has no known IRQ (not
 * one of com1..com4), no vector is left or there is no IOAPIC; poll then.
 */
bool uart_interrupt_enable(struct uart *uart, unsigned cpu, platform_irq_handler handler,
                           void *owner);
/* Cheap when nothing changes. */
void uart_want_transmit(struct uart *uart, bool want);
/* What has come since makes a new edge. */
void uart_interrupt_again(struct uart *uart);

#endif
