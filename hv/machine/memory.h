/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine's RAM at boot: frame database, pool, and what the hypervisor itself takes. */
#ifndef SPILLWAY_HV_MACHINE_MEMORY_H
#define SPILLWAY_HV_MACHINE_MEMORY_H

/* RAM of the machine, firmware's included, in MiB. */
unsigned long machine_memory_ram_mib(void);
/* Builds the frame database and gives the pool to the allocator.  Boot CPU, once.  Ends the
 * boot if the configured pool is more than there is. */
void machine_memory_init(void);
/* One line: the pool, and our own footprint. */
void machine_memory_report(void);

#endif
