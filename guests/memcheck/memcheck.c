/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memcheck SIZE [key=value]...: fills memory with a pattern that is derived from page number, seed
 * and version, then verifies it again and again while it rewrites part of it.
 *
 *   passes=N   rounds of sequential, random and hot-set pass (1)
 *   seed=N     of the pattern and of the random choices (1)
 *   threads=N  that share the memory (1); a page written by one is verified by another
 *   random=N   page visits of the random pass (as many as there are pages); 0: no such pass
 *   hot=N      page visits of the hot-set pass, on 1/16 of the pages (as many as there are pages)
 *   rewrite=N  percent of the visits of a pass that write the page anew (25)
 *
 * Ends with `memcheck: PASS`, or with `memcheck: FAIL page=... expected=... got=...` and status 1.
 * The version of each page is kept outside the memory under test.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "guests/include/mix.h"

#define PAGE_BYTES  4096
#define PAGE_WORDS  (PAGE_BYTES / sizeof(uint64_t))
#define THREADS_MAX 64
#define HOT_SHARE   16

struct options {
    uint64_t bytes, passes, seed, threads, random, hot, rewrite;
};

static struct options options = {
    .passes = 1, .seed = 1, .threads = 1, .random = UINT64_MAX, .hot = UINT64_MAX, .rewrite = 25};
static uint64_t (*memory)[PAGE_WORDS];
static uint16_t *version; /* wraps: only neighbours must differ */
static uint64_t pages;
static pthread_barrier_t barrier;
static atomic_bool failed;

static uint64_t page_base(uint64_t page)
{
    return mix(mix(page ^ options.seed << 40) + version[page]);
}

static void page_write(uint64_t page)
{
    uint64_t word = page_base(page);

    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        memory[page][i] = word;
        word += GOLDEN;
    }
}

static void page_report(uint64_t page)
{
    uint64_t word = page_base(page);

    for (unsigned i = 0; i < PAGE_WORDS; i++, word += GOLDEN) {
        uint64_t got = memory[page][i];
        if (got != word && !atomic_exchange(&failed, true)) {
            printf("memcheck: FAIL page=%llu expected=%016llx got=%016llx word=%u version=%u\n",
                   (unsigned long long)page, (unsigned long long)word, (unsigned long long)got, i,
                   version[page]);
            fflush(stdout);
        }
    }
    if (!atomic_exchange(&failed, true)) {
        printf("memcheck: FAIL page=%llu expected=same got=unstable\n", (unsigned long long)page);
    }
}

static void page_verify(uint64_t page)
{
    uint64_t word = page_base(page), wrong = 0;

    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        wrong |= memory[page][i] ^ word;
        word += GOLDEN;
    }
    if (wrong != 0) {
        page_report(page);
    }
}

static void page_visit(uint64_t page, uint64_t choice)
{
    page_verify(page);
    if (choice % 100 < options.rewrite) {
        version[page]++;
        page_write(page);
    }
}

/* ---- passes ---- */

enum pass_kind { PASS_FILL, PASS_SEQUENTIAL, PASS_RANDOM, PASS_HOT, PASS_FINAL };

struct pass {
    enum pass_kind kind;
    const char *name;
    unsigned number; /* of the pass: shifts which thread has which pages */
    uint64_t visits;
};

/*
 * In each pass a page belongs to one thread, and to the next one in the next pass, so that no page
 * is written by two at a time and each is verified by another CPU than the one that wrote it.
 */
static uint64_t owned_page(uint64_t index, unsigned thread, const struct pass *pass)
{
    return index * options.threads + (thread + pass->number) % options.threads;
}

