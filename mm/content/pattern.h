/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of one repeated 64-bit word, and the primitives that fill and compare whole pages.
 *
 * Such a page is never written to the store: its word goes into the payload of its place.  These
 * are the tiers HOLE, the word 0, and WORD.
 * 56 bits hold the words that matter in practice:
 *
 *     bit 55 = 0   bits 54:0 sign-extended to 64 bits (small numbers, small negative numbers)
 *     bit 55 = 1   bits 31:0 in both halves of the word (repeated byte, 16 or 32-bit value)
 *
 * Pure functions, no locks, any context.
 */
#ifndef SPILLWAY_MM_CONTENT_PATTERN_H
#define SPILLWAY_MM_CONTENT_PATTERN_H

#include "base/types.h"

/* Writes `word` to all of a page. */
static inline void page_fill(void *page, uint64_t word)
{
    uint64_t count = PAGE_SIZE / sizeof(word);

    __asm__ volatile("rep stosq" : "+D"(page), "+c"(count) : "a"(word) : "memory");
}

static inline void page_copy(void *to, const void *from)
{
    uint64_t count = PAGE_SIZE / sizeof(uint64_t);

    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

/* Is the page one repeated word?  Then *word is that.  Stops at the first difference. */
bool pattern_find(const void *page, uint64_t *word);
/* Payload of the word, at most 56 bits; false: this word has none. */
bool pattern_encode(uint64_t word, uint64_t *payload);
uint64_t pattern_decode(uint64_t payload);

#endif
