/* SPDX-License-Identifier: BSD-2-Clause */
/* Describes, as data, instructions that are emulated on devices (guest/action.c); guest/mmio.c
 * performs them. */
#ifndef SPILLWAY_ARCH_X86_GUEST_ACTION_H
#define SPILLWAY_ARCH_X86_GUEST_ACTION_H

#include "arch/x86/guest/alu.h"
#include "arch/x86/guest/decode.h"
#include "arch/x86/guest/vector.h"
#include "hv/backend.h"

enum action_kind {
    ACTION_NONE, /* not emulated */
    ACTION_ALU,  /* destination = destination op source, with flags */
    ACTION_LOAD, /* register = memory, extended */
    ACTION_EXCHANGE,
    ACTION_EXCHANGE_ADD,
    ACTION_COMPARE_EXCHANGE,
    ACTION_STRING,         /* MOVS, CMPS, STOS, LODS, SCAS */
    ACTION_TOUCH,          /* CLFLUSH, prefetches: nothing to do */
    ACTION_SHIFT,          /* memory = memory shifted by the source */
    ACTION_DOUBLE_SHIFT,   /* SHLD, SHRD */
    ACTION_SCAN,           /* register = count of memory's bits */
    ACTION_IMUL,           /* register = memory * source */
    ACTION_MULTIPLY,       /* rDX:rAX = rAX * memory */
    ACTION_DIVIDE,         /* rDX:rAX by memory */
    ACTION_CONDITION_LOAD, /* CMOVcc */
    ACTION_PUSH,           /* guest/stack.c, up to ENTER */
    ACTION_POP,
    ACTION_CALL,
    ACTION_JUMP,
    ACTION_RETURN,
    ACTION_LEAVE,
    ACTION_ENTER,
    ACTION_FAR,          /* JMP and CALL far, by a pointer in memory */
    ACTION_SET,          /* SETcc */
    ACTION_SYSTEM_STORE, /* a selector, or the machine status word */
    ACTION_SEGMENT,      /* segment register = memory */
    ACTION_LLDT,
    ACTION_LTR,
    ACTION_LMSW,
    ACTION_COMPARE_EXCHANGE_PAIR, /* CMPXCHG8B, CMPXCHG16B */
    ACTION_VECTOR_LOAD,
    ACTION_VECTOR_STORE,
};

/* ACTION_SYSTEM_STORE: a segment's selector, LDTR and TR among them, or this. */
#define SYSTEM_MSW SEG_COUNT

enum action_source {
    SOURCE_REGISTER, /* ModRM.reg */
    SOURCE_IMMEDIATE,
    SOURCE_MEMORY,
};

struct action {
    enum action_kind kind;
    enum alu_op op;
    enum action_source source;
    uint8_t size;      /* of the memory operand */
    uint8_t to_size;   /* ACTION_LOAD: of the register */
    uint8_t number;    /* the register operand */
    bool sign;         /* ACTION_LOAD: sign-extend */
    bool bit_offset;   /* BT r/m, r: the register also moves the address */
    bool lockable;     /* LOCK is allowed */
    bool swap;         /* MOVBE */
    uint8_t which;     /* far: is it CALL; enum alu_shift, enum alu_scan, condition, segment ... */
    uint64_t constant; /* SOURCE_IMMEDIATE */
    struct vector_move vector;
};

/* ACTION_NONE: it is not emulated. */
struct action guest_action_of(const struct instruction *in);

#endif
