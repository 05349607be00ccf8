/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of the machine, as far as the CPU is concerned; hv/machine/panic.c has panic() itself. */
#ifndef SPILLWAY_ARCH_X86_PANIC_H
#define SPILLWAY_ARCH_X86_PANIC_H

#include "arch/x86/idt.h"

/* An NMI: halts this CPU for ever when another has asked for it, else counts it. */
void panic_nmi(const struct interrupt_frame *frame);
/* Stops the other CPUs, once.  Returns false if another CPU is already doing so, as this one will
 * be stopped. */
bool panic_claim(void);

#endif
