/* SPDX-License-Identifier: BSD-2-Clause */
/* Turning VMX on and off: SDM Vol. 3C 23.7 "Enabling and Entering VMX Operation"; current VMCSs;
 * the MSR bitmap. */
#include <stdatomic.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/vmx/vcpu.h"
#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

/* SDM Vol. 3C 24.6.9 "MSR-Bitmap Address": 1 KiB each for reads of 0.., reads of c0000000.., writes
 * of both; a bit that is 0 lets the guest through. */
#define MSR_RANGE_BYTES  0x400u
#define MSR_WRITE_OFFSET 0x800u

static struct vmx_cpu cpus[MAX_CPUS];
static _Atomic uint64_t msr_map; /* host-physical; 0: not yet */

struct vmx_cpu *vmx_cpu_self(void)
{
    return &cpus[arch_cpu_id()];
}

hpa_t vmx_msr_map(void)
{
    return hpa(msr_map);
}

/* ---- the current VMCS ---- */

void vmcs_refused(uint32_t field, const char *instruction)
{
    panic("%s of VMCS field 0x%x failed", instruction, field);
}

void vmx_make_current(hpa_t vmcs)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
    if (failed) {
        panic("VMPTRLD of 0x%lx failed", (unsigned long)vmcs.v);
    }
}

void vmx_clear(hpa_t vmcs)
{
    bool failed;

    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
    if (failed) {
        panic("VMCLEAR of 0x%lx failed", (unsigned long)vmcs.v);
    }
}

bool vmx_borrow(struct vmx_vcpu *vmx)
{
    if (vmx->current) {
        return false;
    }
    vmx_make_current(vmx->vmcs);
    vmx->current = true;
    return true;
}

void vmx_return(struct vmx_vcpu *vmx, bool borrowed)
{
    struct vmx_cpu *cpu = vmx_cpu_self();

    if (!borrowed) {
        return;
    }
    vmx_clear(vmx->vmcs);
    vmx->current = false;
    if (cpu->current.v != 0) {
        vmx_make_current(cpu->current);
    }
}

/* ---- MSR bitmap ---- */

static void msr_let_through(uint8_t *map, uint32_t msr, bool write)
{
    uint32_t range = msr < MSR_MAP_RANGE ? 0 : MSR_RANGE_BYTES;
    uint32_t bit = msr & (MSR_MAP_RANGE - 1);

    map[(write ? MSR_WRITE_OFFSET : 0) + range + bit / 8] &= (uint8_t) ~(1u << (bit % 8));
}

/* Lets through what entries and exits, or load and put, switch. */
static void fill_msr_map(uint8_t *map)
{
    for (unsigned i = 0; i < INTERCEPT_MSRS_PASSED; i++) {
        msr_let_through(map, intercept_msrs_passed[i], false);
        msr_let_through(map, intercept_msrs_passed[i], true);
    }
    msr_let_through(map, MSR_EFER, false);
}

/* The map, made by whichever CPU comes first. */
static bool make_msr_map(void)
{
    uint64_t expected = 0;
    pfn_t frame;

    if (atomic_load(&msr_map) != 0) {
        return true;
    }
    if (!frame_alloc(0, ALLOC_META, 0, &frame)) {
        return false;
    }
    memset(mm_frame_ptr(frame), 0xff, PAGE_SIZE);
    fill_msr_map(mm_frame_ptr(frame));
    if (!atomic_compare_exchange_strong(&msr_map, &expected, pfn_to_hpa(frame).v)) {
        frame_free(frame);
    }
    return true;
}

/* ---- enable, disable ---- */

static bool allocate(struct vmx_cpu *cpu)
{
    pfn_t region;

    if (cpu->vmxon.v == 0) {
        if (!frame_alloc_zeroed(0, ALLOC_META, 0, &region)) {
            return false;
        }
        cpu->vmxon = pfn_to_hpa(region);
    }
    *(uint32_t *)mm_frame_ptr(hpa_to_pfn(cpu->vmxon)) = vmx_features()->revision;
    return true;
}

/* Locks it if the firmware has not: SDM Vol. 3C 23.7. */
static bool unlock_feature(void)
{
    uint64_t control = rdmsr(MSR_IA32_FEATURE_CONTROL);

    if (!(control & FEATURE_CONTROL_LOCKED)) {
        control |= FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX_OUTSIDE_SMX;
        wrmsr(MSR_IA32_FEATURE_CONTROL, control);
    }
    return (control & FEATURE_CONTROL_VMX_OUTSIDE_SMX) != 0;
}

static bool vmxon(hpa_t region)
{
    bool failed;

    write_cr0((read_cr0() | rdmsr(MSR_IA32_VMX_CR0_FIXED0)) & rdmsr(MSR_IA32_VMX_CR0_FIXED1));
    write_cr4((read_cr4() | CR4_VMXE | rdmsr(MSR_IA32_VMX_CR4_FIXED0)) &
              rdmsr(MSR_IA32_VMX_CR4_FIXED1));
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region.v) : "memory");
    return !failed;
}

bool vmx_cpu_enable(void)
{
    struct vmx_cpu *cpu = vmx_cpu_self();

    if (cpu->enabled) {
        return true;
    }
    if (!unlock_feature()) {
        log_error("CPU %u: VMX is disabled by the firmware", arch_cpu_id());
        return false;
    }
    if (!make_msr_map() || !allocate(cpu)) {
        log_error("CPU %u: no memory for the VMXON region", arch_cpu_id());
        return false;
    }
    fpu_cpu_enable();
    if (!vmxon(cpu->vmxon)) {
        log_error("CPU %u: VMXON failed", arch_cpu_id());
        return false;
    }
    cpu->current = hpa(0);
    cpu->enabled = true;
    return true;
}

void vmx_cpu_disable(void)
{
    struct vmx_cpu *cpu = vmx_cpu_self();

    if (!cpu->enabled) {
        return;
    }
    cpu->enabled = false;
    __asm__ volatile("vmxoff" : : : "cc", "memory");
    write_cr4(read_cr4() & ~CR4_VMXE);
}
