/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions whose memory operand is a device: the instruction is decoded, described as an
 * `action`, checked and translated, and only then performed.  An instruction that is not in the
 * tables of guest/action.c raises #UD.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/action.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/perform.h"
#include "arch/x86/guest/step.h"
#include "arch/x86/guest/string.h"
#include "hv/vdev/access.h"

/* BTx m, r: the register's upper bits, signed, choose the word. */
static int64_t bit_displacement(const struct guest_context *g, const struct action *a)
{
    unsigned shift = 64 - 8 * a->size;
    int64_t bit = (int64_t)(g->vcpu->regs.gpr[a->number] << shift) >> shift;

    return (bit >> (a->size == 8 ? 6 : (a->size == 4 ? 5 : 4))) * a->size;
}

static unsigned action_access(const struct action *a)
{
    if (a->kind == ACTION_LOAD || (a->kind == ACTION_ALU && !alu_writes(a->op)) ||
        a->source == SOURCE_MEMORY) {
        return ACCESS_READ;
    }
    if ((a->kind == ACTION_ALU && a->op == ALU_MOV) || a->kind == ACTION_SET ||
        a->kind == ACTION_SYSTEM_STORE || a->kind == ACTION_POP || a->kind == ACTION_VECTOR_STORE) {
        return ACCESS_WRITE;
    }
    return ACCESS_READ | ACCESS_WRITE;
}

static bool is_misaligned(const struct action *a, gva_t linear)
{
    bool aligned = a->vector.aligned || (a->kind == ACTION_COMPARE_EXCHANGE_PAIR && a->size == 16);

    return aligned && (linear.v & (a->size - 1u)) != 0;
}

/* Raises what is wrong with the instruction, whatever its operand is. */
static enum guest_result check_instruction(struct guest_context *g, const struct instruction *in,
                                           const struct action *a)
{
    bool protected_mode = (g->state.cr0 & CR0_PE) && !(g->vcpu->regs.rflags & RFLAGS_VM);
    bool system_load = a->kind == ACTION_LLDT || a->kind == ACTION_LTR;
    bool umip = a->kind == ACTION_SYSTEM_STORE && (a->which >= SEG_LDTR);

    if (in->lock && !a->lockable) {
        return guest_raise_ud(g->vcpu);
    }
    if (!protected_mode && (system_load || (umip && a->which != SYSTEM_MSW))) {
        return guest_raise_ud(g->vcpu);
    }
    if (g->cpl != 0 &&
        (system_load || a->kind == ACTION_LMSW || (umip && (g->state.cr4 & CR4_UMIP)))) {
        return guest_raise_gp(g->vcpu);
    }
    if (a->vector.bytes != 0 && !vector_move_allowed(g, &a->vector)) {
        return GUEST_FAULT;
    }
    return GUEST_OK;
}

static enum guest_result operand_span(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, struct guest_span *span)
{
    uint64_t offset = guest_operand_offset(g->vcpu, in);
    unsigned access = action_access(a);
    enum guest_result result;
    gva_t linear;

    if (a->kind == ACTION_POP && in->base == GPR_RSP) {
        offset = (offset + a->size) & guest_size_mask(in->address_size); /* ESP is behind it */
    }
    if (a->bit_offset) {
        offset += (uint64_t)bit_displacement(g, a);
        offset &= guest_size_mask(in->address_size);
    }
    result = guest_linear(g, in->segment, offset, a->size, access, &linear);
    if (result != GUEST_OK) {
        return result;
    }
    if (is_misaligned(a, linear)) {
        return guest_raise_gp(g->vcpu);
    }
    return guest_span_prepare(g, linear, a->size, access, span);
}

static enum guest_result perform(struct guest_context *g, const struct instruction *in,
                                 const struct action *a)
{
    bool stack = guest_is_stack_action(a);
    struct guest_span span;
    enum guest_result result;

    if (!in->memory) {
        return guest_perform_stack(g, in, a, NULL);
    }
    result = operand_span(g, in, a, &span);
    if (result != GUEST_OK) {
        return result;
    }
    if (stack) {
        return guest_perform_stack(g, in, a, &span);
    }
    /* Not a device: the guest has changed its tables meanwhile. */
    return guest_span_device(&span) ? guest_perform(g, in, a, &span) : GUEST_RETRY;
}

/* The CPU can do it if nothing is there; a device it cannot reach. */
static enum exit_result let_cpu(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    enum guest_result result = guest_step_over(vcpu, exit->memory.address);

    if (result == GUEST_FAIL) {
        if (!atomic_exchange(&vcpu->vm->run.mmio_refused, true)) {
            vm_log(vcpu->vm, LOG_WARN,
                   "vm %s: vCPU %u: instruction at RIP 0x%lx accesses a device at guest-physical "
                   "0x%lx in a way that is not emulated: #UD, also of others like it",
                   vcpu->vm->name, vcpu->index, (unsigned long)vcpu->regs.rip,
                   (unsigned long)exit->memory.address.v);
        }
        result = guest_raise_ud(vcpu);
    }
    return guest_exit_result(result);
}

static enum exit_result emulate(struct guest_context *g, const struct instruction *in,
                                const struct vcpu_exit *exit)
{
    struct vcpu *vcpu = g->vcpu;
    struct action a = guest_action_of(in);
    enum guest_result result;

    if (a.kind == ACTION_NONE ||
        (!in->memory && a.kind != ACTION_STRING && !guest_is_stack_action(&a))) {
        return let_cpu(vcpu, exit);
    }
    result = check_instruction(g, in, &a);
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    if (a.kind == ACTION_STRING) {
        return guest_string_memory(g, in);
    }
    if (a.kind != ACTION_TOUCH) {
        result = perform(g, in, &a);
        if (result != GUEST_OK) {
            return guest_exit_result(result);
        }
    }
    arch_guest_advance(vcpu, in->length);
    return EXIT_RESUME;
}

enum exit_result arch_guest_mmio(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct guest_context g;
    struct instruction in;
    enum guest_result result;

    if (vcpu->event.valid) {
        /* Not the instruction at RIP but the delivery of an event touched it: a stack, IDT or GDT
         * outside memory.  On hardware this ends in a triple fault sooner or later. */
        arch_guest_dump(vcpu, exit);
        vm_log(vcpu->vm, LOG_WARN,
               "vm %s: vCPU %u: delivery of vector %u uses guest-physical 0x%lx, where there is no "
               "memory",
               vcpu->vm->name, vcpu->index, vcpu->event.vector,
               (unsigned long)exit->memory.address.v);
        vm_triple_fault(vcpu->vm, vcpu->index, vcpu->regs.rip);
        return EXIT_FAIL;
    }
    if (exit->memory.access & ACCESS_EXEC) {
        return let_cpu(vcpu, exit);
    }
    guest_context_init(&g, vcpu);
    result = guest_fetch(&g, &in);
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    return emulate(&g, &in, exit);
}
