/* SPDX-License-Identifier: BSD-2-Clause */
/* How a guest comes to the registers of its local APIC: by memory (xAPIC) and by MSRs (x2APIC). */
#include "arch/x86/hw/msr.h"
#include "hv/guest/vcpu.h"
#include "hv/vdev/irq/vlapic_internal.h"

#define APIC_BASE_VALID (APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE)

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
        if (!vlapic_read_register(vlapic, reg, &value)) {
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
        if (!vlapic_write_register(vlapic, reg, value)) {
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

/* "x2APIC State Transitions": only off -> xAPIC -> x2APIC -> off, and xAPIC -> off. */
static bool write_apic_base(struct vcpu *vcpu, uint64_t value)
{
    enum vlapic_mode from = vlapic_mode_of(vcpu->msr_apic_base);
    enum vlapic_mode to = vlapic_mode_of(value);

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
        vlapic_reset_registers(vcpu->vlapic);
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
        return value == 0 && vlapic_write_register(vlapic, reg, 0);
    case APIC_TPR:
        return value <= 0xff && vlapic_write_register(vlapic, reg, (uint32_t)value);
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
        return vlapic_write_register(vlapic, reg, (uint32_t)value);
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
    if (!vlapic_read_register(vlapic, msr - MSR_IA32_X2APIC_BASE, &word)) {
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
