/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/vcpu_request.h"

#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmasync.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vdev/kvmsteal.h"

void vcpu_notify(struct vcpu *vcpu)
{
    vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
    uint32_t before;

    if (requests & VCPU_REQUEST_NMI) {
        atomic_fetch_add(&vcpu->nmis_sent, 1);
    }
    before = atomic_fetch_or(&vcpu->requests, requests);
    if ((before & requests) == requests) {
        return; /* whoever set it has notified, and it has not been taken yet */
    }
    if (requests & VCPU_REQUEST_STOP) {
        /* A parked vCPU has to come and stop itself: it need not wait for its page any more. */
        waiter_stop(&vcpu->waiter);
        sched_unpark(vcpu);
    }
    sched_notify(vcpu);
}

/* INIT: reset state, then wait for SIPI; the boot vCPU starts at the reset vector. */
static void take_init(struct vcpu *vcpu)
{
    machine_backend()->vcpu_reset(vcpu);
    vlapic_reset(vcpu->vlapic, true);
    kvmasync_release(vcpu->async);
    kvmsteal_release(vcpu);
    vcpu->event = (struct guest_event){0};
    vcpu->nmis = 0;
    vcpu->kicked = false;
    vcpu->activity = vcpu->index == 0 ? ACTIVITY_ACTIVE : ACTIVITY_WAIT_SIPI;
}

/* SIPI: real mode at vector << 12. */
static void take_sipi(struct vcpu *vcpu)
{
    struct guest_state state;

    if (vcpu->activity != ACTIVITY_WAIT_SIPI) {
        return;
    }
    machine_backend()->get_state(vcpu, &state);
    state.segment[SEG_CS].selector = (uint16_t)(vcpu->sipi_vector << 8);
    state.segment[SEG_CS].base = (uint64_t)vcpu->sipi_vector << 12;
    machine_backend()->set_state(vcpu, &state);
    vcpu->regs.rip = 0;
    vcpu->activity = ACTIVITY_ACTIVE;
}

/* One is handled, one more is remembered, the others are lost: SDM Vol. 3A 6.7.1 "Handling Multiple
 * NMIs".  That also holds before the first one could be delivered. */
static void take_nmis(struct vcpu *vcpu)
{
    bool handles =
        machine_backend()->nmi_masked(vcpu) || (vcpu->event.valid && vcpu->event.type == EVENT_NMI);
    uint32_t sent = atomic_exchange(&vcpu->nmis_sent, 0);

    vcpu->nmis = (uint8_t)MIN(vcpu->nmis + MIN(sent, 2u), handles ? 1u : 2u);
}

bool vcpu_take_requests(struct vcpu *vcpu)
{
    uint32_t taken = atomic_exchange(&vcpu->requests, 0);

    if (taken & VCPU_REQUEST_INIT) {
        take_init(vcpu);
    }
    if (taken & VCPU_REQUEST_SIPI) {
        take_sipi(vcpu);
    }
    if (taken & VCPU_REQUEST_NMI) {
        take_nmis(vcpu);
    }
    if (taken & VCPU_REQUEST_CLOCK) {
        kvmclock_refresh(vcpu);
    }
    if (taken & VCPU_REQUEST_ASYNC) {
        kvmasync_tell(vcpu->async);
    }
    if (taken & VCPU_REQUEST_KICK) {
        vcpu->kicked = true;
    }
    return (taken & VCPU_REQUEST_STOP) != 0;
}
