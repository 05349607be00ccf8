/* SPDX-License-Identifier: BSD-2-Clause */
/* Reset and power-off: arch_reset() and arch_power_off() of hv/arch.h. */
#ifndef SPILLWAY_ARCH_X86_POWER_H
#define SPILLWAY_ARCH_X86_POWER_H

#include "base/types.h"
#include "boot/handover.h"

/* Notes where the firmware's services are. */
void power_init(const struct handover *handover);
/* Turns VMX or SVM off on this CPU, if it is on: a CPU in VMX operation does not take INIT. */
void power_disable_virtualisation(void);

#endif
