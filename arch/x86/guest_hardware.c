/* SPDX-License-Identifier: BSD-2-Clause */
/* The few guest registers that go straight into the hardware when they are written. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest_paging.h"
#include "hv/vcpu.h"

void guest_load_tsc_aux(struct vcpu *vcpu)
{
    wrmsr(MSR_TSC_AUX, vcpu->msr_tsc_aux);
}

void guest_load_xcr0(struct vcpu *vcpu)
{
    xsetbv(0, vcpu->xcr0);
}
