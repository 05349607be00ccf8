/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/pattern.h"

#include "base/bits.h"

#define PATTERN_HALVES    BIT(55)
#define PATTERN_SIGN_BITS 55

/*
 * Eight words at a time: nearly every page differs in the first line, and the few that do not are
 * compared to the end, so the loop has no branch per word.
 */
bool pattern_find(const void *page, uint64_t *word)
{
    const uint64_t *w = page;
    uint64_t first = w[0];

    for (size_t i = 0; i < PAGE_SIZE / sizeof(*w); i += 8) {
        uint64_t difference = (w[i] ^ first) | (w[i + 1] ^ first) | (w[i + 2] ^ first) |
                              (w[i + 3] ^ first) | (w[i + 4] ^ first) | (w[i + 5] ^ first) |
                              (w[i + 6] ^ first) | (w[i + 7] ^ first);
        if (difference != 0) {
            return false;
        }
    }
    *word = first;
    return true;
}

static uint64_t sign_extend(uint64_t payload)
{
    unsigned shift = 64 - PATTERN_SIGN_BITS;

    return (uint64_t)((int64_t)(payload << shift) >> shift);
}

bool pattern_encode(uint64_t word, uint64_t *payload)
{
    uint64_t low = word & BITS(PATTERN_SIGN_BITS - 1, 0);

    if (sign_extend(low) == word) {
        *payload = low;
        return true;
    }
    if ((word >> 32) == (word & BITS(31, 0))) {
        *payload = PATTERN_HALVES | (word & BITS(31, 0));
        return true;
    }
    return false;
}

uint64_t pattern_decode(uint64_t payload)
{
    if (payload & PATTERN_HALVES) {
        uint64_t half = payload & BITS(31, 0);

        return half << 32 | half;
    }
    return sign_extend(payload & BITS(PATTERN_SIGN_BITS - 1, 0));
}
