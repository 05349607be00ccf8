/* SPDX-License-Identifier: BSD-2-Clause */
/* Bring-up of one CPU, the same for the boot CPU and the others. */
#ifndef SPILLWAY_ARCH_X86_START_H
#define SPILLWAY_ARCH_X86_START_H

#include "base/types.h"
#include "boot/handover.h"

struct percpu;

/* First C code, on the boot CPU, from entry.asm. */
_Noreturn void arch_start(const struct handover *handover);
/* Control registers, descriptor tables, GS: after this exceptions are reported. */
void start_cpu(struct percpu *cpu);

#endif
