/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit reasons into struct vcpu_exit, and what this backend has to do itself into struct vmx_due.
 * Changes nothing, neither of the guest nor of the CPU; reads only the fields that a reason needs.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/vmx/vcpu.h"

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

/* Something is due, and nothing of it is set yet. */
static void begin_due(struct vmx_due *due)
{
    due->any = true;
    due->kind = VMX_DUE_NOTHING;
    due->nmi_unblocked = false;
    due->interrupted.valid = false;
}

/* An event whose delivery the exit has cut short (IDT-vectoring information), or an IRET that has
 * ended the blocking of NMIs. */
static void find_interrupted(struct vmx_due *due, bool nmi_unblocked)
{
    uint32_t word = vmcs_read32(VMCS_VECTORING);

    if (!(word & INTERRUPTION_VALID) && !nmi_unblocked) {
        return;
    }
    begin_due(due);
    due->nmi_unblocked = nmi_unblocked;
    if (!(word & INTERRUPTION_VALID)) {
        return;
    }
    due->interrupted = (struct guest_event){
        .valid = true,
        .vector = (uint8_t)FIELD_GET(INTERRUPTION_VECTOR, word),
        .type = (uint8_t)FIELD_GET(INTERRUPTION_TYPE, word),
        .has_error_code = (word & INTERRUPTION_ERROR_VALID) != 0,
    };
    if (due->interrupted.has_error_code) {
        due->interrupted.error_code = vmcs_read32(VMCS_VECTORING_ERROR_CODE);
    }
    if (event_is_software(due->interrupted.type)) {
        due->interrupted.length = (uint8_t)vmcs_read32(VMCS_EXIT_INSTRUCTION_LENGTH);
    }
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
 * The guest writes bits that we keep to ourselves.  It shall read what it wrote, so the shadow
 * takes them, and the CPU executes the instruction again, with all of its checks and effects.
 * False: it has to raise #GP.
 */
static bool find_shadow(unsigned number, uint64_t value, struct vmx_due *due)
{
    if (number == 0 && (value & (CR0_NW | CR0_CD)) != CR0_NW) {
        begin_due(due);
        due->kind = VMX_DUE_CR0_SHADOW;
        due->value = value & vmx_cr0_mask();
        return true;
    }
    if (number == 4 && !(value & ~guest_policy()->cr4_allowed)) {
        begin_due(due);
        due->kind = VMX_DUE_CR4_SHADOW;
        due->value = value & vmx_cr4_mask();
        return true;
    }
    return false;
}

static void decode_cr(const struct vcpu *vcpu, struct vcpu_exit *exit, struct vmx_due *due)
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
    if (exit->cr.write && find_shadow(exit->cr.number, operand(vcpu, exit->cr.gpr), due)) {
        exit->kind = EXIT_KIND_RETRY;
    }
}

/* ---- exceptions ---- */

/* ICEBP's #DB comes from an instruction, and its handler returns behind that. */
static void decode_debug(const struct vcpu *vcpu, unsigned type, struct vcpu_exit *exit,
                         struct vmx_due *due)
{
    uint64_t causes = qualification(exit) & (DR6_BREAKPOINTS | DR6_ACCESS | DR6_STEP);

    if (vmx_of(vcpu)->step_done && (causes & DR6_STEP)) {
        causes &= ~DR6_STEP; /* that one is ours */
        if (causes == 0) {
            return;
        }
    }
    due->kind = VMX_DUE_DEBUG;
    due->value = causes;
    due->event = event_exception(VECTOR_DB);
    if (type == EVENT_PRIVILEGED_EXCEPTION) {
        due->event.type = EVENT_PRIVILEGED_EXCEPTION;
        due->event.length = (uint8_t)vmcs_read32(VMCS_EXIT_INSTRUCTION_LENGTH);
    }
}

/* They go on to the guest: #AC always exits, others in a step of ours. */
static void decode_fault(uint32_t word, struct vcpu_exit *exit, struct vmx_due *due)
{
    due->kind = VMX_DUE_EXCEPTION;
    due->event = event_exception((uint8_t)FIELD_GET(INTERRUPTION_VECTOR, word));
    if (word & INTERRUPTION_ERROR_VALID) {
        due->event = event_fault(due->event.vector, vmcs_read32(VMCS_EXIT_INTERRUPTION_ERROR));
    }
    if (due->event.vector == VECTOR_PF) {
        due->value = qualification(exit);
    }
}

