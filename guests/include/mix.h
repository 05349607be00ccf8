/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers that look random, for patterns that programs in guests verify. */
#ifndef SPILLWAY_GUESTS_MIX_H
#define SPILLWAY_GUESTS_MIX_H

#include <stdint.h>

#define GOLDEN 0x9e3779b97f4a7c15ull /* 2^64 / golden ratio */

/* The splitmix64 generator's step: every bit of the input matters. */
static inline uint64_t mix(uint64_t x)
{
    x += GOLDEN;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

#endif
