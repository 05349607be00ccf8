/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pure instruction decoder: bytes and mode in, structure out.
 *
 * It knows the length of every instruction of every map (one-byte, 0F, 0F38, 0F3A, 3DNow!, VEX,
 * EVEX, XOP) and where its parts are.  It does not know what an instruction does: that is the
 * business of whoever asked.  No state, no locks, runs on the host too.
 *
 * Undefined opcodes are rejected where the opcode alone says so; an encoding that is undefined
 * only by its operands may be accepted with the length that its opcode implies.  Near branches in
 * 64-bit mode take a 32-bit displacement whatever the prefixes, as on Intel.
 */
#ifndef SPILLWAY_ARCH_X86_GUEST_DECODE_H
#define SPILLWAY_ARCH_X86_GUEST_DECODE_H

#include "arch/x86/hw/registers.h"
#include "arch/x86/hw/segment.h"
#include "base/types.h"

#define DECODE_MAX_LENGTH 15

enum decode_mode {
    DECODE_16, /* real, virtual-8086 and 16-bit code segments */
    DECODE_32,
    DECODE_64,
};

enum decode_result {
    DECODE_OK,
    DECODE_SHORT,   /* more bytes are needed than were given */
    DECODE_INVALID, /* #UD, or #GP for more than 15 bytes */
};

enum decode_map {
    DECODE_MAP_PRIMARY, /* one-byte opcodes */
    DECODE_MAP_0F,
    DECODE_MAP_0F38,
    DECODE_MAP_0F3A,
    DECODE_MAP_3DNOW, /* opcode is the suffix byte */
    DECODE_MAP_FP16_5,
    DECODE_MAP_FP16_6,
    DECODE_MAP_XOP8,
    DECODE_MAP_XOP9,
    DECODE_MAP_XOPA,
};

enum decode_encoding {
    DECODE_LEGACY,
    DECODE_VEX,
    DECODE_EVEX,
    DECODE_XOP,
};

/* REX bits; for VEX, EVEX and XOP their equivalents, not inverted. */
#define DECODE_REX_B 1u
#define DECODE_REX_X 2u
#define DECODE_REX_R 4u
#define DECODE_REX_W 8u

struct instruction {
    uint8_t length; /* 1..15, all told */
    uint8_t mode;   /* enum decode_mode, as given */
    uint8_t map;    /* enum decode_map */
    uint8_t encoding;
    uint8_t opcode;

    uint8_t rep;  /* 0, 0xf2 or 0xf3: the last one of them; mandatory prefix of the 0F maps */
    bool lock;    /* F0 */
    bool opsize;  /* 66 */
    bool adrsize; /* 67 */
    bool has_rex; /* a REX prefix counts: SPL..DIL instead of AH..BH */
    uint8_t rex;  /* DECODE_REX_* */

    uint8_t vector_register; /* VEX: vvvv, not inverted; 0 if it is not used */
    bool vector_256;         /* VEX.L */

    uint8_t operand_size; /* 2, 4, 8: by mode, 66 and REX.W; 8-bit opcodes are the reader's */
    uint8_t address_size; /* 2, 4, 8 */
    uint8_t segment;      /* of the memory operand: override, or default by its base register */
    bool segment_override;

    bool has_modrm;
    bool has_sib;
    uint8_t modrm, sib;
    uint8_t mod;
    uint8_t reg;  /* with REX.R */
    uint8_t rm;   /* with REX.B; a register if mod == 3 */
    bool memory;  /* the ModRM operand is memory: address = base + index * scale + displacement */
    uint8_t base; /* register number or GPR_NONE; 16-bit forms too */
    uint8_t index;
    uint8_t scale;     /* 1, 2, 4, 8 */
    bool rip_relative; /* displacement counts from the end of the instruction */

    uint8_t displacement_bytes; /* 0, 1, 2, 4; moffs: address size */
    uint8_t immediate_bytes;    /* of the first immediate */
    int64_t displacement;       /* sign-extended; moffs: zero-extended */
    uint64_t immediate;         /* sign-extended */
    uint16_t immediate2;        /* ENTER: nesting level; far pointers: selector; INSERTQ: second */
};

/*
 * Decodes the instruction that starts at bytes[0]; at most DECODE_MAX_LENGTH of the `count` bytes
 * are looked at.  *out is complete on DECODE_OK only.
 */
enum decode_result decode_instruction(const uint8_t *bytes, size_t count, enum decode_mode mode,
                                      struct instruction *out);

#endif
