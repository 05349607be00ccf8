/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests on one IDE channel: submit, completion, time-outs, soft reset.
 * Programming Interface for Bus Master IDE Controller 1.0, 3.1 "Data Transfer".
 */
#include <string.h>

#include "base/log.h"
#include "drivers/ata.h"
#include "drivers/block.h"
#include "drivers/platform.h"

/* Bus-master registers. */
enum {
    BM_COMMAND = 0,
    BM_STATUS = 2,
    BM_TABLE = 4,
};
#define BM_COMMAND_START 0x01
#define BM_COMMAND_READ  0x08 /* from the disk to memory */
#define BM_STATUS_ERROR  0x02
#define BM_STATUS_IRQ    0x04
#define BM_STATUS_KEEP   0x60 /* DMA capable bits: written back as they are */

#define ERROR_ICRC 0x80
#define READY_NS   100000000ull /* for a drive that has ended its last command to be ready */
#define RESET_NS   5000000000ull
/* ATA/ATAPI-7 Volume 2, 9.2 "Software reset protocol". */
#define RESET_PULSE_NS 5000ull
#define RESET_PAUSE_NS 2000000ull

uint8_t ata_read(const struct ata_channel *ch, unsigned offset)
{
    return port_in8((uint16_t)(ch->command + offset));
}

void ata_write(const struct ata_channel *ch, unsigned offset, uint8_t value)
{
    port_out8((uint16_t)(ch->command + offset), value);
}

uint8_t ata_alternate_status(const struct ata_channel *ch)
{
    return port_in8(ch->control);
}

void ata_settle(const struct ata_channel *ch)
{
    for (int i = 0; i < 4; i++) {
        ata_alternate_status(ch);
    }
}

static struct ata_drive *slice_drive(const struct block_slice *slice)
{
    return block_request_device(slice->request)->driver;
}

static bool above_4g(pfn_t page)
{
    return page.v >= 1ull << (32 - PAGE_SHIFT);
}

/* Copies between the pages that are out of reach and their bounce pages. */
static void bounce_copy(struct ata_channel *ch, enum block_op op)
{
    const struct block_slice *slice = &ch->slice;

    if (slice->request->op != op) {
        return;
    }
    for (uint32_t i = 0; i < slice->count; i++) {
        pfn_t page = slice->request->page[slice->first + i];
        uint32_t before, bytes = block_slice_bytes(slice, i, &before);
        uint8_t *bounce = ch->bounce + i * PAGE_SIZE + before;

        if (!above_4g(page)) {
            continue;
        }
        if (op == BLOCK_WRITE) {
            memcpy(bounce, (uint8_t *)platform_frame_ptr(page) + before, bytes);
        } else {
            memcpy((uint8_t *)platform_frame_ptr(page) + before, bounce, bytes);
        }
    }
}

/* Pages, or the ranges of a discard. */
static bool moves_data(const struct block_slice *slice)
{
    return slice->request->op != BLOCK_FLUSH;
}

/* The ranges of a discard go where pages that are out of reach would. */
static unsigned discard_prepare(struct ata_channel *ch, struct ata_piece *piece)
{
    ata_trim_build((uint64_t *)(void *)ch->bounce, block_slice_sector(&ch->slice),
                   block_slice_sectors(&ch->slice));
    *piece = (struct ata_piece){(uint32_t)ch->bounce_address.v, BLOCK_SECTOR_BYTES};
    return 1;
}

static unsigned pages_prepare(struct ata_channel *ch, struct ata_piece *piece)
{
    const struct block_slice *slice = &ch->slice;

    for (uint32_t i = 0; i < slice->count; i++) {
        pfn_t page = slice->request->page[slice->first + i];
        uint32_t before, bytes = block_slice_bytes(slice, i, &before);
        uint64_t at = above_4g(page) ? ch->bounce_address.v + i * PAGE_SIZE : pfn_to_hpa(page).v;

        piece[i] = (struct ata_piece){(uint32_t)at + before, bytes};
    }
    bounce_copy(ch, BLOCK_WRITE);
    return slice->count;
}

static void dma_prepare(struct ata_channel *ch)
{
    struct ata_piece piece[BLOCK_MAX_PAGES];
    unsigned count = ch->slice.request->op == BLOCK_DISCARD ? discard_prepare(ch, piece)
                                                            : pages_prepare(ch, piece);

    ata_prd_build(ch->prds, piece, count);
    /* Release: the table and bounced data are in memory before the controller is told. */
    atomic_thread_fence(memory_order_release);
    port_out32((uint16_t)(ch->bus_master + BM_TABLE), (uint32_t)ch->prds_address.v);
}

static void bus_master_stop(struct ata_channel *ch)
{
    port_out8((uint16_t)(ch->bus_master + BM_COMMAND), 0);
}

