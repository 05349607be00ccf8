/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/space/identity.h"

#include <string.h>

#include "mm/content/page_io.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

#define NODES_PER_FRAME   ((uint32_t)(PAGE_SIZE / sizeof(struct identity_node)))
#define BUCKETS_PER_FRAME ((uint32_t)(PAGE_SIZE / sizeof(uint32_t)))
#define PAGES_PER_BUCKET  2u
#define GROUP_SHIFT       6u          /* blocks whose buckets lie side by side */
#define GROUP_SPREAD      0x9e3779b1u /* of groups over the buckets: 2^32 / golden ratio */
#define STEP_BLOCKS       256u        /* looked up while the lock is held */

/* ---- the index ------------------------------------------------------------------------------ */

static uint32_t bucket_count(uint64_t pages)
{
    uint64_t count = BUCKETS_PER_FRAME;

    while (count < pages / PAGES_PER_BUCKET && count < BIT(31)) {
        count *= 2;
    }
    return (uint32_t)count;
}

static uint64_t node_frames(uint64_t pages)
{
    return (pages + NODES_PER_FRAME - 1) / NODES_PER_FRAME;
}

uint64_t space_disks_cost(uint64_t pages)
{
    return frame_array_cost(node_frames(pages)) +
           frame_array_cost(bucket_count(pages) / BUCKETS_PER_FRAME);
}

static bool grow(struct frame_array *array, uint64_t frames)
{
    while (array->frames < frames) {
        void *memory = frame_array_grow(array, NULL);

        if (memory == NULL) {
            return false;
        }
        memset(memory, 0, PAGE_SIZE);
    }
    return true;
}

void identity_free(struct space *space)
{
    struct identities *all = &space->identities;

    frame_array_free(&all->node);
    frame_array_free(&all->bucket);
    all->buckets = 0;
    all->disks = 0;
}

static bool make_index(struct space *space)
{
    struct identities *all = &space->identities;
    uint64_t pages = 0;

    for (unsigned i = 0; i < space->memslots; i++) {
        pages += space->memslot[i].pages;
    }
    if (!grow(&all->node, node_frames(pages)) ||
        !grow(&all->bucket, bucket_count(pages) / BUCKETS_PER_FRAME)) {
        identity_free(space);
        return false;
    }
    all->buckets = bucket_count(pages);
    return true;
}

int space_add_disk(struct space *space, struct store *store)
{
    struct identities *all = &space->identities;
    int number = -1;

    spin_lock(&space->lock);
    if (all->disks < SPACE_DISKS && (all->buckets != 0 || make_index(space))) {
        number = (int)all->disks++;
        all->disk[number] = (struct identity_disk){.store = store};
    }
    spin_unlock(&space->lock);
    return number;
}

static struct identity_node *node_at(struct space *space, uint64_t number)
{
    struct identity_node *nodes =
        frame_array_at(&space->identities.node, (uint32_t)(number / NODES_PER_FRAME));

    return &nodes[number % NODES_PER_FRAME];
}

/* Groups of blocks begin anywhere, by the upper bits of a product, so that no layout of a disk
 * favours some buckets; blocks of a group lie side by side, since they are looked up together. */
static uint32_t *bucket_of(struct space *space, unsigned disk, uint32_t block)
{
    uint32_t group = (block >> GROUP_SHIFT) + (disk << 27);
    uint32_t in_group = block & ((1u << GROUP_SHIFT) - 1);
    uint32_t all = space->identities.buckets, spread = group * GROUP_SPREAD;
    uint32_t bucket = ((uint32_t)((uint64_t)spread * all >> 32) + in_group) & (all - 1);
    uint32_t *buckets = frame_array_at(&space->identities.bucket, bucket / BUCKETS_PER_FRAME);

    return &buckets[bucket % BUCKETS_PER_FRAME];
}

/* The number of a page among those of all memslots, and back. */
static uint64_t number_of(struct space *space, gfn_t page)
{
    const struct memslot *memslot = space_find_memslot(space, page.v);

    ASSERT(memslot != NULL);
    return memslot->number + (page.v - memslot->base);
}

