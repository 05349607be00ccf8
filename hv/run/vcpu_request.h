/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of other CPUs to a vCPU, which its own CPU takes before an entry; and its making. */
#ifndef SPILLWAY_HV_RUN_VCPU_REQUEST_H
#define SPILLWAY_HV_RUN_VCPU_REQUEST_H

#include "hv/guest/vcpu.h"

/* Acts on all requests.  True: VCPU_REQUEST_STOP was among them.  The vCPU is loaded. */
bool vcpu_take_requests(struct vcpu *vcpu);

/* Makes a vCPU of the VM with its backend and local APIC, STOPPED, in reset state.  NULL: no
 * memory.
 */
struct vcpu *vcpu_create(struct vm *vm, unsigned index);
void vcpu_destroy(struct vcpu *vcpu);

#endif
