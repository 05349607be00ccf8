/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOAPIC of one VM: 24 pins at 0xFEC00000 (82093AA datasheet, version 0x20
 * with its EOI register).  Its lock (RANK_VPIC) is taken inside; messages are sent with it held.
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_VIOAPIC_H
#define SPILLWAY_HV_VDEV_IRQ_VIOAPIC_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/types.h"
#include "hv/vdev/bus/bus.h"

#define VIOAPIC_BASE IOAPIC_DEFAULT
#define VIOAPIC_PINS 24

struct vm;

struct vioapic {
    struct vm *vm;
    struct bus_range range;
    struct spinlock lock; /* what follows */
    uint32_t select;
    uint32_t id;
    uint32_t level; /* what each pin's line is now */
    uint32_t irr;   /* an edge not yet delivered (masked pins), or an asserted level */
    uint64_t redirection[VIOAPIC_PINS];
    _Atomic uint32_t open; /* pins that are not masked; read without the lock */
};

/* Once, then reset: all pins masked, all lines low.  `ops` are those of its range. */
void vioapic_init(struct vioapic *ioapic, struct vm *vm, const struct bus_ops *ops);
void vioapic_reset(struct vioapic *ioapic);
/* The line of a pin changes. */
void vioapic_set_pin(struct vioapic *ioapic, unsigned pin, bool level);
/* May the pin send messages (not masked)?  No lock. */
bool vioapic_is_open(const struct vioapic *ioapic, unsigned pin);
/* A local APIC has ended a level-triggered vector. */
void vioapic_eoi(struct vioapic *ioapic, unsigned vector);

/* Handlers of its range. */
enum bus_result vioapic_bus_read(struct bus_access *access);
enum bus_result vioapic_bus_write(struct bus_access *access);

#endif
