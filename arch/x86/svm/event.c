/* SPDX-License-Identifier: BSD-2-Clause */
/* Events: APM 15.20 "Event Injection" and 15.21 "Interrupt and Local APIC Support". */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/svm/vcpu.h"

static bool shadow(const struct svm_vcpu *svm)
{
    return (svm->vmcb->control.interrupt_shadow & INTERRUPT_SHADOW) != 0;
}

bool svm_interruptible(struct vcpu *vcpu)
{
    const struct svm_vcpu *svm = svm_of(vcpu);

    return (vcpu->regs.rflags & RFLAGS_IF) && !shadow(svm) && !vcpu->event.valid && !svm->virq;
}

bool svm_nmi_masked(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    if (svm->nmi == SVM_NMI_RETURNING && vcpu->regs.rip != svm->nmi_iret_rip) {
        svm->nmi = SVM_NMI_OPEN;
    }
    return svm->nmi != SVM_NMI_OPEN;
}

bool svm_nmi_allowed(struct vcpu *vcpu)
{
    return !svm_nmi_masked(vcpu) && !shadow(svm_of(vcpu)) && !vcpu->event.valid;
}

/* ---- one instruction ---- */

/* The next entry ends behind one instruction, by a trap or a fault.  If the guest steps anyway, the
 * trap is its own. */
static void begin_step(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    if (svm->step) {
        return;
    }
    svm_nmi_masked(vcpu); /* RETURNING only if it is that IRET which is stepped */
    svm->step = true;
    svm->step_guest = (vcpu->regs.rflags & RFLAGS_TF) != 0;
    svm->clean = 0;
    vmcb->control.intercept_exception |= INTERCEPT_STEP;
    if (svm->step_guest) {
        return;
    }
    svm->step_dr6 = vmcb->save.dr6;
    vmcb->save.dr6 &= ~(DR6_STEP | DR6_BREAKPOINTS);
    vcpu->regs.rflags |= RFLAGS_TF;
}

/* A #DB that is no breakpoint's: Bochs (2.7) does not say in DR6 why it exits. */
static bool is_step(const struct vmcb *vmcb)
{
    return vmcb->control.exit_code == SVM_EXIT_EXCEPTION + VECTOR_DB &&
           ((vmcb->save.dr6 & DR6_STEP) || !(vmcb->save.dr6 & DR6_BREAKPOINTS));
}

/* If IRET was stepped, it has loaded a TF of the guest's own; no other instruction has. */
void svm_event_end_step(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct vmcb *vmcb = svm->vmcb;
    bool done = is_step(vmcb);

    svm->step = false;
    vmcb->control.intercept_exception &= ~INTERCEPT_STEP;
    svm->clean = 0;
    if (svm->step_guest) {
        return;
    }
    svm->step_done = done && !(vmcb->save.dr6 & DR6_BREAKPOINTS);
    if (!done || svm->nmi != SVM_NMI_RETURNING) {
        vcpu->regs.rflags &= ~(uint64_t)RFLAGS_TF;
    } else {
        svm->nmi = SVM_NMI_OPEN;
    }
    vmcb->save.dr6 = (vmcb->save.dr6 & ~DR6_STEP) | (svm->step_dr6 & (DR6_STEP | DR6_BREAKPOINTS));
}

/* An interrupt that the CPU would take first would have our TF in the flags that it pushes. */
bool svm_request_step(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    if (svm->virq && (vcpu->regs.rflags & RFLAGS_IF) && !shadow(svm)) {
        return false;
    }
    begin_step(vcpu, svm);
    return true;
}

/* ---- windows ---- */

/* IF is 1: opens a window behind the event of this entry, or behind the shadow, where V_IRQ alone
 * may be held (see give_interrupt()). */
static void open_at_once(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    if (vcpu->event.valid) {
        arch_cpu_kick(arch_cpu_id());
    } else {
        begin_step(vcpu, svm);
    }
}

/*
 * An interrupt gets its window by a virtual interrupt, which exits when the guest would take it.
 * NMIs have nothing like it.  While one is handled, the next IRET exits; from there, and in the
 * shadow of MOV SS, the guest runs for one instruction.  Behind an event that this entry delivers
 * it runs for none: an interrupt of our own waits for it.
 */
void svm_request_window(struct vcpu *vcpu, bool interrupt, bool nmi)
{
    struct svm_vcpu *svm = svm_of(vcpu);
    const struct guest_event *event = &vcpu->event;

    /* An NMI that is delivered now masks the next; an interrupt is V_IRQ, which ends in its own
     * time.
     */
    if (nmi && event->valid && event->type != EVENT_NMI && event->type != EVENT_INTERRUPT) {
        arch_cpu_kick(arch_cpu_id());
    } else if (nmi && !event->valid && svm->nmi != SVM_NMI_MASKED) {
        if (svm->nmi == SVM_NMI_OPEN && (vcpu->regs.rflags & RFLAGS_IF)) {
            interrupt = true; /* STI's shadow ends where an interrupt would come */
        } else {
            begin_step(vcpu, svm);
        }
    }
    if (interrupt && svm_features()->inject_interrupts && (vcpu->regs.rflags & RFLAGS_IF)) {
        open_at_once(vcpu, svm);
    }
    if (interrupt && !svm->virq) {
        svm->vmcb->control.vintr |= VINTR_IRQ;
        svm->vmcb->control.intercept_1 |= INTERCEPT_1_VINTR;
    }
}

