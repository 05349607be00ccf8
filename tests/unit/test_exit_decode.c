/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: arch/x86/vmx/exit.c arch/x86/vmx/event.c arch/x86/vmx/perform.c arch/x86/svm/exit.c
 * arch/x86/svm/event.c arch/x86/svm/perform.c arch/x86/guest/decode.c
 * arch/x86/guest/decode_tables.c tests/unit/exit_machine.c */
/*
 * Exits of both backends into struct vcpu_exit: decoding twice gives the same twice, and changes
 * nothing, neither of the guest nor of the CPU; what there is to do is done by vmx_perform() and
 * svm_perform().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86/svm/vcpu.h"
#include "arch/x86/vmx/vcpu.h"
#include "tests/unit/exit_machine.h"
#include "tests/unit/xorshift.h"

/* ---- purity ---- */

struct answer {
    struct vcpu_exit exit;
    struct vmx_due vmx;
    struct svm_due svm;
};

static void decode(bool svm, uint32_t reason, struct answer *out)
{
    memset(out, 0, sizeof(*out));
    if (svm) {
        svm_exit_decode(&machine.vcpu, &out->exit, &out->svm);
    } else {
        vmx_exit_decode(&machine.vcpu, reason, &out->exit, &out->vmx);
    }
}

static void decode_twice(bool svm, uint32_t reason)
{
    static struct exit_machine before;
    struct answer first, second;

    memcpy(&before, &machine, sizeof(machine));
    decode(svm, reason, &first);
    decode(svm, reason, &second);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_true(memcmp(&before, &machine, sizeof(machine)) == 0);
}

static void vmx_decodes_any_reason_purely(void **state)
{
    static const uint32_t fields[] = {
        VMCS_EXIT_QUALIFICATION,
        VMCS_EXIT_INTERRUPTION,
        VMCS_EXIT_INTERRUPTION_ERROR,
        VMCS_EXIT_INSTRUCTION_LENGTH,
        VMCS_VECTORING,
        VMCS_VECTORING_ERROR_CODE,
        VMCS_GUEST_INTERRUPTIBILITY,
        VMCS_GUEST_PHYSICAL_ADDRESS,
    };
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t reason = 0; reason < 72; reason++) {
            exit_machine_reset(false);
            machine.vmx.step_done = round & 1;
            for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
                machine.vmcs[fields[i]] = xorshift64(&seed);
            }
            for (unsigned i = 0; i < GPR_COUNT; i++) {
                machine.vcpu.regs.gpr[i] = xorshift64(&seed);
            }
            decode_twice(false, reason);
        }
    }
}

static void svm_decodes_any_code_purely(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (uint64_t code = 0; code < 0x102; code++) {
            exit_machine_reset(true);
            machine.svm.step_done = round & 1;
            machine.vmcb.control.exit_code = code < 0x100 ? code : (code & 1) + SVM_EXIT_NPF;
            machine.vmcb.control.exit_info_1 = xorshift64(&seed);
            machine.vmcb.control.exit_info_2 = xorshift64(&seed);
            machine.vmcb.control.exit_int_info = xorshift64(&seed);
            machine.vmcb.control.next_rip = machine.vcpu.regs.rip + round % 20;
            decode_twice(true, 0);
        }
    }
}

/* ---- what is found, and what is done about it ---- */

static struct vcpu_exit vmx_exit(uint32_t reason)
{
    struct answer a;

    decode(false, reason, &a);
    assert_int_equal(machine.changes, 0);
    vmx_perform(&machine.vcpu, &a.vmx);
    return a.exit;
}

static struct vcpu_exit svm_exit(uint64_t code)
{
    struct answer a;

    machine.vmcb.control.exit_code = code;
    decode(true, 0, &a);
    svm_perform(&machine.vcpu, &a.svm);
    return a.exit;
}

static void assert_event(uint8_t vector, uint8_t type, bool has_error, uint32_t error)
{
    const struct guest_event *event = &machine.vcpu.event;

    assert_true(event->valid);
    assert_int_equal(event->vector, vector);
    assert_int_equal(event->type, type);
    assert_int_equal(event->has_error_code, has_error);
    assert_int_equal(event->error_code, error);
}

