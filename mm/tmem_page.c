/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of pages: look-up, descriptors, age lists, and the sweep over all of it. */
#include "base/log.h"
#include "base/xxhash.h"
#include "mm/env.h"
#include "mm/frame_alloc.h"
#include "mm/store_internal.h"
#include "mm/tmem_internal.h"

#define SWEEP_BUDGET 4096u /* buckets, chains and pages of one call */
#define SWEEP_HOLD   64u   /* of them, with the shard's lock held */

/* ---- look-up -------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct tmem_handle, index) == 28, "object and pool come first");

uint64_t tmem_object_hash(const struct tmem *tmem, const struct tmem_handle *handle)
{
    return XXH64(handle, offsetof(struct tmem_handle, index), tmem->seed);
}

/* The finaliser of MurmurHash3: every bit of the sum comes to every bit of the hash. */
uint64_t tmem_page_hash(uint64_t object_hash, uint32_t index)
{
    uint64_t hash = object_hash + index * 0x9e3779b97f4a7c15ull;

    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 33;
}

struct tmem_shard *tmem_shard_of(struct tmem *tmem, uint64_t hash)
{
    return &tmem->shard[hash % TMEM_SHARDS];
}

static struct tmem_page **bucket_of(const struct tmem *tmem, struct tmem_shard *shard,
                                    uint64_t hash)
{
    return &shard->bucket[(hash >> 32) & (tmem->buckets - 1)];
}

static struct tmem_page **chain_of(const struct tmem *tmem, struct tmem_shard *shard,
                                   uint64_t object_hash)
{
    return &shard->object[object_hash & (tmem->buckets - 1)];
}

