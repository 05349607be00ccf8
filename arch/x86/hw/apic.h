/* SPDX-License-Identifier: BSD-2-Clause */
/* Local APIC and IOAPIC: SDM Vol. 3A chapter 10 "Advanced Programmable Interrupt Controller
 * (APIC)"; Intel 82093AA data sheet, "I/O APIC Registers". */
#ifndef SPILLWAY_ARCH_X86_HW_APIC_H
#define SPILLWAY_ARCH_X86_HW_APIC_H

#include "base/bits.h"

/* ---- local APIC ---- */

/* MMIO offset / 16, MSR - MSR_IA32_X2APIC_BASE: "Local APIC Register Address Map". */
enum apic_register {
    APIC_ID = 0x02,
    APIC_VERSION = 0x03,
    APIC_TPR = 0x08,
    APIC_APR = 0x09,
    APIC_PPR = 0x0a,
    APIC_EOI = 0x0b,
    APIC_RRD = 0x0c,
    APIC_LDR = 0x0d,
    APIC_DFR = 0x0e,
    APIC_SVR = 0x0f,
    APIC_ISR = 0x10, /* 8 registers each */
    APIC_TMR = 0x18,
    APIC_IRR = 0x20,
    APIC_ESR = 0x28,
    APIC_ICR = 0x30,
    APIC_ICR_HIGH = 0x31,
    APIC_LVT_TIMER = 0x32,
    APIC_LVT_THERMAL = 0x33,
    APIC_LVT_PERF = 0x34,
    APIC_LVT_LINT0 = 0x35,
    APIC_LVT_LINT1 = 0x36,
    APIC_LVT_ERROR = 0x37,
    APIC_INITIAL_COUNT = 0x38,
    APIC_CURRENT_COUNT = 0x39,
    APIC_DIVIDE = 0x3e,
    APIC_SELF_IPI = 0x3f,
};

/* Delivery modes, as in ICR, LVT, redirection entries and MSIs. */
enum apic_delivery {
    DELIVERY_FIXED = 0,
    DELIVERY_LOWEST = 1,
    DELIVERY_SMI = 2,
    DELIVERY_NMI = 4,
    DELIVERY_INIT = 5,
    DELIVERY_STARTUP = 6,
    DELIVERY_EXTINT = 7,
};

#define LVT_VECTOR     BITS(7, 0)
#define LVT_DELIVERY   BITS(10, 8)
#define LVT_LEVEL      BIT(15)
#define LVT_MASKED     BIT(16)
#define LVT_TIMER_MODE BITS(18, 17)

enum apic_timer_mode {
    TIMER_ONE_SHOT = 0,
    TIMER_PERIODIC = 1,
    TIMER_TSC_DEADLINE = 2,
};

#define DIVIDE_BY_1 0xb

#define SVR_ENABLE BIT(8)

#define ESR_SEND_ILLEGAL     BIT(5)
#define ESR_RECEIVE_ILLEGAL  BIT(6)
#define ESR_ILLEGAL_REGISTER BIT(7)

#define ICR_VECTOR    BITS(7, 0)
#define ICR_DELIVERY  BITS(10, 8)
#define ICR_LOGICAL   BIT(11)
#define ICR_PENDING   BIT(12)
#define ICR_ASSERT    BIT(14)
#define ICR_LEVEL     BIT(15)
#define ICR_SHORTHAND BITS(19, 18)

enum icr_shorthand {
    SHORTHAND_NONE = 0,
    SHORTHAND_SELF = 1,
    SHORTHAND_ALL = 2,
    SHORTHAND_OTHERS = 3,
};

/* ---- IOAPIC ---- */

#define IOAPIC_DEFAULT 0xfec00000ull /* where it is unless somebody says otherwise */

/* Offsets of the registers in memory. */
#define IOAPIC_SELECT 0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_EOI    0x40

/* What the window shows. */
#define IOAPIC_ID          0x00
#define IOAPIC_VERSION     0x01
#define IOAPIC_ARBITRATION 0x02
#define IOAPIC_REDIRECTION 0x10 /* two for each pin */

#define IOAPIC_VERSION_PINS BITS(23, 16) /* number of the last one */

#define RTE_VECTOR      BITS(7, 0)
#define RTE_DELIVERY    BITS(10, 8)
#define RTE_LOGICAL     BIT(11)
#define RTE_STATUS      BIT(12)
#define RTE_ACTIVE_LOW  BIT(13)
#define RTE_REMOTE_IRR  BIT(14)
#define RTE_LEVEL       BIT(15)
#define RTE_MASKED      BIT(16)
#define RTE_DESTINATION BITS(63, 56)

#endif
