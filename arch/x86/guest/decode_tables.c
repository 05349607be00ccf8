/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opcode tables: what follows each opcode byte.  Intel SDM volume 2, appendix "Opcode Map".
 * Prefix bytes and escapes have entries too, but are taken before the table is asked.
 */
#include "arch/x86/guest/decode_tables.h"

#define N 0
#define M DF_MODRM

/* The six forms of an arithmetic instruction: Eb,Gb Ev,Gv Gb,Eb Gv,Ev AL,Ib eAX,Iz. */
#define ARITHMETIC M, M, M, M, DF_IMM8, DF_IMMZ
#define EIGHT(x)   x, x, x, x, x, x, x, x
#define FOUR(x)    x, x, x, x

/* One line per eight opcodes. */
/* clang-format off */
const uint16_t decode_primary[256] = {
    /* 00 */ ARITHMETIC, DF_NOT64, DF_NOT64,
    /* 08 */ ARITHMETIC, DF_NOT64, N,
    /* 10 */ ARITHMETIC, DF_NOT64, DF_NOT64,
    /* 18 */ ARITHMETIC, DF_NOT64, DF_NOT64,
    /* 20 */ ARITHMETIC, N, DF_NOT64,
    /* 28 */ ARITHMETIC, N, DF_NOT64,
    /* 30 */ ARITHMETIC, N, DF_NOT64,
    /* 38 */ ARITHMETIC, N, DF_NOT64,
    /* 40 */ EIGHT(N),
    /* 48 */ EIGHT(N),
    /* 50 */ EIGHT(N),
    /* 58 */ EIGHT(N),
    /* 60 PUSHA POPA BOUND ARPL/MOVSXD prefixes */
    DF_NOT64, DF_NOT64, M | DF_NOT64, M, N, N, N, N,
    /* 68 PUSH Iz, IMUL Iz, PUSH Ib, IMUL Ib, INS, OUTS */
    DF_IMMZ, M | DF_IMMZ, DF_IMM8, M | DF_IMM8, N, N, N, N,
    /* 70 Jcc */ EIGHT(DF_IMM8),
    /* 78 */ EIGHT(DF_IMM8),
    /* 80 group 1, TEST, XCHG */
    M | DF_IMM8, M | DF_IMMZ, M | DF_IMM8 | DF_NOT64, M | DF_IMM8, M, M, M, M,
    /* 88 MOV, LEA, POP */ EIGHT(M),
    /* 90 NOP, XCHG */ EIGHT(N),
    /* 98 CBW CWD CALLF WAIT PUSHF POPF SAHF LAHF */
    N, N, DF_IMMZ | DF_SECOND16 | DF_NOT64, N, N, N, N, N,
    /* a0 MOV moffs, MOVS, CMPS */ FOUR(DF_MOFFS), N, N, N, N,
    /* a8 TEST, STOS, LODS, SCAS */ DF_IMM8, DF_IMMZ, N, N, N, N, N, N,
    /* b0 MOV r8, Ib */ EIGHT(DF_IMM8),
    /* b8 MOV r, Iv */ EIGHT(DF_IMMV),
    /* c0 shifts, RET Iw, RET, LES, LDS, MOV Eb,Ib, MOV Ev,Iz (XABORT, XBEGIN) */
    M | DF_IMM8, M | DF_IMM8, DF_IMM16, N, M | DF_NOT64, M | DF_NOT64, M | DF_IMM8, M | DF_IMMZ,
    /* c8 ENTER, LEAVE, RETF Iw, RETF, INT3, INT, INTO, IRET */
    DF_IMM16 | DF_SECOND8, N, DF_IMM16, N, N, DF_IMM8, DF_NOT64, N,
    /* d0 shifts, AAM, AAD, SALC, XLAT */
    M, M, M, M, DF_IMM8 | DF_NOT64, DF_IMM8 | DF_NOT64, DF_NOT64, N,
    /* d8 x87 */ EIGHT(M),
    /* e0 LOOP, JCXZ, IN, OUT */ EIGHT(DF_IMM8),
    /* e8 CALL, JMP, JMPF, JMP short, IN, OUT by DX */
    DF_RELZ, DF_RELZ, DF_IMMZ | DF_SECOND16 | DF_NOT64, DF_IMM8, N, N, N, N,
    /* f0 LOCK INT1 REPNE REP HLT CMC group 3 (TEST has an immediate: decode.c) */
    N, N, N, N, N, N, M, M,
    /* f8 CLC STC CLI STI CLD STD groups 4, 5 */ N, N, N, N, N, N, M, M,
};
/* clang-format on */

