/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests' disks, from which pages are read that were dropped because a block holds the same
 * (mm/space/identity.h).  What fails is tried again as with a paging store; nothing is ever
 * written.
 */
#include "mm/content/store_private.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"

static struct store *disks; /* opened at boot */

struct store *store_of_disk(const struct block_device *device)
{
    struct store *store = disks;

    while (store != NULL && store->device != device) {
        store = store->next_disk;
    }
    return store;
}

struct store *store_open_disk(struct block_device *device)
{
    pfn_t self, probe;
    struct store *store;

    if (device->blocks == 0 || !frame_alloc_zeroed(0, ALLOC_META, 0, &self)) {
        return NULL;
    }
    if (!frame_alloc_zeroed(0, ALLOC_META, 0, &probe)) {
        frame_free(self);
        return NULL;
    }
    store = mm_frame_ptr(self);
    spin_init(&store->lock, RANK_STORE, "guest disk as a store");
    store->self = self;
    store->meta = (uint32_t)probe.v;
    frame_get(probe)->next = FRAME_NONE;
    store->device = device;
    store->kind = "disk";
    store->slots = (uint32_t)MIN(device->blocks, UINT32_MAX - 1);
    store->probe_block = device->blocks - 1;
    store->probe_frame[BLOCK_READ] = probe;
    store_io_init(store);
    store->next_disk = disks;
    disks = store;
    return store;
}

void store_disk_forget(const struct store *store)
{
    struct store **at = &disks;

    while (*at != NULL && *at != store) {
        at = &(*at)->next_disk;
    }
    if (*at != NULL) {
        *at = store->next_disk;
    }
}

/* A block stays where it is, whoever stands for it. */
static void drop_block(struct page_owner *owner, uint64_t payload)
{
    (void)owner;
    (void)payload;
}

const struct tier tier_disk = {.drop = drop_block};
