/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * diskcheck DEVICE [key=value]...: uses a disk and memory that came from it in every way at once,
 * and knows what each page of both has to be.
 *
 *   blocks=N   of 4 KiB, of the disk (4096)
 *   buffers=N  of 64 KiB of memory, which is read into and written from (256)
 *   ops=N      operations (4000)
 *   seed=N     of the random choices (1)
 *
 *     direct read, write   between a buffer and the disk, around the guest's page cache
 *     cached read, write   through it
 *     zero                 BLKZEROOUT
 *     store                into a page of a buffer, which stops to be what the disk has
 *     verify               a page of a buffer
 *     flush                fsync()
 *
 * Then all of both is verified.  Ends with `diskcheck: PASS`, or `diskcheck: FAIL ...` and
 * status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guests/include/mix.h"

#define BLKZEROOUT   _IO(0x12, 127) /* <linux/fs.h>, which musl does not have */
#define PAGE_BYTES   4096u
#define PAGE_WORDS   (PAGE_BYTES / sizeof(uint64_t))
#define BUFFER_PAGES 16u

struct options {
    uint64_t blocks, buffers, ops, seed;
};

static struct options options = {.blocks = 4096, .buffers = 256, .ops = 4000, .seed = 1};
static uint64_t state;
static int direct, cached;
static uint64_t *disk;   /* of each block the seed of what it holds; 0: zeroes */
static uint64_t *memory; /* of each page of the buffers, likewise */
static uint64_t *stored; /* and what has been stored into its last word since; 0: nothing */
static uint8_t *buffers;

static uint64_t below(uint64_t limit)
{
    state += GOLDEN;
    return mix(state) % limit;
}

static void fail(const char *what, uint64_t where)
{
    printf("diskcheck: FAIL %s %llu: %s\n", what, (unsigned long long)where, strerror(errno));
    exit(1);
}

/* ---- pages ---- */

static void fill(uint8_t *page, uint64_t seed)
{
    uint64_t *words = (uint64_t *)(void *)page;

    for (uint64_t i = 0; i < PAGE_WORDS; i++) {
        words[i] = seed == 0 ? 0 : seed + i * GOLDEN;
    }
}

static void verify(const uint8_t *page, uint64_t seed, uint64_t last, const char *what,
                   uint64_t where)
{
    const uint64_t *words = (const uint64_t *)(const void *)page;

    for (uint64_t i = 0; i < PAGE_WORDS; i++) {
        uint64_t expected = seed == 0 ? 0 : seed + i * GOLDEN;

        expected = i == PAGE_WORDS - 1 && last != 0 ? last : expected;
        if (words[i] != expected) {
            printf("diskcheck: FAIL %s %llu, word %llu: expected %016llx, got %016llx\n", what,
                   (unsigned long long)where, (unsigned long long)i, (unsigned long long)expected,
                   (unsigned long long)words[i]);
            exit(1);
        }
    }
}

static uint8_t *page_at(uint64_t page)
{
    return buffers + page * PAGE_BYTES;
}

static void verify_memory(uint64_t page)
{
    verify(page_at(page), memory[page], stored[page], "memory", page);
}

/* ---- operations ---- */

/* So many pages from there on, in one buffer, and as many blocks. */
struct stretch {
    uint64_t page, block, pages;
};

static struct stretch some_stretch(void)
{
    struct stretch s = {.pages = 1 + below(BUFFER_PAGES)};

    s.page = below(options.buffers) * BUFFER_PAGES + below(BUFFER_PAGES - s.pages + 1);
    s.block = below(options.blocks - s.pages + 1);
    return s;
}

static void read_disk(int file)
{
    struct stretch s = some_stretch();
    ssize_t bytes = (ssize_t)(s.pages * PAGE_BYTES);

    if (pread(file, page_at(s.page), (size_t)bytes, (off_t)(s.block * PAGE_BYTES)) != bytes) {
        fail("read of block", s.block);
    }
    for (uint64_t i = 0; i < s.pages; i++) {
        memory[s.page + i] = disk[s.block + i];
        stored[s.page + i] = 0;
    }
}