static bool same_object(const uint64_t *a, const uint64_t *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static bool same_handle(const struct tmem_handle *a, const struct tmem_handle *b)
{
    return a->index == b->index && a->pool == b->pool && same_object(a->object, b->object);
}

struct tmem_page *tmem_find(struct tmem *tmem, struct tmem_shard *shard, uint64_t hash,
                            const struct tmem_handle *handle)
{
    struct tmem_page *page = *bucket_of(tmem, shard, hash);

    while (page != NULL && !same_handle(&page->handle, handle)) {
        page = page->chain;
    }
    return page;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

struct slab {
    struct list link; /* in shard->slabs while it has a free descriptor */
    pfn_t self;
    struct tmem_page *vacant;
    uint32_t used;
};

#define SLAB_FIRST ALIGN_UP(sizeof(struct slab), sizeof(uint64_t))

_Static_assert((PAGE_SIZE - SLAB_FIRST) / sizeof(struct tmem_page) == TMEM_SLAB_PAGES,
               "for tmem_overhead()");

static struct slab *slab_new(struct tmem_shard *shard)
{
    pfn_t self;

    if (!frame_alloc(0, ALLOC_META, 0, &self)) {
        return NULL;
    }
    struct slab *slab = mm_frame_ptr(self);
    struct tmem_page *page = (struct tmem_page *)(void *)((char *)slab + SLAB_FIRST);

    *slab = (struct slab){.self = self};
    for (unsigned i = 0; i < TMEM_SLAB_PAGES; i++) {
        page[i].chain = slab->vacant;
        slab->vacant = &page[i];
    }
    list_init(&slab->link);
    list_push_front(&shard->slabs, &slab->link);
    return slab;
}

static struct tmem_page *descriptor_take(struct tmem_shard *shard)
{
    struct slab *slab = list_empty(&shard->slabs)
                            ? slab_new(shard)
                            : LIST_ENTRY(shard->slabs.next, struct slab, link);

    if (slab == NULL) {
        return NULL;
    }
    struct tmem_page *page = slab->vacant;

    slab->vacant = page->chain;
    slab->used++;
    if (slab->vacant == NULL) {
        list_remove(&slab->link);
    }
    return page;
}

static void descriptor_give(struct tmem_shard *shard, struct tmem_page *page)
{
    struct slab *slab = (struct slab *)((uintptr_t)page & ~(uintptr_t)(PAGE_SIZE - 1));

    if (slab->vacant == NULL) {
        list_push_front(&shard->slabs, &slab->link);
    }
    page->chain = slab->vacant;
    slab->vacant = page;
    if (--slab->used == 0) {
        list_remove(&slab->link);
        frame_free(slab->self);
    }
}

/* ---- ages ----------------------------------------------------------------------------------- */

static void note_oldest(struct tmem_shard *shard, enum tmem_age which)
{
    uint64_t stamp = TMEM_NEVER;

    if (!list_empty(&shard->age[which])) {
        stamp = LIST_ENTRY(shard->age[which].next, struct tmem_page, age)->stamp;
    }
    atomic_store_explicit(&shard->oldest[which], stamp, memory_order_relaxed);
}

void tmem_page_age(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    enum tmem_age which = tmem_page_persistent(page) ? TMEM_AGE_PERSISTENT : TMEM_AGE_EPHEMERAL;

    if (which == TMEM_AGE_PERSISTENT) {
        if (tmem_page_where(page) != TMEM_AT_FRAME) {
            return;
        }
        atomic_fetch_add_explicit(&tmem->resident, 1, memory_order_relaxed);
    }
    page->stamp = atomic_fetch_add_explicit(&tmem->clock, 1, memory_order_relaxed);
    list_push_back(&shard->age[which], &page->age);
    if (shard->age[which].next == &page->age) {
        note_oldest(shard, which);
    }
}

void tmem_page_unage(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    enum tmem_age which = tmem_page_persistent(page) ? TMEM_AGE_PERSISTENT : TMEM_AGE_EPHEMERAL;

    if (list_empty(&page->age)) {
        return;
    }
    list_remove(&page->age);
    note_oldest(shard, which);
    if (which == TMEM_AGE_PERSISTENT) {
        atomic_fetch_sub_explicit(&tmem->resident, 1, memory_order_relaxed);
    }
}

/* ---- pages ---------------------------------------------------------------------------------- */

static _Atomic uint64_t *held_count(struct tmem *tmem, bool persistent)
{
    return persistent ? &tmem->persistent : &tmem->ephemeral;
}

static void link_page(struct tmem_page **bucket, struct tmem_page **chain, struct tmem_page *page)
{
    page->chain = *bucket;
    *bucket = page;
    page->sibling = *chain;
    page->sibled = chain;
    if (page->sibling != NULL) {
        page->sibling->sibled = &page->sibling;
    }
    *chain = page;
}

/* `at` is what points to it in its bucket. */
static void unlink_page(struct tmem_page **at, struct tmem_page *page)
{
    *at = page->chain;
    *page->sibled = page->sibling;
    if (page->sibling != NULL) {
        page->sibling->sibled = page->sibled;
    }
}

struct tmem_page *tmem_page_add(struct tmem *tmem, struct tmem_shard *shard, uint64_t object_hash,
                                uint64_t hash, const struct tmem_handle *handle, bool persistent)
{
    struct tmem_page *page = descriptor_take(shard);

    if (page == NULL) {
        return NULL;
    }
    page->handle = *handle;
    page->value = persistent ? TMEM_VALUE_PERSISTENT : 0;
    tmem_page_set(page, TMEM_AT_LOST, 0);
    list_init(&page->age);
    link_page(bucket_of(tmem, shard, hash), chain_of(tmem, shard, object_hash), page);
    shard->pages++;
    atomic_fetch_add(&tmem_pool_at(tmem, handle->pool)->pages, 1);
    if (!persistent) { /* of a persistent page the caller has taken quota */
        atomic_fetch_add(&tmem->ephemeral, 1);
    }
    return page;
}

static void release_frame(struct tmem *tmem, struct tmem_page *page)
{
    pfn_t number = pfn(tmem_page_payload(page));
    struct frame *frame = frame_get(number);

    if (frame->flags & (FRAME_IO_WRITE | FRAME_IO_READ)) {
        tmem_io_cut(tmem, page);
        return;
    }
    if (frame->slot != FRAME_NONE) {
        store_slot_give(tmem->store, frame->slot);
    }
    frame_free(number);
}

void tmem_page_release(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    tmem_page_unage(tmem, shard, page);
    switch (tmem_page_where(page)) {
    case TMEM_AT_FRAME:
    case TMEM_AT_READING:
        release_frame(tmem, page);
        break;
    case TMEM_AT_SLOT:
        store_slot_give(tmem->store, (uint32_t)tmem_page_payload(page));
        break;
    case TMEM_AT_PATTERN:
    case TMEM_AT_LOST:
        break;
    }
    tmem_page_set(page, TMEM_AT_LOST, 0);
}

/* Released already, and out of its chains. */
static void free_page(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page)
{
    atomic_fetch_sub(held_count(tmem, tmem_page_persistent(page)), 1);
    atomic_fetch_sub(&tmem_pool_at(tmem, page->handle.pool)->pages, 1);
    shard->pages--;
    descriptor_give(shard, page);
}

void tmem_page_remove(struct tmem *tmem, struct tmem_shard *shard, uint64_t hash,
                      struct tmem_page *page)
{
    struct tmem_page **at = bucket_of(tmem, shard, hash);

    while (*at != page) {
        at = &(*at)->chain;
    }
    tmem_page_release(tmem, shard, page);
    unlink_page(at, page);
    free_page(tmem, shard, page);
}

/* ---- sweep ---------------------------------------------------------------------------------- */

/* Returns how many pages it looked at. */
static unsigned sweep_bucket(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page **bucket,
                             const struct tmem_match *match)
{
    unsigned looked = 0;

    while (*bucket != NULL) {
        struct tmem_page *page = *bucket;

        looked++;
        if (match->all || page->handle.pool == match->pool) {
            tmem_page_release(tmem, shard, page);
            unlink_page(bucket, page);
            free_page(tmem, shard, page);
        } else {
            bucket = &page->chain;
        }
    }
    return looked;
}

/* The shard's buckets from `at` on, until enough has been looked at.  Adds that to *looked; returns
 * where to go on.  The lock is held. */
static uint32_t sweep_shard(struct tmem *tmem, struct tmem_shard *shard, uint32_t at,
                            const struct tmem_match *match, unsigned *looked)
{
    uint32_t first = at;
    unsigned pages = 0;

    if (shard->pages == 0) {
        ++*looked;
        return tmem->buckets;
    }
    for (; at < tmem->buckets && at - first + pages < SWEEP_HOLD; at++) {
        if (shard->bucket[at] != NULL) {
            pages += sweep_bucket(tmem, shard, &shard->bucket[at], match);
        }
    }
    *looked += at - first + pages;
    return at;
}

bool tmem_sweep(struct tmem *tmem, const struct tmem_match *match, uint32_t *position)
{
    uint32_t end = TMEM_SHARDS * tmem->buckets;
    unsigned looked = 0;

    while (*position < end && looked < SWEEP_BUDGET) {
        uint32_t base = ALIGN_DOWN(*position, tmem->buckets);
        struct tmem_shard *shard = &tmem->shard[base / tmem->buckets];

        spin_lock(&shard->lock);
        *position = base + sweep_shard(tmem, shard, *position - base, match, &looked);
        spin_unlock(&shard->lock);
    }
    return *position >= end;
}

/* The object's pages in the shard, up to as many as the lock may be held for; true: that was all.
 * Others in the chain are there by chance: the seed is unknown to the guest. */
static bool sweep_chain(struct tmem *tmem, struct tmem_shard *shard, uint64_t object_hash,
                        const struct tmem_handle *handle, unsigned *looked)
{
    struct tmem_page *page = *chain_of(tmem, shard, object_hash), *next;
    unsigned removed = 0;

    for (; page != NULL && removed < SWEEP_HOLD; page = next) {
        next = page->sibling;
        ++*looked;
        if (same_object(page->handle.object, handle->object) && page->handle.pool == handle->pool) {
            tmem_page_remove(tmem, shard, tmem_page_hash(object_hash, page->handle.index), page);
            removed++;
        }
    }
    return page == NULL;
}

bool tmem_object_sweep(struct tmem *tmem, const struct tmem_handle *handle, uint32_t *position)
{
    uint64_t object_hash = tmem_object_hash(tmem, handle);
    unsigned looked = 0;

    while (*position < TMEM_SHARDS && looked < SWEEP_BUDGET) {
        struct tmem_shard *shard = &tmem->shard[*position];

        spin_lock(&shard->lock);
        if (sweep_chain(tmem, shard, object_hash, handle, &looked)) {
            ++*position;
        }
        spin_unlock(&shard->lock);
        looked++;
    }
    return *position >= TMEM_SHARDS;
}