/* MOV to CR0 by RBX, in bits that we keep: the shadow takes them and the guest tries again. */
static void vmx_cr0_write_goes_to_the_shadow(void **state)
{
    (void)state;
    exit_machine_reset(false);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = FIELD_PREP(QUALIFICATION_CR_GPR, GPR_RBX);
    machine.vcpu.regs.gpr[GPR_RBX] = CR0_PE | CR0_CD;
    assert_int_equal(vmx_exit(VMX_EXIT_CR).kind, EXIT_KIND_RETRY);
    assert_int_equal(machine.vmcs[VMCS_CR0_SHADOW], CR0_CD);
    assert_int_equal(machine.changes, 1);

    exit_machine_reset(false); /* NW without CD is #GP's matter */
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = FIELD_PREP(QUALIFICATION_CR_GPR, GPR_RBX);
    machine.vcpu.regs.gpr[GPR_RBX] = CR0_PE | CR0_NW;
    assert_int_equal(vmx_exit(VMX_EXIT_CR).kind, EXIT_KIND_CR);
    assert_int_equal(machine.changes, 0);
}

static void vmx_cr4_write_goes_to_the_shadow(void **state)
{
    struct vcpu_exit exit;

    (void)state;
    exit_machine_reset(false);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = 4;
    machine.vcpu.regs.gpr[GPR_RAX] = CR4_PAE | CR4_MCE;
    assert_int_equal(vmx_exit(VMX_EXIT_CR).kind, EXIT_KIND_RETRY);
    assert_int_equal(machine.vmcs[VMCS_CR4_SHADOW], CR4_MCE);

    exit_machine_reset(false);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = 4;
    machine.vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 3;
    machine.vcpu.regs.gpr[GPR_RAX] = CR4_SMEP; /* not offered */
    exit = vmx_exit(VMX_EXIT_CR);
    assert_int_equal(exit.kind, EXIT_KIND_CR);
    assert_int_equal(exit.cr.number, 4);
    assert_int_equal(exit.length, 3);
    assert_true(exit.cr.write);
}

static void exception(unsigned vector, unsigned type, uint64_t more)
{
    machine.vmcs[VMCS_EXIT_INTERRUPTION] = INTERRUPTION_VALID | more |
                                           FIELD_PREP(INTERRUPTION_TYPE, type) |
                                           FIELD_PREP(INTERRUPTION_VECTOR, vector);
}

static void vmx_debug_exception_reaches_dr6_and_dr7(void **state)
{
    (void)state;
    exit_machine_reset(false);
    exception(VECTOR_DB, EVENT_EXCEPTION, 0);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = BIT(1) | DR6_ACCESS;
    machine.vmcs[VMCS_GUEST_DR7] = DR7_FIXED | DR7_GD;
    machine.vmcs[VMCS_GUEST_INTERRUPTIBILITY] = SHADOW_MOV_SS;
    machine.vcpu.regs.rflags = RFLAGS_TF;
    machine.dr6 = DR6_FIXED | BIT(3);
    assert_int_equal(vmx_exit(VMX_EXIT_EXCEPTION).kind, EXIT_KIND_RETRY);
    assert_int_equal(machine.dr6, DR6_FIXED | BIT(1) | DR6_ACCESS);
    assert_int_equal(machine.vmcs[VMCS_GUEST_DR7], DR7_FIXED);
    assert_int_equal(machine.vmcs[VMCS_GUEST_PENDING_DEBUG], PENDING_STEP);
    assert_event(VECTOR_DB, EVENT_EXCEPTION, false, 0);
}

static void vmx_trap_of_our_step_is_not_the_guests(void **state)
{
    (void)state;
    exit_machine_reset(false);
    exception(VECTOR_DB, EVENT_EXCEPTION, 0);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = DR6_STEP;
    machine.vmx.step_done = true;
    vmx_exit(VMX_EXIT_EXCEPTION);
    assert_false(machine.vcpu.event.valid);
    assert_int_equal(machine.changes, 0);

    machine.vmcs[VMCS_EXIT_QUALIFICATION] = DR6_STEP | BIT(0); /* but its breakpoint is */
    vmx_exit(VMX_EXIT_EXCEPTION);
    assert_event(VECTOR_DB, EVENT_EXCEPTION, false, 0);
    assert_int_equal(machine.dr6, BIT(0));
}

static void vmx_icebp_keeps_its_length(void **state)
{
    (void)state;
    exit_machine_reset(false);
    exception(VECTOR_DB, EVENT_PRIVILEGED_EXCEPTION, 0);
    machine.vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 1;
    vmx_exit(VMX_EXIT_EXCEPTION);
    assert_event(VECTOR_DB, EVENT_PRIVILEGED_EXCEPTION, false, 0);
    assert_int_equal(machine.vcpu.event.length, 1);
}

