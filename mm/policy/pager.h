/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager: aging, reclaim and policy over all address spaces.
 *
 * It has no thread: every CPU's main loop calls pager_run(), which does one bounded step if there
 * is work and nobody else is doing it (trylock), and says whether more is left.
 */
#ifndef SPILLWAY_MM_POLICY_PAGER_H
#define SPILLWAY_MM_POLICY_PAGER_H

#include "base/types.h"

/*
 * One bounded step (a scan slice or one reclaim batch).  True: call again soon.  No locks held.
 * Also wakes waiters for frames once there are some.
 */
bool pager_run(void);
/* When pager_run() wants to be called next for aging, in mm_clock_ns(); UINT64_MAX: not needed. */
uint64_t pager_deadline(void);

#endif
