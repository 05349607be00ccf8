/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An entry for one instruction, by TF: it ends in a trap or in a fault, both of which exit.  The
 * monitor trap flag would do it too, but not every CPU has it (the Bochs emulator, 2.7).
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/vmx/vcpu.h"

#define SHADOWS ((uint32_t)(SHADOW_STI | SHADOW_MOV_SS))

/* In the shadow of STI or MOV SS the trap would come one instruction late: the shadow goes, and is
 * there again if the instruction has not been executed. */
bool vmx_request_step(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    uint32_t blocking = vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY);

    if (vmx->step) {
        return true;
    }
    vmx->step = true;
    vmx->step_guest = (vcpu->regs.rflags & RFLAGS_TF) != 0;
    vmx->step_rip = vcpu->regs.rip;
    vmx->step_shadow = blocking & SHADOWS;
    vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, blocking & ~SHADOWS);
    vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) & ~PENDING_STEP);
    vmcs_write32(VMCS_EXCEPTION_BITMAP, vmcs_read32(VMCS_EXCEPTION_BITMAP) | INTERCEPT_STEP);
    vcpu->regs.rflags |= RFLAGS_TF;
    return true;
}

void vmx_step_end(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);

    vmx->step = false;
    vmx->step_done = !vmx->step_guest;
    vmcs_write32(VMCS_EXCEPTION_BITMAP, vmcs_read32(VMCS_EXCEPTION_BITMAP) & ~INTERCEPT_STEP);
    if (!vmx->step_guest) {
        vcpu->regs.rflags &= ~(uint64_t)RFLAGS_TF;
        vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) & ~PENDING_STEP);
    }
    if (vmx->step_shadow && vcpu->regs.rip == vmx->step_rip) {
        vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY,
                     vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY) | vmx->step_shadow);
        if (vmx->step_guest) {
            vmcs_write(VMCS_GUEST_PENDING_DEBUG,
                       vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_STEP);
        }
    }
}
