/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which guest pages are copies of blocks of this disk (mm/space/identity.h), as far as only the
 * disk knows it:
 *
 *     what overlaps      of two I/Os in flight to the same blocks, of which one writes, nobody can
 *                        say which came first: neither that one's nor a read's pages are copies
 *     what is durable    blocks that have been written since the last flush are remembered, by
 *                        groups in a small map; a copy of one of them may be dropped when a flush
 *                        that was sent later has succeeded.  Each flush ends an epoch.
 *
 *     epoch    1             2                 3
 *     ---------+--- write ---+--- flush sent --+--- its answer: all of epoch 1 is durable
 *                            ^ what ends here belongs to 2
 */
#include <string.h>

#include "hv/vdev/disk/vdisk_internal.h"
#include "mm/content/store.h"

#define GROUP_SHIFT 6u /* blocks of one bit */

static bool is_on(const struct vdisk *disk)
{
    return disk->identity.number >= 0;
}

void vdisk_identity_init(struct vdisk *disk)
{
    struct store *store = store_of_disk(disk->device);

    list_init(&disk->flying);
    disk->identity.epoch = 1;
    disk->identity.number = store == NULL ? -1 : space_add_disk(disk->space, store);
}

/* ---- before a write ------------------------------------------------------------------------- */

bool vdisk_may_write(struct vdisk *disk, struct vdisk_request *request, uint64_t sector,
                     uint64_t sectors)
{
    uint64_t first = sector / BLOCK_SECTORS;
    uint64_t end = (sector + sectors + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
    enum mm_result result = MM_OK;
    gfn_t lost = {0};

    if (is_on(disk)) {
        result = space_disk_overwrite(disk->space, (unsigned)disk->identity.number, first,
                                      end - first, &disk->waiter, &lost);
    }
    /* The waiter's turn goes on: the pages of the request are still to come. */
    return result == MM_OK || vdisk_got(disk, request, result, lost);
}

/* ---- blocks that a flush has not covered ---------------------------------------------------- */

/* One bit for each group, and others that share it. */
static unsigned bit_of(uint64_t block)
{
    return (unsigned)((block >> GROUP_SHIFT) % VDISK_UNFLUSHED_BITS);
}

static bool test_bit(const uint64_t *map, unsigned bit)
{
    return map[bit / 64] >> (bit % 64) & 1;
}

static bool is_unflushed(const struct vdisk *disk, uint64_t block)
{
    return test_bit(disk->identity.written, bit_of(block)) ||
           test_bit(disk->identity.flushing, bit_of(block));
}

/* What has been written, whether it went well or not. */
static void note_written(struct vdisk *disk, uint64_t block, uint64_t end)
{
    uint64_t groups = ((end - 1) >> GROUP_SHIFT) - (block >> GROUP_SHIFT) + 1;

    groups = MIN(groups, VDISK_UNFLUSHED_BITS);
    for (uint64_t i = 0; i < groups; i++) {
        unsigned bit = bit_of(block + (i << GROUP_SHIFT));

        disk->identity.written[bit / 64] |= BIT(bit % 64);
    }
}

static void flush_sent(struct vdisk *disk, struct vdisk_io *io)
{
    struct vdisk_identity *it = &disk->identity;

    for (unsigned i = 0; i < ARRAY_SIZE(it->written); i++) {
        it->flushing[i] |= it->written[i];
        it->written[i] = 0;
    }
    io->epoch = it->epoch;
    it->last_flush = it->epoch;
    it->epoch++;
}

static void flush_ended(struct vdisk *disk, const struct vdisk_io *io, bool good)
{
    struct vdisk_identity *it = &disk->identity;
    unsigned number = (unsigned)it->number;

    if (!good) {
        space_disk_not_flushed(disk->space, number, it->epoch++);
        return;
    }
    space_disk_flushed(disk->space, number, io->epoch);
    if (io->epoch == it->last_flush) { /* no later one is under way, which has more to cover */
        memset(it->flushing, 0, sizeof(it->flushing));
    }
}

/* ---- I/Os ----------------------------------------------------------------------------------- */

static bool writes(const struct vdisk_io *io)
{
    return io->block.op == BLOCK_WRITE || io->block.op == BLOCK_DISCARD;
}

/* The block behind the last one that the I/O touches. */
static uint64_t end_of(const struct vdisk_io *io)
{
    const struct block_request *block = &io->block;
    uint64_t sectors = block->op == BLOCK_DISCARD
                           ? block->sectors
                           : (uint64_t)block->pages * BLOCK_SECTORS - block->offset - block->cut;

    return block->block + (block->sector + sectors + BLOCK_SECTORS - 1) / BLOCK_SECTORS;
}

static bool overlap(const struct vdisk_io *a, const struct vdisk_io *b)
{
    return a->block.block < end_of(b) && b->block.block < end_of(a);
}

/* Both have pages or blocks. */
static void mark_overlap(struct vdisk_io *io, struct vdisk_io *other)
{
    if (!overlap(io, other)) {
        return;
    }
    io->mixed |= writes(other);
    other->mixed |= writes(io);
}

void vdisk_identity_sent(struct vdisk *disk, struct vdisk_io *io)
{
    if (is_on(disk) && io->block.op == BLOCK_FLUSH) {
        flush_sent(disk, io);
    } else if (is_on(disk)) {
        LIST_FOR_EACH (link, &disk->flying) {
            struct vdisk_io *other = LIST_ENTRY(link, struct vdisk_io, link);

            if (other->block.op != BLOCK_FLUSH) {
                mark_overlap(io, other);
            }
        }
        if (io->pins != 0) {
            space_watch(disk->space);
        }
    }
    list_push_back(&disk->flying, &io->link);
}

void vdisk_identity_ended(struct vdisk *disk, struct vdisk_io *io, enum block_status status)
{
    list_remove(&io->link);
    io->good = status == BLOCK_OK;
    if (!is_on(disk)) {
        return;
    }
    if (writes(io)) {
        note_written(disk, io->block.block, end_of(io));
    }
    if (io->block.op == BLOCK_FLUSH || status == BLOCK_TIMEOUT) { /* the disk has been reset */
        flush_ended(disk, io, io->good);
    }
}

static bool makes_copies(const struct vdisk *disk, const struct vdisk_io *io)
{
    return is_on(disk) && io->good && !io->mixed;
}

/* So many of its pages, from that one on, are copies of blocks that a flush has covered, or of such
 * that none has. */
static unsigned run_of_copies(const struct vdisk *disk, const struct vdisk_io *io, unsigned from,
                              bool unflushed)
{
    unsigned i = from + 1;

    while (i < io->pins && is_unflushed(disk, io->block.block + i) == unflushed) {
        i++;
    }
    return i - from;
}

void vdisk_identity_unpin(struct vdisk *disk, struct vdisk_io *io)
{
    bool copies = makes_copies(disk, io), written = io->block.op == BLOCK_READ;
    unsigned run = io->pins;

    for (unsigned i = 0; i < io->pins; i += run) {
        struct space_block at = {.disk = (unsigned)disk->identity.number,
                                 .block = io->block.block + i};

        if (copies) { /* of those that were pinned as such: whole pages over whole blocks */
            bool unflushed = is_unflushed(disk, at.block);

            at.epoch = unflushed ? disk->identity.epoch : 0;
            run = run_of_copies(disk, io, i, unflushed);
        }
        space_unpin_pages(disk->space, &io->pinned[i], run, written, copies ? &at : NULL);
    }
}
