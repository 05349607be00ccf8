/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/irq/vlapic.h"

#include <stdlib.h>

#include "arch/x86/hw/msr.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/irq/lines.h"
#include "hv/vdev/irq/vlapic_internal.h"

/* Version 0x14 (integrated), highest LVT entry 5; no EOI broadcast suppression. */
#define VLAPIC_VERSION 0x00050014

/* Writable bits of each LVT entry: "Local Vector Table". */
static const uint32_t lvt_mask[LVT_COUNT] = {
    [LVT_TIMER] = 0x000700ff, [LVT_THERMAL] = 0x000107ff, [LVT_PERF] = 0x000107ff,
    [LVT_LINT0] = 0x0001a7ff, [LVT_LINT1] = 0x0001a7ff,   [LVT_ERROR] = 0x000100ff,
};

/* ---- vectors ---- */

static int highest_bit(const uint32_t words[VLAPIC_WORDS])
{
    for (int i = VLAPIC_WORDS - 1; i >= 0; i--) {
        if (words[i] != 0) {
            return i * 32 + 31 - __builtin_clz(words[i]);
        }
    }
    return -1;
}

static int highest_irr(const struct vlapic *vlapic)
{
    for (int i = VLAPIC_WORDS - 1; i >= 0; i--) {
        uint32_t word = vlapic_load(&vlapic->irr[i]);

        if (word != 0) {
            return i * 32 + 31 - __builtin_clz(word);
        }
    }
    return -1;
}

/* "Task and Processor Priorities": the class of the highest vector in service, or TPR. */
static void update_ppr(struct vlapic *vlapic)
{
    int in_service = highest_bit(vlapic->isr);
    uint32_t class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    uint32_t tpr = vlapic_load(&vlapic->tpr);

    vlapic->ppr = (tpr & 0xf0) >= class ? tpr : class;
}

bool vlapic_set_irr(struct vlapic *vlapic, unsigned vector, bool level)
{
    uint32_t bit = 1u << (vector % 32);
    uint32_t before;

    if (level) {
        atomic_fetch_or_explicit(&vlapic->tmr[vector / 32], bit, memory_order_relaxed);
    } else {
        atomic_fetch_and_explicit(&vlapic->tmr[vector / 32], ~bit, memory_order_relaxed);
    }
    before = atomic_fetch_or(&vlapic->irr[vector / 32], bit);
    /* After IRR: who sees the flag sees the bit; who clears the flag looks at IRR again. */
    atomic_fetch_or(&vlapic->vcpu->interrupts, VCPU_INTERRUPT_IRR);
    return (before & bit) == 0;
}

int vlapic_highest_pending(struct vlapic *vlapic)
{
    int vector;

    _Atomic uint32_t *interrupts = &vlapic->vcpu->interrupts;

    if (!(atomic_load_explicit(interrupts, memory_order_acquire) & VCPU_INTERRUPT_IRR)) {
        return -1;
    }
    vector = highest_irr(vlapic);
    if (vector < 0) {
        atomic_fetch_and(interrupts, ~(uint32_t)VCPU_INTERRUPT_IRR);
        /* A sender may have set its bit after the look above and the flag before the store. */
        atomic_thread_fence(memory_order_seq_cst);
        vector = highest_irr(vlapic);
        if (vector < 0) {
            return -1;
        }
        atomic_fetch_or(interrupts, VCPU_INTERRUPT_IRR);
    }
    return ((uint32_t)vector & 0xf0) > (vlapic->ppr & 0xf0) ? vector : -1;
}

void vlapic_accept(struct vlapic *vlapic, unsigned vector)
{
    uint32_t bit = 1u << (vector % 32);

    atomic_fetch_and(&vlapic->irr[(vector / 32) % VLAPIC_WORDS], ~bit);
    vlapic->isr[(vector / 32) % VLAPIC_WORDS] |= bit;
    update_ppr(vlapic);
    if (atomic_load(&vlapic->timer_held)) {
        vlapic_timer_accepted(vlapic);
    }
}

