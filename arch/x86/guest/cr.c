/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control registers and XSETBV, as far as they exit.  Checks are those of Intel SDM volume 2,
 * "MOV - Move to/from Control Registers" and "XSETBV", and of volume 3, "Control Registers".
 */
#include "arch/x86/cpu.h"
#include "arch/x86/guest/guest.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/policy.h"
#include "hv/vdev/irq/vlapic.h"

#define CR0_VALID                                                                                  \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define CR0_LMSW   (CR0_PE | CR0_MP | CR0_EM | CR0_TS)
#define CR0_PAGING (CR0_PG | CR0_WP)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

#define XCR0_REGISTER 0u

void guest_flush_translations(struct vcpu *vcpu)
{
    vcpu->tlb_cpu = UINT32_MAX; /* "nowhere": tlb_enter asks for a flush */
}

/* ---- CR0, CR3, CR4: false means #GP ---- */

static bool set_paging(struct guest_state *state, uint64_t value)
{
    bool was = (state->cr0 & CR0_PG) != 0, on = (value & CR0_PG) != 0;
    bool long_code = (state->efer & EFER_LMA) && (state->segment[SEG_CS].access & SEGMENT_LONG);

    if (on && !was && (state->efer & EFER_LME)) {
        if (!(state->cr4 & CR4_PAE) || (state->segment[SEG_CS].access & SEGMENT_LONG)) {
            return false;
        }
        state->efer |= EFER_LMA;
    }
    if (!on && was) {
        if (long_code || (state->cr4 & CR4_PCIDE)) {
            return false;
        }
        state->efer &= ~(uint64_t)EFER_LMA;
    }
    return true;
}

static bool set_cr0(struct vcpu *vcpu, struct guest_state *state, uint64_t value)
{
    uint64_t old = state->cr0;

    if (value >> 32) {
        return false;
    }
    value = (value & CR0_VALID) | CR0_ET;
    if ((value & CR0_PG) && !(value & CR0_PE)) {
        return false;
    }
    if ((value & CR0_NW) && !(value & CR0_CD)) {
        return false;
    }
    if (!set_paging(state, value)) {
        return false;
    }
    state->cr0 = value;
    if ((old ^ value) & CR0_PAGING) {
        guest_flush_translations(vcpu);
    }
    return true;
}

static bool set_cr3(struct vcpu *vcpu, struct guest_state *state, uint64_t value)
{
    if (state->cr4 & CR4_PCIDE) {
        value &= ~BIT(63);
    }
    if (state->efer & EFER_LMA) {
        if (value >> guest_physical_bits()) {
            return false;
        }
    } else {
        value &= 0xffffffff;
    }
    state->cr3 = value;
    guest_flush_translations(vcpu);
    return true;
}

static bool set_cr4(struct vcpu *vcpu, struct guest_state *state, uint64_t value)
{
    uint64_t changed = state->cr4 ^ value;
    bool long_mode = (state->efer & EFER_LMA) != 0;

    if (value & ~guest_policy()->cr4_allowed) {
        return false;
    }
    if (long_mode && !(value & CR4_PAE)) {
        return false;
    }
    if ((changed & CR4_PCIDE) && (value & CR4_PCIDE) &&
        (!long_mode || (state->cr3 & BITS(11, 0)))) {
        return false;
    }
    state->cr4 = value;
    if (changed & CR4_PAGING) {
        guest_flush_translations(vcpu);
    }
    return true;
}

/* ---- the access as an instruction ---- */

enum cr_operation {
    CR_READ,
    CR_WRITE,
    CR_CLTS,
    CR_LMSW,
    CR_SMSW,
    CR_UNDEFINED, /* not an access to a control register */
    CR_CHANGED,   /* the instruction at RIP is not the one that has exited */
};

/* What the guest asks for, whether the backend or our decoder said so. */
struct cr_access {
    enum cr_operation operation;
    unsigned number; /* CR_READ, CR_WRITE: CR0 ... */
    unsigned gpr;    /* ... and the other operand */
    bool has_source; /* CR_LMSW: the backend knows the operand ... */
    uint16_t source; /* ... which is this */
    unsigned length;
    struct instruction in; /* CR_LMSW and CR_SMSW without it */
};

