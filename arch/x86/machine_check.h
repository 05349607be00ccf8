/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SPILLWAY_ARCH_X86_MACHINE_CHECK_H
#define SPILLWAY_ARCH_X86_MACHINE_CHECK_H

/* Logs this CPU's banks that hold something, and clears them and MCG_STATUS.MCIP: with that set,
 * the next machine check would shut the CPU down.  In a panic only: #MC comes while any lock is
 * held, the log's too. */
void machine_check_report(void);
/* An exit says that #MC came while a guest ran.  It is the host's: panics, which shows the banks.
 */
_Noreturn void machine_check_exit(void);

#endif
