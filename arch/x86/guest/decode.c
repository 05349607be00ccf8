/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instruction length and fields.  The formats are those of Intel SDM volume 2, "Instruction Format"
 * and "Opcode Map", and of AMD APM volume 3, "Opcode and Operand Encodings" (3DNow!, XOP).
 */
#include "arch/x86/guest/decode.h"

#include "arch/x86/guest/decode_tables.h"

/* The bytes left to read, and how reading has failed. */
struct cursor {
    const uint8_t *bytes;
    size_t count; /* readable, at most DECODE_MAX_LENGTH */
    size_t at;
    bool truncated; /* `count` was cut down to DECODE_MAX_LENGTH: running out is #GP, not SHORT */
    bool failed;
};

static uint8_t take8(struct cursor *c)
{
    if (c->at >= c->count) {
        c->failed = true;
        return 0;
    }
    return c->bytes[c->at++];
}

static uint64_t take(struct cursor *c, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)take8(c) << (8 * i);
    }
    return value;
}

static int64_t sign_extend(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;

    if (bytes == 0) {
        return 0;
    }
    return (int64_t)(value << shift) >> shift;
}

static uint8_t peek(struct cursor *c)
{
    if (c->at >= c->count) {
        c->failed = true;
        return 0;
    }
    return c->bytes[c->at];
}

static void set_segment(struct instruction *in, uint8_t segment)
{
    /* ES, CS, SS and DS overrides are null prefixes in 64-bit mode, and do not undo FS or GS. */
    if (in->mode == DECODE_64 && segment < 4) {
        return;
    }
    in->segment = segment;
    in->segment_override = true;
}

/* Takes one legacy prefix; false if the byte is none. */
static bool take_prefix(struct instruction *in, uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        set_segment(in, (byte >> 3) & 3);
        return true;
    case 0x64:
    case 0x65:
        set_segment(in, byte - 0x60);
        return true;
    case 0x66:
        in->opsize = true;
        return true;
    case 0x67:
        in->adrsize = true;
        return true;
    case 0xf0:
        in->lock = true;
        return true;
    case 0xf2:
    case 0xf3:
        in->rep = byte;
        return true;
    default:
        return false;
    }
}

/* Legacy prefixes and REX; leaves the cursor at the opcode. */
static void take_prefixes(struct cursor *c, struct instruction *in)
{
    while (!c->failed) {
        uint8_t byte = peek(c);

        if (take_prefix(in, byte)) {
            /* A REX counts only right before the opcode. */
            in->has_rex = false;
            in->rex = 0;
        } else if (in->mode == DECODE_64 && (byte & 0xf0) == 0x40) {
            in->has_rex = true;
            in->rex = byte & 0xf;
        } else {
            return;
        }
        c->at++;
    }
}

static void set_sizes(struct instruction *in)
{
    switch (in->mode) {
    case DECODE_16:
        in->operand_size = in->opsize ? 4 : 2;
        in->address_size = in->adrsize ? 4 : 2;
        break;
    case DECODE_32:
        in->operand_size = in->opsize ? 2 : 4;
        in->address_size = in->adrsize ? 2 : 4;
        break;
    default:
        in->operand_size = (in->rex & DECODE_REX_W) ? 8 : (in->opsize ? 2 : 4);
        in->address_size = in->adrsize ? 4 : 8;
        break;
    }
}

/* 66, F2, F3, LOCK or REX before VEX, EVEX or XOP: #UD. */
static bool extended_prefix_ok(const struct instruction *in)
{
    return !in->opsize && !in->rep && !in->lock && !in->has_rex;
}

/* Outside 64-bit mode C4, C5 and 62 are VEX and EVEX only if what would be ModRM is a register. */
static bool is_vector_escape(struct cursor *c, const struct instruction *in)
{
    if (in->mode == DECODE_64) {
        return true;
    }
    return (peek(c) & 0xc0) == 0xc0;
}

static void set_vector_prefix(struct instruction *in, uint8_t pp)
{
    in->opsize = pp == 1;
    in->rep = pp == 2 ? 0xf3 : (pp == 3 ? 0xf2 : 0);
}

/* vvvv and L, which VEX has in the byte with pp. */
static void take_vex_payload(struct instruction *in, uint8_t payload)
{
    in->vector_register = (~payload >> 3) & 0xf;
    in->vector_256 = (payload & 4) != 0;
    set_vector_prefix(in, payload & 3);
}

static bool take_vex2(struct cursor *c, struct instruction *in)
{
    uint8_t payload = take8(c);

    in->encoding = DECODE_VEX;
    in->rex = (payload & 0x80) ? 0 : DECODE_REX_R;
    in->map = DECODE_MAP_0F;
    take_vex_payload(in, payload);
    return true;
}