static struct cr_access access_of_exit(const struct vcpu_exit *exit)
{
    struct cr_access a = {
        .operation = exit->cr.write ? CR_WRITE : CR_READ,
        .number = exit->cr.number,
        .gpr = exit->cr.gpr,
        .has_source = exit->cr.lmsw,
        .source = exit->cr.lmsw_source,
        .length = exit->length,
    };

    if (exit->cr.clts || exit->cr.lmsw) {
        a.operation = exit->cr.clts ? CR_CLTS : CR_LMSW;
    }
    return a;
}

static enum cr_operation operation_of(const struct instruction *in)
{
    if (in->encoding != DECODE_LEGACY || in->map != DECODE_MAP_0F) {
        return CR_CHANGED;
    }
    switch (in->opcode) {
    case 0x01:
        if ((in->modrm & 0x38) == 0x30) {
            return CR_LMSW;
        }
        return (in->modrm & 0x38) == 0x20 ? CR_SMSW : CR_UNDEFINED;
    case 0x06:
        return CR_CLTS;
    case 0x20:
        return CR_READ;
    case 0x22:
        return CR_WRITE;
    default:
        return CR_CHANGED;
    }
}

/* For SVM without decode assists. */
static struct cr_access access_of_instruction(const struct instruction *in)
{
    return (struct cr_access){
        .operation = operation_of(in),
        .number = in->reg | (in->lock ? 8 : 0), /* AMD: LOCK MOV CR0 is CR8 */
        .gpr = in->rm,
        .length = in->length,
        .in = *in,
    };
}

/* ---- performing it ---- */

static enum guest_result read_register(struct guest_context *g, const struct cr_access *a)
{
    const struct guest_state *state = &g->state;
    uint64_t value;

    switch (a->number) {
    case 0:
        value = state->cr0;
        break;
    case 2:
        value = g->vcpu->regs.cr2;
        break;
    case 3:
        value = state->cr3;
        break;
    case 4:
        value = state->cr4;
        break;
    case 8:
        value = vlapic_get_tpr(g->vcpu->vlapic);
        break;
    default:
        return guest_raise_ud(g->vcpu);
    }
    /* Always 64 bits in 64-bit mode, always 32 bits elsewhere. */
    g->vcpu->regs.gpr[a->gpr] = g->mode == DECODE_64 ? value : (value & 0xffffffff);
    return GUEST_OK;
}

static enum guest_result write_register(struct guest_context *g, unsigned number, uint64_t value)
{
    struct vcpu *vcpu = g->vcpu;
    bool ok;

    switch (number) {
    case 0:
        ok = set_cr0(vcpu, &g->state, value);
        break;
    case 2:
        vcpu->regs.cr2 = value;
        return GUEST_OK;
    case 3:
        ok = set_cr3(vcpu, &g->state, value);
        break;
    case 4:
        ok = set_cr4(vcpu, &g->state, value);
        break;
    case 8:
        if (value >> 4) {
            return guest_raise_gp(vcpu);
        }
        vlapic_set_tpr(vcpu->vlapic, value);
        return GUEST_OK;
    default:
        return guest_raise_ud(vcpu);
    }
    if (!ok) {
        return guest_raise_gp(vcpu);
    }
    arch_backend()->set_state(vcpu, &g->state);
    return GUEST_OK;
}

/* It cannot clear PE. */
enum guest_result guest_write_msw(struct guest_context *g, uint16_t source)
{
    uint64_t cr0 = g->state.cr0;

    return write_register(g, 0, (cr0 & ~(uint64_t)CR0_LMSW) | (source & CR0_LMSW) | (cr0 & CR0_PE));
}

/* The operand of LMSW m and SMSW m: two bytes. */
static enum guest_result msw_span(struct guest_context *g, const struct instruction *in,
                                  unsigned access, struct guest_span *span)
{
    gva_t linear;
    enum guest_result result =
        guest_linear(g, in->segment, guest_operand_offset(g->vcpu, in), 2, access, &linear);

    return result == GUEST_OK ? guest_span_prepare(g, linear, 2, access, span) : result;
}

static enum guest_result perform_lmsw(struct guest_context *g, const struct cr_access *a)
{
    uint64_t source = a->has_source ? a->source : g->vcpu->regs.gpr[a->in.rm];
    enum guest_result result = GUEST_OK;
    struct guest_span span;

