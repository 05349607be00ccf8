/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt lines of a PC: each goes to the pair of 8259s and to the IOAPIC; INTR of the 8259s goes
 * to LINT0 of the boot vCPU.
 *
 *     device's lock --> lines->lock --> lines->pic_lock     (not both at once)
 *                                  \--> ioapic->lock --> the vCPUs' APICs, by messages
 *
 * A line's level is under lines->lock, so that both controllers see its changes in one order; an
 * access to a controller takes that one's lock alone.
 *
 * What depends on time shows in the controllers, and who masks a line stops a timer: so whoever
 * keeps the time (hv/vdev/legacy/vtimers.c) is called around such accesses.
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_LINES_H
#define SPILLWAY_HV_VDEV_IRQ_LINES_H

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/vdev/bus/bus.h"
#include "hv/vdev/irq/vioapic.h"
#include "hv/vdev/irq/vpic.h"

#define LINE_PIT     0 /* pin 2 of the IOAPIC: there is a source override in the MADT */
#define LINE_PIT_PIN 2
#define LINE_RTC     8

#define LINES_PIC_RANGES 3

/* INTA of PCI devices goes to one of four lines, by the number of the device: to a pin of the
 * IOAPIC of its own, and to an ISA line that it shares with another one. */
#define LINES_PCI         4
#define LINES_PCI_PIN     16
#define LINES_PCI_ISA     10     /* and 11, in turn */
#define LINES_PCI_TRIGGER 0x0c00 /* both, as bits of the edge/level registers */

struct vm;

struct lines {
    struct vm *vm;
    /* What is due has happened, and the timer runs for whoever listens now.  No locks held. */
    void (*settle)(void *owner);
    void *owner;
    struct spinlock lock;    /* ... of what follows */
    uint16_t level;          /* what each ISA line is now */
    uint16_t pci[LINES_PCI]; /* how many functions ask by that line */

    struct spinlock pic_lock; /* ... of what follows */
    struct vpic pic;
    bool intr; /* what LINT0 has been told */
    /* Written under the lock, read without: a bit for each line. */
    _Atomic uint32_t pic_open, pic_requested;
    struct bus_range pic_range[LINES_PIC_RANGES];

    struct vioapic ioapic; /* has its own lock */
};

/* Once, with the VM's buses; then reset.  False: no room there. */
bool lines_init(struct lines *lines, struct vm *vm, struct bus_map *ports, struct bus_map *memory);
/* Who keeps the time.  Before any vCPU runs. */
void lines_set_timekeeper(struct lines *lines, void (*settle)(void *owner), void *owner);
/* All low, both controllers as after power-on.  No vCPU runs. */
void lines_reset(struct lines *lines);

/* A line changes: ISA IRQ 0 to 15 but 2.  A device's lock may be held. */
void lines_set(struct lines *lines, unsigned irq, bool level);
/* A function (device << 3 | function) begins to ask by its INTA, or ends.  A device's lock may be
 * held. */
void lines_set_pci(struct lines *lines, uint8_t devfn, bool level);
/* The ISA line that it goes to. */
unsigned lines_pci_irq(uint8_t devfn);
/* INTA: the boot vCPU takes the interrupt of the 8259s; its vector.  No locks held. */
uint8_t lines_acknowledge(struct lines *lines);

/*
 * Has somebody not masked the line?  Do the 8259s hear it, and have they a request of it that waits
 * for the CPU?  By what was the case a moment ago: who changes it settles after that.  No lock.
 */
bool lines_is_open(const struct lines *lines, unsigned irq);
bool lines_pic_is_open(const struct lines *lines, unsigned irq);
bool lines_pic_is_requested(const struct lines *lines, unsigned irq);
/* The pin of the IOAPIC that the line goes to. */
unsigned lines_pin_of(unsigned irq);

#endif
