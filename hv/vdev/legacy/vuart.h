/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 16550A for the guest: COM1, ports 0x3F8-0x3FF, IRQ 4.
 *
 * Output leaves at once; the transmitter is empty but for when whoever takes it says that he is
 * busy. Input waits in a queue until the guest reads it; what finds the queue full is not taken,
 * and its sender is told when it has room.  A BREAK waits there, too, as a NUL with
 * LSR_BREAK: LSR shows that when it is the next one to be read.  Its lock (RANK_VDEV) is taken
 * inside; the host's functions are called with it held (RANK_CONSOLE is above).
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VUART_H
#define SPILLWAY_HV_VDEV_LEGACY_VUART_H

#include "arch/x86/hw/ports.h"
#include "base/lock.h"
#include "base/types.h"
#include "hv/vdev/bus/bus.h"

#define VUART_PORT       IOPORT_COM1
#define VUART_PORTS      8
#define VUART_IRQ        4
#define VUART_QUEUE_SIZE 512 /* power of two */

/* All get the owner. */
struct vuart_host {
    void (*output)(void *owner, char c);
    bool (*busy)(void *owner); /* shall the guest wait?  True: vuart_output_ready() follows */
    void (*room)(void *owner); /* after a vuart_input() that was false: try again */
    void (*set_irq)(void *owner, bool level); /* called at changes only */
};

struct vuart {
    void *owner;
    const struct vuart_host *host;
    struct bus_range range;
    struct spinlock lock; /* what follows */
    uint8_t ier, lcr, mcr, fcr, scr;
    uint8_t msr_delta;  /* MSR bits 3:0: changed since the last read */
    uint8_t lsr_errors; /* LSR bits 4:1, cleared by reading */
    uint16_t divisor;
    bool thre_pending; /* "transmitter empty" has not been read from IIR yet */
    bool waits;        /* the transmitter is not empty: vuart_output_ready() will say when it is */
    bool refused;      /* an input that was not taken */
    bool irq_level;
    uint32_t head, tail;              /* input: next to read, next to write */
    uint32_t breaks;                  /* of the input, those that LSR has not told of */
    uint16_t queue[VUART_QUEUE_SIZE]; /* characters; LSR's bits for each in bits 15:8 */
};

/* Once, in power-on state.  False: no room on the bus. */
bool vuart_init(struct vuart *uart, void *owner, const struct vuart_host *host,
                struct bus_map *ports);
/* Power-on state; what was typed and not read is gone. */
void vuart_reset(struct vuart *uart);
/* A character for the guest.  False: not now; host->room() follows. */
bool vuart_input(struct vuart *uart, char c);
/* As vuart_input(): the line has been spacing for longer than a character. */
bool vuart_break(struct vuart *uart);
/* Output is taken again. */
void vuart_output_ready(struct vuart *uart);

#endif
