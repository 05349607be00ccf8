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

#endif
