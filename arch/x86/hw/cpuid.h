/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID: SDM Vol. 2A "CPUID", APM Vol. 3 appendix E. */
#ifndef SPILLWAY_ARCH_X86_HW_CPUID_H
#define SPILLWAY_ARCH_X86_HW_CPUID_H

#include <stdint.h>

#include "base/bits.h"

#define CPUID_LEAF_FEATURES_81 0x80000001u
#define CPUID_LEAF_SVM         0x8000000au

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};

/* Leaf 1, ECX */
#define CPUID_1_ECX_SSE3         BIT(0)
#define CPUID_1_ECX_PCLMULQDQ    BIT(1)
#define CPUID_1_ECX_MONITOR      BIT(3)
#define CPUID_1_ECX_VMX          BIT(5)
#define CPUID_1_ECX_SSSE3        BIT(9)
#define CPUID_1_ECX_FMA          BIT(12)
#define CPUID_1_ECX_CMPXCHG16B   BIT(13)
#define CPUID_1_ECX_PDCM         BIT(15)
#define CPUID_1_ECX_PCID         BIT(17)
#define CPUID_1_ECX_SSE4_1       BIT(19)
#define CPUID_1_ECX_SSE4_2       BIT(20)
#define CPUID_1_ECX_X2APIC       BIT(21)
#define CPUID_1_ECX_MOVBE        BIT(22)
#define CPUID_1_ECX_POPCNT       BIT(23)
#define CPUID_1_ECX_TSC_DEADLINE BIT(24)
#define CPUID_1_ECX_AES          BIT(25)
#define CPUID_1_ECX_XSAVE        BIT(26)
#define CPUID_1_ECX_OSXSAVE      BIT(27)
#define CPUID_1_ECX_AVX          BIT(28)
#define CPUID_1_ECX_F16C         BIT(29)
#define CPUID_1_ECX_RDRAND       BIT(30)
#define CPUID_1_ECX_HYPERVISOR   BIT(31)

/* Leaf 1, EDX (the same bits in 80000001 EDX where AMD repeats them) */
#define CPUID_1_EDX_FPU   BIT(0)
#define CPUID_1_EDX_VME   BIT(1)
#define CPUID_1_EDX_DE    BIT(2)
#define CPUID_1_EDX_PSE   BIT(3)
#define CPUID_1_EDX_TSC   BIT(4)
#define CPUID_1_EDX_MSR   BIT(5)
#define CPUID_1_EDX_PAE   BIT(6)
#define CPUID_1_EDX_MCE   BIT(7)
#define CPUID_1_EDX_CX8   BIT(8)
#define CPUID_1_EDX_APIC  BIT(9)
#define CPUID_1_EDX_SEP   BIT(11)
#define CPUID_1_EDX_MTRR  BIT(12)
#define CPUID_1_EDX_PGE   BIT(13)
#define CPUID_1_EDX_MCA   BIT(14)
#define CPUID_1_EDX_CMOV  BIT(15)
#define CPUID_1_EDX_PAT   BIT(16)
#define CPUID_1_EDX_PSE36 BIT(17)
#define CPUID_1_EDX_CLFSH BIT(19)
#define CPUID_1_EDX_MMX   BIT(23)
#define CPUID_1_EDX_FXSR  BIT(24)
#define CPUID_1_EDX_SSE   BIT(25)
#define CPUID_1_EDX_SSE2  BIT(26)
#define CPUID_1_EDX_SS    BIT(27)
#define CPUID_1_EDX_HTT   BIT(28)

/* Leaf 6, EAX */
#define CPUID_6_EAX_ARAT BIT(2) /* the APIC timer runs in all C-states */