static void vmx_faults_are_handed_on(void **state)
{
    (void)state;
    exit_machine_reset(false);
    exception(VECTOR_PF, EVENT_EXCEPTION, INTERRUPTION_ERROR_VALID);
    machine.vmcs[VMCS_EXIT_INTERRUPTION_ERROR] = 5;
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = 0x7000;
    vmx_exit(VMX_EXIT_EXCEPTION);
    assert_event(VECTOR_PF, EVENT_EXCEPTION, true, 5);
    assert_int_equal(machine.vcpu.regs.cr2, 0x7000);

    exit_machine_reset(false);
    exception(VECTOR_UD, EVENT_EXCEPTION, 0);
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = 0x7000;
    vmx_exit(VMX_EXIT_EXCEPTION);
    assert_event(VECTOR_UD, EVENT_EXCEPTION, false, 0);
    assert_int_equal(machine.vcpu.regs.cr2, 0);

    exit_machine_reset(false);
    assert_int_equal(vmx_exit(VMX_EXIT_RDPMC).kind, EXIT_KIND_RETRY);
    assert_event(VECTOR_GP, EVENT_EXCEPTION, true, 0);
}

static void vmx_interrupted_delivery_comes_again(void **state)
{
    (void)state;
    exit_machine_reset(false);
    machine.vmcs[VMCS_VECTORING] = INTERRUPTION_VALID | INTERRUPTION_ERROR_VALID | VECTOR_GP |
                                   FIELD_PREP(INTERRUPTION_TYPE, EVENT_EXCEPTION);
    machine.vmcs[VMCS_VECTORING_ERROR_CODE] = 0x18;
    assert_int_equal(vmx_exit(VMX_EXIT_EPT_VIOLATION).kind, EXIT_KIND_MEMORY);
    assert_event(VECTOR_GP, EVENT_EXCEPTION, true, 0x18);

    exit_machine_reset(false);
    machine.vmcs[VMCS_VECTORING] =
        INTERRUPTION_VALID | VECTOR_NMI | FIELD_PREP(INTERRUPTION_TYPE, EVENT_NMI);
    machine.vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKED_NMI;
    vmx_exit(VMX_EXIT_TASK_SWITCH);
    assert_event(VECTOR_NMI, EVENT_NMI, false, 0);
    assert_int_equal(machine.vmcs[VMCS_GUEST_INTERRUPTIBILITY], 0);

    exit_machine_reset(false); /* IRET faulted behind its unblocking */
    machine.vmcs[VMCS_EXIT_QUALIFICATION] = INTERRUPTION_NMI_UNBLOCKED | ACCESS_WRITE;
    vmx_exit(VMX_EXIT_EPT_VIOLATION);
    assert_int_equal(machine.vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKED_NMI);
    assert_false(machine.vcpu.event.valid);
}

static void host_events_are_taken_by_perform(void **state)
{
    (void)state;
    exit_machine_reset(false);
    exception(VECTOR_NMI, EVENT_NMI, 0);
    assert_int_equal(vmx_exit(VMX_EXIT_EXCEPTION).kind, EXIT_KIND_RETRY);
    assert_int_equal(machine.nmis, 1);

    exit_machine_reset(false);
    exception(VECTOR_MC, EVENT_EXCEPTION, 0);
    if (setjmp(exit_machine_stopped) == 0) {
        vmx_exit(VMX_EXIT_EXCEPTION);
    }
    assert_int_equal(machine.machine_checks, 1);

    exit_machine_reset(true);
    if (setjmp(exit_machine_stopped) == 0) {
        svm_exit(SVM_EXIT_EXCEPTION + VECTOR_MC);
    }
    assert_int_equal(machine.machine_checks, 1);
}