    if (!a->has_source && a->in.memory) {
        result = msw_span(g, &a->in, ACCESS_READ, &span);
        if (result == GUEST_OK) {
            result = guest_span_read(g, &span, &source);
        }
    }
    return result == GUEST_OK ? guest_write_msw(g, (uint16_t)source) : result;
}

static enum guest_result perform_smsw(struct guest_context *g, const struct instruction *in)
{
    struct guest_span span;
    enum guest_result result;

    if (!in->memory) {
        guest_register_write(g->vcpu, in, in->rm, in->operand_size, g->state.cr0);
        return GUEST_OK;
    }
    result = msw_span(g, in, ACCESS_WRITE, &span);
    return result == GUEST_OK ? guest_span_write(g, &span, g->state.cr0) : result;
}

static enum guest_result perform_move(struct guest_context *g, const struct cr_access *a)
{
    uint64_t value;

    if (a->gpr >= GPR_COUNT) {
        return guest_raise_ud(g->vcpu);
    }
    if (a->operation == CR_READ) {
        return read_register(g, a);
    }
    value = g->vcpu->regs.gpr[a->gpr];
    return write_register(g, a->number, g->mode == DECODE_64 ? value : (value & 0xffffffff));
}

static enum guest_result perform_access(struct guest_context *g, const struct cr_access *a)
{
    switch (a->operation) {
    case CR_READ:
    case CR_WRITE:
        return perform_move(g, a);
    case CR_CLTS:
        return write_register(g, 0, g->state.cr0 & ~(uint64_t)CR0_TS);
    case CR_LMSW:
        return perform_lmsw(g, a);
    case CR_SMSW:
        return perform_smsw(g, &a->in);
    case CR_UNDEFINED:
        return guest_raise_ud(g->vcpu);
    case CR_CHANGED:
        break;
    }
    return GUEST_RETRY;
}

enum exit_result arch_guest_cr_access(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    struct cr_access a = access_of_exit(exit);
    enum guest_result result = GUEST_OK;
    struct guest_context g;
    struct instruction in;

    guest_context_init(&g, vcpu);
    if (a.gpr == GPR_NONE || a.length == 0) {
        result = guest_fetch(&g, &in);
        a = result == GUEST_OK ? access_of_instruction(&in) : a;
    }
    if (result == GUEST_OK) {
        result = perform_access(&g, &a);
    }
    if (result != GUEST_OK) {
        return guest_exit_result(result);
    }
    arch_guest_advance(vcpu, a.length);
    return EXIT_RESUME;
}

/* ---- XSETBV ---- */

static bool xcr0_ok(uint64_t value)
{
    uint64_t avx512 = value & XCR0_AVX512;

    if ((value & ~guest_policy()->xcr0_allowed) || !(value & XCR0_X87)) {
        return false;
    }
    if ((value & XCR0_AVX) && !(value & XCR0_SSE)) {
        return false;
    }
    return avx512 == 0 || (avx512 == XCR0_AVX512 && (value & XCR0_AVX));
}

enum exit_result arch_guest_xsetbv(struct vcpu *vcpu, const struct vcpu_exit *exit)
{
    uint64_t *gpr = vcpu->regs.gpr;
    uint64_t value = (gpr[GPR_RDX] << 32) | (gpr[GPR_RAX] & 0xffffffff);
    struct guest_context g;
    enum exit_result result;
    unsigned length;

    guest_context_init(&g, vcpu);
    if (!(g.state.cr4 & CR4_OSXSAVE)) {
        return guest_exit_result(guest_raise_ud(vcpu));
    }
    if (g.cpl != 0 || (uint32_t)gpr[GPR_RCX] != XCR0_REGISTER || !xcr0_ok(value)) {
        return guest_exit_result(guest_raise_gp(vcpu));
    }
    result = arch_guest_instruction_length(vcpu, exit, &length);
    if (result != EXIT_RESUME || length == 0) {
        return result;
    }
    vcpu->xcr0 = value;
    guest_load_xcr0(vcpu);
    arch_guest_advance(vcpu, length);
    return EXIT_RESUME;
}
