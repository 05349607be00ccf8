/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The high precision event timers of a guest (IA-PC HPET Specification 1.0a): a counter of 100 MHz
 * and three comparators at 0xFED00000.  Linux that is told not to use the local APIC's timer has
 * nothing else to wake it.  With legacy replacement comparator 0 is IRQ 0 instead of the PIT, and 1
 * IRQ 8.
 *
 * As the PIT it is a function of time; who wants its interrupts arms a timer for them.  All under
 * the device's lock (hv/vdev/legacy/vtimers.h).
 */
#ifndef SPILLWAY_HV_VDEV_LEGACY_VHPET_H
#define SPILLWAY_HV_VDEV_LEGACY_VHPET_H

#include "base/types.h"

#define VHPET_BASE   0xfed00000ull
#define VHPET_TIMERS 3
#define VHPET_ID     0x8086a201u /* low half of the capabilities; in the ACPI table, too */

struct vhpet_timer {
    uint32_t config;
    uint64_t comparator, period;
    uint64_t next_ns; /* when it matches next; TIMER_NEVER */
};

struct vhpet {
    uint32_t config, status;
    uint64_t count;    /* of the counter when it stands, or at begin_ns */
    uint64_t begin_ns; /* since when it counts */
    struct vhpet_timer timer[VHPET_TIMERS];
};

/* Power-on state: it stands, nothing interrupts. */
void vhpet_reset(struct vhpet *hpet);
/* size 1, 2, 4, 8; offset into the page. */
uint64_t vhpet_read(const struct vhpet *hpet, unsigned offset, unsigned size);
void vhpet_write(struct vhpet *hpet, unsigned offset, unsigned size, uint64_t value);

/* Do comparators 0 and 1 stand in for PIT and RTC? */
bool vhpet_is_legacy(const struct vhpet *hpet);
/* How often has the comparator matched since the last look, if it is to interrupt? */
unsigned vhpet_elapse(struct vhpet *hpet, unsigned index);
/* When an interrupt of it comes next; TIMER_NEVER. */
uint64_t vhpet_next_ns(const struct vhpet *hpet, unsigned index);
/* Pin of the IOAPIC that it is routed to without legacy replacement. */
unsigned vhpet_pin(const struct vhpet *hpet, unsigned index);
/* Its line, if it is level-triggered. */
bool vhpet_line(const struct vhpet *hpet, unsigned index);

#endif
