/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt messages: who is meant, and delivery.  Intel SDM vol. 3, "Issuing Interprocessor
 * Interrupts" and "Determining IPI Destination". */
#include "hv/guest/vcpu.h"
#include "hv/guest/vm.h"
#include "hv/vdev/irq/vlapic_internal.h"

#define DFR_FLAT_MODEL 0xf

/* Logical destination against an APIC in xAPIC mode: flat or cluster model by its DFR. */
static bool match_logical_xapic(const struct vlapic *target, uint32_t destination)
{
    uint32_t ldr = vlapic_load(&target->ldr) >> 24;

    if (vlapic_load(&target->dfr) >> 28 == DFR_FLAT_MODEL) {
        return (ldr & destination) != 0;
    }
    return ((ldr >> 4) == (destination >> 4) || destination >> 4 == 0xf) &&
           (ldr & destination & 0xf) != 0;
}

/* x2APIC: cluster in bits 31:16, one bit of 16 in the lower half, both from the APIC id. */
static bool match_logical_x2apic(const struct vlapic *target, uint32_t destination)
{
    unsigned id = target->vcpu->index;

    return (destination >> 16) == (id >> 4) && (destination & BIT(id & 0xf)) != 0;
}

static bool match(const struct vlapic *target, const struct vlapic_message *m)
{
    uint32_t everyone = m->x2apic ? 0xffffffff : 0xff;

    if (vlapic_load(&target->mode) == VLAPIC_MODE_OFF) {
        return false;
    }
    if (m->destination == everyone) {
        return true;
    }
    if (!m->logical) {
        return m->destination == target->vcpu->index;
    }
    if (vlapic_load(&target->mode) == VLAPIC_MODE_X2APIC) {
        return match_logical_x2apic(target, m->destination);
    }
    return m->destination <= 0xff && match_logical_xapic(target, m->destination);
}

/*
 * The vCPUs among which all that the message may mean are: a physical destination is one, and that
 * of a cluster of 16 is too wide for APICs in xAPIC mode.  *end is one past the last.
 */
static unsigned candidates(const struct vm *vm, const struct vlapic_message *m, unsigned *end)
{
    uint32_t everyone = m->x2apic ? 0xffffffff : 0xff;
    uint32_t first = 0, count = vm->run.vcpu_count;

    if (m->destination != everyone && !m->logical) {
        first = m->destination;
        count = 1;
    } else if (m->destination != everyone && m->destination > 0xffff) {
        first = (m->destination >> 16) * 16;
        count = 16;
    }
    first = MIN(first, vm->run.vcpu_count);
    *end = MIN(first + count, vm->run.vcpu_count);
    return first;
}

bool vlapic_deliver(struct vcpu *vcpu, unsigned vector, bool level)
{
    if (vector < 16 || vector > 255) {
        vlapic_error(vcpu->vlapic, ESR_RECEIVE_ILLEGAL);
        return false;
    }
    if (!vlapic_is_enabled(vcpu->vlapic)) {
        return false;
    }
    if (vlapic_set_irr(vcpu->vlapic, vector, level)) {
        vcpu_notify(vcpu);
    }
    return true;
}

/* False: it is not taken. */
static bool deliver(struct vcpu *vcpu, const struct vlapic_message *m)
{
    switch (m->delivery) {
    case DELIVERY_FIXED:
    case DELIVERY_LOWEST:
        return vlapic_deliver(vcpu, m->vector, m->level);
    case DELIVERY_NMI:
        vcpu_request(vcpu, VCPU_REQUEST_NMI);
        return true;
    case DELIVERY_INIT:
        vcpu_request(vcpu, VCPU_REQUEST_INIT);
        return true;
    case DELIVERY_STARTUP:
        __atomic_store_n(&vcpu->sipi_vector, m->vector, __ATOMIC_RELAXED);
        vcpu_request(vcpu, VCPU_REQUEST_SIPI);
        return true;
    default:
        return false; /* SMI and ExtINT: this machine has neither */
    }
}

