/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: what mm/ needs of the machine.  Implemented in hv/machine/mm_env.c for the
 * hypervisor and in tests/unit/ for the host tests.
 */
#ifndef SPILLWAY_MM_ENV_H
#define SPILLWAY_MM_ENV_H

#include "base/types.h"

struct space;

/* The 4 KiB of a frame. */
void *mm_frame_ptr(pfn_t frame);
/*
 * Every CPU that may use a translation of this space made before the call has dropped it when this
 * returns.  Called with the space's lock held; never takes a lock; waits for CPUs that are inside
 * a guest only (hv/tlb.h).
 */
void mm_tlb_shootdown(struct space *space);
/* Monotonic nanoseconds. */
uint64_t mm_clock_ns(void);
/* This CPU, below MM_MAX_CPUS. */
unsigned mm_cpu_id(void);
/* The pager has work: some CPU's main loop shall call pager_run() soon.  Any context. */
void mm_pager_wake(void);

#define MM_MAX_CPUS 64

#endif
