/* SPDX-License-Identifier: BSD-2-Clause */
/* The few guest registers that go straight into the hardware when they are written. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "hv/guest/vcpu.h"

void guest_debug_cause(uint64_t bits)
{
    write_dr6(read_dr6() | bits);
}

void guest_load_tsc_aux(struct vcpu *vcpu)
{
    wrmsr(MSR_TSC_AUX, vcpu->msr_tsc_aux);
}

/*
 * QEMU's TCG does not intercept XSETBV: only the CPU knows what the guest has in XCR0.
 */
void guest_store_xcr0(struct vcpu *vcpu)
{
    uint64_t allowed = guest_policy()->xcr0_allowed;

    if (allowed != 0) {
        vcpu->xcr0 = (xgetbv(0) & allowed) | XCR0_X87;
    }
}

void guest_load_xcr0(struct vcpu *vcpu)
{
    xsetbv(0, vcpu->xcr0);
}
