/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt lines of a PC: each goes to the pair of 8259s and to the IOAPIC; INTR of the 8259s goes
 * to LINT0 of the boot vCPU.  And the one timer of the devices that interrupt by time: PIT, HPET,
 * RTC, PM timer.  It runs only for an interrupt that somebody has not masked, and while some vCPU
 * of the VM could take one.
 *
 * No two ticks of IRQ 0 come within LINE_TICK_MIN_NS: a guest cannot keep the host busy.  A guest
 * that counts them shall not lose some because its vCPU had no CPU for a moment: those that were
 * missed follow, up to LINE_TICKS_MAX.
 */
#ifndef SPILLWAY_HV_VDEV_IRQ_LINES_H
#define SPILLWAY_HV_VDEV_IRQ_LINES_H

#include "base/types.h"

struct vm_devices;

#define LINE_PIT     0 /* pin 2 of the IOAPIC: there is a source override in the MADT */
#define LINE_PIT_PIN 2
#define LINE_RTC     8

#define LINE_TICK_MIN_NS 200000ull
#define LINE_TICKS_MAX   16u

void lines_init(struct vm_devices *devices);
/* All low; the timer stands.  Device lock held. */
void lines_reset(struct vm_devices *devices);
/* The VM is going away, no vCPU runs, no lock held. */
void lines_stop(struct vm_devices *devices);
/* A line changes: ISA IRQ 0 to 15 but 2.  Device lock held. */
void lines_set(struct vm_devices *devices, unsigned irq, bool level);
/* What had to happen by now has happened, and the timer is armed for what comes next.  Before and
 * after every access to one of the devices.  Device lock held. */
void lines_settle(struct vm_devices *devices);

#endif
