/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * XXH64 from libxxhash's header, all inline and without vector registers: the system's header is
 * BSD-2-Clause and is used as it is.  Only XXH64() is meant to be used.
 */
#ifndef SPILLWAY_BASE_XXHASH_H
#define SPILLWAY_BASE_XXHASH_H

#define XXH_INLINE_ALL
#define XXH_NO_STDLIB
#define XXH_NO_STREAM
/* Words are read through a packed type.  By memcpy(), which -ffreestanding keeps from being
 * inlined, they would cost a call each: 512 for a page. */
#define XXH_FORCE_MEMORY_ACCESS 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <xxhash.h>
#pragma GCC diagnostic pop

#endif
