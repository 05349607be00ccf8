/* SPDX-License-Identifier: BSD-2-Clause */
/* SDM Vol. 3D appendix A "VMX Capability Reporting Facility". */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/vmx/vcpu.h"
#include "base/log.h"

#define BASIC_REVISION BITS(30, 0)
#define BASIC_TRUE     BIT(55) /* the TRUE capability MSRs exist */

#define MISC_TIMER_RATE BITS(4, 0) /* the bit of the TSC that the VMX-preemption timer watches */
#define MISC_STORES_LMA BIT(5)     /* exits keep "IA-32e mode guest" in step with EFER.LMA */

#define EPT_WALK_4        BIT(6)
#define EPT_WRITE_BACK    BIT(14)
#define EPT_INVEPT        BIT(20)
#define EPT_AD            BIT(21)
#define EPT_INVEPT_SINGLE BIT(25)

struct requirement {
    uint64_t bit;
    const char *name;
};

static const struct requirement pin_required[] = {
    {PIN_EXTERNAL_INTERRUPT, "VMX: external-interrupt exiting"},
    {PIN_NMI, "VMX: NMI exiting"},
    {PIN_VIRTUAL_NMI, "VMX: virtual NMIs"},
};
static const struct requirement processor_required[] = {
    {PROCESSOR_INTERRUPT_WINDOW, "VMX: interrupt-window exiting"},
    {PROCESSOR_TSC_OFFSETTING, "VMX: TSC offsetting"},
    {PROCESSOR_HLT, "VMX: HLT exiting"},
    {PROCESSOR_MWAIT, "VMX: MWAIT exiting"},
    {PROCESSOR_RDPMC, "VMX: RDPMC exiting"},
    {PROCESSOR_CR8_LOAD, "VMX: CR8-load exiting"},
    {PROCESSOR_CR8_STORE, "VMX: CR8-store exiting"},
    {PROCESSOR_NMI_WINDOW, "VMX: NMI-window exiting"},
    {PROCESSOR_IO, "VMX: unconditional I/O exiting"},
    {PROCESSOR_MSR_BITMAPS, "VMX: MSR bitmaps"},
    {PROCESSOR_MONITOR, "VMX: MONITOR exiting"},
    {PROCESSOR_SECONDARY, "VMX: secondary controls"},
};
static const struct requirement secondary_required[] = {
    {SECONDARY_EPT, "VMX: extended page tables (EPT)"},
    {SECONDARY_VPID, "VMX: virtual-processor identifiers (VPID)"},
    {SECONDARY_WBINVD, "VMX: WBINVD exiting"},
    {SECONDARY_UNRESTRICTED, "VMX: unrestricted guest"},
};
static const struct requirement exit_required[] = {
    {EXIT_SAVE_DEBUG, "VMX: save debug controls on exit"},
    {EXIT_HOST_64, "VMX: 64-bit host"},
    {EXIT_SAVE_PAT, "VMX: save IA32_PAT on exit"},
    {EXIT_LOAD_PAT, "VMX: load IA32_PAT on exit"},
    {EXIT_SAVE_EFER, "VMX: save IA32_EFER on exit"},
    {EXIT_LOAD_EFER, "VMX: load IA32_EFER on exit"},
};
static const struct requirement entry_required[] = {
    {ENTRY_LOAD_DEBUG, "VMX: load debug controls on entry"},
    {ENTRY_GUEST_64, "VMX: IA-32e mode guest"},
    {ENTRY_LOAD_PAT, "VMX: load IA32_PAT on entry"},
    {ENTRY_LOAD_EFER, "VMX: load IA32_EFER on entry"},
};
static const struct requirement ept_required[] = {
    {EPT_WALK_4, "EPT: page-walk length 4"},
    {EPT_WRITE_BACK, "EPT: write-back paging structures"},
    {EPT_INVEPT, "EPT: INVEPT"},
    {EPT_INVEPT_SINGLE, "EPT: single-context INVEPT"},
    {EPT_AD, "EPT: accessed and dirty flags"},
};

/* In `have`, a bit that is 1 may be had. */
static bool require(const struct requirement *list, size_t count, uint64_t have,
                    void (*missing)(const char *feature))
{
    bool good = true;

    for (size_t i = 0; i < count; i++) {
        if (!(have & list[i].bit)) {
            missing(list[i].name);
            good = false;
        }
    }
    return good;
}

#define REQUIRE(list, have) require(list, ARRAY_SIZE(list), have, missing)

/* Of a capability MSR of controls: settings that may be 1, settings that must be. */
static uint64_t may_be_one(uint32_t msr)
{
    return rdmsr(msr) >> 32;
}

static uint64_t must_be_one(uint32_t msr)
{
    return rdmsr(msr) & 0xffffffff;
}

static bool check_lock(void (*missing)(const char *feature))
{
    uint64_t control = rdmsr(MSR_IA32_FEATURE_CONTROL);

    if ((control & FEATURE_CONTROL_LOCKED) && !(control & FEATURE_CONTROL_VMX_OUTSIDE_SMX)) {
        missing("VMX is disabled by the firmware (IA32_FEATURE_CONTROL)");
        return false;
    }
    return true;
}

