/* SPDX-License-Identifier: BSD-2-Clause */
/* The fuzzer's bytes, one number after the other. */
#ifndef SPILLWAY_TESTS_FUZZ_FUZZ_INPUT_H
#define SPILLWAY_TESTS_FUZZ_FUZZ_INPUT_H

#include <stdint.h>

struct input {
    const uint8_t *at, *end;
};

/* The next bytes, the highest first, as many as there are. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0 && in->at < in->end) {
        value = value << 8 | *in->at++;
    }
    return value;
}

#endif
