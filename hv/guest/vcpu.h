/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual CPU.
 *
 * Life cycle: created STOPPED with its VM; RUNNABLE <-> RUNNING by the scheduler;
 * RUNNING -> SLEEPING (HLT, waiting for SIPI), PARKED (waits for memory) or
 * STOPPED (VM paused or ended), and back to RUNNABLE by whoever it waits for;
 * destroyed with its VM, when STOPPED.
 */
#ifndef SPILLWAY_HV_GUEST_VCPU_H
#define SPILLWAY_HV_GUEST_VCPU_H

#include <stdatomic.h>

#include "arch/x86/hw/registers.h"
#include "base/list.h"
#include "base/types.h"
#include "hv/arch.h"
#include "hv/backend.h"
#include "hv/fair.h"
#include "mm/space/space.h"

struct kvm_steal_time;
struct kvmasync;
struct vlapic;
struct vm;

/* Current after every exit, loaded before every entry. */
struct guest_registers {
    uint64_t gpr[GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;
    uint64_t cr2;
    uint64_t cr8;   /* the local APIC's TPR, where the backend keeps it while the guest runs */
    uint64_t dr[4]; /* DR0-DR3, valid while the vCPU is not loaded */
    uint64_t dr6;
};

enum event_type {
    /* as in the VM-entry interruption-information field */
    EVENT_INTERRUPT = 0,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,
    EVENT_SOFTWARE_INTERRUPT = 4,
    EVENT_PRIVILEGED_EXCEPTION = 5, /* ICEBP */
    EVENT_SOFTWARE_EXCEPTION = 6,
};

/* An event to deliver at the next entry. */
struct guest_event {
    bool valid;
    bool has_error_code;
    uint8_t vector;
    uint8_t type; /* enum event_type */
    uint32_t error_code;
    uint8_t length; /* of the instruction, for the software types */
};

enum vcpu_state {
    VCPU_STOPPED,  /* its VM is not running, is paused, or is being torn down */
    VCPU_RUNNABLE, /* on the run queue */
    VCPU_RUNNING,  /* loaded on `cpu` */
    VCPU_SLEEPING, /* its activity is not ACTIVE: until a request or an interrupt */
    VCPU_PARKED,   /* waits for a page or a frame: until its waiter is woken */
};

/* What the guest's CPU is doing, as in "activity state" of the VMCS. */
enum vcpu_activity {
    ACTIVITY_ACTIVE,
    ACTIVITY_HALTED,    /* HLT: until an interrupt or NMI */
    ACTIVITY_WAIT_SIPI, /* INIT */
};

/* Pages where nothing is that one instruction may touch: each operand of a gather has its own. */
#define VCPU_LENT_PAGES 20

struct vcpu {
    /* First, so that assembly finds it: see arch/x86/asm_offsets.c */
    struct guest_registers regs;

    struct vm *vm;
    struct space *space;
    unsigned index; /* within its VM; also its APIC id */
    unsigned id;    /* unique in the machine, from 0: basis of the VPID */

    struct guest_event event; /* written by this vCPU's own CPU only */

    /* Requests from other CPUs; hv/run/vcpu_request.c.  Looked at before every entry. */
    _Atomic uint32_t requests;   /* VCPU_REQUEST_* */
    _Atomic uint32_t nmis_sent;  /* with VCPU_REQUEST_NMI */
    _Atomic uint32_t interrupts; /* VCPU_INTERRUPT_*; written by hv/vdev/irq/vlapic*.c */
    uint8_t sipi_vector;

    struct vlapic *vlapic;  /* hv/vdev/irq/vlapic.c */
    struct kvmasync *async; /* hv/vdev/kvmasync.c */

    /* Backend */
    void *backend_data;       /* struct vmx_vcpu or struct svm_vcpu */
    struct guest_xstate *fpu; /* arch/x86/guest/fpu.c */
    uint64_t tlb_gen;         /* hv/tlb.h */
    unsigned tlb_cpu;         /* where it last entered a guest; UINT32_MAX: nowhere */

    /* MSRs that are ours to keep (arch/x86/guest/msr.c) */
    uint64_t msr_kvm_system_time, msr_kvm_wall_clock, msr_apic_base, msr_misc_enable;
    uint64_t msr_tsc_aux, msr_tsc_offset, msr_tsc_adjust;
    uint64_t msr_mtrr_def_type, msr_mtrr_fixed[11], msr_mtrr_variable[16];
    uint64_t xcr0;
    bool was_paused; /* and kvmclock has not told the guest yet */

    /* hv/vdev/kvmsteal.c; own CPU only */
    uint64_t msr_kvm_steal_time;
    struct kvm_steal_time *steal_time; /* in a pinned page; NULL: not in use */
    uint64_t steal_told_ns;            /* of all that was stolen */

    /* hv/vdev/irq/vlapic_eoi.c; own CPU only */
    uint64_t msr_kvm_eoi;
    _Atomic uint32_t *eoi_word; /* in a pinned page; NULL: not in use */
    bool eoi_offered;           /* in the guest: it may clear the word's bit 0 instead of an EOI */

