/* SPDX-License-Identifier: BSD-2-Clause */
/* The throughput of put and get; every value that comes back is compared with what was put. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "tmemcache.h"

struct bench {
    struct tmemcache *cache;
    uint64_t count, seed;
    size_t bytes;
    uint64_t *value, *got;
};

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void bench_key(char *key, size_t size, uint64_t number)
{
    snprintf(key, size, "bench/%llu", (unsigned long long)number);
}

static void bench_value(const struct bench *bench, uint64_t number)
{
    uint64_t word = mix(number ^ bench->seed << 32);

    for (size_t i = 0; i * sizeof(word) < bench->bytes; i++) {
        bench->value[i] = word;
        word += 0x9e3779b97f4a7c15ull;
    }
}

static void report(const struct bench *bench, const char *what, uint64_t done, double seconds)
{
    double each = (double)bench->bytes / (1024 * 1024);

    seconds = seconds > 0 ? seconds : 1e-9;
    printf("tmemcache: %-6s %8llu of %llu in %6.2f s: %.0f/s, %.1f MiB/s\n", what,
           (unsigned long long)done, (unsigned long long)bench->count, seconds,
           (double)done / seconds, (double)done * each / seconds);
}

/* The time that making values takes is not counted. */
static int bench_put(const struct bench *bench)
{
    double seconds = 0;
    uint64_t done = 0;
    char key[64];

    for (uint64_t i = 0; i < bench->count; i++) {
        bench_key(key, sizeof(key), i);
        bench_value(bench, i);
        double start = seconds_now();
        if (tmemcache_put(bench->cache, key, bench->value, bench->bytes) == 0) {
            done++;
        } else if (errno != ENOMEM) {
            perror("tmemcache: put");
            return 1;
        }
        seconds += seconds_now() - start;
    }
    report(bench, "put", done, seconds);
    return 0;
}

static int bench_get(const struct bench *bench)
{
    double seconds = 0;
    uint64_t hits = 0, state = bench->seed;
    char key[64];

    for (uint64_t i = 0; i < bench->count; i++) {
        state = mix(state);
        uint64_t number = state % bench->count;
        bench_key(key, sizeof(key), number);
        bench_value(bench, number);
        double start = seconds_now();
        ssize_t length = tmemcache_get(bench->cache, key, bench->got, bench->bytes);
        seconds += seconds_now() - start;
        if (length < 0 && errno == ENOENT) {
            continue;
        }
        if (length != (ssize_t)bench->bytes || memcmp(bench->value, bench->got, bench->bytes)) {
            printf("tmemcache: FAIL %s: %s\n", key, length < 0 ? strerror(errno) : "wrong value");
            return 1;
        }
        hits++;
    }
    report(bench, "get", hits, seconds);
    return 0;
}

static int bench_delete(const struct bench *bench)
{
    double start = seconds_now();
    char key[64];

    for (uint64_t i = 0; i < bench->count; i++) {
        bench_key(key, sizeof(key), i);
        if (tmemcache_delete(bench->cache, key) != 0) {
            perror("tmemcache: delete");
            return 1;
        }
        if (tmemcache_get(bench->cache, key, bench->got, bench->bytes) >= 0) {
            printf("tmemcache: FAIL %s: it was deleted\n", key);
            return 1;
        }
    }
    report(bench, "delete", bench->count, seconds_now() - start);
    return 0;
}

int bench_run(const char *device, uint64_t count, size_t bytes, uint64_t seed)
{
    size_t room = (bytes + sizeof(uint64_t)) / sizeof(uint64_t) * sizeof(uint64_t);
    struct bench bench = {.cache = tmemcache_open(device),
                          .count = count,
                          .seed = seed,
                          .bytes = bytes,
                          .value = malloc(room),
                          .got = malloc(room)};
    int status = 1;

    if (bench.cache == NULL || bench.value == NULL || bench.got == NULL) {
        fprintf(stderr, "tmemcache: %s: %s\n", device, strerror(errno));
    } else {
        status = bench_put(&bench) || bench_get(&bench) || bench_delete(&bench);
    }
    if (status == 0) {
        printf("tmemcache: PASS\n");
    }
    tmemcache_close(bench.cache);
    free(bench.value);
    free(bench.got);
    return status;
}
