/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of other CPUs to a vCPU (vcpu_request() in hv/guest/vcpu.h), which its own CPU takes
 * before an entry. */
#ifndef SPILLWAY_HV_RUN_VCPU_REQUEST_H
#define SPILLWAY_HV_RUN_VCPU_REQUEST_H

#include "hv/guest/vcpu.h"

/* Acts on all requests.  True: VCPU_REQUEST_STOP was among them.  The vCPU is loaded. */
bool vcpu_take_requests(struct vcpu *vcpu);

#endif
