/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit codes into struct vcpu_exit, and what this backend has to do itself into struct svm_due.
 * Changes nothing, neither of the guest nor of the CPU.  A value that the hardware does not tell
 * stays 0.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/decode.h"
#include "arch/x86/svm/vcpu.h"

static unsigned length_to(const struct vcpu *vcpu, uint64_t next_rip)
{
    uint64_t length = next_rip - vcpu->regs.rip;

    return length >= 1 && length <= DECODE_MAX_LENGTH ? (unsigned)length : 0;
}

/* An exit because of an instruction. */
static void instruction(const struct vcpu *vcpu, const struct vmcb_control *control,
                        struct vcpu_exit *exit, enum exit_kind kind)
{
    exit->kind = kind;
    exit->length = svm_features()->next_rip ? length_to(vcpu, control->next_rip) : 0;
}

static void decode_cr(const struct vcpu *vcpu, const struct vmcb_control *control,
                      struct vcpu_exit *exit)
{
    bool known = svm_features()->decode_assists && (control->exit_info_1 & MOV_CR_VALID);

    instruction(vcpu, control, exit, EXIT_KIND_CR);
    if (control->exit_code == SVM_EXIT_CR0_SELECTIVE) {
        exit->cr.number = 0; /* by MOV or LMSW */
        known = false;
    } else {
        exit->cr.number = control->exit_code & 0xf;
    }
    exit->cr.write = control->exit_code >= SVM_EXIT_CR_WRITE;
    exit->cr.gpr = known ? FIELD_GET(MOV_CR_GPR, control->exit_info_1) : GPR_NONE;
    exit->cr.clts = false;
    exit->cr.lmsw = false;
    exit->cr.lmsw_source = 0;
}

static void decode_io(const struct vcpu *vcpu, const struct vmcb_control *control,
                      struct vcpu_exit *exit)
{
    uint64_t info = control->exit_info_1;

    exit->kind = EXIT_KIND_IO;
    exit->length = length_to(vcpu, control->exit_info_2); /* here on every CPU */
    exit->io.port = FIELD_GET(IOIO_PORT, info);
    exit->io.size = FIELD_GET(IOIO_SIZE, info) & 7;
    exit->io.in = (info & IOIO_IN) != 0;
    exit->io.string = (info & IOIO_STRING) != 0;
}

/* EXITINFO1 is the error code of #PF: APM 15.25.6 "Nested versus Guest Page Faults, Fault
 * Ordering". */
static void decode_memory(const struct vmcb_control *control, struct vcpu_exit *exit)
{
    uint64_t info = control->exit_info_1;

    if (info & PF_RESERVED) {
        return; /* a table entry of ours is wrong: unknown */
    }
    exit->kind = EXIT_KIND_MEMORY;
    exit->memory.address = gpa(control->exit_info_2);
    exit->memory.access = ACCESS_READ;
    if (info & PF_WRITE) {
        exit->memory.access = ACCESS_WRITE;
    } else if (info & PF_FETCH) {
        exit->memory.access = ACCESS_EXEC;
    }
}

/* They go on to the guest: #DB and #AC always exit, the others while we step one instruction.  The
 * CPU has set DR6 and DR7 already. */
static void decode_exception(const struct svm_vcpu *svm, uint8_t vector, struct vcpu_exit *exit,
                             struct svm_due *due)
{
    const struct vmcb_control *control = &svm->vmcb->control;

    exit->kind = EXIT_KIND_RETRY;
    if (vector == VECTOR_MC) {
        due->kind = SVM_DUE_MACHINE_CHECK;
    } else if (vector == VECTOR_DB && svm->step_done) {
        due->kind = SVM_DUE_STEPPED;
    } else {
        due->kind = SVM_DUE_EXCEPTION;
        due->event = BIT(vector) & VECTORS_WITH_ERROR_CODE
                         ? event_fault(vector, (uint32_t)control->exit_info_1)
                         : event_exception(vector);
        due->cr2 = control->exit_info_2;
    }
}

