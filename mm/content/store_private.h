/* SPDX-License-Identifier: BSD-2-Clause */
/* A store from the inside: shared by store.c (slots), store_io.c (requests) and store_health.c, and
 * by nobody else. */
#ifndef SPILLWAY_MM_CONTENT_STORE_PRIVATE_H
#define SPILLWAY_MM_CONTENT_STORE_PRIVATE_H

#include "base/block.h"
#include "base/lock.h"
#include "base/log.h"
#include "mm/content/store_internal.h"

struct store_way {
    enum store_health health;
    bool probing;        /* the probe is in flight */
    uint32_t outages;    /* probes that failed, ever */
    uint64_t since_ns;   /* not WELL since then */
    uint64_t bad_ns;     /* the first failure since the last request that succeeded; 0: none */
    uint32_t bad_slots;  /* given up since then, the last one ... */
    uint64_t bad_block;  /* ... at this block of the device */
    uint64_t probe_ns;   /* when the next probe is due */
    uint64_t backoff_ns; /* until the one after it */
    struct list waiting; /* of store_io.link: those that have failed, and those that came since */
    struct block_request probe;
};

struct store {
    struct spinlock lock; /* everything below but sums and the constants */
    struct block_device *device;
    const char *kind;    /* constant, for messages */
    uint32_t first;      /* constant: block of slot 0 */
    uint32_t slots;      /* constant */
    uint32_t clusters;   /* constant */
    uint64_t *used;      /* bit per slot; bits beyond the end are set */
    uint64_t *owned;     /* bit per cluster */
    uint64_t **sums;     /* XXH64 of each slot: written by the slot's owner; NULL: there are none */
    uint32_t slots_used; /* without the retired ones */
    uint32_t retired;
    bool tight;         /* see store_is_tight() */
    uint32_t tightened; /* how often it became so */
    uint32_t next_slot; /* where the search for any slot goes on */
    uint32_t next_cluster;
    uint32_t cluster_retry; /* none was found: not searched again before so few slots are used */
    uint64_t reads, writes, read_pages, written_pages, errors;
    uint64_t probe_block;    /* constant: the last one, which no slot uses */
    pfn_t probe_frame[2];    /* constant: what probes read into and write from */
    pfn_t self;              /* constant */
    uint32_t meta;           /* constant: memory of its own, linked by frame->next */
    struct store_way way[2]; /* BLOCK_READ, BLOCK_WRITE */
    struct store *next;      /* constant: of all stores */
    struct store *next_disk; /* constant: of those that are guests' disks, store_disk.c */
};

_Static_assert(sizeof(struct store) <= PAGE_SIZE, "a store fits a frame");

#define STORE_BACKOFF_MAX_NS 2000000000ull /* probes are never further apart */
#define STORE_FULL_SLOTS     16u /* given up one after the other, and none written between */

static inline struct store_way *store_way_of(struct store *store, enum block_op op)
{
    ASSERT(op <= BLOCK_WRITE);
    return &store->way[op];
}

/* store_health.c.  A request that way has failed.  The store's lock is held. */
void store_way_doubt(struct store_way *way, uint64_t now);
/* One has succeeded. */
void store_way_is_good(struct store *store, enum block_op op);
/* Probes, if it is time to. */
void store_way_poll(struct store *store, enum block_op op, uint64_t now);
/* What there is to tell. */
void store_health_get_stats(const struct store *store, struct store_stats *stats);

/* store_disk.c: it is closed, if it is a guest's disk. */
void store_disk_forget(const struct store *store);

/* store_io.c: sets up what it needs, and makes the store known to store_io_poll(). */
void store_io_init(struct store *store);
/* The reverse. */
void store_io_forget(struct store *store);

#endif
