/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The features of our guests' CPU.  A bit is offered if the host has it, the mask here allows it,
 * and nothing that we do not switch or virtualise comes with it (MSRs, state components, exits).
 * Bit names: Intel SDM volume 2, "CPUID", tables; AMD APM volume 3, appendix "Obtaining Processor
 * Information".
 */
#include "arch/x86/guest/policy.h"

#include <stdatomic.h>

#include "arch/x86/cpu.h"
#include "base/bits.h"

/* Not offered: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID, SDBG, xTPR, PDCM, DCA. */
#define LEAF1_ECX                                                                                  \
    (CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_SSSE3 | CPUID_1_ECX_FMA |              \
     CPUID_1_ECX_CMPXCHG16B | CPUID_1_ECX_PCID | CPUID_1_ECX_SSE4_1 | CPUID_1_ECX_SSE4_2 |         \
     CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT | CPUID_1_ECX_AES | CPUID_1_ECX_XSAVE |                \
     CPUID_1_ECX_AVX | CPUID_1_ECX_F16C | CPUID_1_ECX_RDRAND)
#define LEAF1_ECX_OURS (CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE | CPUID_1_ECX_HYPERVISOR)
/* These need YMM state. */
#define LEAF1_ECX_AVX (CPUID_1_ECX_FMA | CPUID_1_ECX_AVX | CPUID_1_ECX_F16C)

/* Not offered: PSN, DS, ACPI, TM, PBE.  HTT by topology. */
#define LEAF1_EDX                                                                                  \
    (CPUID_1_EDX_FPU | CPUID_1_EDX_VME | CPUID_1_EDX_DE | CPUID_1_EDX_PSE | CPUID_1_EDX_TSC |      \
     CPUID_1_EDX_MSR | CPUID_1_EDX_PAE | CPUID_1_EDX_MCE | CPUID_1_EDX_CX8 | CPUID_1_EDX_APIC |    \
     CPUID_1_EDX_SEP | CPUID_1_EDX_MTRR | CPUID_1_EDX_PGE | CPUID_1_EDX_MCA | CPUID_1_EDX_CMOV |   \
     CPUID_1_EDX_PAT | CPUID_1_EDX_PSE36 | CPUID_1_EDX_CLFSH | CPUID_1_EDX_MMX |                   \
     CPUID_1_EDX_FXSR | CPUID_1_EDX_SSE | CPUID_1_EDX_SSE2 | CPUID_1_EDX_SS)
/* Bits of leaf 1 EDX that AMD repeats in 80000001 EDX. */
#define LEAF1_EDX_AMD 0x0183f3ffu

/* Not offered: SGX, HLE, INVPCID, RTM, PQM, MPX, PQE, PT.  BIT(6) FDP_EXCPTN_ONLY, BIT(9) ERMS,
 * BIT(13) no FPU CS and DS. */
#define LEAF7_EBX                                                                                  \
    (CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_BMI1 | CPUID_7_EBX_AVX2 | BIT(6) | CPUID_7_EBX_SMEP |      \
     CPUID_7_EBX_BMI2 | BIT(9) | BIT(13) | CPUID_7_EBX_RDSEED | CPUID_7_EBX_ADX |                  \
     CPUID_7_EBX_SMAP | CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB | CPUID_7_EBX_SHA)
#define LEAF7_EBX_AVX512                                                                           \
    (CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_AVX512IFMA | CPUID_7_EBX_AVX512CD |  \
     CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL)
/* GFNI; VAES and VPCLMULQDQ; AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ.  Not offered: PKU,
 * WAITPKG, CET, LA57, RDPID, Key Locker. */
#define LEAF7_ECX_AVX    (BIT(9) | BIT(10))
#define LEAF7_ECX        (CPUID_7_ECX_UMIP | BIT(8) | LEAF7_ECX_AVX)
#define LEAF7_ECX_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
/* MD_CLEAR (10), SERIALIZE (14).  Not offered: SPEC_CTRL and the like, whose MSRs are not
 * switched. */
#define LEAF7_EDX (CPUID_7_EDX_FSRM | BIT(10) | BIT(14))

#define EXT1_ECX_AVX (CPUID_81_ECX_XOP | CPUID_81_ECX_FMA4)
#define EXT1_ECX                                                                                   \
    (CPUID_81_ECX_LAHF_LM | CPUID_81_ECX_ABM | CPUID_81_ECX_SSE4A | CPUID_81_ECX_MISALIGNSSE |     \
     CPUID_81_ECX_3DNOWPREFETCH | CPUID_81_ECX_TBM | EXT1_ECX_AVX)
/* RDTSCP: see has_tsc_aux. */
#define EXT1_EDX                                                                                   \
    (CPUID_81_EDX_SYSCALL | CPUID_81_EDX_NX | CPUID_81_EDX_MMXEXT | CPUID_81_EDX_FFXSR |           \
     CPUID_81_EDX_PAGE1GB | CPUID_81_EDX_LM | CPUID_81_EDX_3DNOWEXT | CPUID_81_EDX_3DNOW)

