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

#define APIC_BASE_VALID (APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)

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

static void end_of_interrupt(struct vlapic *vlapic)
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

/* Registers that read the same in both modes.  False: there is none of that number. */
static bool read_register(struct vlapic *vlapic, unsigned reg, uint32_t *value)
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

/* Registers that are written alike in both modes.  False: none, or read-only. */
static bool write_register(struct vlapic *vlapic, unsigned reg, uint32_t value)
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
        end_of_interrupt(vlapic);
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

/* ---- xAPIC: memory ---- */

bool vlapic_owns_mmio(const struct vcpu *vcpu, gpa_t address)
{
    return vlapic_load(&vcpu->vlapic->mode) == VLAPIC_MODE_XAPIC &&
           (address.v & PAGE_MASK) == (vcpu->msr_apic_base & APIC_BASE_ADDRESS);
}

static uint32_t read_mmio_register(struct vlapic *vlapic, unsigned reg)
{
    uint32_t value = 0;

    switch (reg) {
    case APIC_DFR:
        return vlapic_load(&vlapic->dfr);
    case APIC_ICR:
        return vlapic->icr_low;
    case APIC_ICR_HIGH:
        return vlapic->icr_high;
    case APIC_APR:
    case APIC_EOI:
    case APIC_RRD:
        return 0;
    default:
        if (!read_register(vlapic, reg, &value)) {
            vlapic_error(vlapic, ESR_ILLEGAL_REGISTER);
        }
        return value;
    }
}

/* Only the first four of each sixteen bytes are a register; the rest reads as zero. */
uint64_t vlapic_mmio_read(struct vcpu *vcpu, unsigned offset, unsigned size)
{
    unsigned byte = offset & 0xf;
    uint64_t value;

    if (byte >= 4) {
        return 0;
    }
    value = read_mmio_register(vcpu->vlapic, (offset & 0xfff) >> 4) >> (byte * 8);
    return size >= 4 ? value : value & (BIT(size * 8) - 1);
}

/* "the registers must be accessed with 32-bit loads and stores, aligned on 128 bits": all else is
 * ignored. */
void vlapic_mmio_write(struct vcpu *vcpu, unsigned offset, unsigned size, uint64_t value64)
{
    struct vlapic *vlapic = vcpu->vlapic;
    unsigned reg = (offset & 0xfff) >> 4;
    uint32_t value = (uint32_t)value64;

    if ((offset & 0xf) != 0 || size < 4) {
        return;
    }
    switch (reg) {
    case APIC_ID: /* fixed, as on current processors */
        break;
    case APIC_LDR:
        vlapic_store(&vlapic->ldr, value & 0xff000000);
        break;
    case APIC_DFR:
        vlapic_store(&vlapic->dfr, value | 0x0fffffff);
        break;
    case APIC_ICR:
        vlapic->icr_low = value & 0x000ccfff;
        vlapic_send_icr(vlapic, value, vlapic->icr_high >> 24);
        break;
    case APIC_ICR_HIGH:
        vlapic->icr_high = value & 0xff000000;
        break;
    default:
        if (!write_register(vlapic, reg, value)) {
            vlapic_error(vlapic, ESR_ILLEGAL_REGISTER);
        }
        break;
    }
}

/* ---- MSRs ---- */

bool vlapic_owns_msr(uint32_t msr)
{
    return msr == MSR_IA32_APIC_BASE || msr == MSR_IA32_TSC_DEADLINE ||
           (msr >= MSR_IA32_X2APIC_BASE && msr <= MSR_IA32_X2APIC_LAST);
}

static enum vlapic_mode mode_of(uint64_t base)
{
    if (!(base & APIC_BASE_ENABLE)) {
        return VLAPIC_MODE_OFF;
    }
    return base & APIC_BASE_X2APIC ? VLAPIC_MODE_X2APIC : VLAPIC_MODE_XAPIC;
}

static void reset_registers(struct vlapic *vlapic)
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

