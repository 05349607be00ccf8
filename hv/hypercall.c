/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/hypercall.h"

#define KVM_ENOSYS 1000 /* Documentation/virt/kvm/x86/hypercalls.rst: "-KVM_ENOSYS" */

enum exit_result hypercall_dispatch(struct vcpu *vcpu)
{
    /* No feature bit of CPUID 0x40000001 or 0x40000100 announces a hypercall yet, so any number
     * gets the answer that a KVM host gives for an unknown one. */
    vcpu->regs.gpr[GPR_RAX] = (uint64_t)-KVM_ENOSYS;
    return EXIT_RESUME;
}
