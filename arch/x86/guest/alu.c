/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/guest/alu.h"

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

bool alu_condition(unsigned condition, uint64_t rflags)
{
    bool carry = (rflags & FLAG_CF) != 0, zero = (rflags & FLAG_ZF) != 0;
    bool sign = (rflags & FLAG_SF) != 0, overflow = (rflags & FLAG_OF) != 0;
    bool holds;

    switch ((condition >> 1) & 7) {
    case 0:
        holds = overflow;
        break;
    case 1:
        holds = carry;
        break;
    case 2:
        holds = zero;
        break;
    case 3:
        holds = carry || zero;
        break;
    case 4:
        holds = sign;
        break;
    case 5:
        holds = (rflags & FLAG_PF) != 0;
        break;
    case 6:
        holds = sign != overflow;
        break;
    default:
        holds = zero || sign != overflow;
        break;
    }
    return holds != (condition & 1);
}

/* ---- shifts and rotates ---- */

static uint64_t mask_of(unsigned size)
{
    return ~0ull >> (64 - 8 * size);
}

/* ROL and ROR: CF is the bit that came round last, OF tells whether the top changed. */
static uint64_t rotate(enum alu_shift op, unsigned size, uint64_t a, unsigned count,
                       uint64_t *rflags)
{
    unsigned bits = 8 * size, by = count % bits;
    uint64_t r = a, top, carry;

    if (op == ALU_ROR) {
        by = (bits - by) % bits;
    }
    if (by != 0) {
        r = ((a << by) | (a >> (bits - by))) & mask_of(size);
    }
    top = top_bit(r, size);
    carry = op == ALU_ROL ? r & 1 : top;
    set_flags(rflags, FLAG_CF, carry ? FLAG_CF : 0);
    top ^= op == ALU_ROL ? carry : (r >> (bits - 2)) & 1;
    set_flags(rflags, FLAG_OF, top ? FLAG_OF : 0);
    return r;
}

/* RCL and RCR, bit by bit: at most 63 times. */
static uint64_t rotate_carry(enum alu_shift op, unsigned size, uint64_t a, unsigned count,
                             uint64_t *rflags)
{
    unsigned bits = 8 * size;
    uint64_t carry = *rflags & FLAG_CF, overflow;

    for (unsigned i = count % (bits < 32 ? bits + 1 : 64); i > 0; i--) {
        uint64_t out = op == ALU_RCL ? top_bit(a, size) : a & 1;

        a = op == ALU_RCL ? ((a << 1) | carry) & mask_of(size) : (a >> 1) | carry << (bits - 1);
        carry = out;
    }
    overflow = top_bit(a, size) ^ (op == ALU_RCL ? carry : (a >> (bits - 2)) & 1);
    set_flags(rflags, FLAG_CF | FLAG_OF, (carry ? FLAG_CF : 0) | (overflow ? FLAG_OF : 0));
    return a;
}

static uint64_t shift(enum alu_shift op, unsigned size, uint64_t a, unsigned count,
                      uint64_t *rflags)
{
    unsigned bits = 8 * size, unused = 64 - bits;
    int64_t value = (int64_t)(a << unused) >> unused;
    uint64_t r, carry, overflow;

    switch (op) {
    case ALU_SHR:
        carry = count <= bits ? (a >> (count - 1)) & 1 : 0;
        r = count < 64 ? a >> count : 0;
        overflow = top_bit(a, size);
        break;
    case ALU_SAR:
        carry = (uint64_t)(value >> MIN(count - 1, 63u)) & 1;
        r = (uint64_t)(value >> MIN(count, 63u)) & mask_of(size);
        overflow = 0;
        break;
    default: /* SHL */
        carry = count <= bits ? (a >> (bits - count)) & 1 : 0;
        r = (a << count) & mask_of(size);
        overflow = top_bit(r, size) ^ carry;
        break;
    }
    set_flags(rflags, FLAGS & ~FLAG_AF,
              result_flags(r, size) | (carry ? FLAG_CF : 0) | (overflow ? FLAG_OF : 0));
    return r;
}

uint64_t alu_shift(enum alu_shift op, unsigned size, uint64_t value, unsigned count,
                   uint64_t *rflags)
{
    uint64_t a = value & mask_of(size);

    count &= size == 8 ? 63 : 31;
    if (count == 0) {
        return a;
    }
    if (op == ALU_ROL || op == ALU_ROR) {
        return rotate(op, size, a, count, rflags);
    }
    if (op == ALU_RCL || op == ALU_RCR) {
        return rotate_carry(op, size, a, count, rflags);
    }
    return shift(op, size, a, count, rflags);
}

