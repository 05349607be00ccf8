/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers before the stack protector has its canary; later: arch_random(). */
#ifndef SPILLWAY_ARCH_X86_RANDOM_H
#define SPILLWAY_ARCH_X86_RANDOM_H

#include "base/types.h"

/* RDRAND where there is one, mixed with the TSC.  Needs no memory and no per-CPU area. */
uint64_t random_early(void);

#endif
