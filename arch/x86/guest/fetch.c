/* SPDX-License-Identifier: BSD-2-Clause */
/* State, segments and instruction fetch; stepping over an instruction. */
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/segment.h"

static enum decode_mode code_mode(const struct guest_state *state, uint64_t rflags)
{
    uint32_t access = state->segment[SEG_CS].access;

    if ((state->efer & EFER_LMA) && (access & SEGMENT_LONG)) {
        return DECODE_64;
    }
    if ((state->cr0 & CR0_PE) && (rflags & RFLAGS_VM)) {
        return DECODE_16;
    }
    return (access & SEGMENT_BIG) ? DECODE_32 : DECODE_16;
}

uint8_t guest_privilege_level(const struct guest_state *state, uint64_t rflags)
{
    if (!(state->cr0 & CR0_PE)) {
        return 0;
    }
    if (rflags & RFLAGS_VM) {
        return 3;
    }
    return (uint8_t)FIELD_GET(SEGMENT_DPL, state->segment[SEG_SS].access);
}

void guest_context_init(struct guest_context *g, struct vcpu *vcpu)
{
    g->vcpu = vcpu;
    g->cached = 0;
    arch_backend()->get_state(vcpu, &g->state);
    g->mode = code_mode(&g->state, vcpu->regs.rflags);
    g->cpl = guest_privilege_level(&g->state, vcpu->regs.rflags);
}

enum exit_result guest_exit_result(enum guest_result result)
{
    switch (result) {
    case GUEST_PARK:
        return EXIT_PARK;
    case GUEST_FAIL:
        return EXIT_FAIL;
    default:
        return EXIT_RESUME;
    }
}

enum guest_result guest_memory_result(struct vcpu *vcpu, enum mm_result result, gpa_t at,
                                      const char *what)
{
    switch (result) {
    case MM_OK:
        return GUEST_OK;
    case MM_WAIT:
        return GUEST_PARK;
    case MM_NO_MEMSLOT:
        vm_fail(vcpu->vm, "vCPU %u: %s at guest-physical 0x%lx is not in memory, RIP 0x%lx",
                vcpu->index, what, (unsigned long)at.v, (unsigned long)vcpu->regs.rip);
        return GUEST_FAIL;
    case MM_LOST:
        break;
    }
    vm_lose_page(vcpu->vm, "vCPU %u: %s at guest-physical 0x%lx", vcpu->index, what,
                 (unsigned long)at.v);
    return GUEST_FAIL;
}

enum guest_result guest_raise_gp(struct vcpu *vcpu)
{
    vcpu_inject_fault(vcpu, VECTOR_GP, 0);
    return GUEST_FAULT;
}

enum guest_result guest_raise_ud(struct vcpu *vcpu)
{
    vcpu_inject_exception(vcpu, VECTOR_UD);
    return GUEST_FAULT;
}

static enum guest_result raise_segment(struct guest_context *g, unsigned segment)
{
    vcpu_inject_fault(g->vcpu, segment == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
    return GUEST_FAULT;
}

bool guest_is_canonical(const struct guest_context *g, uint64_t address)
{
    unsigned shift = (g->state.cr4 & CR4_LA57) ? 64 - 57 : 64 - 48;

    return (uint64_t)((int64_t)(address << shift) >> shift) == address;
}

static enum guest_result linear64(struct guest_context *g, unsigned segment, uint64_t offset,
                                  unsigned bytes, gva_t *out)
{
    uint64_t base = segment == SEG_FS || segment == SEG_GS ? g->state.segment[segment].base : 0;
    uint64_t linear = base + offset;

    if (!guest_is_canonical(g, linear) || !guest_is_canonical(g, linear + bytes - 1)) {
        return raise_segment(g, segment);
    }
    *out = gva(linear);
    return GUEST_OK;
}

/* SDM volume 3, "Limit Checking" and "Type Checking". */
static bool segment_allows(const struct guest_context *g, const struct guest_segment *s,
                           uint64_t offset, unsigned bytes, unsigned access)
{
    bool protected_mode = (g->state.cr0 & CR0_PE) && !(g->vcpu->regs.rflags & RFLAGS_VM);
    uint64_t last = offset + bytes - 1;

    if (s->access & SEGMENT_UNUSABLE) {
        return false;
    }
    if (protected_mode) {
        bool code = (s->access & SEGMENT_CODE) != 0;

        if ((access & ACCESS_WRITE) && (code || !(s->access & SEGMENT_RW))) {
            return false;
        }
        if (code && (access & ACCESS_READ) && !(s->access & SEGMENT_RW)) {
            return false;
        }
        if (!code && (s->access & SEGMENT_DOWN)) {
            uint64_t top = (s->access & SEGMENT_BIG) ? 0xffffffff : 0xffff;

            return offset > s->limit && last <= top;
        }
    }
    return last <= s->limit;
}

enum guest_result guest_linear(struct guest_context *g, unsigned segment, uint64_t offset,
                               unsigned bytes, unsigned access, gva_t *out)
{
    const struct guest_segment *s = &g->state.segment[segment];

    if (g->mode == DECODE_64) {
        return linear64(g, segment, offset, bytes, out);
    }
    if (!segment_allows(g, s, offset, bytes, access)) {
        return raise_segment(g, segment);
    }
    *out = gva((s->base + offset) & 0xffffffff);
    return GUEST_OK;
}

bool guest_may_jump(const struct guest_context *g, uint64_t rip)
{
    return g->mode == DECODE_64 ? guest_is_canonical(g, rip)
                                : rip <= g->state.segment[SEG_CS].limit;
}

/* ---- instruction fetch ---- */

static uint64_t code_address(const struct guest_context *g)
{
    uint64_t rip = g->vcpu->regs.rip;

    if (g->mode == DECODE_64) {
        return rip;
    }
    return (g->state.segment[SEG_CS].base + rip) & 0xffffffff;
}

static enum guest_result fetch_bytes(struct guest_context *g, uint64_t linear, uint8_t *bytes,
                                     size_t count)
{
    struct vcpu *vcpu = g->vcpu;
    gpa_t at;
    enum mm_result read;
    enum guest_result result = guest_translate(g, gva(linear), ACCESS_EXEC, &at);

    if (result != GUEST_OK) {
        return result;
    }
    read = space_read(vcpu->space, at, bytes, count, &vcpu->waiter);
    if (read == MM_NO_MEMSLOT) {
        memset(bytes, 0xff, count); /* as a bus without a device answers */
        return GUEST_OK;
    }
    return guest_memory_result(vcpu, read, at, "instruction");
}

enum guest_result guest_fetch(struct guest_context *g, struct instruction *in)
{
    uint8_t bytes[DECODE_MAX_LENGTH];
    uint64_t linear = code_address(g);
    size_t in_page = PAGE_SIZE - (linear & ~PAGE_MASK);
    size_t count = MIN(sizeof(bytes), in_page);
    enum guest_result result = fetch_bytes(g, linear, bytes, count);
    enum decode_result decoded;

