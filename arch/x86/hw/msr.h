/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of MSRs and bits in them: SDM Vol. 4; APM Vol. 2 appendix A "MSR Cross-Reference". */
#ifndef SPILLWAY_ARCH_X86_HW_MSR_H
#define SPILLWAY_ARCH_X86_HW_MSR_H

#include "base/bits.h"

#define MSR_IA32_TSC               0x010
#define MSR_IA32_PLATFORM_ID       0x017
#define MSR_IA32_APIC_BASE         0x01b
#define MSR_IA32_FEATURE_CONTROL   0x03a
#define MSR_IA32_TSC_ADJUST        0x03b
#define MSR_IA32_BIOS_UPDT_TRIG    0x079
#define MSR_IA32_BIOS_SIGN_ID      0x08b
#define MSR_PLATFORM_INFO          0x0ce
#define MSR_IA32_MTRRCAP           0x0fe
#define MSR_IA32_SYSENTER_CS       0x174
#define MSR_IA32_SYSENTER_ESP      0x175
#define MSR_IA32_SYSENTER_EIP      0x176
#define MSR_IA32_MCG_CAP           0x179
#define MSR_IA32_MCG_STATUS        0x17a
#define MSR_IA32_PERF_STATUS       0x198
#define MSR_IA32_MISC_ENABLE       0x1a0
#define MSR_IA32_DEBUGCTL          0x1d9
#define MSR_IA32_MTRR_PHYSBASE0    0x200 /* base, mask pairs: 0x200..0x20f */
#define MSR_IA32_MTRR_PHYSMASK7    0x20f
#define MSR_IA32_MTRR_FIX64K_00000 0x250
#define MSR_IA32_MTRR_FIX16K_80000 0x258
#define MSR_IA32_MTRR_FIX4K_C0000  0x268 /* ..0x26f */
#define MSR_IA32_MTRR_FIX4K_F8000  0x26f
#define MSR_IA32_PAT               0x277
#define MSR_IA32_MTRR_DEF_TYPE     0x2ff
#define MSR_IA32_TSC_DEADLINE      0x6e0
#define MSR_IA32_X2APIC_BASE       0x800 /* 0x800 + APIC register offset / 16 */
#define MSR_IA32_X2APIC_LAST       0x8ff
#define MSR_EFER                   0xc0000080
#define MSR_STAR                   0xc0000081
#define MSR_LSTAR                  0xc0000082
#define MSR_CSTAR                  0xc0000083
#define MSR_SFMASK                 0xc0000084
#define MSR_FS_BASE                0xc0000100
#define MSR_GS_BASE                0xc0000101
#define MSR_KERNEL_GS_BASE         0xc0000102
#define MSR_TSC_AUX                0xc0000103

/* SDM Vol. 3D appendix A "VMX Capability Reporting Facility". */
#define MSR_IA32_VMX_BASIC               0x480
#define MSR_IA32_VMX_MISC                0x485
#define MSR_IA32_VMX_CR0_FIXED0          0x486
#define MSR_IA32_VMX_CR0_FIXED1          0x487
#define MSR_IA32_VMX_CR4_FIXED0          0x488
#define MSR_IA32_VMX_CR4_FIXED1          0x489
#define MSR_IA32_VMX_PROCBASED_CTLS2     0x48b
#define MSR_IA32_VMX_EPT_VPID_CAP        0x48c
#define MSR_IA32_VMX_TRUE_PINBASED_CTLS  0x48d
#define MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48e
#define MSR_IA32_VMX_TRUE_EXIT_CTLS      0x48f
#define MSR_IA32_VMX_TRUE_ENTRY_CTLS     0x490