static bool take_vex3(struct cursor *c, struct instruction *in, bool xop)
{
    uint8_t p0 = take8(c);
    uint8_t p1 = take8(c);
    uint8_t map = p0 & 0x1f;

    in->encoding = xop ? DECODE_XOP : DECODE_VEX;
    in->rex = (uint8_t)((~p0 >> 5) & 7) | ((p1 & 0x80) ? DECODE_REX_W : 0);
    take_vex_payload(in, p1);
    if (xop) {
        if (map > 0xa || (p1 & 3)) {
            return false;
        }
        in->map = (uint8_t)(DECODE_MAP_XOP8 + (map - 8));
        return true;
    }
    if (map < 1 || map > 3) {
        return false;
    }
    in->map = map;
    return true;
}

static bool take_evex(struct cursor *c, struct instruction *in)
{
    uint8_t p0 = take8(c);
    uint8_t p1 = take8(c);
    uint8_t map = p0 & 7;

    take8(c);
    in->encoding = DECODE_EVEX;
    in->rex = (uint8_t)((~p0 >> 5) & 7) | ((p1 & 0x80) ? DECODE_REX_W : 0);
    set_vector_prefix(in, p1 & 3);
    if ((p0 & 8) || !(p1 & 4)) {
        return false;
    }
    if (map >= 1 && map <= 3) {
        in->map = map;
    } else if (map == 5 || map == 6) {
        in->map = (uint8_t)(DECODE_MAP_FP16_5 + (map - 5));
    } else {
        return false;
    }
    return true;
}

/* After the byte C4, C5, 62 or 8F: takes a VEX, EVEX or XOP prefix if it is one.  *taken says so.
 */
static bool take_vector_escape(struct cursor *c, struct instruction *in, uint8_t escape,
                               bool *taken)
{
    *taken = false;
    if (escape == 0x8f) {
        /* XOP where ModRM.reg of POP would not be 0: map_select of 8 and more. */
        if ((peek(c) & 0x1f) < 8) {
            return true;
        }
    } else if (!is_vector_escape(c, in)) {
        return true;
    }
    *taken = true;
    if (!extended_prefix_ok(in)) {
        return false;
    }
    switch (escape) {
    case 0xc5:
        return take_vex2(c, in);
    case 0x62:
        return take_evex(c, in);
    default:
        return take_vex3(c, in, escape == 0x8f);
    }
}

/* Opcode, map and the flags of the table; false: undefined. */
static bool take_opcode(struct cursor *c, struct instruction *in, uint16_t *flags)
{
    uint8_t byte = take8(c);
    bool taken = false;

    if (byte == 0xc4 || byte == 0xc5 || byte == 0x62 || byte == 0x8f) {
        if (!take_vector_escape(c, in, byte, &taken)) {
            return false;
        }
    }
    if (taken) {
        in->opcode = take8(c);
        *flags = decode_vector_flags(in);
        return !(*flags & DF_INVALID);
    }
    in->opcode = byte;
    *flags = decode_primary[byte];
    if (byte == 0x0f) {
        in->map = DECODE_MAP_0F;
        in->opcode = take8(c);
        *flags = decode_secondary[in->opcode];
        if (in->opcode == 0x38 || in->opcode == 0x3a) {
            in->map = in->opcode == 0x38 ? DECODE_MAP_0F38 : DECODE_MAP_0F3A;
            *flags = in->opcode == 0x38 ? DF_MODRM : DF_MODRM | DF_IMM8;
            in->opcode = take8(c);
        } else if (in->opcode == 0x0f) {
            in->map = DECODE_MAP_3DNOW;
        }
    }
    if (in->mode == DECODE_64 && (*flags & DF_NOT64)) {
        return false;
    }
    return !(*flags & DF_INVALID);
}

static void set_default_segment(struct instruction *in, uint8_t segment)
{
    if (!in->segment_override) {
        in->segment = segment;
    }
}

