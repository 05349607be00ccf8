/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine around a disk driver (drivers/platform.h): memory for DMA, a clock, CPUs.
 *
 * "Physical" addresses are host pointers.  The clock stands still unless somebody lets time pass:
 * disk_machine_advance() and platform_delay_us() do, and the devices work at the end of it.  If
 * these work in a thread of their own, the test calls disk_machine_tick().
 */
#ifndef SPILLWAY_TESTS_DISK_MACHINE_H
#define SPILLWAY_TESTS_DISK_MACHINE_H

#include "base/types.h"

#define MACHINE_CPUS 4

/* `work`: what the devices do when time has passed; NULL: they do it in a thread. */
void disk_machine_start(void (*work)(void));
/* The so many-th allocation of memory from now on fails, and `for_ever`: all after it. */
void disk_machine_fail_dma(unsigned number, bool for_ever);
/* Frees all memory. */
void disk_machine_stop(void);
/* The CPU that the calling thread plays. */
void disk_machine_set_cpu(unsigned cpu);
/* Lets time pass, and the devices work. */
void disk_machine_advance(uint64_t ns);
/* Lets time pass, and no more. */
void disk_machine_tick(uint64_t ns);

/* ---- figures ---- */

/* Calls of platform_delay_us(). */
unsigned disk_machine_delays(void);
/* Calls of platform_dma_alloc() and its kin, those that failed, and bytes that were not given back.
 */
unsigned disk_machine_dma_calls(void);
unsigned disk_machine_dma_failures(void);
uint64_t disk_machine_dma_bytes(void);

/* Memory of platform_dma_alloc_low(), by its 32-bit address. */
void *disk_machine_low(uint32_t address);

#endif