static gfn_t page_of(const struct space *space, uint64_t number)
{
    const struct memslot *memslot = space->memslot;

    while (number - memslot->number >= memslot->pages) {
        memslot++;
    }
    return gfn(memslot->base + (number - memslot->number));
}

const struct identity_node *identity_of(struct space *space, gfn_t page)
{
    return node_at(space, number_of(space, page));
}

/* ---- nodes and what is true ----------------------------------------------------------------- */

enum identity_state {
    IDENTITY_STALE,
    IDENTITY_RESIDENT,
    IDENTITY_DROPPED,
    IDENTITY_READING,
};

static enum identity_state state_of(struct space *space, gfn_t page, uint64_t **entry)
{
    unsigned level;
    struct place at;

    *entry = table_leaf(&space->table, page, &level);
    at = entry_place(space, table_entry_get(*entry), level);
    if (at.kind == PLACE_DISK) {
        return IDENTITY_DROPPED;
    }
    if (level != 1 || (at.kind != PLACE_FRAME && at.kind != PLACE_READING) ||
        !(frame_get(place_frame(at))->flags & FRAME_ON_DISK)) {
        return IDENTITY_STALE;
    }
    return at.kind == PLACE_FRAME ? IDENTITY_RESIDENT : IDENTITY_READING;
}

/* *link is the way to a node: a bucket, or the `next` of the one before. */
static void unlink_node(struct space *space, uint32_t *link)
{
    struct identity_node *node = node_at(space, *link - 1);

    *link = node->next;
    node->disk = 0;
}

static void unlink_page(struct space *space, uint64_t number)
{
    const struct identity_node *node = node_at(space, number);

    if (node->disk == 0) {
        return;
    }
    uint32_t *link = bucket_of(space, node->disk - 1, node->block);

    while (*link != number + 1) {
        link = &node_at(space, *link - 1)->next;
    }
    unlink_node(space, link);
}

/* How many nodes of the bucket are not stale; those that are leave it. */
static unsigned tidy(struct space *space, uint32_t *bucket)
{
    uint32_t *link = bucket;
    unsigned count = 0;
    uint64_t *entry;

    while (*link != 0) {
        if (state_of(space, page_of(space, *link - 1), &entry) == IDENTITY_STALE) {
            unlink_node(space, link);
        } else {
            link = &node_at(space, *link - 1)->next;
            count++;
        }
    }
    return count;
}

static unsigned length(struct space *space, const uint32_t *bucket)
{
    unsigned count = 0;

    for (uint32_t next = *bucket; next != 0; next = node_at(space, next - 1)->next) {
        count++;
    }
    return count;
}

bool identity_note(struct space *space, gfn_t page, struct frame *frame,
                   const struct space_block *block)
{
    uint64_t number = number_of(space, page);
    struct identity_node *node = node_at(space, number);
    uint32_t *bucket;

    if (block->block >= UINT32_MAX || block->epoch > IDENTITY_EPOCH_MAX || number >= UINT32_MAX) {
        return false;
    }
    unlink_page(space, number);
    frame->flags &= (uint8_t)~FRAME_ON_DISK; /* of the block that it was a copy of before */
    bucket = bucket_of(space, block->disk, (uint32_t)block->block);
    if (length(space, bucket) >= IDENTITY_CHAIN_MAX && tidy(space, bucket) >= IDENTITY_CHAIN_MAX) {
        return false;
    }
    *node = (struct identity_node){.block = (uint32_t)block->block,
                                   .next = *bucket,
                                   .epoch = block->epoch & IDENTITY_EPOCH_MAX,
                                   .disk = block->disk + 1};
    *bucket = (uint32_t)number + 1;
    frame->flags |= FRAME_ON_DISK;
    return true;
}

static bool is_flushed(const struct identity_disk *disk, uint32_t epoch)
{
    return epoch <= disk->flushed && (epoch < disk->lost_first || epoch >= disk->lost_end);
}

bool identity_place(struct space *space, gfn_t page, struct place *at)
{
    const struct identity_node *node = identity_of(space, page);
    unsigned disk = node->disk - 1u;

    ASSERT(node->disk != 0);
    if (!is_flushed(&space->identities.disk[disk], node->epoch)) {
        return false;
    }
    *at = place_of_disk(disk, node->block, space->eviction_clock);
    return true;
}

