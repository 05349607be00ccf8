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

/* Fills the registers, spins, and stores them: one piece, so that nobody else uses them meanwhile.
 */
#define PASS(op, reg, bytes, numbers)                                                              \
    __asm__ volatile(".irp r," numbers "\n" op " \\r*" #bytes "(%0), %%" reg "\\r\n.endr\n"        \
                     "1: dec %2\njnz 1b\n"                                                         \
                     ".irp r," numbers "\n" op " %%" reg "\\r, \\r*" #bytes "(%1)\n.endr"          \
                     : "+r"(in), "+r"(out), "+r"(spins)                                            \
                     :                                                                             \
                     : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",     \
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",        \
                       "xmm15")
#define FIRST "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define LAST  "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

static void pass(const struct registers *in, struct registers *out)
{
    uint64_t spins = SPINS;

    if (width == AVX512) {
        PASS("vmovdqu64", "zmm", 64, FIRST "," LAST);
    } else if (width == AVX) {
        PASS("vmovdqu", "ymm", 32, FIRST);
    } else {
        PASS("movdqu", "xmm", 16, FIRST);
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
