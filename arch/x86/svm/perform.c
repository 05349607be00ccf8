/* SPDX-License-Identifier: BSD-2-Clause */
/* Does what exit.c has left to this backend. */
#include "arch/x86/cpu.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/svm/vcpu.h"

void svm_perform(struct vcpu *vcpu, const struct svm_due *due)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    switch (due->kind) {
    case SVM_DUE_NOTHING:
        break;
    case SVM_DUE_MACHINE_CHECK:
        machine_check_exit();
    case SVM_DUE_EXCEPTION:
        if (due->event.vector == VECTOR_PF) {
            vcpu->regs.cr2 = due->cr2;
        }
        vcpu->event = due->event;
        svm->step_done = false;
        break;
    case SVM_DUE_STEPPED:
        svm->step_done = false;
        break;
    case SVM_DUE_IRET:
        svm_event_iret(vcpu, svm);
        break;
    }
}
