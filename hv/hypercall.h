/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls: number in RAX, result in RAX.  docs/hypercall-abi.md. */
#ifndef SPILLWAY_HV_HYPERCALL_H
#define SPILLWAY_HV_HYPERCALL_H

#include "hv/vcpu.h"

/* EXIT_RESUME: done, the caller advances RIP. */
enum exit_result hypercall_dispatch(struct vcpu *vcpu);

#endif
