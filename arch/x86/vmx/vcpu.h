/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this backend share.
 *
 *     capability.c  features of the CPU        state.c  guest_state <-> VMCS
 *     cpu.c         per-CPU enable, VMPTRLD    event.c  injection, windows, vectoring
 *     control.c     create, reset, load, put   exit.c   exit reason -> struct vcpu_exit
 *     run.c         entry and exit             entry.asm
 *     perform.c     what exit.c leaves to us   step.c   entries for one instruction
 *
 * A struct vmx_vcpu belongs to the CPU that has the vCPU loaded; before the first load to whoever
 * creates it.  Its VMCS is current on a CPU while loaded, and cleared otherwise.
 */
#ifndef SPILLWAY_ARCH_X86_VMX_VCPU_H
#define SPILLWAY_ARCH_X86_VMX_VCPU_H

#include "arch/x86/guest/intercept.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/guest/vcpu.h"

enum vmx_due_kind {
    VMX_DUE_NOTHING,
    VMX_DUE_HOST_NMI, /* it is the host's, which takes it now */
    VMX_DUE_MACHINE_CHECK,
    VMX_DUE_EXCEPTION,  /* the guest gets `event`; #PF: and `value` in CR2 */
    VMX_DUE_DEBUG,      /* likewise, with causes `value` in DR6 */
    VMX_DUE_CR0_SHADOW, /* the guest reads `value` from now on, where it does not own CR0 */
    VMX_DUE_CR4_SHADOW,
};

/* What an exit leaves to this backend to do, whatever hv/ does about it: nothing, in most cases. */
struct vmx_due {
    bool any; /* there is something; else nothing below is set */
    enum vmx_due_kind kind;
    bool nmi_unblocked;             /* INTERRUPTION_NMI_UNBLOCKED of the exit */
    struct guest_event interrupted; /* the exit has cut its delivery short */
    struct guest_event event;       /* if the kind says so ... */
    uint64_t value;                 /* ... likewise */
};

struct vmx_vcpu {
    hpa_t vmcs; /* a frame */
    pfn_t self; /* this struct's frame */
    uint64_t ept_pointer;
    bool loaded;
    bool current; /* on this CPU: while loaded, or borrowed */
    bool launched;
    unsigned host_cpu; /* whose host state the VMCS has; UINT32_MAX: none */
    /* Copies of VMCS fields, which are written only if they change. */
    uint64_t rip, rsp, rflags, tsc_offset;
    uint32_t processor;        /* processor-based controls */
    uint32_t processor_wanted; /* for the next entry */
    /* One instruction (step.c) */
    bool step;            /* this entry is for one: TF is ours ... */
    bool step_guest;      /* ... no, the guest's */
    bool step_done;       /* a trap of this exit is ours */
    uint32_t step_shadow; /* in which it is */
    uint64_t step_rip;
    struct vmx_due due; /* of the last exit; not on the stack, where it would cost a canary */
    uint64_t msr[INTERCEPT_MSRS_LOADED]; /* the guest's, while it is not loaded */
};
_Static_assert(sizeof(struct vmx_vcpu) <= PAGE_SIZE, "one frame");

/* Values of the control fields: all that we ask for and this CPU has. */
struct vmx_features {
    uint32_t revision; /* of VMCSs */
    uint32_t pin, processor, secondary, exit, entry;
    uint32_t pause; /* of `processor`: lets every PAUSE exit, where the CPU does not count them */
    bool ready;
};

/* Of one CPU; written by that CPU only. */
struct vmx_cpu {
    bool enabled;
    hpa_t vmxon;   /* VMXON region */
    hpa_t current; /* VMCS of the vCPU that is loaded; 0: none */
} __attribute__((aligned(64)));

static inline struct vmx_vcpu *vmx_of(const struct vcpu *vcpu)
{
    return vcpu->backend_data;
}

/* capability.c */
bool vmx_check(void (*missing)(const char *feature));
const struct vmx_features *vmx_features(void);
/* GUEST_STAY_MAX_NS as a count of the VMX-preemption timer. */
uint32_t vmx_guard_count(void);

/* cpu.c */
bool vmx_cpu_enable(void);
void vmx_cpu_disable(void);
struct vmx_cpu *vmx_cpu_self(void);
hpa_t vmx_msr_map(void);
/* VMPTRLD, VMCLEAR; panic when refused. */
void vmx_make_current(hpa_t vmcs);
void vmx_clear(hpa_t vmcs);
/* Lets this CPU read and write the VMCS of a vCPU that may not be loaded; vmx_return() with the
 * result ends that.  May be nested. */
bool vmx_borrow(struct vmx_vcpu *vmx);
void vmx_return(struct vmx_vcpu *vmx, bool borrowed);

/* control.c */
bool vmx_vcpu_create(struct vcpu *vcpu);
void vmx_vcpu_destroy(struct vcpu *vcpu);
void vmx_vcpu_reset(struct vcpu *vcpu);
void vmx_load(struct vcpu *vcpu);
void vmx_put(struct vcpu *vcpu);

/* state.c */
void vmx_get_state(struct vcpu *vcpu, struct guest_state *state);
void vmx_set_state(struct vcpu *vcpu, const struct guest_state *state);
/* Bits of CR0 and CR4 that the guest does not own: it reads them from the shadow. */
uint64_t vmx_cr0_mask(void);
uint64_t vmx_cr4_mask(void);

/* event.c */
bool vmx_interruptible(struct vcpu *vcpu);
bool vmx_nmi_allowed(struct vcpu *vcpu);
bool vmx_nmi_masked(struct vcpu *vcpu);
void vmx_set_nmi_masked(struct vcpu *vcpu, bool masked);
void vmx_request_window(struct vcpu *vcpu, bool interrupt, bool nmi);
bool vmx_trap_pending(struct vcpu *vcpu);
unsigned vmx_privilege(struct vcpu *vcpu);
bool vmx_runs_64bit(struct vcpu *vcpu);
void vmx_clear_shadow(struct vcpu *vcpu);
/* Before the entry: vcpu->event -> VM-entry interruption information. */
void vmx_event_inject(struct vcpu *vcpu);
/* The event whose delivery the exit has cut short comes again; or IRET is executed again, which had
 * unblocked NMIs. */
void vmx_event_resume(struct vcpu *vcpu, const struct vmx_due *due);

/* step.c */
bool vmx_request_step(struct vcpu *vcpu);
/* After the exit of a step: the guest does not see that it was for one instruction only. */
void vmx_step_end(struct vcpu *vcpu);

/* exit.c.  The vCPU is loaded; the same VMCS gives the same answer, however often. */
void vmx_exit_decode(const struct vcpu *vcpu, uint32_t reason, struct vcpu_exit *exit,
                     struct vmx_due *due);

/* perform.c.  After an exit that has left something was decoded, before it is handled. */
void vmx_perform(struct vcpu *vcpu, const struct vmx_due *due);

/* run.c */
void vmx_run(struct vcpu *vcpu, struct vcpu_exit *exit);

/* entry.asm.  Zero: the guest was entered and has exited, or the entry failed as an exit; else
 * VMfail: VMCS_INSTRUCTION_ERROR says why. */
unsigned vmx_enter(struct guest_registers *regs, bool launched);
/* Where exits arrive: never called. */
void vmx_exit_point(void);

#endif
