/* SPDX-License-Identifier: BSD-2-Clause */
/* Events: SDM Vol. 3C 26.6 "Event Injection", 27.2.4 "Information for VM Exits During Event
 * Delivery", 24.4.2 "Guest Non-Register State". */
#include "arch/x86/guest/event.h"
#include "arch/x86/cpu.h"
#include "arch/x86/vmx/vcpu.h"

static uint32_t blocking(void)
{
    return vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY);
}

bool vmx_interruptible(struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_IF) && !vcpu->event.valid &&
           !(blocking() & (SHADOW_STI | SHADOW_MOV_SS));
}

bool vmx_nmi_allowed(struct vcpu *vcpu)
{
    return !vcpu->event.valid && !(blocking() & (SHADOW_STI | SHADOW_MOV_SS | BLOCKED_NMI));
}

bool vmx_nmi_masked(struct vcpu *vcpu)
{
    (void)vcpu;
    return (blocking() & BLOCKED_NMI) != 0;
}

void vmx_set_nmi_masked(struct vcpu *vcpu, bool masked)
{
    uint32_t others = blocking() & ~(uint32_t)BLOCKED_NMI;

    (void)vcpu;
    vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, others | (masked ? (uint32_t)BLOCKED_NMI : 0));
}

void vmx_request_window(struct vcpu *vcpu, bool interrupt, bool nmi)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);

    vmx->processor_wanted |= interrupt ? (uint32_t)PROCESSOR_INTERRUPT_WINDOW : 0;
    vmx->processor_wanted |= nmi ? (uint32_t)PROCESSOR_NMI_WINDOW : 0;
}

/* SDM Vol. 3C "Guest Register State": the DPL of SS is the CPL. */
unsigned vmx_privilege(struct vcpu *vcpu)
{
    uint32_t access =
        (uint32_t)vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, (uint32_t)SEG_SS));

    (void)vcpu;
    return access >> 5 & 3;
}

bool vmx_runs_64bit(struct vcpu *vcpu)
{
    uint64_t access = vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, (uint32_t)SEG_CS));

    (void)vcpu;
    return (access & SEGMENT_LONG) && (vmcs_read64(VMCS_GUEST_EFER) & EFER_LMA);
}

bool vmx_trap_pending(struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_TF) ||
           (vmcs_read(VMCS_GUEST_PENDING_DEBUG) & (PENDING_BREAKPOINT | PENDING_STEP));
}

/* Single steps end after emulated instructions too: the pending one is delivered at the entry. */
void vmx_clear_shadow(struct vcpu *vcpu)
{
    uint32_t before = blocking();

    if (before & (SHADOW_STI | SHADOW_MOV_SS)) {
        vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, before & ~(uint32_t)(SHADOW_STI | SHADOW_MOV_SS));
    }
    if (vcpu->regs.rflags & RFLAGS_TF) {
        vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_STEP);
    }
}

void vmx_event_inject(struct vcpu *vcpu)
{
    struct guest_event *event = &vcpu->event;
    uint32_t word;

    if (!event->valid) {
        return; /* an exit leaves the field invalid */
    }
    guest_set_resume_flag(vcpu);
    word = (uint32_t)(INTERRUPTION_VALID | FIELD_PREP(INTERRUPTION_TYPE, event->type) |
                      FIELD_PREP(INTERRUPTION_VECTOR, event->vector));
    /* None in real mode: SDM Vol. 3C 26.2.1.3 "VM-Entry Control Fields". */
    if (event->has_error_code && (vmcs_read(VMCS_GUEST_CR0) & CR0_PE)) {
        word |= (uint32_t)INTERRUPTION_ERROR_VALID;
        vmcs_write32(VMCS_ENTRY_ERROR_CODE, event->error_code & 0xffff);
    }
    if (event_is_software(event->type)) {
        vmcs_write32(VMCS_ENTRY_INSTRUCTION_LENGTH, event->length);
    }
    vmcs_write32(VMCS_ENTRY_INTERRUPTION, word);
    event->valid = false;
}

/* The delivery of an NMI had set the blocking already: SDM Vol. 3C 26.3.1.5 "Checks on Guest
 * Non-Register State" wants it clear for the next one. */
static void unblock_nmi(void)
{
    vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, blocking() & ~(uint32_t)BLOCKED_NMI);
}

void vmx_event_resume(struct vcpu *vcpu, const struct vmx_due *due)
{
    if (!due->interrupted.valid) {
        /* IRET has ended the blocking, and will be executed again. */
        vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, blocking() | (uint32_t)BLOCKED_NMI);
        return;
    }
    vcpu->event = due->interrupted;
    if (due->interrupted.type == EVENT_NMI) {
        unblock_nmi();
    }
}
