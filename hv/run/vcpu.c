/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/guest/vcpu.h"

#include <stdlib.h>

#include "base/log.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/run/vcpu_request.h"
#include "hv/vdev/kvmclock.h"
#include "hv/vdev/lapic.h"

#define VCPU_IDS 1024

static _Atomic uint64_t id_used[VCPU_IDS / 64];

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
        space_stop_waiting(&vcpu->waiter);
        sched_unpark(vcpu);
    }
    sched_notify(vcpu);
}

static void waiter_wake(struct mm_waiter *waiter)
{
    sched_unpark(CONTAINER_OF(waiter, struct vcpu, waiter));
}

/* INIT: reset state, then wait for SIPI; the boot vCPU starts at the reset vector. */
static void take_init(struct vcpu *vcpu)
{
    machine_backend()->vcpu_reset(vcpu);
    lapic_reset(vcpu->lapic, true);
    vcpu->event = (struct guest_event){0};
    vcpu->nmis = 0;
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
    return (taken & VCPU_REQUEST_STOP) != 0;
}

static bool id_take(unsigned *id)
{
    for (unsigned i = 0; i < VCPU_IDS; i++) {
        if (!(atomic_fetch_or(&id_used[i / 64], BIT(i % 64)) & BIT(i % 64))) {
            *id = i;
            return true;
        }
    }
    return false;
}

static void id_give(unsigned id)
{
    atomic_fetch_and(&id_used[id / 64], ~BIT(id % 64));
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index)
{
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));

    if (vcpu == NULL || !id_take(&vcpu->id)) {
        free(vcpu);
        return NULL;
    }
    vcpu->vm = vm;
    vcpu->space = vm->run.space;
    vcpu->index = index;
    vcpu->tlb_cpu = UINT32_MAX;
    vcpu->state = VCPU_STOPPED;
    vcpu->activity = index == 0 ? ACTIVITY_ACTIVE : ACTIVITY_WAIT_SIPI;
    vcpu->waiter.wake = waiter_wake;
    list_init(&vcpu->waiter.link);
    sched_add_vcpu(vcpu);
    if (machine_backend()->vcpu_create(vcpu)) {
        vcpu->lapic = lapic_create(vcpu);
        if (vcpu->lapic != NULL) {
            machine_backend()->vcpu_reset(vcpu);
            return vcpu;
        }
        machine_backend()->vcpu_destroy(vcpu);
    }
    id_give(vcpu->id);
    free(vcpu);
    return NULL;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    ASSERT(vcpu->state == VCPU_STOPPED);
    space_cancel_wait(&vcpu->waiter);
    lapic_destroy(vcpu->lapic);
    machine_backend()->vcpu_destroy(vcpu);
    id_give(vcpu->id);
    free(vcpu);
}
