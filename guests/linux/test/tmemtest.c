/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmemtest: the rules of tmem, one test each, through the ioctls of /dev/tmem.
 * tmemtest direct: tmem0 with buffers that are not aligned to pages, past the page cache.
 * Ends with `tmemtest: PASS`, or says what went wrong, with status 1.
 */
#define _GNU_SOURCE /* O_DIRECT */
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

#include "spillway_tmem_ioctl.h"

static int file;
static unsigned char *out, *in; /* one page each, aligned */
static const char *test;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("tmemtest: FAIL %s: line %d: %s (errno %d)\n", test, __LINE__, #condition,      \
                   errno);                                                                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define CHECK_ERROR(call, error) CHECK((call) == -1 && errno == (error))

static int pool_create(uint32_t flags, uint32_t *pool)
{
    struct tmem_pool_create create = {.flags = flags};
    int result = ioctl(file, TMEM_IOC_CREATE, &create);

    *pool = create.pool;
    return result;
}

static int page_do(unsigned long what, uint32_t pool, uint64_t object, uint32_t index, void *data)
{
    struct tmem_page page = {
        .pool = pool, .index = index, .object = {object, ~object, 7}, .data = (uintptr_t)data};

    return ioctl(file, what, &page);
}

static void fill(unsigned seed)
{
    for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++) {
        out[i] = (unsigned char)(seed * 31 + i * 7 + i / 251);
    }
}

static int put(uint32_t pool, uint64_t object, uint32_t index, unsigned seed)
{
    fill(seed);
    return page_do(TMEM_IOC_PUT, pool, object, index, out);
}

/* The page must be there and be that of the seed. */
static bool has(uint32_t pool, uint64_t object, uint32_t index, unsigned seed)
{
    memset(in, 0xee, TMEM_PAGE_SIZE);
    fill(seed);
    return page_do(TMEM_IOC_GET, pool, object, index, in) == 0 &&
           memcmp(in, out, TMEM_PAGE_SIZE) == 0;
}

static bool misses(uint32_t pool, uint64_t object, uint32_t index)
{
    return page_do(TMEM_IOC_GET, pool, object, index, in) == -1 && errno == ENOENT;
}

/* ---- the rules ---- */

