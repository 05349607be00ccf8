/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose disk is it?  Reading, judging and writing the superblock. */
#include <string.h>

#include "base/log.h"
#include "base/xxhash.h"
#include "mm/content/store_internal.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define PROBE_BYTES   (1024u * 1024u)
#define PROBE_BLOCKS  (PROBE_BYTES / PAGE_SIZE)
#define BUFFER_ORDER  6 /* BLOCK_MAX_PAGES frames */
#define PROBED_STORES 16

_Static_assert(BLOCK_MAX_PAGES == 1u << BUFFER_ORDER, "the buffer takes one largest request");

/* A probe or a format under way; lives in a frame of its own. */
struct probe_job {
    struct block_request request;
    struct block_device *device;
    void (*done)(void *context, enum store_probe result);
    void *context;
    pfn_t self, buffer;
    uint64_t blocks; /* of the device, that count as its first MiB */
};

_Static_assert(sizeof(struct probe_job) <= PAGE_SIZE, "a job fits a frame");

/* Written by probes that end on the boot CPU, before any store is opened. */
static struct {
    const struct block_device *device;
    uint64_t blocks;
} probed[PROBED_STORES];

uint64_t store_probed_blocks(const struct block_device *device)
{
    for (size_t i = 0; i < PROBED_STORES; i++) {
        if (probed[i].device == device) {
            return probed[i].blocks;
        }
    }
    return 0;
}

static bool remember_blocks(const struct block_device *device, uint64_t blocks)
{
    for (size_t i = 0; i < PROBED_STORES; i++) {
        if (probed[i].device == device || probed[i].device == NULL) {
            probed[i].device = device;
            probed[i].blocks = blocks;
            return true;
        }
    }
    log_warn("%s: more than %d stores, this one is left alone", device->name, PROBED_STORES);
    return false;
}

static uint64_t superblock_checksum(const struct store_superblock *sb)
{
    return XXH64(sb, offsetof(struct store_superblock, checksum), 0);
}

