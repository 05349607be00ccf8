/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/pattern.h"

#include "base/bits.h"
#include "mm/content/tier.h"

#define PATTERN_HALVES    BIT(55)
#define PATTERN_SIGN_BITS 55

/* Nearly every page differs in its first words.  A page that does not is compared to its end, with
 * one comparison and one branch, which CPUs take as one instruction, for each word. */
bool pattern_find(const void *page, uint64_t *word)
{
    const uint64_t *w = page, *end = w + PAGE_SIZE / sizeof(*w);
    uint64_t first = w[0];

    for (; w != end; w += 8) {
        if (w[0] != first || w[1] != first || w[2] != first || w[3] != first || w[4] != first ||
            w[5] != first || w[6] != first || w[7] != first) {
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

/* ---- the tiers ------------------------------------------------------------------------------ */

/* Of both: a page of zeroes is a hole. */
static bool take(struct page_owner *owner, const void *page, struct place *at)
{
    const uint64_t *words = page;
    uint64_t word, payload;

    (void)owner;
    if (words[0] != words[1]) { /* nearly always, so it is asked first */
        return false;
    }
    if (!pattern_find(page, &word) || !pattern_encode(word, &payload)) {
        return false;
    }
    *at = place(word == 0 ? PLACE_HOLE : PLACE_WORD, payload);
    return true;
}

static void fill(const struct page_owner *owner, uint64_t payload, void *page)
{
    (void)owner;
    page_fill(page, pattern_decode(payload));
}

static void drop(struct page_owner *owner, uint64_t payload)
{
    (void)owner;
    (void)payload;
}

const struct tier tier_hole = {.fill = fill, .drop = drop};
const struct tier tier_word = {.take = take, .fill = fill, .drop = drop};
