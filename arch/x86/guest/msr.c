/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RDMSR and WRMSR that exit.  A register is here because guests need it, because Linux reads it
 * while it boots, or because it must not reach the hardware.  All others raise #GP and are counted.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "base/log.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmasync.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vdev/kvmsteal.h"

#define UCODE_REVISION    (1ull << 32)
#define MTRR_CAP_VALUE    0x508ull /* 8 variable ranges, fixed ranges, write combining */
#define MTRR_DEF_RESET    0x806ull /* MTRRs on, write-back: as firmware leaves it */
#define MTRR_DEF_VALID    (BIT(11) | BIT(10) | 0x7ull)
#define MTRR_MASK_VALID   BIT(11)
#define MISC_ENABLE_RESET (BIT(0) | BIT(11) | BIT(12)) /* fast strings; no BTS, no PEBS */
#define HWCR_TSC_P0       BIT(24)                      /* TSC runs at P0 frequency */
#define DE_CFG_LFENCE     BIT(1)                       /* LFENCE is dispatch serialising */

/* Each type of a fixed MTRR or PAT byte: UC WC - - WT WP WB; PAT has UC- (7) too. */
#define TYPES_MTRR 0x73u
#define TYPES_PAT  0xf3u

static bool types_ok(uint64_t value, unsigned types)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t type = (value >> i) & 0xff;

        if (type > 7 || !(types & BIT(type))) {
            return false;
        }
    }
    return true;
}

/* ---- MTRRs: stored, without effect: the second-level tables decide ---- */

/* Index into msr_mtrr_fixed, or -1. */
static int mtrr_fixed_index(uint32_t msr)
{
    if (msr == MSR_IA32_MTRR_FIX64K_00000) {
        return 0;
    }
    if (msr - MSR_IA32_MTRR_FIX16K_80000 < 2) {
        return (int)(msr - MSR_IA32_MTRR_FIX16K_80000) + 1;
    }
    return msr - MSR_IA32_MTRR_FIX4K_C0000 < 8 ? (int)(msr - MSR_IA32_MTRR_FIX4K_C0000) + 3 : -1;
}

static bool mtrr_variable_ok(uint32_t msr, uint64_t value)
{
    if (value >> guest_physical_bits()) {
        return false;
    }
    if (msr & 1) {
        return (value & (BITS(11, 0) & ~MTRR_MASK_VALID)) == 0;
    }
    return (value & BITS(11, 8)) == 0 && (value & 0xff) <= 7 && (TYPES_MTRR & BIT(value & 7));
}

/* The register of a MTRR, or NULL.  The default type is kept XORed with its reset value, so that a
 * zeroed vCPU is in reset state. */
static uint64_t *mtrr_register(struct vcpu *vcpu, uint32_t msr)
{
    int fixed = mtrr_fixed_index(msr);

    if (fixed >= 0) {
        return &vcpu->msr_mtrr_fixed[fixed];
    }
    if (msr - MSR_IA32_MTRR_PHYSBASE0 < ARRAY_SIZE(vcpu->msr_mtrr_variable)) {
        return &vcpu->msr_mtrr_variable[msr - MSR_IA32_MTRR_PHYSBASE0];
    }
    return NULL;
}

static bool mtrr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t *reg = mtrr_register(vcpu, msr);

    if (mtrr_fixed_index(msr) >= 0 ? !types_ok(value, TYPES_MTRR) : !mtrr_variable_ok(msr, value)) {
        return false;
    }
    *reg = value;
    return true;
}

static bool mtrr_def_type_write(struct vcpu *vcpu, uint64_t value)
{
    if ((value & ~MTRR_DEF_VALID) || !(TYPES_MTRR & BIT(value & 7))) {
        return false;
    }
    vcpu->msr_mtrr_def_type = value ^ MTRR_DEF_RESET;
    return true;
}

/* ---- registers that live in the backend ---- */

