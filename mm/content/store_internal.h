/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slots of a paging store, for the rest of mm/: see mm/content/store.h for what a store is.
 *
 *     store:   | superblock | cluster 0: slots 0..511 | cluster 1: slots 512..1023 | ...
 *     space:   each 2 MiB region of guest memory owns at most one cluster; the page with index i
 *              in its region prefers slot i of the cluster, so that neighbours in memory are
 *              neighbours on disk.  When clusters run out, or the preferred slot is taken, any
 *              free slot serves.
 *
 * A slot is owned by one guest page: by its SLOT entry, or by the frame that still has a valid
 * copy there (frame->slot), never by both.
 *
 * Locks: one spinlock per store (RANK_STORE), taken inside; callers may hold anything below.
 */
#ifndef SPILLWAY_MM_CONTENT_STORE_INTERNAL_H
#define SPILLWAY_MM_CONTENT_STORE_INTERNAL_H

#include "base/block.h"
#include "mm/content/store.h"

#define STORE_NONE          UINT32_MAX /* no slot, no cluster */
#define STORE_CLUSTER_SLOTS 512u

/* A cluster that nobody owns and whose slots are all free, or STORE_NONE. */
uint32_t store_cluster_take(struct store *store);
/* The region that owned it is gone; slots still in use stay so. */
void store_cluster_give(struct store *store, uint32_t cluster);

/* Slot `index` of the cluster if that is free, else any slot; STORE_NONE: the store is full. */
uint32_t store_slot_take(struct store *store, uint32_t cluster, uint32_t index);
void store_slot_give(struct store *store, uint32_t slot);
/* Takes a slot in use out of service for good: its block cannot be written, or read back. */
void store_slot_retire(struct store *store, uint32_t slot);
/* So few slots are free that resident pages give up their copies: from 1/16 of them on, until there
 * is more than 1/8.  A hint, no lock taken. */
bool store_is_tight(const struct store *store);
/* Is there no slot that a page could go to: none is free, or the disk has been given up?  A hint,
 * no lock taken. */
bool store_is_full(const struct store *store);
/* How often it has become tight.  A hint, no lock taken. */
uint32_t store_tightened(const struct store *store);

/* Remember, and verify, what the slot holds. */
void store_slot_seal(struct store *store, uint32_t slot, const void *page);
bool store_slot_verify(const struct store *store, uint32_t slot, const void *page);

void store_count_error(struct store *store);
struct block_device *store_device(const struct store *store);

#define STORE_BLOCKS_MIN 3u /* the superblock, one slot, and the block for test writes */

/* What a test write writes: our name, over and over, and that number. */
void store_fill_test_page(void *page, uint64_t number);

/* Of a device that was probed STORE_VALID: how many blocks its superblock claims; 0: not probed. */
uint64_t store_probed_blocks(const struct block_device *device);

#endif
