/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic of emulated instructions with their flags.  Pure functions. */
#ifndef SPILLWAY_ARCH_X86_GUEST_ALU_H
#define SPILLWAY_ARCH_X86_GUEST_ALU_H

#include "base/types.h"

/* The first eight are in the order of the opcode map (opcode bits 5:3, group 1). */
enum alu_op {
    ALU_ADD,
    ALU_OR,
    ALU_ADC,
    ALU_SBB,
    ALU_AND,
    ALU_SUB,
    ALU_XOR,
    ALU_CMP,
    ALU_TEST,
    ALU_INC,
    ALU_DEC,
    ALU_NOT,
    ALU_NEG,
    ALU_BT,
    ALU_BTS,
    ALU_BTR,
    ALU_BTC,
    ALU_MOV, /* source to destination, no flags */
};

/*
 * Computes `op` on operands of `size` (1, 2, 4, 8) bytes and changes the flags in *rflags that the
 * instruction changes.  Returns what goes to the destination (CMP, TEST, BT: the destination
 * itself).  Bit operations take the bit number modulo the operand size.
 */
uint64_t alu_compute(enum alu_op op, unsigned size, uint64_t destination, uint64_t source,
                     uint64_t *rflags);
/* Does the operation write its destination? */
bool alu_writes(enum alu_op op);

/* In the order of group 2. */
enum alu_shift {
    ALU_ROL,
    ALU_ROR,
    ALU_RCL,
    ALU_RCR,
    ALU_SHL,
    ALU_SHR,
    ALU_SAL,
    ALU_SAR,
};

enum alu_scan {
    ALU_BSF,
    ALU_BSR,
    ALU_TZCNT,
    ALU_LZCNT,
    ALU_POPCNT,
};

/* Does the condition of a Jcc, CMOVcc or SETcc hold?  The low four bits of the opcode. */
bool alu_condition(unsigned condition, uint64_t rflags);
/* Shifts and rotates; the count is taken modulo 32, or 64 for 8 bytes. */
uint64_t alu_shift(enum alu_shift op, unsigned size, uint64_t value, unsigned count,
                   uint64_t *rflags);
/* SHLD, SHRD: `filler` shifts in. */
uint64_t alu_double_shift(bool right, unsigned size, uint64_t value, uint64_t filler,
                          unsigned count, uint64_t *rflags);
/* Returns what goes to the register. */
uint64_t alu_scan(enum alu_scan op, unsigned size, uint64_t destination, uint64_t source,
                  uint64_t *rflags);
/* product[0] is the low half.  SF, ZF, AF and PF, which are undefined, stay. */
void alu_multiply(bool is_signed, unsigned size, uint64_t a, uint64_t b, uint64_t product[2],
                  uint64_t *rflags);
/* value: low and high half of the dividend; then quotient and remainder.  False: #DE. */
bool alu_divide(bool is_signed, unsigned size, uint64_t value[2], uint64_t divisor);

#endif
