/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/store.h"

#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/xxhash.h"
#include "mm/env.h"
#include "mm/frame_alloc.h"
#include "mm/store_internal.h"

#define SLOTS_PER_FRAME 8u /* of the machine: more slots than that are of no use, and cost RAM */
#define SUMS_PER_PAGE   ((uint32_t)(PAGE_SIZE / sizeof(uint32_t)))
#define WORD_BITS       64u
#define CLUSTER_WORDS   (STORE_CLUSTER_SLOTS / WORD_BITS)
#define TIGHT_SHARE     16u /* of the slots: fewer free ones than one in so many is tight */

struct store {
    struct spinlock lock; /* everything below but sums and the constants */
    struct block_device *device;
    uint32_t slots;      /* constant */
    uint32_t clusters;   /* constant */
    uint64_t *used;      /* bit per slot; bits beyond the end are set */
    uint64_t *owned;     /* bit per cluster */
    uint32_t **sums;     /* truncated XXH64 of each slot: written by the slot's owner */
    uint32_t slots_used; /* without the retired ones */
    uint32_t retired;
    uint64_t promised;  /* pages, by store_reserve */
    uint32_t next_slot; /* where the search for any slot goes on */
    uint32_t next_cluster;
    uint32_t cluster_retry; /* none was found: not searched again before so few slots are used */
    uint64_t reads, writes, read_pages, written_pages, errors;
};

_Static_assert(sizeof(struct store) <= PAGE_SIZE, "a store fits a frame");

