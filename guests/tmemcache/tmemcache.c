/* SPDX-License-Identifier: BSD-2-Clause */
/* The library: keys and values over the ioctls of /dev/tmem. */
#include "tmemcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "spillway_tmem_ioctl.h"

#define MAGIC       0x31656863616d6574ull /* "temache1" */
#define VALUE_PAGES (TMEMCACHE_VALUE_MAX / TMEM_PAGE_SIZE)

struct header {
    uint64_t magic;
    uint64_t checksum; /* XXH64 of the value */
    uint32_t key_length;
    uint32_t length; /* of the value, bytes */
    char rest[TMEM_PAGE_SIZE - 24];
};

_Static_assert(sizeof(struct header) == TMEM_PAGE_SIZE, "the header fills a page");

struct tmemcache {
    int file;
    uint32_t pool;
    struct header *header; /* one page; the value's pages follow */
    char *value;
    unsigned count; /* operations in the batch */
    struct tmem_batch_op ops[TMEM_BATCH_MAX];
};

struct tmemcache *tmemcache_open(const char *device)
{
    struct tmem_pool_create create = {.flags = TMEM_POOL_SHARED_GET};
    struct tmemcache *cache = calloc(1, sizeof(*cache));
    int error;

    if (cache == NULL) {
        return NULL;
    }
    cache->header = aligned_alloc(TMEM_PAGE_SIZE, (1 + VALUE_PAGES) * TMEM_PAGE_SIZE);
    cache->file = open(device != NULL ? device : TMEMCACHE_DEVICE, O_RDWR | O_CLOEXEC);
    if (cache->header != NULL && cache->file >= 0 &&
        ioctl(cache->file, TMEM_IOC_CREATE, &create) == 0) {
        cache->value = (char *)(cache->header + 1);
        cache->pool = create.pool;
        return cache;
    }
    error = errno;
    if (cache->file >= 0) {
        close(cache->file);
    }
    free(cache->header);
    free(cache);
    errno = error;
    return NULL;
}

void tmemcache_close(struct tmemcache *cache)
{
    if (cache != NULL) {
        close(cache->file);
        free(cache->header);
        free(cache);
    }
}

/* ---- batches ---- */

static struct tmem_page page_of(const struct tmemcache *cache, const char *key, uint32_t index,
                                void *data)
{
    size_t length = strlen(key);
    XXH128_hash_t hash = XXH128(key, length, 0);
    struct tmem_page page = {.pool = cache->pool, .index = index, .data = (uintptr_t)data};

    page.object[0] = hash.low64;
    page.object[1] = hash.high64;
    page.object[2] = XXH64(key, length, 1);
    return page;
}

/* Performs what was added; the first status that is not 0 goes to errno. */
static int batch_run(struct tmemcache *cache)
{
    struct tmem_batch batch = {.ops = (uintptr_t)cache->ops, .count = cache->count};
    unsigned count = cache->count;

    cache->count = 0;
    if (count == 0) {
        return 0;
    }
    if (ioctl(cache->file, TMEM_IOC_BATCH, &batch) != 0) {
        return -1;
    }
    for (unsigned i = 0; i < count; i++) {
        if (cache->ops[i].status != 0) {
            errno = -cache->ops[i].status;
            return -1;
        }
    }
    return 0;
}

static int batch_add(struct tmemcache *cache, uint32_t op, const struct tmem_page *page)
{
    cache->ops[cache->count].op = op;
    cache->ops[cache->count].page = *page;
    cache->count++;
    return cache->count == TMEM_BATCH_MAX ? batch_run(cache) : 0;
}

