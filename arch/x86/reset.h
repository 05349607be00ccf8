/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of a CPU after RESET and INIT, for both backends. */
#ifndef SPILLWAY_ARCH_X86_RESET_H
#define SPILLWAY_ARCH_X86_RESET_H

#include "hv/guest/vcpu.h"

/*
 * SDM Vol. 3A 9.1.1 "Processor State After Reset", table 9-1: general registers, debug registers,
 * RIP and RFLAGS into *regs, the rest into *state.  What INIT leaves alone (x87, SSE, XCR0, MSRs
 * other than EFER) is not touched.
 */
void reset_registers(struct guest_registers *regs, struct guest_state *state);

#endif
