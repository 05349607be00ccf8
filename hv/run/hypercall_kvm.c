/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/run/hypercall_kvm.h"

#include "base/bits.h"
#include "hv/guest/vm.h"
#include "hv/machine.h"
#include "hv/run/sched.h"
#include "hv/vdev/irq/vlapic.h"

#define KVM_HC_KICK_CPU    5
#define KVM_HC_SEND_IPI    10
#define KVM_HC_SCHED_YIELD 11

#define KVM_EPERM  1
#define KVM_EINVAL 22
#define KVM_ENOSYS 1000

/* A call with its registers as wide as the guest's code is. */
struct call {
    uint64_t number;
    uint64_t argument[4];
    bool wide;
};

static struct call decode(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->regs.gpr;
    struct call call = {.wide = machine_backend()->runs_64bit(vcpu)};
    uint64_t mask = call.wide ? UINT64_MAX : UINT32_MAX;

    call.number = gpr[GPR_RAX] & mask;
    call.argument[0] = gpr[GPR_RBX] & mask;
    call.argument[1] = gpr[GPR_RCX] & mask;
    call.argument[2] = gpr[GPR_RDX] & mask;
    call.argument[3] = gpr[GPR_RSI] & mask;
    return call;
}

static struct vcpu *find(const struct vm *vm, uint64_t apic_id)
{
    return apic_id < vm->run.vcpu_count ? vm->run.vcpu[apic_id] : NULL;
}

/* A set of APIC ids in two registers, the lowest of them, and an ICR: how many have taken it. */
static int64_t send_ipi(struct vm *vm, const struct call *call)
{
    uint64_t first = call->argument[2] & UINT32_MAX;
    uint32_t icr = (uint32_t)call->argument[3];
    unsigned taken;

    if (icr & (ICR_LOGICAL | ICR_SHORTHAND)) {
        return -KVM_EINVAL;
    }
    taken = vlapic_send_set(vm, first, call->argument[0], icr);
    taken += vlapic_send_set(vm, first + (call->wide ? 64 : 32), call->argument[1], icr);
    return taken;
}

/* Ends the HLT of the vCPU that the second argument names, or its next one. */
static int64_t kick(struct vm *vm, const struct call *call)
{
    struct vcpu *target = find(vm, call->argument[1]);

    if (target != NULL) {
        vcpu_request(target, VCPU_REQUEST_KICK);
    }
    return 0;
}

/* The caller has sent an interrupt to that vCPU: gives it the CPU, if it has none. */
static enum exit_result yield(struct vcpu *vcpu, const struct call *call)
{
    struct vcpu *target = find(vcpu->vm, call->argument[0]);

    return target != NULL && target != vcpu && sched_prefer(target) ? EXIT_YIELD : EXIT_RESUME;
}

enum exit_result hypercall_kvm(struct vcpu *vcpu)
{
    struct call call = decode(vcpu);
    enum exit_result then = EXIT_RESUME;
    int64_t result = 0;

    if (machine_backend()->privilege(vcpu) != 0) {
        result = -KVM_EPERM;
    } else if (call.number == KVM_HC_KICK_CPU) {
        result = kick(vcpu->vm, &call);
    } else if (call.number == KVM_HC_SEND_IPI) {
        result = send_ipi(vcpu->vm, &call);
    } else if (call.number == KVM_HC_SCHED_YIELD) {
        then = yield(vcpu, &call);
    } else {
        result = -KVM_ENOSYS;
    }
    vcpu->regs.gpr[GPR_RAX] = call.wide ? (uint64_t)result : (uint32_t)result;
    return then;
}
