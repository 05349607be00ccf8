/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt messages: who is meant, and delivery.  Intel SDM vol. 3, "Issuing Interprocessor
 * Interrupts" and "Determining IPI Destination". */
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/lapic_internal.h"

#define ICR_VECTOR    BITS(7, 0)
#define ICR_DELIVERY  BITS(10, 8)
#define ICR_LOGICAL   BIT(11)
#define ICR_ASSERT    BIT(14)
#define ICR_LEVEL     BIT(15)
#define ICR_SHORTHAND BITS(19, 18)

enum icr_shorthand {
    SHORTHAND_NONE = 0,
    SHORTHAND_SELF = 1,
    SHORTHAND_ALL = 2,
    SHORTHAND_OTHERS = 3,
};

#define DFR_FLAT_MODEL 0xf

/* Logical destination against an APIC in xAPIC mode: flat or cluster model by its DFR. */
static bool match_logical_xapic(const struct lapic *target, uint32_t destination)
{
    uint32_t ldr = lapic_load(&target->ldr) >> 24;

    if (lapic_load(&target->dfr) >> 28 == DFR_FLAT_MODEL) {
        return (ldr & destination) != 0;
    }
    return ((ldr >> 4) == (destination >> 4) || destination >> 4 == 0xf) &&
           (ldr & destination & 0xf) != 0;
}

/* x2APIC: cluster in bits 31:16, one bit of 16 in the lower half, both from the APIC id. */
static bool match_logical_x2apic(const struct lapic *target, uint32_t destination)
{
    unsigned id = target->vcpu->index;

    return (destination >> 16) == (id >> 4) && (destination & BIT(id & 0xf)) != 0;
}

static bool match(const struct lapic *target, const struct lapic_message *m)
{
    uint32_t everyone = m->x2apic ? 0xffffffff : 0xff;

    if (lapic_load(&target->mode) == LAPIC_MODE_OFF) {
        return false;
    }
    if (m->destination == everyone) {
        return true;
    }
    if (!m->logical) {
        return m->destination == target->vcpu->index;
    }
    if (lapic_load(&target->mode) == LAPIC_MODE_X2APIC) {
        return match_logical_x2apic(target, m->destination);
    }
    return m->destination <= 0xff && match_logical_xapic(target, m->destination);
}

void lapic_deliver(struct vcpu *vcpu, unsigned vector, bool level)
{
    if (vector < 16 || vector > 255) {
        lapic_error(vcpu->lapic, ESR_RECEIVE_ILLEGAL);
        return;
    }
    if (lapic_is_enabled(vcpu->lapic) && lapic_set_irr(vcpu->lapic, vector, level)) {
        vcpu_notify(vcpu);
    }
}

static void deliver(struct vcpu *vcpu, const struct lapic_message *m)
{
    switch (m->delivery) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        lapic_deliver(vcpu, m->vector, m->level);
        break;
    case LAPIC_NMI:
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
        break;
    case LAPIC_INIT:
        vcpu_request(vcpu, VCPU_REQUEST_INIT);
        break;
    case LAPIC_STARTUP:
        __atomic_store_n(&vcpu->sipi_vector, m->vector, __ATOMIC_RELAXED);
        vcpu_request(vcpu, VCPU_REQUEST_SIPI);
        break;
    default:
        break; /* SMI and ExtINT: this machine has neither */
    }
}

/* Lowest priority: the enabled target with the lowest TPR; of equals the first. */
static struct vcpu *choose_lowest(struct vm *vm, const struct lapic_message *m)
{
    struct vcpu *best = NULL;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && match(vcpu->lapic, m) && lapic_is_enabled(vcpu->lapic) &&
            (best == NULL || lapic_load(&vcpu->lapic->tpr) < lapic_load(&best->lapic->tpr))) {
            best = vcpu;
        }
    }
    return best;
}

unsigned lapic_send(struct vm *vm, const struct lapic_message *message)
{
    unsigned targets = 0;

    if (message->delivery == LAPIC_LOWEST) {
        struct vcpu *vcpu = choose_lowest(vm, message);

        if (vcpu != NULL) {
            deliver(vcpu, message);
        }
        return vcpu != NULL;
    }
    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && match(vcpu->lapic, message)) {
            deliver(vcpu, message);
            targets++;
        }
    }
    return targets;
}

/* All, or all but the sender.  Lowest priority with a shorthand behaves as fixed. */
static void send_shorthand(struct lapic *lapic, const struct lapic_message *m, bool self)
{
    struct vm *vm = lapic->vcpu->vm;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && (self || vcpu != lapic->vcpu) &&
            lapic_load(&vcpu->lapic->mode) != LAPIC_MODE_OFF) {
            deliver(vcpu, m);
        }
    }
}

void lapic_send_icr(struct lapic *lapic, uint32_t low, uint32_t destination)
{
    bool x2apic = lapic_load(&lapic->mode) == LAPIC_MODE_X2APIC;
    struct lapic_message m = {
        .destination = destination,
        .vector = FIELD_GET(ICR_VECTOR, low),
        .delivery = FIELD_GET(ICR_DELIVERY, low),
        .logical = (low & ICR_LOGICAL) != 0,
        .level = false, /* an IPI is edge-triggered whatever bit 15 says */
        .x2apic = x2apic,
    };

    if (m.delivery == LAPIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT)) {
        return; /* INIT level de-assert: has no effect on processors since the Pentium 4 */
    }
    if (m.delivery <= LAPIC_LOWEST && m.vector < 16) {
        lapic_error(lapic, ESR_SEND_ILLEGAL);
        return;
    }
    switch (FIELD_GET(ICR_SHORTHAND, low)) {
    case SHORTHAND_NONE:
        (void)lapic_send(lapic->vcpu->vm, &m);
        break;
    case SHORTHAND_SELF:
        if (m.delivery == LAPIC_FIXED) {
            lapic_deliver(lapic->vcpu, m.vector, false);
        }
        break;
    case SHORTHAND_ALL:
        send_shorthand(lapic, &m, true);
        break;
    case SHORTHAND_OTHERS:
        send_shorthand(lapic, &m, false);
        break;
    }
}