/* "x2APIC State Transitions": only off -> xAPIC -> x2APIC -> off, and xAPIC -> off. */
static bool write_apic_base(struct vcpu *vcpu, uint64_t value)
{
    enum vlapic_mode from = mode_of(vcpu->msr_apic_base);
    enum vlapic_mode to = mode_of(value);

    if ((value & ~APIC_BASE_VALID) != 0 ||
        (value & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_X2APIC ||
        (from == VLAPIC_MODE_OFF && to == VLAPIC_MODE_X2APIC) ||
        (from == VLAPIC_MODE_X2APIC && to == VLAPIC_MODE_XAPIC)) {
        return false;
    }
    /* BSP is not the guest's to choose. */
    vcpu->msr_apic_base = (value & ~APIC_BASE_BSP) | (vcpu->index == 0 ? APIC_BASE_BSP : 0);
    vlapic_store(&vcpu->vlapic->mode, to);
    if (to == VLAPIC_MODE_OFF && from != VLAPIC_MODE_OFF) {
        reset_registers(vcpu->vlapic);
    }
    return true;
}

static bool write_x2apic(struct vlapic *vlapic, unsigned reg, uint64_t value)
{
    if (reg == APIC_ICR) {
        vlapic->icr_low = (uint32_t)value & 0x000ccfff;
        vlapic->icr_high = (uint32_t)(value >> 32);
        vlapic_send_icr(vlapic, (uint32_t)value, vlapic->icr_high);
        return true;
    }
    if (value >> 32 != 0) {
        return false;
    }
    switch (reg) {
    case APIC_EOI:
    case APIC_ESR:
        return value == 0 && write_register(vlapic, reg, 0);
    case APIC_TPR:
        return value <= 0xff && write_register(vlapic, reg, (uint32_t)value);
    case APIC_SELF_IPI:
        if (value > 0xff) {
            return false;
        }
        if (value < 16) {
            vlapic_error(vlapic, ESR_SEND_ILLEGAL);
        } else {
            vlapic_deliver(vlapic->vcpu, (unsigned)value, false);
        }
        return true;
    default:
        return write_register(vlapic, reg, (uint32_t)value);
    }
}

bool vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    struct vlapic *vlapic = vcpu->vlapic;
    uint32_t word;

    if (msr == MSR_IA32_APIC_BASE) {
        *value = vcpu->msr_apic_base;
        return true;
    }
    if (msr == MSR_IA32_TSC_DEADLINE) {
        *value = vlapic_tsc_deadline(vlapic);
        return true;
    }
    if (!vlapic_owns_msr(msr) || vlapic_load(&vlapic->mode) != VLAPIC_MODE_X2APIC) {
        return false;
    }
    if (msr - MSR_IA32_X2APIC_BASE == APIC_ICR) {
        *value = (uint64_t)vlapic->icr_high << 32 | vlapic->icr_low;
        return true;
    }
    if (!read_register(vlapic, msr - MSR_IA32_X2APIC_BASE, &word)) {
        return false;
    }
    *value = word;
    return true;
}

bool vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (msr == MSR_IA32_APIC_BASE) {
        return write_apic_base(vcpu, value);
    }
    if (msr == MSR_IA32_TSC_DEADLINE) {
        vlapic_timer_set_deadline(vcpu->vlapic, value);
        return true;
    }
    return vlapic_owns_msr(msr) && vlapic_load(&vcpu->vlapic->mode) == VLAPIC_MODE_X2APIC &&
           write_x2apic(vcpu->vlapic, msr - MSR_IA32_X2APIC_BASE, value);
}

/* ---- life ---- */

void vlapic_reset(struct vlapic *vlapic, bool init)
{
    struct vcpu *vcpu = vlapic->vcpu;

    if (!init) {
        vcpu->msr_apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE;
        if (vcpu->index == 0) {
            vcpu->msr_apic_base |= APIC_BASE_BSP;
        }
    }
    vlapic_store(&vlapic->mode, mode_of(vcpu->msr_apic_base));
    reset_registers(vlapic);
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
        free(vlapic);
    }
}
