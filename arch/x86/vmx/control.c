/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCSs: what exits, the host's side, and making a vCPU current on a CPU. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/reset.h"
#include "arch/x86/vmx/vcpu.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define NOWHERE UINT32_MAX

/* A guest that stays in a loop of PAUSEs for so many clocks waits for a lock whose holder may not
 * be running: SDM Vol. 3C 25.1.3 "Instructions That Cause VM Exits Conditionally". */
#define PLE_WINDOW 4096u

#define LINK_NONE ~0ull

static void set_controls(const struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
    const struct vmx_features *features = vmx_features();

    vmcs_write32(VMCS_PIN_CONTROLS, features->pin);
    vmcs_write32(VMCS_PROCESSOR_CONTROLS, features->processor);
    vmcs_write32(VMCS_SECONDARY_CONTROLS, features->secondary);
    vmcs_write32(VMCS_EXIT_CONTROLS, features->exit);
    vmcs_write32(VMCS_ENTRY_CONTROLS, features->entry);
    vmcs_write32(VMCS_EXCEPTION_BITMAP, INTERCEPT_EXCEPTIONS);
    vmcs_write32(VMCS_PAGE_FAULT_MASK, 0);
    vmcs_write32(VMCS_PAGE_FAULT_MATCH, 0);
    vmcs_write32(VMCS_CR3_TARGET_COUNT, 0);
    vmcs_write32(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmcs_write32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmcs_write32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmcs_write32(VMCS_ENTRY_INTERRUPTION, 0);
    if (features->secondary & SECONDARY_PAUSE_LOOP) {
        vmcs_write32(VMCS_PLE_GAP, INTERCEPT_PAUSE_GAP);
        vmcs_write32(VMCS_PLE_WINDOW, PLE_WINDOW);
    }
    /* Exits do not save the timer, so each entry loads this again. */
    if (features->pin & PIN_PREEMPTION_TIMER) {
        vmcs_write32(VMCS_GUEST_PREEMPTION_TIMER, vmx_guard_count());
    }
    vmcs_write64(VMCS_MSR_BITMAPS, vmx_msr_map().v);
    vmcs_write64(VMCS_TSC_OFFSET, 0);
    vmcs_write64(VMCS_EPT_POINTER, vmx->ept_pointer);
    vmcs_write64(VMCS_LINK_POINTER, LINK_NONE);
    vmcs_write16(VMCS_VPID, vcpu->id + 1); /* 0 is the host's */
    vmcs_write(VMCS_CR0_MASK, vmx_cr0_mask());
    vmcs_write(VMCS_CR4_MASK, vmx_cr4_mask());
    vmx->processor = features->processor;
    vmx->processor_wanted = features->processor;
}

bool vmx_vcpu_create(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx;
    bool borrowed;
    pfn_t self, vmcs;

    /* VMs may be made before this CPU runs its first one. */
    if (!vmx_cpu_enable() || !frame_alloc_zeroed(0, ALLOC_META, 0, &self)) {
        return false;
    }
    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &vmcs)) {
        frame_free(self);
        return false;
    }
    if (!fpu_create(vcpu)) {
        frame_free(vmcs);
        frame_free(self);
        return false;
    }
    vmx = mm_frame_ptr(self);
    vmx->self = self;
    vmx->vmcs = pfn_to_hpa(vmcs);
    vmx->host_cpu = NOWHERE;
    vmx->ept_pointer = pfn_to_hpa(space_root(vcpu->space)).v |
                       FIELD_PREP(EPTP_MEMORY_TYPE, MEMORY_TYPE_WB) | EPTP_WALK_4 |
                       EPTP_ACCESSED_DIRTY;
    *(uint32_t *)mm_frame_ptr(hpa_to_pfn(vmx->vmcs)) = vmx_features()->revision;
    vmx_clear(vmx->vmcs);
    borrowed = vmx_borrow(vmx);
    set_controls(vcpu, vmx);
    vmx_return(vmx, borrowed);
    vcpu->backend_data = vmx;
    return true;
}

void vmx_vcpu_destroy(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);

    vcpu->backend_data = NULL;
    frame_free(hpa_to_pfn(vmx->vmcs));
    frame_free(vmx->self);
    fpu_destroy(vcpu);
}

static void load_debug(const struct vcpu *vcpu)
{
    write_dr0(vcpu->regs.dr[0]);
    write_dr1(vcpu->regs.dr[1]);
    write_dr2(vcpu->regs.dr[2]);
    write_dr3(vcpu->regs.dr[3]);
    write_dr6(vcpu->regs.dr6);
}

static void put_debug(struct vcpu *vcpu)
{
    vcpu->regs.dr[0] = read_dr0();
    vcpu->regs.dr[1] = read_dr1();
    vcpu->regs.dr[2] = read_dr2();
    vcpu->regs.dr[3] = read_dr3();
    vcpu->regs.dr6 = read_dr6();
}

