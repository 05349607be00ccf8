/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: what drivers/ need of the machine.  Implemented in arch/x86/platform.c.
 */
#ifndef SPILLWAY_DRIVERS_PLATFORM_H
#define SPILLWAY_DRIVERS_PLATFORM_H

#include "base/types.h"
#include "drivers/port.h"

/* ---- memory ---- */

/* Maps device registers uncached, for ever.  NULL if the tables run out. */
volatile void *platform_map(hpa_t address, uint64_t bytes);
/*
 * Zeroed memory in one piece, page aligned, anywhere in RAM: for devices that reach all of it, and
 * for the drivers' own structures.  *address is what the device is told.  At boot only.  NULL,
 * and nothing logged, if there is none.
 */
void *platform_dma_alloc(uint64_t bytes, hpa_t *address);
/* Gives back what platform_dma_alloc gave, with the same size; no device writes to it any more. */
void platform_dma_free(hpa_t address, uint64_t bytes);
/* The same below 4 GiB, for devices with 32-bit addresses: little of it, and never given back. */
void *platform_dma_alloc_low(uint64_t bytes, hpa_t *address);
/* The memory of a frame, through the direct map. */
void *platform_frame_ptr(pfn_t frame);

/* ---- time ---- */
uint64_t platform_clock_ns(void);
/* Busy wait, at boot only: later nobody waits for hardware with interrupts off. */
void platform_delay_us(unsigned us);

/* ---- interrupts ---- */

/* Called in interrupt context, interrupts off: note it and return.  The EOI is done by the caller.
 * The main loop of the interrupted CPU runs block_poll() and nic_poll() soon after. */
typedef void (*platform_irq_handler)(void *owner);

/* Reserves a vector that reaches handler(owner) on the given CPU.  Negative: none is left. */
int platform_irq_alloc(unsigned cpu, platform_irq_handler handler, void *owner);
/* Routes ISA interrupt `irq` (edge, active high) to the vector by the IOAPIC.  False: no IOAPIC. */
bool platform_irq_route_isa(unsigned irq, int vector);
/* What to write into an MSI or MSI-X table entry for the vector. */
void platform_irq_msi(int vector, uint64_t *address, uint32_t *data);

/* CPUs are numbered from 0; the number of this one. */
unsigned platform_cpu_count(void);
unsigned platform_cpu_id(void);

#endif