void vlapic_end_of_interrupt(struct vlapic *vlapic)
{
    int vector = highest_bit(vlapic->isr);
    uint32_t bit;

    if (vector < 0) {
        return;
    }
    bit = 1u << (vector % 32);
    vlapic->isr[vector / 32] &= ~bit;
    update_ppr(vlapic);
    if ((vlapic_load(&vlapic->tmr[vector / 32]) & bit) && vlapic->vcpu->vm->run.lines != NULL) {
        vioapic_eoi(&vlapic->vcpu->vm->run.lines->ioapic, (unsigned)vector);
    }
}

void vlapic_fire_lvt(struct vlapic *vlapic, enum vlapic_lvt entry)
{
    uint32_t lvt = vlapic_load(&vlapic->lvt[entry]);

    if (!(lvt & LVT_MASKED)) {
        vlapic_deliver(vlapic->vcpu, FIELD_GET(LVT_VECTOR, lvt), false);
    }
}

void vlapic_error(struct vlapic *vlapic, uint32_t bit)
{
    uint32_t lvt = vlapic_load(&vlapic->lvt[LVT_ERROR]);

    atomic_fetch_or(&vlapic->esr_pending, bit);
    /* Not through vlapic_deliver: an error vector below 16 would come back here. */
    if (!(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= 16 && vlapic_is_enabled(vlapic) &&
        vlapic_set_irr(vlapic, lvt & LVT_VECTOR, false)) {
        vcpu_notify(vlapic->vcpu);
    }
}

void vlapic_set_tpr(struct vlapic *vlapic, uint64_t cr8)
{
    vlapic_store(&vlapic->tpr, (uint32_t)(cr8 & 0xf) << 4);
    update_ppr(vlapic);
}

uint64_t vlapic_get_tpr(struct vlapic *vlapic)
{
    return vlapic_load(&vlapic->tpr) >> 4;
}

/* ---- registers ---- */

bool vlapic_read_register(struct vlapic *vlapic, unsigned reg, uint32_t *value)
{
    bool x2apic = vlapic_load(&vlapic->mode) == VLAPIC_MODE_X2APIC;
    uint32_t id = vlapic->vcpu->index;

    if (reg >= APIC_ISR && reg < APIC_ISR + VLAPIC_WORDS) {
        *value = vlapic->isr[reg - APIC_ISR];
        return true;
    }
    if (reg >= APIC_TMR && reg < APIC_TMR + VLAPIC_WORDS) {
        *value = vlapic_load(&vlapic->tmr[reg - APIC_TMR]);
        return true;
    }
    if (reg >= APIC_IRR && reg < APIC_IRR + VLAPIC_WORDS) {
        *value = vlapic_load(&vlapic->irr[reg - APIC_IRR]);
        return true;
    }
    if (reg >= APIC_LVT_TIMER && reg <= APIC_LVT_ERROR) {
        *value = vlapic_load(&vlapic->lvt[reg - APIC_LVT_TIMER]);
        return true;
    }
    switch (reg) {
    case APIC_ID:
        *value = x2apic ? id : id << 24;
        return true;
    case APIC_VERSION:
        *value = VLAPIC_VERSION;
        return true;
    case APIC_TPR:
        *value = vlapic_load(&vlapic->tpr);
        return true;
    case APIC_PPR:
        *value = vlapic->ppr;
        return true;
    case APIC_LDR:
        *value = x2apic ? (id >> 4) << 16 | 1u << (id & 0xf) : vlapic_load(&vlapic->ldr);
        return true;
    case APIC_SVR:
        *value = vlapic_load(&vlapic->svr);
        return true;
    case APIC_ESR:
        *value = vlapic->esr;
        return true;
    case APIC_INITIAL_COUNT:
        *value = vlapic->initial_count;
        return true;
    case APIC_CURRENT_COUNT:
        *value = vlapic_timer_count(vlapic);
        return true;
    case APIC_DIVIDE:
        *value = vlapic->divide;
        return true;
    default:
        return false;
    }
}

static void write_svr(struct vlapic *vlapic, uint32_t value)
{
    vlapic_store(&vlapic->svr, value & 0x1ff);
    if (!(value & SVR_ENABLE)) {
        /* "Local APIC State After It Has Been Software Disabled": all LVT entries masked. */
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            vlapic_store(&vlapic->lvt[i], vlapic_load(&vlapic->lvt[i]) | LVT_MASKED);
        }
    }
}

