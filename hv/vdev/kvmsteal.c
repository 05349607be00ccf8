/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/kvmsteal.h"

#include <stdatomic.h>

#include "hv/arch.h"
#include "hv/guest/vcpu.h"
#include "mm/env.h"

#define STEAL_ENABLE   BIT(0)
#define STEAL_RESERVED 0x3eull
#define ADDRESS_LIMIT  BIT(52)

/* struct kvm_steal_time */
struct kvm_steal_time {
    uint64_t ns;
    uint32_t version; /* odd while `ns` is being changed */
    uint32_t flags;
    _Atomic uint8_t preempted;
    uint8_t reserved_17[47];
};
_Static_assert(sizeof(struct kvm_steal_time) == 64, "KVM ABI");
_Static_assert(offsetof(struct kvm_steal_time, preempted) == 16, "KVM ABI");

#define PREEMPTED 0x01 /* KVM_VCPU_PREEMPTED */
#define FLUSH     0x02 /* KVM_VCPU_FLUSH_TLB; the guest sets it beside PREEMPTED */

static uint64_t stolen_ns(const struct vcpu *vcpu)
{
    return vcpu->wait_ns + vcpu_stall_ns(vcpu, arch_clock_ns());
}

static gfn_t page_of(const struct vcpu *vcpu)
{
    return gpa_to_gfn(gpa(vcpu->msr_kvm_steal_time));
}

void kvmsteal_release(struct vcpu *vcpu)
{
    if (vcpu->steal_time != NULL) {
        space_unpin(vcpu->space, page_of(vcpu), true);
        vcpu->steal_time = NULL;
    }
    vcpu->msr_kvm_steal_time = 0;
}

enum mm_result kvmsteal_set(struct vcpu *vcpu, uint64_t value, struct mm_waiter *waiter)
{
    uint64_t address = value & ~STEAL_ENABLE;
    enum mm_result result;
    pfn_t frame;

    if ((value & STEAL_RESERVED) || value >= ADDRESS_LIMIT) {
        return MM_NO_MEMSLOT;
    }
    if (!(value & STEAL_ENABLE)) {
        kvmsteal_release(vcpu);
        vcpu->msr_kvm_steal_time = value;
        return MM_OK;
    }
    result = space_pin(vcpu->space, gpa_to_gfn(gpa(address)), ACCESS_WRITE | SPACE_PIN_LASTING,
                       &frame, waiter);
    if (result != MM_OK) {
        return result;
    }
    kvmsteal_release(vcpu);
    vcpu->msr_kvm_steal_time = value;
    vcpu->steal_time =
        (struct kvm_steal_time *)((char *)mm_frame_ptr(frame) + (address & ~PAGE_MASK));
    vcpu->steal_told_ns = stolen_ns(vcpu);
    kvmsteal_begin_run(vcpu);
    return MM_OK;
}

static void tell(struct vcpu *vcpu, struct kvm_steal_time *time)
{
    uint64_t stolen = stolen_ns(vcpu);

    if (stolen == vcpu->steal_told_ns) {
        return;
    }
    time->version |= 1;
    atomic_thread_fence(memory_order_seq_cst);
    time->ns += stolen - vcpu->steal_told_ns;
    atomic_thread_fence(memory_order_seq_cst);
    time->version++;
    vcpu->steal_told_ns = stolen;
}

void kvmsteal_begin_run(struct vcpu *vcpu)
{
    struct kvm_steal_time *time = vcpu->steal_time;

    if (time == NULL) {
        return;
    }
    if (atomic_exchange(&time->preempted, 0) & FLUSH) {
        vcpu->tlb_cpu = UINT32_MAX; /* "nowhere": tlb_enter() asks for a flush */
    }
    tell(vcpu, time);
}

void kvmsteal_end_run(struct vcpu *vcpu)
{
    if (vcpu->steal_time != NULL) {
        atomic_store(&vcpu->steal_time->preempted, PREEMPTED);
    }
}