/* APM Vol. 2 15.30 "SVM Related MSRs", and others of AMD's. */
#define MSR_AMD_SYSCFG      0xc0010010
#define MSR_AMD_HWCR        0xc0010015
#define MSR_AMD_TOP_MEM     0xc001001a
#define MSR_AMD_TOP_MEM2    0xc001001d
#define MSR_AMD_INT_PENDING 0xc0010055
#define MSR_AMD_VM_CR       0xc0010114
#define MSR_AMD_VM_HSAVE_PA 0xc0010117
#define MSR_AMD_LS_CFG      0xc0011020
#define MSR_AMD_DE_CFG      0xc0011029
#define MSR_AMD_BU_CFG2     0xc001102a

/* Of every Intel CPU: SDM Vol. 4 table 2-2 "IA-32 Architectural MSRs", "P6 Family". */
#define MSR_EBL_CR_POWERON 0x2au
/* Of every CPU: the last branch and what was before the last exception. */
#define MSR_LAST_BRANCH_FROM  0x1dbu
#define MSR_LAST_EXCEPTION_TO 0x1deu
#define MSR_IA32_P5_MC_ADDR   0u
#define MSR_IA32_P5_MC_TYPE   1u
/* More of AMD's: APM Vol. 2 appendix A "MSR Cross-Reference", BIOS and Kernel Developer's Guides,
 * "MSRs".  The first four counters and their controls have no CPUID bit. */
#define MSR_AMD_PERF_CTL0      0xc0010000u
#define MSR_AMD_PERF_CTR3      0xc0010007u
#define MSR_AMD_IORR_BASE0     0xc0010016u
#define MSR_AMD_IORR_MASK1     0xc0010019u
#define MSR_AMD_NB_CFG         0xc001001fu
#define MSR_AMD_PSTATE_LIMIT   0xc0010061u
#define MSR_AMD_PSTATE_STATUS  0xc0010063u
#define MSR_AMD_PATCH_LOADER   0xc0010020u
#define MSR_AMD_MMIO_CONF_BASE 0xc0010058u
#define MSR_AMD_SMM_ADDRESS    0xc0010112u
#define MSR_AMD_IC_CFG         0xc0011021u
#define MSR_AMD_DC_CFG         0xc0011022u
#define MSR_AMD_BU_CFG         0xc0011023u
/* Linux, Documentation/virt/kvm/x86/msr.rst */
#define MSR_KVM_WALL_CLOCK_OLD  0x11u
#define MSR_KVM_SYSTEM_TIME_OLD 0x12u
#define MSR_KVM_WALL_CLOCK      0x4b564d00u
#define MSR_KVM_SYSTEM_TIME     0x4b564d01u
#define MSR_KVM_ASYNC_PF_EN     0x4b564d02u
#define MSR_KVM_STEAL_TIME      0x4b564d03u
#define MSR_KVM_EOI             0x4b564d04u
#define MSR_KVM_ASYNC_PF_INT    0x4b564d06u
#define MSR_KVM_ASYNC_PF_ACK    0x4b564d07u

/* SDM Vol. 3B 15.3.2 "Error-Reporting Register Banks" */
#define MSR_MC0_STATUS  0x401u /* of bank 0; each bank has four MSRs: CTL, STATUS, ADDR, MISC */
#define MSR_MC_PER_BANK 4u

/* The maps of MSRs that guests may access cover so many, from 0 and from c0000000H. */
#define MSR_MAP_RANGE 0x2000u

/* IA32_APIC_BASE: SDM Vol. 3A 10.4.4 "Local APIC Status and Location" */
#define APIC_BASE_DEFAULT 0xfee00000ull
#define APIC_BASE_BSP     BIT(8)
#define APIC_BASE_X2APIC  BIT(10)
#define APIC_BASE_ENABLE  BIT(11)
#define APIC_BASE_ADDRESS BITS(51, 12)

#define FEATURE_CONTROL_LOCKED          BIT(0)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX BIT(2)

#define VM_CR_SVMDIS BIT(4)

/* IA32_PAT after reset: PAT0..7 = WB WT UC- UC WB WT UC- UC. */
#define PAT_RESET 0x0007040600070406ull

#endif