void vmx_vcpu_reset(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    bool borrowed = vmx_borrow(vmx);
    struct guest_state state;

    reset_registers(&vcpu->regs, &state);
    vmx_set_state(vcpu, &state);
    vmx->rip = vcpu->regs.rip;
    vmx->rsp = vcpu->regs.gpr[GPR_RSP];
    vmx->rflags = vcpu->regs.rflags;
    vmcs_write(VMCS_GUEST_RIP, vmx->rip);
    vmcs_write(VMCS_GUEST_RSP, vmx->rsp);
    vmcs_write(VMCS_GUEST_RFLAGS, vmx->rflags);
    vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
    vmcs_write32(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmcs_write32(VMCS_GUEST_ACTIVITY, 0);
    vmcs_write64(VMCS_GUEST_DEBUGCTL, 0);
    vmcs_write32(VMCS_GUEST_SYSENTER_CS, 0);
    vmcs_write(VMCS_GUEST_SYSENTER_ESP, 0);
    vmcs_write(VMCS_GUEST_SYSENTER_EIP, 0);
    vmcs_write32(VMCS_EXCEPTION_BITMAP, INTERCEPT_EXCEPTIONS);
    vmx->step = false;
    if (vmx->loaded) {
        load_debug(vcpu);
    }
    vmx_return(vmx, borrowed);
    guest_flush_translations(vcpu);
}

/* Base in a TSS descriptor: SDM Vol. 3A 7.2.3 "TSS Descriptor in 64-bit mode". */
static uint64_t tss_base(uint64_t gdt, uint16_t selector)
{
    const uint64_t *descriptor = (const uint64_t *)(gdt + (selector & ~7u));
    uint64_t low = descriptor[0], high = descriptor[1];

    return FIELD_GET(BITS(39, 16), low) | FIELD_GET(BITS(63, 56), low) << 24 | high << 32;
}

/* SDM Vol. 3C 24.5 "Host-State Area": this CPU's. */
static void set_host_state(void)
{
    struct descriptor_pointer gdt = sgdt(), idt = sidt();

    vmcs_write16(VMCS_HOST_CS_SELECTOR, read_cs());
    vmcs_write16(VMCS_HOST_SS_SELECTOR, read_ss());
    vmcs_write16(VMCS_HOST_DS_SELECTOR, read_ss());
    vmcs_write16(VMCS_HOST_ES_SELECTOR, read_ss());
    vmcs_write16(VMCS_HOST_FS_SELECTOR, 0);
    vmcs_write16(VMCS_HOST_GS_SELECTOR, 0);
    vmcs_write16(VMCS_HOST_TR_SELECTOR, read_tr());
    vmcs_write(VMCS_HOST_FS_BASE, rdmsr(MSR_FS_BASE));
    vmcs_write(VMCS_HOST_GS_BASE, rdmsr(MSR_GS_BASE));
    vmcs_write(VMCS_HOST_TR_BASE, tss_base(gdt.base, read_tr()));
    vmcs_write(VMCS_HOST_GDTR_BASE, gdt.base);
    vmcs_write(VMCS_HOST_IDTR_BASE, idt.base);
    vmcs_write32(VMCS_HOST_SYSENTER_CS, 0);
    vmcs_write(VMCS_HOST_SYSENTER_ESP, 0);
    vmcs_write(VMCS_HOST_SYSENTER_EIP, 0);
    vmcs_write(VMCS_HOST_CR0, read_cr0());
    vmcs_write64(VMCS_HOST_PAT, rdmsr(MSR_IA32_PAT));
    vmcs_write64(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmcs_write(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
}

void vmx_load(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);

    vmx_make_current(vmx->vmcs);
    vmx_cpu_self()->current = vmx->vmcs;
    vmx->loaded = true;
    vmx->current = true;
    vmx->launched = false;
    if (vmx->host_cpu != arch_cpu_id()) {
        set_host_state();
        vmx->host_cpu = arch_cpu_id();
    }
    vmcs_write(VMCS_HOST_CR3, read_cr3());
    vmcs_write(VMCS_HOST_CR4, read_cr4());
    for (unsigned i = 0; i < INTERCEPT_MSRS_LOADED; i++) {
        wrmsr(intercept_msrs_passed[i], vmx->msr[i]);
    }
    if (guest_policy()->has_tsc_aux) {
        guest_load_tsc_aux(vcpu);
    }
    load_debug(vcpu);
    fpu_load(vcpu);
}

void vmx_put(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);

    fpu_put(vcpu);
    put_debug(vcpu);
    for (unsigned i = 0; i < INTERCEPT_MSRS_LOADED; i++) {
        vmx->msr[i] = rdmsr(intercept_msrs_passed[i]);
    }
    /* So that another CPU may load it: SDM Vol. 3C 24.11.1 "Software Use of Virtual-Machine Control
     * Structures". */
    vmx_clear(vmx->vmcs);
    vmx_cpu_self()->current = hpa(0);
    vmx->loaded = false;
    vmx->current = false;
}
