/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of the local APIC (vlapic*.c) and nobody else. */
#ifndef SPILLWAY_HV_VDEV_IRQ_VLAPIC_INTERNAL_H
#define SPILLWAY_HV_VDEV_IRQ_VLAPIC_INTERNAL_H

#include <stdatomic.h>

#include "arch/x86/hw/apic.h"
#include "arch/x86/hw/msr.h"
#include "base/lock.h"
#include "hv/timer.h"
#include "hv/vdev/irq/vlapic.h"

enum vlapic_lvt {
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PERF,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
    LVT_COUNT,
};

/* What IA32_APIC_BASE says. */
enum vlapic_mode {
    VLAPIC_MODE_OFF,
    VLAPIC_MODE_XAPIC,
    VLAPIC_MODE_X2APIC,
};

#define VLAPIC_WORDS 8 /* 256 vectors in 32-bit registers */

struct vlapic {
    struct vcpu *vcpu;

    /* Set by anyone, cleared by the own CPU. */
    _Atomic uint32_t irr[VLAPIC_WORDS];
    _Atomic uint32_t tmr[VLAPIC_WORDS];
    _Atomic uint32_t esr_pending; /* errors since the last write to ESR */

    /* Written by the own CPU, read by senders to find out who is meant. */
    _Atomic uint32_t mode; /* enum vlapic_mode */
    _Atomic uint32_t ldr, dfr, svr, tpr;
    _Atomic uint32_t lvt[LVT_COUNT];

    /* Own CPU only. */
    uint32_t isr[VLAPIC_WORDS];
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

static inline uint32_t vlapic_load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void vlapic_store(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Software- and hardware-enabled: takes fixed interrupts. */
static inline bool vlapic_is_enabled(const struct vlapic *vlapic)
{
    return vlapic_load(&vlapic->mode) != VLAPIC_MODE_OFF &&
           (vlapic_load(&vlapic->svr) & SVR_ENABLE);
}

/* The mode that an IA32_APIC_BASE stands for. */
static inline enum vlapic_mode vlapic_mode_of(uint64_t base)
{
    if (!(base & APIC_BASE_ENABLE)) {
        return VLAPIC_MODE_OFF;
    }
    return base & APIC_BASE_X2APIC ? VLAPIC_MODE_X2APIC : VLAPIC_MODE_XAPIC;
}

/* Is that vector pending? */
static inline bool vlapic_irr_is_set(const struct vlapic *vlapic, uint32_t vector)
{
    return atomic_load(&vlapic->irr[vector / 32 % VLAPIC_WORDS]) >> (vector % 32) & 1;
}

/* vlapic.c: what a local source delivers, unless masked. */
void vlapic_fire_lvt(struct vlapic *vlapic, enum vlapic_lvt entry);
/* vlapic.c: notes an error and raises the error interrupt. */
void vlapic_error(struct vlapic *vlapic, uint32_t bit);
/* vlapic.c: sets a vector pending; true: it was not before, so the vCPU has to be told. */
bool vlapic_set_irr(struct vlapic *vlapic, unsigned vector, bool level);

/* vlapic.c: registers that read and are written alike in both modes, by their number, which is the
 * offset in memory divided by 16.  False: there is none, or none of that kind.  Own CPU. */
bool vlapic_read_register(struct vlapic *vlapic, unsigned reg, uint32_t *value);
bool vlapic_write_register(struct vlapic *vlapic, unsigned reg, uint32_t value);
/* vlapic.c: the guest wrote EOI, or need not. */
void vlapic_end_of_interrupt(struct vlapic *vlapic);
/* vlapic.c: as after INIT, but for the ID and IA32_APIC_BASE. */
void vlapic_reset_registers(struct vlapic *vlapic);

/* vlapic_send.c: the guest wrote the ICR.  Own CPU. */
void vlapic_send_icr(struct vlapic *vlapic, uint32_t low, uint32_t destination);

/* vlapic_eoi.c: as after power-on.  Own CPU, or vCPU stopped; no locks at RANK_SPACE held. */
void vlapic_eoi_release(struct vcpu *vcpu);

/* vlapic_timer.c; own CPU, no locks held. */
void vlapic_timer_init(struct vlapic *vlapic);
void vlapic_timer_reset(struct vlapic *vlapic);
void vlapic_timer_set_mode(struct vlapic *vlapic, uint32_t lvt);
void vlapic_timer_set_count(struct vlapic *vlapic, uint32_t count);
void vlapic_timer_set_divide(struct vlapic *vlapic, uint32_t divide);
uint32_t vlapic_timer_count(struct vlapic *vlapic);
void vlapic_timer_set_deadline(struct vlapic *vlapic, uint64_t guest_tsc);
/* A vector was taken while timer_held: the next period may come. */
void vlapic_timer_accepted(struct vlapic *vlapic);

#endif
