/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/vector.h"

#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/guest/fpu.h"
#include "arch/x86/guest/guest.h"

/* ---- decoding ---- */

#define PREFIX_NONE 0
#define PREFIX_66   1
#define PREFIX_F3   2
#define PREFIX_F2   3

static unsigned prefix_of(const struct instruction *in)
{
    if (in->rep == 0) {
        return in->opsize ? PREFIX_66 : PREFIX_NONE;
    }
    return in->rep == 0xf3 ? PREFIX_F3 : PREFIX_F2;
}

static struct vector_move move(uint8_t bytes, bool store)
{
    return (struct vector_move){.bytes = bytes, .store = store};
}

static struct vector_move aligned(uint8_t bytes, bool store)
{
    return (struct vector_move){.bytes = bytes, .store = store, .aligned = true};
}

static struct vector_move half(unsigned prefix, uint8_t offset, bool store)
{
    return (struct vector_move){
        .bytes = prefix <= PREFIX_66 ? 8 : 0, .offset = offset, .store = store, .merge = true};
}

static struct vector_move mmx(uint8_t bytes, bool store)
{
    return (struct vector_move){.bytes = bytes, .store = store, .mmx = true};
}

/* MOVUPS, MOVUPD, MOVSS, MOVSD */
static struct vector_move unaligned(unsigned prefix, uint8_t whole, bool store)
{
    static const uint8_t scalar[] = {[PREFIX_F3] = 4, [PREFIX_F2] = 8};

    return move(prefix <= PREFIX_66 ? whole : scalar[prefix], store);
}

/* MOVQ, MOVDQA, MOVDQU */
static struct vector_move integers(unsigned prefix, uint8_t whole, bool store)
{
    switch (prefix) {
    case PREFIX_NONE:
        return mmx(8, store);
    case PREFIX_66:
        return aligned(whole, store);
    case PREFIX_F3:
        return move(whole, store);
    default:
        return move(0, store);
    }
}

static struct vector_move map_0f(const struct instruction *in, unsigned prefix, uint8_t whole)
{
    uint8_t word = (in->rex & DECODE_REX_W) ? 8 : 4;
    bool store = in->opcode & 1;

    switch (in->opcode) {
    case 0x10 ... 0x11:
        return unaligned(prefix, whole, store);
    case 0x12 ... 0x13: /* MOVLPS, MOVLPD */
        return half(prefix, 0, store);
    case 0x16 ... 0x17: /* MOVHPS, MOVHPD */
        return half(prefix, 8, store);
    case 0x28 ... 0x29: /* MOVAPS, MOVAPD */
    case 0x2b:          /* MOVNTPS, MOVNTPD */
        return aligned(prefix <= PREFIX_66 ? whole : 0, store);
    case 0x6e: /* MOVD, MOVQ */
        return prefix == PREFIX_NONE ? mmx(word, false)
                                     : move(prefix == PREFIX_66 ? word : 0, false);
    case 0x7e:
        if (prefix == PREFIX_F3) {
            return move(8, false);
        }
        return prefix == PREFIX_NONE ? mmx(word, true) : move(prefix == PREFIX_66 ? word : 0, true);
    case 0x6f:
        return integers(prefix, whole, false);
    case 0x7f:
        return integers(prefix, whole, true);
    case 0xd6: /* MOVQ */
        return move(prefix == PREFIX_66 ? 8 : 0, true);
    case 0xe7: /* MOVNTQ, MOVNTDQ */
        return prefix == PREFIX_NONE ? mmx(8, true)
                                     : aligned(prefix == PREFIX_66 ? whole : 0, true);
    case 0xf0: /* LDDQU */
        return move(prefix == PREFIX_F2 ? whole : 0, false);
    default:
        return move(0, false);
    }
}

/* VEX has no MMX; its scalars and words are 128 bits wide or ignore L; its loads of halves have a
 * third operand, and they are not done. */
static bool vex_allows(const struct instruction *in, const struct vector_move *move)
{
    bool word = in->opcode == 0x6e || in->opcode == 0x7e || in->opcode == 0xd6;

    return !move->mmx && in->vector_register == 0 && !(move->merge && !move->store) &&
           !(in->vector_256 && (word || move->merge));
}

struct vector_move vector_move_of(const struct instruction *in)
{
    unsigned prefix = prefix_of(in);
    bool vex = in->encoding == DECODE_VEX;
    uint8_t whole = vex && in->vector_256 ? 32 : 16;
    struct vector_move m = move(0, false);

    if ((vex || in->encoding == DECODE_LEGACY) && in->map == DECODE_MAP_0F) {
        m = map_0f(in, prefix, whole);
    } else if ((vex || in->encoding == DECODE_LEGACY) && in->map == DECODE_MAP_0F38 &&
               in->opcode == 0x2a && prefix == PREFIX_66) {
        m = aligned(whole, false); /* MOVNTDQA */
    }
    m.number = m.mmx ? in->reg & 7 : in->reg;
    m.vex = vex;
    if (vex && !vex_allows(in, &m)) {
        m.bytes = 0;
    }
    return m;
}

/* ---- what it needs: SDM volume 2, "Exception Conditions of Legacy SIMD Instructions" ---- */

static bool exists(const struct guest_context *g, const struct vector_move *move)
{
    uint64_t avx = XCR0_SSE | XCR0_AVX;

    if (move->vex) {
        /* Not in real and virtual-8086 mode. */
        return (g->state.cr4 & CR4_OSXSAVE) && (fpu_xcr0(g->vcpu) & avx) == avx &&
               (g->state.cr0 & CR0_PE) && !(g->vcpu->regs.rflags & RFLAGS_VM);
    }
    return !(g->state.cr0 & CR0_EM) && (move->mmx || (g->state.cr4 & CR4_OSFXSR));
}

bool vector_move_allowed(const struct guest_context *g, const struct vector_move *move)
{
    if (!exists(g, move)) {
        vcpu_inject_exception(g->vcpu, VECTOR_UD);
        return false;
    }
    if (g->state.cr0 & CR0_TS) {
        vcpu_inject_exception(g->vcpu, VECTOR_NM);
        return false;
    }
    return true;
}

/* ---- registers ---- */

void vector_move_get(const struct guest_context *g, const struct vector_move *move, uint8_t *bytes)
{
    uint8_t whole[VECTOR_BYTES];

    fpu_get_register(g->vcpu, move->mmx, move->number, whole);
    memcpy(bytes, whole + move->offset, move->bytes);
}

void vector_move_set(const struct guest_context *g, const struct vector_move *move,
                     const uint8_t *bytes)
{
    uint8_t whole[VECTOR_BYTES];
    uint8_t above = move->mmx ? 8 : 16;

    fpu_get_register(g->vcpu, move->mmx, move->number, whole);
    if (!move->merge) {
        memset(whole, 0, move->vex ? sizeof(whole) : above);
    }
    memcpy(whole + move->offset, bytes, move->bytes);
    fpu_set_register(g->vcpu, move->mmx, move->number, whole);
    if (move->vex) {
        fpu_clear_above(g->vcpu, move->number);
    }
}
