/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/perform.h"

#include <string.h>

#include "arch/x86/cpu.h"

/* MOVBE */
static uint64_t swapped(const struct action *a, uint64_t value)
{
    return a->swap ? __builtin_bswap64(value) >> (64 - 8 * a->size) : value;
}

static uint64_t extend(uint64_t value, unsigned size, bool sign)
{
    unsigned shift = 64 - 8 * size;

    return sign ? (uint64_t)((int64_t)(value << shift) >> shift) : value;
}

/* register = register op memory */
static enum guest_result perform_to_register(struct guest_context *g, const struct instruction *in,
                                             const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t value, old;
    enum guest_result result = guest_span_read(g, span, &value);

    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind == ACTION_LOAD) {
        guest_register_write(vcpu, in, a->number, a->to_size, extend(value, a->size, a->sign));
        return GUEST_OK;
    }
    value = swapped(a, value);
    old = guest_register_read(vcpu, in, a->number, a->size);
    value = alu_compute(a->op, a->size, old, value, &vcpu->regs.rflags);
    if (alu_writes(a->op)) {
        guest_register_write(vcpu, in, a->number, a->size, value);
    }
    return GUEST_OK;
}

/* memory = memory op (register or immediate) */
static enum guest_result perform_to_memory(struct guest_context *g, const struct instruction *in,
                                           const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rflags = vcpu->regs.rflags;
    uint64_t value = 0, source = a->constant;
    enum guest_result result = GUEST_OK;

    if (a->source == SOURCE_REGISTER) {
        source = swapped(a, guest_register_read(vcpu, in, a->number, a->size));
    }
    if (a->op != ALU_MOV) {
        result = guest_span_read(g, span, &value);
    }
    if (result != GUEST_OK) {
        return result;
    }
    value = alu_compute(a->op, a->size, value, source, &rflags);
    if (alu_writes(a->op)) {
        result = guest_span_write(g, span, value);
    }
    if (result == GUEST_OK) {
        vcpu->regs.rflags = rflags;
    }
    return result;
}

/* XCHG, XADD, CMPXCHG. */
static enum guest_result perform_exchange(struct guest_context *g, const struct instruction *in,
                                          const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rflags = vcpu->regs.rflags;
    uint64_t source = guest_register_read(vcpu, in, a->number, a->size);
    uint64_t old, value = source;
    uint8_t receiver = a->number;
    bool receives = true;
    enum guest_result result = guest_span_read(g, span, &old);

    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind == ACTION_EXCHANGE_ADD) {
        value = alu_compute(ALU_ADD, a->size, old, source, &rflags);
    } else if (a->kind == ACTION_COMPARE_EXCHANGE) {
        uint64_t accumulator = guest_register_read(vcpu, in, GPR_RAX, a->size);

        alu_compute(ALU_CMP, a->size, accumulator, old, &rflags);
        receiver = GPR_RAX;
        receives = accumulator != old;
        value = receives ? old : source; /* the old value is written back, as on hardware */
    }
    result = guest_span_write(g, span, value);
    if (result != GUEST_OK) {
        return result;
    }
    vcpu->regs.rflags = rflags;
    if (receives) {
        guest_register_write(vcpu, in, receiver, a->size, old);
    }
    return GUEST_OK;
}

/* ---- arithmetic on memory: shifts, SETcc ---- */

static unsigned shift_count(const struct vcpu *vcpu, const struct action *a)
{
    return a->source == SOURCE_REGISTER ? vcpu->regs.gpr[GPR_RCX] & 0xff : (unsigned)a->constant;
}

static enum guest_result perform_shift(struct guest_context *g, const struct instruction *in,
                                       const struct action *a, const struct guest_span *span)
{
    struct vcpu *vcpu = g->vcpu;
    uint64_t rflags = vcpu->regs.rflags, value;
    unsigned count = shift_count(vcpu, a);
    enum guest_result result = guest_span_read(g, span, &value);

    if (result != GUEST_OK) {
        return result;
    }
    if (a->kind == ACTION_SHIFT) {
        value = alu_shift((enum alu_shift)a->which, a->size, value, count, &rflags);
    } else {
        uint64_t filler = guest_register_read(vcpu, in, a->number, a->size);

        value = alu_double_shift(a->which, a->size, value, filler, count, &rflags);
    }
    result = guest_span_write(g, span, value);
    if (result == GUEST_OK) {
        vcpu->regs.rflags = rflags;
    }
    return result;
}

