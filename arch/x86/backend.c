/* SPDX-License-Identifier: BSD-2-Clause */
/* The choice between the two backends. */
#include "hv/backend.h"

#include "arch/x86/cpu.h"
#include "arch/x86/svm/backend.h"
#include "arch/x86/vmx/backend.h"
#include "base/log.h"

static const struct vcpu_backend *choose(void)
{
    if (cpuid(1, 0).ecx & CPUID_1_ECX_VMX) {
        return &vmx_backend;
    }
    if (cpuid_checked(CPUID_LEAF_FEATURES_81, 0).ecx & CPUID_81_ECX_SVM) {
        return &svm_backend;
    }
    log_error("neither VMX (CPUID 1 ECX bit 5) nor SVM (CPUID 80000001 ECX bit 2)");
    return NULL;
}

const struct vcpu_backend *arch_backend(void)
{
    /* Every CPU would choose the same; the boot CPU does before the others are started. */
    static const struct vcpu_backend *chosen;

    if (chosen == NULL) {
        chosen = choose();
    }
    return chosen;
}
