/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mm/env.h"
#include "tests/unit/xorshift.h"

static uint64_t next_random(struct fake_disk *disk)
{
    return xorshift64(&disk->random);
}

static bool chance(struct fake_disk *disk, unsigned permille)
{
    return permille != 0 && next_random(disk) % 1000 < permille;
}

static void maybe_corrupt(struct fake_disk *disk, uint8_t *page)
{
    pthread_mutex_lock(&disk->mutex);
    if (chance(disk, disk->corrupt_permille)) {
        page[next_random(disk) % PAGE_SIZE] ^= 0x10;
        disk->corrupted++;
    }
    pthread_mutex_unlock(&disk->mutex);
}

/* First sector, and how many. */
static uint64_t first_sector(const struct block_request *request)
{
    return request->block * BLOCK_SECTORS + request->sector;
}

static uint64_t sectors_of(const struct block_request *request)
{
    return request->op == BLOCK_DISCARD
               ? request->sectors
               : request->pages * BLOCK_SECTORS - request->offset - request->cut;
}

/* Which half of the pages moves at submit, which at completion. */
static void move_pages(struct fake_disk *disk, struct block_request *request, bool odd)
{
    for (uint32_t i = odd ? 1 : 0; i < request->pages; i += 2) {
        uint32_t before = i == 0 ? request->offset : 0;
        uint32_t behind = i + 1 == request->pages ? request->cut : 0;
        uint64_t sector =
            first_sector(request) + i * BLOCK_SECTORS - (i == 0 ? 0 : request->offset);
        uint8_t *at = disk->data + sector * BLOCK_SECTOR_BYTES;
        uint8_t *page = (uint8_t *)mm_frame_ptr(request->page[i]) + before * BLOCK_SECTOR_BYTES;
        size_t bytes = (BLOCK_SECTORS - before - behind) * BLOCK_SECTOR_BYTES;

        if (request->op == BLOCK_WRITE && disk->lies) {
            continue;
        }
        if (request->op == BLOCK_WRITE) {
            memcpy(at, page, bytes);
        } else {
            memcpy(page, at, bytes);
            maybe_corrupt(disk, page - before * BLOCK_SECTOR_BYTES);
        }
    }
}

static bool on_disk(const struct fake_disk *disk, const struct block_request *request)
{
    return first_sector(request) + sectors_of(request) <= disk->device.blocks * BLOCK_SECTORS;
}

static void disk_submit(struct block_device *device, struct block_request *request)
{
    struct fake_disk *disk = CONTAINER_OF(device, struct fake_disk, device);

    if (request->op < BLOCK_FLUSH && (request->pages == 0 || request->pages > BLOCK_MAX_PAGES)) {
        panic("fake disk: request of %u pages", request->pages);
    }
    if (request->op == BLOCK_DISCARD &&
        (request->sectors == 0 || request->sectors > device->discard_max)) {
        panic("fake disk: %u sectors discarded at once", request->sectors);
    }
    if (request->op == BLOCK_WRITE && on_disk(disk, request)) {
        move_pages(disk, request, false);
    }
    pthread_mutex_lock(&disk->mutex);
    list_push_back(&disk->queue, &request->link);
    disk->queued++;
    pthread_mutex_unlock(&disk->mutex);
}

static bool counts_down(unsigned *counter)
{
    return *counter != 0 && --*counter == 0;
}

static bool has_rotten(const struct fake_disk *disk, const struct block_request *request)
{
    uint64_t last = request->block + request->pages - 1;

    return disk->rotten != 0 && last / disk->rotten * disk->rotten >= request->block;
}

static bool shall_fail(struct fake_disk *disk, const struct block_request *request)
{
    uint64_t end = request->block + request->pages;
    bool bad = disk->bad_block >= request->block && disk->bad_block < end && disk->bad_block != 0;
    bool last = request->block == disk->device.blocks - 1;

    if (request->op == BLOCK_READ) {
        bad |= disk->reads_down || (!last && has_rotten(disk, request)) ||
               counts_down(&disk->fail_read_in) ||
               (!last && chance(disk, disk->fail_read_permille));
        disk->failed_reads += bad;
    } else {
        bad |= disk->writes_down || (disk->thin != 0 && end > disk->thin && !last) ||
               counts_down(&disk->fail_write_in) ||
               (!last && chance(disk, disk->fail_write_permille));
        disk->failed_writes += bad;
    }
    return bad;
}

static enum block_status perform(struct fake_disk *disk, struct block_request *request, bool fail)
{
    if (request->op != BLOCK_FLUSH && !on_disk(disk, request)) {
        return BLOCK_RANGE;
    }
    if (fail) {
        if (request->op == BLOCK_FLUSH && disk->forgets) {
            memcpy(disk->data, disk->stable, disk->device.blocks * PAGE_SIZE);
        }
        return BLOCK_ERROR;
    }
    if (request->op == BLOCK_FLUSH) {
        disk->flushes++;
        if (disk->stable != NULL) {
            memcpy(disk->stable, disk->data, disk->device.blocks * PAGE_SIZE);
        }
        return BLOCK_OK;
    }
    if (request->op == BLOCK_DISCARD) {
        disk->discards++;
        memset(disk->data + first_sector(request) * BLOCK_SECTOR_BYTES, FAKE_DISK_DISCARDED,
               request->sectors * BLOCK_SECTOR_BYTES);
        return BLOCK_OK;
    }
    if (request->op == BLOCK_READ || disk->forgets) { /* a flush may have failed since */
        move_pages(disk, request, false);
    }
    move_pages(disk, request, true);
    return BLOCK_OK;
}

/* Takes one request out of the queue and decides its fate; NULL: there is none. */
static struct block_request *take_request(struct fake_disk *disk, bool *fail)
{
    struct block_request *request = NULL;

    pthread_mutex_lock(&disk->mutex);
    if (disk->queued != 0) {
        struct list *item = disk->queue.next;

        for (uint64_t skip = next_random(disk) % disk->queued; skip > 0; skip--) {
            item = item->next;
        }
        request = LIST_ENTRY(item, struct block_request, link);
        list_remove(item);
        disk->queued--;
        *fail = shall_fail(disk, request);
    }
    pthread_mutex_unlock(&disk->mutex);
    return request;
}

bool fake_disk_step(struct fake_disk *disk)
{
    bool fail = false;
    struct block_request *request = take_request(disk, &fail);

    if (request == NULL) {
        return false;
    }
    request->done(request, perform(disk, request, fail));
    return true;
}

void fake_disk_settle(struct fake_disk *disk)
{
    while (fake_disk_step(disk)) {
    }
}

static void disk_poll(struct block_device *device)
{
    fake_disk_settle(CONTAINER_OF(device, struct fake_disk, device));
}

static const struct block_ops disk_ops = {.submit = disk_submit, .poll = disk_poll};

void fake_disk_init(struct fake_disk *disk, uint64_t blocks, uint64_t seed)
{
    memset(disk, 0, sizeof(*disk));
    pthread_mutex_init(&disk->mutex, NULL);
    list_init(&disk->queue);
    list_init(&disk->device.link);
    disk->device.ops = &disk_ops;
    disk->device.blocks = blocks;
    strcpy(disk->device.name, "fake0");
    disk->device.unit = 1;
    disk->random = seed | 1;
    disk->data = calloc(blocks, PAGE_SIZE);
    if (disk->data == NULL) {
        panic("fake disk: no memory");
    }
}

void fake_disk_free(struct fake_disk *disk)
{
    free(disk->data);
    disk->data = NULL;
}
