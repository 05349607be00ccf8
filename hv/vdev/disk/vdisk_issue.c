/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What goes straight between guest frames and the disk.
 *
 * An I/O is a run of pages of which only the first may begin, and only the last may end, inside of
 * a page, and in whole blocks of the disk (base/block.h).  Segments that lie so, one behind the
 * other, become one I/O; where they do not, the next one begins; and what does not fit at all goes
 * through the bounce page.
 */
#include "hv/vdev/disk/vdisk_internal.h"
#include "mm/env.h"
#include "mm/table/table.h"

/* Of one discard: to look at all blocks of a whole disk in one go would take too long. */
#define DISCARD_SECTORS (32u * 1024 * 1024 / BLOCK_SECTOR_BYTES)

static uint32_t unit_bytes(const struct vdisk *disk)
{
    return MAX(disk->device->unit, 1u) * BLOCK_SECTOR_BYTES;
}

bool vdisk_on_disk(const struct vdisk *disk, uint64_t sector, uint64_t bytes)
{
    uint32_t unit = unit_bytes(disk) / BLOCK_SECTOR_BYTES;
    uint64_t all = vdisk_sectors(disk), sectors = bytes / BLOCK_SECTOR_BYTES;

    return bytes % (unit * BLOCK_SECTOR_BYTES) == 0 && sector % unit == 0 && sectors <= all &&
           sector <= all - sectors;
}

uint32_t vdisk_piece(const struct vdisk_request *request, const struct vdisk_place *place,
                     uint64_t most, gpa_t *address)
{
    const struct vdisk_segment *segment = &request->segment[place->segment];
    uint64_t left = segment->bytes - place->byte;

    *address = gpa(segment->address.v + place->byte);
    left = MIN(left, PAGE_SIZE - (address->v & (PAGE_SIZE - 1)));
    return (uint32_t)MIN(left, most);
}

/* On to the next byte, which there is unless the request's memory ends here. */
void vdisk_advance(const struct vdisk_request *request, struct vdisk_place *place, uint32_t bytes)
{
    place->byte += bytes;
    while (place->segment < request->count &&
           place->byte == request->segment[place->segment].bytes) {
        place->segment++;
        place->byte = 0;
    }
}

bool vdisk_got(struct vdisk *disk, struct vdisk_request *request, enum mm_result result, gfn_t page)
{
    switch (result) {
    case MM_OK:
        waiter_end_turn(&disk->waiter);
        return true;
    case MM_WAIT:
        disk->waits = true;
        return false;
    case MM_LOST:
        disk->is_lost = true;
        disk->lost = page;
        break;
    case MM_NO_MEMSLOT:
        break;
    }
    request->status = VDISK_IOERR;
    return false;
}

/* ---- one I/O -------------------------------------------------------------------------------- */

/* How many bytes of the piece at the request's place the I/O can take; 0: it ends before it. */
static uint32_t fitting(const struct vdisk *disk, const struct vdisk_request *request,
                        const struct vdisk_io *io, gpa_t *address)
{
    uint32_t unit = unit_bytes(disk);
    uint32_t bytes = vdisk_piece(request, &request->place, request->left, address);
    bool begins_page = (address->v & (PAGE_SIZE - 1)) == 0;

    if (!IS_ALIGNED(address->v, unit) ||
        (io->block.pages != 0 && (!begins_page || io->block.cut))) {
        return 0;
    }
    return (uint32_t)ALIGN_DOWN(bytes, unit);
}

/* Lists the pages that a piece of so many bytes, and whole pages right behind it, are in; behind
 * those that the I/O has, and at most as many as `room`. */
static unsigned list_pages(const struct vdisk_request *request, struct vdisk_io *io, uint32_t bytes,
                           unsigned room)
{
    struct vdisk_place place = request->place;
    uint64_t left = request->left;
    unsigned count = 0;
    gpa_t address;

    vdisk_piece(request, &place, left, &address);
    do {
        io->pinned[io->pins + count++] = gpa_to_gfn(address);
        vdisk_advance(request, &place, bytes);
        left -= bytes;
    } while (bytes == PAGE_SIZE && count < room && left != 0 &&
             vdisk_piece(request, &place, left, &address) == PAGE_SIZE);
    return count;
}