static bool is_zero(const void *from, size_t bytes)
{
    const uint64_t *w = from;

    for (size_t i = 0; i < bytes / sizeof(*w); i++) {
        if (w[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Everything in block 0 must be as we write it: a disk that only resembles a store is foreign. */
static bool superblock_valid(const void *block, const struct block_device *device)
{
    struct store_superblock sb;

    memcpy(&sb, block, sizeof(sb));
    return memcmp(sb.magic, STORE_MAGIC, sizeof(sb.magic)) == 0 && sb.version == STORE_VERSION &&
           sb.block_size == PAGE_SIZE && sb.blocks >= STORE_BLOCKS_MIN &&
           sb.blocks <= device->blocks && sb.checksum == superblock_checksum(&sb) &&
           is_zero((const char *)block + sizeof(sb), PAGE_SIZE - sizeof(sb));
}

static struct probe_job *job_create(struct block_device *device,
                                    void (*done)(void *, enum store_probe), void *context)
{
    pfn_t self, buffer;

    if (!frame_alloc(0, ALLOC_META, 0, &self)) {
        return NULL;
    }
    if (!frame_alloc(BUFFER_ORDER, ALLOC_META, 0, &buffer)) {
        frame_free(self);
        return NULL;
    }
    struct probe_job *job = mm_frame_ptr(self);

    memset(job, 0, sizeof(*job));
    job->device = device;
    job->done = done;
    job->context = context;
    job->self = self;
    job->buffer = buffer;
    job->blocks = MIN(PROBE_BLOCKS, device->blocks);
    list_init(&job->request.link);
    job->request.owner = job;
    for (uint32_t i = 0; i < BLOCK_MAX_PAGES; i++) {
        job->request.page[i] = pfn(buffer.v + i);
    }
    return job;
}

static void job_end(struct probe_job *job, enum store_probe result)
{
    void (*done)(void *, enum store_probe) = job->done;
    void *context = job->context;

    frame_free(job->buffer);
    frame_free(job->self);
    done(context, result);
}

static void submit_read(struct probe_job *job, uint64_t block)
{
    job->request.op = BLOCK_READ;
    job->request.block = block;
    job->request.pages = (uint32_t)MIN(BLOCK_MAX_PAGES, job->blocks - block);
    block_submit(job->device, &job->request);
}

/* Block 0 alone may end the probe; the rest of the first MiB only tells blank from foreign. */
static void judge_superblock(struct probe_job *job, const void *block)
{
    struct store_superblock sb;

    memcpy(&sb, block, sizeof(sb));
    if (superblock_valid(block, job->device)) {
        bool kept = remember_blocks(job->device, sb.blocks);

        job_end(job, kept ? STORE_VALID : STORE_FOREIGN);
    } else {
        job_end(job, STORE_FOREIGN);
    }
}

static void probe_read_done(struct block_request *request, enum block_status status)
{
    struct probe_job *job = request->owner;
    const void *data = mm_frame_ptr(job->buffer);

    if (status != BLOCK_OK) {
        job_end(job, STORE_UNREADABLE);
    } else if (!is_zero(data, request->pages * PAGE_SIZE)) {
        if (request->block == 0) {
            judge_superblock(job, data);
        } else {
            job_end(job, STORE_FOREIGN);
        }
    } else if (request->block + request->pages < job->blocks) {
        submit_read(job, request->block + request->pages);
    } else {
        job_end(job, STORE_BLANK);
    }
}

bool store_probe_start(struct block_device *device,
                       void (*done)(void *context, enum store_probe result), void *context)
{
    struct probe_job *job = job_create(device, done, context);

    if (job == NULL) {
        return false;
    }
    if (device->blocks == 0) {
        job_end(job, STORE_FOREIGN);
        return true;
    }
    job->request.done = probe_read_done;
    submit_read(job, 0);
    return true;
}

static void format_write_done(struct block_request *request, enum block_status status)
{
    struct probe_job *job = request->owner;

    if (status == BLOCK_OK && remember_blocks(job->device, job->device->blocks)) {
        job_end(job, STORE_VALID);
    } else {
        job_end(job, STORE_UNREADABLE);
    }
}

/* No randomness is asked for: the identifier only has to differ between two stores of one host. */
static void make_uuid(uint8_t uuid[16], const struct block_device *device)
{
    uint64_t seed[2] = {mm_clock_ns(), device->blocks};
    uint64_t high = XXH64(seed, sizeof(seed), 1);
    uint64_t low = XXH64(device->name, sizeof(device->name), high);

    memcpy(uuid, &high, sizeof(high));
    memcpy(uuid + sizeof(high), &low, sizeof(low));
    /* RFC 4122, "Layout and Byte Order": version 4, variant 10x. */
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

bool store_format_start(struct block_device *device,
                        void (*done)(void *context, enum store_probe result), void *context)
{
    if (device->read_only || device->blocks < STORE_BLOCKS_MIN) {
        return false;
    }
    struct probe_job *job = job_create(device, done, context);

    if (job == NULL) {
        return false;
    }
    struct store_superblock sb = {
        .magic = STORE_MAGIC,
        .version = STORE_VERSION,
        .block_size = PAGE_SIZE,
        .blocks = device->blocks,
    };

    make_uuid(sb.uuid, device);
    sb.checksum = superblock_checksum(&sb);
    memset(mm_frame_ptr(job->buffer), 0, PAGE_SIZE);
    memcpy(mm_frame_ptr(job->buffer), &sb, sizeof(sb));
    job->request.done = format_write_done;
    job->request.op = BLOCK_WRITE;
    job->request.block = 0;
    job->request.pages = 1;
    block_submit(device, &job->request);
    return true;
}

/* ---- the test write ------------------------------------------------------------------------- */

void store_fill_test_page(void *page, uint64_t number)
{
    char *bytes = page;

    for (size_t at = 0; at < PAGE_SIZE; at += sizeof(STORE_MAGIC) - 1) {
        memcpy(bytes + at, STORE_MAGIC, MIN(sizeof(STORE_MAGIC) - 1, PAGE_SIZE - at));
    }
    memcpy(page, &number, sizeof(number));
}

/* Buffer: what is written, and what is read back. */
static void check_read_done(struct block_request *request, enum block_status status)
{
    struct probe_job *job = request->owner;
    const char *buffer = mm_frame_ptr(job->buffer);

    if (status != BLOCK_OK) {
        job_end(job, STORE_UNREADABLE);
    } else if (memcmp(buffer, buffer + PAGE_SIZE, PAGE_SIZE) != 0) {
        job_end(job, STORE_UNWRITABLE); /* it said that it had written */
    } else {
        job_end(job, STORE_VALID);
    }
}

static void check_write_done(struct block_request *request, enum block_status status)
{
    struct probe_job *job = request->owner;

    if (status != BLOCK_OK) {
        job_end(job, STORE_UNWRITABLE);
        return;
    }
    request->op = BLOCK_READ;
    request->page[0] = pfn(job->buffer.v + 1);
    request->done = check_read_done;
    block_submit(job->device, request);
}

bool store_check_start(struct block_device *device,
                       void (*done)(void *context, enum store_probe result), void *context)
{
    struct probe_job *job = job_create(device, done, context);
    uint64_t blocks = store_probed_blocks(device);

    if (job == NULL) {
        return false;
    }
    if (device->read_only || blocks == 0) {
        job_end(job, STORE_UNWRITABLE);
        return true;
    }
    store_fill_test_page(mm_frame_ptr(job->buffer), mm_clock_ns());
    job->request.op = BLOCK_WRITE;
    job->request.block = blocks - 1;
    job->request.pages = 1;
    job->request.done = check_write_done;
    block_submit(device, &job->request);
    return true;
}
