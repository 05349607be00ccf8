/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pages of a space are copies of blocks of its VM's disks: docs/disk-identity.md.
 *
 * The frame of such a page, or its place if it is in no frame, has the number of an entry here, and
 * the entry says which block that is; by block all entries are found.
 *
 *     frame, FRAME_ON_DISK        place DISK                 who writes to a block
 *            frame->slot --.          '-- place_copy() --.        |  disk_map_find()
 *                          v                             v        v
 *     bucket of the block: | entry | entry | ... 8 |  disk, block, page, seal of its bytes
 *
 * It has an entry for each page of the space, in buckets of 8; neighbouring blocks have
 * neighbouring buckets.  Where a bucket is full a page is not known to be a copy: that costs a
 * write, and nothing else.  So memory is bounded, and so is each step.
 *
 * Life: disk_map_init() with the first disk, disk_map_free() when no page has an entry.
 * Locks: that of the space, but for what is said otherwise.
 */
#ifndef SPILLWAY_MM_CONTENT_DISK_MAP_H
#define SPILLWAY_MM_CONTENT_DISK_MAP_H

#include "base/bits.h"
#include "base/block.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_array.h"

#define DISK_MAP_DISKS 16u
#define DISK_MAP_WAYS  8u
#define DISK_MAP_NONE  FRAME_NONE

#define DISK_MAP_USED   BIT(63)
#define DISK_MAP_ENDING BIT(62) /* a write to the block waits: no copy any more when it is read */
#define DISK_MAP_DISK   BITS(59, 56)
#define DISK_MAP_BLOCK  BITS(55, 0)

struct disk_map_entry {
    uint64_t key;  /* DISK_MAP_*; 0: free */
    uint32_t page; /* gfn */
    uint32_t seal; /* of the bytes, while the page is in no frame */
};
_Static_assert(sizeof(struct disk_map_entry) == 16, "0.4% of a guest's memory");

struct disk_map {
    struct frame_array frames;
    uint64_t buckets; /* 0: it is not there */
    uint64_t used;    /* entries */
    unsigned disks;
    struct {
        struct block_device *device;
        bool doubted; /* it has lost writes, perhaps: nothing is dropped to it any more */
    } disk[DISK_MAP_DISKS];
};

/* Frames that the map of a space of so many pages takes. */
uint64_t disk_map_cost(uint64_t pages);
/* False: no memory, nothing has changed.  The struct was zero. */
bool disk_map_init(struct disk_map *map, uint64_t pages);
void disk_map_free(struct disk_map *map);
/* Adds a disk; false: there are too many. */
bool disk_map_add(struct disk_map *map, struct block_device *device, unsigned *disk);

/* The page is a copy of the block from now on.  DISK_MAP_NONE: there is no room for that. */
uint32_t disk_map_put(struct disk_map *map, unsigned disk, uint64_t block, uint64_t page);
void disk_map_remove(struct disk_map *map, uint32_t number);
/* The first entry of the block behind that one (DISK_MAP_NONE: of all); DISK_MAP_NONE: no more. */
uint32_t disk_map_find(const struct disk_map *map, unsigned disk, uint64_t block, uint32_t behind);

struct disk_map_entry *disk_map_at(const struct disk_map *map, uint32_t number);

static inline uint64_t disk_map_block(const struct disk_map_entry *entry)
{
    return FIELD_GET(DISK_MAP_BLOCK, entry->key);
}

static inline unsigned disk_map_disk(const struct disk_map_entry *entry)
{
    return (unsigned)FIELD_GET(DISK_MAP_DISK, entry->key);
}

/* Remember, and verify, what the page's bytes are, 4 KiB.  No lock, if the page is being read: then
 * nobody else changes that entry's seal. */
void disk_map_set_seal(const struct disk_map *map, uint32_t number, const void *page);
bool disk_map_verify(const struct disk_map *map, uint32_t number, const void *page);

#endif