/* As the buffer is, or anew. */
static void write_disk(int file)
{
    struct stretch s = some_stretch();
    ssize_t bytes = (ssize_t)(s.pages * PAGE_BYTES);

    for (uint64_t i = 0; i < s.pages; i++) {
        if (stored[s.page + i] != 0 || below(2) == 0) {
            memory[s.page + i] = mix(++state) | 1;
            stored[s.page + i] = 0;
            fill(page_at(s.page + i), memory[s.page + i]);
        }
        disk[s.block + i] = memory[s.page + i];
    }
    if (pwrite(file, page_at(s.page), (size_t)bytes, (off_t)(s.block * PAGE_BYTES)) != bytes) {
        fail("write of block", s.block);
    }
}

static void zero_disk(void)
{
    struct stretch s = some_stretch();
    uint64_t range[2] = {s.block * PAGE_BYTES, s.pages * PAGE_BYTES};

    if (ioctl(direct, BLKZEROOUT, range) != 0) {
        fail("BLKZEROOUT at block", s.block);
    }
    memset(&disk[s.block], 0, s.pages * sizeof(*disk));
}

static void store(uint64_t page)
{
    uint64_t *words = (uint64_t *)(void *)page_at(page);

    stored[page] = mix(++state) | 1;
    words[PAGE_WORDS - 1] = stored[page];
}

static void operate(void)
{
    uint64_t page = below(options.buffers * BUFFER_PAGES), kind = below(100);

    if (kind < 25) {
        read_disk(direct);
    } else if (kind < 40) {
        write_disk(direct);
    } else if (kind < 48) {
        read_disk(cached);
    } else if (kind < 55) {
        write_disk(cached);
    } else if (kind < 58) {
        zero_disk();
    } else if (kind < 75) {
        store(page);
    } else if (kind < 97) {
        verify_memory(page);
    } else if (fsync(cached) != 0) {
        fail("fsync", 0);
    }
}

static void verify_all(void)
{
    for (uint64_t page = 0; page < options.buffers * BUFFER_PAGES; page++) {
        verify_memory(page);
    }
    for (uint64_t block = 0; block < options.blocks; block++) {
        if (pread(direct, buffers, PAGE_BYTES, (off_t)(block * PAGE_BYTES)) != PAGE_BYTES) {
            fail("read of block", block);
        }
        verify(buffers, disk[block], 0, "block", block);
    }
}

/* ---- up ---- */

static void parse(const char *word)
{
    static const struct {
        const char *key;
        uint64_t *value;
    } keys[] = {{"blocks=", &options.blocks},
                {"buffers=", &options.buffers},
                {"ops=", &options.ops},
                {"seed=", &options.seed}};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strncmp(word, keys[i].key, strlen(keys[i].key)) == 0) {
            *keys[i].value = strtoull(word + strlen(keys[i].key), NULL, 10);
            return;
        }
    }
    printf("diskcheck: FAIL expected blocks=, buffers=, ops= or seed=, got '%s'\n", word);
    exit(1);
}

static void *room(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED) {
        fail("mmap of", bytes);
    }
    return at;
}

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        parse(argv[i]);
    }
    state = options.seed;
    direct = argc > 1 ? open(argv[1], O_RDWR | O_DIRECT) : -1;
    cached = argc > 1 ? open(argv[1], O_RDWR) : -1;
    if (direct < 0 || cached < 0 || options.blocks < BUFFER_PAGES) {
        fail("open, usage: diskcheck DEVICE [key=value]...", 0);
    }
    disk = room(options.blocks * sizeof(*disk));
    memory = room(options.buffers * BUFFER_PAGES * sizeof(*memory));
    stored = room(options.buffers * BUFFER_PAGES * sizeof(*stored));
    buffers = room(options.buffers * BUFFER_PAGES * PAGE_BYTES);
    for (uint64_t block = 0; block < options.blocks; block += BUFFER_PAGES) {
        uint64_t range[2] = {block * PAGE_BYTES, BUFFER_PAGES * PAGE_BYTES};

        if (ioctl(direct, BLKZEROOUT, range) != 0) {
            fail("BLKZEROOUT at block", block);
        }
    }
    for (uint64_t i = 1; i <= options.ops; i++) {
        operate();
        if (i % (options.ops / 8 + 1) == 0) {
            printf("diskcheck: %llu of %llu\n", (unsigned long long)i,
                   (unsigned long long)options.ops);
            fflush(stdout);
        }
    }
    if (fsync(cached) != 0) {
        fail("fsync", 0);
    }
    verify_all();
    printf("diskcheck: PASS\n");
    return 0;
}