static void svm_faults_are_handed_on(void **state)
{
    (void)state;
    exit_machine_reset(true);
    machine.vmcb.control.exit_info_1 = 7;
    machine.vmcb.control.exit_info_2 = 0x9000;
    assert_int_equal(svm_exit(SVM_EXIT_EXCEPTION + VECTOR_PF).kind, EXIT_KIND_RETRY);
    assert_event(VECTOR_PF, EVENT_EXCEPTION, true, 7);
    assert_int_equal(machine.vcpu.regs.cr2, 0x9000);

    exit_machine_reset(true);
    machine.vmcb.control.exit_info_2 = 0x9000;
    svm_exit(SVM_EXIT_EXCEPTION + VECTOR_UD);
    assert_event(VECTOR_UD, EVENT_EXCEPTION, false, 0);
    assert_int_equal(machine.vcpu.regs.cr2, 0);

    exit_machine_reset(true);
    assert_int_equal(svm_exit(SVM_EXIT_RDPMC).kind, EXIT_KIND_RETRY);
    assert_event(VECTOR_GP, EVENT_EXCEPTION, true, 0);
}

static void svm_trap_of_our_step_is_not_the_guests(void **state)
{
    (void)state;
    exit_machine_reset(true);
    machine.svm.step_done = true;
    svm_exit(SVM_EXIT_EXCEPTION + VECTOR_DB);
    assert_false(machine.vcpu.event.valid);
    assert_false(machine.svm.step_done);
    svm_exit(SVM_EXIT_EXCEPTION + VECTOR_DB);
    assert_event(VECTOR_DB, EVENT_EXCEPTION, false, 0);
}

static void svm_iret_ends_the_nmi(void **state)
{
    (void)state;
    exit_machine_reset(true);
    machine.svm.nmi = SVM_NMI_MASKED;
    machine.vmcb.control.intercept_1 = INTERCEPT_1_IRET;
    assert_int_equal(svm_exit(SVM_EXIT_IRET).kind, EXIT_KIND_RETRY);
    assert_int_equal(machine.svm.nmi, SVM_NMI_RETURNING);
    assert_int_equal(machine.vmcb.control.intercept_1, 0);
}

/* The type that the CPU reports wrongly is put right in the event, not in the VMCB. */
static void svm_collects_without_writing_exitintinfo(void **state)
{
    uint64_t word = SVM_EVENT_VALID | FIELD_PREP(SVM_EVENT_TYPE, SVM_EVENT_TYPE_EXCEPTION) | 0x31;

    (void)state;
    exit_machine_reset(true);
    machine.svm.virq = true;
    machine.svm.virq_vector = 0x31;
    machine.vmcb.control.vintr = VINTR_IRQ;
    machine.vmcb.control.exit_int_info = word;
    svm_event_collect(&machine.vcpu, &machine.svm);
    assert_event(0x31, EVENT_INTERRUPT, false, 0);
    assert_false(machine.svm.virq);
    assert_int_equal(machine.vmcb.control.exit_int_info, word);
}

static void svm_mov_cr_without_operand_is_to_be_decoded(void **state)
{
    struct vcpu_exit exit;

    (void)state;
    exit_machine_reset(true);
    exit = svm_exit(SVM_EXIT_CR_WRITE + 4);
    assert_int_equal(exit.kind, EXIT_KIND_CR);
    assert_int_equal(exit.cr.gpr, GPR_NONE);
    machine.vmcb.control.exit_info_1 = MOV_CR_VALID | FIELD_PREP(MOV_CR_GPR, GPR_R9);
    exit = svm_exit(SVM_EXIT_CR_WRITE + 4);
    assert_int_equal(exit.cr.gpr, GPR_R9);
    assert_int_equal(exit.cr.number, 4);
    assert_true(exit.cr.write);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vmx_decodes_any_reason_purely),
        cmocka_unit_test(svm_decodes_any_code_purely),
        cmocka_unit_test(vmx_cr0_write_goes_to_the_shadow),
        cmocka_unit_test(vmx_cr4_write_goes_to_the_shadow),
        cmocka_unit_test(vmx_debug_exception_reaches_dr6_and_dr7),
        cmocka_unit_test(vmx_trap_of_our_step_is_not_the_guests),
        cmocka_unit_test(vmx_icebp_keeps_its_length),
        cmocka_unit_test(vmx_faults_are_handed_on),
        cmocka_unit_test(vmx_interrupted_delivery_comes_again),
        cmocka_unit_test(host_events_are_taken_by_perform),
        cmocka_unit_test(svm_faults_are_handed_on),
        cmocka_unit_test(svm_trap_of_our_step_is_not_the_guests),
        cmocka_unit_test(svm_iret_ends_the_nmi),
        cmocka_unit_test(svm_collects_without_writing_exitintinfo),
        cmocka_unit_test(svm_mov_cr_without_operand_is_to_be_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
