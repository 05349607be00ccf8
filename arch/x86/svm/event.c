/* SPDX-License-Identifier: BSD-2-Clause */
/* Events: APM 15.20 "Event Injection" and 15.21 "Interrupt and Local APIC Support". */
#include "arch/x86/cpu.h"
#include "arch/x86/svm/vcpu.h"

#define DR6_STEP BIT(14)

static bool shadow(const struct svm_vcpu *svm)
{
    return (svm->vmcb->control.interrupt_shadow & INTERRUPT_SHADOW) != 0;
}

bool svm_interruptible(struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_IF) && !shadow(svm_of(vcpu)) && !vcpu->event.valid;
}

bool svm_nmi_allowed(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    if (svm->nmi == SVM_NMI_RETURNING && vcpu->regs.rip != svm->nmi_iret_rip) {
        svm->nmi = SVM_NMI_OPEN;
    }
    return svm->nmi == SVM_NMI_OPEN && !shadow(svm) && !vcpu->event.valid;
}

/*
 * A virtual interrupt that is intercepted when the guest would take it.  There is no such thing for
 * NMIs: their window is the intercept of IRET while one is being handled, else the same as for
 * interrupts or the next exit, whatever comes first.
 */
void svm_request_window(struct vcpu *vcpu, bool interrupt, bool nmi)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    if (interrupt || (nmi && svm->nmi != SVM_NMI_MASKED)) {
        svm->vmcb->control.vintr |= VINTR_IRQ;
        svm->vmcb->control.intercept_1 |= INTERCEPT_1_VINTR;
    }
}

/* Single steps end after emulated instructions too: APM 13.1.4 "Single Stepping". */
unsigned svm_privilege(struct vcpu *vcpu)
{
    return svm_of(vcpu)->vmcb->save.cpl;
}

void svm_clear_shadow(struct vcpu *vcpu)
{
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;

    vmcb->control.interrupt_shadow = 0;
    if ((vcpu->regs.rflags & RFLAGS_TF) && !vcpu->event.valid) {
        vmcb->save.dr6 |= DR6_STEP;
        svm_of(vcpu)->clean = 0;
        vcpu_inject_exception(vcpu, VECTOR_DB);
    }
}

static void mask_nmi(struct svm_vcpu *svm)
{
    svm->nmi = SVM_NMI_MASKED;
    svm->vmcb->control.intercept_1 |= INTERCEPT_1_IRET;
}

void svm_event_iret(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    svm->nmi = SVM_NMI_RETURNING;
    svm->nmi_iret_rip = vcpu->regs.rip;
    svm->vmcb->control.intercept_1 &= ~(uint32_t)INTERCEPT_1_IRET;
}

void svm_event_inject(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct guest_event *event = &vcpu->event;
    unsigned type = event->type;
    uint64_t word;

    if (!event->valid) {
        svm->vmcb->control.event_injection = 0; /* some keep the old one */
        return;
    }
    if (type == EVENT_SOFTWARE_EXCEPTION) {
        type = SVM_EVENT_TYPE_EXCEPTION;
    }
    word = SVM_EVENT_VALID | FIELD_PREP(SVM_EVENT_TYPE, type) |
           FIELD_PREP(SVM_EVENT_VECTOR, event->vector);
    if (event->has_error_code) {
        word |= SVM_EVENT_ERROR_VALID | FIELD_PREP(SVM_EVENT_ERROR, event->error_code);
    }
    if (type == SVM_EVENT_TYPE_NMI) {
        mask_nmi(svm);
    }
    svm->vmcb->control.event_injection = word;
    event->valid = false;
}

/* INT n, INT3 and INTO happen again when the guest is entered at the same RIP. */
static bool happens_again(unsigned type, unsigned vector)
{
    return type == SVM_EVENT_TYPE_SOFTWARE ||
           (type == SVM_EVENT_TYPE_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF));
}

void svm_event_collect(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct vmcb_control *control = &svm->vmcb->control;
    uint64_t word = control->exit_int_info;
    unsigned type = FIELD_GET(SVM_EVENT_TYPE, word), vector = FIELD_GET(SVM_EVENT_VECTOR, word);

    control->vintr &= ~VINTR_IRQ;
    control->intercept_1 &= ~(uint32_t)INTERCEPT_1_VINTR;
    if (!(word & SVM_EVENT_VALID) || happens_again(type, vector)) {
        return;
    }
    vcpu->event = (struct guest_event){
        .valid = true,
        .vector = (uint8_t)vector,
        .type = (uint8_t)type,
        .has_error_code = (word & SVM_EVENT_ERROR_VALID) != 0,
        .error_code = (uint32_t)FIELD_GET(SVM_EVENT_ERROR, word),
    };
}