/* ---- arithmetic with a value from memory ---- */

/* Products and dividends of bytes are in AX, all others in rDX:rAX. */
static void read_pair(const struct vcpu *vcpu, unsigned size, uint64_t pair[2])
{
    uint64_t rax = vcpu->regs.gpr[GPR_RAX];

    pair[0] = rax & guest_size_mask(size);
    pair[1] = size == 1 ? (rax >> 8) & 0xff : vcpu->regs.gpr[GPR_RDX] & guest_size_mask(size);
}

static void write_pair(struct vcpu *vcpu, const struct instruction *in, unsigned size,
                       const uint64_t pair[2])
{
    if (size == 1) {
        guest_register_write(vcpu, in, GPR_RAX, 2, pair[0] | pair[1] << 8);
    } else {
        guest_register_write(vcpu, in, GPR_RAX, size, pair[0]);
        guest_register_write(vcpu, in, GPR_RDX, size, pair[1]);
    }
}

static enum guest_result multiply(struct vcpu *vcpu, const struct instruction *in,
                                  const struct action *a, uint64_t value)
{
    uint64_t pair[2], other;

    if (a->kind == ACTION_IMUL) {
        other = a->which ? a->constant : guest_register_read(vcpu, in, a->number, a->size);
        alu_multiply(true, a->size, value, other, pair, &vcpu->regs.rflags);
        guest_register_write(vcpu, in, a->number, a->size, pair[0]);
        return GUEST_OK;
    }
    read_pair(vcpu, a->size, pair);
    alu_multiply(a->sign, a->size, value, pair[0], pair, &vcpu->regs.rflags);
    write_pair(vcpu, in, a->size, pair);
    return GUEST_OK;
}

static enum guest_result divide(struct vcpu *vcpu, const struct instruction *in,
                                const struct action *a, uint64_t value)
{
    uint64_t pair[2];

    read_pair(vcpu, a->size, pair);
    if (!alu_divide(a->sign, a->size, pair, value)) {
        vcpu_inject_exception(vcpu, VECTOR_DE);
        return GUEST_FAULT;
    }
    write_pair(vcpu, in, a->size, pair);
    return GUEST_OK;
}

static enum guest_result scan(struct vcpu *vcpu, const struct instruction *in,
                              const struct action *a, uint64_t value)
{
    uint64_t old = guest_register_read(vcpu, in, a->number, a->size);
    bool stays = value == 0 && a->which <= ALU_BSR;

    value = alu_scan((enum alu_scan)a->which, a->size, old, value, &vcpu->regs.rflags);
    if (!stays) {
        guest_register_write(vcpu, in, a->number, a->size, value);
    }
    return GUEST_OK;
}

/* CMOVcc of 4 bytes clears the upper half of its register in any case. */
static enum guest_result condition_load(struct vcpu *vcpu, const struct instruction *in,
                                        const struct action *a, uint64_t value)
{
    if (!alu_condition(a->which, vcpu->regs.rflags)) {
        value = guest_register_read(vcpu, in, a->number, a->size);
    }
    guest_register_write(vcpu, in, a->number, a->size, value);
    return GUEST_OK;
}

/* ---- the rest ---- */

