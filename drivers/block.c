/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of block devices: disks in discovery order, then partitions in the order of their disks.
 * Built by the boot CPU in block_init and never changed again, so it needs no lock; other CPUs that
 * are up already look at it only when a request is outstanding, and then all disks are there.
 */
#include "drivers/block.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "drivers/block_queue.h"
#include "drivers/gpt.h"
#include "drivers/page_pool.h"
#include "drivers/pci.h"
#include "drivers/platform.h"

#define SCAN_BYTES (GPT_MAX_BYTES + PAGE_SIZE) /* an array may begin inside of a block */

static struct list devices = LIST_INIT(devices);
static struct list polled = LIST_INIT(polled);
static unsigned disk_count;
static struct page_pool partitions;

/* For reading partition tables; boot only. */
static struct {
    struct block_request request;
    uint8_t *buffer;
    hpa_t address;
    atomic_bool done; /* perhaps by another CPU that polls */
    enum block_status status;
} scan;

bool block_add_disk(struct block_device *device, const char *prefix)
{
    unsigned number = 0;
    size_t length = strlen(prefix);

    if (disk_count == BLOCK_MAX_DISKS) {
        return false;
    }
    LIST_FOR_EACH (link, &devices) {
        number += strncmp(LIST_ENTRY(link, struct block_device, link)->name, prefix, length) == 0;
    }
    snprintf(device->name, sizeof(device->name), "%s%u", prefix, number);
    device->disk = device;
    disk_count++;
    list_push_back(&devices, &device->link);
    if (!device->shares_poll) {
        list_push_back(&polled, &device->poll_link);
    }
    log_info("%s: %llu MiB%s", device->name, (unsigned long long)device->blocks >> 8,
             device->read_only ? ", read-only" : "");
    return true;
}

static void scan_done(struct block_request *request, enum block_status status)
{
    (void)request;
    scan.status = status;
    /* Release: the status is there before anybody is told so. */
    atomic_store_explicit(&scan.done, true, memory_order_release);
}

/* Reads blocks into scan.buffer and waits; the drivers' own time-outs bound that. */
static bool scan_read(struct block_device *disk, uint64_t block, uint32_t pages)
{
    if (pages > disk->blocks || block > disk->blocks - pages) {
        return false;
    }
    atomic_store_explicit(&scan.done, false, memory_order_relaxed);
    scan.request.op = BLOCK_READ;
    scan.request.block = block;
    scan.request.pages = pages;
    scan.request.done = scan_done;
    for (uint32_t i = 0; i < pages; i++) {
        scan.request.page[i] = pfn(hpa_to_pfn(scan.address).v + i);
    }
    block_submit(disk, &scan.request);
    while (!atomic_load_explicit(&scan.done, memory_order_acquire)) {
        block_poll();
        platform_delay_us(1);
    }
    return scan.status == BLOCK_OK;
}

static void partition_add(struct block_device *disk, const struct gpt_partition *gpt,
                          unsigned number, unsigned lba_shift)
{
    unsigned shift = PAGE_SHIFT - lba_shift;
    uint64_t start = gpt->first_lba >> shift;
    uint64_t blocks = (gpt->last_lba - gpt->first_lba + 1) >> shift;

    if (!IS_ALIGNED(gpt->first_lba, 1ull << shift) || start >= disk->blocks ||
        blocks > disk->blocks - start || blocks == 0) {
        log_warn("%sp%u: not aligned to 4 KiB, or beyond the disk: not used", disk->name, number);
        return;
    }
    struct block_device *device = page_pool_take(&partitions, sizeof(*device));

    if (!device) {
        log_error("%sp%u: no memory for it: left out", disk->name, number);
        return;
    }
    device->ops = disk->ops;
    device->driver = disk->driver;
    device->disk = disk;
    device->read_only = disk->read_only;
    device->unit = disk->unit;
    device->start = start;
    device->blocks = blocks;
    snprintf(device->name, sizeof(device->name), "%.9sp%u", disk->name, (uint16_t)number);
    memcpy(device->partuuid, gpt->uuid, sizeof(gpt->uuid));
    list_push_back(&devices, &device->link);
    log_info("%s: %llu MiB, PARTUUID=%s", device->name, (unsigned long long)blocks >> 8,
             device->partuuid);
}