uint64_t alu_double_shift(bool right, unsigned size, uint64_t value, uint64_t filler,
                          unsigned count, uint64_t *rflags)
{
    unsigned bits = 8 * size;
    uint64_t a = value & mask_of(size), b = filler & mask_of(size), r, carry, overflow;

    count &= size == 8 ? 63 : 31;
    if (count == 0) {
        return a;
    }
    if (count > bits) { /* undefined: as the shift of three words that CPUs make of it */
        uint64_t swap = a;

        count -= bits;
        a = b;
        b = swap;
    }
    if (right) {
        carry = (a >> (count - 1)) & 1;
        r = count == bits ? b : (a >> count) | (b << (bits - count));
    } else {
        carry = (a >> (bits - count)) & 1;
        r = count == bits ? b : (a << count) | (b >> (bits - count));
    }
    r &= mask_of(size);
    overflow = top_bit(r, size) ^ top_bit(a, size);
    set_flags(rflags, FLAGS & ~FLAG_AF,
              result_flags(r, size) | (carry ? FLAG_CF : 0) | (overflow ? FLAG_OF : 0));
    return r;
}

/* ---- counting bits ---- */

uint64_t alu_scan(enum alu_scan op, unsigned size, uint64_t destination, uint64_t source,
                  uint64_t *rflags)
{
    uint64_t a = source & mask_of(size), bits = 8 * size, r;

    switch (op) {
    case ALU_POPCNT:
        set_flags(rflags, FLAGS, a == 0 ? FLAG_ZF : 0);
        for (r = 0; a != 0; a &= a - 1) {
            r++;
        }
        return r;
    case ALU_TZCNT:
    case ALU_LZCNT:
        if (a == 0) {
            r = bits;
        } else {
            r = op == ALU_TZCNT ? (uint64_t)__builtin_ctzll(a)
                                : bits - 64 + (uint64_t)__builtin_clzll(a);
        }
        set_flags(rflags, FLAG_CF | FLAG_ZF, (a == 0 ? FLAG_CF : 0) | (r == 0 ? FLAG_ZF : 0));
        return r;
    default: /* BSF, BSR: of 0 the destination stays */
        set_flags(rflags, FLAG_ZF, a == 0 ? FLAG_ZF : 0);
        if (a == 0) {
            return destination & mask_of(size);
        }
        return op == ALU_BSF ? (uint64_t)__builtin_ctzll(a) : 63 - (uint64_t)__builtin_clzll(a);
    }
}

/* ---- multiplication and division ---- */

static int64_t signed_of(uint64_t value, unsigned size)
{
    unsigned unused = 64 - 8 * size;

    return (int64_t)(value << unused) >> unused;
}

void alu_multiply(bool is_signed, unsigned size, uint64_t a, uint64_t b, uint64_t product[2],
                  uint64_t *rflags)
{
    unsigned bits = 8 * size;
    unsigned __int128 r;
    bool overflow;

    if (is_signed) {
        r = (unsigned __int128)((__int128)signed_of(a, size) * signed_of(b, size));
    } else {
        r = (unsigned __int128)(a & mask_of(size)) * (b & mask_of(size));
    }
    product[0] = (uint64_t)r & mask_of(size);
    product[1] = (uint64_t)(r >> bits) & mask_of(size);
    overflow = is_signed ? (__int128)r != signed_of(product[0], size) : product[1] != 0;
    set_flags(rflags, FLAG_CF | FLAG_OF, overflow ? FLAG_CF | FLAG_OF : 0);
}

/* Restoring division of two words by one, whose high word is less than the divisor. */
static uint64_t divide_wide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t *rest)
{
    uint64_t quotient = 0;

    for (unsigned i = 0; i < 64; i++) {
        uint64_t out = high >> 63;

        high = (high << 1) | (low >> 63);
        low <<= 1;
        quotient <<= 1;
        if (out || high >= divisor) {
            high -= divisor;
            quotient |= 1;
        }
    }
    *rest = high;
    return quotient;
}

static bool divide_unsigned(unsigned size, unsigned __int128 dividend, uint64_t divisor,
                            uint64_t *quotient, uint64_t *rest)
{
    uint64_t high = (uint64_t)(dividend >> 64);

    if (divisor == 0 || high >= divisor) {
        return false;
    }
    *quotient = divide_wide(high, (uint64_t)dividend, divisor, rest);
    return *quotient <= mask_of(size);
}

bool alu_divide(bool is_signed, unsigned size, uint64_t value[2], uint64_t divisor)
{
    unsigned bits = 8 * size;
    unsigned __int128 dividend =
        (unsigned __int128)(value[1] & mask_of(size)) << bits | (value[0] & mask_of(size));
    bool negative = is_signed && top_bit(value[1] & mask_of(size), size);
    bool opposite = is_signed && signed_of(divisor, size) < 0;
    uint64_t by = opposite ? -(uint64_t)signed_of(divisor, size) : divisor & mask_of(size);
    uint64_t quotient, rest, limit;

    if (negative) {
        unsigned unused = 128 - 2 * bits;

        dividend = (unsigned __int128)0 - (dividend << unused);
        dividend >>= unused;
    }
    if (!divide_unsigned(size, dividend, by, &quotient, &rest)) {
        return false;
    }
    limit = (mask_of(size) >> 1) + (negative != opposite);
    if (is_signed && quotient > limit) {
        return false;
    }
    value[0] = (negative != opposite ? -quotient : quotient) & mask_of(size);
    value[1] = (negative ? -rest : rest) & mask_of(size);
    return true;
}