static void put_copies(void)
{
    uint32_t pool;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    CHECK(put(pool, 1, 0, 5) == 0);
    memset(out, 0, TMEM_PAGE_SIZE);
    CHECK(has(pool, 1, 0, 5));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void persistent_get_keeps(void)
{
    uint32_t pool;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    for (unsigned i = 0; i < 50; i++) {
        CHECK(put(pool, i % 3, i, i) == 0);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 50; i++) {
            CHECK(has(pool, i % 3, i, i));
        }
    }
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void ephemeral_get_removes(void)
{
    uint32_t pool;

    CHECK(pool_create(0, &pool) == 0);
    CHECK(put(pool, 1, 0, 1) == 0);
    CHECK(has(pool, 1, 0, 1));
    CHECK(misses(pool, 1, 0));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
    CHECK(pool_create(TMEM_POOL_SHARED_GET, &pool) == 0);
    CHECK(put(pool, 1, 0, 1) == 0);
    CHECK(has(pool, 1, 0, 1));
    CHECK(has(pool, 1, 0, 1));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void put_replaces(void)
{
    uint32_t pool;

    for (unsigned flags = 0; flags < 2; flags++) {
        CHECK(pool_create(flags, &pool) == 0);
        CHECK(put(pool, 1, 9, 1) == 0);
        CHECK(put(pool, 1, 9, 2) == 0);
        CHECK(has(pool, 1, 9, 2));
        CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
    }
}

static void flush_is_idempotent(void)
{
    uint32_t pool;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    for (unsigned i = 0; i < 12; i++) {
        CHECK(put(pool, i / 4, i, i) == 0);
    }
    for (unsigned round = 0; round < 2; round++) {
        CHECK(page_do(TMEM_IOC_FLUSH_PAGE, pool, 0, 1, NULL) == 0);
        CHECK(misses(pool, 0, 1));
        CHECK(has(pool, 0, 2, 2));
        CHECK(page_do(TMEM_IOC_FLUSH_OBJECT, pool, 1, 0, NULL) == 0);
        CHECK(misses(pool, 1, 4) && misses(pool, 1, 7));
        CHECK(has(pool, 2, 8, 8));
    }
    for (unsigned round = 0; round < 2; round++) {
        CHECK(ioctl(file, TMEM_IOC_FLUSH_POOL, &pool) == 0);
        CHECK(misses(pool, 0, 2) && misses(pool, 2, 8));
    }
    CHECK(put(pool, 2, 8, 3) == 0 && has(pool, 2, 8, 3));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void destroyed_is_dead(void)
{
    uint32_t pool, next;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    CHECK(put(pool, 1, 0, 1) == 0);
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
    CHECK_ERROR(put(pool, 1, 0, 1), EBADFD);
    CHECK_ERROR(page_do(TMEM_IOC_GET, pool, 1, 0, in), EBADFD);
    CHECK_ERROR(ioctl(file, TMEM_IOC_FLUSH_POOL, &pool), EBADFD);
    CHECK_ERROR(ioctl(file, TMEM_IOC_DESTROY, &pool), EBADFD);
    CHECK(pool_create(TMEM_POOL_PERSISTENT, &next) == 0);
    CHECK(misses(next, 1, 0));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &next) == 0);
}

static void any_value_is_safe(void)
{
    static const uint64_t values[] = {0,          1,          0x7fffffff, 0x80000000,
                                      0xffffffff, UINT64_MAX, 1ull << 63};
    uint32_t pool;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint32_t foreign = (uint32_t)values[i];
        CHECK(put(pool, values[i], (uint32_t)values[i], i) == 0);
        CHECK(has(pool, values[i], (uint32_t)values[i], i));
        if (foreign != pool) {
            CHECK_ERROR(put(foreign, 1, 1, 1), EBADFD);
            CHECK_ERROR(ioctl(file, TMEM_IOC_DESTROY, &foreign), EBADFD);
        }
    }
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void wrong_arguments(void)
{
    void *hole = mmap(NULL, TMEM_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct tmem_batch_op op = {.op = 99};
    struct tmem_batch batch = {.ops = (uintptr_t)&op, .count = 0};
    uint32_t pool;

    CHECK_ERROR(pool_create(0xfffffff0u, &pool), EINVAL);
    CHECK(pool_create(0, &pool) == 0);
    CHECK_ERROR(page_do(TMEM_IOC_PUT, pool, 1, 1, out + 8), EINVAL);
    CHECK_ERROR(page_do(TMEM_IOC_PUT, pool, 1, 1, hole), EFAULT);
    CHECK_ERROR(page_do(TMEM_IOC_PUT, pool, 1, 1, NULL), EFAULT);
    CHECK_ERROR(ioctl(file, TMEM_IOC_PUT, hole), EFAULT);
    CHECK_ERROR(ioctl(file, TMEM_IOC_BATCH, &batch), EINVAL);
    batch.count = TMEM_BATCH_MAX + 1;
    CHECK_ERROR(ioctl(file, TMEM_IOC_BATCH, &batch), EINVAL);
    batch.count = 1;
    op.page.pool = pool;
    CHECK(ioctl(file, TMEM_IOC_BATCH, &batch) == 0 && op.status == -EINVAL);
    CHECK_ERROR(ioctl(file, 0x1234), ENOTTY);
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

static void batch_in_order(void)
{
    struct tmem_batch_op ops[TMEM_BATCH_MAX];
    struct tmem_batch batch = {.ops = (uintptr_t)ops, .count = TMEM_BATCH_MAX};
    uint32_t pool;

    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    fill(3);
    memset(ops, 0, sizeof(ops));
    for (unsigned i = 0; i < TMEM_BATCH_MAX; i++) { /* put, get, flush, get of one page each */
        static const uint32_t kinds[] = {TMEM_OP_PUT, TMEM_OP_GET, TMEM_OP_FLUSH_PAGE, TMEM_OP_GET};
        ops[i].op = kinds[i % 4];
        ops[i].page.pool = pool;
        ops[i].page.index = i / 4;
        ops[i].page.data = i % 4 == 0 ? (uintptr_t)out : i % 4 == 2 ? 0 : (uintptr_t)in;
    }
    ops[5].page.pool = ~pool; /* one wrong, the others not */
    CHECK(ioctl(file, TMEM_IOC_BATCH, &batch) == 0);
    for (unsigned i = 0; i < TMEM_BATCH_MAX; i++) {
        CHECK(ops[i].status == (i == 5 ? -EBADFD : i % 4 == 3 ? -ENOENT : 0));
    }
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
}

/* Pools are private to the open file, and go with it. */
static void closed_is_freed(void)
{
    struct tmem_info before, after;
    int first = file, second = open("/dev/tmem", O_RDWR);
    uint32_t pool;

    CHECK(second >= 0 && ioctl(first, TMEM_IOC_QUERY, &before) == 0);
    file = second;
    for (unsigned i = 0; i < TMEM_POOLS_MAX; i++) {
        if (pool_create(TMEM_POOL_PERSISTENT, &pool) != 0) {
            CHECK(i > 0);
            break;
        }
        CHECK(put(pool, 1, 1, 1) == 0);
    }
    CHECK(has(pool, 1, 1, 1) || errno == EBADFD);
    file = first;
    CHECK_ERROR(page_do(TMEM_IOC_GET, pool, 1, 1, in), EBADFD);
    CHECK(close(second) == 0);
    CHECK(ioctl(first, TMEM_IOC_QUERY, &after) == 0);
    CHECK(before.pools == after.pools && before.persistent == after.persistent);
}

/* More than the quota is refused, and what was refused is not there. */
static void refused_is_gone(void)
{
    struct tmem_info info;
    uint32_t pool, index = 0;

    CHECK(ioctl(file, TMEM_IOC_QUERY, &info) == 0);
    CHECK(pool_create(TMEM_POOL_PERSISTENT, &pool) == 0);
    while (index <= info.quota && put(pool, 1, index, index) == 0) {
        index++;
    }
    CHECK(errno == ENOMEM && index + info.persistent <= info.quota);
    CHECK(misses(pool, 1, index));
    for (uint32_t i = 0; i < index; i += 97) {
        CHECK(has(pool, 1, i, i));
    }
    CHECK(page_do(TMEM_IOC_FLUSH_PAGE, pool, 1, 0, NULL) == 0);
    CHECK(put(pool, 1, index, 1) == 0 && has(pool, 1, index, 1));
    CHECK(ioctl(file, TMEM_IOC_DESTROY, &pool) == 0);
    printf("tmemtest: %u pages of a quota of %llu were taken\n", index,
           (unsigned long long)info.quota);
}

/* Blocks that begin within a page take the driver's other way. */
static int direct_main(void)
{
    enum { BLOCKS = 5, BYTES = BLOCKS * TMEM_PAGE_SIZE };
    unsigned char *buffer = aligned_alloc(TMEM_PAGE_SIZE, 2 * BYTES);
    int disk = open("/dev/tmem0", O_RDWR | O_DIRECT);

    test = "direct";
    CHECK(disk >= 0 && buffer != NULL);
    for (unsigned offset = 0; offset < TMEM_PAGE_SIZE; offset += 512) {
        for (unsigned i = 0; i < BYTES; i++) {
            buffer[offset + i] = (unsigned char)(i * 11 + i / 4096 + offset / 512);
        }
        CHECK(pwrite(disk, buffer + offset, BYTES, 40 * TMEM_PAGE_SIZE) == BYTES);
        memset(buffer, 0xee, 2 * BYTES);
        CHECK(pread(disk, buffer + 1536, BYTES, 40 * TMEM_PAGE_SIZE) == BYTES);
        for (unsigned i = 0; i < BYTES; i++) {
            CHECK(buffer[1536 + i] == (unsigned char)(i * 11 + i / 4096 + offset / 512));
        }
        CHECK(buffer[1535] == 0xee && buffer[1536 + BYTES] == 0xee);
        CHECK(pread(disk, buffer + 512, BYTES, 60 * TMEM_PAGE_SIZE) == BYTES);
        for (unsigned i = 0; i < BYTES; i++) {
            CHECK(buffer[512 + i] == 0);
        }
    }
    close(disk);
    printf("tmemtest: ok direct\n");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"put-copies", put_copies},
                 {"persistent-get-keeps", persistent_get_keeps},
                 {"ephemeral-get-removes", ephemeral_get_removes},
                 {"put-replaces", put_replaces},
                 {"flush-is-idempotent", flush_is_idempotent},
                 {"destroyed-is-dead", destroyed_is_dead},
                 {"any-value-is-safe", any_value_is_safe},
                 {"wrong-arguments", wrong_arguments},
                 {"batch-in-order", batch_in_order},
                 {"closed-is-freed", closed_is_freed},
                 {"refused-is-gone", refused_is_gone}};

    if (argc == 2 && strcmp(argv[1], "direct") == 0) {
        return direct_main();
    }
    out = aligned_alloc(TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
    in = aligned_alloc(TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
    file = open("/dev/tmem", O_RDWR);
    test = "open";
    CHECK(file >= 0 && out != NULL && in != NULL);
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        test = tests[i].name;
        tests[i].run();
        printf("tmemtest: ok %s\n", test);
    }
    printf("tmemtest: PASS\n");
    return 0;
}
