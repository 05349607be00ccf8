/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 16550A for the guest: COM1, ports 0x3F8-0x3FF, IRQ 4.
 *
 * Output leaves at once, so the transmitter is always empty.  Input waits in a
 * queue until the guest reads it.  All under the VM's device lock (RANK_VDEV);
 * output() is called with it held (RANK_CONSOLE is above).
 */
#ifndef SPILLWAY_HV_VDEV_UART_H
#define SPILLWAY_HV_VDEV_UART_H

#include "base/types.h"

#define VUART_PORT       0x3f8
#define VUART_PORTS      8
#define VUART_IRQ        4
#define VUART_QUEUE_SIZE 512 /* power of two */

struct vuart {
    void *owner;
    void (*output)(void *owner, char c);
    void (*set_irq)(void *owner, bool level); /* called at changes only */
    uint8_t ier, lcr, mcr, fcr, scr;
    uint8_t msr_delta;  /* MSR bits 3:0: changed since the last read */
    uint8_t lsr_errors; /* LSR bits 4:1, cleared by reading */
    uint16_t divisor;
    bool thre_pending; /* "transmitter empty" has not been read from IIR yet */
    bool irq_level;
    uint32_t head, tail; /* input: next to read, next to write */
    char queue[VUART_QUEUE_SIZE];
};

/* output() and set_irq() get `owner`; both with the device lock held. */
void vuart_init(struct vuart *uart, void *owner, void (*output)(void *owner, char c),
                void (*set_irq)(void *owner, bool level));
/* Power-on state; what was typed and not read is gone. */
void vuart_reset(struct vuart *uart);
/* reg: 0..7. */
uint8_t vuart_read(struct vuart *uart, unsigned reg);
void vuart_write(struct vuart *uart, unsigned reg, uint8_t value);
/* False: the queue is full, the character is lost. */
bool vuart_input(struct vuart *uart, char c);

#endif
