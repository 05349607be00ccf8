/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What newlib needs of a system is in hv/libc.c; this is what its heap needs of the machine.
 */
#ifndef SPILLWAY_HV_LIBC_H
#define SPILLWAY_HV_LIBC_H

#include "base/types.h"

/* The heap's memory, which it keeps for ever; until then malloc() has none.  Boot CPU, once. */
void heap_init(void *memory, size_t bytes);

#endif
