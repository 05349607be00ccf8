/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem from the inside: shared by the tmem_*.c and pager.c.
 *
 *     tmem -> shard[hash] -> table of pages (tmem/table.c)          one lock per shard
 *                         -> age lists, oldest first: ephemeral pages; persistent pages in frames
 *
 * A page's place is as of mm/content/place.h.  A frame belongs to its page, which it knows by its
 * rmap: number of the shard, address of the descriptor.  frame->slot is a slot that holds the same
 * bytes (a clean copy), frame->when_ns when it was read for a get that has not come yet; 0: never.
 *
 * A pointer to a page is good until the shard's lock is dropped, or a page of the shard is removed:
 * the last descriptor then moves.
 */
#ifndef SPILLWAY_MM_TMEM_INTERNAL_H
#define SPILLWAY_MM_TMEM_INTERNAL_H

#include <stdatomic.h>

#include "base/block.h"
#include "base/list.h"
#include "base/lock.h"
#include "mm/content/place.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_array.h"
#include "mm/owner/owner.h"
#include "mm/owner/rmap.h"
#include "mm/owner/waiter.h"
#include "mm/tmem/tmem.h"

#define TMEM_SHARDS 32u

#define TMEM_VALUE_KIND       BITS(63, 60) /* of the place */
#define TMEM_VALUE_PERSISTENT BIT(59)
#define TMEM_VALUE_FIRST      BIT(58)     /* of its object in the shard: tmem/table.c */
#define TMEM_VALUE_PAYLOAD    BITS(55, 0) /* of the place */

struct tmem_page {
    struct tmem_page *chain;   /* next in the bucket */
    struct tmem_page *sibling; /* next of the same object */
    union {
        struct tmem_page **sibled; /* what points to this one there ... */
        struct tmem_page
            *next_object; /* ... or if it is the first: of the next object in the bucket */
    };
    struct list age; /* in shard->age[] or in none */
    struct tmem_handle handle;
    uint64_t object_hash;
    uint64_t value; /* TMEM_VALUE_* */
    uint64_t stamp; /* when it was put */
};

#define TMEM_FRAME_PAGES ((uint32_t)(PAGE_SIZE / sizeof(struct tmem_page)))
_Static_assert(sizeof(struct tmem_page) == 96, "42 to a frame");

struct tmem_bucket {
    struct tmem_page *pages, *objects;
};

#define TMEM_FRAME_BUCKETS ((uint32_t)(PAGE_SIZE / sizeof(struct tmem_bucket)))

/* The age lists of a shard. */
enum tmem_age {
    TMEM_AGE_EPHEMERAL,
    TMEM_AGE_PERSISTENT, /* in a frame, no I/O in flight */
    TMEM_AGES,
};

#define TMEM_NEVER UINT64_MAX

struct tmem_shard {
    struct spinlock lock;             /* all of the rest, and what is in it */
    struct frame_array bucket_frames; /* struct tmem_bucket */
    struct frame_array page_frames;   /* struct tmem_page */
    uint32_t buckets;                 /* in use ... */
    uint32_t bucket_mask;             /* ... and the bits that number so many, or more */
    uint32_t pages;
    uint16_t number; /* constant */
    struct list age[TMEM_AGES];
    _Atomic uint64_t oldest[TMEM_AGES]; /* stamp of the first; TMEM_NEVER: none.  Read as a hint */
} __attribute__((aligned(64)));

/* tmem_pool.state: id in 31:0, phase above. */
#define POOL_ID      BITS(31, 0)
#define POOL_FREE    (0ull << 32) /* id: the next one */
#define POOL_SETUP   (1ull << 32)
#define POOL_LIVE    (2ull << 32)
#define POOL_DYING   (3ull << 32) /* no new operations; its pages are being swept */
#define POOL_RETIRED (4ull << 32) /* all ids of this place have been used */

struct tmem_pool {
    _Atomic uint64_t state;
    uint32_t flags; /* constant while LIVE */
    _Atomic uint64_t pages;
    _Atomic uint64_t count[TMEM_COUNTERS];
};

struct tmem {
    struct page_owner owner; /* of its pages */
    struct space *space;     /* constant, as all down to `shard` */
    uint64_t seed;
    uint64_t ephemeral_max;
    pfn_t self;
    struct frame_array parts; /* what the following are cut from */
    struct tmem_pool *pool[TMEM_POOLS];
    struct tmem_shard *shard[TMEM_SHARDS];

    _Atomic uint64_t quota, persistent, ephemeral, resident;
    _Atomic uint32_t shares;
    _Atomic uint64_t clock;               /* of the stamps */
    _Atomic uint64_t past[TMEM_COUNTERS]; /* of pools that are gone */

    /* The pager's (under its lock) */
    unsigned place;
    uint32_t cluster, cluster_next;
    bool no_store_room;                         /* reported */
    uint32_t copies_tightened, copies_position; /* as in struct space */
    /* Tear-down */
    uint32_t drain_position;
};

_Static_assert(sizeof(struct tmem) <= PAGE_SIZE, "a tmem fits a frame");

/* ---- values --------------------------------------------------------------------------------- */

static inline struct place tmem_page_place(const struct tmem_page *page)
{
    return place((enum place_kind)FIELD_GET(TMEM_VALUE_KIND, page->value),
                 page->value & TMEM_VALUE_PAYLOAD);
}

static inline bool tmem_page_persistent(const struct tmem_page *page)
{
    return page->value & TMEM_VALUE_PERSISTENT;
}

