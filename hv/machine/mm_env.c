/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine that mm/ runs on here: mm/env.h.  The shootdown is in hv/run/tlb.c. */
#include "mm/env.h"

#include "base/lock.h"
#include "hv/arch.h"
#include "hv/loop.h"

_Static_assert(MM_MAX_CPUS >= MAX_CPUS, "every CPU has a frame cache");

void *mm_frame_ptr(pfn_t frame)
{
    return arch_ptr(pfn_to_hpa(frame));
}

uint64_t mm_clock_ns(void)
{
    return arch_clock_ns();
}

unsigned lock_cpu_id(void)
{
    return arch_cpu_id();
}

unsigned mm_cpu_id(void)
{
    return arch_cpu_id();
}

void mm_pager_wake(void)
{
    loop_wake_pager();
}
