/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit reasons into struct vcpu_exit.  Reads only the fields that a reason needs. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/idt.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/vmx/vcpu.h"

/* Qualification of #DB: SDM Vol. 3C table 27-1 "Exit Qualification for Debug Exceptions". */
#define DEBUG_BREAKPOINTS BITS(3, 0)
#define DEBUG_ACCESS      BIT(13)
#define DEBUG_STEP        BIT(14)
#define DR7_GD            BIT(13)

#define PENDING_STEP BIT(14)

static void instruction(struct vcpu_exit *exit, enum exit_kind kind)
{
    exit->kind = kind;
    exit->length = vmcs_read32(VMCS_EXIT_INSTRUCTION_LENGTH);
}

static uint64_t qualification(struct vcpu_exit *exit)
{
    exit->raw[1] = vmcs_read(VMCS_EXIT_QUALIFICATION);
    return exit->raw[1];
}

/* ---- control registers ---- */

/* As wide as the operand of MOV CR is in the guest's mode. */
static uint64_t operand(const struct vcpu *vcpu, unsigned gpr)
{
    bool long_mode = (vmcs_read64(VMCS_GUEST_EFER) & EFER_LMA) != 0;
    uint32_t access =
        (uint32_t)vmcs_read_field(VMCS_SEGMENT(VMCS_GUEST_ES_ACCESS, (uint32_t)SEG_CS));
    uint64_t value = vcpu->regs.gpr[gpr];

    return long_mode && (access & SEGMENT_LONG) ? value : value & 0xffffffff;
}

/*
 * A write that differs from the shadow in bits that we keep to ourselves: the guest shall read what
 * it wrote, so the shadow takes them, and the instruction is executed again, this time by the CPU
 * with all of its checks and effects.  False: it has to raise #GP.
 */
static bool accept_write(unsigned number, uint64_t value)
{
    if (number == 0 && (value & (CR0_NW | CR0_CD)) != CR0_NW) {
        vmcs_write(VMCS_CR0_SHADOW, value & vmx_cr0_mask());
        return true;
    }
    if (number == 4 && !(value & ~guest_policy()->cr4_allowed)) {
        vmcs_write(VMCS_CR4_SHADOW, value & vmx_cr4_mask());
        return true;
    }
    return false;
}

static void decode_cr(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    uint64_t word = qualification(exit);
    unsigned type = FIELD_GET(QUALIFICATION_CR_TYPE, word);

    instruction(exit, EXIT_KIND_CR);
    exit->cr.number = FIELD_GET(QUALIFICATION_CR_NUMBER, word);
    exit->cr.gpr = FIELD_GET(QUALIFICATION_CR_GPR, word);
    exit->cr.write = type == CR_TYPE_WRITE;
    exit->cr.clts = type == CR_TYPE_CLTS;
    exit->cr.lmsw = type == CR_TYPE_LMSW;
    exit->cr.lmsw_source = (uint16_t)FIELD_GET(QUALIFICATION_CR_LMSW, word);
    if (exit->cr.write && accept_write(exit->cr.number, operand(vcpu, exit->cr.gpr))) {
        exit->kind = EXIT_KIND_RETRY;
    }
}

/* ---- exceptions ---- */

/* What delivering it would have done to DR6, DR7 and the pending debug exceptions.  ICEBP's comes
 * from an instruction, behind which its handler returns. */
static void debug_exception(struct vcpu *vcpu, unsigned type, struct vcpu_exit *exit)
{
    uint64_t causes = qualification(exit) & (DEBUG_BREAKPOINTS | DEBUG_ACCESS | DEBUG_STEP);
    uint32_t shadow = vmcs_read32(VMCS_GUEST_INTERRUPTIBILITY) & (SHADOW_STI | SHADOW_MOV_SS);

    exit->kind = EXIT_KIND_RETRY;
    if (vmx_of(vcpu)->step_done && (causes & DEBUG_STEP)) {
        causes &= ~DEBUG_STEP; /* that one is ours */
        if (causes == 0) {
            return;
        }
    }
    write_dr6((read_dr6() & ~DEBUG_BREAKPOINTS) | causes);
    vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~DR7_GD);
    if (shadow && (vcpu->regs.rflags & RFLAGS_TF)) {
        /* SDM Vol. 3C 26.3.1.5 "Checks on Guest Non-Register State" */
        vmcs_write(VMCS_GUEST_PENDING_DEBUG, vmcs_read(VMCS_GUEST_PENDING_DEBUG) | PENDING_STEP);
    }
    if (type == EVENT_PRIVILEGED_EXCEPTION) {
        vcpu->event = (struct guest_event){
            .valid = true,
            .vector = VECTOR_DB,
            .type = EVENT_PRIVILEGED_EXCEPTION,
            .length = (uint8_t)vmcs_read32(VMCS_EXIT_INSTRUCTION_LENGTH),
        };
    } else {
        vcpu_inject_exception(vcpu, VECTOR_DB);
    }
}

