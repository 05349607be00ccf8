/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of what follows each opcode; private to the decoder (decode.c, decode_tables.c). */
#ifndef SPILLWAY_ARCH_X86_GUEST_DECODE_TABLES_H
#define SPILLWAY_ARCH_X86_GUEST_DECODE_TABLES_H

#include "arch/x86/guest/decode.h"
#include "base/bits.h"

/* First immediate: one of these. */
#define DF_IMM_MASK 0x0007
#define DF_IMM8     0x0001 /* also rel8 */
#define DF_IMM16    0x0002
#define DF_IMMZ     0x0003 /* 2 or 4 bytes by operand size */
#define DF_IMMV     0x0004 /* 2, 4 or 8 bytes by operand size */
#define DF_RELZ     0x0005 /* near branch: 4 bytes in 64-bit mode */
#define DF_IMM32    0x0006

#define DF_MODRM    0x0008
#define DF_SECOND8  0x0010 /* a second immediate of one byte */
#define DF_SECOND16 0x0020 /* a selector after a far pointer's offset */
#define DF_MOFFS    0x0040 /* offset of address size instead of ModRM */
#define DF_NOT64    0x0080 /* undefined in 64-bit mode */
#define DF_INVALID  0x0100

extern const uint16_t decode_primary[256];
extern const uint16_t decode_secondary[256];

/* Flags of a VEX, EVEX or XOP opcode. */
uint16_t decode_vector_flags(const struct instruction *in);

#endif
