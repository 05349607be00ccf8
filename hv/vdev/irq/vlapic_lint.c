/* SPDX-License-Identifier: BSD-2-Clause */
/* LINT0, to which a PC wires INTR of its 8259s, and LINT1, its NMI: Intel SDM vol. 3, "Local Vector
 * Table". */
#include "hv/guest/vcpu.h"
#include "hv/vdev/irq/vlapic_internal.h"

static bool takes_extint(const struct vlapic *vlapic)
{
    uint32_t lvt = vlapic_load(&vlapic->lvt[LVT_LINT0]);

    return vlapic_load(&vlapic->mode) == VLAPIC_MODE_OFF ||
           (!(lvt & LVT_MASKED) && FIELD_GET(LVT_DELIVERY, lvt) == DELIVERY_EXTINT);
}

bool vlapic_extint_pending(const struct vlapic *vlapic)
{
    uint32_t interrupts = atomic_load_explicit(&vlapic->vcpu->interrupts, memory_order_acquire);

    return (interrupts & VCPU_INTERRUPT_INTR) && takes_extint(vlapic);
}

void vlapic_set_intr(struct vcpu *vcpu, bool level)
{
    struct vlapic *vlapic = vcpu->vlapic;
    uint32_t lvt = vlapic_load(&vlapic->lvt[LVT_LINT0]);

    if (!level) {
        atomic_fetch_and(&vcpu->interrupts, ~(uint32_t)VCPU_INTERRUPT_INTR);
        return;
    }
    atomic_fetch_or(&vcpu->interrupts, VCPU_INTERRUPT_INTR);
    if (takes_extint(vlapic)) {
        vcpu_notify(vcpu);
    } else if (!(lvt & LVT_MASKED) && FIELD_GET(LVT_DELIVERY, lvt) == DELIVERY_NMI) {
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
    } else if (FIELD_GET(LVT_DELIVERY, lvt) == DELIVERY_FIXED) {
        vlapic_fire_lvt(vlapic, LVT_LINT0);
    }
}

/* While the APIC is off LINT1 is the CPU's NMI pin ("Enabling or Disabling the Local APIC").
 * SMI and INIT by an LVT do nothing here, ExtINT is LINT0's. */
void vlapic_pulse_lint1(struct vcpu *vcpu)
{
    struct vlapic *vlapic = vcpu->vlapic;
    uint32_t lvt = vlapic_load(&vlapic->lvt[LVT_LINT1]);

    if (vlapic_load(&vlapic->mode) == VLAPIC_MODE_OFF ||
        (!(lvt & LVT_MASKED) && FIELD_GET(LVT_DELIVERY, lvt) == DELIVERY_NMI)) {
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
    } else if (FIELD_GET(LVT_DELIVERY, lvt) == DELIVERY_FIXED) {
        vlapic_fire_lvt(vlapic, LVT_LINT1);
    }
}

void vlapic_virtual_wire(struct vlapic *vlapic)
{
    vlapic_store(&vlapic->svr, SVR_ENABLE | 0xff);
    vlapic_store(&vlapic->lvt[LVT_LINT0], LVT_LEVEL | FIELD_PREP(LVT_DELIVERY, DELIVERY_EXTINT));
    vlapic_store(&vlapic->lvt[LVT_LINT1], LVT_LEVEL | FIELD_PREP(LVT_DELIVERY, DELIVERY_NMI));
}