/* Pins pages that have been listed, and returns how many.  *on: the others can be had, too. */
static unsigned pin(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io,
                    uint32_t bytes, unsigned count, bool *on)
{
    unsigned how = request->op == VDISK_WRITE ? ACCESS_READ : ACCESS_WRITE, pinned;
    gfn_t *page = &io->pinned[io->pins];
    enum mm_result result;

    if (bytes == PAGE_SIZE && request->op == VDISK_READ) {
        how |= SPACE_PIN_OVERWRITE; /* what it holds need not be read in */
    }
    if (bytes == PAGE_SIZE && request->next % BLOCK_SECTORS == 0) {
        how |= SPACE_PIN_COPY;
    }
    pinned = space_pin_pages(disk->space, page, count, how, &io->block.page[io->block.pages],
                             &disk->waiter, &result);
    io->pins += pinned;
    disk->pins += pinned;
    *on = vdisk_got(disk, request, result, result == MM_OK ? page[0] : page[pinned]);
    return pinned;
}

/* Appends what is at the request's place: part of a page, or whole pages as long as they follow one
 * another.  False: the I/O is as long as it can be now. */
static bool append(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io)
{
    unsigned room = MIN(BLOCK_MAX_PAGES - io->block.pages, VDISK_PINS - disk->pins), pinned;
    uint32_t bytes, before;
    gpa_t address;
    bool on;

    if (request->left == 0 || room == 0) {
        return false;
    }
    bytes = fitting(disk, request, io, &address);
    if (bytes == 0) {
        return false;
    }
    pinned = pin(disk, request, io, bytes, list_pages(request, io, bytes, room), &on);
    if (pinned == 0) {
        return false;
    }
    before = address.v & (PAGE_SIZE - 1);
    if (io->block.pages == 0) {
        io->block.offset = (uint8_t)(before / BLOCK_SECTOR_BYTES);
    }
    io->block.cut = (uint8_t)((PAGE_SIZE - before - bytes) / BLOCK_SECTOR_BYTES);
    io->block.pages += pinned;
    for (unsigned i = 0; i < pinned; i++) {
        vdisk_advance(request, &request->place, bytes);
    }
    request->next += (uint64_t)pinned * bytes / BLOCK_SECTOR_BYTES;
    request->left -= (uint64_t)pinned * bytes;
    return on;
}

static void begin_at(struct vdisk_io *io, enum block_op op, uint64_t sector)
{
    io->block.op = op;
    io->block.block = sector / BLOCK_SECTORS;
    io->block.sector = (uint8_t)(sector % BLOCK_SECTORS);
}

/* Does the next piece have to go through the bounce page? */
static bool has_to_bounce(const struct vdisk *disk, const struct vdisk_request *request)
{
    const struct vdisk_io none = {0};
    gpa_t address;

    return fitting(disk, request, &none, &address) == 0;
}

/* May what the next I/O can cover be written? */
static bool may_write_data(struct vdisk *disk, struct vdisk_request *request)
{
    uint64_t bytes = request->left + (disk->gathering == request ? disk->bounced : 0);

    bytes = MIN(bytes, BLOCK_MAX_PAGES * PAGE_SIZE);
    return vdisk_may_write(disk, request, request->next, bytes / BLOCK_SECTOR_BYTES);
}

static enum vdisk_step issue_data(struct vdisk *disk, struct vdisk_request *request)
{
    struct vdisk_io *io;

    /* Before a page is pinned: who waits holds no pin but those of I/Os in flight. */
    if (request->op == VDISK_WRITE && !may_write_data(disk, request)) {
        return vdisk_is_over(request) ? STEP_ON : STEP_WAIT;
    }
    /* A piece that is half gathered is so whatever comes next. */
    if (disk->gathering == request || has_to_bounce(disk, request)) {
        return vdisk_bounce(disk, request);
    }
    if (disk->pins == VDISK_PINS || (io = vdisk_io_take(disk)) == NULL) {
        return STEP_WAIT;
    }
    begin_at(io, request->op == VDISK_WRITE ? BLOCK_WRITE : BLOCK_READ, request->next);
    while (append(disk, request, io)) {
    }
    if (io->block.pages == 0) {
        vdisk_io_give(disk, io);
        return vdisk_is_over(request) ? STEP_ON : STEP_WAIT;
    }
    vdisk_io_send(disk, request, io);
    return STEP_ON;
}

