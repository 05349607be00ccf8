/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls: number in RAX, result in RAX.  docs/hypercall-abi.md. */
#ifndef SPILLWAY_HV_RUN_HYPERCALL_H
#define SPILLWAY_HV_RUN_HYPERCALL_H

#include "hv/guest/vcpu.h"

/*
 * EXIT_RESUME: done, the caller advances RIP; or, with *again set, a part is done, and the guest
 * comes again by executing the same instruction once more.  EXIT_PARK likewise, later.
 */
enum exit_result hypercall_dispatch(struct vcpu *vcpu, bool *again);

#endif
