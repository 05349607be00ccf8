/* SPDX-License-Identifier: BSD-2-Clause */
/* EOI without an exit: a word that guest and hypervisor share. */
#include "hv/guest/vcpu.h"
#include "hv/vdev/irq/vlapic_internal.h"
#include "mm/env.h"

#define EOI_ENABLE   BIT(0)
#define EOI_RESERVED BIT(1)

#define EOI_NEEDLESS 1u /* "KVM_PV_EOI_ENABLED": the guest clears it, and need not do more */

static gfn_t page_of(const struct vcpu *vcpu)
{
    return gpa_to_gfn(gpa(vcpu->msr_kvm_eoi));
}

void vlapic_eoi_release(struct vcpu *vcpu)
{
    if (vcpu->eoi_word != NULL) {
        space_unpin(vcpu->space, page_of(vcpu), true);
        vcpu->eoi_word = NULL;
    }
    vcpu->msr_kvm_eoi = 0;
}

enum mm_result vlapic_eoi_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    uint64_t address = value & ~EOI_ENABLE;
    enum mm_result result;
    pfn_t frame;

    if ((value & EOI_RESERVED) || value >= BIT(52)) {
        return MM_NO_MEMSLOT;
    }
    if (!(value & EOI_ENABLE)) {
        vlapic_eoi_release(vcpu);
        vcpu->msr_kvm_eoi = value;
        return MM_OK;
    }
    result = space_pin(vcpu->space, gpa_to_gfn(gpa(address)), ACCESS_WRITE | SPACE_PIN_LASTING,
                       &frame, waiter);
    if (result != MM_OK) {
        return result;
    }
    vlapic_eoi_release(vcpu);
    vcpu->msr_kvm_eoi = value;
    vcpu->eoi_word = (_Atomic uint32_t *)((char *)mm_frame_ptr(frame) + (address & ~PAGE_MASK));
    return MM_OK;
}

/* Is exactly one vector in service, and edge-triggered?  An EOI of a level is news to the IOAPIC.
 */
static bool one_edge_in_service(const struct vlapic *vlapic)
{
    uint32_t found = 0, others = 0;

    for (unsigned i = 0; i < VLAPIC_WORDS; i++) {
        if (vlapic->isr[i] != 0) {
            others = vlapic->isr[i] & (vlapic_load(&vlapic->tmr[i]) | (vlapic->isr[i] - 1));
            found++;
        }
    }
    return found == 1 && others == 0;
}

/*
 * Whoever sends an interrupt after the look at IRR sets its bit, and then makes this vCPU leave the
 * guest: what the guest has done without us is then taken over before that interrupt is delivered.
 */
void vlapic_eoi_offer(struct vcpu *vcpu)
{
    if (!(atomic_load(&vcpu->interrupts) & VCPU_INTERRUPT_IRR) &&
        one_edge_in_service(vcpu->vlapic)) {
        vlapic_store(vcpu->eoi_word, vlapic_load(vcpu->eoi_word) | EOI_NEEDLESS);
        vcpu->eoi_offered = true;
    }
}

void vlapic_eoi_take(struct vcpu *vcpu)
{
    uint32_t word = vlapic_load(vcpu->eoi_word);

    vcpu->eoi_offered = false;
    if (word & EOI_NEEDLESS) {
        vlapic_store(vcpu->eoi_word,
                     word & ~EOI_NEEDLESS); /* not yet: by a write, or another offer */
    } else {
        vlapic_end_of_interrupt(vcpu->vlapic);
    }
}
