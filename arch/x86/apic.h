/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC: SDM Vol. 3A chapter 10 "Advanced Programmable Interrupt Controller".
 *
 * xAPIC by MMIO, or x2APIC by MSR if the firmware left the boot CPU in that mode; all CPUs use the
 * same.  Interrupts are off in all of these.
 */
#ifndef SPILLWAY_ARCH_X86_APIC_H
#define SPILLWAY_ARCH_X86_APIC_H

#include "base/types.h"

/* Finds out the mode and maps the registers.  Boot CPU, once; panics without an APIC. */
void apic_init(void);
/* Enables this CPU's APIC, all local interrupts masked, and returns its id. */
uint32_t apic_enable_cpu(void);
/* Ends the interrupt in service of the highest priority. */
void apic_eoi(void);

/* Send, after the command before has left; do not wait for delivery.  Not from an NMI: it may have
 * come between the two halves of another send. */
void apic_send_vector(uint32_t apic_id, unsigned vector);
void apic_send_nmi(uint32_t apic_id);
void apic_send_init(uint32_t apic_id);
/* To all CPUs but this one. */
void apic_send_init_all(void);
/* Start at real-mode address page << 12. */
void apic_send_startup(uint32_t apic_id, unsigned page);

/* ---- timer: arch/x86/time.c calibrates it ---- */

/* Masked: counts, but does not interrupt at zero. */
void apic_timer_mask(bool masked);
/* Counts down from `count` again and again; 0 stops it. */
void apic_timer_start(uint32_t count);
uint32_t apic_timer_current(void);

#endif
