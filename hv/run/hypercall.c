/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/hypercall.h"

#include "guests/include/spillway_tmem.h"
#include "hv/run/hypercall_kvm.h"
#include "hv/run/hypercall_tmem.h"

#define CALL_FAMILY      0xffff0000ull /* the upper half of EAX says whose call it is */
#define CALL_FAMILY_OURS (SPILLWAY_TMEM_CALL & CALL_FAMILY)

enum exit_result hypercall_dispatch(struct vcpu *vcpu, bool *again)
{
    uint64_t *rax = &vcpu->regs.gpr[GPR_RAX];

    if (*rax == SPILLWAY_TMEM_CALL) {
        return hypercall_tmem(vcpu, again);
    }
    if ((*rax & ~(uint64_t)UINT16_MAX) == CALL_FAMILY_OURS) {
        *rax = (uint64_t)(int64_t)SPILLWAY_TMEM_ENOSYS;
        return EXIT_RESUME;
    }
    return hypercall_kvm(vcpu);
}
