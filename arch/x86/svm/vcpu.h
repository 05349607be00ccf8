/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this backend share.
 *
 *     capability.c  features of the CPU        state.c  guest_state <-> VMCB
 *     cpu.c         per-CPU enable, ASIDs      event.c  injection, windows, vectoring
 *     control.c     create, reset, load, put   exit.c   exit code -> struct vcpu_exit
 *     run.c         entry and exit             entry.asm
 *     perform.c     what exit.c leaves to us
 *
 * A struct svm_vcpu belongs to the CPU that has the vCPU loaded; before the first load to whoever
 * creates it.
 */
#ifndef SPILLWAY_ARCH_X86_SVM_VCPU_H
#define SPILLWAY_ARCH_X86_SVM_VCPU_H

#include "arch/x86/svm/vmcb.h"
#include "hv/guest/vcpu.h"

/*
 * NMI blocking, which this hardware does not keep for guests:
 * OPEN -> (injection) MASKED -> (intercept of IRET) RETURNING -> (the IRET is behind us) OPEN
 */
enum svm_nmi {
    SVM_NMI_OPEN,
    SVM_NMI_MASKED,
    SVM_NMI_RETURNING,
};

struct svm_vcpu {
    struct vmcb *vmcb; /* a frame */
    hpa_t vmcb_address;
    pfn_t self; /* this struct's frame */
    bool loaded;
    enum svm_nmi nmi;
    uint64_t nmi_iret_rip; /* RETURNING: the IRET */
    bool step;             /* this entry is for one instruction: TF is ours */
    bool step_guest;       /* ... no, the guest's */
    bool step_done;        /* the exit is nothing but the trap behind it */
    uint64_t step_dr6;     /* the guest's */
    bool virq; /* an interrupt that the CPU has been given as V_IRQ and has not taken yet */
    uint8_t virq_vector;
    uint64_t cr2;        /* what the CPU's is since the last entry or load */
    uint64_t cr0_hidden; /* bits of CR0 that the guest has set and the CPU has not */
    uint64_t asid_generation;
    unsigned asid_cpu;
    uint32_t clean; /* for the next entry */
};
_Static_assert(sizeof(struct svm_vcpu) <= PAGE_SIZE, "one frame");

struct svm_features {
    bool next_rip, decode_assists, flush_by_asid, vmcb_clean, pause_filter, pause_threshold;
    bool inject_interrupts; /* by event injection, not by V_IRQ: event.c says why */
    uint32_t asids;         /* 0 is the host's */
};

enum svm_due_kind {
    SVM_DUE_NOTHING,
    SVM_DUE_MACHINE_CHECK,
    SVM_DUE_EXCEPTION, /* the guest gets `event`; #PF: and `cr2` */
    SVM_DUE_STEPPED,   /* the exit was the trap of a step of ours, and nothing else */
    SVM_DUE_IRET,      /* the guest is about to execute it */
};

/* What an exit leaves to this backend to do, whatever hv/ does about it. */
struct svm_due {
    enum svm_due_kind kind;
    struct guest_event event;
    uint64_t cr2;
};

/* Of one CPU; written by that CPU only. */
struct svm_cpu {
    bool enabled;
    hpa_t host_vmcb;     /* VMSAVE area: host FS, GS, TR, LDTR, syscall MSRs */
    hpa_t host_save;     /* VM_HSAVE_PA */
    uint32_t next_asid;  /* not given out yet in this generation */
    uint64_t generation; /* of ASIDs; from 1 */
} __attribute__((aligned(64)));

static inline struct svm_vcpu *svm_of(const struct vcpu *vcpu)
{
    return vcpu->backend_data;
}

/* capability.c */
bool svm_check(void (*missing)(const char *feature));
const struct svm_features *svm_features(void);

/* cpu.c */
bool svm_cpu_enable(void);
void svm_cpu_disable(void);
struct svm_cpu *svm_cpu_self(void);
/* Permission maps, the same for all vCPUs; valid once a CPU is enabled. */
hpa_t svm_io_map(void);
hpa_t svm_msr_map(void);

/* control.c */
bool svm_vcpu_create(struct vcpu *vcpu);
void svm_vcpu_destroy(struct vcpu *vcpu);
void svm_vcpu_reset(struct vcpu *vcpu);
void svm_load(struct vcpu *vcpu);
void svm_put(struct vcpu *vcpu);

/* state.c */
void svm_get_state(struct vcpu *vcpu, struct guest_state *state);
void svm_set_state(struct vcpu *vcpu, const struct guest_state *state);

/* event.c */
bool svm_interruptible(struct vcpu *vcpu);
bool svm_nmi_allowed(struct vcpu *vcpu);
bool svm_nmi_masked(struct vcpu *vcpu);
void svm_set_nmi_masked(struct vcpu *vcpu, bool masked);
void svm_request_window(struct vcpu *vcpu, bool interrupt, bool nmi);
bool svm_request_step(struct vcpu *vcpu);
bool svm_trap_pending(struct vcpu *vcpu);
unsigned svm_privilege(struct vcpu *vcpu);
bool svm_runs_64bit(struct vcpu *vcpu);
void svm_clear_shadow(struct vcpu *vcpu);
/* Before the entry: vcpu->event -> EVENTINJ. */
void svm_event_inject(struct vcpu *vcpu, struct svm_vcpu *svm);
/* After the exit: EXITINTINFO -> vcpu->event; closes windows. */
void svm_event_collect(struct vcpu *vcpu, struct svm_vcpu *svm);
/* After the exit of a step: the guest does not see that it was for one instruction only. */
void svm_event_end_step(struct vcpu *vcpu, struct svm_vcpu *svm);
/* The guest is about to execute IRET. */
void svm_event_iret(struct vcpu *vcpu, struct svm_vcpu *svm);

/* exit.c.  The same VMCB gives the same answer, however often. */
void svm_exit_decode(const struct vcpu *vcpu, struct vcpu_exit *exit, struct svm_due *due);

/* perform.c.  After an exit that has left something was decoded, before it is handled. */
void svm_perform(struct vcpu *vcpu, const struct svm_due *due);

/* run.c */
void svm_run(struct vcpu *vcpu, struct vcpu_exit *exit);

/* entry.asm: host-physical addresses of the guest's VMCB and of the host's VMSAVE area.  Interrupts
 * are off; GIF is 1 before and after. */
void svm_enter(struct guest_registers *regs, uint64_t vmcb, uint64_t host_vmcb);

#endif