static void pass_part(const struct pass *pass, unsigned thread)
{
    uint64_t own = pages / options.threads;
    uint64_t state = mix(options.seed ^ (uint64_t)pass->number << 32 ^ thread);
    uint64_t visits = pass->visits / options.threads;
    uint64_t hot = own / HOT_SHARE > 0 ? own / HOT_SHARE : 1;
    uint64_t hot_start = state % (own - hot + 1);

    for (uint64_t i = 0; i < visits && !atomic_load_explicit(&failed, memory_order_relaxed); i++) {
        state = mix(state);
        if (pass->kind == PASS_FILL) {
            page_write(owned_page(i, thread, pass));
        } else if (pass->kind == PASS_FINAL) {
            page_verify(owned_page(i, thread, pass));
        } else if (pass->kind == PASS_SEQUENTIAL) {
            page_visit(owned_page(i, thread, pass), state >> 32);
        } else if (pass->kind == PASS_RANDOM) {
            page_visit(owned_page((state & 0xffffffff) % own, thread, pass), state >> 32);
        } else {
            page_visit(owned_page(hot_start + (state & 0xffffffff) % hot, thread, pass),
                       state >> 32);
        }
    }
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void pass_run(const struct pass *pass, unsigned thread)
{
    double start = seconds_now();

    if (pass->visits == 0) {
        return;
    }
    pass_part(pass, thread);
    pthread_barrier_wait(&barrier);
    if (thread == 0 && !atomic_load(&failed)) {
        double seconds = seconds_now() - start;
        printf("memcheck: %-10s %8llu pages in %7.2f s: %.0f pages/s\n", pass->name,
               (unsigned long long)pass->visits, seconds,
               (double)pass->visits / (seconds > 0 ? seconds : 1e-9));
        fflush(stdout);
    }
}

static void *thread_main(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument, number = 0;

    pass_run(&(struct pass){PASS_FILL, "fill", number++, pages}, thread);
    for (uint64_t round = 0; round < options.passes; round++) {
        pass_run(&(struct pass){PASS_SEQUENTIAL, "sequential", number++, pages}, thread);
        pass_run(&(struct pass){PASS_RANDOM, "random", number++, options.random}, thread);
        pass_run(&(struct pass){PASS_HOT, "hot-set", number++, options.hot}, thread);
    }
    pass_run(&(struct pass){PASS_FINAL, "final", number++, pages}, thread);
    return NULL;
}

/* ---- options ---- */

static uint64_t parse_number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (end != text && *end != '\0') {
        const char *unit = strchr("KMG", *end & ~0x20);
        if (unit != NULL && end[1] == '\0') {
            return value << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 30);
        }
    }
    if (end == text || *end != '\0') {
        fprintf(stderr, "memcheck: '%s': expected a number, or a size such as 200M\n", text);
        exit(2);
    }
    return value;
}

static void parse_option(const char *text)
{
    static const struct {
        const char *key;
        uint64_t *value;
    } known[] = {{"passes=", &options.passes},   {"seed=", &options.seed},
                 {"threads=", &options.threads}, {"random=", &options.random},
                 {"hot=", &options.hot},         {"rewrite=", &options.rewrite}};

    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t length = strlen(known[i].key);
        if (strncmp(text, known[i].key, length) == 0) {
            *known[i].value = parse_number(text + length);
            return;
        }
    }
    fprintf(stderr,
            "memcheck: '%s': expected passes=, seed=, threads=, random=, hot= or rewrite=\n", text);
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: memcheck SIZE [key=value]...\n");
        exit(2);
    }
    options.bytes = parse_number(argv[1]);
    for (int i = 2; i < argc; i++) {
        parse_option(argv[i]);
    }
    if (options.threads == 0 || options.threads > THREADS_MAX) {
        fprintf(stderr, "memcheck: threads: expected 1 to %d\n", THREADS_MAX);
        exit(2);
    }
    pages = options.bytes / PAGE_BYTES / options.threads * options.threads;
    if (pages == 0) {
        fprintf(stderr, "memcheck: size: expected at least one page for each thread\n");
        exit(2);
    }
    options.random = options.random == UINT64_MAX ? pages : options.random;
    options.hot = options.hot == UINT64_MAX ? pages : options.hot;
}

int main(int argc, char **argv)
{
    pthread_t thread[THREADS_MAX];

    parse_options(argc, argv);
    memory =
        mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    version = calloc(pages, sizeof(version[0]));
    if (memory == MAP_FAILED || version == NULL) {
        fprintf(stderr, "memcheck: no memory for %llu pages\n", (unsigned long long)pages);
        return 1;
    }
    printf("memcheck: %llu pages, seed %llu, %llu thread(s)\n", (unsigned long long)pages,
           (unsigned long long)options.seed, (unsigned long long)options.threads);
    fflush(stdout);
    pthread_barrier_init(&barrier, NULL, (unsigned)options.threads);
    for (uintptr_t i = 1; i < options.threads; i++) {
        if (pthread_create(&thread[i], NULL, thread_main, (void *)i) != 0) {
            fprintf(stderr, "memcheck: cannot start a thread\n");
            return 1;
        }
    }
    thread_main(NULL);
    for (uintptr_t i = 1; i < options.threads; i++) {
        pthread_join(thread[i], NULL);
    }
    if (atomic_load(&failed)) {
        return 1;
    }
    printf("memcheck: PASS\n");
    return 0;
}
