/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layout of the virtual machine control block: APM Vol. 2 appendix B "Layout of VMCB", and the
 * codes of appendix C "SVM Intercept Exit Codes".
 */
#ifndef SPILLWAY_ARCH_X86_SVM_VMCB_H
#define SPILLWAY_ARCH_X86_SVM_VMCB_H

#include "base/bits.h"
#include "base/types.h"

struct vmcb_control {
    uint16_t intercept_cr_read, intercept_cr_write;
    uint16_t intercept_dr_read, intercept_dr_write;
    uint32_t intercept_exception; /* bit per vector */
    uint32_t intercept_1;         /* INTERCEPT_1_* */
    uint32_t intercept_2;         /* INTERCEPT_2_* */
    uint32_t intercept_3;         /* INTERCEPT_3_* */
    uint8_t reserved_018[0x3c - 0x18];
    uint16_t pause_threshold;
    uint16_t pause_count;
    uint64_t iopm; /* host-physical */
    uint64_t msrpm;
    uint64_t tsc_offset;
    uint32_t asid;
    uint8_t tlb_control; /* TLB_* */
    uint8_t reserved_05d[3];
    uint64_t vintr; /* VINTR_* */
    uint64_t interrupt_shadow;
    uint64_t exit_code; /* SVM_EXIT_* */
    uint64_t exit_info_1;
    uint64_t exit_info_2;
    uint64_t exit_int_info; /* EVENT_* */
    uint64_t nested_control;
    uint64_t avic_apic_bar;
    uint64_t ghcb;
    uint64_t event_injection; /* EVENT_* */
    uint64_t nested_cr3;
    uint64_t lbr_control;
    uint32_t clean; /* CLEAN_* */
    uint32_t reserved_0c4;
    uint64_t next_rip;
    uint8_t bytes_fetched;
    uint8_t instruction[15];
    uint8_t reserved_0e0[0x400 - 0xe0];
};
_Static_assert(offsetof(struct vmcb_control, pause_threshold) == 0x3c, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, iopm) == 0x40, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, asid) == 0x58, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, vintr) == 0x60, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, exit_code) == 0x70, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, event_injection) == 0xa8, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, clean) == 0xc0, "APM appendix B, table B-1");
_Static_assert(offsetof(struct vmcb_control, next_rip) == 0xc8, "APM appendix B, table B-1");
_Static_assert(sizeof(struct vmcb_control) == 0x400, "APM appendix B, table B-1");

struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes; /* type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11 */
    uint32_t limit;
    uint64_t base;
};
_Static_assert(sizeof(struct vmcb_segment) == 16, "APM appendix B, table B-2");

#define ATTRIBUTE_LONG BIT(9)

struct vmcb_save {
    struct vmcb_segment es, cs, ss, ds, fs, gs;
    struct vmcb_segment gdtr, ldtr, idtr, tr;
    uint8_t reserved_0a0[0xcb - 0xa0];
    uint8_t cpl;
    uint32_t reserved_0cc;
    uint64_t efer;
    uint8_t reserved_0d8[0x148 - 0xd8];
    uint64_t cr4, cr3, cr0, dr7, dr6;
    uint64_t rflags, rip;
    uint8_t reserved_180[0x1d8 - 0x180];
    uint64_t rsp;
    uint64_t s_cet, ssp, isst_address;
    uint64_t rax;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t cr2;
    uint8_t reserved_248[0x268 - 0x248];
    uint64_t pat;
    uint64_t debugctl, branch_from, branch_to, exception_from, exception_to;
    uint8_t reserved_298[0xc00 - 0x298];
};
_Static_assert(offsetof(struct vmcb_save, gdtr) == 0x60, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, cpl) == 0xcb, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, efer) == 0xd0, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, cr4) == 0x148, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, rax) == 0x1f8, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, sysenter_cs) == 0x228, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, cr2) == 0x240, "APM appendix B, table B-2");
_Static_assert(offsetof(struct vmcb_save, pat) == 0x268, "APM appendix B, table B-2");
_Static_assert(sizeof(struct vmcb_save) == 0xc00, "APM appendix B, table B-2");

struct vmcb {
    struct vmcb_control control;
    struct vmcb_save save;
};
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "APM 15.5.1 Basic Operation");

