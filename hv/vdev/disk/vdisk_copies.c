/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disk identity, as far as a guest's disk knows of it: what moves whole between a page and a block,
 * and which I/Os touch the same blocks at the same time.  docs/disk-identity.md has the proofs.
 *
 * Nobody writes to the disk but through here, since a disk that is not read-only is one VM's alone
 * (hv/vm/disk.c).  So what is to be known about other writes is in the list of I/Os in flight.
 */
#include "hv/vdev/disk/vdisk_internal.h"
#include "mm/space/space.h"

/* Sectors, of the disk. */
static uint64_t first_sector(const struct block_request *block)
{
    return block->block * BLOCK_SECTORS + block->sector;
}

/* The last block of which some is moved. */
static uint64_t last_block(const struct block_request *block)
{
    uint64_t sectors = block->op == BLOCK_DISCARD
                           ? block->sectors
                           : (uint64_t)block->pages * BLOCK_SECTORS - block->offset - block->cut;

    return (first_sector(block) + sectors - 1) / BLOCK_SECTORS;
}

static bool overlap(const struct block_request *a, const struct block_request *b)
{
    return a->block <= last_block(b) && b->block <= last_block(a);
}

static bool changes_blocks(const struct vdisk_io *io)
{
    return io->block.op == BLOCK_WRITE || io->block.op == BLOCK_DISCARD;
}

/* What was read from, or written to, a block that another write touches meanwhile may be anything.
 */
static void note_overlaps(struct vdisk *disk, struct vdisk_io *io)
{
    LIST_FOR_EACH (link, &disk->in_flight) {
        struct vdisk_io *other = LIST_ENTRY(link, struct vdisk_io, link);
        bool changes = changes_blocks(io) || changes_blocks(other);

        if (changes && other->block.op != BLOCK_FLUSH && overlap(&io->block, &other->block)) {
            io->spoilt = other->spoilt = true;
        }
    }
}

void vdisk_begin_io(struct vdisk *disk, struct vdisk_io *io)
{
    if (io->block.op != BLOCK_FLUSH) {
        note_overlaps(disk, io);
    }
    if (io->pins != 0 && !io->spoilt && io->block.offset == io->block.sector) {
        space_watch(disk->space, io->pinned, io->pins);
    }
    list_push_back(&disk->in_flight, &io->link);
}

/* Of page[i] a whole block has been moved: which? */
static bool is_whole(const struct vdisk_io *io, unsigned i, uint64_t *block)
{
    *block = io->block.block + i;
    return io->block.offset == io->block.sector && (i != 0 || io->block.offset == 0) &&
           (i + 1 != io->block.pages || io->block.cut == 0);
}

void vdisk_end_io(struct vdisk *disk, struct vdisk_io *io)
{
    bool written = io->block.op == BLOCK_READ;
    uint64_t block;

    list_remove(&io->link);
    for (unsigned i = 0; i < io->pins; i++) {
        if (!io->spoilt && is_whole(io, i, &block)) {
            space_unpin_copy(disk->space, io->pinned[i], written, disk->number, block);
        } else {
            space_unpin(disk->space, io->pinned[i], written);
        }
    }
    disk->pins -= io->pins;
    io->pins = 0;
}

void vdisk_io_failed(struct vdisk *disk, struct vdisk_io *io)
{
    io->spoilt = true;
    if (io->block.op == BLOCK_FLUSH) {
        space_doubt_disk(disk->space, disk->number);
    }
}

bool vdisk_may_write(struct vdisk *disk, struct vdisk_request *request, uint64_t sector,
                     uint64_t sectors)
{
    uint64_t first = sector / BLOCK_SECTORS, last = (sector + sectors - 1) / BLOCK_SECTORS;
    enum mm_result result =
        space_block_write(disk->space, disk->number, first, last - first + 1, &disk->waiter);

    /* Its turn goes on, for the pages that are to be written.  MM_LOST: the VM has ended. */
    return result == MM_OK || vdisk_got(disk, request, result, gfn(0));
}
