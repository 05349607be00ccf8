/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated instructions that use the stack, or go elsewhere: the operand, the stack, or both are on
 * a device. */
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/perform.h"
#include "arch/x86/guest/segment.h"

static uint64_t stack_mask(const struct guest_context *g)
{
    if (g->mode == DECODE_64) {
        return ~0ull;
    }
    return (g->state.segment[SEG_SS].access & SEGMENT_BIG) ? 0xffffffff : 0xffff;
}

/* RSP or RBP, as wide as the stack. */
static void set_pointer(struct guest_context *g, unsigned number, uint64_t value)
{
    uint64_t *reg = &g->vcpu->regs.gpr[number], mask = stack_mask(g);

    *reg = mask == 0xffffffff ? value & mask : (*reg & ~mask) | (value & mask);
}

static enum guest_result stack_span(struct guest_context *g, uint64_t rsp, unsigned bytes,
                                    unsigned access, struct guest_span *span)
{
    gva_t linear;
    enum guest_result result = guest_linear(g, SEG_SS, rsp & stack_mask(g), bytes, access, &linear);

    return result == GUEST_OK ? guest_span_prepare(g, linear, bytes, access, span) : result;
}

/* Neither is on a device: the CPU can do it, and was about to. */
static bool is_memory(const struct guest_span *operand, const struct guest_span *stack)
{
    return (operand == NULL || !guest_span_device(operand)) &&
           (stack == NULL || !guest_span_device(stack));
}

static enum guest_result source_value(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, const struct guest_span *operand,
                                      uint64_t *value)
{
    if (operand != NULL) {
        return guest_span_read(g, operand, value);
    }
    *value = a->source == SOURCE_REGISTER ? guest_register_read(g->vcpu, in, a->number, a->size)
                                          : a->constant;
    if (a->kind == ACTION_CALL && a->source == SOURCE_IMMEDIATE) {
        *value = (*value + g->vcpu->regs.rip + in->length) & guest_size_mask(a->size);
    }
    return GUEST_OK;
}

/* And then it advances. */
static void go_to(struct guest_context *g, const struct instruction *in, uint64_t rip)
{
    g->vcpu->regs.rip = rip - in->length;
}

/* PUSH, CALL, JMP */
static enum guest_result push_or_go(struct guest_context *g, const struct instruction *in,
                                    const struct action *a, const struct guest_span *operand)
{
    uint64_t rsp = g->vcpu->regs.gpr[GPR_RSP] - a->size, value;
    bool pushes = a->kind != ACTION_JUMP, goes = a->kind != ACTION_PUSH;
    struct guest_span stack;
    enum guest_result result = GUEST_OK;

    if (pushes) {
        result = stack_span(g, rsp, a->size, ACCESS_WRITE, &stack);
    }
    if (result == GUEST_OK && is_memory(operand, pushes ? &stack : NULL)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = source_value(g, in, a, operand, &value);
    }
    if (result == GUEST_OK && goes && !guest_may_jump(g, value)) {
        return guest_raise_gp(g->vcpu);
    }
    if (result == GUEST_OK && pushes) {
        result = guest_span_write(g, &stack, goes ? g->vcpu->regs.rip + in->length : value);
    }
    if (result != GUEST_OK) {
        return result;
    }
    if (pushes) {
        set_pointer(g, GPR_RSP, rsp);
    }
    if (goes) {
        go_to(g, in, value);
    }
    return GUEST_OK;
}

enum guest_result guest_push_pair(struct guest_context *g, unsigned size, uint64_t rip,
                                  uint16_t selector)
{
    uint64_t rsp = g->vcpu->regs.gpr[GPR_RSP] - 2 * size;
    uint8_t bytes[16] = {0};
    struct guest_span stack;
    enum guest_result result = stack_span(g, rsp, 2 * size, ACCESS_WRITE, &stack);

    memcpy(bytes, &rip, size);
    memcpy(bytes + size, &selector, sizeof(selector));
    if (result == GUEST_OK) {
        result = guest_span_write_bytes(g, &stack, bytes);
    }
    if (result == GUEST_OK) {
        set_pointer(g, GPR_RSP, rsp);
    }
    return result;
}

/* POP, RET, LEAVE: the stack's top, or what RBP points to. */
static enum guest_result pop(struct guest_context *g, const struct instruction *in,
                             const struct action *a, const struct guest_span *operand)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t at = vcpu->regs.gpr[a->kind == ACTION_LEAVE ? GPR_RBP : GPR_RSP], value;
    struct guest_span stack;
    enum guest_result result = stack_span(g, at, a->size, ACCESS_READ, &stack);

    if (result == GUEST_OK && is_memory(operand, &stack)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_span_read(g, &stack, &value);
    }
    if (result == GUEST_OK && a->kind == ACTION_RETURN && !guest_may_jump(g, value)) {
        return guest_raise_gp(vcpu);
    }
    if (result == GUEST_OK && operand != NULL) {
        result = guest_span_write(g, operand, value);
    }
    if (result != GUEST_OK) {
        return result;
    }
    set_pointer(g, GPR_RSP, at + a->size + (a->kind == ACTION_RETURN ? a->constant : 0));
    if (a->kind == ACTION_RETURN) {
        go_to(g, in, value);
    } else if (operand == NULL) {
        guest_register_write(vcpu, in, a->number, a->size, value);
    }
    return GUEST_OK;
}

/* ENTER without nesting. */
static enum guest_result enter(struct guest_context *g, const struct instruction *in,
                               const struct action *a)
{
    struct guest_registers *regs = &g->vcpu->regs;
    uint64_t frame = regs->gpr[GPR_RSP] - a->size;
    struct guest_span stack;
    enum guest_result result = stack_span(g, frame, a->size, ACCESS_WRITE, &stack);

    if (result == GUEST_OK && is_memory(NULL, &stack)) {
        return GUEST_RETRY;
    }
    if (result == GUEST_OK) {
        result = guest_span_write(g, &stack, regs->gpr[GPR_RBP]);
    }
    if (result == GUEST_OK) {
        set_pointer(g, GPR_RSP, frame - a->constant);
        guest_register_write(g->vcpu, in, GPR_RBP, a->size, frame);
    }
    return result;
}

bool guest_is_stack_action(const struct action *a)
{
    return a->kind >= ACTION_PUSH && a->kind <= ACTION_ENTER;
}

enum guest_result guest_perform_stack(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, const struct guest_span *operand)
{
    switch (a->kind) {
    case ACTION_PUSH:
    case ACTION_CALL:
    case ACTION_JUMP:
        return push_or_go(g, in, a, operand);
    case ACTION_ENTER:
        return enter(g, in, a);
    default:
        return pop(g, in, a, operand);
    }
}
