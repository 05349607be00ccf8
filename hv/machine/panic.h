/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice of how a panic ends; panic() itself is in base/log.h. */
#ifndef SPILLWAY_HV_MACHINE_PANIC_H
#define SPILLWAY_HV_MACHINE_PANIC_H

#include "base/types.h"

/* True: reset the machine after a panic; false (default): power off. */
void panic_set_reset(bool reset);

#endif
