/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GDT and TSS of one CPU: SDM Vol. 3A 3.4.5 "Segment Descriptors" and 7.7 "Task Management in
 * 64-bit Mode".
 */
#ifndef SPILLWAY_ARCH_X86_DESCRIPTORS_H
#define SPILLWAY_ARCH_X86_DESCRIPTORS_H

#include <stddef.h>

#include "base/types.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18 /* two slots */

/* Entries of the interrupt stack table; 0 in a gate means the current stack. */
enum ist {
    IST_NMI = 1,
    IST_DOUBLE_FAULT = 2,
    IST_MACHINE_CHECK = 3,
    IST_COUNT = 3,
};

struct tss {
    uint32_t reserved_00;
    uint64_t rsp[3];
    uint64_t reserved_1c;
    uint64_t ist[7]; /* ist[n - 1] is IST n */
    uint64_t reserved_5c;
    uint16_t reserved_64;
    uint16_t io_map; /* beyond the limit: none */
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM 7.7 Task Management in 64-bit Mode");
_Static_assert(offsetof(struct tss, ist) == 36, "SDM figure 7-11 64-Bit TSS Format");
_Static_assert(offsetof(struct tss, io_map) == 102, "SDM figure 7-11 64-Bit TSS Format");

struct cpu_tables {
    uint64_t gdt[6]; /* null, code, data, TSS (2), spare */
    struct tss tss;
} __attribute__((aligned(16)));

/*
 * Fills the tables and loads GDTR, the segment registers and TR of this CPU.  ist_top[n]: stack top
 * of IST n + 1.  Leaves the bases of FS and GS zero: load them afterwards.
 */
void descriptors_load(struct cpu_tables *tables, const uint64_t ist_top[IST_COUNT]);

#endif
