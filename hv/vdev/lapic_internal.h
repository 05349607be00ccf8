/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of the local APIC (lapic.c, lapic_send.c, lapic_timer.c) and nobody else. */
#ifndef SPILLWAY_HV_VDEV_LAPIC_INTERNAL_H
#define SPILLWAY_HV_VDEV_LAPIC_INTERNAL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "hv/timer.h"
#include "hv/vdev/lapic.h"

/* Register numbers: MMIO offset / 16, MSR - 0x800.  Intel SDM vol. 3, "Local APIC Register Address
 * Map" and "x2APIC Register Address Space". */
enum lapic_register {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10, /* 8 registers each */
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT_TIMER = 0x32,
    REG_LVT_THERMAL = 0x33,
    REG_LVT_PERF = 0x34,
    REG_LVT_LINT0 = 0x35,
    REG_LVT_LINT1 = 0x36,
    REG_LVT_ERROR = 0x37,
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

enum lapic_lvt {
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PERF,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
    LVT_COUNT,
};

#define LVT_VECTOR     BITS(7, 0)
#define LVT_DELIVERY   BITS(10, 8)
#define LVT_LEVEL      BIT(15)
#define LVT_MASKED     BIT(16)
#define LVT_TIMER_MODE BITS(18, 17)

enum lapic_timer_mode {
    TIMER_ONE_SHOT = 0,
    TIMER_PERIODIC = 1,
    TIMER_TSC_DEADLINE = 2,
};

#define SVR_ENABLE BIT(8)

#define ESR_SEND_ILLEGAL     BIT(5)
#define ESR_RECEIVE_ILLEGAL  BIT(6)
#define ESR_ILLEGAL_REGISTER BIT(7)

/* What IA32_APIC_BASE says. */
enum lapic_mode {
    LAPIC_MODE_OFF,
    LAPIC_MODE_XAPIC,
    LAPIC_MODE_X2APIC,
};

#define LAPIC_WORDS 8 /* 256 vectors in 32-bit registers */

struct lapic {
    struct vcpu *vcpu;

    /* Set by anyone, cleared by the own CPU. */
    _Atomic uint32_t irr[LAPIC_WORDS];
    _Atomic uint32_t tmr[LAPIC_WORDS];
    _Atomic uint32_t esr_pending; /* errors since the last write to ESR */

    /* Written by the own CPU, read by senders to find out who is meant. */
    _Atomic uint32_t mode; /* enum lapic_mode */
    _Atomic uint32_t ldr, dfr, svr, tpr;
    _Atomic uint32_t lvt[LVT_COUNT];

    /* Own CPU only. */
    uint32_t isr[LAPIC_WORDS];
    uint32_t ppr;
    uint32_t esr;
    uint32_t icr_low, icr_high;

    _Atomic bool timer_held; /* its last interrupt has to be taken first; written under the lock */

    struct spinlock lock; /* what follows */
    struct timer timer;
    bool present;          /* the vCPU runs, or sleeps until an interrupt comes */
    uint64_t target_ns;    /* when the timer comes due next; TIMER_NEVER: stopped */
    uint64_t period_ns;    /* of the initial count */
    uint64_t tsc_deadline; /* of the guest's TSC; 0: not armed */
    uint32_t initial_count;
    uint32_t divide;
};

static inline uint32_t lapic_load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void lapic_store(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Software- and hardware-enabled: takes fixed interrupts. */
static inline bool lapic_is_enabled(const struct lapic *lapic)
{
    return lapic_load(&lapic->mode) != LAPIC_MODE_OFF && (lapic_load(&lapic->svr) & SVR_ENABLE);
}

/* Is that vector pending? */
static inline bool lapic_irr_is_set(const struct lapic *lapic, uint32_t vector)
{
    return atomic_load(&lapic->irr[vector / 32 % LAPIC_WORDS]) >> (vector % 32) & 1;
}

/* lapic.c: what a local source delivers, unless masked. */
void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt entry);
/* lapic.c: notes an error and raises the error interrupt. */
void lapic_error(struct lapic *lapic, uint32_t bit);
/* lapic.c: sets a vector pending; true: it was not before, so the vCPU has to be told. */
bool lapic_set_irr(struct lapic *lapic, unsigned vector, bool level);

/* lapic_send.c: the guest wrote the ICR.  Own CPU. */
void lapic_send_icr(struct lapic *lapic, uint32_t low, uint32_t destination);

/* lapic_timer.c; own CPU, no locks held. */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_reset(struct lapic *lapic);
void lapic_timer_set_mode(struct lapic *lapic, uint32_t lvt);
void lapic_timer_set_count(struct lapic *lapic, uint32_t count);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t divide);
uint32_t lapic_timer_count(struct lapic *lapic);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t guest_tsc);
/* A vector was taken while timer_held: the next period may come. */
void lapic_timer_accepted(struct lapic *lapic);

#endif
