/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clock and timer: the TSC, scaled to nanoseconds, and the local APIC's one-shot timer.
 *
 * Both are calibrated once at boot against the ACPI PM timer, or the PIT's channel 2 where there
 * are no ACPI tables; what CPUID says about frequencies is not used.  hv/arch.h has the calls that
 * the rest of the hypervisor uses.
 */
#ifndef SPILLWAY_ARCH_X86_TIME_H
#define SPILLWAY_ARCH_X86_TIME_H

#include "base/types.h"
#include "boot/handover.h"

/* Calibrates, takes about 30 ms; arch_clock_ns() is 0 before.  Boot CPU, its APIC enabled. */
void time_init(const struct handover *handover);
/* Lets this CPU's timer interrupt.  Its APIC is enabled. */
void time_enable_cpu(void);
/* Busy wait. */
void time_delay_us(unsigned us);

#endif