/* They go on to the guest: #AC always exits, others in a step of ours. */
static void other_exception(struct vcpu *vcpu, uint32_t word, struct vcpu_exit *exit)
{
    uint8_t vector = FIELD_GET(INTERRUPTION_VECTOR, word);

    if (vector == VECTOR_PF) {
        vcpu->regs.cr2 = qualification(exit);
    }
    if (word & INTERRUPTION_ERROR_VALID) {
        vcpu_inject_fault(vcpu, vector, vmcs_read32(VMCS_EXIT_INTERRUPTION_ERROR));
    } else {
        vcpu_inject_exception(vcpu, vector);
    }
    exit->kind = EXIT_KIND_RETRY;
}

static void decode_exception(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    uint32_t word = vmcs_read32(VMCS_EXIT_INTERRUPTION);
    unsigned vector = FIELD_GET(INTERRUPTION_VECTOR, word);

    exit->raw[2] = word;
    vmx_event_collect(vcpu, vector != VECTOR_DF && (word & INTERRUPTION_NMI_UNBLOCKED));
    if (FIELD_GET(INTERRUPTION_TYPE, word) == EVENT_NMI) {
        interrupt_take_nmi();
        exit->kind = EXIT_KIND_RETRY;
    } else if (vector == VECTOR_DB) {
        debug_exception(vcpu, FIELD_GET(INTERRUPTION_TYPE, word), exit);
    } else if (vector == VECTOR_MC) {
        machine_check_exit();
    } else {
        other_exception(vcpu, word, exit);
    }
}

/* ---- the rest ---- */

static void decode_io(struct vcpu_exit *exit)
{
    uint64_t word = qualification(exit);

    instruction(exit, EXIT_KIND_IO);
    exit->io.port = (uint16_t)FIELD_GET(QUALIFICATION_IO_PORT, word);
    exit->io.size = (uint8_t)(FIELD_GET(QUALIFICATION_IO_SIZE, word) + 1);
    exit->io.in = (word & QUALIFICATION_IO_IN) != 0;
    exit->io.string = (word & QUALIFICATION_IO_STRING) != 0;
}

static void decode_memory(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    uint64_t word = qualification(exit);

    exit->kind = EXIT_KIND_MEMORY;
    exit->memory.address = gpa(vmcs_read64(VMCS_GUEST_PHYSICAL_ADDRESS));
    exit->memory.access = (unsigned)FIELD_GET(QUALIFICATION_EPT_ACCESS, word);
    vmx_event_collect(vcpu, (word & INTERRUPTION_NMI_UNBLOCKED) != 0);
}

static void decode_task_switch(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    uint64_t word = qualification(exit);

    instruction(exit, EXIT_KIND_TASK_SWITCH);
    exit->task.selector = (uint16_t)FIELD_GET(QUALIFICATION_TASK_SELECTOR, word);
    exit->task.reason = (uint8_t)FIELD_GET(QUALIFICATION_TASK_REASON, word);
    vmx_event_collect(vcpu, false);
}

/* Stops the guest: everything that the dump shows. */
static void decode_unknown(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    exit->kind = EXIT_KIND_UNKNOWN;
    qualification(exit);
    exit->raw[2] = vmcs_read64(VMCS_GUEST_PHYSICAL_ADDRESS);
    exit->raw[3] = vmcs_read32(VMCS_VECTORING);
    vmx_event_collect(vcpu, false);
}

