/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest_alu.h"

#include "base/bits.h"

#define FLAG_CF BIT(0)
#define FLAG_PF BIT(2)
#define FLAG_AF BIT(4)
#define FLAG_ZF BIT(6)
#define FLAG_SF BIT(7)
#define FLAG_OF BIT(11)
#define FLAGS   (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

static uint64_t top_bit(uint64_t value, unsigned size)
{
    return (value >> (8 * size - 1)) & 1;
}

/* ZF, SF and PF of a result that is already cut to its size. */
static uint64_t result_flags(uint64_t result, unsigned size)
{
    uint64_t flags = 0;

    if (result == 0) {
        flags |= FLAG_ZF;
    }
    if (top_bit(result, size)) {
        flags |= FLAG_SF;
    }
    if (__builtin_parityll(result & 0xff) == 0) {
        flags |= FLAG_PF;
    }
    return flags;
}

static void set_flags(uint64_t *rflags, uint64_t mask, uint64_t flags)
{
    *rflags = (*rflags & ~mask) | (flags & mask);
}

static uint64_t add(unsigned size, uint64_t a, uint64_t b, uint64_t carry, uint64_t mask,
                    uint64_t *flags)
{
    uint64_t r = (a + b + carry) & mask;

    *flags = result_flags(r, size) | ((a ^ b ^ r) & FLAG_AF);
    *flags |= top_bit((a & b) | ((a | b) & ~r), size) ? FLAG_CF : 0;
    *flags |= top_bit((a ^ r) & (b ^ r), size) ? FLAG_OF : 0;
    return r;
}

static uint64_t subtract(unsigned size, uint64_t a, uint64_t b, uint64_t borrow, uint64_t mask,
                         uint64_t *flags)
{
    uint64_t r = (a - b - borrow) & mask;

    *flags = result_flags(r, size) | ((a ^ b ^ r) & FLAG_AF);
    *flags |= top_bit((~a & b) | ((~a | b) & r), size) ? FLAG_CF : 0;
    *flags |= top_bit((a ^ b) & (a ^ r), size) ? FLAG_OF : 0;
    return r;
}

static uint64_t bit_operation(enum alu_op op, unsigned size, uint64_t a, uint64_t b,
                              uint64_t *rflags)
{
    uint64_t bit = BIT(b & (8 * size - 1));

    set_flags(rflags, FLAG_CF, (a & bit) ? FLAG_CF : 0);
    switch (op) {
    case ALU_BTS:
        return a | bit;
    case ALU_BTR:
        return a & ~bit;
    case ALU_BTC:
        return a ^ bit;
    default:
        return a;
    }
}

bool alu_writes(enum alu_op op)
{
    return op != ALU_CMP && op != ALU_TEST && op != ALU_BT;
}

uint64_t alu_compute(enum alu_op op, unsigned size, uint64_t destination, uint64_t source,
                     uint64_t *rflags)
{
    uint64_t mask = ~0ull >> (64 - 8 * size);
    uint64_t a = destination & mask, b = source & mask;
    uint64_t carry = *rflags & FLAG_CF;
    uint64_t flags = 0, changed = FLAGS, r;

    switch (op) {
    case ALU_ADD:
        r = add(size, a, b, 0, mask, &flags);
        break;
    case ALU_ADC:
        r = add(size, a, b, carry, mask, &flags);
        break;
    case ALU_INC:
        r = add(size, a, 1, 0, mask, &flags);
        changed &= ~FLAG_CF;
        break;
    case ALU_SUB:
    case ALU_CMP:
        r = subtract(size, a, b, 0, mask, &flags);
        break;
    case ALU_SBB:
        r = subtract(size, a, b, carry, mask, &flags);
        break;
    case ALU_DEC:
        r = subtract(size, a, 1, 0, mask, &flags);
        changed &= ~FLAG_CF;
        break;
    case ALU_NEG:
        r = subtract(size, 0, a, 0, mask, &flags);
        break;
    case ALU_OR:
        r = a | b;
        flags = result_flags(r, size);
        break;
    case ALU_AND:
    case ALU_TEST:
        r = a & b;
        flags = result_flags(r, size);
        break;
    case ALU_XOR:
        r = a ^ b;
        flags = result_flags(r, size);
        break;
    case ALU_NOT:
        return ~a & mask;
    case ALU_MOV:
        return b;
    default:
        return bit_operation(op, size, a, b, rflags) & mask;
    }
    set_flags(rflags, changed, flags);
    return alu_writes(op) ? r : a;
}