static bool test_bit(const uint64_t *map, uint32_t bit)
{
    return map[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

static void set_bit(uint64_t *map, uint32_t bit)
{
    map[bit / WORD_BITS] |= BIT(bit % WORD_BITS);
}

static void clear_bit(uint64_t *map, uint32_t bit)
{
    map[bit / WORD_BITS] &= ~BIT(bit % WORD_BITS);
}

/* Zeroed metadata of that size, never given back: a store lives as long as the machine. */
static void *meta_alloc(size_t bytes)
{
    unsigned order = 0;
    pfn_t first;

    while ((PAGE_SIZE << order) < bytes) {
        order++;
    }
    if (!frame_alloc(order, ALLOC_META, 0, &first)) {
        return NULL;
    }
    memset(mm_frame_ptr(first), 0, PAGE_SIZE << order);
    return mm_frame_ptr(first);
}

static bool alloc_maps(struct store *store)
{
    uint32_t sum_pages = (store->slots + SUMS_PER_PAGE - 1) / SUMS_PER_PAGE;

    store->used = meta_alloc((size_t)store->clusters * STORE_CLUSTER_SLOTS / 8);
    store->owned = meta_alloc(ALIGN_UP(store->clusters, WORD_BITS) / 8);
    store->sums = meta_alloc(sum_pages * sizeof(*store->sums));
    if (store->used == NULL || store->owned == NULL || store->sums == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < sum_pages; i++) {
        store->sums[i] = meta_alloc(PAGE_SIZE);
        if (store->sums[i] == NULL) {
            return false;
        }
    }
    for (uint32_t i = store->slots; i < store->clusters * STORE_CLUSTER_SLOTS; i++) {
        set_bit(store->used, i);
    }
    return true;
}

struct store *store_open(struct block_device *device)
{
    uint64_t blocks = store_probed_blocks(device);

    if (blocks < 2 || device->read_only) {
        return NULL;
    }
    struct store *store = meta_alloc(sizeof(*store));

    if (store == NULL) {
        return NULL;
    }
    uint64_t useful = frame_stats_get().frames * SLOTS_PER_FRAME;

    spin_init(&store->lock, RANK_STORE, "store");
    store->device = device;
    store->cluster_retry = UINT32_MAX;
    store->slots = (uint32_t)MIN(MIN(blocks - 1, useful), BIT(31));
    store->clusters = (store->slots + STORE_CLUSTER_SLOTS - 1) / STORE_CLUSTER_SLOTS;
    if (!alloc_maps(store)) {
        /* Boot is about to fail: what was taken so far is not worth a way back. */
        return NULL;
    }
    return store;
}

static uint64_t read_counter(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void store_get_stats(const struct store *store, struct store_stats *stats)
{
    stats->slots = store->slots;
    stats->slots_used = __atomic_load_n(&store->slots_used, __ATOMIC_RELAXED);
    stats->retired = __atomic_load_n(&store->retired, __ATOMIC_RELAXED);
    stats->reads = read_counter(&store->reads);
    stats->writes = read_counter(&store->writes);
    stats->read_pages = read_counter(&store->read_pages);
    stats->written_pages = read_counter(&store->written_pages);
    stats->errors = read_counter(&store->errors);
}

const char *store_device_name(const struct store *store)
{
    return store->device->name;
}

bool store_reserve(struct store *store, uint64_t pages)
{
    bool fits;

    spin_lock(&store->lock);
    fits = pages <= store->slots && store->promised + pages + store->retired <= store->slots;
    if (fits) {
        store->promised += pages;
    }
    spin_unlock(&store->lock);
    return fits;
}

void store_release(struct store *store, uint64_t pages)
{
    spin_lock(&store->lock);
    ASSERT(pages <= store->promised);
    store->promised -= pages;
    spin_unlock(&store->lock);
}

static bool cluster_is_empty(const struct store *store, uint32_t cluster)
{
    const uint64_t *word = store->used + (size_t)cluster * CLUSTER_WORDS;
    uint64_t any = 0;

    for (uint32_t i = 0; i < CLUSTER_WORDS; i++) {
        any |= word[i];
    }
    return any == 0 && !test_bit(store->owned, cluster);
}

uint32_t store_cluster_take(struct store *store)
{
    uint32_t found = STORE_NONE;

    spin_lock(&store->lock);
    for (uint32_t i = 0; i < store->clusters && store->slots_used < store->cluster_retry; i++) {
        uint32_t cluster = store->next_cluster;

        store->next_cluster = cluster + 1 < store->clusters ? cluster + 1 : 0;
        if (cluster_is_empty(store, cluster)) {
            set_bit(store->owned, cluster);
            found = cluster;
            break;
        }
    }
    if (found == STORE_NONE) {
        uint32_t used = store->slots_used;

        store->cluster_retry =
            MIN(store->cluster_retry, used - MIN(used, STORE_CLUSTER_SLOTS / 2) + 1);
    }
    spin_unlock(&store->lock);
    return found;
}

void store_cluster_give(struct store *store, uint32_t cluster)
{
    spin_lock(&store->lock);
    ASSERT(test_bit(store->owned, cluster));
    clear_bit(store->owned, cluster);
    store->cluster_retry = UINT32_MAX;
    spin_unlock(&store->lock);
}

/* Any free slot, searched from where the last search ended.  There is one. */
static uint32_t find_any(struct store *store)
{
    uint32_t words = store->clusters * CLUSTER_WORDS;
    uint32_t word = store->next_slot / WORD_BITS;

    for (uint32_t i = 0; i < words; i++) {
        uint64_t vacant = ~store->used[word];

        if (vacant != 0) {
            store->next_slot = word * WORD_BITS + (uint32_t)__builtin_ctzll(vacant);
            return store->next_slot;
        }
        word = word + 1 < words ? word + 1 : 0;
    }
    return STORE_NONE;
}

uint32_t store_slot_take(struct store *store, uint32_t cluster, uint32_t index)
{
    uint32_t slot = STORE_NONE;

    spin_lock(&store->lock);
    if (store->slots_used + store->retired < store->slots) {
        slot = cluster * STORE_CLUSTER_SLOTS + index;
        if (cluster == STORE_NONE || test_bit(store->used, slot)) {
            slot = find_any(store);
        }
        set_bit(store->used, slot);
        store->slots_used++;
    }
    spin_unlock(&store->lock);
    return slot;
}

void store_slot_give(struct store *store, uint32_t slot)
{
    spin_lock(&store->lock);
    ASSERT(slot < store->slots && test_bit(store->used, slot));
    clear_bit(store->used, slot);
    store->slots_used--;
    spin_unlock(&store->lock);
}

void store_slot_retire(struct store *store, uint32_t slot)
{
    spin_lock(&store->lock);
    ASSERT(slot < store->slots && test_bit(store->used, slot));
    store->slots_used--;
    store->retired++;
    spin_unlock(&store->lock);
    log_warn("%s: slot %u cannot be written and is retired", store->device->name, slot);
}

bool store_is_tight(const struct store *store)
{
    uint32_t used = __atomic_load_n(&store->slots_used, __ATOMIC_RELAXED) +
                    __atomic_load_n(&store->retired, __ATOMIC_RELAXED);

    return store->slots - used < store->slots / TIGHT_SHARE;
}

static uint32_t page_sum(const void *page)
{
    return (uint32_t)XXH64(page, PAGE_SIZE, 0);
}

/* The slot's owner alone writes and reads its sum, under its space's lock or with its I/O done. */
static uint32_t *sum_of(const struct store *store, uint32_t slot)
{
    return &store->sums[slot / SUMS_PER_PAGE][slot % SUMS_PER_PAGE];
}

void store_slot_seal(struct store *store, uint32_t slot, const void *page)
{
    *sum_of(store, slot) = page_sum(page);
}

bool store_slot_verify(const struct store *store, uint32_t slot, const void *page)
{
    return *sum_of(store, slot) == page_sum(page);
}

void store_submit(struct store *store, struct block_request *request, uint32_t slot)
{
    request->block = 1 + (uint64_t)slot; /* block 0 is the superblock */
    spin_lock(&store->lock);
    if (request->op == BLOCK_READ) {
        store->reads++;
        store->read_pages += request->pages;
    } else {
        store->writes++;
        store->written_pages += request->pages;
    }
    spin_unlock(&store->lock);
    block_submit(store->device, request);
}

void store_count_error(struct store *store)
{
    spin_lock(&store->lock);
    store->errors++;
    spin_unlock(&store->lock);
}
