/* SPDX-License-Identifier: BSD-2-Clause */
/* What other CPUs ask of a vCPU, taken by its own CPU before an entry. */
#ifndef SPILLWAY_HV_RUN_VCPU_REQUEST_H
#define SPILLWAY_HV_RUN_VCPU_REQUEST_H

#include "hv/guest/vcpu.h"

/* Acts on all requests.  True: VCPU_REQUEST_STOP was among them.  vCPU loaded. */
bool vcpu_take_requests(struct vcpu *vcpu);

/* A vCPU of the VM with its backend and local APIC, STOPPED, in reset state.  NULL: memory. */
struct vcpu *vcpu_create(struct vm *vm, unsigned index);
void vcpu_destroy(struct vcpu *vcpu);

#endif
