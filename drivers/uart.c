/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550 UART of the machine. */
#include "drivers/uart.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/hw/ports.h"
#include "arch/x86/hw/uart16550.h"
#include "base/bits.h"

/* Reads of LSR, about 1 us each on hardware: longer than a full FIFO takes at 1200 baud. */
#define UART_WAIT_READS 200000

static const struct {
    uint16_t port;
    uint8_t irq;
} com_ports[] = {{IOPORT_COM1, 4}, {IOPORT_COM2, 3}, {IOPORT_COM3, 4}, {IOPORT_COM4, 3}};

bool uart_parse(const char *text, uint16_t *port, unsigned *baud)
{
    unsigned long speed = UART_CLOCK, base = 0;
    char *end = NULL;

    if (strncmp(text, "com", 3) == 0 && text[3] >= '1' && text[3] <= '4') {
        base = com_ports[text[3] - '1'].port;
        text += 4;
    } else if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = strtoul(text, &end, 16);
        text = end;
    }
    if (*text == ',' && isdigit((unsigned char)text[1])) {
        speed = strtoul(text + 1, &end, 10);
        text = end;
    }
    if (*text != '\0' || base == 0 || base > 0xfff8 || speed == 0 || speed > UART_CLOCK ||
        UART_CLOCK % speed != 0) {
        return false;
    }
    *port = (uint16_t)base;
    *baud = (unsigned)speed;
    return true;
}

static uint8_t uart_read(const struct uart *uart, unsigned reg)
{
    return port_in8((uint16_t)(uart->port + reg));
}

static void uart_set(const struct uart *uart, unsigned reg, uint8_t value)
{
    port_out8((uint16_t)(uart->port + reg), value);
}

bool uart_init(struct uart *uart, uint16_t port, unsigned baud)
{
    unsigned divisor = baud != 0 && baud <= UART_CLOCK ? UART_CLOCK / baud : 1;

    memset(uart, 0, sizeof(*uart));
    spin_init(&uart->lock, RANK_UART, "uart");
    uart->port = port;
    uart_set(uart, UART_IER, 0);
    uart_set(uart, UART_LCR, LCR_8N1 | LCR_DLAB);
    uart_set(uart, UART_DLL, (uint8_t)divisor);
    uart_set(uart, UART_DLM, (uint8_t)(divisor >> 8));
    uart_set(uart, UART_LCR, LCR_8N1);
    uart_set(uart, UART_FCR, FCR_ENABLE | FCR_CLEAR_RECEIVE | FCR_CLEAR_TRANSMIT);
    uart_set(uart, UART_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    uart->fifo = (uart_read(uart, UART_IIR) & IIR_FIFO) == IIR_FIFO ? UART_FIFO_BYTES : 1;
    /* An absent port floats high; reserved bits of LCR and IER read as written or as zero. */
    uart->ready = true;
    uart->present = uart_read(uart, UART_LCR) == LCR_8N1 && uart_read(uart, UART_LSR) != 0xff;
    return uart->present;
}

/* True once at least one byte may be written to THR. */
static bool uart_wait_room(struct uart *uart)
{
    unsigned reads = uart->stuck ? 1 : UART_WAIT_READS;

    if (uart->room != 0) {
        return true;
    }
    for (; reads != 0; reads--) {
        if (uart_read(uart, UART_LSR) & LSR_THRE) {
            uart->room = uart->fifo;
            uart->stuck = false;
            return true;
        }
        __builtin_ia32_pause();
    }
    uart->stuck = true;
    return false;
}

void uart_write_unlocked(struct uart *uart, const char *data, size_t size)
{
    if (!uart->present) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (uart_wait_room(uart)) {
            uart->room--;
            uart_set(uart, UART_DATA, (uint8_t)data[i]);
        }
    }
}

void uart_write(struct uart *uart, const char *data, size_t size)
{
    spin_lock(&uart->lock);
    uart_write_unlocked(uart, data, size);
    spin_unlock(&uart->lock);
}

void uart_drain(struct uart *uart)
{
    for (unsigned reads = uart->present ? UART_WAIT_READS : 0; reads != 0; reads--) {
        if (uart_read(uart, UART_LSR) & LSR_TEMT) {
            return;
        }
        __builtin_ia32_pause();
    }
}

size_t uart_write_ready(struct uart *uart, const char *data, size_t size)
{
    size_t sent = 0;

    spin_lock(&uart->lock);
    while (uart->present && sent < size) {
        if (uart->room == 0) {
            if (!(uart_read(uart, UART_LSR) & LSR_THRE)) {
                break;
            }
            uart->room = uart->fifo;
        }
        uart->room--;
        uart_set(uart, UART_DATA, (uint8_t)data[sent++]);
    }
    /* A port that is not there takes everything: nobody will ever read it. */
    sent = uart->present ? sent : size;
    spin_unlock(&uart->lock);
    return sent;
}

int uart_get(struct uart *uart)
{
    int c = -1;

    spin_lock(&uart->lock);
    if (uart->present) {
        uint8_t status = uart_read(uart, UART_LSR);

        uart->overruns += (status & LSR_OVER) != 0; /* reading it has cleared it */
        if (status & LSR_DATA) {
            c = uart_read(uart, UART_DATA);
        }
    }
    spin_unlock(&uart->lock);
    return c;
}

static void set_interrupts(struct uart *uart)
{
    uint8_t ier = (uart->ready ? IER_DATA : 0) | (uart->sending ? IER_THRE : 0);

    if (uart->interrupts && uart->ier != ier) {
        uart->ier = ier;
        uart_set(uart, UART_IER, ier);
    }
}

void uart_set_ready(struct uart *uart, bool ready)
{
    spin_lock(&uart->lock);
    if (uart->present) {
        uart->ready = ready;
        uart_set(uart, UART_MCR, MCR_DTR | MCR_OUT2 | (ready ? MCR_RTS : 0));
        set_interrupts(uart);
    }
    spin_unlock(&uart->lock);
}

void uart_want_transmit(struct uart *uart, bool want)
{
    spin_lock(&uart->lock);
    uart->sending = want;
    set_interrupts(uart);
    spin_unlock(&uart->lock);
}

void uart_interrupt_again(struct uart *uart)
{
    spin_lock(&uart->lock);
    (void)uart_read(uart, UART_IIR); /* which ends that of an empty FIFO */
    uart_set(uart, UART_IER, 0);
    uart_set(uart, UART_IER, uart->ier);
    spin_unlock(&uart->lock);
}

static bool route(struct uart *uart, unsigned cpu, platform_irq_handler handler, void *owner)
{
    for (size_t i = 0; uart->present && i < ARRAY_SIZE(com_ports); i++) {
        if (com_ports[i].port == uart->port) {
            int vector = platform_irq_alloc(cpu, handler, owner);

            return vector >= 0 && platform_irq_route_isa(com_ports[i].irq, vector);
        }
    }
    return false;
}

bool uart_interrupt_enable(struct uart *uart, unsigned cpu, platform_irq_handler handler,
                           void *owner)
{
    if (!route(uart, cpu, handler, owner)) {
        return false;
    }
    spin_lock(&uart->lock);
    uart->interrupts = true;
    set_interrupts(uart);
    spin_unlock(&uart->lock);
    return true;
}
