/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOAPIC of one VM: 24 pins at 0xFEC00000 (82093AA datasheet, version 0x20
 * with its EOI register).  All under the VM's device lock (RANK_VDEV).
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_VIOAPIC_H
#define SPILLWAY_HV_VDEV_IRQ_VIOAPIC_H

#include "base/types.h"
#include "hv/vdev/irq/vlapic.h"

#define VIOAPIC_BASE IOAPIC_DEFAULT
#define VIOAPIC_PINS 24

struct vioapic {
    struct vm *vm;
    uint32_t select;
    uint32_t id;
    uint32_t level; /* what each pin's line is now */
    uint32_t irr;   /* an edge not yet delivered (masked pins), or an asserted level */
    uint64_t redirection[VIOAPIC_PINS];
};

/* Once, then reset: all pins masked, all lines low. */
void vioapic_init(struct vioapic *ioapic, struct vm *vm);
void vioapic_reset(struct vioapic *ioapic);
/* The line of a pin changes.  Device lock held. */
void vioapic_set_pin(struct vioapic *ioapic, unsigned pin, bool level);
/* May the pin send messages (not masked)? */
bool vioapic_is_open(const struct vioapic *ioapic, unsigned pin);
/* A local APIC has ended a level-triggered vector.  Device lock held. */
void vioapic_eoi(struct vioapic *ioapic, unsigned vector);
/* offset into the page.  Device lock held. */
uint32_t vioapic_read(struct vioapic *ioapic, unsigned offset);
void vioapic_write(struct vioapic *ioapic, unsigned offset, uint32_t value);

#endif