/* IRQ and ERROR are cleared by writing ones. */
static void bus_master_clear(struct ata_channel *ch)
{
    uint8_t status = port_in8((uint16_t)(ch->bus_master + BM_STATUS));

    port_out8((uint16_t)(ch->bus_master + BM_STATUS),
              (uint8_t)((status & BM_STATUS_KEEP) | BM_STATUS_ERROR | BM_STATUS_IRQ));
}

static void taskfile_write(struct ata_channel *ch, const struct ata_taskfile *t, uint8_t select)
{
    ata_write(ch, ATA_DEVICE, t->device | select);
    ata_settle(ch);
    if (t->features != 0) {
        ata_write(ch, ATA_FEATURES, 0); /* the high half of it, as below */
        ata_write(ch, ATA_FEATURES, t->features);
    }
    if (t->lba48) {
        /* Each register is two bytes deep: the high half goes first. */
        ata_write(ch, ATA_COUNT, (uint8_t)(t->sectors >> 8));
        ata_write(ch, ATA_LBA0, (uint8_t)(t->lba >> 24));
        ata_write(ch, ATA_LBA1, (uint8_t)(t->lba >> 32));
        ata_write(ch, ATA_LBA2, (uint8_t)(t->lba >> 40));
    }
    ata_write(ch, ATA_COUNT, (uint8_t)t->sectors);
    ata_write(ch, ATA_LBA0, (uint8_t)t->lba);
    ata_write(ch, ATA_LBA1, (uint8_t)(t->lba >> 8));
    ata_write(ch, ATA_LBA2, (uint8_t)(t->lba >> 16));
    ata_write(ch, ATA_COMMAND, t->command);
}

/* Gives `slice` to its drive if that is ready; else the next poll tries again.  Lock held. */
static void slice_try(struct ata_channel *ch)
{
    const struct block_slice *slice = &ch->slice;
    const struct ata_drive *drive = slice_drive(slice);
    uint8_t direction = slice->request->op == BLOCK_READ ? BM_COMMAND_READ : 0;
    struct ata_taskfile taskfile;

    if (ata_alternate_status(ch) & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) {
        return;
    }
    ch->state = ATA_ACTIVE;
    ch->deadline = platform_clock_ns() + BLOCK_COMMAND_TIMEOUT_NS;
    ata_taskfile_build(&taskfile, slice->request->op, drive->lba48, block_slice_sector(slice),
                       block_slice_sectors(slice));
    bus_master_stop(ch);
    bus_master_clear(ch);
    if (moves_data(slice)) {
        dma_prepare(ch);
        port_out8((uint16_t)(ch->bus_master + BM_COMMAND), direction);
    }
    taskfile_write(ch, &taskfile, drive->select);
    if (moves_data(slice)) {
        port_out8((uint16_t)(ch->bus_master + BM_COMMAND), direction | BM_COMMAND_START);
    }
}

static void slice_issue(struct ata_channel *ch)
{
    ch->state = ATA_READYING;
    ch->deadline = platform_clock_ns() + READY_NS;
    slice_try(ch);
}

/* Pages of one command for the request: all it has, or as many as can be bounced. */
static uint32_t pages_at_once(const struct block_request *request)
{
    const struct ata_drive *drive = block_request_device(request)->driver;
    uint32_t limit = drive->lba48 ? BLOCK_MAX_PAGES : ATA_LBA28_MAX_PAGES;

    for (uint32_t i = 0; i < request->pages; i++) {
        if (above_4g(request->page[i])) {
            return MIN(limit, ATA_BOUNCE_PAGES);
        }
    }
    return limit;
}

/* Starts the next slice if the channel is idle.  Lock held. */
static void channel_start(struct ata_channel *ch)
{
    struct block_request *next = block_queue_peek(&ch->requests);

    if (ch->state == ATA_DEAD) {
        block_queue_fail_waiting(&ch->requests, BLOCK_TIMEOUT);
        return;
    }
    if (ch->state != ATA_IDLE || !next) {
        return;
    }
    block_queue_take(&ch->requests, pages_at_once(next), &ch->slice);
    ch->retries = 0;
    slice_issue(ch);
}

static void slice_end(struct ata_channel *ch, enum block_status status)
{
    ch->state = ATA_IDLE;
    block_queue_end(&ch->requests, &ch->slice, status);
}

