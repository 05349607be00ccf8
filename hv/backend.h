/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: a virtualisation backend (arch/x86/vmx, arch/x86/svm).
 *
 * One const table of operations, every entry non-NULL, chosen once at boot by
 * arch_backend().  Nothing outside the backend knows a VMCS field or a VMCB
 * offset.  All operations run with interrupts off.
 */
#ifndef SPILLWAY_HV_BACKEND_H
#define SPILLWAY_HV_BACKEND_H

#include "arch/x86/hw/segment.h"
#include "base/types.h"

struct space;
struct table_format;
struct vcpu;

/* A segment register.  `access` as in the VMCS: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14,
 * G 15, unusable 16. */
struct guest_segment {
    uint64_t base;
    uint32_t limit; /* in bytes, G already applied */
    uint32_t access;
    uint16_t selector;
};

struct guest_table_register {
    uint64_t base;
    uint32_t limit;
};

/* What set_state and get_state move: everything that is not in struct guest_registers. */
struct guest_state {
    struct guest_segment segment[SEG_COUNT];
    struct guest_table_register gdtr, idtr;
    uint64_t cr0, cr3, cr4; /* as the guest sees them */
    uint64_t efer;
    uint64_t dr7;
    uint64_t pat;
    uint64_t pdpte[4]; /* VMX, PAE paging outside long mode: what the CPU has loaded with CR3 */
};

/*
 * The longest stay in a guest, whatever becomes of interrupts: EXIT_KIND_GUARD ends it.  Longer
 * than a slice, at whose end a timer's interrupt is due: each such exit means that one was lost.
 *
 * VMX: by the VMX-preemption timer, if the CPU has it.  SVM has nothing like it.
 */
#define GUEST_STAY_MAX_NS 9000000ull

enum exit_kind {
    EXIT_KIND_INTERRUPT, /* host interrupt: arch_take_interrupts() */
    EXIT_KIND_GUARD,     /* likewise, after GUEST_STAY_MAX_NS without one */
    EXIT_KIND_WINDOW,    /* the guest can take an interrupt now (window closed again) */
    EXIT_KIND_CPUID,
    EXIT_KIND_HLT,
    EXIT_KIND_PAUSE, /* pause.*; only if vcpu->pause_exits, or in a loop */
    EXIT_KIND_IO,    /* io.* */
    EXIT_KIND_RDMSR,
    EXIT_KIND_WRMSR,
    EXIT_KIND_CR, /* cr.* */
    EXIT_KIND_XSETBV,
    EXIT_KIND_HYPERCALL,   /* VMCALL or VMMCALL */
    EXIT_KIND_MEMORY,      /* memory.*: EPT violation, nested page fault */
    EXIT_KIND_TASK_SWITCH, /* task.*; VMX */
    EXIT_KIND_WBINVD,      /* WBINVD, INVD: nothing to do, advance */
    EXIT_KIND_UNDEFINED,   /* an instruction this guest does not have: inject #UD */
    EXIT_KIND_TRIPLE_FAULT,
    EXIT_KIND_RETRY,   /* the backend has dealt with it (e.g. NMI): enter again */
    EXIT_KIND_UNKNOWN, /* stops the guest with a dump */
    EXIT_KIND_COUNT,
};

/* As in the exit qualification for task switches. */
enum task_switch_reason {
    TASK_CALL,
    TASK_IRET,
    TASK_JMP,
    TASK_GATE, /* in the IDT: an event, or INT n */
};

struct vcpu_exit {
    enum exit_kind kind;
    unsigned length; /* of the instruction, when the hardware tells it; else 0 */
    union {
        struct {
            uint16_t port;
            uint8_t size; /* 1, 2, 4 */
            bool in;
            bool string; /* INS/OUTS, with or without REP */
        } io;
        struct {
            gpa_t address;
            unsigned access; /* ACCESS_* */
        } memory;
        struct {
            bool in_loop; /* the CPU has seen many of them, one soon after the other */
        } pause;
        struct {
            uint16_t selector; /* of the new task's TSS */
            uint8_t reason;    /* enum task_switch_reason */
        } task;
        struct {
            uint8_t number; /* 0, 3, 4, 8 */
            uint8_t gpr;    /* encoding order; SVM without decode assists: GPR_NONE, decode it */
            bool write;
            bool clts, lmsw;
            uint16_t lmsw_source;
        } cr;
    };
    /* Raw hardware values for the dump: reason/EXITCODE, qualification/EXITINFO1, EXITINFO2, ... */
    uint64_t raw[4];
};

