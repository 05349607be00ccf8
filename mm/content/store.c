/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/store.h"

#include <string.h>

#include "base/log.h"
#include "base/xxhash.h"
#include "mm/content/store_private.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"

#define SLOTS_PER_FRAME 8u /* of the machine: more slots than that are of no use, and cost RAM */
#define SUMS_PER_PAGE   ((uint32_t)(PAGE_SIZE / sizeof(uint64_t)))
#define WORD_BITS       64u
#define CLUSTER_WORDS   (STORE_CLUSTER_SLOTS / WORD_BITS)
#define TIGHT_SHARE     16u /* of the slots: fewer free ones than one in so many is tight ... */
#define AMPLE_SHARE     8u  /* ... until there are more than one in so many */
#define RETIRE_LINES    8u  /* of retired slots in the log; then every so many more */

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

/* Zeroed memory of that size, in a block of its own; NULL: none. */
static void *block_alloc(size_t bytes, pfn_t *first)
{
    unsigned order = frame_order(bytes);

    return frame_alloc_zeroed(order, ALLOC_META, 0, first) ? mm_frame_ptr(*first) : NULL;
}

/* Of the store's, which store_close() gives back. */
static void *meta_alloc(struct store *store, size_t bytes)
{
    pfn_t first;
    void *memory = block_alloc(bytes, &first);

    if (memory != NULL) {
        frame_get(first)->next = store->meta;
        store->meta = (uint32_t)first.v;
    }
    return memory;
}

static bool alloc_probe_frames(struct store *store)
{
    for (unsigned i = 0; i < ARRAY_SIZE(store->probe_frame); i++) {
        if (meta_alloc(store, PAGE_SIZE) == NULL) {
            return false;
        }
        store->probe_frame[i] = pfn(store->meta);
    }
    store_fill_test_page(mm_frame_ptr(store->probe_frame[BLOCK_WRITE]), 0);
    return true;
}

static bool alloc_maps(struct store *store)
{
    uint32_t sum_pages = (store->slots + SUMS_PER_PAGE - 1) / SUMS_PER_PAGE;

    store->used = meta_alloc(store, (size_t)store->clusters * STORE_CLUSTER_SLOTS / 8);
    store->owned = meta_alloc(store, ALIGN_UP(store->clusters, WORD_BITS) / 8);
    store->sums = meta_alloc(store, sum_pages * sizeof(*store->sums));
    if (store->used == NULL || store->owned == NULL || store->sums == NULL ||
        !alloc_probe_frames(store)) {
        return false;
    }
    for (uint32_t i = 0; i < sum_pages; i++) {
        store->sums[i] = meta_alloc(store, PAGE_SIZE);
        if (store->sums[i] == NULL) {
            return false;
        }
    }
    for (uint32_t i = store->slots; i < store->clusters * STORE_CLUSTER_SLOTS; i++) {
        set_bit(store->used, i);
    }
    return true;
}

uint64_t store_open_slots(uint64_t blocks, uint64_t frames)
{
    /* Block 0 is the superblock's, the last one the probes'. */
    return MIN(MIN(blocks - 2, frames * SLOTS_PER_FRAME), BIT(31));
}

uint64_t store_open_cost(uint64_t slots)
{
    uint64_t clusters = (slots + STORE_CLUSTER_SLOTS - 1) / STORE_CLUSTER_SLOTS;
    uint64_t sum_pages = (slots + SUMS_PER_PAGE - 1) / SUMS_PER_PAGE;

    return 1 + (1u << frame_order(clusters * STORE_CLUSTER_SLOTS / 8)) +
           (1u << frame_order(ALIGN_UP(clusters, WORD_BITS) / 8)) +
           (1u << frame_order(sum_pages * sizeof(void *))) + sum_pages +
           ARRAY_SIZE(((struct store *)NULL)->probe_frame);
}

static void free_meta(struct store *store)
{
    pfn_t self = store->self;

    for (uint32_t next, number = store->meta; number != FRAME_NONE; number = next) {
        next = frame_get(pfn(number))->next;
        frame_free(pfn(number));
    }
    frame_free(self);
}

struct store *store_open(struct block_device *device)
{
    uint64_t blocks = store_probed_blocks(device);
    struct store *store;
    pfn_t self;