static void slice_failed(struct ata_channel *ch, uint8_t status, uint8_t bus_master)
{
    static const char *const verbs[] = {"read", "write", "flush", "discard"};
    const struct block_slice *slice = &ch->slice;
    uint8_t error = ata_read(ch, ATA_ERROR);
    char words[64];

    ata_error_describe(status & ATA_STATUS_ERR ? error : 0, words, sizeof(words));
    if (block_report_error(&slice_drive(slice)->device)) {
        log_error("%s: %s of %u blocks at %llu: status %02x, error %02x (%s), bus master %02x",
                  slice_drive(slice)->device.name, verbs[slice->request->op],
                  block_slice_blocks(slice), (unsigned long long)block_slice_start(slice), status,
                  error, words, bus_master);
    }
    /* A transfer that was damaged on the cable may go well the next time. */
    if ((error & ERROR_ICRC) && ch->retries < BLOCK_RETRIES) {
        ch->retries++;
        slice_issue(ch);
        return;
    }
    slice_end(ch, BLOCK_ERROR);
}

/*
 * Has the command ended?  The IRQ bit says so for DMA, and that the data is in memory; a flush
 * moves no data and ends with BSY.
 */
static bool command_ended(const struct ata_channel *ch, uint8_t bus_master)
{
    if (moves_data(&ch->slice) && !(bus_master & (BM_STATUS_IRQ | BM_STATUS_ERROR))) {
        return false;
    }
    return !(ata_alternate_status(ch) & ATA_STATUS_BSY);
}

/* Lock held. */
static void channel_reap(struct ata_channel *ch)
{
    uint8_t bus_master = port_in8((uint16_t)(ch->bus_master + BM_STATUS));

    if (!command_ended(ch, bus_master)) {
        return;
    }
    bus_master_stop(ch);
    uint8_t status = ata_read(ch, ATA_STATUS); /* takes the interrupt back */
    bus_master_clear(ch);
    if ((status & (ATA_STATUS_ERR | ATA_STATUS_DF)) ||
        (moves_data(&ch->slice) && (bus_master & BM_STATUS_ERROR))) {
        slice_failed(ch, status, bus_master);
        return;
    }
    bounce_copy(ch, BLOCK_READ);
    slice_end(ch, BLOCK_OK);
}

static void channel_reset(struct ata_channel *ch, uint64_t now)
{
    log_error("%s: no answer, resetting the channel", slice_drive(&ch->slice)->device.name);
    bus_master_stop(ch);
    port_out8(ch->control, ATA_CONTROL_SRST);
    ch->state = ATA_RESET;
    ch->retry = ch->retries < BLOCK_RETRIES;
    ch->retries++;
    ch->look_at = now + RESET_PULSE_NS;
}

static void channel_reset_release(struct ata_channel *ch, uint64_t now)
{
    if (now < ch->look_at) {
        return;
    }
    port_out8(ch->control, 0);
    ch->state = ATA_RESETTING;
    ch->look_at = now + RESET_PAUSE_NS;
    ch->deadline = now + RESET_NS;
}

static void channel_reset_poll(struct ata_channel *ch, uint64_t now)
{
    if (now < ch->look_at) {
        return;
    }
    if (!(ata_alternate_status(ch) & ATA_STATUS_BSY)) {
        ata_read(ch, ATA_STATUS);
        bus_master_clear(ch);
        if (ch->retry) {
            slice_issue(ch);
        } else {
            slice_end(ch, BLOCK_TIMEOUT);
        }
    } else if (now >= ch->deadline) {
        log_error("%s: channel does not come back, it is given up",
                  slice_drive(&ch->slice)->device.name);
        slice_end(ch, BLOCK_TIMEOUT);
        ch->state = ATA_DEAD;
    }
}

static void ata_submit(struct block_device *device, struct block_request *request)
{
    struct ata_channel *ch = ((struct ata_drive *)device->driver)->channel;

    spin_lock(&ch->requests.lock);
    block_queue_add(&ch->requests, device, request);
    channel_start(ch);
    spin_unlock(&ch->requests.lock);
}

/* One look at what the channel waits for.  Lock held. */
static void channel_step(struct ata_channel *ch, uint64_t now)
{
    switch (ch->state) {
    case ATA_READYING:
        slice_try(ch);
        break;
    case ATA_ACTIVE:
        channel_reap(ch);
        break;
    case ATA_RESET:
        channel_reset_release(ch, now);
        break;
    case ATA_RESETTING:
        channel_reset_poll(ch, now);
        break;
    case ATA_IDLE:
    case ATA_DEAD:
        break;
    }
    if ((ch->state == ATA_READYING || ch->state == ATA_ACTIVE) && now >= ch->deadline) {
        channel_reset(ch, now);
    }
}

static void ata_poll(struct block_device *device)
{
    struct ata_channel *ch = ((struct ata_drive *)device->driver)->channel;

    if (atomic_load_explicit(&ch->requests.submitted, memory_order_relaxed) == 0) {
        return;
    }
    spin_lock(&ch->requests.lock);
    channel_step(ch, platform_clock_ns());
    channel_start(ch);
    spin_unlock(&ch->requests.lock);
    block_queue_deliver(&ch->requests);
}

const struct block_ops ata_block_ops = {
    .submit = ata_submit,
    .poll = ata_poll,
};
