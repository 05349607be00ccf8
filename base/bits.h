/* SPDX-License-Identifier: BSD-2-Clause */
/* Bit masks, field access by mask, rounding: the arithmetic all layers share. */
#ifndef SPILLWAY_BASE_BITS_H
#define SPILLWAY_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

#define BIT(n)       (1ull << (n))
#define BITS(hi, lo) ((~0ull >> (63 - (hi))) & (~0ull << (lo)))

/* Value of the field of `word` that `mask` covers; put `value` at that field. */
#define FIELD_GET(mask, word)   (((word) & (mask)) >> __builtin_ctzll(mask))
#define FIELD_PREP(mask, value) (((uint64_t)(value) << __builtin_ctzll(mask)) & (mask))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* `align` is a power of two. */
#define ALIGN_UP(x, align)   (((x) + ((align)-1)) & ~((uint64_t)(align)-1))
#define ALIGN_DOWN(x, align) ((x) & ~((uint64_t)(align)-1))
#define IS_ALIGNED(x, align) (((x) & ((align)-1)) == 0)

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