/* Leaf 7, subleaf 0 */
#define CPUID_7_EBX_FSGSBASE   BIT(0)
#define CPUID_7_EBX_TSC_ADJUST BIT(1)
#define CPUID_7_EBX_BMI1       BIT(3)
#define CPUID_7_EBX_AVX2       BIT(5)
#define CPUID_7_EBX_SMEP       BIT(7)
#define CPUID_7_EBX_BMI2       BIT(8)
#define CPUID_7_EBX_INVPCID    BIT(10)
#define CPUID_7_EBX_AVX512F    BIT(16)
#define CPUID_7_EBX_AVX512DQ   BIT(17)
#define CPUID_7_EBX_RDSEED     BIT(18)
#define CPUID_7_EBX_ADX        BIT(19)
#define CPUID_7_EBX_SMAP       BIT(20)
#define CPUID_7_EBX_AVX512IFMA BIT(21)
#define CPUID_7_EBX_CLFLUSHOPT BIT(23)
#define CPUID_7_EBX_CLWB       BIT(24)
#define CPUID_7_EBX_AVX512CD   BIT(28)
#define CPUID_7_EBX_SHA        BIT(29)
#define CPUID_7_EBX_AVX512BW   BIT(30)
#define CPUID_7_EBX_AVX512VL   BIT(31)
#define CPUID_7_ECX_UMIP       BIT(2)
#define CPUID_7_ECX_PKU        BIT(3)
#define CPUID_7_ECX_CET_SS     BIT(7)
#define CPUID_7_ECX_LA57       BIT(16)
#define CPUID_7_EDX_FSRM       BIT(4)
#define CPUID_7_EDX_CET_IBT    BIT(20)
#define CPUID_7_EDX_SPEC_CTRL  BIT(26)
#define CPUID_7_EDX_ARCH_CAP   BIT(29)

/* Leaf 0xd, subleaf 1, EAX */
#define CPUID_D_1_EAX_XSAVEOPT BIT(0)
#define CPUID_D_1_EAX_XSAVEC   BIT(1)
#define CPUID_D_1_EAX_XGETBV1  BIT(2)
#define CPUID_D_1_EAX_XSAVES   BIT(3)

/* Leaf 80000001 */
#define CPUID_81_ECX_LAHF_LM       BIT(0)
#define CPUID_81_ECX_CMP_LEGACY    BIT(1)
#define CPUID_81_ECX_SVM           BIT(2)
#define CPUID_81_ECX_ABM           BIT(5)
#define CPUID_81_ECX_SSE4A         BIT(6)
#define CPUID_81_ECX_MISALIGNSSE   BIT(7)
#define CPUID_81_ECX_3DNOWPREFETCH BIT(8)
#define CPUID_81_ECX_XOP           BIT(11)
#define CPUID_81_ECX_FMA4          BIT(16)
#define CPUID_81_ECX_TBM           BIT(21)
#define CPUID_81_EDX_SYSCALL       BIT(11)
#define CPUID_81_EDX_NX            BIT(20)
#define CPUID_81_EDX_MMXEXT        BIT(22)
#define CPUID_81_EDX_FFXSR         BIT(25)
#define CPUID_81_EDX_PAGE1GB       BIT(26)
#define CPUID_81_EDX_RDTSCP        BIT(27)
#define CPUID_81_EDX_LM            BIT(29)
#define CPUID_81_EDX_3DNOWEXT      BIT(30)
#define CPUID_81_EDX_3DNOW         BIT(31)

#define CPUID_87_EDX_INVARIANT_TSC BIT(8) /* leaf 80000007 */

/* Leaf 8000000a, EDX: SVM features */
#define CPUID_8A_EDX_NPT           BIT(0)
#define CPUID_8A_EDX_NRIPS         BIT(3)
#define CPUID_8A_EDX_VMCB_CLEAN    BIT(5)
#define CPUID_8A_EDX_FLUSH_BY_ASID BIT(6)
#define CPUID_8A_EDX_DECODE_ASSIST BIT(7)
#define CPUID_8A_EDX_PAUSE_FILTER  BIT(10)
#define CPUID_8A_EDX_PAUSE_THRESH  BIT(12)

#endif
