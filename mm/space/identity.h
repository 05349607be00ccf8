/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disk identity: a guest page that was read whole from a block of one of the VM's disks, or written
 * whole to one, and has not changed since, is a copy of that block.  Reclaim drops it without a
 * write, and a fault reads it back from the disk.
 *
 *     FRAME_WATCHED    a transfer between the page and a block is under way, and nobody else has
 *                      written to the page since the D bit was cleared before it began
 *     FRAME_ON_DISK    in a frame: the page was that block when the transfer ended, and still is
 *                      unless the D bit or FRAME_DIRTY says that it has been written to
 *     PLACE_DISK       dropped: the block is the page
 *
 * The truth is in the frame's flag and in the entry.  Beside it stands an index from blocks to
 * pages, because a write to a block has to find the pages that stand for it.  Each page has one
 * node there, found by its number, with the block that it was a copy of last.  A node may be stale;
 * whoever comes by unlinks it.  The chains are short: what does not fit is not noted.
 *
 * Whoever writes to a disk says so before (space_disk_overwrite()).  Nobody but the VM writes to
 * its disks, so all pages of a block that changes are in one space; a disk that VMs share is
 * written by none.
 *
 * A disk with a cache may still lose what was written.  So a copy has an epoch: it may be dropped
 * when the disk has been flushed behind it (space_disk_flushed()).  0: it always may.
 *
 * Locks: the space's.
 */
#ifndef SPILLWAY_MM_SPACE_IDENTITY_H
#define SPILLWAY_MM_SPACE_IDENTITY_H

#include "mm/content/place.h"
#include "mm/frame/frame_array.h"
#include "mm/space/space.h"

#define IDENTITY_EPOCH_MAX BITS(26, 0)
#define IDENTITY_CHAIN_MAX 16u /* nodes of one bucket */

/* One for each page of the space.  `next`: the page's number and 1; 0: the last one. */
struct identity_node {
    uint32_t block;
    uint32_t next;
    uint32_t epoch : 27;
    uint32_t disk : 5; /* its number and 1; 0: the node is in no chain */
};
_Static_assert(sizeof(struct identity_node) == 12, "0.3% of a VM's memory");

struct identity_disk {
    struct store *store;
    uint32_t flushed;              /* epoch up to which it is */
    uint32_t lost_first, lost_end; /* epochs that a flush that failed should have covered */
};

struct identities {
    struct frame_array node, bucket;
    uint32_t buckets; /* a power of two; 0: the space has no disks */
    unsigned disks;
    struct identity_disk disk[SPACE_DISKS];
    bool unflushed; /* D bits have been cleared, and CPUs may not know */
    uint64_t disk_drops, disk_reads, false_reads_avoided;
};

struct frame;
struct space;

void identity_free(struct space *space);

/* The page's frame, all of it, is that block now: FRAME_ON_DISK.  False: the index has no room. */
bool identity_note(struct space *space, gfn_t page, struct frame *frame,
                   const struct space_block *block);
/* The place of a page that is to be dropped; false: it may not be, for its disk may still lose the
 * block. */
bool identity_place(struct space *space, gfn_t page, struct place *at);
/* A page that was dropped, is on that block, and not on its way in: its level-1 entry; or NULL. */
uint64_t *identity_dropped(struct space *space, unsigned disk, uint32_t block, gfn_t *page);
/* What the page was a copy of last. */
const struct identity_node *identity_of(struct space *space, gfn_t page);

#endif