/* ---- zeroes, discards ----------------------------------------------------------------------- */

/* The next range.  False: the disk waits, or the request has failed. */
static bool read_range(struct vdisk *disk, struct vdisk_request *request)
{
    struct vdisk_range *range = &request->range;
    uint32_t flags = request->op == VDISK_ZERO ? VDISK_RANGE_UNMAP : 0;

    if (!vdisk_gather(disk, request, range, sizeof(*range), &request->range_bytes)) {
        return false;
    }
    request->range_bytes = 0;
    if (range->flags & ~flags) {
        request->status = VDISK_UNSUPP;
    } else if (!vdisk_on_disk(disk, range->sector, (uint64_t)range->sectors * BLOCK_SECTOR_BYTES)) {
        request->status = VDISK_IOERR;
    }
    return !vdisk_is_over(request);
}

/* Sectors of one I/O at most. */
static uint32_t most_zeroed(const struct vdisk_range *range)
{
    return MIN(range->sectors, BLOCK_MAX_PAGES * BLOCK_SECTORS);
}

/* Each returns how many sectors of the range the I/O is for. */
static uint32_t fill_zeroes(const struct vdisk *disk, const struct vdisk_range *range,
                            struct vdisk_io *io)
{
    uint32_t sectors = most_zeroed(range);

    begin_at(io, BLOCK_WRITE, range->sector);
    io->block.pages = (sectors + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
    io->block.cut = (uint8_t)(io->block.pages * BLOCK_SECTORS - sectors);
    for (uint32_t i = 0; i < io->block.pages; i++) {
        io->block.page[i] = disk->page[VDISK_PAGE_ZEROES];
    }
    return sectors;
}

static uint32_t most_discarded(const struct vdisk *disk, const struct vdisk_range *range)
{
    return MIN(MIN(range->sectors, disk->device->discard_max), DISCARD_SECTORS);
}

static uint32_t fill_discard(const struct vdisk *disk, const struct vdisk_range *range,
                             struct vdisk_io *io)
{
    uint32_t sectors = most_discarded(disk, range);

    begin_at(io, BLOCK_DISCARD, range->sector);
    io->block.sectors = sectors;
    return sectors;
}

static enum vdisk_step issue_ranges(struct vdisk *disk, struct vdisk_request *request)
{
    struct vdisk_range *range = &request->range;
    struct vdisk_io *io;
    uint32_t sectors;

    if (request->range_bytes != 0 || range->sectors == 0) {
        return read_range(disk, request) || vdisk_is_over(request) ? STEP_ON : STEP_WAIT;
    }
    sectors = request->op == VDISK_ZERO ? most_zeroed(range) : most_discarded(disk, range);
    if (!vdisk_may_write(disk, request, range->sector, sectors)) {
        return vdisk_is_over(request) ? STEP_ON : STEP_WAIT;
    }
    waiter_end_turn(&disk->waiter);
    io = vdisk_io_take(disk);
    if (io == NULL) {
        return STEP_WAIT;
    }
    sectors =
        request->op == VDISK_ZERO ? fill_zeroes(disk, range, io) : fill_discard(disk, range, io);
    range->sector += sectors;
    range->sectors -= sectors;
    vdisk_io_send(disk, request, io);
    return STEP_ON;
}

static enum vdisk_step issue_flush(struct vdisk *disk, struct vdisk_request *request)
{
    struct vdisk_io *io = vdisk_io_take(disk);

    if (io == NULL) {
        return STEP_WAIT;
    }
    io->block.op = BLOCK_FLUSH;
    request->left = 0;
    vdisk_io_send(disk, request, io);
    return STEP_ON;
}

enum vdisk_step vdisk_issue(struct vdisk *disk, struct vdisk_request *request)
{
    switch (request->op) {
    case VDISK_READ:
    case VDISK_WRITE:
        return issue_data(disk, request);
    case VDISK_ZERO:
    case VDISK_DISCARD:
        return issue_ranges(disk, request);
    case VDISK_FLUSH:
        return issue_flush(disk, request);
    case VDISK_GET_ID:
    case VDISK_FAIL: /* and this: it is over, and does not come here */
    case VDISK_UNKNOWN:
        break;
    }
    return vdisk_bounce(disk, request);
}