static void scan_entries(struct block_device *disk, const struct gpt_table *table,
                         unsigned lba_shift)
{
    unsigned shift = PAGE_SHIFT - lba_shift;
    uint64_t block = table->entries_lba >> shift;
    uint64_t offset = (table->entries_lba - (block << shift)) << lba_shift;
    uint64_t bytes = offset + (uint64_t)table->entry_count * table->entry_size;
    const uint8_t *entries = scan.buffer + offset;

    if (!scan_read(disk, block, (uint32_t)((bytes + PAGE_SIZE - 1) >> PAGE_SHIFT)) ||
        !gpt_check_entries(table, entries)) {
        log_warn("%s: GPT entries are damaged, partitions are not used", disk->name);
        return;
    }
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct gpt_partition partition;

        if (gpt_parse_entry(table, entries, i, &partition)) {
            partition_add(disk, &partition, i + 1, lba_shift);
        }
    }
}

/*
 * The header is logical block 1.  The size of a logical block is the driver's secret: try both
 * sizes there are; the header names its own block number, and its CRC decides.
 */
static void scan_disk(struct block_device *disk)
{
    struct gpt_table table;

    if (!scan_read(disk, 0, 2)) {
        log_warn("%s: no partition table could be read", disk->name);
        return;
    }
    if (!gpt_is_protective_mbr(scan.buffer)) {
        return;
    }
    if (gpt_parse_header(scan.buffer + 512, 512, 1, &table)) {
        scan_entries(disk, &table, 9);
    } else if (gpt_parse_header(scan.buffer + PAGE_SIZE, (uint32_t)PAGE_SIZE, 1, &table)) {
        scan_entries(disk, &table, PAGE_SHIFT);
    } else {
        log_warn("%s: GPT header is damaged, partitions are not used", disk->name);
    }
}

/* All disks; partitions are put behind them meanwhile, and have none of their own. */
static void scan_disks(void)
{
    LIST_FOR_EACH (link, &devices) {
        struct block_device *device = LIST_ENTRY(link, struct block_device, link);

        if (device->partuuid[0] == '\0') {
            scan_disk(device);
        }
    }
}

/*
 * Memory for looking for partitions, and for the first of them: taken before any disk takes some,
 * so that no disk can be the reason that the partitions of another are not found.
 */
static void scan_begin(void)
{
    hpa_t address;
    void *page = platform_dma_alloc(PAGE_SIZE, &address);

    scan.buffer = platform_dma_alloc(SCAN_BYTES, &scan.address);
    partitions = (struct page_pool){0};
    if (page) {
        page_pool_fill(&partitions, page, PAGE_SIZE);
    }
}

static void scan_end(void)
{
    if (!scan.buffer) {
        log_error("block: no memory (%u KiB) to look for partitions: only whole disks are used",
                  (unsigned)(SCAN_BYTES >> 10));
        return;
    }
    scan_disks();
    platform_dma_free(scan.address, SCAN_BYTES);
}

void block_init(void)
{
    list_init(&devices);
    list_init(&polled);
    disk_count = 0;
    scan_begin();
    log_info("pci: %u functions", pci_init());
    nvme_probe();
    virtio_blk_probe();
    ata_probe();
    scan_end();
}

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return tolower((unsigned char)*a) == tolower((unsigned char)*b);
}

struct block_device *block_find(const char *name)
{
    static const char by_uuid[] = "PARTUUID=";
    bool uuid = strncmp(name, by_uuid, sizeof(by_uuid) - 1) == 0;
    const char *wanted = uuid ? name + sizeof(by_uuid) - 1 : name;

    if (*wanted == '\0') {
        return NULL;
    }
    LIST_FOR_EACH (link, &devices) {
        struct block_device *device = LIST_ENTRY(link, struct block_device, link);
        if (same_text(uuid ? device->partuuid : device->name, wanted)) {
            return device;
        }
    }
    return NULL;
}

struct block_device *block_next(struct block_device *previous)
{
    struct list *link = previous ? previous->link.next : devices.next;

    return link == &devices ? NULL : LIST_ENTRY(link, struct block_device, link);
}

void block_poll(void)
{
    if (block_queue_outstanding() == 0) {
        return;
    }
    LIST_FOR_EACH (link, &polled) {
        struct block_device *device = LIST_ENTRY(link, struct block_device, poll_link);

        device->ops->poll(device);
    }
}

bool block_busy(void)
{
    return block_queue_outstanding() != 0;
}
