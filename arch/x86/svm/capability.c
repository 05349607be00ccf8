/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/cpu.h"
#include "arch/x86/svm/vcpu.h"

#define ASIDS_MIN 2u /* the host's and one */

/* APM 15.4 "Enabling SVM": whether the firmware has locked it away is in VM_CR. */
bool svm_check(void (*missing)(const char *feature))
{
    struct cpuid_result leaf = cpuid_checked(CPUID_LEAF_SVM, 0);
    bool good = true;

    if (!(cpuid_checked(CPUID_LEAF_FEATURES_81, 0).ecx & CPUID_81_ECX_SVM)) {
        missing("SVM (CPUID 80000001 ECX bit 2)");
        return false;
    }
    if (rdmsr(MSR_AMD_VM_CR) & VM_CR_SVMDIS) {
        missing("SVM is disabled by the firmware (VM_CR.SVMDIS)");
        good = false;
    }
    if (!(leaf.edx & CPUID_8A_EDX_NPT)) {
        missing("nested paging (CPUID 8000000A EDX bit 0)");
        good = false;
    }
    if (leaf.ebx < ASIDS_MIN) {
        missing("an address space identifier for guests (CPUID 8000000A EBX)");
        good = false;
    }
    return good;
}

static struct svm_features features;

/* Every CPU finds the same: the race between two that fill it in is harmless. */
static void find_features(void)
{
    struct cpuid_result leaf = cpuid_checked(CPUID_LEAF_SVM, 0);

    features.next_rip = (leaf.edx & CPUID_8A_EDX_NRIPS) != 0;
    features.decode_assists = (leaf.edx & CPUID_8A_EDX_DECODE_ASSIST) != 0;
    features.flush_by_asid = (leaf.edx & CPUID_8A_EDX_FLUSH_BY_ASID) != 0;
    features.vmcb_clean = (leaf.edx & CPUID_8A_EDX_VMCB_CLEAN) != 0;
    features.pause_filter = (leaf.edx & CPUID_8A_EDX_PAUSE_FILTER) != 0;
    features.pause_threshold = (leaf.edx & CPUID_8A_EDX_PAUSE_THRESH) != 0;
    features.inject_interrupts = features.next_rip; /* all but QEMU's TCG */
    features.asids = leaf.ebx;
}

const struct svm_features *svm_features(void)
{
    if (features.asids == 0) {
        find_features();
    }
    return &features;
}
