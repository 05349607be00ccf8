/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID: a look-up in the policy, then what differs by vCPU.  On the hot path: no backend call but
 * for leaf 1.
 */
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"

/* Linux, Documentation/virt/kvm/x86/cpuid.rst */
#define KVM_LEAF_SIGNATURE       0x40000000u
#define KVM_LEAF_FEATURES        0x40000001u
#define KVM_LEAF_TIMING          0x40000010u
#define KVM_FEATURE_CLOCKSOURCE  (1u << 0)
#define KVM_FEATURE_NOP_IO_DELAY (1u << 1)
#define KVM_FEATURE_CLOCKSOURCE2 (1u << 3)
#define KVM_FEATURE_ASYNC_PF     (1u << 4)
#define KVM_FEATURE_STEAL_TIME   (1u << 5)
#define KVM_FEATURE_PV_EOI       (1u << 6)
#define KVM_FEATURE_PV_UNHALT    (1u << 7)
#define KVM_FEATURE_PV_TLB_FLUSH (1u << 9)
#define KVM_FEATURE_PV_SEND_IPI  (1u << 11)
#define KVM_FEATURE_PV_YIELD     (1u << 13) /* "KVM_FEATURE_PV_SCHED_YIELD" */
#define KVM_FEATURE_ASYNC_PF_INT (1u << 14)
#define KVM_FEATURE_CLOCK_STABLE (1u << 24)
#define KVM_FEATURES                                                                               \
    (KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_NOP_IO_DELAY | KVM_FEATURE_CLOCKSOURCE2 |               \
     KVM_FEATURE_ASYNC_PF | KVM_FEATURE_STEAL_TIME | KVM_FEATURE_PV_EOI | KVM_FEATURE_PV_UNHALT |  \
     KVM_FEATURE_PV_TLB_FLUSH | KVM_FEATURE_PV_SEND_IPI | KVM_FEATURE_PV_YIELD |                   \
     KVM_FEATURE_ASYNC_PF_INT | KVM_FEATURE_CLOCK_STABLE)
#define SPILLWAY_LEAF_SIGNATURE 0x40000100u
#define SPILLWAY_LEAF_FEATURES  0x40000101u
#define SPILLWAY_ABI_VERSION    1u
/* guests/include/spillway_tmem.h */
#define SPILLWAY_FEATURE_TMEM    (1u << 0)
#define SPILLWAY_FEATURE_VMCALL  (1u << 1)
#define SPILLWAY_FEATURE_VMMCALL (1u << 2)

#define APIC_BUS_KHZ 1000000u /* hv/vdev/irq/vlapic counts nanoseconds */

/* Smallest n with 1 << n >= count. */
static unsigned log2_ceil(unsigned count)
{
    return count <= 1 ? 0 : 32 - (unsigned)__builtin_clz(count - 1);
}

/* SDM Vol. 3A 10.4.3 "Enabling or Disabling the Local APIC"; AMD has the same bit in 80000001H. */
static void hide_apic(const struct vcpu *vcpu, struct cpuid_result *out)
{
    if (!(vcpu->msr_apic_base & APIC_BASE_ENABLE)) {
        out->edx &= ~(uint32_t)CPUID_1_EDX_APIC;
    }
}

static void fix_leaf1(struct vcpu *vcpu, struct cpuid_result *out)
{
    unsigned count = vcpu->vm->run.vcpu_count;
    struct guest_state state;

    arch_backend()->get_state(vcpu, &state);
    out->ebx |= (vcpu->index << 24) | (count << 16);
    out->edx |= count > 1 ? CPUID_1_EDX_HTT : 0;
    out->ecx |= (state.cr4 & CR4_OSXSAVE) ? CPUID_1_ECX_OSXSAVE : 0;
    hide_apic(vcpu, out);
}

/* One core per vCPU, one thread per core; the last-level cache is shared by all. */
static struct cpuid_result leaf4(const struct vcpu *vcpu, uint32_t subleaf)
{
    const struct guest_policy *policy = guest_policy();
    unsigned cores = 1u << log2_ceil(vcpu->vm->run.vcpu_count);
    struct cpuid_result out = {0};

    if (subleaf < POLICY_CACHE_LEAVES) {
        out = policy->cache[subleaf];
    }
    if (out.eax & 0x1f) {
        unsigned level = (out.eax >> 5) & 7;

        out.eax |= (cores - 1) << 26;
        out.eax |= level >= 3 ? (cores - 1) << 14 : 0;
    }
    return out;
}

/* Extended topology: level 0 threads, level 1 cores. */
static struct cpuid_result leaf_b(const struct vcpu *vcpu, uint32_t subleaf)
{
    unsigned count = vcpu->vm->run.vcpu_count;
    struct cpuid_result out = {.ecx = subleaf & 0xff, .edx = vcpu->index};

    if (subleaf == 0) {
        out.ebx = 1;
        out.ecx |= 1u << 8;
    } else if (subleaf == 1) {
        out.eax = log2_ceil(count);
        out.ebx = count;
        out.ecx |= 2u << 8;
    }
    return out;
}

static struct cpuid_result leaf_d(struct vcpu *vcpu, uint32_t subleaf)
{
    const struct guest_policy *policy = guest_policy();
    struct cpuid_result out = {0};

    if (subleaf >= POLICY_XSAVE_LEAVES || policy->xcr0_allowed == 0) {
        return out;
    }
    out = policy->xsave[subleaf];
    guest_store_xcr0(vcpu);
    if (subleaf == 0) {
        out.ebx = guest_policy_xsave_bytes(vcpu->xcr0, false);
    } else if (subleaf == 1 && (out.eax & CPUID_D_1_EAX_XSAVEC)) {
        out.ebx = guest_policy_xsave_bytes(vcpu->xcr0, true);
    }
    return out;
}