static uint64_t state_read(struct vcpu *vcpu, uint32_t msr)
{
    struct guest_state state;

    arch_backend()->get_state(vcpu, &state);
    return msr == MSR_EFER ? state.efer : state.pat;
}

static bool pat_write(struct vcpu *vcpu, uint64_t value)
{
    struct guest_state state;

    if (!types_ok(value, TYPES_PAT)) {
        return false;
    }
    arch_backend()->get_state(vcpu, &state);
    state.pat = value;
    arch_backend()->set_state(vcpu, &state);
    return true;
}

/* LMA is read-only and ignored; LME must not change while paging is on. */
static bool efer_write(struct vcpu *vcpu, uint64_t value)
{
    struct guest_state state;
    uint64_t changed;

    if (value & ~guest_policy()->efer_allowed) {
        return false;
    }
    arch_backend()->get_state(vcpu, &state);
    changed = state.efer ^ value;
    if ((changed & EFER_LME) && (state.cr0 & CR0_PG)) {
        return false;
    }
    state.efer = (value & ~(uint64_t)EFER_LMA) | (state.efer & EFER_LMA);
    arch_backend()->set_state(vcpu, &state);
    if (changed & EFER_NXE) {
        guest_flush_translations(vcpu);
    }
    return true;
}

/* ---- reading ---- */

static bool read_tsc_register(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_IA32_TSC:
        *value = arch_tsc() + vcpu->msr_tsc_offset;
        return true;
    case MSR_IA32_TSC_ADJUST:
        *value = vcpu->msr_tsc_adjust;
        return true;
    case MSR_TSC_AUX:
        *value = vcpu->msr_tsc_aux;
        return guest_policy()->has_tsc_aux;
    default:
        return false;
    }
}

/* Constants, and vendor registers that read as zero. */
static bool read_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    bool amd = guest_policy()->amd;

    *value = 0;
    switch (msr) {
    case MSR_IA32_BIOS_SIGN_ID:
        *value = UCODE_REVISION;
        return true;
    case MSR_IA32_MTRRCAP:
        *value = MTRR_CAP_VALUE;
        return true;
    case MSR_IA32_MISC_ENABLE:
        *value = vcpu->msr_misc_enable | MISC_ENABLE_RESET;
        return true;
    case MSR_IA32_MCG_CAP:
    case MSR_IA32_MCG_STATUS:
    case MSR_IA32_DEBUGCTL:
    case MSR_LAST_BRANCH_FROM ... MSR_LAST_EXCEPTION_TO:
    case MSR_IA32_P5_MC_ADDR:
    case MSR_IA32_P5_MC_TYPE:
        return true;
    case MSR_IA32_FEATURE_CONTROL:
        *value = FEATURE_CONTROL_LOCKED; /* and VMX off */
        return !amd;
    case MSR_IA32_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_PLATFORM_INFO:
    case MSR_IA32_PERF_STATUS:
        return !amd;
    case MSR_AMD_HWCR:
        *value = HWCR_TSC_P0;
        return amd;
    case MSR_AMD_DE_CFG:
        *value = DE_CFG_LFENCE;
        return amd;
    case MSR_AMD_PERF_CTL0 ... MSR_AMD_PERF_CTR3:
    case MSR_AMD_IORR_BASE0 ... MSR_AMD_IORR_MASK1:
    case MSR_AMD_NB_CFG:
    case MSR_AMD_PSTATE_LIMIT ... MSR_AMD_PSTATE_STATUS:
    case MSR_AMD_SYSCFG:
    case MSR_AMD_TOP_MEM:
    case MSR_AMD_TOP_MEM2:
    case MSR_AMD_INT_PENDING:
    case MSR_AMD_MMIO_CONF_BASE:
    case MSR_AMD_SMM_ADDRESS:
    case MSR_AMD_LS_CFG ... MSR_AMD_BU_CFG:
    case MSR_AMD_BU_CFG2:
        return amd;
    default:
        return false;
    }
}