static void decode_exception(const struct vcpu *vcpu, struct vcpu_exit *exit, struct vmx_due *due)
{
    uint32_t word = vmcs_read32(VMCS_EXIT_INTERRUPTION);
    unsigned vector = FIELD_GET(INTERRUPTION_VECTOR, word);

    exit->kind = EXIT_KIND_RETRY;
    exit->raw[2] = word;
    begin_due(due);
    find_interrupted(due, vector != VECTOR_DF && (word & INTERRUPTION_NMI_UNBLOCKED));
    if (FIELD_GET(INTERRUPTION_TYPE, word) == EVENT_NMI) {
        due->kind = VMX_DUE_HOST_NMI;
    } else if (vector == VECTOR_DB) {
        decode_debug(vcpu, FIELD_GET(INTERRUPTION_TYPE, word), exit, due);
    } else if (vector == VECTOR_MC) {
        due->kind = VMX_DUE_MACHINE_CHECK;
    } else {
        decode_fault(word, exit, due);
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

static void decode_memory(struct vcpu_exit *exit, struct vmx_due *due)
{
    uint64_t word = qualification(exit);

    exit->kind = EXIT_KIND_MEMORY;
    exit->memory.address = gpa(vmcs_read64(VMCS_GUEST_PHYSICAL_ADDRESS));
    exit->memory.access = (unsigned)FIELD_GET(QUALIFICATION_EPT_ACCESS, word);
    find_interrupted(due, (word & INTERRUPTION_NMI_UNBLOCKED) != 0);
}

static void decode_task_switch(struct vcpu_exit *exit, struct vmx_due *due)
{
    uint64_t word = qualification(exit);

    instruction(exit, EXIT_KIND_TASK_SWITCH);
    exit->task.selector = (uint16_t)FIELD_GET(QUALIFICATION_TASK_SELECTOR, word);
    exit->task.reason = (uint8_t)FIELD_GET(QUALIFICATION_TASK_REASON, word);
    find_interrupted(due, false);
}

/* Stops the guest: everything that the dump shows. */
static void decode_unknown(struct vcpu_exit *exit, struct vmx_due *due)
{
    exit->kind = EXIT_KIND_UNKNOWN;
    qualification(exit);
    exit->raw[2] = vmcs_read64(VMCS_GUEST_PHYSICAL_ADDRESS);
    exit->raw[3] = vmcs_read32(VMCS_VECTORING);
    find_interrupted(due, false);
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

static void decode_rare(uint32_t reason, struct vcpu_exit *exit, struct vmx_due *due)
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
        decode_task_switch(exit, due);
        break;
    case VMX_EXIT_INVD:
    case VMX_EXIT_WBINVD:
        instruction(exit, EXIT_KIND_WBINVD);
        break;
    case VMX_EXIT_RDPMC: /* no counters: SDM Vol. 2B "RDPMC", #GP */
        begin_due(due);
        due->kind = VMX_DUE_EXCEPTION;
        due->event = event_fault(VECTOR_GP, 0);
        exit->kind = EXIT_KIND_RETRY;
        break;
    case VMX_EXIT_XSETBV:
        instruction(exit, EXIT_KIND_XSETBV);
        break;
    default:
        if (is_undefined(reason)) {
            instruction(exit, EXIT_KIND_UNDEFINED);
        } else {
            decode_unknown(exit, due);
        }
        break;
    }
}

void vmx_exit_decode(const struct vcpu *vcpu, uint32_t reason, struct vcpu_exit *exit,
                     struct vmx_due *due)
{
    due->any = false;
    exit->kind = EXIT_KIND_UNKNOWN;
    exit->length = 0;
    exit->raw[0] = reason;
    switch (reason) { /* with EXIT_REASON_ENTRY_FAILED: the default */
    case VMX_EXIT_EXCEPTION:
        decode_exception(vcpu, exit, due);
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
        decode_cr(vcpu, exit, due);
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
        decode_memory(exit, due);
        break;
    default:
        decode_rare(reason, exit, due);
        break;
    }
}
