/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load WHAT [key=value]...: work whose progress shows how the hypervisor shares its CPUs.
 *
 *   spin    each thread computes, in loops of equal work; prints loops, and the longest that one of
 *           them took beside the shortest
 *   locks   threads share one pthread mutex, and touch one page after the other; prints how
 *           often the mutex was taken
 *   visit   each thread fills its pages, then reads words of them at random, and says if one is
 *           wrong; prints how many it has read
 *
 *   threads=N  (1), thread i on CPU i, as far as there are so many
 *   seconds=N  by the monotonic clock (5)
 *   bind=N     1: all threads on the first CPU (0)
 *   pages=N    that locks has, or each thread of visit (64)
 *   drop=N     1: locks gives the page back to the kernel before it takes the mutex, so that
 *              all other CPUs have to drop their translations of it (0)
 *   steps=N    of a loop of spin, in thousands (10000)
 *   every=N    prints a line every N milliseconds of the run, spin only; 0: at the end alone (0)
 *
 * Lines: `load: spin threads=2 loops=812 ms=5001 shortest_us=6012 longest_us=24100`.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define PAGE_BYTES  4096u

static struct {
    uint64_t threads, seconds, bind, pages, drop, steps, every;
} options = {.threads = 1, .seconds = 5, .pages = 64, .steps = 10000};

struct worker {
    pthread_t thread;
    atomic_ullong count; /* loops, or locks taken */
    uint64_t shortest_us, longest_us;
    volatile uint64_t *own; /* pages of visit */
};

static struct worker workers[THREADS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static uint64_t begin_us, end_us;
static volatile unsigned char (*memory)[PAGE_BYTES]; /* of all threads */

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The same work each time, in registers. */
static uint64_t compute(uint64_t x)
{
    for (uint64_t i = 0; i < options.steps * 1000; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        x ^= x >> 29;
    }
    return x;
}

static void spin(struct worker *self)
{
    volatile uint64_t sink = 1;
    uint64_t before = now_us();

    while (before < end_us) {
        sink = compute(sink);
        uint64_t now = now_us(), took = now - before;

        before = now;
        self->longest_us = took > self->longest_us ? took : self->longest_us;
        self->shortest_us = took < self->shortest_us ? took : self->shortest_us;
        atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
    }
}

/* No page of them is one word many times over, and no two are alike. */
static uint64_t word_of(uint64_t index)
{
    return (index + 1) * 0x9e3779b97f4a7c15ull;
}

static void visit(struct worker *self)
{
    volatile uint64_t *own = self->own;
    uint64_t words = options.pages * PAGE_BYTES / sizeof(*own), x = (uint64_t)(self - workers) + 1;

    while (now_us() < end_us) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (own[x % words] != word_of(x % words)) {
            printf("load: FAIL: word %llu of thread %u is wrong\n", (unsigned long long)(x % words),
                   (unsigned)(self - workers));
            exit(1);
        }
        atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
    }
}

