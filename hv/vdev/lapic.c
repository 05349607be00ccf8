/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/lapic.h"

#include <stdlib.h>

#include "arch/x86/hw/msr.h"
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/devices.h"
#include "hv/vdev/lapic_internal.h"

/* Version 0x14 (integrated), highest LVT entry 5; no EOI broadcast suppression. */
#define LAPIC_VERSION 0x00050014

#define APIC_BASE_VALID (APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)

/* Writable bits of each LVT entry: "Local Vector Table". */
static const uint32_t lvt_mask[LVT_COUNT] = {
    [LVT_TIMER] = 0x000700ff, [LVT_THERMAL] = 0x000107ff, [LVT_PERF] = 0x000107ff,
    [LVT_LINT0] = 0x0001a7ff, [LVT_LINT1] = 0x0001a7ff,   [LVT_ERROR] = 0x000100ff,
};

/* ---- vectors ---- */

static int highest_bit(const uint32_t words[LAPIC_WORDS])
{
    for (int i = LAPIC_WORDS - 1; i >= 0; i--) {
        if (words[i] != 0) {
            return i * 32 + 31 - __builtin_clz(words[i]);
        }
    }
    return -1;
}

static int highest_irr(const struct lapic *lapic)
{
    for (int i = LAPIC_WORDS - 1; i >= 0; i--) {
        uint32_t word = lapic_load(&lapic->irr[i]);

        if (word != 0) {
            return i * 32 + 31 - __builtin_clz(word);
        }
    }
    return -1;
}

/* "Task and Processor Priorities": the class of the highest vector in service, or TPR. */
static void update_ppr(struct lapic *lapic)
{
    int in_service = highest_bit(lapic->isr);
    uint32_t class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    uint32_t tpr = lapic_load(&lapic->tpr);

    lapic->ppr = (tpr & 0xf0) >= class ? tpr : class;
}

bool lapic_set_irr(struct lapic *lapic, unsigned vector, bool level)
{
    uint32_t bit = 1u << (vector % 32);
    uint32_t before;

    if (level) {
        atomic_fetch_or_explicit(&lapic->tmr[vector / 32], bit, memory_order_relaxed);
    } else {
        atomic_fetch_and_explicit(&lapic->tmr[vector / 32], ~bit, memory_order_relaxed);
    }
    before = atomic_fetch_or(&lapic->irr[vector / 32], bit);
    /* After IRR: who sees the flag sees the bit; who clears the flag looks at IRR again. */
    atomic_fetch_or(&lapic->vcpu->interrupts, VCPU_INTERRUPT_IRR);
    return (before & bit) == 0;
}

int lapic_highest_pending(struct lapic *lapic)
{
    int vector;

    _Atomic uint32_t *interrupts = &lapic->vcpu->interrupts;

    if (!(atomic_load_explicit(interrupts, memory_order_acquire) & VCPU_INTERRUPT_IRR)) {
        return -1;
    }
    vector = highest_irr(lapic);
    if (vector < 0) {
        atomic_fetch_and(interrupts, ~(uint32_t)VCPU_INTERRUPT_IRR);
        /* A sender may have set its bit after the look above and the flag before the store. */
        atomic_thread_fence(memory_order_seq_cst);
        vector = highest_irr(lapic);
        if (vector < 0) {
            return -1;
        }
        atomic_fetch_or(interrupts, VCPU_INTERRUPT_IRR);
    }
    return ((uint32_t)vector & 0xf0) > (lapic->ppr & 0xf0) ? vector : -1;
}

void lapic_accept(struct lapic *lapic, unsigned vector)
{
    uint32_t bit = 1u << (vector % 32);

    atomic_fetch_and(&lapic->irr[(vector / 32) % LAPIC_WORDS], ~bit);
    lapic->isr[(vector / 32) % LAPIC_WORDS] |= bit;
    update_ppr(lapic);
    if (atomic_load(&lapic->timer_held)) {
        lapic_timer_accepted(lapic);
    }
}

static void end_of_interrupt(struct lapic *lapic)
{
    int vector = highest_bit(lapic->isr);
    uint32_t bit;

    if (vector < 0) {
        return;
    }
    bit = 1u << (vector % 32);
    lapic->isr[vector / 32] &= ~bit;
    update_ppr(lapic);
    if (lapic_load(&lapic->tmr[vector / 32]) & bit) {
        vm_devices_eoi(lapic->vcpu->vm, (unsigned)vector);
    }
}

