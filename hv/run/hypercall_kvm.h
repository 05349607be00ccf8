/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hypercalls of KVM's interface by which vCPUs tell each other something (Linux,
 * Documentation/virt/kvm/x86/hypercalls.rst): number in RAX, arguments in RBX, RCX, RDX, RSI,
 * result in RAX.  Outside 64-bit code all of these are 32 bits wide.  docs/hypercall-abi.md.
 */
#ifndef SPILLWAY_HV_RUN_HYPERCALL_KVM_H
#define SPILLWAY_HV_RUN_HYPERCALL_KVM_H

#include "hv/guest/vcpu.h"

/* As hypercall_dispatch; never waits.  EXIT_YIELD: the vCPU gave its CPU to a sibling. */
enum exit_result hypercall_kvm(struct vcpu *vcpu);

#endif
