/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMCS fields (SDM Vol. 3D appendix B "Field Encoding in VMCS"), their bits, and access to them.
 *
 * The encoding of a field says how wide it is, and vmcs_read32() of a field that is not 32 bits
 * wide does not compile.  A field that the CPU refuses is a bug: panic, with the field's number.
 */
#ifndef SPILLWAY_ARCH_X86_VMX_VMCS_H
#define SPILLWAY_ARCH_X86_VMX_VMCS_H

#include "base/bits.h"
#include "base/types.h"

enum vmcs_field {
    /* 16 bits */
    VMCS_VPID = 0x0000,
    VMCS_GUEST_ES_SELECTOR = 0x0800, /* + 2 * enum segment_index, also for ... */
    VMCS_HOST_ES_SELECTOR = 0x0c00,
    VMCS_HOST_CS_SELECTOR = 0x0c02,
    VMCS_HOST_SS_SELECTOR = 0x0c04,
    VMCS_HOST_DS_SELECTOR = 0x0c06,
    VMCS_HOST_FS_SELECTOR = 0x0c08,
    VMCS_HOST_GS_SELECTOR = 0x0c0a,
    VMCS_HOST_TR_SELECTOR = 0x0c0c,
    /* 64 bits */
    VMCS_MSR_BITMAPS = 0x2004,
    VMCS_TSC_OFFSET = 0x2010,
    VMCS_EPT_POINTER = 0x201a,
    VMCS_GUEST_PHYSICAL_ADDRESS = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_GUEST_PDPTE0 = 0x280a,
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,
    /* 32 bits */
    VMCS_PIN_CONTROLS = 0x4000,
    VMCS_PROCESSOR_CONTROLS = 0x4002,
    VMCS_EXCEPTION_BITMAP = 0x4004,
    VMCS_PAGE_FAULT_MASK = 0x4006,
    VMCS_PAGE_FAULT_MATCH = 0x4008,
    VMCS_CR3_TARGET_COUNT = 0x400a,
    VMCS_EXIT_CONTROLS = 0x400c,
    VMCS_EXIT_MSR_STORE_COUNT = 0x400e,
    VMCS_EXIT_MSR_LOAD_COUNT = 0x4010,
    VMCS_ENTRY_CONTROLS = 0x4012,
    VMCS_ENTRY_MSR_LOAD_COUNT = 0x4014,
    VMCS_ENTRY_INTERRUPTION = 0x4016,
    VMCS_ENTRY_ERROR_CODE = 0x4018,
    VMCS_ENTRY_INSTRUCTION_LENGTH = 0x401a,
    VMCS_SECONDARY_CONTROLS = 0x401e,
    VMCS_PLE_GAP = 0x4020,
    VMCS_PLE_WINDOW = 0x4022,
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_EXIT_REASON = 0x4402,
    VMCS_EXIT_INTERRUPTION = 0x4404,
    VMCS_EXIT_INTERRUPTION_ERROR = 0x4406,
    VMCS_EXIT_ERROR_CODE = 0x4406,
    VMCS_VECTORING = 0x4408,
    VMCS_VECTORING_ERROR_CODE = 0x440a,
    VMCS_EXIT_INSTRUCTION_LENGTH = 0x440c,
    VMCS_GUEST_ES_LIMIT = 0x4800, /* ... these ... */
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_ACCESS = 0x4814, /* ... and these ... */
    VMCS_GUEST_INTERRUPTIBILITY = 0x4824,
    VMCS_GUEST_ACTIVITY = 0x4826,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_GUEST_PREEMPTION_TIMER = 0x482e,
    VMCS_HOST_SYSENTER_CS = 0x4c00,
    /* natural width */
    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    VMCS_EXIT_QUALIFICATION = 0x6400,
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806, /* ... and these */
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_GUEST_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14,
    VMCS_HOST_RIP = 0x6c16,
};

/* ---- bits: SDM Vol. 3C 24.6 "VM-Execution Control Fields" to 24.8 "VM-Entry Control Fields" ----
 */

#define PIN_EXTERNAL_INTERRUPT BIT(0)
#define PIN_NMI                BIT(3)
#define PIN_VIRTUAL_NMI        BIT(5)
#define PIN_PREEMPTION_TIMER   BIT(6)