#define EXT8_EBX_AMD (BIT(0) | BIT(2)) /* CLZERO, XSAVEERPTR */
#define LINEAR_BITS  48u

#define XSAVE1_EAX  (CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV1)
#define XSAVE_ALIGN BIT(1) /* ECX of a component: aligned in compact form */

static struct guest_policy policy;
enum { POLICY_NONE, POLICY_BUILDING, POLICY_READY };
static _Atomic int policy_state;

static bool is_amd(const struct cpuid_result *vendor)
{
    bool amd = vendor->ebx == 0x68747541 && vendor->edx == 0x69746e65 && vendor->ecx == 0x444d4163;
    bool hygon =
        vendor->ebx == 0x6f677948 && vendor->edx == 0x6e65476e && vendor->ecx == 0x656e6975;

    return amd || hygon;
}

static uint64_t xcr0_of_host(void)
{
    struct cpuid_result leaf = cpuid_checked(0xd, 0);
    uint64_t mask = leaf.eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE)) {
        return 0;
    }
    if (!(mask & XCR0_AVX) || (mask & XCR0_AVX512) != XCR0_AVX512) {
        mask &= ~XCR0_AVX512;
    }
    return mask;
}

static void build_leaf1(struct guest_policy *p)
{
    struct cpuid_result host = cpuid(1, 0);
    struct cpuid_result *out = &p->basic[1];
    uint64_t ecx = LEAF1_ECX;

    if (!(p->xcr0_allowed & XCR0_AVX)) {
        ecx &= ~LEAF1_ECX_AVX;
    }
    out->eax = host.eax;
    out->ebx = 8u << 8; /* CLFLUSH line of 64 bytes; APIC id and count by vCPU */
    out->ecx = (host.ecx & ecx) | LEAF1_ECX_OURS;
    out->edx = host.edx & LEAF1_EDX;
}

static void build_leaf7(struct guest_policy *p)
{
    struct cpuid_result host = cpuid_checked(7, 0);
    uint64_t ebx = LEAF7_EBX, ecx = LEAF7_ECX;

    if (!(p->xcr0_allowed & XCR0_AVX)) {
        ebx &= ~CPUID_7_EBX_AVX2;
        ecx &= ~LEAF7_ECX_AVX;
    }
    if (p->xcr0_allowed & XCR0_AVX512) {
        ebx |= LEAF7_EBX_AVX512;
        ecx |= LEAF7_ECX_AVX512;
    }
    p->basic[7].ebx = (host.ebx & ebx) | CPUID_7_EBX_TSC_ADJUST;
    p->basic[7].ecx = host.ecx & ecx;
    p->basic[7].edx = host.edx & LEAF7_EDX;
}

/* Leaf 4 (Intel): the host's caches; who shares them is said by vCPU. */
static void build_caches(struct guest_policy *p)
{
    if (p->amd) {
        return;
    }
    for (unsigned i = 0; i + 1 < POLICY_CACHE_LEAVES; i++) {
        struct cpuid_result leaf = cpuid_checked(4, i);

        if ((leaf.eax & 0x1f) == 0) {
            break;
        }
        leaf.eax &= 0x3fff;
        p->cache[i] = leaf;
    }
}

/* SDM volume 1, "Enumeration of CPU Support for XSAVE Instructions": standard form. */
static void build_xsave(struct guest_policy *p)
{
    uint32_t end = XSAVE_HEADER_END;

    if (!p->xcr0_allowed) {
        return;
    }
    for (unsigned i = 2; i < POLICY_XSAVE_LEAVES; i++) {
        if (p->xcr0_allowed & BIT(i)) {
            struct cpuid_result leaf = cpuid(0xd, i);

            leaf.ecx &= XSAVE_ALIGN;
            leaf.edx = 0;
            p->xsave[i] = leaf;
            end = MAX(end, leaf.eax + leaf.ebx);
        }
    }
    p->xsave[0].eax = (uint32_t)p->xcr0_allowed;
    p->xsave[0].ecx = end;
    p->xsave[1].eax = cpuid(0xd, 1).eax & XSAVE1_EAX;
}

static void build_basic(struct guest_policy *p)
{
    p->basic[0] = cpuid(0, 0);
    p->basic[0].eax = p->amd ? 0xd : POLICY_BASIC_LAST;
    build_leaf1(p);
    if (!p->amd) {
        p->basic[2] = cpuid_checked(2, 0);
    }
    p->basic[6].eax = CPUID_6_EAX_ARAT; /* the APIC timer never stops */
    build_leaf7(p);
    build_caches(p);
    build_xsave(p);
}

