/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/vcpu.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/log.h"
#include "hv/config/config.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/vdev/irq/vlapic.h"
#include "hv/vdev/kvmasync.h"
#include "hv/vdev/kvmsteal.h"

#define VCPU_IDS (CONFIG_VMS_MAX * VM_VCPUS_MAX) /* all that can be: there is always one */
_Static_assert(VCPU_IDS < 65536 && VCPU_IDS % 64 == 0, "a VPID has 16 bits, and 0 is the host's");

static _Atomic uint64_t id_used[VCPU_IDS / 64];

static void waiter_wake(struct mm_waiter *waiter)
{
    sched_unpark(CONTAINER_OF(waiter, struct vcpu, waiter));
}

/* The lowest that is free.  Another CPU may take it first, and then there is another one. */
static unsigned id_take(void)
{
    for (unsigned word = 0;; word = (word + 1) % ARRAY_SIZE(id_used)) {
        uint64_t used = atomic_load(&id_used[word]);

        while (used != UINT64_MAX) {
            unsigned bit = (unsigned)__builtin_ctzll(~used);

            if (atomic_compare_exchange_weak(&id_used[word], &used, used | BIT(bit))) {
                return word * 64 + bit;
            }
        }
    }
}

static void id_give(unsigned id)
{
    atomic_fetch_and(&id_used[id / 64], ~BIT(id % 64));
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index)
{
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));

    if (vcpu == NULL) {
        return NULL;
    }
    vcpu->id = id_take();
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
        vcpu->vlapic = vlapic_create(vcpu);
        vcpu->async = kvmasync_create(vcpu);
        if (vcpu->vlapic != NULL && vcpu->async != NULL) {
            machine_backend()->vcpu_reset(vcpu);
            return vcpu;
        }
        kvmasync_destroy(vcpu->async);
        vlapic_destroy(vcpu->vlapic);
        machine_backend()->vcpu_destroy(vcpu);
    }
    id_give(vcpu->id);
    free(vcpu);
    return NULL;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    ASSERT(vcpu->state == VCPU_STOPPED);
    waiter_cancel(&vcpu->waiter);
    kvmasync_destroy(vcpu->async);
    kvmsteal_release(vcpu);
    vlapic_destroy(vcpu->vlapic);
    machine_backend()->vcpu_destroy(vcpu);
    id_give(vcpu->id);
    free(vcpu);
}
