/* SPDX-License-Identifier: BSD-2-Clause */
/* LINT0, to which a PC wires INTR of its 8259s: Intel SDM vol. 3, "Local Vector Table". */
#include "hv/guest/vcpu.h"
#include "hv/vdev/lapic_internal.h"

static bool takes_extint(const struct lapic *lapic)
{
    uint32_t lvt = lapic_load(&lapic->lvt[LVT_LINT0]);

    return lapic_load(&lapic->mode) == LAPIC_MODE_OFF ||
           (!(lvt & LVT_MASKED) && FIELD_GET(LVT_DELIVERY, lvt) == LAPIC_EXTINT);
}

bool lapic_extint_pending(const struct lapic *lapic)
{
    uint32_t interrupts = atomic_load_explicit(&lapic->vcpu->interrupts, memory_order_acquire);

    return (interrupts & VCPU_INTERRUPT_INTR) && takes_extint(lapic);
}

void lapic_set_intr(struct vcpu *vcpu, bool level)
{
    struct lapic *lapic = vcpu->lapic;
    uint32_t lvt = lapic_load(&lapic->lvt[LVT_LINT0]);

    if (!level) {
        atomic_fetch_and(&vcpu->interrupts, ~(uint32_t)VCPU_INTERRUPT_INTR);
        return;
    }
    atomic_fetch_or(&vcpu->interrupts, VCPU_INTERRUPT_INTR);
    if (takes_extint(lapic)) {
        vcpu_notify(vcpu);
    } else if (!(lvt & LVT_MASKED) && FIELD_GET(LVT_DELIVERY, lvt) == LAPIC_NMI) {
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
    } else if (FIELD_GET(LVT_DELIVERY, lvt) == LAPIC_FIXED) {
        lapic_fire_lvt(lapic, LVT_LINT0);
    }
}

void lapic_virtual_wire(struct lapic *lapic)
{
    lapic_store(&lapic->svr, SVR_ENABLE | 0xff);
    lapic_store(&lapic->lvt[LVT_LINT0], LVT_LEVEL | FIELD_PREP(LVT_DELIVERY, LAPIC_EXTINT));
    lapic_store(&lapic->lvt[LVT_LINT1], LVT_LEVEL | FIELD_PREP(LVT_DELIVERY, LAPIC_NMI));
}