static void write_lvt(struct vlapic *vlapic, enum vlapic_lvt entry, uint32_t value)
{
    value &= lvt_mask[entry];
    if (!(vlapic_load(&vlapic->svr) & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (entry == LVT_TIMER) {
        vlapic_timer_set_mode(vlapic, value);
    } else {
        vlapic_store(&vlapic->lvt[entry], value);
    }
}

bool vlapic_write_register(struct vlapic *vlapic, unsigned reg, uint32_t value)
{
    if (reg >= APIC_LVT_TIMER && reg <= APIC_LVT_ERROR) {
        write_lvt(vlapic, (enum vlapic_lvt)(reg - APIC_LVT_TIMER), value);
        return true;
    }
    switch (reg) {
    case APIC_TPR:
        vlapic_store(&vlapic->tpr, value & 0xff);
        update_ppr(vlapic);
        return true;
    case APIC_EOI:
        vlapic_end_of_interrupt(vlapic);
        return true;
    case APIC_SVR:
        write_svr(vlapic, value);
        return true;
    case APIC_ESR:
        vlapic->esr = atomic_exchange(&vlapic->esr_pending, 0);
        return true;
    case APIC_INITIAL_COUNT:
        vlapic_timer_set_count(vlapic, value);
        return true;
    case APIC_DIVIDE:
        vlapic_timer_set_divide(vlapic, value & 0xb);
        return true;
    default:
        return false;
    }
}

/* ---- life ---- */

void vlapic_reset_registers(struct vlapic *vlapic)
{
    vlapic_timer_reset(vlapic);
    for (unsigned i = 0; i < VLAPIC_WORDS; i++) {
        vlapic_store(&vlapic->irr[i], 0);
        vlapic_store(&vlapic->tmr[i], 0);
        vlapic->isr[i] = 0;
    }
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        vlapic_store(&vlapic->lvt[i], LVT_MASKED);
    }
    atomic_fetch_and(&vlapic->vcpu->interrupts, ~(uint32_t)VCPU_INTERRUPT_IRR);
    vlapic_store(&vlapic->esr_pending, 0);
    vlapic_store(&vlapic->ldr, 0);
    vlapic_store(&vlapic->dfr, 0xffffffff);
    vlapic_store(&vlapic->svr, 0xff);
    vlapic_store(&vlapic->tpr, 0);
    vlapic->esr = 0;
    vlapic->icr_low = 0;
    vlapic->icr_high = 0;
    update_ppr(vlapic);
}

void vlapic_reset(struct vlapic *vlapic, bool init)
{
    struct vcpu *vcpu = vlapic->vcpu;

    if (!init) {
        vcpu->msr_apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE;
        if (vcpu->index == 0) {
            vcpu->msr_apic_base |= APIC_BASE_BSP;
        }
    }
    vlapic_store(&vlapic->mode, vlapic_mode_of(vcpu->msr_apic_base));
    vlapic_reset_registers(vlapic);
    vlapic_eoi_release(vcpu);
}

struct vlapic *vlapic_create(struct vcpu *vcpu)
{
    struct vlapic *vlapic = calloc(1, sizeof(*vlapic));

    if (vlapic == NULL) {
        return NULL;
    }
    vlapic->vcpu = vcpu;
    vlapic_timer_init(vlapic);
    vlapic_reset(vlapic, false);
    return vlapic;
}

void vlapic_destroy(struct vlapic *vlapic)
{
    if (vlapic != NULL) {
        timer_cancel_sync(&vlapic->timer);
        vlapic_eoi_release(vlapic->vcpu);
        free(vlapic);
    }
}
