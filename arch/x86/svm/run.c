/* SPDX-License-Identifier: BSD-2-Clause */
/* Entry to and exit from a guest. */
#include "arch/x86/cpu.h"
#include "arch/x86/svm/vcpu.h"
#include "hv/tlb.h"

/* Makes CPU and VMCB agree about the ASID; its translations are as new as tlb_enter() wants them.
 */
static void prepare_asid(struct svm_vcpu *svm, struct vmcb_control *control, bool flush)
{
    struct svm_cpu *cpu = svm_cpu_self();
    bool ours = svm->asid_generation == cpu->generation && svm->asid_cpu == arch_cpu_id();

    control->tlb_control = TLB_NOTHING;
    if (ours && !flush) {
        return;
    }
    if (ours && svm_features()->flush_by_asid) {
        control->tlb_control = TLB_FLUSH_ASID;
        return;
    }
    /* An ASID that nobody has used since everything was flushed: nothing to flush now. */
    if (cpu->next_asid >= svm_features()->asids) {
        cpu->generation++;
        cpu->next_asid = 1;
        control->tlb_control = TLB_FLUSH_ALL;
    }
    control->asid = cpu->next_asid++;
    svm->asid_generation = cpu->generation;
    svm->asid_cpu = arch_cpu_id();
    svm->clean &= ~(uint32_t)CLEAN_ASID;
}

/*
 * CR8 is V_TPR, and writes to it do not exit while it is 0: raising it can only hold back what has
 * not arrived yet.  Lowering it may let in what is pending.
 */
static void prepare_tpr(struct vmcb_control *control, uint64_t tpr)
{
    control->vintr = (control->vintr & (VINTR_IRQ | VINTR_VECTOR)) | VINTR_MASKING | VINTR_IGN_TPR |
                     VINTR_PRIO | FIELD_PREP(VINTR_TPR, tpr);
    if (tpr != 0) {
        control->intercept_cr_write |= INTERCEPT_CR8;
    } else {
        control->intercept_cr_write &= (uint16_t)~INTERCEPT_CR8;
    }
}

/* Where the CPU does not count PAUSEs, each one exits while that may help. */
static void prepare_pause(const struct vcpu *vcpu, struct vmcb_control *control)
{
    if (vcpu->pause_exits != ((control->intercept_1 & INTERCEPT_1_PAUSE) != 0) &&
        !svm_features()->pause_filter) {
        control->intercept_1 &= ~(uint32_t)INTERCEPT_1_PAUSE;
        control->intercept_1 |= vcpu->pause_exits ? INTERCEPT_1_PAUSE : 0;
    }
}

/* The CPU loads CR2 from the VMCB; the Bochs emulator (2.7) does not. */
static void put_registers(const struct vcpu *vcpu, struct svm_vcpu *svm, struct vmcb_save *save)
{
    if (vcpu->regs.cr2 != svm->cr2) {
        write_cr2(vcpu->regs.cr2);
    }
    save->rip = vcpu->regs.rip;
    save->rflags = vcpu->regs.rflags;
    save->rsp = vcpu->regs.gpr[GPR_RSP];
    save->rax = vcpu->regs.gpr[GPR_RAX];
    save->cr2 = vcpu->regs.cr2;
}

static void get_registers(struct vcpu *vcpu, struct svm_vcpu *svm, const struct vmcb_save *save)
{
    vcpu->regs.rip = save->rip;
    vcpu->regs.rflags = save->rflags;
    vcpu->regs.gpr[GPR_RSP] = save->rsp;
    vcpu->regs.gpr[GPR_RAX] = save->rax;
    vcpu->regs.cr2 = svm->cr2 = save->cr2;
}

void svm_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    struct svm_vcpu *svm = svm_of(vcpu);
    struct vmcb_control *control = &svm->vmcb->control;
    struct svm_due due;

    svm_event_inject(vcpu, svm);
    prepare_tpr(control, vcpu->regs.cr8);
    prepare_pause(vcpu, control);
    put_registers(vcpu, svm, &svm->vmcb->save);
    control->tsc_offset = vcpu->msr_tsc_offset;

    prepare_asid(svm, control, tlb_enter(vcpu));
    control->clean = svm_features()->vmcb_clean ? svm->clean : 0;
    svm_enter(&vcpu->regs, svm->vmcb_address.v, svm_cpu_self()->host_vmcb.v);
    tlb_leave();

    svm->clean = CLEAN_ALL;
    get_registers(vcpu, svm, &svm->vmcb->save);
    vcpu->regs.cr8 = FIELD_GET(VINTR_TPR, control->vintr);
    if (svm->step) {
        svm_event_end_step(vcpu, svm);
    }
    svm_event_collect(vcpu, svm);
    svm_exit_decode(vcpu, exit, &due);
    if (due.kind != SVM_DUE_NOTHING) {
        svm_perform(vcpu, &due);
    }
}