/*
 * The TSC's frequency in APIC_BUS_KHZ: the best fraction with which Linux, which multiplies in 32
 * bits, does not overflow.  It is off by 60 millionths at most.  By its continued fraction: the
 * last convergent, or half-way to the next one that would be too large.
 */
static void tsc_ratio(uint64_t khz, uint32_t *numerator, uint32_t *denominator)
{
    const uint64_t limit = UINT32_MAX / APIC_BUS_KHZ;
    uint64_t high = khz, low = APIC_BUS_KHZ;
    uint64_t n = 1, d = 0, n_before = 0, d_before = 1;
    bool fits = true;

    while (low != 0 && fits) {
        uint64_t quotient = high / low, rest = high % low;
        uint64_t room = n == 0 ? quotient : (limit - n_before) / n;
        uint64_t taken = MIN(quotient, room);
        uint64_t n_next = taken * n + n_before, d_next = taken * d + d_before;

        fits = taken == quotient;
        if (!fits && 2 * taken <= quotient) {
            break;
        }
        n_before = n;
        d_before = d;
        n = n_next;
        d = d_next;
        high = low;
        low = rest;
    }
    *numerator = (uint32_t)n;
    *denominator = (uint32_t)d;
}

/* SDM volume 2, "CPUID": Time Stamp Counter and Core Crystal Clock, which is the APIC timer's. */
static struct cpuid_result leaf_15(const struct vcpu *vcpu)
{
    struct cpuid_result out = {.ecx = APIC_BUS_KHZ * 1000};

    tsc_ratio(vcpu->vm->tsc_khz, &out.ebx, &out.eax);
    return out;
}

/* Processor Frequency Information: base and highest, in MHz. */
static struct cpuid_result leaf_16(const struct vcpu *vcpu)
{
    uint32_t mhz = (uint32_t)((vcpu->vm->tsc_khz + 500) / 1000) & 0xffff;

    return (struct cpuid_result){.eax = mhz, .ebx = mhz};
}

static struct cpuid_result basic(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result out = {0};

    switch (leaf) {
    case 1:
        out = guest_policy()->basic[1];
        fix_leaf1(vcpu, &out);
        return out;
    case 4:
        return leaf4(vcpu, subleaf);
    case 7:
        return subleaf == 0 ? guest_policy()->basic[7] : out;
    case 0xb:
        return leaf_b(vcpu, subleaf);
    case 0xd:
        return leaf_d(vcpu, subleaf);
    case 0x15:
        return guest_policy()->amd ? out : leaf_15(vcpu);
    case 0x16:
        return guest_policy()->amd ? out : leaf_16(vcpu);
    default:
        return leaf < POLICY_BASIC_LEAVES ? guest_policy()->basic[leaf] : out;
    }
}

static struct cpuid_result extended(const struct vcpu *vcpu, uint32_t leaf)
{
    const struct guest_policy *policy = guest_policy();
    unsigned count = vcpu->vm->run.vcpu_count;
    struct cpuid_result out = {0};

    if (leaf - 0x80000000u >= POLICY_EXTENDED_LEAVES) {
        return out;
    }
    out = policy->extended[leaf - 0x80000000u];
    if (leaf == CPUID_LEAF_FEATURES_81 && policy->amd) {
        out.ecx |= count > 1 ? CPUID_81_ECX_CMP_LEGACY : 0;
        hide_apic(vcpu, &out);
    } else if (leaf == 0x80000008u && policy->amd) {
        out.ecx = (count - 1) | (log2_ceil(count) << 12);
    }
    return out;
}

static struct cpuid_result spillway_features(const struct vcpu *vcpu)
{
    struct cpuid_result out = {.eax = SPILLWAY_ABI_VERSION};

    out.ebx = guest_policy()->amd ? SPILLWAY_FEATURE_VMMCALL : SPILLWAY_FEATURE_VMCALL;
    out.ebx |= vcpu->vm->tmem_pages != 0 ? SPILLWAY_FEATURE_TMEM : 0;
    return out;
}

static struct cpuid_result hypervisor(const struct vcpu *vcpu, uint32_t leaf)
{
    switch (leaf) {
    case KVM_LEAF_SIGNATURE: /* KVMKVMKVM */
        return (struct cpuid_result){KVM_LEAF_TIMING, 0x4b4d564b, 0x564b4d56, 0x0000004d};
    case KVM_LEAF_FEATURES:
        return (struct cpuid_result){.eax = KVM_FEATURES};
    case KVM_LEAF_TIMING:
        return (struct cpuid_result){.eax = (uint32_t)vcpu->vm->tsc_khz, .ebx = APIC_BUS_KHZ};
    case SPILLWAY_LEAF_SIGNATURE: /* Spillway */
        return (struct cpuid_result){SPILLWAY_LEAF_FEATURES, 0x6c697053, 0x7961776c, 0};
    case SPILLWAY_LEAF_FEATURES:
        return spillway_features(vcpu);
    default:
        return (struct cpuid_result){0};
    }
}

void arch_guest_cpuid(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->regs.gpr;
    uint32_t leaf = (uint32_t)gpr[GPR_RAX], subleaf = (uint32_t)gpr[GPR_RCX];
    struct cpuid_result out;

    switch (leaf >> 28) {
    case 0:
        out = basic(vcpu, leaf, subleaf);
        break;
    case 4:
        out = hypervisor(vcpu, leaf);
        break;
    case 8:
        out = extended(vcpu, leaf);
        break;
    default:
        out = (struct cpuid_result){0};
        break;
    }
    gpr[GPR_RAX] = out.eax;
    gpr[GPR_RBX] = out.ebx;
    gpr[GPR_RCX] = out.ecx;
    gpr[GPR_RDX] = out.edx;
}