static bool msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    if (vlapic_owns_msr(msr)) {
        return vlapic_msr_read(vcpu, msr, value);
    }
    switch (msr) {
    case MSR_EFER:
    case MSR_IA32_PAT:
        *value = state_read(vcpu, msr);
        return true;
    case MSR_IA32_TSC:
    case MSR_IA32_TSC_ADJUST:
    case MSR_TSC_AUX:
        return read_tsc_register(vcpu, msr, value);
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_OLD:
        *value = vcpu->msr_kvm_system_time;
        return true;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
        *value = vcpu->msr_kvm_wall_clock;
        return true;
    case MSR_KVM_STEAL_TIME:
        *value = vcpu->msr_kvm_steal_time;
        return true;
    case MSR_KVM_EOI:
        *value = vcpu->msr_kvm_eoi;
        return true;
    case MSR_KVM_ASYNC_PF_EN:
    case MSR_KVM_ASYNC_PF_INT:
    case MSR_KVM_ASYNC_PF_ACK:
        return kvmasync_msr_read(vcpu->async, msr, value);
    case MSR_IA32_MTRR_DEF_TYPE:
        *value = vcpu->msr_mtrr_def_type ^ MTRR_DEF_RESET;
        return true;
    default:
        break;
    }
    if (mtrr_register(vcpu, msr) != NULL) {
        *value = *mtrr_register(vcpu, msr);
        return true;
    }
    return read_fixed(vcpu, msr, value);
}

/* ---- writing ---- */

/* MM_NO_MEMSLOT stands for #GP. */
static enum mm_result gp_unless(bool ok)
{
    return ok ? MM_OK : MM_NO_MEMSLOT;
}

/* The guest's time line moves: the clock page first, since that may have to wait. */
static enum mm_result tsc_move(struct vcpu *vcpu, uint64_t delta)
{
    uint64_t offset = vcpu->msr_tsc_offset + delta;
    enum mm_result result = kvmclock_update(vcpu, offset, &vcpu->waiter);

    if (result != MM_OK) {
        return result;
    }
    vcpu->msr_tsc_offset = offset;
    vcpu->msr_tsc_adjust += delta;
    vlapic_tsc_changed(vcpu);
    return MM_OK;
}

/* Registers whose writes are accepted when they change nothing. */
static bool write_fixed(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t present;

    switch (msr) {
    case MSR_IA32_BIOS_UPDT_TRIG:
        return !guest_policy()->amd; /* microcode is the host's */
    case MSR_IA32_BIOS_SIGN_ID:
        return true;
    case MSR_AMD_PATCH_LOADER:
        return guest_policy()->amd;
    case MSR_IA32_MISC_ENABLE:
        vcpu->msr_misc_enable = value & ~MISC_ENABLE_RESET;
        return true;
    case MSR_IA32_DEBUGCTL:
        return (value & ~3ull) == 0; /* LBR and BTF are ignored: guests have neither */
    case MSR_AMD_HWCR:
    case MSR_AMD_DE_CFG:
    case MSR_AMD_LS_CFG ... MSR_AMD_BU_CFG:
    case MSR_AMD_BU_CFG2:
        return guest_policy()->amd; /* chicken bits: no effect */
    default:
        return read_fixed(vcpu, msr, &present) && present == value;
    }
}