/* The clock is read now and then only: reading it is not what is measured. */
static void take_locks(struct worker *self)
{
    uint64_t at = (uint64_t)(self - workers) * options.pages / options.threads;

    while (now_us() < end_us) {
        for (unsigned i = 0; i < 100; i++, at++) {
            volatile unsigned char *page = memory[at % options.pages];

            page[i]++;
            if (options.drop != 0) {
                madvise((void *)(uintptr_t)page, PAGE_BYTES, MADV_DONTNEED);
            }
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
        atomic_fetch_add_explicit(&self->count, 100, memory_order_relaxed);
    }
}

static void *map_pages(void)
{
    void *pages = mmap(NULL, options.pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED) {
        printf("load: FAIL: no memory for %llu pages\n", (unsigned long long)options.pages);
        exit(1);
    }
    return pages;
}

/* A thread alone on its CPU is moved by nobody: the figures repeat. */
static void choose_cpu(const struct worker *self)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(options.bind != 0 ? 0 : (self - workers) % cpus, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* Once when all are ready, and once when the clock has begun. */
static void wait_for_begin(void)
{
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *run_spin(void *owner)
{
    choose_cpu(owner);
    wait_for_begin();
    spin(owner);
    return NULL;
}

static void *run_locks(void *owner)
{
    choose_cpu(owner);
    wait_for_begin();
    take_locks(owner);
    return NULL;
}

static void *run_visit(void *owner)
{
    struct worker *self = owner;

    choose_cpu(self);
    self->own = map_pages();
    for (uint64_t i = 0; i < options.pages * PAGE_BYTES / sizeof(*self->own); i++) {
        self->own[i] = word_of(i);
    }
    wait_for_begin();
    visit(self);
    return NULL;
}

static const struct mode {
    const char *name, *unit;
    void *(*run)(void *owner);
} modes[] = {
    {"spin", "loops", run_spin}, {"locks", "locks", run_locks}, {"visit", "visits", run_visit}};

static uint64_t total(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < options.threads; i++) {
        sum += atomic_load_explicit(&workers[i].count, memory_order_relaxed);
    }
    return sum;
}

static void report(const struct mode *mode)
{
    uint64_t shortest = UINT64_MAX, longest = 0;

    for (unsigned i = 0; i < options.threads; i++) {
        shortest = workers[i].shortest_us < shortest ? workers[i].shortest_us : shortest;
        longest = workers[i].longest_us > longest ? workers[i].longest_us : longest;
    }
    printf("load: %s threads=%llu %s=%llu ms=%llu", mode->name, (unsigned long long)options.threads,
           mode->unit, (unsigned long long)total(),
           (unsigned long long)(now_us() - begin_us) / 1000);
    if (longest != 0) {
        printf(" shortest_us=%llu longest_us=%llu", (unsigned long long)shortest,
               (unsigned long long)longest);
    }
    printf("\n");
    fflush(stdout);
}

static void report_progress(void)
{
    uint64_t next = begin_us;

    while (options.every != 0 && now_us() < end_us) {
        next += options.every * 1000;
        while (now_us() < next && now_us() < end_us) {
            struct timespec rest = {.tv_nsec = 1000000};

            nanosleep(&rest, NULL);
        }
        printf("load: at ms=%llu loops=%llu\n", (unsigned long long)(now_us() - begin_us) / 1000,
               (unsigned long long)total());
        fflush(stdout);
    }
}

static int start(const struct mode *mode)
{
    pthread_barrier_init(&barrier, NULL, (unsigned)options.threads + 1);
    for (unsigned i = 0; i < options.threads; i++) {
        workers[i].shortest_us = UINT64_MAX;
        if (pthread_create(&workers[i].thread, NULL, mode->run, &workers[i]) != 0) {
            printf("load: FAIL: a thread could not be made\n");
            return 1;
        }
    }
    pthread_barrier_wait(&barrier);
    begin_us = now_us();
    end_us = begin_us + options.seconds * 1000000;
    pthread_barrier_wait(&barrier);
    return 0;
}

static int set(char *argument)
{
    static const struct {
        const char *key;
        uint64_t *value;
    } keys[] = {{"threads=", &options.threads}, {"seconds=", &options.seconds},
                {"bind=", &options.bind},       {"pages=", &options.pages},
                {"drop=", &options.drop},       {"steps=", &options.steps},
                {"every=", &options.every}};

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t length = strlen(keys[i].key);

        if (strncmp(argument, keys[i].key, length) == 0) {
            *keys[i].value = strtoull(argument + length, NULL, 0);
            return 0;
        }
    }
    printf(
        "load: FAIL: '%s': expected threads=, seconds=, bind=, pages=, drop=, steps= or every=\n",
        argument);
    return 2;
}

static const struct mode *find_mode(const char *name)
{
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(name, modes[i].name) == 0) {
            return &modes[i];
        }
    }
    return NULL;
}

int main(int count, char **arguments)
{
    const struct mode *mode = count > 1 ? find_mode(arguments[1]) : NULL;

    if (mode == NULL) {
        printf("load: FAIL: expected load spin|locks|visit [key=value]...\n");
        return 2;
    }
    for (int i = 2; i < count; i++) {
        if (set(arguments[i]) != 0) {
            return 2;
        }
    }
    if (options.threads < 1 || options.threads > THREADS_MAX || options.pages == 0) {
        printf("load: FAIL: threads: expected 1 to %u; pages: at least 1\n", THREADS_MAX);
        return 2;
    }
    memory = map_pages();
    if (start(mode) != 0) {
        return 1;
    }
    report_progress();
    for (unsigned i = 0; i < options.threads; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    report(mode);
    return 0;
}
