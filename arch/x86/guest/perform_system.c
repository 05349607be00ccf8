/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulated instructions that load segment and system registers. */
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/perform.h"
#include "arch/x86/guest/segment.h"

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
    type = s.access & (uint32_t)(SEGMENT_S | SEGMENT_TYPE);
    if (at == 0 || (selector & SELECTOR_TI) || (selector & SELECTOR_INDEX) == 0 ||
        (ltr ? type != TYPE_TSS_32 && ((g->state.efer & EFER_LMA) || type != TYPE_TSS_16)
             : type != TYPE_LDT)) {
        return raise_selector(g->vcpu, VECTOR_GP, selector);
    }
    if (!(s.access & SEGMENT_PRESENT)) {
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

/* ---- far branches ---- */

/* SDM volume 2, "JMP - Jump": to code of the same privilege; not through gates. */
static enum guest_result load_code(struct guest_context *g, uint16_t selector,
                                   struct guest_segment *cs, uint64_t *accessed)
{
    unsigned rpl = selector & SELECTOR_RPL, dpl;
    uint64_t at;
    enum guest_result result = GUEST_OK;

    *accessed = 0;
    if (!protected_mode(g)) {
        *cs = g->state.segment[SEG_CS];
        cs->selector = selector;
        cs->base = (uint64_t)selector << 4;
        return GUEST_OK;
    }
    if ((selector & ~SELECTOR_RPL) == 0) {
        return guest_raise_gp(g->vcpu);
    }
    result = guest_descriptor_read(g, selector, cs, &at);
    if (result != GUEST_OK) {
        return result;
    }
    if (at != 0 && !(cs->access & SEGMENT_S)) {
        return guest_raise_ud(g->vcpu); /* a gate or a task: not emulated */
    }
    dpl = (unsigned)FIELD_GET(SEGMENT_DPL, cs->access);
    if (at == 0 || !(cs->access & SEGMENT_CODE) ||
        ((cs->access & SEGMENT_DOWN) ? dpl > g->cpl : rpl > g->cpl || dpl != g->cpl) ||
        ((g->state.efer & EFER_LMA) && (cs->access & SEGMENT_LONG) && (cs->access & SEGMENT_BIG))) {
        return raise_selector(g->vcpu, VECTOR_GP, selector);
    }
    if (!(cs->access & SEGMENT_PRESENT)) {
        return raise_selector(g->vcpu, VECTOR_NP, selector);
    }
    *accessed = (cs->access & SEGMENT_ACCESSED) ? 0 : at;
    cs->access |= (uint32_t)SEGMENT_ACCESSED;
    cs->selector = (uint16_t)((selector & ~SELECTOR_RPL) | g->cpl);
    return GUEST_OK;
}

static bool lands(const struct guest_context *g, const struct guest_segment *cs, uint64_t rip)
{
    bool long_code = (g->state.efer & EFER_LMA) && (cs->access & SEGMENT_LONG);

    return long_code ? guest_is_canonical(g, rip) : rip <= cs->limit;
}

enum guest_result perform_far(struct guest_context *g, const struct instruction *in,
                              const struct action *a, const struct guest_span *span)
{
    struct guest_registers *regs = &g->vcpu->regs;
    unsigned size = a->size - 2u;
    uint8_t bytes[10] = {0};
    struct guest_segment cs;
    uint64_t rip = 0, accessed;
    uint16_t selector;
    enum guest_result result = guest_span_read_bytes(g, span, bytes);

    if (result != GUEST_OK) {
        return result;
    }
    memcpy(&rip, bytes, size);
    memcpy(&selector, bytes + size, sizeof(selector));
    result = load_code(g, selector, &cs, &accessed);
    if (result == GUEST_OK && !lands(g, &cs, rip)) {
        return guest_raise_gp(g->vcpu);
    }
    if (result == GUEST_OK && accessed != 0) {
        uint8_t byte = (uint8_t)cs.access;

        result = guest_system_write(g, accessed + DESCRIPTOR_ACCESS_BYTE, &byte, sizeof(byte));
    }
    if (result == GUEST_OK && a->which) {
        result =
            guest_push_pair(g, size, regs->rip + in->length, g->state.segment[SEG_CS].selector);
    }
    if (result != GUEST_OK) {
        return result;
    }
    g->state.segment[SEG_CS] = cs;
    arch_backend()->set_state(g->vcpu, &g->state);
    regs->rip = rip - in->length; /* and then it advances */
    return GUEST_OK;
}
