/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the architecture hands over to the hypervisor proper. */
#ifndef SPILLWAY_HV_MAIN_H
#define SPILLWAY_HV_MAIN_H

#include "boot/handover.h"

/* Boot CPU, own tables and stack, interrupts off, clock running.  Never returns. */
_Noreturn void hv_main(const struct handover *handover);

#endif
