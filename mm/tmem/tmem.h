/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem: pages that a guest hands to the hypervisor by hypercall, in pools of its own.
 *
 *     handle (pool, object, index) -> page -> one of
 *                 PATTERN  one repeated 64-bit word, no frame
 *                 FRAME    in a frame (ALLOC_TMEM)
 *                 SLOT     in the paging store           (persistent pools only)
 *                 READING  on its way back from there
 *                 LOST     could not be read back
 *
 * Pages of a persistent pool stay until they are flushed, and count against the VM's quota, which
 * is part of what it was promised.  Pages of an ephemeral pool may vanish at any time: they are the
 * first memory that the pager takes.
 *
 * Life: tmem_create with its VM, use, tmem_close (the pager leaves it alone; no more calls),
 * tmem_drain until it returns true, tmem_free.  The VM's space must outlive it.
 *
 * Locks: one per shard of the table of pages (RANK_TMEM), taken inside; no lock is shared by all
 * operations of a VM, let alone by all VMs.  Pools are found without a lock: an operation looks at
 * the pool's state again when it holds its shard's lock, and a pool that is destroyed is marked
 * dead before the shards are swept one by one, so that nothing can be put behind the sweeper's
 * back.
 */
#ifndef SPILLWAY_MM_TMEM_TMEM_H
#define SPILLWAY_MM_TMEM_TMEM_H

#include "mm/space/space.h"

#define TMEM_POOLS 64u /* of one VM at a time */

#define TMEM_PERSISTENT 0x1u
#define TMEM_SHARED_GET 0x2u /* ephemeral: a get does not remove the page */

struct tmem;

struct tmem_config {
    const char *name;    /* of the VM, for messages; must outlive the tmem */
    struct space *space; /* the VM's memory */
    struct store *store; /* NULL: none */
    uint64_t quota;      /* pages that persistent pools may hold */
    uint64_t
        ephemeral_max; /* pages that the others may hold: more than the VM can use is of no use */
    uint32_t shares;   /* weight when memory is short */
    uint64_t seed;     /* of the hash: unknown to the guest, so that it cannot make chains long */
};

/* No padding: it is hashed as it stands. */
struct tmem_handle {
    uint64_t object[3];
    uint32_t pool;
    uint32_t index;
};
_Static_assert(sizeof(struct tmem_handle) == 32, "hashed as it stands");

enum tmem_result {
    TMEM_OK,
    TMEM_WAIT,     /* nothing has changed; the waiter is registered: call again when it is woken */
    TMEM_AGAIN,    /* a part is done: call again soon, with the same *position */
    TMEM_MISS,     /* no such page */
    TMEM_REFUSED,  /* put, create: quota or memory; nothing is kept */
    TMEM_BAD_POOL, /* no such pool */
    TMEM_FAULT,    /* the address is not the guest's memory */
    TMEM_BROKEN,   /* the store could not give the page back */
    TMEM_LOST,     /* the guest's own memory cannot be had (MM_LOST): the VM must be failed */
};

/* How an access to the guest's memory ended, in tmem's words. */
enum tmem_result tmem_of_memory(enum mm_result result);

enum tmem_counter {
    TMEM_PUTS, /* accepted */
    TMEM_GETS, /* == hits + misses + those that failed */
    TMEM_HITS,
    TMEM_MISSES,
    TMEM_REFUSALS,
    TMEM_EVICTIONS, /* ephemeral pages that were taken */
    TMEM_COUNTERS,
};

struct tmem_stats {
    uint64_t quota, persistent, ephemeral; /* pages */
    uint64_t resident;                     /* persistent pages in frames */
    uint64_t pools;
    uint64_t count[TMEM_COUNTERS];
};

struct tmem_pool_stats {
    uint32_t id, flags;
    uint64_t pages;
    uint64_t count[TMEM_COUNTERS];
};

/* Frames that it takes to make one, and pages beside the quota that a VM's tmem may need in all:
 * descriptors, table, requests.  0 for 0. */
uint64_t tmem_create_cost(uint64_t quota);
uint64_t tmem_overhead(uint64_t quota);
/* NULL: no memory, or too many. */
struct tmem *tmem_create(const struct tmem_config *config);
void tmem_close(struct tmem *tmem);
/* One bounded step; false: call again, I/O is in flight or pages are left. */
bool tmem_drain(struct tmem *tmem);
void tmem_free(struct tmem *tmem);

/* False, and nothing changes: persistent pools hold more than that already. */
bool tmem_set_quota(struct tmem *tmem, uint64_t quota);
uint64_t tmem_quota(const struct tmem *tmem);
void tmem_set_shares(struct tmem *tmem, uint32_t shares);
void tmem_get_stats(struct tmem *tmem, struct tmem_stats *stats);
/* Of the pool at that place, 0 .. TMEM_POOLS - 1; false: there is none. */
bool tmem_get_pool_stats(struct tmem *tmem, unsigned place, struct tmem_pool_stats *stats);

/* ---- what a guest can ask for; any value of handle and address is safe ---- */

/* Flags are valid ones.  TMEM_OK with *id, or TMEM_REFUSED.  An id is never used twice. */
enum tmem_result tmem_pool_create(struct tmem *tmem, uint32_t flags, uint32_t *id);
/*
 * These three take steps: *position is 0 at first, and is kept by the caller while the answer is
 * TMEM_AGAIN.
 */
enum tmem_result tmem_pool_destroy(struct tmem *tmem, uint32_t id, uint32_t *position);
enum tmem_result tmem_pool_flush(struct tmem *tmem, uint32_t id, uint32_t *position);
enum tmem_result tmem_object_flush(struct tmem *tmem, const struct tmem_handle *handle,
                                   uint32_t *position);
enum tmem_result tmem_page_flush(struct tmem *tmem, const struct tmem_handle *handle);
/*
 * Copies the page at `from` (page-aligned) in.  Whatever fails but TMEM_WAIT and TMEM_BAD_POOL
 * has dropped what the handle held before: stale data is never read.
 */
enum tmem_result tmem_put(struct tmem *tmem, const struct tmem_handle *handle, gpa_t from,
                          struct mm_waiter *waiter);
/* Copies the page out to `to` (page-aligned).  An exclusive page goes only after that. */
enum tmem_result tmem_get(struct tmem *tmem, const struct tmem_handle *handle, gpa_t to,
                          struct mm_waiter *waiter);
/* A get is going to come: starts reading the page if it is in the store and that can be done now.
 */
void tmem_prefetch(struct tmem *tmem, const struct tmem_handle *handle);

#endif
