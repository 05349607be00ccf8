/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pair of 8259A interrupt controllers of a PC, master and slave on IR2, with the edge/level
 * registers of a PIIX (8259A datasheet; Intel 82371SB datasheet, "Interrupt Controller Registers").
 *
 * A line that falls before it is acknowledged takes its request back, as the datasheet says:
 * whoever acknowledges then gets the spurious vector of IR7.  The slave's output is a level to the
 * master. All under the lock of the 8259s (hv/vdev/irq/lines.h).
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_VPIC_H
#define SPILLWAY_HV_VDEV_IRQ_VPIC_H

#include "arch/x86/hw/ports.h"
#include "base/types.h"

#define VPIC_LINES        16
#define VPIC_PORTS        2 /* at each of these */
#define VPIC_CASCADE      2
#define VPIC_MASTER_PORT  IOPORT_PIC_MASTER
#define VPIC_SLAVE_PORT   IOPORT_PIC_SLAVE
#define VPIC_TRIGGER_PORT 0x4d0 /* ELCR: of the master; the slave's is the next one */

struct vpic_chip {
    uint8_t lines;   /* what each input is now */
    uint8_t edges;   /* inputs that have risen, not acknowledged yet */
    uint8_t trigger; /* bits that are level-triggered */
    uint8_t imr, isr;
    uint8_t base;     /* ICW2: vector of IR0 */
    uint8_t lowest;   /* input with the lowest priority */
    uint8_t icw_next; /* which ICW is expected: 2, 3, 4; 0: initialised */
    bool single, icw4_follows;
    bool auto_eoi, rotate_auto_eoi;
    bool fully_nested_special; /* ICW4: a slave in service does not hold back its own requests */
    bool special_mask, poll, read_isr;
};

struct vpic {
    struct vpic_chip chip[2]; /* master, slave */
};

/* As a PC's firmware leaves it: vectors 8 and 70h, all masked but the cascade, all lines low. */
void vpic_reset(struct vpic *pic);
/* The line of an input changes; not VPIC_CASCADE. */
void vpic_set_line(struct vpic *pic, unsigned irq, bool level);
/* INTR: does the master ask for an acknowledgement? */
bool vpic_output(const struct vpic *pic);
/* INTA: the vector; a spurious one if nothing asks for it any more. */
uint8_t vpic_acknowledge(struct vpic *pic);

/* The inputs that may ask for an interrupt (not masked, nor their slave): a bit each. */
uint16_t vpic_open(const struct vpic *pic);
/* Those whose request has not been acknowledged yet. */
uint16_t vpic_requests(const struct vpic *pic);

/* One of the six ports.  A read may acknowledge (poll command). */
uint8_t vpic_read(struct vpic *pic, uint16_t port);
void vpic_write(struct vpic *pic, uint16_t port, uint8_t value);

#endif