/* Lowest priority: the enabled target with the lowest TPR; of equals the first. */
static struct vcpu *choose_lowest(struct vm *vm, const struct vlapic_message *m)
{
    struct vcpu *best = NULL;
    unsigned end;

    for (unsigned i = candidates(vm, m, &end); i < end; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && match(vcpu->vlapic, m) && vlapic_is_enabled(vcpu->vlapic) &&
            (best == NULL || vlapic_load(&vcpu->vlapic->tpr) < vlapic_load(&best->vlapic->tpr))) {
            best = vcpu;
        }
    }
    return best;
}

unsigned vlapic_send(struct vm *vm, const struct vlapic_message *message)
{
    unsigned targets = 0, end;

    if (message->delivery == DELIVERY_LOWEST) {
        struct vcpu *vcpu = choose_lowest(vm, message);

        if (vcpu != NULL) {
            (void)deliver(vcpu, message);
        }
        return vcpu != NULL;
    }
    for (unsigned i = candidates(vm, message, &end); i < end; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && match(vcpu->vlapic, message)) {
            (void)deliver(vcpu, message);
            targets++;
        }
    }
    return targets;
}

/* All, or all but the sender.  Lowest priority with a shorthand behaves as fixed. */
static void send_shorthand(struct vlapic *vlapic, const struct vlapic_message *m, bool self)
{
    struct vm *vm = vlapic->vcpu->vm;

    for (unsigned i = 0; i < vm->run.vcpu_count; i++) {
        struct vcpu *vcpu = vm->run.vcpu[i];

        if (vcpu != NULL && (self || vcpu != vlapic->vcpu) &&
            vlapic_load(&vcpu->vlapic->mode) != VLAPIC_MODE_OFF) {
            (void)deliver(vcpu, m);
        }
    }
}

/* What an ICR says, but for who is meant.  False: INIT level de-assert, which has no effect on
 * processors since the Pentium 4. */
static bool decode_icr(uint32_t low, struct vlapic_message *m)
{
    *m = (struct vlapic_message){
        .vector = FIELD_GET(ICR_VECTOR, low),
        .delivery = FIELD_GET(ICR_DELIVERY, low),
        .logical = (low & ICR_LOGICAL) != 0,
        .level = false, /* an IPI is edge-triggered whatever bit 15 says */
    };
    return m->delivery != DELIVERY_INIT || !(low & ICR_LEVEL) || (low & ICR_ASSERT);
}

unsigned vlapic_send_set(struct vm *vm, uint64_t first, uint64_t set, uint32_t icr)
{
    struct vlapic_message m;
    unsigned taken = 0;

    if (!decode_icr(icr, &m)) {
        return 0;
    }
    for (uint64_t id; set != 0; set &= set - 1) {
        id = first + (unsigned)__builtin_ctzll(set);
        if (id < vm->run.vcpu_count && vm->run.vcpu[id] != NULL &&
            vlapic_load(&vm->run.vcpu[id]->vlapic->mode) != VLAPIC_MODE_OFF) {
            taken += deliver(vm->run.vcpu[id], &m);
        }
    }
    return taken;
}

void vlapic_send_icr(struct vlapic *vlapic, uint32_t low, uint32_t destination)
{
    struct vlapic_message m;

    if (!decode_icr(low, &m)) {
        return;
    }
    m.destination = destination;
    m.x2apic = vlapic_load(&vlapic->mode) == VLAPIC_MODE_X2APIC;
    if (m.delivery <= DELIVERY_LOWEST && m.vector < 16) {
        vlapic_error(vlapic, ESR_SEND_ILLEGAL);
        return;
    }
    switch (FIELD_GET(ICR_SHORTHAND, low)) {
    case SHORTHAND_NONE:
        (void)vlapic_send(vlapic->vcpu->vm, &m);
        break;
    case SHORTHAND_SELF:
        if (m.delivery == DELIVERY_FIXED) {
            vlapic_deliver(vlapic->vcpu, m.vector, false);
        }
        break;
    case SHORTHAND_ALL:
        send_shorthand(vlapic, &m, true);
        break;
    case SHORTHAND_OTHERS:
        send_shorthand(vlapic, &m, false);
        break;
    }
}
