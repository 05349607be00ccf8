/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The paging store: a disk or partition with our superblock, cut into 4 KiB slots that are handed
 * out in 2 MiB clusters per space, in guest-address order.  Contents last one boot.
 *
 * Each slot has a checksum (kept in RAM) that is verified on read.  What becomes of requests that
 * fail: mm/content/store_io.h.
 *
 * On disk, block 0: struct store_superblock; block 1..: slots; the last one: for test writes.
 */
#ifndef SPILLWAY_MM_CONTENT_STORE_H
#define SPILLWAY_MM_CONTENT_STORE_H

#include "base/block.h"
#include "base/types.h"

#define STORE_MAGIC   "SPILLWAY-STORE\0"
#define STORE_VERSION 1

/* Little-endian, at byte 0 of the disk or partition; the rest of the 4 KiB is zero.
 * tools/spillway mkstore writes the same. */
struct store_superblock {
    char magic[16];
    uint32_t version;
    uint32_t block_size; /* 4096 */
    uint64_t blocks;     /* of the store, this one included; <= capacity of the device */
    uint8_t uuid[16];
    uint64_t checksum; /* XXH64, seed 0, of the 48 bytes before */
};
_Static_assert(sizeof(struct store_superblock) == 56, "on-disk format");

struct store;

/* How it goes with the reads of a store, or its writes: mm/content/store_health.c. */
enum store_health {
    STORE_WELL,
    STORE_DOUBTED, /* one has failed: is it the slot, or the disk? */
    STORE_AWAY,    /* the disk: tried again and again */
    STORE_GONE,    /* for so long that nobody waits for it any more */
    STORE_FULL,    /* writes: the disk is there, and takes no slot for as long */
};

struct store_stats {
    uint64_t capacity; /* slots that the device has room for */
    uint64_t slots, slots_used;
    uint64_t reads, writes, read_pages, written_pages, errors, retired;
    enum store_health read_health, write_health;
};

enum store_probe {
    STORE_VALID,
    STORE_BLANK,   /* the first MiB is all zero */
    STORE_FOREIGN, /* something else is there: never written */
    STORE_UNREADABLE,
    STORE_UNWRITABLE,
};

/*
 * Starts reading the first MiB of the device; done(context, result) is called from block_poll().
 * Boot code polls until then.
 */
bool store_probe_start(struct block_device *device,
                       void (*done)(void *context, enum store_probe result), void *context);
/* Writes a superblock on a device that was probed STORE_BLANK; done likewise with STORE_VALID. */
bool store_format_start(struct block_device *device,
                        void (*done)(void *context, enum store_probe result), void *context);
/* Writes the last block of a device that was probed STORE_VALID and reads it back; done likewise:
 * STORE_VALID, STORE_UNWRITABLE or STORE_UNREADABLE.  False: no memory. */
bool store_check_start(struct block_device *device,
                       void (*done)(void *context, enum store_probe result), void *context);
/* Slots of a store of so many blocks (at least 3), in a machine whose pool has so many frames: more
 * than 8 for each frame would be of no use. */
uint64_t store_open_slots(uint64_t blocks, uint64_t frames);
/* Frames that store_open() takes for so many slots. */
uint64_t store_open_cost(uint64_t slots);
/* Opens a device that was probed STORE_VALID (the probed superblock is remembered).  NULL: memory.
 */
struct store *store_open(struct block_device *device);
/*
 * A guest's disk as a store that is read only: its slots are its blocks, it has no checksums, and
 * nothing is handed out.  Of blocks whose numbers have more than 32 bits no page is a copy.  At
 * boot, once for each device; NULL: no memory.  store_of_disk(): the one over that device, or NULL.
 */
struct store *store_open_disk(struct block_device *device);
struct store *store_of_disk(const struct block_device *device);
/* Frees it; no request is in flight, and nobody has a slot. */
void store_close(struct store *store);
void store_get_stats(const struct store *store, struct store_stats *stats);
const char *store_device_name(const struct store *store);

#endif
