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
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <xxhash.h>
#pragma GCC diagnostic pop

#endif
