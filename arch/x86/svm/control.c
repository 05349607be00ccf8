/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCBs: what is intercepted, and making a vCPU current on a CPU. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/intercept.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/reset.h"
#include "arch/x86/svm/vcpu.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

/* Not task switches: this hardware does them by itself. */
#define INTERCEPTS_1                                                                               \
    (INTERCEPT_1_INTR | INTERCEPT_1_NMI | INTERCEPT_1_INIT | INTERCEPT_1_CR0_SELECTIVE |           \
     INTERCEPT_1_RDPMC | INTERCEPT_1_CPUID | INTERCEPT_1_RSM | INTERCEPT_1_INVD |                  \
     INTERCEPT_1_HLT | INTERCEPT_1_INVLPGA | INTERCEPT_1_IOIO | INTERCEPT_1_MSR |                  \
     INTERCEPT_1_SHUTDOWN)
#define INTERCEPTS_2                                                                               \
    (INTERCEPT_2_VMRUN | INTERCEPT_2_VMMCALL | INTERCEPT_2_VMLOAD | INTERCEPT_2_VMSAVE |           \
     INTERCEPT_2_STGI | INTERCEPT_2_CLGI | INTERCEPT_2_SKINIT | INTERCEPT_2_WBINVD |               \
     INTERCEPT_2_MONITOR | INTERCEPT_2_MWAIT | INTERCEPT_2_XSETBV | INTERCEPT_2_RDPRU)
#define INTERCEPTS_3                                                                               \
    (INTERCEPT_3_INVLPGB | INTERCEPT_3_INVLPGB_2 | INTERCEPT_3_MCOMMIT | INTERCEPT_3_TLBSYNC)

/* A guest that executes so many PAUSEs in a loop waits for a lock whose holder may not be running:
 * APM 15.14.4 "Pause Intercept Filtering". */
#define PAUSE_COUNT 3000u

static void set_pause_filter(struct vmcb_control *control)
{
    const struct svm_features *features = svm_features();

    if (!features->pause_filter) {
        return; /* every PAUSE would exit: svm_run() lets them when that is worth it */
    }
    control->intercept_1 |= INTERCEPT_1_PAUSE;
    control->pause_count = PAUSE_COUNT;
    control->pause_threshold = features->pause_threshold ? INTERCEPT_PAUSE_GAP : 0;
}

static void set_controls(struct vcpu *vcpu, struct vmcb_control *control)
{
    /* CR3 is the guest's own under nested paging; CR0 and CR4 have bits that it must not have. */
    control->intercept_cr_write = INTERCEPT_CR4;
    control->intercept_exception = INTERCEPT_EXCEPTIONS;
    control->intercept_1 = INTERCEPTS_1;
    control->intercept_2 = INTERCEPTS_2;
    control->intercept_3 = INTERCEPTS_3;
    set_pause_filter(control);
    control->iopm = svm_io_map().v;
    control->msrpm = svm_msr_map().v;
    control->nested_control = NESTED_CONTROL_NPT;
    control->nested_cr3 = pfn_to_hpa(space_root(vcpu->space)).v;
}

bool svm_vcpu_create(struct vcpu *vcpu)
{
    struct svm_vcpu *svm;
    pfn_t self, vmcb;

    /* VMs may be made before this CPU runs its first one. */
    if (!svm_cpu_enable() || !frame_alloc_zeroed(0, ALLOC_META, 0, &self)) {
        return false;
    }
    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &vmcb)) {
        frame_free(self);
        return false;
    }
    if (!fpu_create(vcpu)) {
        frame_free(vmcb);
        frame_free(self);
        return false;
    }
    svm = mm_frame_ptr(self);
    svm->self = self;
    svm->vmcb_address = pfn_to_hpa(vmcb);
    svm->vmcb = mm_frame_ptr(vmcb);
    set_controls(vcpu, &svm->vmcb->control);
    vcpu->backend_data = svm;
    return true;
}

void svm_vcpu_destroy(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    vcpu->backend_data = NULL;
    frame_free(hpa_to_pfn(svm->vmcb_address));
    frame_free(svm->self);
    fpu_destroy(vcpu);
}

static void load_debug(struct vcpu *vcpu, struct svm_vcpu *svm)
{
    write_dr0(vcpu->regs.dr[0]);
    write_dr1(vcpu->regs.dr[1]);
    write_dr2(vcpu->regs.dr[2]);
    write_dr3(vcpu->regs.dr[3]);
    svm->vmcb->save.dr6 = vcpu->regs.dr6;
}

void svm_vcpu_reset(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);
    struct guest_state state;

    reset_registers(&vcpu->regs, &state);
    svm_set_state(vcpu, &state);
    svm->vmcb->control.interrupt_shadow = 0;
    svm->vmcb->control.event_injection = 0;
    svm->vmcb->control.exit_int_info = 0;
    svm->vmcb->control.intercept_1 &= ~(uint32_t)INTERCEPT_1_IRET;
    svm->nmi = SVM_NMI_OPEN;
    svm->virq = false;
    svm->step = false;
    svm->vmcb->control.intercept_exception = INTERCEPT_EXCEPTIONS;
    svm->vmcb->save.dr6 = vcpu->regs.dr6;
    if (svm->loaded) {
        load_debug(vcpu, svm);
    }
    guest_flush_translations(vcpu);
}

static void vmsave(hpa_t address)
{
    __asm__ volatile("vmsave %0" : : "a"(address.v) : "memory");
}

void svm_load(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    vmsave(svm_cpu_self()->host_vmcb);
    fpu_load(vcpu);
    load_debug(vcpu, svm);
    svm->cr2 = vcpu->regs.cr2;
    write_cr2(svm->cr2);
    if (guest_policy()->has_tsc_aux) {
        guest_load_tsc_aux(vcpu);
    }
    svm->clean = 0; /* it may have run on another CPU: APM 15.15.2 "Guidelines for Clearing" */
    svm->loaded = true;
}

void svm_put(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);

    vcpu->regs.dr[0] = read_dr0();
    vcpu->regs.dr[1] = read_dr1();
    vcpu->regs.dr[2] = read_dr2();
    vcpu->regs.dr[3] = read_dr3();
    vcpu->regs.dr6 = svm->vmcb->save.dr6;
    fpu_put(vcpu);
    svm->loaded = false;
}