    if (blocks < STORE_BLOCKS_MIN || device->read_only) {
        return NULL;
    }
    store = block_alloc(sizeof(*store), &self);
    if (store == NULL) {
        return NULL;
    }
    spin_init(&store->lock, RANK_STORE, "store");
    store->self = self;
    store->meta = FRAME_NONE;
    store->device = device;
    store->kind = "store";
    store->first = 1; /* block 0 is the superblock's */
    store->cluster_retry = UINT32_MAX;
    store->probe_block = blocks - 1;
    store->slots = (uint32_t)store_open_slots(blocks, frame_stats_get().frames);
    store->clusters = (store->slots + STORE_CLUSTER_SLOTS - 1) / STORE_CLUSTER_SLOTS;
    if (!alloc_maps(store)) {
        free_meta(store);
        return NULL;
    }
    store_io_init(store);
    return store;
}

void store_close(struct store *store)
{
    store_io_forget(store);
    store_disk_forget(store);
    free_meta(store);
}

static uint64_t read_counter(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void store_get_stats(const struct store *store, struct store_stats *stats)
{
    stats->capacity = store->probe_block - 1; /* block 0 is the superblock's */
    stats->slots = store->slots;
    stats->slots_used = __atomic_load_n(&store->slots_used, __ATOMIC_RELAXED);
    stats->retired = __atomic_load_n(&store->retired, __ATOMIC_RELAXED);
    stats->reads = read_counter(&store->reads);
    stats->writes = read_counter(&store->writes);
    stats->read_pages = read_counter(&store->read_pages);
    stats->written_pages = read_counter(&store->written_pages);
    stats->errors = read_counter(&store->errors);
    store_health_get_stats(store, stats);
}

const char *store_device_name(const struct store *store)
{
    return store->device->name;
}

struct block_device *store_device(const struct store *store)
{
    return store->device;
}

/* ---- clusters and slots --------------------------------------------------------------------- */

/* The lock is held.  With hysteresis: what is given back at its beginning is not to end it at once.
 */
static void note_tightness(struct store *store)
{
    uint32_t vacant = store->slots - store->slots_used - store->retired;

    if (vacant <= store->slots / TIGHT_SHARE && !store->tight) {
        __atomic_store_n(&store->tightened, store->tightened + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&store->tight, true, __ATOMIC_RELAXED);
    } else if (vacant > store->slots / AMPLE_SHARE) {
        __atomic_store_n(&store->tight, false, __ATOMIC_RELAXED);
    }
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
        note_tightness(store);
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
    note_tightness(store);
    spin_unlock(&store->lock);
}

void store_slot_retire(struct store *store, uint32_t slot)
{
    uint32_t retired;

    spin_lock(&store->lock);
    ASSERT(slot < store->slots && test_bit(store->used, slot));
    store->slots_used--;
    retired = ++store->retired;
    note_tightness(store);
    spin_unlock(&store->lock);
    if (retired <= RETIRE_LINES || retired % (RETIRE_LINES * RETIRE_LINES) == 0) {
        log_warn("%s: slot %u fails though others do not: retired, as %u before it",
                 store->device->name, slot, retired - 1);
    }
}

bool store_is_tight(const struct store *store)
{
    return __atomic_load_n(&store->tight, __ATOMIC_RELAXED);
}

bool store_is_full(const struct store *store)
{
    enum store_health health = store->way[BLOCK_WRITE].health;

    return __atomic_load_n(&store->slots_used, __ATOMIC_RELAXED) +
                   __atomic_load_n(&store->retired, __ATOMIC_RELAXED) >=
               store->slots ||
           health == STORE_GONE || health == STORE_FULL;
}

uint32_t store_tightened(const struct store *store)
{
    return __atomic_load_n(&store->tightened, __ATOMIC_RELAXED);
}

/* ---- checksums ------------------------------------------------------------------------------ */

static uint64_t page_sum(const void *page)
{
    return XXH64(page, PAGE_SIZE, 0);
}

/* The slot's owner alone writes and reads its sum, under its space's lock or with its I/O done. */
static uint64_t *sum_of(const struct store *store, uint32_t slot)
{
    return &store->sums[slot / SUMS_PER_PAGE][slot % SUMS_PER_PAGE];
}

void store_slot_seal(struct store *store, uint32_t slot, const void *page)
{
    *sum_of(store, slot) = page_sum(page);
}

bool store_slot_verify(const struct store *store, uint32_t slot, const void *page)
{
    return store->sums == NULL || *sum_of(store, slot) == page_sum(page);
}

void store_count_error(struct store *store)
{
    spin_lock(&store->lock);
    store->errors++;
    spin_unlock(&store->lock);
}

/* ---- the tier ------------------------------------------------------------------------------- */

static void drop_slot(struct page_owner *owner, uint64_t payload)
{
    store_slot_give(owner->store, place_slot(place(PLACE_SLOT, payload)));
}

const struct tier tier_slot = {.drop = drop_slot};