/* SDM volume 2, "16-Bit Addressing Forms with the ModR/M Byte". */
static void take_address16(struct cursor *c, struct instruction *in)
{
    static const uint8_t base[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const uint8_t index[8] = {6, 7, 6, 7, 0xff, 0xff, 0xff, 0xff};
    uint8_t rm = in->modrm & 7;

    in->base = base[rm];
    in->index = index[rm];
    in->displacement_bytes = in->mod;
    if (in->mod == 0 && rm == 6) {
        in->base = GPR_NONE;
        in->displacement_bytes = 2;
    }
    set_default_segment(in, in->base == 5 ? SEG_SS : SEG_DS);
    in->displacement = sign_extend(take(c, in->displacement_bytes), in->displacement_bytes);
}

static void take_sib(struct cursor *c, struct instruction *in)
{
    in->has_sib = true;
    in->sib = take8(c);
    in->scale = (uint8_t)(1u << (in->sib >> 6));
    in->index = ((in->sib >> 3) & 7) | ((in->rex & DECODE_REX_X) ? 8 : 0);
    if (in->index == 4) {
        in->index = GPR_NONE; /* no index; R12 with REX.X is one */
    }
    in->base = (in->sib & 7) | ((in->rex & DECODE_REX_B) ? 8 : 0);
    if ((in->sib & 7) == 5 && in->mod == 0) {
        in->base = GPR_NONE;
        in->displacement_bytes = 4;
    }
}

/* SDM volume 2, "32-Bit Addressing Forms with the ModR/M Byte". */
static void take_address32(struct cursor *c, struct instruction *in)
{
    uint8_t rm = in->modrm & 7;

    in->displacement_bytes = in->mod == 1 ? 1 : (in->mod == 2 ? 4 : 0);
    if (rm == 4) {
        take_sib(c, in);
    } else if (in->mod == 0 && rm == 5) {
        in->displacement_bytes = 4;
        in->rip_relative = in->mode == DECODE_64;
    } else {
        in->base = in->rm;
    }
    set_default_segment(in, in->base == 4 || in->base == 5 ? SEG_SS : SEG_DS);
    in->displacement = sign_extend(take(c, in->displacement_bytes), in->displacement_bytes);
}

static void take_modrm(struct cursor *c, struct instruction *in)
{
    in->has_modrm = true;
    in->modrm = take8(c);
    in->mod = in->modrm >> 6;
    in->reg = ((in->modrm >> 3) & 7) | ((in->rex & DECODE_REX_R) ? 8 : 0);
    in->rm = (in->modrm & 7) | ((in->rex & DECODE_REX_B) ? 8 : 0);
    /* MOV to and from control and debug registers ignore mod: always a register. */
    if (in->encoding == DECODE_LEGACY && in->map == DECODE_MAP_0F && in->opcode >= 0x20 &&
        in->opcode <= 0x23) {
        in->mod = 3;
    }
    if (in->mod == 3) {
        return;
    }
    in->memory = true;
    if (in->address_size == 2) {
        take_address16(c, in);
    } else {
        take_address32(c, in);
    }
}

/* Immediates that depend on more than the opcode. */
static uint16_t adjust_flags(const struct instruction *in, uint16_t flags)
{
    if (in->encoding != DECODE_LEGACY) {
        return flags;
    }
    if (in->map == DECODE_MAP_PRIMARY) {
        bool test = (in->opcode & 0xfe) == 0xf6 && (in->modrm & 0x38) <= 0x08;

        if (test) {
            flags |= in->opcode == 0xf6 ? DF_IMM8 : DF_IMMZ; /* TEST of group 3 */
        }
    } else if (in->map == DECODE_MAP_0F && in->opcode == 0x78 && (in->opsize || in->rep == 0xf2)) {
        flags |= DF_IMM8 | DF_SECOND8; /* EXTRQ, INSERTQ; without prefix it is VMREAD */
    }
    return flags;
}

static unsigned immediate_bytes(const struct instruction *in, uint16_t flags)
{
    switch (flags & DF_IMM_MASK) {
    case DF_IMM8:
        return 1;
    case DF_IMM16:
        return 2;
    case DF_IMMZ:
        return in->operand_size == 2 ? 2 : 4;
    case DF_IMMV:
        return in->operand_size;
    case DF_RELZ:
        return in->mode == DECODE_64 || in->operand_size != 2 ? 4 : 2;
    case DF_IMM32:
        return 4;
    default:
        return 0;
    }
}

static void take_immediates(struct cursor *c, struct instruction *in, uint16_t flags)
{
    if (flags & DF_MOFFS) {
        in->displacement_bytes = in->address_size;
        in->displacement = (int64_t)take(c, in->address_size);
        in->memory = true;
        set_default_segment(in, SEG_DS);
    }
    in->immediate_bytes = (uint8_t)immediate_bytes(in, flags);
    in->immediate = (uint64_t)sign_extend(take(c, in->immediate_bytes), in->immediate_bytes);
    if (flags & DF_SECOND8) {
        in->immediate2 = take8(c);
    } else if (flags & DF_SECOND16) {
        in->immediate2 = (uint16_t)take(c, 2);
    }
    if (in->map == DECODE_MAP_3DNOW) {
        in->opcode = take8(c);
    }
}

enum decode_result decode_instruction(const uint8_t *bytes, size_t count, enum decode_mode mode,
                                      struct instruction *out)
{
    struct cursor c = {.bytes = bytes, .count = count};
    uint16_t flags = 0;

    if (c.count >= DECODE_MAX_LENGTH) {
        c.count = DECODE_MAX_LENGTH;
        c.truncated = true;
    }
    *out = (struct instruction){
        .mode = (uint8_t)mode,
        .segment = SEG_DS,
        .base = GPR_NONE,
        .index = GPR_NONE,
        .scale = 1,
    };
    take_prefixes(&c, out);
    if (!take_opcode(&c, out, &flags) && !c.failed) {
        return DECODE_INVALID;
    }
    set_sizes(out);
    if ((flags & DF_MODRM) && !c.failed) {
        take_modrm(&c, out);
    }
    flags = adjust_flags(out, flags);
    take_immediates(&c, out, flags);
    if (c.failed) {
        return c.truncated ? DECODE_INVALID : DECODE_SHORT;
    }
    out->length = (uint8_t)c.at;
    return DECODE_OK;
}