/* Instructions without operands that matter. */
static enum exit_kind simple_kind(uint64_t code)
{
    switch (code) {
    case SVM_EXIT_CPUID:
        return EXIT_KIND_CPUID;
    case SVM_EXIT_HLT:
        return EXIT_KIND_HLT;
    case SVM_EXIT_PAUSE:
        return EXIT_KIND_PAUSE;
    case SVM_EXIT_INVD:
    case SVM_EXIT_WBINVD:
        return EXIT_KIND_WBINVD;
    case SVM_EXIT_VMMCALL:
        return EXIT_KIND_HYPERCALL;
    case SVM_EXIT_XSETBV:
        return EXIT_KIND_XSETBV;
    case SVM_EXIT_RSM:
    case SVM_EXIT_INVLPGA:
    case SVM_EXIT_VMRUN:
    case SVM_EXIT_VMLOAD:
    case SVM_EXIT_VMSAVE:
    case SVM_EXIT_STGI:
    case SVM_EXIT_CLGI:
    case SVM_EXIT_SKINIT:
    case SVM_EXIT_MONITOR:
    case SVM_EXIT_MWAIT:
    case SVM_EXIT_RDPRU:
    case SVM_EXIT_INVLPGB:
    case SVM_EXIT_INVLPGB_2:
    case SVM_EXIT_MCOMMIT:
    case SVM_EXIT_TLBSYNC:
        return EXIT_KIND_UNDEFINED;
    default:
        return EXIT_KIND_UNKNOWN;
    }
}

/* Interrupts, NMIs, and what this backend deals with alone.  False: something else. */
static bool decode_asynchronous(uint64_t code, struct vcpu_exit *exit, struct svm_due *due)
{
    switch (code) {
    case SVM_EXIT_INTR:
        exit->kind = EXIT_KIND_INTERRUPT;
        return true;
    case SVM_EXIT_NMI:  /* taken by the host when svm_enter set GIF */
    case SVM_EXIT_INIT: /* likewise */
        exit->kind = EXIT_KIND_RETRY;
        return true;
    case SVM_EXIT_VINTR:
        exit->kind = EXIT_KIND_WINDOW;
        return true;
    case SVM_EXIT_IRET:
        due->kind = SVM_DUE_IRET;
        exit->kind = EXIT_KIND_RETRY;
        return true;
    case SVM_EXIT_SHUTDOWN:
        exit->kind = EXIT_KIND_TRIPLE_FAULT;
        return true;
    case SVM_EXIT_RDPMC: /* no counters: SDM Vol. 2B "RDPMC", #GP */
        due->kind = SVM_DUE_EXCEPTION;
        due->event = event_fault(VECTOR_GP, 0);
        exit->kind = EXIT_KIND_RETRY;
        return true;
    default:
        return false;
    }
}

void svm_exit_decode(const struct vcpu *vcpu, struct vcpu_exit *exit, struct svm_due *due)
{
    const struct svm_vcpu *svm = svm_of(vcpu);
    const struct vmcb_control *control = &svm->vmcb->control;
    uint64_t code = control->exit_code;

    due->kind = SVM_DUE_NOTHING;
    exit->kind = EXIT_KIND_UNKNOWN;
    exit->length = 0;
    exit->raw[0] = code;
    exit->raw[1] = control->exit_info_1;
    exit->raw[2] = control->exit_info_2;
    exit->raw[3] = control->exit_int_info;
    if (code == SVM_EXIT_NPF) {
        decode_memory(control, exit);
    } else if (code == SVM_EXIT_IOIO) {
        decode_io(vcpu, control, exit);
    } else if (code == SVM_EXIT_MSR) {
        instruction(vcpu, control, exit,
                    (control->exit_info_1 & 1) ? EXIT_KIND_WRMSR : EXIT_KIND_RDMSR);
    } else if (code <= SVM_EXIT_CR_LAST || code == SVM_EXIT_CR0_SELECTIVE) {
        decode_cr(vcpu, control, exit);
    } else if (code - SVM_EXIT_EXCEPTION < VECTOR_EXCEPTIONS) {
        decode_exception(svm, (uint8_t)(code - SVM_EXIT_EXCEPTION), exit, due);
    } else if (!decode_asynchronous(code, exit, due)) {
        instruction(vcpu, control, exit, simple_kind(code));
        exit->pause.in_loop = svm_features()->pause_filter;
    }
}