/* Instructions that this guest's CPU does not have. */
static bool is_undefined(uint32_t reason)
{
    switch (reason) {
    case VMX_EXIT_GETSEC:
    case VMX_EXIT_RSM:
    case VMX_EXIT_VMCLEAR ... VMX_EXIT_VMXON:
    case VMX_EXIT_MWAIT:
    case VMX_EXIT_MONITOR:
    case VMX_EXIT_INVEPT:
    case VMX_EXIT_INVVPID:
    case VMX_EXIT_INVPCID:
    case VMX_EXIT_VMFUNC:
    case VMX_EXIT_ENCLS:
    case VMX_EXIT_XSAVES:
    case VMX_EXIT_XRSTORS:
    case VMX_EXIT_UMWAIT:
    case VMX_EXIT_TPAUSE:
        return true;
    default:
        return false;
    }
}

static void decode_rare(struct vcpu *vcpu, uint32_t reason, struct vcpu_exit *exit)
{
    switch (reason) {
    case VMX_EXIT_TRIPLE_FAULT:
        exit->kind = EXIT_KIND_TRIPLE_FAULT;
        break;
    case VMX_EXIT_INIT: /* the host has no use for them */
    case VMX_EXIT_SIPI:
        exit->kind = EXIT_KIND_RETRY;
        break;
    case VMX_EXIT_TASK_SWITCH:
        decode_task_switch(vcpu, exit);
        break;
    case VMX_EXIT_INVD:
    case VMX_EXIT_WBINVD:
        instruction(exit, EXIT_KIND_WBINVD);
        break;
    case VMX_EXIT_RDPMC: /* no counters: SDM Vol. 2B "RDPMC", #GP */
        vcpu_inject_fault(vcpu, VECTOR_GP, 0);
        exit->kind = EXIT_KIND_RETRY;
        break;
    case VMX_EXIT_XSETBV:
        instruction(exit, EXIT_KIND_XSETBV);
        break;
    default:
        if (is_undefined(reason)) {
            instruction(exit, EXIT_KIND_UNDEFINED);
        } else {
            decode_unknown(vcpu, exit);
        }
        break;
    }
}

void vmx_exit_decode(struct vcpu *vcpu, uint32_t reason, struct vcpu_exit *exit)
{
    exit->kind = EXIT_KIND_UNKNOWN;
    exit->length = 0;
    exit->raw[0] = reason;
    switch (reason) { /* with EXIT_REASON_ENTRY_FAILED: the default */
    case VMX_EXIT_EXCEPTION:
        decode_exception(vcpu, exit);
        break;
    case VMX_EXIT_INTERRUPT:
        exit->kind = EXIT_KIND_INTERRUPT;
        break;
    case VMX_EXIT_PREEMPTION_TIMER:
        exit->kind = EXIT_KIND_GUARD;
        break;
    case VMX_EXIT_INTERRUPT_WINDOW:
    case VMX_EXIT_NMI_WINDOW:
        exit->kind = EXIT_KIND_WINDOW;
        break;
    case VMX_EXIT_CPUID:
        instruction(exit, EXIT_KIND_CPUID);
        break;
    case VMX_EXIT_HLT:
        instruction(exit, EXIT_KIND_HLT);
        break;
    case VMX_EXIT_VMCALL:
        instruction(exit, EXIT_KIND_HYPERCALL);
        break;
    case VMX_EXIT_CR:
        decode_cr(vcpu, exit);
        break;
    case VMX_EXIT_IO:
        decode_io(exit);
        break;
    case VMX_EXIT_RDMSR:
        instruction(exit, EXIT_KIND_RDMSR);
        break;
    case VMX_EXIT_WRMSR:
        instruction(exit, EXIT_KIND_WRMSR);
        break;
    case VMX_EXIT_PAUSE:
        instruction(exit, EXIT_KIND_PAUSE);
        exit->pause.in_loop = (vmx_features()->secondary & SECONDARY_PAUSE_LOOP) != 0;
        break;
    case VMX_EXIT_EPT_VIOLATION:
        decode_memory(vcpu, exit);
        break;
    default:
        decode_rare(vcpu, reason, exit);
        break;
    }
}
