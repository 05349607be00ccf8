/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the disk cannot reach where it lies: sectors that are scattered over pages, or at addresses
 * that are no multiple of its block.  One page, one piece at a time:
 *
 *     WRITE   guest memory --gather--> page --> disk
 *     READ    disk --> page --land--> guest memory
 *     GET_ID  the name --> page --land--> guest memory
 *
 * The page is `bounce_busy` from the first byte of a piece to its end.  A copy that has to wait for
 * a guest page goes on where it was, and holds no pin.
 */
#include <string.h>

#include "hv/vdev/disk/vdisk_internal.h"
#include "mm/env.h"

static uint8_t *bounce_page(const struct vdisk *disk)
{
    return mm_frame_ptr(disk->page[VDISK_PAGE_BOUNCE]);
}

bool vdisk_gather(struct vdisk *disk, struct vdisk_request *request, void *to, uint32_t bytes,
                  uint32_t *done)
{
    while (*done < bytes) {
        gpa_t address;
        uint32_t piece = vdisk_piece(request, &request->place, bytes - *done, &address);
        enum mm_result result =
            space_read(disk->space, address, (uint8_t *)to + *done, piece, &disk->waiter);

        if (!vdisk_got(disk, request, result, gpa_to_gfn(address))) {
            return false;
        }
        *done += piece;
        request->left -= piece;
        vdisk_advance(request, &request->place, piece);
    }
    return true;
}

void vdisk_drop_piece(struct vdisk *disk, const struct vdisk_request *request)
{
    if (disk->gathering == request) {
        disk->gathering = NULL;
        disk->bounce_busy = false;
    }
}

/* The piece is over, well or not. */
static void end_piece(struct vdisk *disk, struct vdisk_io *io)
{
    disk->landing = NULL;
    disk->bounce_busy = false;
    vdisk_io_give(disk, io);
    vdisk_io_ended(disk, io->request);
}

void vdisk_land(struct vdisk *disk)
{
    struct vdisk_io *io = disk->landing;
    struct vdisk_request *request = io->request;

    while (!vdisk_is_over(request) && disk->bounced < io->bytes) {
        gpa_t address;
        uint32_t piece = vdisk_piece(request, &io->place, io->bytes - disk->bounced, &address);
        enum mm_result result = space_write(disk->space, address, bounce_page(disk) + disk->bounced,
                                            piece, &disk->waiter);

        if (!vdisk_got(disk, request, result, gpa_to_gfn(address))) {
            if (disk->waits) {
                return;
            }
            break;
        }
        disk->bounced += piece;
        vdisk_advance(request, &io->place, piece);
    }
    end_piece(disk, io);
}

static void get_id(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io)
{
    uint8_t *page = bounce_page(disk);

    memset(page, 0, VDISK_ID_BYTES);
    memcpy(page, disk->device->name, strlen(disk->device->name));
    io->request = request;
    request->ios++;
    disk->landing = io;
    vdisk_land(disk);
}

/* The I/O of a piece of so many bytes. */
static void fill(const struct vdisk *disk, const struct vdisk_request *request, struct vdisk_io *io,
                 uint32_t bytes)
{
    io->block.op = request->op == VDISK_WRITE ? BLOCK_WRITE : BLOCK_READ;
    io->block.block = request->next / BLOCK_SECTORS;
    io->block.sector = (uint8_t)(request->next % BLOCK_SECTORS);
    io->block.pages = 1;
    io->block.page[0] = disk->page[VDISK_PAGE_BOUNCE];
    io->block.cut = (uint8_t)((PAGE_SIZE - bytes) / BLOCK_SECTOR_BYTES);
}

/* Takes the piece out of what is left. */
static void skip(struct vdisk_request *request, uint32_t bytes)
{
    request->left -= bytes;
    while (bytes != 0) {
        gpa_t address;
        uint32_t piece = vdisk_piece(request, &request->place, bytes, &address);

        vdisk_advance(request, &request->place, piece);
        bytes -= piece;
    }
}

static enum vdisk_step bounce_write(struct vdisk *disk, struct vdisk_request *request,
                                    struct vdisk_io *io)
{
    uint32_t bytes = (uint32_t)MIN(request->left + disk->bounced, PAGE_SIZE);

    if (!vdisk_gather(disk, request, bounce_page(disk), bytes, &disk->bounced)) {
        vdisk_io_give(disk, io);
        return vdisk_is_over(request) ? STEP_ON : STEP_WAIT;
    }
    fill(disk, request, io, bytes);
    request->next += bytes / BLOCK_SECTOR_BYTES;
    disk->gathering = NULL;
    vdisk_io_send(disk, request, io);
    return STEP_ON;
}

static void bounce_read(struct vdisk *disk, struct vdisk_request *request, struct vdisk_io *io)
{
    io->bytes = (uint32_t)MIN(request->left, PAGE_SIZE);
    io->place = request->place;
    skip(request, io->bytes);
    if (request->op == VDISK_GET_ID) {
        get_id(disk, request, io);
        return;
    }
    fill(disk, request, io, io->bytes);
    request->next += io->bytes / BLOCK_SECTOR_BYTES;
    vdisk_io_send(disk, request, io);
}

enum vdisk_step vdisk_bounce(struct vdisk *disk, struct vdisk_request *request)
{
    /* A piece of this request that is half gathered goes on; all else waits for the page. */
    bool goes_on = disk->gathering == request;
    struct vdisk_io *io;

    if ((disk->bounce_busy && !goes_on) || (io = vdisk_io_take(disk)) == NULL) {
        return STEP_WAIT;
    }
    io->bounces = true;
    disk->bounce_busy = true;
    disk->bounced = goes_on ? disk->bounced : 0;
    disk->stats.bounced += !goes_on;
    if (request->op == VDISK_WRITE) {
        disk->gathering = request;
        return bounce_write(disk, request, io);
    }
    bounce_read(disk, request, io);
    return STEP_ON;
}
