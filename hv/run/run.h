/* SPDX-License-Identifier: BSD-2-Clause */
/* Running a vCPU on this CPU: events in, exits out, until it sleeps, parks, stops or yields. */
#ifndef SPILLWAY_HV_RUN_RUN_H
#define SPILLWAY_HV_RUN_RUN_H

#include "hv/guest/vcpu.h"

/* The vCPU is RUNNING here (sched_pick); on return it is not. */
void run_vcpu(struct vcpu *vcpu);

#endif
