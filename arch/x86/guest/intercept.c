/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/intercept.h"

/* EFER is not among them: AMD's guests must not see SVME. */
const uint32_t intercept_msrs_passed[INTERCEPT_MSRS_PASSED] = {
    /* INTERCEPT_MSRS_LOADED */
    MSR_STAR,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_SFMASK,
    MSR_KERNEL_GS_BASE,
    /* the others */
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_IA32_PAT,
    MSR_IA32_SYSENTER_CS,
    MSR_IA32_SYSENTER_ESP,
    MSR_IA32_SYSENTER_EIP,
};
