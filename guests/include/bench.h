/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs that measure share: the time, and an end that says why.  BENCH is their name. */
#ifndef SPILLWAY_GUESTS_BENCH_H
#define SPILLWAY_GUESTS_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fail(const char *what)
{
    printf(BENCH ": FAIL %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