#define PROCESSOR_INTERRUPT_WINDOW BIT(2)
#define PROCESSOR_TSC_OFFSETTING   BIT(3)
#define PROCESSOR_HLT              BIT(7)
#define PROCESSOR_INVLPG           BIT(9)
#define PROCESSOR_MWAIT            BIT(10)
#define PROCESSOR_RDPMC            BIT(11)
#define PROCESSOR_CR3_LOAD         BIT(15)
#define PROCESSOR_CR3_STORE        BIT(16)
#define PROCESSOR_CR8_LOAD         BIT(19)
#define PROCESSOR_CR8_STORE        BIT(20)
#define PROCESSOR_NMI_WINDOW       BIT(22)
#define PROCESSOR_IO               BIT(24)
#define PROCESSOR_MSR_BITMAPS      BIT(28)
#define PROCESSOR_MONITOR          BIT(29)
#define PROCESSOR_PAUSE            BIT(30)
#define PROCESSOR_SECONDARY        BIT(31)

#define SECONDARY_EPT          BIT(1)
#define SECONDARY_RDTSCP       BIT(3)
#define SECONDARY_VPID         BIT(5)
#define SECONDARY_WBINVD       BIT(6)
#define SECONDARY_UNRESTRICTED BIT(7)
#define SECONDARY_PAUSE_LOOP   BIT(10)
#define SECONDARY_INVPCID      BIT(12)
#define SECONDARY_XSAVES       BIT(20)

#define EXIT_SAVE_DEBUG BIT(2)
#define EXIT_HOST_64    BIT(9)
#define EXIT_SAVE_PAT   BIT(18)
#define EXIT_LOAD_PAT   BIT(19)
#define EXIT_SAVE_EFER  BIT(20)
#define EXIT_LOAD_EFER  BIT(21)

#define ENTRY_LOAD_DEBUG BIT(2)
#define ENTRY_GUEST_64   BIT(9)
#define ENTRY_LOAD_PAT   BIT(14)
#define ENTRY_LOAD_EFER  BIT(15)

/* Entry and exit interruption information, IDT-vectoring information. */
#define INTERRUPTION_VECTOR      BITS(7, 0)
#define INTERRUPTION_TYPE        BITS(10, 8)
#define INTERRUPTION_ERROR_VALID BIT(11)
/* Also bit 12 of the qualification of EPT violations. */
#define INTERRUPTION_NMI_UNBLOCKED BIT(12)
#define INTERRUPTION_VALID         BIT(31)

#define SHADOW_STI    BIT(0)
#define SHADOW_MOV_SS BIT(1)
#define BLOCKED_NMI   BIT(3)

/* SDM Vol. 3C table 24-4 "Format of Pending-Debug-Exceptions" */
#define PENDING_BREAKPOINT BIT(12) /* at least one of B0 to B3 is enabled */
#define PENDING_STEP       BIT(14)

#define EPTP_MEMORY_TYPE    BITS(2, 0)
#define EPTP_WALK_4         (3ull << 3)
#define EPTP_ACCESSED_DIRTY BIT(6)

/* ---- exits: SDM Vol. 3D appendix C "VMX Basic Exit Reasons" ---- */

#define EXIT_REASON_BASIC        BITS(15, 0)
#define EXIT_REASON_ENTRY_FAILED BIT(31)

enum vmx_exit_reason {
    VMX_EXIT_EXCEPTION = 0, /* or NMI */
    VMX_EXIT_INTERRUPT = 1,
    VMX_EXIT_TRIPLE_FAULT = 2,
    VMX_EXIT_INIT = 3,
    VMX_EXIT_SIPI = 4,
    VMX_EXIT_INTERRUPT_WINDOW = 7,
    VMX_EXIT_NMI_WINDOW = 8,
    VMX_EXIT_TASK_SWITCH = 9,
    VMX_EXIT_CPUID = 10,
    VMX_EXIT_GETSEC = 11,
    VMX_EXIT_HLT = 12,
    VMX_EXIT_INVD = 13,
    VMX_EXIT_RDPMC = 15,
    VMX_EXIT_RSM = 17,
    VMX_EXIT_VMCALL = 18,
    VMX_EXIT_VMCLEAR = 19, /* first of the VMX instructions */
    VMX_EXIT_VMXON = 27,   /* last of them */
    VMX_EXIT_CR = 28,
    VMX_EXIT_IO = 30,
    VMX_EXIT_RDMSR = 31,
    VMX_EXIT_WRMSR = 32,
    VMX_EXIT_INVALID_GUEST = 33,
    VMX_EXIT_MWAIT = 36,
    VMX_EXIT_MONITOR = 39,
    VMX_EXIT_PAUSE = 40,
    VMX_EXIT_EPT_VIOLATION = 48,
    VMX_EXIT_EPT_MISCONFIGURATION = 49,
    VMX_EXIT_INVEPT = 50,
    VMX_EXIT_PREEMPTION_TIMER = 52,
    VMX_EXIT_INVVPID = 53,
    VMX_EXIT_WBINVD = 54,
    VMX_EXIT_XSETBV = 55,
    VMX_EXIT_INVPCID = 58,
    VMX_EXIT_VMFUNC = 59,
    VMX_EXIT_ENCLS = 60,
    VMX_EXIT_XSAVES = 63,
    VMX_EXIT_XRSTORS = 64,
    VMX_EXIT_UMWAIT = 67,
    VMX_EXIT_TPAUSE = 68,
};