    if (result != GUEST_OK) {
        return result;
    }
    decoded = decode_instruction(bytes, count, g->mode, in);
    if (decoded == DECODE_SHORT) {
        uint64_t next = linear + count;

        if (g->mode != DECODE_64) {
            next &= 0xffffffff;
        }
        /* The next page only if the instruction reaches into it. */
        result = fetch_bytes(g, next, bytes + count, sizeof(bytes) - count);
        if (result != GUEST_OK) {
            return result;
        }
        decoded = decode_instruction(bytes, sizeof(bytes), g->mode, in);
    }
    return decoded == DECODE_OK ? GUEST_OK : guest_raise_ud(g->vcpu);
}

/* Instructions that exit and have no operands, as everybody writes them: without prefixes. */
static const struct plain {
    uint8_t length; /* 0: has to be decoded */
    uint8_t bytes[3];
} plain_encoding[EXIT_KIND_COUNT] = {
    [EXIT_KIND_CPUID] = {2, {0x0f, 0xa2}},           [EXIT_KIND_HLT] = {1, {0xf4}},
    [EXIT_KIND_PAUSE] = {2, {0xf3, 0x90}},           [EXIT_KIND_RDMSR] = {2, {0x0f, 0x32}},
    [EXIT_KIND_WRMSR] = {2, {0x0f, 0x30}},           [EXIT_KIND_XSETBV] = {3, {0x0f, 0x01, 0xd1}},
    [EXIT_KIND_HYPERCALL] = {3, {0x0f, 0x01, 0xd9}}, [EXIT_KIND_WBINVD] = {2, {0x0f, 0x09}},
};

/* Is it the plain encoding of what has exited?  Then there is nothing to decode. */
static enum guest_result match_plain(struct guest_context *g, enum exit_kind kind, bool *matches)
{
    const struct plain *plain = &plain_encoding[kind];
    uint64_t linear = code_address(g);
    uint8_t bytes[sizeof(plain->bytes)] = {0};
    enum guest_result result;

    *matches = false;
    if (plain->length == 0 || PAGE_SIZE - (linear & ~PAGE_MASK) < plain->length) {
        return GUEST_OK;
    }
    result = fetch_bytes(g, linear, bytes, plain->length);
    *matches =
        bytes[0] == plain->bytes[0] && bytes[1] == plain->bytes[1] && bytes[2] == plain->bytes[2];
    return result;
}

enum exit_result arch_guest_instruction_length(struct vcpu *vcpu, const struct vcpu_exit *exit,
                                               unsigned *length)
{
    struct guest_context g;
    struct instruction in;
    enum guest_result result;
    bool plain;

    *length = exit->length;
    if (*length != 0) {
        return EXIT_RESUME;
    }
    guest_context_init(&g, vcpu);
    result = match_plain(&g, exit->kind, &plain);
    if (result == GUEST_OK && !plain) {
        result = guest_fetch(&g, &in);
    }
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    *length = plain ? plain_encoding[exit->kind].length : in.length;
    return EXIT_RESUME;
}

/* RIP has passed 4 GiB: outside 64-bit mode EIP wraps, and VM entry insists on it. */
static void wrap_rip(struct vcpu *vcpu)
{
    struct guest_context g;

    guest_context_init(&g, vcpu);
    if (g.mode != DECODE_64) {
        vcpu->regs.rip &= 0xffffffff;
    }
}

void arch_guest_advance(struct vcpu *vcpu, unsigned length)
{
    struct guest_registers *regs = &vcpu->regs;
    uint64_t old = regs->rip;

    regs->rip += length;
    if ((old ^ regs->rip) >> 32) {
        wrap_rip(vcpu);
    }
    regs->rflags &= ~(uint64_t)RFLAGS_RF;
    arch_backend()->clear_shadow(vcpu);
}

bool arch_guest_traps(struct vcpu *vcpu)
{
    return arch_backend()->trap_pending(vcpu);
}