static bool check_controls(void (*missing)(const char *feature))
{
    bool good = REQUIRE(pin_required, may_be_one(MSR_IA32_VMX_TRUE_PINBASED_CTLS));

    good &= REQUIRE(processor_required, may_be_one(MSR_IA32_VMX_TRUE_PROCBASED_CTLS));
    good &= REQUIRE(exit_required, may_be_one(MSR_IA32_VMX_TRUE_EXIT_CTLS));
    good &= REQUIRE(entry_required, may_be_one(MSR_IA32_VMX_TRUE_ENTRY_CTLS));
    if (must_be_one(MSR_IA32_VMX_TRUE_PROCBASED_CTLS) &
        (PROCESSOR_CR3_LOAD | PROCESSOR_CR3_STORE | PROCESSOR_INVLPG)) {
        missing("VMX: CR3 and INVLPG without exits");
        good = false;
    }
    if (!(rdmsr(MSR_IA32_VMX_MISC) & MISC_STORES_LMA)) {
        missing("VMX: EFER.LMA stored at exits");
        good = false;
    }
    return good;
}

static bool check_ept(void (*missing)(const char *feature))
{
    uint64_t secondary;

    if (!(may_be_one(MSR_IA32_VMX_TRUE_PROCBASED_CTLS) & PROCESSOR_SECONDARY)) {
        return false; /* already named; the MSRs below do not exist */
    }
    secondary = may_be_one(MSR_IA32_VMX_PROCBASED_CTLS2);
    if (!REQUIRE(secondary_required, secondary)) {
        return false;
    }
    return REQUIRE(ept_required, rdmsr(MSR_IA32_VMX_EPT_VPID_CAP));
}

/* Not required: without it nothing is lost unless an interrupt is. */
static bool has_guard(void)
{
    return (may_be_one(MSR_IA32_VMX_TRUE_PINBASED_CTLS) & PIN_PREEMPTION_TIMER) != 0;
}

bool vmx_check(void (*missing)(const char *feature))
{
    bool good;

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_VMX)) {
        missing("VMX (CPUID 1 ECX bit 5)");
        return false;
    }
    if (!(rdmsr(MSR_IA32_VMX_BASIC) & BASIC_TRUE)) {
        missing("VMX: TRUE capability MSRs (IA32_VMX_BASIC bit 55)");
        return false;
    }
    good = check_lock(missing);
    good &= check_controls(missing);
    good &= check_ept(missing);
    if (good && !has_guard()) {
        log_warn("VMX: no VMX-preemption timer: a guest's stay is ended by interrupts only");
    }
    return good;
}

/* ---- values of the controls ---- */

static uint32_t bits_of(const struct requirement *list, size_t count)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < count; i++) {
        bits |= list[i].bit;
    }
    return (uint32_t)bits;
}

#define BITS_OF(list) bits_of(list, ARRAY_SIZE(list))

static uint32_t fit(uint32_t msr, uint64_t wanted)
{
    return (uint32_t)((wanted & may_be_one(msr)) | must_be_one(msr));
}

/* Guests get what CPUID tells them that they have; all else raises #UD. */
static uint64_t secondary_wanted(void)
{
    const struct guest_policy *policy = guest_policy();
    uint64_t wanted = BITS_OF(secondary_required) | SECONDARY_PAUSE_LOOP;

    wanted |= policy->has_tsc_aux ? SECONDARY_RDTSCP : 0;
    wanted |= (policy->basic[7].ebx & CPUID_7_EBX_INVPCID) ? SECONDARY_INVPCID : 0;
    wanted |= (policy->xsave[1].eax & CPUID_D_1_EAX_XSAVES) ? SECONDARY_XSAVES : 0;
    return wanted;
}

static struct vmx_features features;

/* Every CPU finds the same: the race between two that fill it in is harmless. */
static void find_features(void)
{
    /* Windows are asked for when one is needed; the guest starts in real mode. */
    uint64_t processor =
        BITS_OF(processor_required) & ~(PROCESSOR_INTERRUPT_WINDOW | PROCESSOR_NMI_WINDOW);
    uint64_t entry = BITS_OF(entry_required) & ~ENTRY_GUEST_64;

    features.revision = (uint32_t)FIELD_GET(BASIC_REVISION, rdmsr(MSR_IA32_VMX_BASIC));
    features.pin =
        fit(MSR_IA32_VMX_TRUE_PINBASED_CTLS, BITS_OF(pin_required) | PIN_PREEMPTION_TIMER);
    features.processor = fit(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, processor);
    features.secondary = fit(MSR_IA32_VMX_PROCBASED_CTLS2, secondary_wanted());
    features.pause = (uint32_t)(may_be_one(MSR_IA32_VMX_TRUE_PROCBASED_CTLS) & PROCESSOR_PAUSE);
    if (features.secondary & SECONDARY_PAUSE_LOOP) {
        features.pause = 0;
    }
    features.exit = fit(MSR_IA32_VMX_TRUE_EXIT_CTLS, BITS_OF(exit_required));
    features.entry = fit(MSR_IA32_VMX_TRUE_ENTRY_CTLS, entry);
    features.ready = true;
}

const struct vmx_features *vmx_features(void)
{
    if (!features.ready) {
        find_features();
    }
    return &features;
}

/* It counts down by one whenever that bit of the TSC changes: SDM Vol. 3C 25.5.1 "VMX-Preemption
 * Timer".  Never 0, with which a guest would not execute anything. */
uint32_t vmx_guard_count(void)
{
    unsigned rate = FIELD_GET(MISC_TIMER_RATE, rdmsr(MSR_IA32_VMX_MISC));
    uint64_t ticks = GUEST_STAY_MAX_NS / 1000 * arch_tsc_khz() / 1000;

    return (uint32_t)MIN((ticks >> rate) + 1, (uint64_t)UINT32_MAX);
}