#define INTERCEPT_1_INTR          BIT(0)
#define INTERCEPT_1_NMI           BIT(1)
#define INTERCEPT_1_INIT          BIT(3)
#define INTERCEPT_1_VINTR         BIT(4)
#define INTERCEPT_1_CR0_SELECTIVE BIT(5) /* writes that change more than TS and MP */
#define INTERCEPT_1_RDPMC         BIT(15)
#define INTERCEPT_1_CPUID         BIT(18)
#define INTERCEPT_1_RSM           BIT(19)
#define INTERCEPT_1_IRET          BIT(20)
#define INTERCEPT_1_INVD          BIT(22)
#define INTERCEPT_1_PAUSE         BIT(23)
#define INTERCEPT_1_HLT           BIT(24)
#define INTERCEPT_1_INVLPGA       BIT(26)
#define INTERCEPT_1_IOIO          BIT(27)
#define INTERCEPT_1_MSR           BIT(28)
#define INTERCEPT_1_SHUTDOWN      BIT(31)
#define INTERCEPT_2_VMRUN         BIT(0)
#define INTERCEPT_2_VMMCALL       BIT(1)
#define INTERCEPT_2_VMLOAD        BIT(2)
#define INTERCEPT_2_VMSAVE        BIT(3)
#define INTERCEPT_2_STGI          BIT(4)
#define INTERCEPT_2_CLGI          BIT(5)
#define INTERCEPT_2_SKINIT        BIT(6)
#define INTERCEPT_2_WBINVD        BIT(9)
#define INTERCEPT_2_MONITOR       BIT(10)
#define INTERCEPT_2_MWAIT         BIT(11)
#define INTERCEPT_2_XSETBV        BIT(13)
#define INTERCEPT_2_RDPRU         BIT(14)
#define INTERCEPT_3_INVLPGB       BIT(0)
#define INTERCEPT_3_INVLPGB_2     BIT(1) /* illegally specified */
#define INTERCEPT_3_MCOMMIT       BIT(3)
#define INTERCEPT_3_TLBSYNC       BIT(4)

#define INTERCEPT_CR0 BIT(0)
#define INTERCEPT_CR4 BIT(4)
#define INTERCEPT_CR8 BIT(8)

#define TLB_NOTHING    0
#define TLB_FLUSH_ALL  1
#define TLB_FLUSH_ASID 3

/* APM 15.21.4 "Injecting Virtual (INTR) Interrupts" */
#define VINTR_TPR     BITS(3, 0)
#define VINTR_IRQ     BIT(8)
#define VINTR_PRIO    BITS(19, 16)
#define VINTR_IGN_TPR BIT(20)
#define VINTR_MASKING BIT(24)
#define VINTR_VECTOR  BITS(39, 32)

#define INTERRUPT_SHADOW BIT(0)

/* APM 15.20 "Event Injection"; the same format in exit_int_info. */
#define SVM_EVENT_VECTOR      BITS(7, 0)
#define SVM_EVENT_TYPE        BITS(10, 8)
#define SVM_EVENT_ERROR_VALID BIT(11)
#define SVM_EVENT_VALID       BIT(31)
#define SVM_EVENT_ERROR       BITS(63, 32)

#define SVM_EVENT_TYPE_INTERRUPT 0u
#define SVM_EVENT_TYPE_NMI       2u
#define SVM_EVENT_TYPE_EXCEPTION 3u
#define SVM_EVENT_TYPE_SOFTWARE  4u

#define NESTED_CONTROL_NPT BIT(0)

/* APM 15.15.3 "VMCB Clean Field" */
#define CLEAN_ASID BIT(2)
/* All but intercepts and TSC offset (0), TPR (3), CR2 (9): those change at any entry. */
#define CLEAN_ALL (BITS(11, 0) & ~(BIT(0) | BIT(3) | BIT(9)))

enum svm_exit_code {
    SVM_EXIT_CR_READ = 0x00, /* + number */
    SVM_EXIT_CR_WRITE = 0x10,
    SVM_EXIT_CR_LAST = 0x1f,
    SVM_EXIT_EXCEPTION = 0x40, /* + vector */
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI = 0x61,
    SVM_EXIT_INIT = 0x63,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_CR0_SELECTIVE = 0x65,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_RSM = 0x73,
    SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_PAUSE = 0x77,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_VMMCALL = 0x81,
    SVM_EXIT_VMLOAD = 0x82,
    SVM_EXIT_VMSAVE = 0x83,
    SVM_EXIT_STGI = 0x84,
    SVM_EXIT_CLGI = 0x85,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_WBINVD = 0x89,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU = 0x8e,
    SVM_EXIT_INVLPGB = 0xa0,
    SVM_EXIT_INVLPGB_2 = 0xa1,
    SVM_EXIT_MCOMMIT = 0xa3,
    SVM_EXIT_TLBSYNC = 0xa4,
    SVM_EXIT_NPF = 0x400,
};

/* EXITINFO1 of IOIO: APM 15.10.2 "IN and OUT Behavior" */
#define IOIO_IN     BIT(0)
#define IOIO_STRING BIT(2)
#define IOIO_SIZE   BITS(6, 4) /* one bit each: 8, 16, 32 */
#define IOIO_PORT   BITS(31, 16)

/* EXITINFO1 of MOV CR with decode assists: APM 15.33.1 "MOV CRx/DRx Intercepts" */
#define MOV_CR_VALID BIT(63)
#define MOV_CR_GPR   BITS(3, 0)

#endif
