/* SPDX-License-Identifier: BSD-2-Clause */
/* Start of the other CPUs; arch_start_cpus() of hv/arch.h does it. */
#ifndef SPILLWAY_ARCH_X86_SMP_H
#define SPILLWAY_ARCH_X86_SMP_H

#include "base/types.h"
#include "boot/handover.h"

struct percpu;

/* Notes what arch_start_cpus() will need. */
void smp_init(const struct handover *handover);
/* First C code of a started CPU, on its own stack; from trampoline.asm. */
_Noreturn void smp_cpu_entry(struct percpu *cpu);

#endif
