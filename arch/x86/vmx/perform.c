/* SPDX-License-Identifier: BSD-2-Clause */
/* Does what exit.c has left to this backend. */
#include "arch/x86/cpu.h"
#include "arch/x86/idt.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/vmx/vcpu.h"

/* Does to DR6, DR7 and the pending debug exceptions what its delivery would have done. */
static void perform_debug(struct vcpu *vcpu, const struct vmx_due *due)
{
    uint32_t shadow = vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY) & (SHADOW_STI | SHADOW_MOV_SS);

    write_dr6((read_dr6() & ~DR6_BREAKPOINTS) | due->value);
    vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~DR7_GD);
    if (shadow && (vcpu->regs.rflags & RFLAGS_TF)) {
        /* SDM Vol. 3C 26.3.1.5 "Checks on Guest Non-Register State" */
        vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_STEP);
    }
    vcpu->event = due->event;
}

void vmx_perform(struct vcpu *vcpu, const struct vmx_due *due)
{
    if (due->interrupted.valid || due->nmi_unblocked) {
        vmx_event_resume(vcpu, due);
    }
    switch (due->kind) {
    case VMX_DUE_NOTHING:
        break;
    case VMX_DUE_HOST_NMI:
        interrupt_take_nmi();
        break;
    case VMX_DUE_MACHINE_CHECK:
        machine_check_exit();
    case VMX_DUE_EXCEPTION:
        if (due->event.vector == VECTOR_PF) {
            vcpu->regs.cr2 = due->value;
        }
        vcpu->event = due->event;
        break;
    case VMX_DUE_DEBUG:
        perform_debug(vcpu, due);
        break;
    case VMX_DUE_CR0_SHADOW:
        vmcs_write(VMCS_CR0_SHADOW, due->value);
        break;
    case VMX_DUE_CR4_SHADOW:
        vmcs_write(VMCS_CR4_SHADOW, due->value);
        break;
    }
}
