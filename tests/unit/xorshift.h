/* SPDX-License-Identifier: BSD-2-Clause */
/* The one pseudo-random generator of the tests; each user keeps a state of its own. */
#ifndef SPILLWAY_TESTS_UNIT_XORSHIFT_H
#define SPILLWAY_TESTS_UNIT_XORSHIFT_H

#include <stdint.h>

/* The next number: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
 * generators").  The state must not be 0.  For few numbers take the upper bits. */
static inline uint64_t xorshift64(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