static void build_extended1(struct guest_policy *p)
{
    struct cpuid_result host = cpuid_checked(CPUID_LEAF_FEATURES_81, 0);
    struct cpuid_result *out = &p->extended[1];
    uint64_t ecx = EXT1_ECX;

    if (!(p->xcr0_allowed & XCR0_AVX)) {
        ecx &= ~EXT1_ECX_AVX;
    }
    *out = host;
    out->ecx = host.ecx & ecx;
    out->edx = host.edx & EXT1_EDX;
    if (p->has_tsc_aux) {
        out->edx |= host.edx & CPUID_81_EDX_RDTSCP;
    }
    if (p->amd) {
        out->edx |= p->basic[1].edx & LEAF1_EDX_AMD;
    }
}

static void build_extended(struct guest_policy *p)
{
    struct cpuid_result *ext = p->extended;

    ext[0] = cpuid(0x80000000, 0);
    ext[0].eax = 0x80000008;
    build_extended1(p);
    for (unsigned i = 2; i <= 6; i++) {
        ext[i] = cpuid_checked(0x80000000 + i, 0); /* brand string, caches */
    }
    ext[7].edx = CPUID_87_EDX_INVARIANT_TSC;
    p->physical_bits = cpuid_checked(0x80000008, 0).eax & 0xff;
    if (p->physical_bits < 36 || p->physical_bits > 52) {
        p->physical_bits = 36;
    }
    ext[8].eax = p->physical_bits | LINEAR_BITS << 8;
    if (p->amd) {
        ext[8].ebx = cpuid_checked(0x80000008, 0).ebx & EXT8_EBX_AMD;
    }
}

static void build_control_bits(struct guest_policy *p)
{
    uint64_t cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
                   CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    cr4 |= (p->basic[1].ecx & CPUID_1_ECX_PCID) ? CR4_PCIDE : 0;
    cr4 |= (p->basic[1].ecx & CPUID_1_ECX_XSAVE) ? CR4_OSXSAVE : 0;
    cr4 |= (p->basic[7].ebx & CPUID_7_EBX_FSGSBASE) ? CR4_FSGSBASE : 0;
    cr4 |= (p->basic[7].ebx & CPUID_7_EBX_SMEP) ? CR4_SMEP : 0;
    cr4 |= (p->basic[7].ebx & CPUID_7_EBX_SMAP) ? CR4_SMAP : 0;
    cr4 |= (p->basic[7].ecx & CPUID_7_ECX_UMIP) ? CR4_UMIP : 0;
    p->cr4_allowed = cr4;
    p->efer_allowed = EFER_SCE | EFER_LME | EFER_LMA;
    p->efer_allowed |= (p->extended[1].edx & CPUID_81_EDX_NX) ? EFER_NXE : 0;
    p->efer_allowed |= p->amd && (p->extended[1].edx & CPUID_81_EDX_FFXSR) ? EFER_FFXSR : 0;
}

static void build(struct guest_policy *p)
{
    struct cpuid_result vendor = cpuid(0, 0);

    p->amd = is_amd(&vendor);
    p->xcr0_allowed = xcr0_of_host();
    p->has_tsc_aux = (cpuid_checked(CPUID_LEAF_FEATURES_81, 0).edx & CPUID_81_EDX_RDTSCP) != 0;
    build_basic(p);
    build_extended(p);
    build_control_bits(p);
}

const struct guest_policy *guest_policy(void)
{
    int expected = POLICY_NONE;

    if (atomic_load_explicit(&policy_state, memory_order_acquire) == POLICY_READY) {
        return &policy;
    }
    if (atomic_compare_exchange_strong(&policy_state, &expected, POLICY_BUILDING)) {
        build(&policy);
        /* Release: the table before the flag, for CPUs that see it without the exchange. */
        atomic_store_explicit(&policy_state, POLICY_READY, memory_order_release);
    }
    while (atomic_load_explicit(&policy_state, memory_order_acquire) != POLICY_READY) {
        __builtin_ia32_pause();
    }
    return &policy;
}

uint32_t guest_policy_xsave_bytes(uint64_t mask, bool compact)
{
    uint32_t end = XSAVE_HEADER_END;

    for (unsigned i = 2; i < POLICY_XSAVE_LEAVES; i++) {
        const struct cpuid_result *component = &guest_policy()->xsave[i];

        if (!(mask & BIT(i)) || component->eax == 0) {
            continue;
        }
        if (compact) {
            end = (component->ecx & 2) ? (uint32_t)ALIGN_UP(end, 64) : end;
            end += component->eax;
        } else {
            end = MAX(end, component->eax + component->ebx);
        }
    }
    return end;
}

void guest_policy_judge_compact_form(uint32_t bytes)
{
    if (bytes != guest_policy_xsave_bytes(guest_policy()->xcr0_allowed, true)) {
        policy.xsave[1].eax &= ~CPUID_D_1_EAX_XSAVEC;
    }
}
