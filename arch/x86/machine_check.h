/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SPILLWAY_ARCH_X86_MACHINE_CHECK_H
#define SPILLWAY_ARCH_X86_MACHINE_CHECK_H

/* Logs this CPU's banks that hold something, and clears them and MCG_STATUS.MCIP: with that set,
 * the next machine check would shut the CPU down.  From #MC. */
void machine_check_report(void);

#endif