uint64_t *identity_dropped(struct space *space, unsigned disk, uint32_t block, gfn_t *page)
{
    uint32_t next = *bucket_of(space, disk, block);
    uint64_t *entry;

    while (next != 0) {
        const struct identity_node *node = node_at(space, next - 1);

        *page = page_of(space, next - 1);
        if (node->disk == disk + 1 && node->block == block &&
            state_of(space, *page, &entry) == IDENTITY_DROPPED) {
            return entry;
        }
        next = node->next;
    }
    return NULL;
}

/* ---- the disk changes ----------------------------------------------------------------------- */

/* One page that stood for a block stops to.  Once it is on its way in it is not dropped for that
 * block again, so each wait gets its waiter on. */
static enum mm_result end_identity(struct space *space, gfn_t page, struct mm_waiter *waiter)
{
    enum mm_result result;
    unsigned level;
    uint64_t *entry;

    if (state_of(space, page, &entry) == IDENTITY_RESIDENT) {
        struct frame *frame = frame_get(entry_frame(space, table_entry_get(entry), 1));

        frame->flags = (uint8_t)((frame->flags | FRAME_DIRTY) & ~FRAME_ON_DISK);
        return MM_OK;
    }
    result = fault_page(space, page, ACCESS_READ, NULL, waiter, &entry, &level);
    if (state_of(space, page, &entry) == IDENTITY_READING) {
        frame_get(place_frame(entry_place(space, table_entry_get(entry), 1)))->flags |= FRAME_DIRTY;
    }
    return result;
}

static enum mm_result end_block(struct space *space, unsigned disk, uint32_t block,
                                struct mm_waiter *waiter, gfn_t *lost)
{
    uint32_t *link = bucket_of(space, disk, block);
    uint64_t *entry;

    while (*link != 0) {
        const struct identity_node *node = node_at(space, *link - 1);
        gfn_t page = page_of(space, *link - 1);

        if (node->disk != disk + 1 || node->block != block) {
            link = &node_at(space, *link - 1)->next;
            continue;
        }
        if (state_of(space, page, &entry) != IDENTITY_STALE) {
            enum mm_result result = end_identity(space, page, waiter);

            if (result != MM_OK) {
                *lost = page;
                return result;
            }
        }
        unlink_node(space, link);
    }
    return MM_OK;
}

enum mm_result space_disk_overwrite(struct space *space, unsigned disk, uint64_t block,
                                    uint64_t blocks, struct mm_waiter *waiter, gfn_t *lost)
{
    enum mm_result result = MM_OK;
    uint64_t end = MIN(block + blocks, UINT32_MAX);

    while (block < end && result == MM_OK) {
        uint64_t step = MIN(end, block + STEP_BLOCKS);

        spin_lock(&space->lock);
        for (; block < step && result == MM_OK; block++) {
            result = end_block(space, disk, (uint32_t)block, waiter, lost);
        }
        spin_unlock(&space->lock);
    }
    return result;
}

void space_watch(struct space *space)
{
    spin_lock(&space->lock);
    if (space->identities.unflushed) {
        space->identities.unflushed = false;
        mm_tlb_shootdown(space);
    }
    spin_unlock(&space->lock);
}

/* ---- flushes -------------------------------------------------------------------------------- */

void space_disk_flushed(struct space *space, unsigned disk, uint32_t epoch)
{
    struct identity_disk *it = &space->identities.disk[disk];

    spin_lock(&space->lock);
    it->flushed = MAX(it->flushed, epoch);
    spin_unlock(&space->lock);
}

void space_disk_not_flushed(struct space *space, unsigned disk, uint32_t epoch)
{
    struct identity_disk *it = &space->identities.disk[disk];

    spin_lock(&space->lock);
    if (epoch > it->flushed) {
        it->lost_first = it->lost_end == 0 ? it->flushed + 1 : it->lost_first;
        it->lost_end = epoch + 1;
    }
    spin_unlock(&space->lock);
}