void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt entry)
{
    uint32_t lvt = lapic_load(&lapic->lvt[entry]);

    if (!(lvt & LVT_MASKED)) {
        lapic_deliver(lapic->vcpu, FIELD_GET(LVT_VECTOR, lvt), false);
    }
}

void lapic_error(struct lapic *lapic, uint32_t bit)
{
    uint32_t lvt = lapic_load(&lapic->lvt[LVT_ERROR]);

    atomic_fetch_or(&lapic->esr_pending, bit);
    /* Not through lapic_deliver: an error vector below 16 would come back here. */
    if (!(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= 16 && lapic_is_enabled(lapic) &&
        lapic_set_irr(lapic, lvt & LVT_VECTOR, false)) {
        vcpu_notify(lapic->vcpu);
    }
}

void lapic_set_tpr(struct lapic *lapic, uint64_t cr8)
{
    lapic_store(&lapic->tpr, (uint32_t)(cr8 & 0xf) << 4);
    update_ppr(lapic);
}

uint64_t lapic_get_tpr(struct lapic *lapic)
{
    return lapic_load(&lapic->tpr) >> 4;
}

/* ---- registers ---- */

/* Registers that read the same in both modes.  False: there is none of that number. */
static bool read_register(struct lapic *lapic, unsigned reg, uint32_t *value)
{
    bool x2apic = lapic_load(&lapic->mode) == LAPIC_MODE_X2APIC;
    uint32_t id = lapic->vcpu->index;

    if (reg >= REG_ISR && reg < REG_ISR + LAPIC_WORDS) {
        *value = lapic->isr[reg - REG_ISR];
        return true;
    }
    if (reg >= REG_TMR && reg < REG_TMR + LAPIC_WORDS) {
        *value = lapic_load(&lapic->tmr[reg - REG_TMR]);
        return true;
    }
    if (reg >= REG_IRR && reg < REG_IRR + LAPIC_WORDS) {
        *value = lapic_load(&lapic->irr[reg - REG_IRR]);
        return true;
    }
    if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR) {
        *value = lapic_load(&lapic->lvt[reg - REG_LVT_TIMER]);
        return true;
    }
    switch (reg) {
    case REG_ID:
        *value = x2apic ? id : id << 24;
        return true;
    case REG_VERSION:
        *value = LAPIC_VERSION;
        return true;
    case REG_TPR:
        *value = lapic_load(&lapic->tpr);
        return true;
    case REG_PPR:
        *value = lapic->ppr;
        return true;
    case REG_LDR:
        *value = x2apic ? (id >> 4) << 16 | 1u << (id & 0xf) : lapic_load(&lapic->ldr);
        return true;
    case REG_SVR:
        *value = lapic_load(&lapic->svr);
        return true;
    case REG_ESR:
        *value = lapic->esr;
        return true;
    case REG_INITIAL_COUNT:
        *value = lapic->initial_count;
        return true;
    case REG_CURRENT_COUNT:
        *value = lapic_timer_count(lapic);
        return true;
    case REG_DIVIDE:
        *value = lapic->divide;
        return true;
    default:
        return false;
    }
}

static void write_svr(struct lapic *lapic, uint32_t value)
{
    lapic_store(&lapic->svr, value & 0x1ff);
    if (!(value & SVR_ENABLE)) {
        /* "Local APIC State After It Has Been Software Disabled": all LVT entries masked. */
        for (unsigned i = 0; i < LVT_COUNT; i++) {
            lapic_store(&lapic->lvt[i], lapic_load(&lapic->lvt[i]) | LVT_MASKED);
        }
    }
}