static int batch_add_value(struct tmemcache *cache, uint32_t op, struct tmem_page page,
                           size_t length)
{
    for (size_t at = 0; at < length; at += TMEM_PAGE_SIZE) {
        page.index = 1 + (uint32_t)(at / TMEM_PAGE_SIZE);
        page.data = (uintptr_t)(cache->value + at);
        if (batch_add(cache, op, &page) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- values ---- */

static bool value_fits_header(size_t key_length, size_t length)
{
    return key_length + length <= sizeof(((struct header *)NULL)->rest);
}

static int key_check(const char *key)
{
    size_t length = strlen(key);

    if (length == 0 || length > TMEMCACHE_KEY_MAX) {
        errno = length == 0 ? EINVAL : E2BIG;
        return -1;
    }
    return 0;
}

/* Lays the value out; the bytes behind it must not be what an earlier one left there. */
static void value_stage(struct tmemcache *cache, const char *key, const void *value, size_t length)
{
    struct header *header = cache->header;
    size_t key_length = strlen(key);
    size_t tail = length % TMEM_PAGE_SIZE;

    *header = (struct header){.magic = MAGIC,
                              .checksum = XXH64(value, length, 0),
                              .key_length = (uint32_t)key_length,
                              .length = (uint32_t)length};
    memcpy(header->rest, key, key_length);
    if (value_fits_header(key_length, length)) {
        memcpy(header->rest + key_length, value, length);
        return;
    }
    memcpy(cache->value, value, length);
    if (tail != 0) {
        memset(cache->value + length, 0, TMEM_PAGE_SIZE - tail);
    }
}

int tmemcache_put(struct tmemcache *cache, const char *key, const void *value, size_t length)
{
    struct tmem_page page;
    size_t outside;
    int error;

    if (key_check(key) != 0) {
        return -1;
    }
    if (length > TMEMCACHE_VALUE_MAX) {
        errno = E2BIG;
        return -1;
    }
    value_stage(cache, key, value, length);
    outside = value_fits_header(strlen(key), length) ? 0 : length;
    page = page_of(cache, key, 0, cache->header);
    /* In this order: there is no header while the pages are those of two values. */
    if (batch_add(cache, TMEM_OP_FLUSH_OBJECT, &page) == 0 &&
        batch_add_value(cache, TMEM_OP_PUT, page, outside) == 0 &&
        batch_add(cache, TMEM_OP_PUT, &page) == 0 && batch_run(cache) == 0) {
        return 0;
    }
    error = errno;
    cache->count = 0;
    tmemcache_delete(cache, key);
    errno = error;
    return -1;
}

static bool header_is_good(const struct header *header, const char *key)
{
    return header->magic == MAGIC && header->length <= TMEMCACHE_VALUE_MAX &&
           header->key_length == strlen(key) && memcmp(header->rest, key, strlen(key)) == 0;
}

/* Brings header and pages; 0 if all were there. */
static int value_fetch(struct tmemcache *cache, const char *key, const char **value)
{
    struct tmem_page page = page_of(cache, key, 0, cache->header);
    const struct header *header = cache->header;

    if (ioctl(cache->file, TMEM_IOC_GET, &page) != 0) {
        return -1;
    }
    if (!header_is_good(header, key)) {
        errno = ENOENT;
        return -1;
    }
    *value = header->rest + header->key_length;
    if (!value_fits_header(header->key_length, header->length)) {
        *value = cache->value;
        if (batch_add_value(cache, TMEM_OP_GET, page, header->length) != 0 ||
            batch_run(cache) != 0) {
            cache->count = 0;
            return -1;
        }
    }
    if (XXH64(*value, header->length, 0) != header->checksum) {
        errno = ENOENT;
        return -1;
    }
    return 0;
}

ssize_t tmemcache_get(struct tmemcache *cache, const char *key, void *buffer, size_t size)
{
    const char *value;

    if (key_check(key) != 0) {
        return -1;
    }
    if (value_fetch(cache, key, &value) != 0) {
        if (errno == ENOENT) { /* what is left of it is of no use */
            tmemcache_delete(cache, key);
            errno = ENOENT;
        }
        return -1;
    }
    if (cache->header->length > size) {
        errno = ERANGE;
        return -1;
    }
    memcpy(buffer, value, cache->header->length);
    return cache->header->length;
}

int tmemcache_delete(struct tmemcache *cache, const char *key)
{
    if (key_check(key) != 0) {
        return -1;
    }
    struct tmem_page page = page_of(cache, key, 0, NULL);

    return ioctl(cache->file, TMEM_IOC_FLUSH_OBJECT, &page);
}