unsigned svm_privilege(struct vcpu *vcpu)
{
    return svm_of(vcpu)->vmcb->save.cpl;
}

bool svm_runs_64bit(struct vcpu *vcpu)
{
    const struct vmcb_save *save = &svm_of(vcpu)->vmcb->save;

    return (save->cs.attributes & ATTRIBUTE_LONG) && (save->efer & EFER_LMA);
}

/* A #VMEXIT keeps no others. */
bool svm_trap_pending(struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_TF) != 0;
}

/* Single steps end after emulated instructions too: APM 13.1.4 "Single Stepping". */
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

void svm_set_nmi_masked(struct vcpu *vcpu, bool masked)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    if (masked) {
        mask_nmi(svm);
        return;
    }
    svm->nmi = SVM_NMI_OPEN;
    svm->vmcb->control.intercept_1 &= ~(uint32_t)INTERCEPT_1_IRET;
}

void svm_event_iret(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    svm->nmi = SVM_NMI_RETURNING;
    svm->nmi_iret_rip = vcpu->regs.rip;
    vcpu->regs.rflags |= RFLAGS_RF; /* its breakpoint has been before; it loads another RF */
    svm->vmcb->control.intercept_1 &= ~(uint32_t)INTERCEPT_1_IRET;
}

/*
 * Interrupts go by event injection (APM 15.20) where that works, else by V_IRQ: APM 15.21.4
 * "Injecting Virtual (INTR) Interrupts".  The QEMU emulator (7.2) remembers the vector of an
 * injected one and, if another of its threads wants its attention before the next exit, delivers it
 * once more as an exception: whatever RFLAGS.IF says, and to a kernel that has not switched GS yet.
 * Bochs (2.7) holds a V_IRQ that is there at VMRUN until the guest changes its IF, even if that is
 * 1: a kernel that computes for seconds has no timer.
 *
 * A window cannot be asked for meanwhile: what else is pending gets one after the next exit.
 */
static void give_interrupt(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct vmcb_control *control = &svm->vmcb->control;

    if (vcpu->event.valid && vcpu->event.type == EVENT_INTERRUPT &&
        !svm_features()->inject_interrupts) {
        svm->virq = true;
        svm->virq_vector = vcpu->event.vector;
        vcpu->event.valid = false;
    }
    if (svm->virq) {
        control->vintr &= ~VINTR_VECTOR;
        control->vintr |= VINTR_IRQ | FIELD_PREP(VINTR_VECTOR, svm->virq_vector);
        control->intercept_1 &= ~(uint32_t)INTERCEPT_1_VINTR;
    }
}

/*
 * Has the CPU taken it?  Returns EXITINTINFO, with the type put right of an interrupt whose
 * delivery ended in this exit: QEMU calls it an exception, and leaves V_IRQ set.
 */
static uint64_t collect_interrupt(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    const struct vmcb_control *control = &svm->vmcb->control;
    uint64_t word = control->exit_int_info;

    if (!svm->virq) {
        return word;
    }
    if ((word & SVM_EVENT_VALID) && FIELD_GET(SVM_EVENT_VECTOR, word) == svm->virq_vector &&
        FIELD_GET(SVM_EVENT_TYPE, word) != SVM_EVENT_TYPE_SOFTWARE) {
        word = SVM_EVENT_VALID | FIELD_PREP(SVM_EVENT_TYPE, EVENT_INTERRUPT) |
               FIELD_PREP(SVM_EVENT_VECTOR, svm->virq_vector);
        svm->virq = false;
    } else if (!(control->vintr & VINTR_IRQ)) {
        svm->virq = false;
    } else if (control->exit_code == SVM_EXIT_HLT && (vcpu->regs.rflags & RFLAGS_IF)) {
        svm->virq = false; /* it ends the halt */
        vcpu->event = (struct guest_event){
            .valid = true, .vector = svm->virq_vector, .type = EVENT_INTERRUPT};
    }
    return word;
}

void svm_event_inject(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct guest_event *event = &vcpu->event;
    unsigned type = event->type;
    uint64_t word;

    give_interrupt(vcpu, svm);
    if (!event->valid) {
        svm->vmcb->control.event_injection = 0; /* some keep the old one */
        return;
    }
    guest_set_resume_flag(vcpu);
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

/* INT n, INT3 and INTO happen again when the guest is entered at the same RIP.  Bochs (2.7) calls
 * INT n an exception. */
static bool happens_again(unsigned type, unsigned vector)
{
    return type == SVM_EVENT_TYPE_SOFTWARE ||
           (type == SVM_EVENT_TYPE_EXCEPTION &&
            (vector == VECTOR_BP || vector == VECTOR_OF || vector >= VECTOR_EXCEPTIONS));
}

void svm_event_collect(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    struct vmcb_control *control = &svm->vmcb->control;
    uint64_t word = collect_interrupt(vcpu, svm);
    unsigned type = FIELD_GET(SVM_EVENT_TYPE, word);
    unsigned vector = FIELD_GET(SVM_EVENT_VECTOR, word);

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
