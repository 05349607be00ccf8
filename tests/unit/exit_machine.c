/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* names of the registers in a ucontext_t */
#include "tests/unit/exit_machine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "arch/x86/guest/decode.h"
#include "arch/x86/guest/policy.h"
#include "arch/x86/idt.h"
#include "arch/x86/machine_check.h"
#include "hv/arch.h"

struct exit_machine machine;

jmp_buf exit_machine_stopped;

/* ---- what the backends call ---- */

const struct vmx_features *vmx_features(void)
{
    static const struct vmx_features features = {.secondary = (uint32_t)SECONDARY_PAUSE_LOOP};

    return &features;
}

const struct svm_features *svm_features(void)
{
    static const struct svm_features features = {.next_rip = true, .decode_assists = true};

    return &features;
}

const struct guest_policy *guest_policy(void)
{
    static const struct guest_policy policy = {.cr4_allowed = CR4_PAE | CR4_PSE | CR4_MCE};

    return &policy;
}

uint64_t vmx_cr0_mask(void)
{
    return CR0_NE | CR0_NW | CR0_CD;
}

uint64_t vmx_cr4_mask(void)
{
    return ~guest_policy()->cr4_allowed | CR4_MCE;
}

void vmcs_refused(uint32_t field, const char *instruction)
{
    fail_msg("%s of %x", instruction, field);
    abort();
}

void interrupt_take_nmi(void)
{
    machine.nmis++;
}

void machine_check_exit(void)
{
    machine.machine_checks++;
    longjmp(exit_machine_stopped, 1);
}

void arch_cpu_kick(unsigned cpu)
{
    (void)cpu;
    machine.kicks++;
}

unsigned arch_cpu_id(void)
{
    return 0;
}

/* ---- privileged instructions ---- */

static const int register_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t *operand_of(const struct instruction *in, greg_t *gregs)
{
    uint64_t address = (uint64_t)in->displacement;

    if (!in->memory) {
        return (uint64_t *)&gregs[register_of[in->rm]];
    }
    address += in->base == GPR_NONE ? 0 : (uint64_t)gregs[register_of[in->base]];
    address += in->index == GPR_NONE ? 0 : (uint64_t)gregs[register_of[in->index]] * in->scale;
    address += in->rip_relative ? (uint64_t)gregs[REG_RIP] + in->length : 0;
    return (uint64_t *)address;
}

/* False: it is none of those that a backend may use. */
static bool emulate(const struct instruction *in, greg_t *gregs)
{
    uint64_t *reg = (uint64_t *)&gregs[register_of[in->reg & 15]];

    switch (in->opcode) {
    case 0x78: /* VMREAD, VMWRITE: CF and ZF clear mean that all is well */
        *operand_of(in, gregs) = machine.vmcs[*reg % FIELDS];
        gregs[REG_EFL] &= ~(greg_t)(RFLAGS_CF | RFLAGS_ZF);
        return true;
    case 0x79:
        machine.vmcs[*reg % FIELDS] = *operand_of(in, gregs);
        gregs[REG_EFL] &= ~(greg_t)(RFLAGS_CF | RFLAGS_ZF);
        machine.changes++;
        return true;
    case 0x21: /* MOV from DR6, to DR6 */
        gregs[register_of[in->rm]] = (greg_t)machine.dr6;
        return in->reg == 6;
    case 0x23:
        machine.dr6 = (uint64_t)gregs[register_of[in->rm]];
        machine.changes++;
        return in->reg == 6;
    default:
        return false;
    }
}

static void on_signal(int signal_number, siginfo_t *info, void *context)
{
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct instruction in;

    (void)info;
    if (decode_instruction((const uint8_t *)gregs[REG_RIP], DECODE_MAX_LENGTH, DECODE_64, &in) !=
            DECODE_OK ||
        in.map != DECODE_MAP_0F || !emulate(&in, gregs)) {
        signal(signal_number, SIG_DFL); /* a real one: it comes again */
        return;
    }
    gregs[REG_RIP] += in.length;
}

void exit_machine_reset(bool svm)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};

    /* cmocka has handlers of its own, which it sets before each test. */
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    memset(&machine, 0, sizeof(machine));
    machine.svm.vmcb = &machine.vmcb;
    machine.vcpu.backend_data = svm ? (void *)&machine.svm : (void *)&machine.vmx;
    machine.vcpu.regs.rip = 0x1000;
}