/* CMPXCHG8B, CMPXCHG16B */
static enum guest_result perform_pair(struct guest_context *g, const struct instruction *in,
                                      const struct action *a, const struct guest_span *span)
{
    struct guest_registers *regs = &g->vcpu->regs;
    unsigned half = a->size / 2;
    uint8_t bytes[16] = {0}, wanted[16] = {0};
    uint64_t old[2] = {0};
    bool equal;
    enum guest_result result = guest_span_read_bytes(g, span, bytes);

    if (result != GUEST_OK) {
        return result;
    }
    memcpy(&old[0], bytes, half);
    memcpy(&old[1], bytes + half, half);
    memcpy(wanted, &regs->gpr[GPR_RAX], half);
    memcpy(wanted + half, &regs->gpr[GPR_RDX], half);
    equal = memcmp(bytes, wanted, a->size) == 0;
    if (equal) {
        memcpy(bytes, &regs->gpr[GPR_RBX], half);
        memcpy(bytes + half, &regs->gpr[GPR_RCX], half);
    }
    result = guest_span_write_bytes(g, span, bytes);
    if (result != GUEST_OK) {
        return result;
    }
    regs->rflags = (regs->rflags & ~RFLAGS_ZF) | (equal ? RFLAGS_ZF : 0);
    if (!equal) {
        guest_register_write(g->vcpu, in, GPR_RAX, half, old[0]);
        guest_register_write(g->vcpu, in, GPR_RDX, half, old[1]);
    }
    return GUEST_OK;
}

static enum guest_result perform_vector(struct guest_context *g, const struct action *a,
                                        const struct guest_span *span)
{
    uint8_t bytes[VECTOR_BYTES];
    enum guest_result result;

    if (a->kind == ACTION_VECTOR_STORE) {
        vector_move_get(g, &a->vector, bytes);
        return guest_span_write_bytes(g, span, bytes);
    }
    result = guest_span_read_bytes(g, span, bytes);
    if (result == GUEST_OK) {
        vector_move_set(g, &a->vector, bytes);
    }
    return result;
}

static enum guest_result perform_store(struct guest_context *g, const struct action *a,
                                       const struct guest_span *span)
{
    uint64_t value;

    if (a->kind == ACTION_SET) {
        value = alu_condition(a->which, g->vcpu->regs.rflags);
    } else if (a->which == SYSTEM_MSW) {
        value = g->state.cr0;
    } else {
        value = g->state.segment[a->which].selector;
    }
    return guest_span_write(g, span, value);
}

/* These only read their operand, and all of it. */
static enum guest_result perform_with_value(struct guest_context *g, const struct instruction *in,
                                            const struct action *a, const struct guest_span *span)
{
    uint64_t value;
    enum guest_result result = guest_span_read(g, span, &value);

    if (result != GUEST_OK) {
        return result;
    }
    switch (a->kind) {
    case ACTION_SCAN:
        return scan(g->vcpu, in, a, value);
    case ACTION_IMUL:
    case ACTION_MULTIPLY:
        return multiply(g->vcpu, in, a, value);
    case ACTION_DIVIDE:
        return divide(g->vcpu, in, a, value);
    case ACTION_CONDITION_LOAD:
        return condition_load(g->vcpu, in, a, value);
    case ACTION_SEGMENT:
        return perform_segment_load(g, a->which, (uint16_t)value);
    case ACTION_LMSW:
        return guest_write_msw(g, (uint16_t)value);
    default:
        return perform_system_load(g, a, (uint16_t)value);
    }
}

enum guest_result guest_perform(struct guest_context *g, const struct instruction *in,
                                const struct action *a, const struct guest_span *span)
{
    switch (a->kind) {
    case ACTION_ALU:
        if (a->source != SOURCE_MEMORY) {
            return perform_to_memory(g, in, a, span);
        }
        return perform_to_register(g, in, a, span);
    case ACTION_LOAD:
        return perform_to_register(g, in, a, span);
    case ACTION_EXCHANGE:
    case ACTION_EXCHANGE_ADD:
    case ACTION_COMPARE_EXCHANGE:
        return perform_exchange(g, in, a, span);
    case ACTION_SHIFT:
    case ACTION_DOUBLE_SHIFT:
        return perform_shift(g, in, a, span);
    case ACTION_SET:
    case ACTION_SYSTEM_STORE:
        return perform_store(g, a, span);
    case ACTION_FAR:
        return perform_far(g, in, a, span);
    case ACTION_COMPARE_EXCHANGE_PAIR:
        return perform_pair(g, in, a, span);
    case ACTION_VECTOR_LOAD:
    case ACTION_VECTOR_STORE:
        return perform_vector(g, a, span);
    default:
        return perform_with_value(g, in, a, span);
    }
}