static void write_lvt(struct lapic *lapic, enum lapic_lvt entry, uint32_t value)
{
    value &= lvt_mask[entry];
    if (!(lapic_load(&lapic->svr) & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (entry == LVT_TIMER) {
        lapic_timer_set_mode(lapic, value);
    } else {
        lapic_store(&lapic->lvt[entry], value);
    }
}

/* Registers that are written alike in both modes.  False: none, or read-only. */
static bool write_register(struct lapic *lapic, unsigned reg, uint32_t value)
{
    if (reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR) {
        write_lvt(lapic, (enum lapic_lvt)(reg - REG_LVT_TIMER), value);
        return true;
    }
    switch (reg) {
    case REG_TPR:
        lapic_store(&lapic->tpr, value & 0xff);
        update_ppr(lapic);
        return true;
    case REG_EOI:
        end_of_interrupt(lapic);
        return true;
    case REG_SVR:
        write_svr(lapic, value);
        return true;
    case REG_ESR:
        lapic->esr = atomic_exchange(&lapic->esr_pending, 0);
        return true;
    case REG_INITIAL_COUNT:
        lapic_timer_set_count(lapic, value);
        return true;
    case REG_DIVIDE:
        lapic_timer_set_divide(lapic, value & 0xb);
        return true;
    default:
        return false;
    }
}

/* ---- xAPIC: memory ---- */

bool lapic_owns_mmio(const struct vcpu *vcpu, gpa_t address)
{
    return lapic_load(&vcpu->lapic->mode) == LAPIC_MODE_XAPIC &&
           (address.v & PAGE_MASK) == (vcpu->msr_apic_base & APIC_BASE_ADDRESS);
}

static uint32_t read_mmio_register(struct lapic *lapic, unsigned reg)
{
    uint32_t value = 0;

    switch (reg) {
    case REG_DFR:
        return lapic_load(&lapic->dfr);
    case REG_ICR:
        return lapic->icr_low;
    case REG_ICR_HIGH:
        return lapic->icr_high;
    case REG_APR:
    case REG_EOI:
    case REG_RRD:
        return 0;
    default:
        if (!read_register(lapic, reg, &value)) {
            lapic_error(lapic, ESR_ILLEGAL_REGISTER);
        }
        return value;
    }
}

/* Only the first four of each sixteen bytes are a register; the rest reads as zero. */
uint64_t lapic_mmio_read(struct vcpu *vcpu, unsigned offset, unsigned size)
{
    unsigned byte = offset & 0xf;
    uint64_t value;

    if (byte >= 4) {
        return 0;
    }
    value = read_mmio_register(vcpu->lapic, (offset & 0xfff) >> 4) >> (byte * 8);
    return size >= 4 ? value : value & (BIT(size * 8) - 1);
}

/* "the registers must be accessed with 32-bit loads and stores, aligned on 128 bits": all else is
 * ignored. */
void lapic_mmio_write(struct vcpu *vcpu, unsigned offset, unsigned size, uint64_t value64)
{
    struct lapic *lapic = vcpu->lapic;
    unsigned reg = (offset & 0xfff) >> 4;
    uint32_t value = (uint32_t)value64;

    if ((offset & 0xf) != 0 || size < 4) {
        return;
    }
    switch (reg) {
    case REG_ID: /* fixed, as on current processors */
        break;
    case REG_LDR:
        lapic_store(&lapic->ldr, value & 0xff000000);
        break;
    case REG_DFR:
        lapic_store(&lapic->dfr, value | 0x0fffffff);
        break;
    case REG_ICR:
        lapic->icr_low = value & 0x000ccfff;
        lapic_send_icr(lapic, value, lapic->icr_high >> 24);
        break;
    case REG_ICR_HIGH:
        lapic->icr_high = value & 0xff000000;
        break;
    default:
        if (!write_register(lapic, reg, value)) {
            lapic_error(lapic, ESR_ILLEGAL_REGISTER);
        }
        break;
    }
}

/* ---- MSRs ---- */

bool lapic_owns_msr(uint32_t msr)
{
    return msr == MSR_IA32_APIC_BASE || msr == MSR_IA32_TSC_DEADLINE ||
           (msr >= MSR_IA32_X2APIC_BASE && msr <= MSR_IA32_X2APIC_LAST);
}

static enum lapic_mode mode_of(uint64_t base)
{
    if (!(base & APIC_BASE_ENABLE)) {
        return LAPIC_MODE_OFF;
    }
    return base & APIC_BASE_X2APIC ? LAPIC_MODE_X2APIC : LAPIC_MODE_XAPIC;
}

static void reset_registers(struct lapic *lapic)
{
    lapic_timer_reset(lapic);
    for (unsigned i = 0; i < LAPIC_WORDS; i++) {
        lapic_store(&lapic->irr[i], 0);
        lapic_store(&lapic->tmr[i], 0);
        lapic->isr[i] = 0;
    }
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        lapic_store(&lapic->lvt[i], LVT_MASKED);
    }
    atomic_fetch_and(&lapic->vcpu->interrupts, ~(uint32_t)VCPU_INTERRUPT_IRR);
    lapic_store(&lapic->esr_pending, 0);
    lapic_store(&lapic->ldr, 0);
    lapic_store(&lapic->dfr, 0xffffffff);
    lapic_store(&lapic->svr, 0xff);
    lapic_store(&lapic->tpr, 0);
    lapic->esr = 0;
    lapic->icr_low = 0;
    lapic->icr_high = 0;
    update_ppr(lapic);
}

/* "x2APIC State Transitions": only off -> xAPIC -> x2APIC -> off, and xAPIC -> off. */
static bool write_apic_base(struct vcpu *vcpu, uint64_t value)
{
    enum lapic_mode from = mode_of(vcpu->msr_apic_base);
    enum lapic_mode to = mode_of(value);

    if ((value & ~APIC_BASE_VALID) != 0 ||
        (value & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_X2APIC ||
        (from == LAPIC_MODE_OFF && to == LAPIC_MODE_X2APIC) ||
        (from == LAPIC_MODE_X2APIC && to == LAPIC_MODE_XAPIC)) {
        return false;
    }
    /* BSP is not the guest's to choose. */
    vcpu->msr_apic_base = (value & ~APIC_BASE_BSP) | (vcpu->index == 0 ? APIC_BASE_BSP : 0);
    lapic_store(&vcpu->lapic->mode, to);
    if (to == LAPIC_MODE_OFF && from != LAPIC_MODE_OFF) {
        reset_registers(vcpu->lapic);
    }
    return true;
}

static bool write_x2apic(struct lapic *lapic, unsigned reg, uint64_t value)
{
    if (reg == REG_ICR) {
        lapic->icr_low = (uint32_t)value & 0x000ccfff;
        lapic->icr_high = (uint32_t)(value >> 32);
        lapic_send_icr(lapic, (uint32_t)value, lapic->icr_high);
        return true;
    }
    if (value >> 32 != 0) {
        return false;
    }
    switch (reg) {
    case REG_EOI:
    case REG_ESR:
        return value == 0 && write_register(lapic, reg, 0);
    case REG_TPR:
        return value <= 0xff && write_register(lapic, reg, (uint32_t)value);
    case REG_SELF_IPI:
        if (value > 0xff) {
            return false;
        }
        if (value < 16) {
            lapic_error(lapic, ESR_SEND_ILLEGAL);
        } else {
            lapic_deliver(lapic->vcpu, (unsigned)value, false);
        }
        return true;
    default:
        return write_register(lapic, reg, (uint32_t)value);
    }
}

bool lapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    struct lapic *lapic = vcpu->lapic;
    uint32_t word;

    if (msr == MSR_IA32_APIC_BASE) {
        *value = vcpu->msr_apic_base;
        return true;
    }
    if (msr == MSR_IA32_TSC_DEADLINE) {
        *value = lapic_tsc_deadline(lapic);
        return true;
    }
    if (!lapic_owns_msr(msr) || lapic_load(&lapic->mode) != LAPIC_MODE_X2APIC) {
        return false;
    }
    if (msr - MSR_IA32_X2APIC_BASE == REG_ICR) {
        *value = (uint64_t)lapic->icr_high << 32 | lapic->icr_low;
        return true;
    }
    if (!read_register(lapic, msr - MSR_IA32_X2APIC_BASE, &word)) {
        return false;
    }
    *value = word;
    return true;
}

bool lapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (msr == MSR_IA32_APIC_BASE) {
        return write_apic_base(vcpu, value);
    }
    if (msr == MSR_IA32_TSC_DEADLINE) {
        lapic_timer_set_deadline(vcpu->lapic, value);
        return true;
    }
    return lapic_owns_msr(msr) && lapic_load(&vcpu->lapic->mode) == LAPIC_MODE_X2APIC &&
           write_x2apic(vcpu->lapic, msr - MSR_IA32_X2APIC_BASE, value);
}

/* ---- life ---- */

void lapic_reset(struct lapic *lapic, bool init)
{
    struct vcpu *vcpu = lapic->vcpu;

    if (!init) {
        vcpu->msr_apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE;
        if (vcpu->index == 0) {
            vcpu->msr_apic_base |= APIC_BASE_BSP;
        }
    }
    lapic_store(&lapic->mode, mode_of(vcpu->msr_apic_base));
    reset_registers(lapic);
}

struct lapic *lapic_create(struct vcpu *vcpu)
{
    struct lapic *lapic = calloc(1, sizeof(*lapic));

    if (lapic == NULL) {
        return NULL;
    }
    lapic->vcpu = vcpu;
    lapic_timer_init(lapic);
    lapic_reset(lapic, false);
    return lapic;
}

void lapic_destroy(struct lapic *lapic)
{
    if (lapic != NULL) {
        timer_cancel_sync(&lapic->timer);
        free(lapic);
    }
}
