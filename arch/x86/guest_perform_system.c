/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated instructions that load segment and system registers, or use the stack. */
#include "arch/x86/cpu.h"
#include "arch/x86/guest_perform.h"
#include "arch/x86/guest_segment.h"

/* ---- system registers ---- */

static enum guest_result raise_selector(struct vcpu *vcpu, uint8_t vector, uint16_t selector)
{
    vcpu_inject_fault(vcpu, vector, selector & ~SELECTOR_RPL);
    return GUEST_FAULT;
}

static bool protected_mode(const struct guest_context *g)
{
    return (g->state.cr0 & CR0_PE) && !(g->vcpu->regs.rflags & RFLAGS_VM);
}

enum guest_result perform_segment_load(struct guest_context *g, unsigned segment, uint16_t selector)
{
    struct guest_segment *s = &g->state.segment[segment];
    struct segment_fault fault;
    uint64_t accessed;
    enum guest_result result;

    if (!protected_mode(g)) {
        s->selector = selector;
        s->base = (uint64_t)selector << 4;
        arch_backend()->set_state(g->vcpu, &g->state);
        return GUEST_OK;
    }
    result = guest_segment_load(g, segment, selector, g->cpl, VECTOR_GP, s, &fault, &accessed);
    if (result == GUEST_OK && fault.vector != 0) {
        return raise_selector(g->vcpu, fault.vector, fault.error_code);
    }
    if (result == GUEST_OK && accessed != 0) {
        uint8_t byte = (uint8_t)s->access;

        result = guest_system_write(g, accessed + DESCRIPTOR_ACCESS_BYTE, &byte, sizeof(byte));
    }
    if (result == GUEST_OK) {
        arch_backend()->set_state(g->vcpu, &g->state);
    }
    return result;
}

/* In long mode these descriptors have 16 bytes: SDM volume 3, "Segment Descriptor Tables in IA-32e
 * Mode". */
static enum guest_result upper_base(struct guest_context *g, uint64_t at, struct guest_segment *s)
{
    uint64_t upper = 0;
    enum guest_result result = GUEST_OK;

    if (g->state.efer & EFER_LMA) {
        result = guest_system_read(g, at + 8, &upper, sizeof(upper));
        s->base |= upper << 32;
    }
    return result;
}

/* LLDT, LTR */
enum guest_result perform_system_load(struct guest_context *g, const struct action *a,
                                      uint16_t selector)
{
    bool ltr = a->kind == ACTION_LTR;
    struct guest_segment s = {.selector = selector, .access = (uint32_t)SEGMENT_UNUSABLE};
    uint32_t busy = ltr ? TYPE_BUSY : 0, type;
    enum guest_result result;
    uint64_t at;

    if ((selector & ~SELECTOR_RPL) == 0 && !ltr) {
        g->state.segment[SEG_LDTR] = s;
        arch_backend()->set_state(g->vcpu, &g->state);
        return GUEST_OK;
    }
    result = guest_descriptor_read(g, selector, &s, &at);
    if (result != GUEST_OK) {
        return result;
    }
    type = s.access & (uint32_t)(ACCESS_S | ACCESS_TYPE);
    if (at == 0 || (selector & SELECTOR_TI) || (selector & SELECTOR_INDEX) == 0 ||
        (ltr ? type != TYPE_TSS_32 && ((g->state.efer & EFER_LMA) || type != TYPE_TSS_16)
             : type != TYPE_LDT)) {
        return raise_selector(g->vcpu, VECTOR_GP, selector);
    }
    if (!(s.access & ACCESS_PRESENT)) {
        return raise_selector(g->vcpu, VECTOR_NP, selector);
    }
    result = upper_base(g, at, &s);
    s.access |= busy;
    if (result == GUEST_OK && ltr) {
        uint8_t byte = (uint8_t)s.access;

        result = guest_system_write(g, at + DESCRIPTOR_ACCESS_BYTE, &byte, sizeof(byte));
    }
    if (result == GUEST_OK) {
        g->state.segment[ltr ? SEG_TR : SEG_LDTR] = s;
        arch_backend()->set_state(g->vcpu, &g->state);
    }
    return result;
}

/* ---- the stack ---- */

static uint64_t stack_mask(const struct guest_context *g)
{
    if (g->mode == DECODE_64) {
        return ~0ull;
    }
    return (g->state.segment[SEG_SS].access & ACCESS_BIG) ? 0xffffffff : 0xffff;
}

static void set_stack(struct guest_context *g, uint64_t rsp)
{
    uint64_t *reg = &g->vcpu->regs.gpr[GPR_RSP], mask = stack_mask(g);

    *reg = mask == 0xffffffff ? rsp & mask : (*reg & ~mask) | (rsp & mask);
}

static enum guest_result stack_span(struct guest_context *g, uint64_t rsp, unsigned bytes,
                                    unsigned access, struct guest_span *span)
{
    gva_t linear;
    enum guest_result result = guest_linear(g, SEG_SS, rsp & stack_mask(g), bytes, access, &linear);

    return result == GUEST_OK ? guest_span_prepare(g, linear, bytes, access, span) : result;
}

/* PUSH, CALL, JMP: `value` goes to the stack, or where it goes on. */
enum guest_result perform_branch(struct guest_context *g, const struct instruction *in,
                                 const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rsp = vcpu->regs.gpr[GPR_RSP] - a->size, value;
    struct guest_span stack;
    enum guest_result result = GUEST_OK;

    if (a->kind != ACTION_JUMP) {
        result = stack_span(g, rsp, a->size, ACCESS_WRITE, &stack);
    }
    if (result == GUEST_OK) {
        result = guest_span_read(g, span, &value);
    }
    if (result == GUEST_OK && a->kind != ACTION_PUSH && !guest_may_jump(g, value)) {
        return guest_raise_gp(vcpu);
    }
    if (result == GUEST_OK && a->kind != ACTION_JUMP) {
        result = guest_span_write(g, &stack,
                                  a->kind == ACTION_PUSH ? value : vcpu->regs.rip + in->length);
    }
    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind != ACTION_JUMP) {
        set_stack(g, rsp);
    }
    if (a->kind != ACTION_PUSH) {
        vcpu->regs.rip = value - in->length; /* and then it advances */
    }
    return GUEST_OK;
}

enum guest_result perform_pop(struct guest_context *g, const struct action *a,
                              const struct guest_span *span)
{
    uint64_t rsp = g->vcpu->regs.gpr[GPR_RSP], value;
    struct guest_span stack;
    enum guest_result result = stack_span(g, rsp, a->size, ACCESS_READ, &stack);

    if (result == GUEST_OK) {
        result = guest_span_read(g, &stack, &value);
    }
    if (result == GUEST_OK) {
        result = guest_span_write(g, span, value);
    }
    if (result == GUEST_OK) {
        set_stack(g, rsp + a->size);
    }
    return result;
}
