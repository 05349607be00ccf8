/* SPDX-License-Identifier: BSD-2-Clause */
/* Moves between memory and an MMX, XMM or YMM register.  The registers of the guest stay in the
 * CPU; they are read and written in the vCPU's save area (arch/x86/guest/fpu.h), so this costs
 * some. */
#ifndef SPILLWAY_ARCH_X86_GUEST_VECTOR_H
#define SPILLWAY_ARCH_X86_GUEST_VECTOR_H

#include "arch/x86/guest/decode.h"

struct guest_context;

#define VECTOR_BYTES 32 /* of the longest operand */

struct vector_move {
    uint8_t bytes;  /* of the memory operand; 0: the instruction is none of these */
    uint8_t offset; /* of them in the register */
    uint8_t number;
    bool mmx;
    bool store;
    bool vex;     /* a load clears what is above */
    bool merge;   /* a load keeps the rest of the register */
    bool aligned; /* #GP if the operand is not aligned to its size */
};

struct vector_move vector_move_of(const struct instruction *in);
/* Raises what the control registers make of it: #UD or #NM.  True: it may go on. */
bool vector_move_allowed(const struct guest_context *g, const struct vector_move *move);
/* The bytes that a store writes. */
void vector_move_get(const struct guest_context *g, const struct vector_move *move, uint8_t *bytes);
/* The bytes that a load has read. */
void vector_move_set(const struct guest_context *g, const struct vector_move *move,
                     const uint8_t *bytes);

#endif
