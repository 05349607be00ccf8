/* SPDX-License-Identifier: BSD-2-Clause */
/* Entry to and exit from a guest. */
#include "arch/x86/cpu.h"
#include "arch/x86/vmx/vcpu.h"
#include "base/log.h"
#include "hv/tlb.h"

#define INVEPT_SINGLE 1ull

struct invept_descriptor {
    uint64_t ept_pointer;
    uint64_t reserved_08;
};
_Static_assert(sizeof(struct invept_descriptor) == 16, "SDM Vol. 3C INVEPT");

/* Drops everything that any VPID has cached through these tables; no INVVPID is needed: SDM Vol. 3C
 * 28.3.3.1 "Operations that Invalidate Cached Mappings".  Not inlined: with the descriptor on its
 * stack each entry would pay for a canary. */
static __attribute__((noinline)) void flush(uint64_t ept_pointer)
{
    struct invept_descriptor descriptor = {ept_pointer, 0};
    bool failed;

    __asm__ volatile("invept %1, %2"
                     : "=@ccbe"(failed)
                     : "m"(descriptor), "r"(INVEPT_SINGLE)
                     : "memory");
    if (failed) {
        panic("INVEPT of 0x%lx failed", (unsigned long)ept_pointer);
    }
}

static void put_registers(const struct vcpu *vcpu, const struct vmx_vcpu *vmx)
{
    if (vcpu->regs.rip != vmx->rip) {
        vmcs_write(VMCS_GUEST_RIP, vcpu->regs.rip);
    }
    if (vcpu->regs.gpr[GPR_RSP] != vmx->rsp) {
        vmcs_write(VMCS_GUEST_RSP, vcpu->regs.gpr[GPR_RSP]);
    }
    if (vcpu->regs.rflags != vmx->rflags) {
        vmcs_write(VMCS_GUEST_RFLAGS, vcpu->regs.rflags);
    }
    write_cr2(vcpu->regs.cr2);
}

static void get_registers(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
    vcpu->regs.rip = vmx->rip = vmcs_read(VMCS_GUEST_RIP);
    vcpu->regs.gpr[GPR_RSP] = vmx->rsp = vmcs_read(VMCS_GUEST_RSP);
    vcpu->regs.rflags = vmx->rflags = vmcs_read(VMCS_GUEST_RFLAGS);
    vcpu->regs.cr2 = read_cr2();
}

static void put_controls(const struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
    if (vcpu->pause_exits) {
        vmx->processor_wanted |= vmx_features()->pause;
    }
    if (vmx->processor_wanted != vmx->processor) {
        vmx->processor = vmx->processor_wanted;
        vmcs_write32(VMCS_PROCESSOR_CONTROLS, vmx->processor);
    }
    if (vmx->tsc_offset != vcpu->msr_tsc_offset) {
        vmx->tsc_offset = vcpu->msr_tsc_offset;
        vmcs_write64(VMCS_TSC_OFFSET, vmx->tsc_offset);
    }
    /* Windows are asked for again before every entry that needs them. */
    vmx->processor_wanted = vmx_features()->processor;
}

/* VMfail: the VMCS's controls or host state are wrong, or there is a bug. */
static void entry_refused(struct vcpu_exit *exit)
{
    exit->kind = EXIT_KIND_UNKNOWN;
    exit->length = 0;
    exit->raw[0] = UINT64_MAX;
    exit->raw[1] = vmcs_read32(VMCS_INSTRUCTION_ERROR);
    exit->raw[2] = 0;
    exit->raw[3] = 0;
    log_error("VM entry refused: VM-instruction error %lu", (unsigned long)exit->raw[1]);
}

void vmx_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    uint32_t reason;

    vmx_event_inject(vcpu);
    put_registers(vcpu, vmx);
    put_controls(vcpu, vmx);
    if (tlb_enter(vcpu)) {
        flush(vmx->ept_pointer);
    }
    if (vmx_enter(&vcpu->regs, vmx->launched) != 0) {
        tlb_leave();
        entry_refused(exit);
        return;
    }
    tlb_leave();
    get_registers(vcpu, vmx);
    vmx->step_done = false;
    if (vmx->step) {
        vmx_step_end(vcpu);
    }
    reason = vmcs_read32(VMCS_EXIT_REASON);
    if (!(reason & EXIT_REASON_ENTRY_FAILED)) {
        vmx->launched = true;
    }
    vmx_exit_decode(vcpu, reason, exit, &vmx->due);
    if (vmx->due.any) {
        vmx_perform(vcpu, &vmx->due);
    }
}