static enum mm_result msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (msr == MSR_IA32_APIC_BASE && value >> guest_physical_bits()) {
        return MM_NO_MEMSLOT;
    }
    if (vlapic_owns_msr(msr)) {
        return gp_unless(vlapic_msr_write(vcpu, msr, value));
    }
    switch (msr) {
    case MSR_EFER:
        return gp_unless(efer_write(vcpu, value));
    case MSR_IA32_PAT:
        return gp_unless(pat_write(vcpu, value));
    case MSR_IA32_TSC:
        return tsc_move(vcpu, value - (arch_tsc() + vcpu->msr_tsc_offset));
    case MSR_IA32_TSC_ADJUST:
        return tsc_move(vcpu, value - vcpu->msr_tsc_adjust);
    case MSR_TSC_AUX:
        if (!guest_policy()->has_tsc_aux || (value >> 32)) {
            return MM_NO_MEMSLOT;
        }
        vcpu->msr_tsc_aux = value;
        guest_load_tsc_aux(vcpu);
        return MM_OK;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_OLD:
        return kvmclock_set_system_time(vcpu, value, &vcpu->waiter);
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
        return kvmclock_set_wall_clock(vcpu, value, &vcpu->waiter);
    case MSR_KVM_STEAL_TIME:
        return kvmsteal_set(vcpu, value, &vcpu->waiter);
    case MSR_KVM_EOI:
        return vlapic_eoi_set(vcpu, value, &vcpu->waiter);
    case MSR_KVM_ASYNC_PF_EN:
    case MSR_KVM_ASYNC_PF_INT:
    case MSR_KVM_ASYNC_PF_ACK:
        return kvmasync_msr_write(vcpu->async, msr, value, &vcpu->waiter);
    case MSR_IA32_MTRR_DEF_TYPE:
        return gp_unless(mtrr_def_type_write(vcpu, value));
    default:
        break;
    }
    if (mtrr_register(vcpu, msr) != NULL) {
        return gp_unless(mtrr_write(vcpu, msr, value));
    }
    return gp_unless(write_fixed(vcpu, msr, value));
}

/* ---- exits ---- */

static enum exit_result refuse(struct vcpu *vcpu, uint32_t msr, const char *what)
{
    atomic_fetch_add_explicit(&vcpu->vm->run.unowned_msr, 1, memory_order_relaxed);
    vm_log(vcpu->vm, LOG_DEBUG, "%s: vCPU %u: #GP for %s 0x%x at RIP 0x%lx", vcpu->vm->name,
           vcpu->index, what, msr, (unsigned long)vcpu->regs.rip);
    return guest_exit_result(guest_raise_gp(vcpu));
}

enum exit_result arch_guest_rdmsr(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    uint64_t *gpr = vcpu->regs.gpr;
    uint32_t msr = (uint32_t)gpr[GPR_RCX];
    enum exit_result result;
    unsigned length;
    uint64_t value;

    result = arch_guest_instruction_length(vcpu, exit, &length);
    if (result != EXIT_RESUME || length == 0) {
        return result;
    }
    if (!msr_read(vcpu, msr, &value)) {
        return refuse(vcpu, msr, "RDMSR");
    }
    gpr[GPR_RAX] = value & 0xffffffff;
    gpr[GPR_RDX] = value >> 32;
    arch_guest_advance(vcpu, length);
    return EXIT_RESUME;
}

enum exit_result arch_guest_wrmsr(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    uint64_t *gpr = vcpu->regs.gpr;
    uint32_t msr = (uint32_t)gpr[GPR_RCX];
    uint64_t value = (gpr[GPR_RDX] << 32) | (gpr[GPR_RAX] & 0xffffffff);
    enum exit_result result;
    unsigned length;

    result = arch_guest_instruction_length(vcpu, exit, &length);
    if (result != EXIT_RESUME || length == 0) {
        return result;
    }
    switch (msr_write(vcpu, msr, value)) {
    case MM_OK:
        arch_guest_advance(vcpu, length);
        return EXIT_RESUME;
    case MM_WAIT:
        return EXIT_PARK;
    case MM_NO_MEMSLOT:
        return refuse(vcpu, msr, "WRMSR");
    case MM_LOST:
        break;
    }
    vm_lose_page(vcpu->vm, "vCPU %u: page that MSR 0x%x points to", vcpu->index, msr);
    return EXIT_FAIL;
}
