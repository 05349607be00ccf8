/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of block devices: disks in discovery order, each followed by its partitions.
 * Built by the boot CPU in block_init and never changed again, so it needs no lock.
 */
#include "drivers/block.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "drivers/block_queue.h"
#include "drivers/gpt.h"
#include "drivers/pci.h"
#include "drivers/platform.h"

#define MAX_DISKS      32
#define MAX_PARTITIONS 64
#define SCAN_PAGES     (GPT_MAX_BYTES / PAGE_SIZE + 1) /* an array may begin inside of a block */

static struct list devices = LIST_INIT(devices);
static struct block_device *disks[MAX_DISKS];
static unsigned disk_count;
static struct block_device partitions[MAX_PARTITIONS];
static unsigned partition_count;

/* For reading partition tables; boot only. */
static struct {
    struct block_request request;
    uint8_t *buffer;
    hpa_t address;
    bool done;
    enum block_status status;
} scan;

void block_add_disk(struct block_device *device, const char *prefix)
{
    unsigned number = 0;
    size_t length = strlen(prefix);

    if (disk_count == MAX_DISKS) {
        log_error("block: more than %d disks, the rest is not used", MAX_DISKS);
        return;
    }
    for (unsigned i = 0; i < disk_count; i++) {
        number += strncmp(disks[i]->name, prefix, length) == 0;
    }
    snprintf(device->name, sizeof(device->name), "%s%u", prefix, number);
    list_push_back(&devices, &device->link);
    disks[disk_count++] = device;
    log_info("%s: %llu MiB%s", device->name, (unsigned long long)device->blocks >> 8,
             device->read_only ? ", read-only" : "");
}

static void scan_done(struct block_request *request, enum block_status status)
{
    (void)request;
    scan.status = status;
    scan.done = true;
}

/* Reads blocks into scan.buffer and waits; the drivers' own time-outs bound that. */
static bool scan_read(struct block_device *disk, uint64_t block, uint32_t pages)
{
    if (pages > disk->blocks || block > disk->blocks - pages) {
        return false;
    }
    scan.done = false;
    scan.request.op = BLOCK_READ;
    scan.request.block = block;
    scan.request.pages = pages;
    scan.request.done = scan_done;
    for (uint32_t i = 0; i < pages; i++) {
        scan.request.page[i] = pfn(hpa_to_pfn(scan.address).v + i);
    }
    block_submit(disk, &scan.request);
    while (!scan.done) {
        disk->ops->poll(disk);
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
    if (partition_count == MAX_PARTITIONS) {
        log_warn("%sp%u: more than %d partitions, not used", disk->name, number, MAX_PARTITIONS);
        return;
    }
    struct block_device *device = &partitions[partition_count++];

    device->ops = disk->ops;
    device->driver = disk->driver;
    device->read_only = disk->read_only;
    device->start = start;
    device->blocks = blocks;
    snprintf(device->name, sizeof(device->name), "%.10sp%u", disk->name, number);
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

void block_init(void)
{
    log_info("pci: %u functions", pci_init());
    nvme_probe();
    virtio_blk_probe();
    ata_probe();
    scan.buffer = platform_dma_alloc(SCAN_PAGES * PAGE_SIZE, &scan.address);
    if (!scan.buffer) {
        log_warn("block: no memory to look for partitions");
        return;
    }
    for (unsigned i = 0; i < disk_count; i++) {
        scan_disk(disks[i]);
    }
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
    for (unsigned i = 0; i < disk_count; i++) {
        disks[i]->ops->poll(disks[i]);
    }
}

bool block_busy(void)
{
    return block_queue_outstanding() != 0;
}