    /* Scheduler, under RANK_SCHED */
    struct fair_member turn;
    _Atomic uint32_t state;      /* enum vcpu_state */
    enum vcpu_activity activity; /* own CPU only */
    uint8_t nmis;                /* that wait to be delivered; own CPU only */
    bool kicked;                 /* the next HLT ends at once, or this one now; own CPU only */
    uint8_t lent_pages;          /* arch/x86/guest/step.c; own CPU only ... */
    gfn_t lent[VCPU_LENT_PAGES]; /* ... with these, the next entry is for one instruction */
    bool wake_pending;           /* woken between deciding to sleep and sleeping */
    /* PAUSE shall exit: a sibling that may hold what this one waits for has no CPU.  Own CPU. */
    bool pause_exits;
    bool called_sibling; /* it has sent an interrupt to one that waits for a CPU; own CPU */
    unsigned pauses;     /* exits in this turn; own CPU */

    /* Memory */
    struct mm_waiter waiter;           /* at most one wait at a time */
    _Atomic uint64_t stall;            /* time spent PARKED: see vcpu_stall_ns() */
    _Atomic uint64_t stalled_since_ns; /* 0: it is not */
    bool stall_told;                   /* hv/vm/watch.c: of this one */

    /* Counters */
    uint64_t exits[EXIT_KIND_COUNT];
    uint64_t run_ns;         /* under RANK_SCHED, as the next two */
    uint64_t wait_ns;        /* RUNNABLE, or STOPPED while it wanted to run; without the ... */
    uint64_t waits_since_ns; /* ... present time, which began then */
};

/* Why an interrupt may be pending; the local APIC says which one is. */
#define VCPU_INTERRUPT_IRR  BIT(0) /* its IRR is not empty */
#define VCPU_INTERRUPT_INTR BIT(1) /* the line at LINT0 is high */

#define VCPU_REQUEST_INIT  BIT(0)
#define VCPU_REQUEST_SIPI  BIT(1)
#define VCPU_REQUEST_NMI   BIT(2)
#define VCPU_REQUEST_STOP  BIT(3) /* leave the guest and become STOPPED */
#define VCPU_REQUEST_EVENT BIT(4) /* look at the local APIC again */
#define VCPU_REQUEST_CLOCK BIT(5) /* write the kvmclock page again */
#define VCPU_REQUEST_KICK  BIT(6) /* end HLT, whatever IF is: KVM_HC_KICK_CPU */
#define VCPU_REQUEST_ASYNC BIT(7) /* tell the guest of pages that have come: hv/vdev/kvmasync.h */

/* While it is PARKED, `stall` is that bit and the time at which it would have begun, had it been
 * one stall; else the time of all stalls.  One word, so that others read it at any moment. */
#define VCPU_STALL_NOW BIT(63)

/* Time that the vCPU has waited for memory, this wait included.  Any CPU. */
static inline uint64_t vcpu_stall_ns(const struct vcpu *vcpu, uint64_t now)
{
    uint64_t word = atomic_load_explicit(&vcpu->stall, memory_order_relaxed);

    return word & VCPU_STALL_NOW ? now - (word & ~VCPU_STALL_NOW) : word;
}

/* Something is pending for the vCPU: wakes it if HALTED, kicks its CPU if RUNNING.  Any context,
 * locks below RANK_SCHED may be held. */
void vcpu_notify(struct vcpu *vcpu);
/* Sets request bits, then as vcpu_notify; INIT and SIPI reach a vCPU in any state. */
void vcpu_request(struct vcpu *vcpu, uint32_t requests);
/* Charges the vCPU, and not the one that this CPU runs, for work done for it here: ns. */
void vcpu_charge_service(struct vcpu *vcpu, uint64_t ns);

/* Asked before each entry; in most cases none is pending. */
static inline bool vcpu_may_have_interrupt(const struct vcpu *vcpu)
{
    return atomic_load_explicit(&vcpu->interrupts, memory_order_acquire) != 0;
}

static inline struct guest_event event_exception(uint8_t vector)
{
    return (struct guest_event){.valid = true, .vector = vector, .type = EVENT_EXCEPTION};
}

static inline struct guest_event event_fault(uint8_t vector, uint32_t error_code)
{
    return (struct guest_event){.valid = true,
                                .vector = vector,
                                .type = EVENT_EXCEPTION,
                                .has_error_code = true,
                                .error_code = error_code};
}

/* INT n, ICEBP, INT3 and INTO: the event comes from an instruction and has its length. */
static inline bool event_is_software(unsigned type)
{
    return type >= EVENT_SOFTWARE_INTERRUPT && type <= EVENT_SOFTWARE_EXCEPTION;
}

/* Queue an exception for the next entry.  Own CPU only, nothing else pending. */
static inline void vcpu_inject_exception(struct vcpu *vcpu, uint8_t vector)
{
    vcpu->event = event_exception(vector);
}

static inline void vcpu_inject_fault(struct vcpu *vcpu, uint8_t vector, uint32_t error_code)
{
    vcpu->event = event_fault(vector, error_code);
}

#endif
