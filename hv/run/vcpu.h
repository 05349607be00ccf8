/* SPDX-License-Identifier: BSD-2-Clause */
/* Making vCPUs, and taking them away again. */
#ifndef SPILLWAY_HV_RUN_VCPU_H
#define SPILLWAY_HV_RUN_VCPU_H

#include "hv/guest/vcpu.h"

/* A vCPU of the VM with its backend and local APIC, STOPPED, in reset state.  NULL: no memory. */
struct vcpu *vcpu_create(struct vm *vm, unsigned index);
/* It is STOPPED, and nobody sends to it any more. */
void vcpu_destroy(struct vcpu *vcpu);

#endif
