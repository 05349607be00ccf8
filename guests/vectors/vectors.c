/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vectors [SECONDS [PROCESSES]]: what a process has in its vector registers is there after others
 * have run.
 *
 * Each process (4) fills the widest registers that it may use, with words that no other has, waits
 * longer than its turn, and compares, for so many seconds (5).
 *
 *     vectors: AVX-512, 4 processes
 *     vectors: PASS | vectors: FAIL process 2 round 17: register 3, byte 32
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guests/include/mix.h"

#define SPINS 2000000u /* some milliseconds */

enum width { SSE = 16, AVX = 32, AVX512 = 64 }; /* bytes of a register */

struct registers {
    uint8_t byte[32 * AVX512];
} __attribute__((aligned(64)));

static enum width width;

static unsigned count(void)
{
    return width == AVX512 ? 32 : 16;
}

/* Between the two halves of each there is nothing but the loop, so nobody else uses a register. */
#define LOAD(op, reg, n, bytes)  op " " #n "*" #bytes "(%0), %%" reg #n "\n"
#define STORE(op, reg, n, bytes) op " %%" reg #n ", " #n "*" #bytes "(%1)\n"
#define EACH_16(what, op, reg, bytes)                                                              \
    what(op, reg, 0, bytes) what(op, reg, 1, bytes) what(op, reg, 2, bytes)                        \
        what(op, reg, 3, bytes) what(op, reg, 4, bytes) what(op, reg, 5, bytes)                    \
            what(op, reg, 6, bytes) what(op, reg, 7, bytes) what(op, reg, 8, bytes)                \
                what(op, reg, 9, bytes) what(op, reg, 10, bytes) what(op, reg, 11, bytes)          \
                    what(op, reg, 12, bytes) what(op, reg, 13, bytes) what(op, reg, 14, bytes)     \
                        what(op, reg, 15, bytes)
#define EACH_32(what, op, reg, bytes)                                                              \
    EACH_16(what, op, reg, bytes)                                                                  \
    what(op, reg, 16, bytes) what(op, reg, 17, bytes) what(op, reg, 18, bytes)                     \
        what(op, reg, 19, bytes) what(op, reg, 20, bytes) what(op, reg, 21, bytes)                 \
            what(op, reg, 22, bytes) what(op, reg, 23, bytes) what(op, reg, 24, bytes)             \
                what(op, reg, 25, bytes) what(op, reg, 26, bytes) what(op, reg, 27, bytes)         \
                    what(op, reg, 28, bytes) what(op, reg, 29, bytes) what(op, reg, 30, bytes)     \
                        what(op, reg, 31, bytes)
#define SPIN "1: dec %2\njnz 1b\n"

static void pass(const struct registers *in, struct registers *out)
{
    uint64_t spins = SPINS;

    if (width == AVX512) {
        __asm__ volatile(EACH_32(LOAD, "vmovdqu64", "zmm", 64)
                             SPIN EACH_32(STORE, "vmovdqu64", "zmm", 64)
                         :
                         : "r"(in), "r"(out), "r"(spins)
                         : "memory", "cc");
    } else if (width == AVX) {
        __asm__ volatile(EACH_16(LOAD, "vmovdqu", "ymm", 32)
                             SPIN EACH_16(STORE, "vmovdqu", "ymm", 32)
                         :
                         : "r"(in), "r"(out), "r"(spins)
                         : "memory", "cc");
    } else {
        __asm__ volatile(EACH_16(LOAD, "movdqu", "xmm", 16) SPIN EACH_16(STORE, "movdqu", "xmm", 16)
                         :
                         : "r"(in), "r"(out), "r"(spins)
                         : "memory", "cc");
    }
}

static int process(unsigned number, time_t end)
{
    static struct registers in, out;
    unsigned bytes = count() * (unsigned)width, round = 0;

    while (time(NULL) < end) {
        round++;
        for (unsigned i = 0; i < bytes; i += 8) {
            uint64_t word = mix((uint64_t)number << 48 | (uint64_t)round << 16 | i);

            memcpy(in.byte + i, &word, 8);
        }
        memset(out.byte, 0, bytes);
        pass(&in, &out);
        for (unsigned i = 0; i < bytes; i++) {
            if (in.byte[i] != out.byte[i]) {
                printf("vectors: FAIL process %u round %u: register %u, byte %u\n", number, round,
                       i / (unsigned)width, i % (unsigned)width);
                return 1;
            }
        }
    }
    return round < 2;
}

int main(int words, char **word)
{
    time_t end = time(NULL) + (words > 1 ? atoi(word[1]) : 5);
    unsigned processes = words > 2 ? (unsigned)atoi(word[2]) : 4, failed = 0;
    int status;

    __builtin_cpu_init();
    width = __builtin_cpu_supports("avx512f") ? AVX512 : __builtin_cpu_supports("avx") ? AVX : SSE;
    printf("vectors: %s, %u processes\n",
           width == AVX512 ? "AVX-512"
           : width == AVX  ? "AVX"
                           : "SSE",
           processes);
    fflush(stdout);
    for (unsigned i = 0; i < processes; i++) {
        if (fork() == 0) {
            exit(process(i, end));
        }
    }
    while (wait(&status) > 0) {
        failed += status != 0;
    }
    printf(failed > 0 ? "vectors: FAIL\n" : "vectors: PASS\n");
    return failed > 0;
}