struct vcpu_backend {
    const char *name; /* "VMX/EPT", "SVM/NPT" */
    const struct table_format *format;
    /* The guest changes its task priority without an exit, by vcpu->regs.cr8: see run(). */
    bool keeps_tpr;
    /*
     * Checks every feature that is required, on this CPU, before any state is changed.  Calls
     * missing(name) for each that is absent.  True if none is.
     */
    bool (*check)(void (*missing)(const char *feature));
    /* Turns virtualisation on, on this CPU.  Memory from mm/frame_alloc.  False: logged why. */
    bool (*cpu_enable)(void);
    /* Turns it off again: before reset, power-off and hand back.  Safe when it was never on. */
    void (*cpu_disable)(void);

    /* Control structures of one vCPU; vcpu->space is set.  False: out of memory. */
    bool (*vcpu_create)(struct vcpu *vcpu);
    void (*vcpu_destroy)(struct vcpu *vcpu);
    /* Architectural RESET/INIT state (real mode, CS:IP F000:FFF0), registers too. */
    void (*vcpu_reset)(struct vcpu *vcpu);

    /*
     * Makes the vCPU current on this CPU: VMPTRLD, guest FPU/XSAVE state and XCR0, syscall MSRs.
     * put() is the reverse; between them only this CPU may call what follows.
     */
    void (*load)(struct vcpu *vcpu);
    void (*put)(struct vcpu *vcpu);

    /* Not for the hot path.  vcpu loaded, or never yet run. */
    void (*get_state)(struct vcpu *vcpu, struct guest_state *state);
    void (*set_state)(struct vcpu *vcpu, const struct guest_state *state);

    /* The ring that the guest runs in.  Cheap.  vcpu loaded. */
    unsigned (*privilege)(struct vcpu *vcpu);
    /* Is that 64-bit code?  Cheap.  vcpu loaded. */
    bool (*runs_64bit)(struct vcpu *vcpu);
    /* Can the guest take a maskable interrupt at its next instruction (IF, shadow, nothing being
     * injected)?  vcpu loaded. */
    bool (*interruptible)(struct vcpu *vcpu);
    /* Likewise for an NMI. */
    bool (*nmi_allowed)(struct vcpu *vcpu);
    /* Is one being handled: from its delivery to the end of the next IRET?  vcpu loaded. */
    bool (*nmi_masked)(struct vcpu *vcpu);
    /* An NMI has been delivered, or its handler has ended, by us.  vcpu loaded. */
    void (*set_nmi_masked)(struct vcpu *vcpu, bool masked);
    /* Asks for EXIT_KIND_WINDOW as soon as interruptible()/nmi_allowed() would be true. */
    void (*request_window)(struct vcpu *vcpu, bool interrupt, bool nmi);
    /* Does a debug exception come behind the instruction that has exited: a single step, or what
     * MOV SS has held back?  vcpu loaded. */
    bool (*trap_pending)(struct vcpu *vcpu);
    /* The next entry is for one instruction and delivers no event; false: not now, since something
     * is to be delivered before it.  vcpu->event is not valid. */
    bool (*request_step)(struct vcpu *vcpu);
    /* An instruction was emulated, RIP and RFLAGS are behind it: ends STI and MOV SS shadows, and
     * makes a single step (TF) trap.  vcpu loaded. */
    void (*clear_shadow)(struct vcpu *vcpu);

    /*
     * Enters the guest and returns at its next exit.  vcpu loaded, vcpu->regs current.  Injects
     * vcpu->event if it is valid (and clears it); an event whose delivery was cut short by the exit
     * is put back into vcpu->event.  With keeps_tpr, vcpu->regs.cr8 is the guest's task priority,
     * and behind the exit what the guest has made of it.  Brings this CPU's translations up to date
     * before entering (tlb.h).  Fills *exit.
     */
    void (*run)(struct vcpu *vcpu, struct vcpu_exit *exit);
};

/* The backend of this machine, or NULL with the reason logged: neither VMX nor SVM. */
const struct vcpu_backend *arch_backend(void);

#endif
