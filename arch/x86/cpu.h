/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU as the manuals describe it: registers, their bits, MSR numbers, CPUID bits, exception
 * vectors, and inline access to them.  No state, no functions that are not inline.
 *
 * Names are those of the Intel SDM and the AMD APM.  VMCS fields and VMCB offsets are in the
 * backends.
 */
#ifndef SPILLWAY_ARCH_X86_CPU_H
#define SPILLWAY_ARCH_X86_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"

/* ---- control registers: SDM Vol. 3A 2.5 "Control Registers" ---- */

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)

#define XCR0_X87       BIT(0)
#define XCR0_SSE       BIT(1)
#define XCR0_AVX       BIT(2)
#define XCR0_OPMASK    BIT(5)
#define XCR0_ZMM_HI256 BIT(6)
#define XCR0_HI16_ZMM  BIT(7)
#define XCR0_AVX512    (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define XCR0_PKRU      BIT(9)

#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_SVME  BIT(12)
#define EFER_FFXSR BIT(14)

#define RFLAGS_CF    BIT(0)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_PF    BIT(2)
#define RFLAGS_AF    BIT(4)
#define RFLAGS_ZF    BIT(6)
#define RFLAGS_SF    BIT(7)
#define RFLAGS_TF    BIT(8)
#define RFLAGS_IF    BIT(9)
#define RFLAGS_DF    BIT(10)
#define RFLAGS_OF    BIT(11)
#define RFLAGS_NT    BIT(14)
#define RFLAGS_RF    BIT(16)
#define RFLAGS_VM    BIT(17)
#define RFLAGS_AC    BIT(18)
/* 0 but for bit 1, which is RFLAGS_FIXED */
#define RFLAGS_RESERVED (BITS(63, 22) | BIT(15) | BIT(5) | BIT(3) | BIT(1))

#define DR6_FIXED 0xffff0ff0ull
#define DR7_FIXED 0x400ull

/* ---- page tables: SDM Vol. 3A 4.5 "4-Level Paging and 5-Level Paging" ---- */

#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_U       BIT(2)
#define PTE_PWT     BIT(3)
#define PTE_PCD     BIT(4)
#define PTE_A       BIT(5)
#define PTE_D       BIT(6)
#define PTE_PS      BIT(7) /* PDE, PDPTE: a large page */
#define PTE_ADDRESS BITS(51, 12)
#define PTE_NX      BIT(63)

/* Error code of #PF. */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)

/* ---- exceptions: SDM Vol. 3A 6.3.1 "External Interrupts", table 6-1 ---- */

enum exception_vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
    VECTOR_VE = 20,
    VECTOR_CP = 21,
    VECTOR_VC = 29,
    VECTOR_SX = 30,
    VECTOR_EXCEPTIONS = 32, /* the first that is not an exception */
};

/* Exceptions that push an error code: 8, 10..14, 17, 21, 29, 30. */
#define VECTORS_WITH_ERROR_CODE (BIT(8) | BITS(14, 10) | BIT(17) | BIT(21) | BIT(29) | BIT(30))

/* ---- MSRs: SDM Vol. 4; APM Vol. 2 appendix A "MSR Cross-Reference" ---- */

#define MSR_IA32_TSC               0x010
#define MSR_IA32_PLATFORM_ID       0x017
#define MSR_IA32_APIC_BASE         0x01b
#define MSR_IA32_FEATURE_CONTROL   0x03a
#define MSR_IA32_TSC_ADJUST        0x03b
#define MSR_IA32_BIOS_UPDT_TRIG    0x079
#define MSR_IA32_BIOS_SIGN_ID      0x08b
#define MSR_PLATFORM_INFO          0x0ce
#define MSR_IA32_MTRRCAP           0x0fe
#define MSR_IA32_SYSENTER_CS       0x174
#define MSR_IA32_SYSENTER_ESP      0x175
#define MSR_IA32_SYSENTER_EIP      0x176
#define MSR_IA32_MCG_CAP           0x179
#define MSR_IA32_MCG_STATUS        0x17a
#define MSR_IA32_PERF_STATUS       0x198
#define MSR_IA32_MISC_ENABLE       0x1a0
#define MSR_IA32_DEBUGCTL          0x1d9
#define MSR_IA32_MTRR_PHYSBASE0    0x200 /* base, mask pairs: 0x200..0x20f */
#define MSR_IA32_MTRR_PHYSMASK7    0x20f
#define MSR_IA32_MTRR_FIX64K_00000 0x250
#define MSR_IA32_MTRR_FIX16K_80000 0x258
#define MSR_IA32_MTRR_FIX4K_C0000  0x268 /* ..0x26f */
#define MSR_IA32_MTRR_FIX4K_F8000  0x26f
#define MSR_IA32_PAT               0x277
#define MSR_IA32_MTRR_DEF_TYPE     0x2ff
#define MSR_IA32_TSC_DEADLINE      0x6e0
#define MSR_IA32_X2APIC_BASE       0x800 /* 0x800 + APIC register offset / 16 */
#define MSR_EFER                   0xc0000080
#define MSR_STAR                   0xc0000081
#define MSR_LSTAR                  0xc0000082
#define MSR_CSTAR                  0xc0000083
#define MSR_SFMASK                 0xc0000084
#define MSR_FS_BASE                0xc0000100
#define MSR_GS_BASE                0xc0000101
#define MSR_KERNEL_GS_BASE         0xc0000102
#define MSR_TSC_AUX                0xc0000103

