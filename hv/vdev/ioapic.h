/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOAPIC of one VM: 24 pins at 0xFEC00000 (82093AA datasheet, version 0x20
 * with its EOI register).  All under the VM's device lock (RANK_VDEV).
 */
#ifndef SPILLWAY_HV_VDEV_IOAPIC_H
#define SPILLWAY_HV_VDEV_IOAPIC_H

#include "base/types.h"
#include "hv/vdev/lapic.h"

#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_PINS 24

struct ioapic {
    struct vm *vm;
    uint32_t select;
    uint32_t id;
    uint32_t level; /* what each pin's line is now */
    uint32_t irr;   /* an edge not yet delivered (masked pins), or an asserted level */
    uint64_t redirection[IOAPIC_PINS];
};

/* Once, then reset: all pins masked, all lines low. */
void ioapic_init(struct ioapic *ioapic, struct vm *vm);
void ioapic_reset(struct ioapic *ioapic);
/* The line of a pin changes.  Device lock held. */
void ioapic_set_pin(struct ioapic *ioapic, unsigned pin, bool level);
/* May the pin send messages (not masked)? */
bool ioapic_is_open(const struct ioapic *ioapic, unsigned pin);
/* A local APIC has ended a level-triggered vector.  Device lock held. */
void ioapic_eoi(struct ioapic *ioapic, unsigned vector);
/* offset into the page.  Device lock held. */
uint32_t ioapic_read(struct ioapic *ioapic, unsigned offset);
void ioapic_write(struct ioapic *ioapic, unsigned offset, uint32_t value);

#endif