static inline void tmem_page_set(struct tmem_page *page, struct place at)
{
    page->value = (page->value & (TMEM_VALUE_PERSISTENT | TMEM_VALUE_FIRST)) |
                  FIELD_PREP(TMEM_VALUE_KIND, at.kind) | (at.payload & TMEM_VALUE_PAYLOAD);
}

/* The frame of a page holds that page. */
static inline void tmem_page_bind(const struct tmem_shard *shard, struct tmem_page *page,
                                  pfn_t frame)
{
    rmap_set(frame_get(frame), shard->number, (uint64_t)(uintptr_t)page);
}

static inline struct tmem_pool *tmem_pool_at(struct tmem *tmem, uint32_t id)
{
    return tmem->pool[id % TMEM_POOLS];
}

static inline bool tmem_pool_live(const struct tmem_pool *pool, uint32_t id)
{
    return atomic_load(&pool->state) == (POOL_LIVE | id);
}

static inline void tmem_count(struct tmem_pool *pool, enum tmem_counter counter)
{
    atomic_fetch_add_explicit(&pool->count[counter], 1, memory_order_relaxed);
}

/* ---- tmem/table.c: all with the shard's lock held ------------------------------------------- */

/* A handle's hash, in two steps: of its pool and object, and that with its index. */
uint64_t tmem_object_hash(const struct tmem *tmem, const struct tmem_handle *handle);
uint64_t tmem_page_hash(uint64_t object_hash, uint32_t index);
static inline uint64_t tmem_hash(const struct tmem *tmem, const struct tmem_handle *handle)
{
    return tmem_page_hash(tmem_object_hash(tmem, handle), handle->index);
}
struct tmem_shard *tmem_shard_of(struct tmem *tmem, uint64_t hash);
struct tmem_page *tmem_find(const struct tmem_shard *shard, uint64_t hash,
                            const struct tmem_handle *handle);
/* Some page of the handle's object; NULL: the shard has none. */
struct tmem_page *tmem_find_object(const struct tmem_shard *shard, uint64_t object_hash,
                                   const struct tmem_handle *handle);
/* All pages: numbers 0 .. shard->pages - 1. */
struct tmem_page *tmem_page_at(const struct tmem_shard *shard, uint32_t number);

/* False: no memory. */
bool tmem_table_init(struct tmem_shard *shard);
/* Of a table without pages. */
void tmem_table_free(struct tmem_shard *shard);
/* A descriptor that is found from now on; NULL: no memory (`promise`: as for
 * frame_alloc_promised()).
 */
struct tmem_page *tmem_table_add(struct tmem_shard *shard, uint64_t object_hash,
                                 const struct tmem_handle *handle, struct frame_promise *promise);
/* Frees the descriptor, of a page without storage; the last one of the shard takes its place. */
void tmem_table_remove(struct tmem_shard *shard, struct tmem_page *page);
/* Frames that the tables of a tmem with so many pages take at most. */
uint64_t tmem_table_cost(uint64_t pages);

/* ---- tmem/page.c: likewise ------------------------------------------------------------------ */

/* A page without storage that is found from now on, counted; NULL: no memory for a descriptor. */
struct tmem_page *tmem_page_add(struct tmem *tmem, struct tmem_shard *shard, uint64_t object_hash,
                                const struct tmem_handle *handle, bool persistent,
                                struct mm_waiter *waiter);
/* Frees its storage and leaves it LOST, on no list. */
void tmem_page_release(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page);
/* Releases, takes it out of the table and frees it. */
void tmem_page_remove(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page);
/* The page, in the state it now has, becomes the youngest of its age list, if it belongs on one. */
void tmem_page_age(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page);
/* Takes it off its list, if it is on one. */
void tmem_page_unage(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page);

/* What a sweep removes: all pages, or those of a pool. */
struct tmem_match {
    bool all;
    uint32_t pool;
};
/* Sweeps on from *position; true: through.  Takes the shards' locks. */
bool tmem_sweep(struct tmem *tmem, const struct tmem_match *match, uint32_t *position);
/* The same for the pages of one object, without looking at any others. */
bool tmem_object_sweep(struct tmem *tmem, const struct tmem_handle *handle, uint32_t *position);

/* ---- tmem/io.c ------------------------------------------------------------------------------ */

extern const struct page_owner_ops tmem_pages;

/* SLOT -> READING, for that waiter, or ahead of one (NULL).  False: there is no frame or no
 * request.  The shard's lock is held. */
bool tmem_io_read(struct tmem *tmem, struct tmem_shard *shard, struct tmem_page *page,
                  struct mm_waiter *waiter);

/* ---- for the pager: its lock is held -------------------------------------------------------- */

/* Drops ephemeral pages, oldest first, until `target` frames are free or enough has been done for
 * one step: pages of one word have no frame.  Returns how many pages went. */
unsigned tmem_evict(struct tmem *tmem, unsigned target);
/* Drops the oldest ephemeral page of the shard; false: it has none.  The shard's lock is held. */
bool tmem_evict_one(struct tmem *tmem, struct tmem_shard *shard);
/* Lets up to `target` frames of persistent pages go, oldest first; returns how many left or are
 * leaving. */
unsigned tmem_write_out(struct tmem *tmem, unsigned target);

/* As copies_step() of a space. */
bool tmem_copies_step(struct tmem *tmem);

/* pager.c: puts it under the pager; false: too many. */
bool pager_add_tmem(struct tmem *tmem);
/* On return the pager does not look at it and never will. */
void pager_remove_tmem(struct tmem *tmem);

#endif