/* SDM Vol. 3D appendix A "VMX Capability Reporting Facility". */
#define MSR_IA32_VMX_BASIC               0x480
#define MSR_IA32_VMX_MISC                0x485
#define MSR_IA32_VMX_CR0_FIXED0          0x486
#define MSR_IA32_VMX_CR0_FIXED1          0x487
#define MSR_IA32_VMX_CR4_FIXED0          0x488
#define MSR_IA32_VMX_CR4_FIXED1          0x489
#define MSR_IA32_VMX_PROCBASED_CTLS2     0x48b
#define MSR_IA32_VMX_EPT_VPID_CAP        0x48c
#define MSR_IA32_VMX_TRUE_PINBASED_CTLS  0x48d
#define MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48e
#define MSR_IA32_VMX_TRUE_EXIT_CTLS      0x48f
#define MSR_IA32_VMX_TRUE_ENTRY_CTLS     0x490

/* APM Vol. 2 15.30 "SVM Related MSRs", and others of AMD's. */
#define MSR_AMD_SYSCFG      0xc0010010
#define MSR_AMD_HWCR        0xc0010015
#define MSR_AMD_TOP_MEM     0xc001001a
#define MSR_AMD_TOP_MEM2    0xc001001d
#define MSR_AMD_INT_PENDING 0xc0010055
#define MSR_AMD_VM_CR       0xc0010114
#define MSR_AMD_VM_HSAVE_PA 0xc0010117
#define MSR_AMD_LS_CFG      0xc0011020
#define MSR_AMD_DE_CFG      0xc0011029
#define MSR_AMD_BU_CFG2     0xc001102a

#define APIC_BASE_X2APIC  BIT(10)
#define APIC_BASE_ENABLE  BIT(11)
#define APIC_BASE_ADDRESS BITS(51, 12)

#define FEATURE_CONTROL_LOCKED          BIT(0)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX BIT(2)

#define VM_CR_SVMDIS BIT(4)

/* IA32_PAT after reset: PAT0..7 = WB WT UC- UC WB WT UC- UC. */
#define PAT_RESET 0x0007040600070406ull

/* ---- CPUID: SDM Vol. 2A "CPUID", APM Vol. 3 appendix E ---- */

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

/* ---- access ---- */

static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint32_t cpuid_max_leaf(void)
{
    return cpuid(0, 0).eax;
}

static inline uint32_t cpuid_max_extended_leaf(void)
{
    uint32_t max = cpuid(0x80000000, 0).eax;

    return max >= 0x80000000 ? max : 0;
}

/* All zero for a leaf that the CPU does not have (Intel answers those with another leaf's data). */
static inline struct cpuid_result cpuid_checked(uint32_t leaf, uint32_t subleaf)
{
    uint32_t max = leaf >= 0x80000000 ? cpuid_max_extended_leaf() : cpuid_max_leaf();

    return leaf <= max ? cpuid(leaf, subleaf) : (struct cpuid_result){0, 0, 0, 0};
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

#define CPU_REGISTER_ACCESS(name)                                                                  \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory");                            \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##name(uint64_t v)                                                    \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");                                \
    }
CPU_REGISTER_ACCESS(cr0)
CPU_REGISTER_ACCESS(cr2)
CPU_REGISTER_ACCESS(cr3)
CPU_REGISTER_ACCESS(cr4)
CPU_REGISTER_ACCESS(cr8)
CPU_REGISTER_ACCESS(dr0)
CPU_REGISTER_ACCESS(dr1)
CPU_REGISTER_ACCESS(dr2)
CPU_REGISTER_ACCESS(dr3)
CPU_REGISTER_ACCESS(dr6)
CPU_REGISTER_ACCESS(dr7)
#undef CPU_REGISTER_ACCESS

static inline uint16_t read_cs(void)
{
    uint16_t v;
    __asm__ volatile("mov %%cs, %0" : "=r"(v));
    return v;
}

static inline uint16_t read_ss(void)
{
    uint16_t v;
    __asm__ volatile("mov %%ss, %0" : "=r"(v));
    return v;
}

static inline uint16_t read_tr(void)
{
    uint16_t v;
    __asm__ volatile("str %0" : "=r"(v));
    return v;
}

static inline uint64_t read_rflags(void)
{
    uint64_t v;
    __asm__ volatile("pushfq; popq %0" : "=r"(v) : : "memory");
    return v;
}

/* CR4.OSXSAVE must be set. */
static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv"
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Not before everything that stands before it: LFENCE waits for all earlier instructions. */
static inline uint64_t rdtsc_ordered(void)
{
    __asm__ volatile("lfence" : : : "memory");
    return rdtsc();
}

/* Operand of LGDT, LIDT, SGDT, SIDT. */
struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct descriptor_pointer) == 10, "SDM 2.4 Memory-Management Registers");

static inline void lgdt(const struct descriptor_pointer *p)
{
    __asm__ volatile("lgdt %0" : : "m"(*p) : "memory");
}

static inline void lidt(const struct descriptor_pointer *p)
{
    __asm__ volatile("lidt %0" : : "m"(*p) : "memory");
}

static inline struct descriptor_pointer sgdt(void)
{
    struct descriptor_pointer p;
    __asm__ volatile("sgdt %0" : "=m"(p));
    return p;
}

static inline struct descriptor_pointer sidt(void)
{
    struct descriptor_pointer p;
    __asm__ volatile("sidt %0" : "=m"(p));
    return p;
}

static inline void lldt(uint16_t selector)
{
    __asm__ volatile("lldt %0" : : "r"(selector) : "memory");
}

static inline void ltr(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void cpu_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void cpu_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void cpu_hlt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

static inline void cpu_pause(void)
{
    __builtin_ia32_pause();
}

/* For ever; an NMI does not end it. */
static inline _Noreturn void cpu_halt_forever(void)
{
    for (;;) {
        cpu_cli();
        cpu_hlt();
    }
}

#endif