#define X DF_INVALID

/* One line per eight opcodes. */
/* clang-format off */
const uint16_t decode_secondary[256] = {
    /* 00 groups 6, 7, LAR, LSL, -, SYSCALL, CLTS, SYSRET */ M, M, M, M, X, N, N, N,
    /* 08 INVD, WBINVD, -, UD2, -, PREFETCHW, FEMMS, 3DNow! */ N, N, X, N, X, M, N, M,
    /* 10 */ EIGHT(M),
    /* 18 */ EIGHT(M),
    /* 20 MOV CR, DR; 24 to 27 were the test registers */ FOUR(M), FOUR(X),
    /* 28 */ EIGHT(M),
    /* 30 WRMSR RDTSC RDMSR RDPMC SYSENTER SYSEXIT - GETSEC */ N, N, N, N, N, N, X, N,
    /* 38 38 and 3A escape (decode.c) */ M, X, M, X, X, X, X, X,
    /* 40 CMOVcc */ EIGHT(M),
    /* 48 */ EIGHT(M),
    /* 50 */ EIGHT(M),
    /* 58 */ EIGHT(M),
    /* 60 */ EIGHT(M),
    /* 68 */ EIGHT(M),
    /* 70 PSHUF, groups 12 to 14, PCMPEQ, EMMS */ FOUR(M | DF_IMM8), M, M, M, N,
    /* 78 VMREAD (EXTRQ, INSERTQ), VMWRITE */ M, M, X, X, M, M, M, M,
    /* 80 Jcc */ EIGHT(DF_RELZ),
    /* 88 */ EIGHT(DF_RELZ),
    /* 90 SETcc */ EIGHT(M),
    /* 98 */ EIGHT(M),
    /* a0 PUSH FS, POP FS, CPUID, BT, SHLD Ib, SHLD CL, PadLock */
    N, N, N, M, M | DF_IMM8, M, M, M,
    /* a8 PUSH GS, POP GS, RSM, BTS, SHRD Ib, SHRD CL, group 15, IMUL */
    N, N, N, M, M | DF_IMM8, M, M, M,
    /* b0 CMPXCHG LSS BTR LFS LGS MOVZX */ EIGHT(M),
    /* b8 POPCNT UD1 group 8 BTC BSF BSR MOVSX */ M, M, M | DF_IMM8, M, M, M, M, M,
    /* c0 XADD CMPPS MOVNTI PINSRW PEXTRW SHUFPS group 9 */
    M, M, M | DF_IMM8, M, M | DF_IMM8, M | DF_IMM8, M | DF_IMM8, M,
    /* c8 BSWAP */ EIGHT(N),
    /* d0 */ EIGHT(M),
    /* d8 */ EIGHT(M),
    /* e0 */ EIGHT(M),
    /* e8 */ EIGHT(M),
    /* f0 */ EIGHT(M),
    /* f8, UD0 last */ EIGHT(M),
};
/* clang-format on */

/* Map 0F of VEX and EVEX has immediates where the legacy map has them. */
static uint16_t vector_0f_flags(const struct instruction *in)
{
    switch (in->opcode) {
    case 0x70 ... 0x73:
    case 0xc2:
    case 0xc4 ... 0xc6:
        return M | DF_IMM8;
    case 0x77: /* VZEROUPPER, VZEROALL */
        return in->encoding == DECODE_VEX ? N : X;
    default:
        return M;
    }
}

uint16_t decode_vector_flags(const struct instruction *in)
{
    switch (in->map) {
    case DECODE_MAP_0F:
        return vector_0f_flags(in);
    case DECODE_MAP_0F3A:
    case DECODE_MAP_XOP8:
        return M | DF_IMM8;
    case DECODE_MAP_XOPA:
        return M | DF_IMM32;
    default:
        return M;
    }
}