/* Qualification of I/O: SDM Vol. 3C table 27-5 */
#define QUALIFICATION_IO_SIZE   BITS(2, 0) /* bytes - 1 */
#define QUALIFICATION_IO_IN     BIT(3)
#define QUALIFICATION_IO_STRING BIT(4)
#define QUALIFICATION_IO_PORT   BITS(31, 16)

/* Qualification of control-register accesses: SDM Vol. 3C table 27-3 */
#define QUALIFICATION_CR_NUMBER BITS(3, 0)
#define QUALIFICATION_CR_TYPE   BITS(5, 4)
#define QUALIFICATION_CR_GPR    BITS(11, 8)
#define QUALIFICATION_CR_LMSW   BITS(31, 16)
#define CR_TYPE_WRITE           0u
#define CR_TYPE_READ            1u
#define CR_TYPE_CLTS            2u
#define CR_TYPE_LMSW            3u

/* Qualification of task switches: SDM Vol. 3C table 27-2; the reason is an enum task_switch_reason.
 */
#define QUALIFICATION_TASK_SELECTOR BITS(15, 0)
#define QUALIFICATION_TASK_REASON   BITS(31, 30)

/* Qualification of EPT violations: SDM Vol. 3C table 27-7; bits 2:0 are ACCESS_*. */
#define QUALIFICATION_EPT_ACCESS BITS(2, 0)

/* ---- access ---- */

/* Panics: VMREAD and VMWRITE fail only if the hypervisor is wrong. */
_Noreturn void vmcs_refused(uint32_t field, const char *instruction);

static inline uint64_t vmcs_read_field(uint32_t field)
{
    uint64_t value;
    bool failed;

    __asm__ volatile("vmread %2, %1"
                     : "=@ccbe"(failed), "=rm"(value)
                     : "r"((uint64_t)field)
                     : "memory");
    if (__builtin_expect(failed, 0)) {
        vmcs_refused(field, "VMREAD");
    }
    return value;
}

static inline void vmcs_write_field(uint32_t field, uint64_t value)
{
    bool failed;

    __asm__ volatile("vmwrite %2, %1"
                     : "=@ccbe"(failed)
                     : "r"((uint64_t)field), "rm"(value)
                     : "memory");
    if (__builtin_expect(failed, 0)) {
        vmcs_refused(field, "VMWRITE");
    }
}

/* Bits 14:13 of an encoding. */
#define VMCS_WIDTH(field)  (((unsigned)(field) >> 13) & 3)
#define VMCS_WIDTH_16      0
#define VMCS_WIDTH_64      1
#define VMCS_WIDTH_32      2
#define VMCS_WIDTH_NATURAL 3

#define VMCS_READ(field, width, type)                                                              \
    ({                                                                                             \
        _Static_assert(VMCS_WIDTH(field) == (width), "this VMCS field has another width");         \
        (type) vmcs_read_field(field);                                                             \
    })
#define VMCS_WRITE(field, width, type, value)                                                      \
    ({                                                                                             \
        _Static_assert(VMCS_WIDTH(field) == (width), "this VMCS field has another width");         \
        vmcs_write_field(field, (type)(value));                                                    \
    })

#define vmcs_read16(field) VMCS_READ(field, VMCS_WIDTH_16, uint16_t)
#define vmcs_read32(field) VMCS_READ(field, VMCS_WIDTH_32, uint32_t)
#define vmcs_read64(field) VMCS_READ(field, VMCS_WIDTH_64, uint64_t)
#define vmcs_read(field)   VMCS_READ(field, VMCS_WIDTH_NATURAL, uint64_t)

#define vmcs_write16(field, value) VMCS_WRITE(field, VMCS_WIDTH_16, uint16_t, value)
#define vmcs_write32(field, value) VMCS_WRITE(field, VMCS_WIDTH_32, uint32_t, value)
#define vmcs_write64(field, value) VMCS_WRITE(field, VMCS_WIDTH_64, uint64_t, value)
#define vmcs_write(field, value)   VMCS_WRITE(field, VMCS_WIDTH_NATURAL, uint64_t, value)

/* The segment fields come in arrays: selector, limit, access rights, base of each. */
#define VMCS_SEGMENT(field, index) ((uint32_t)(field) + 2 * (index))

#endif
