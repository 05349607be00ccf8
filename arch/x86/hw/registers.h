/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers of the general registers; control registers, EFER, XCR0, RFLAGS, debug registers and
 * their bits: SDM Vol. 1 3.4.1 "General-Purpose Registers", 3.4.3 "EFLAGS Register", Vol. 3A 2.5
 * "Control Registers", Vol. 3B 18.2 "Debug Registers".
 */
#ifndef SPILLWAY_ARCH_X86_HW_REGISTERS_H
#define SPILLWAY_ARCH_X86_HW_REGISTERS_H

#include "base/bits.h"

enum gpr {
    /* instruction encoding order */
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    GPR_COUNT,
    GPR_NONE = 0xff, /* in place of a number: there is none, or it is not known */
};

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)

#define XCR0_X87       BIT(0)
#define XCR0_SSE       BIT(1)
#define XCR0_AVX       BIT(2)
#define XCR0_OPMASK    BIT(5)
#define XCR0_ZMM_HI256 BIT(6)
#define XCR0_HI16_ZMM  BIT(7)
#define XCR0_AVX512    (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)
#define XCR0_PKRU      BIT(9)

#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_SVME  BIT(12)
#define EFER_FFXSR BIT(14)

#define RFLAGS_CF    BIT(0)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_PF    BIT(2)
#define RFLAGS_AF    BIT(4)
#define RFLAGS_ZF    BIT(6)
#define RFLAGS_SF    BIT(7)
#define RFLAGS_TF    BIT(8)
#define RFLAGS_IF    BIT(9)
#define RFLAGS_DF    BIT(10)
#define RFLAGS_OF    BIT(11)
#define RFLAGS_NT    BIT(14)
#define RFLAGS_RF    BIT(16)
#define RFLAGS_VM    BIT(17)
#define RFLAGS_AC    BIT(18)
/* 0 but for bit 1, which is RFLAGS_FIXED */
#define RFLAGS_RESERVED (BITS(63, 22) | BIT(15) | BIT(5) | BIT(3) | BIT(1))

#define MXCSR_RESET 0x1f80u

/* SDM Vol. 1 13.4 "XSAVE Area". */
#define XSAVE_LEGACY_BYTES 512u /* the FXSAVE area */
#define XSAVE_HEADER_END   576u

#define DR6_BREAKPOINTS BITS(3, 0)
#define DR6_ACCESS      BIT(13) /* of a debug register while DR7_GD was set */
#define DR6_STEP        BIT(14)
#define DR6_TASK        BIT(15) /* a TSS with T */
#define DR6_FIXED       0xffff0ff0ull
#define DR7_GD          BIT(13)
#define DR7_FIXED       0x400ull

#endif
