/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests to a paging store: a run of neighbouring slots, read into frames or written from them.
 *
 * Whoever pages (spaces, tmem) says what to move, and is told of each page how it ended; that a
 * request is split, verified, held back while the disk is away and tried again is decided here,
 * once.
 *
 * A failure of the disk that passes costs time.  A page ends badly when its slot fails again and
 * again while the rest of the disk is well (STORE_BAD_SLOT), or when nothing has succeeded for
 * STORE_PATIENCE_NS (STORE_GIVEN_UP): so every request ends.
 *
 * Life of a request: its owner's; store_io_init_request() once, then store_io_submit(), and again
 * when it has ended.
 * Locks: RANK_STORE, inside.  store_io_submit() may be called with locks below it held; `ended` is
 * called without any.
 */
#ifndef SPILLWAY_MM_CONTENT_STORE_IO_H
#define SPILLWAY_MM_CONTENT_STORE_IO_H

#include "base/block.h"
#include "mm/content/store.h"

#define STORE_PATIENCE_NS 180000000000ull

enum store_answer {
    STORE_DONE,     /* read, and as it was written; or written */
    STORE_BAD_SLOT, /* this slot cannot be read or written */
    STORE_GIVEN_UP, /* the disk cannot, for too long */
};

struct store_io;

struct store_io_owner {
    /*
     * Those pages (bit i: frame[i]) have ended so.  When io->left is 0 that was all: the request is
     * the owner's again, from inside this call on.  Called once for each page, never from inside
     * submit.
     */
    void (*ended)(struct store_io *io, uint64_t pages, enum store_answer answer);
    /* Does nobody want the pages any more?  Then they end at once, instead of being tried again. */
    bool (*unwanted)(struct store_io *io);
};

struct store_io {
    struct block_request request; /* op: the owner's */
    struct list link;
    const struct store_io_owner *owner;
    struct store *store;
    uint32_t slot;  /* of frame[0]; the owner's, as the next two */
    uint32_t count; /* 1 .. BLOCK_MAX_PAGES */
    uint32_t frame[BLOCK_MAX_PAGES];
    uint64_t left;    /* pages that have not ended */
    uint32_t first;   /* of those in flight */
    uint32_t outages; /* of the way, when it failed */
    uint8_t tries;    /* of one page, alone, that failed while the disk was well */
    bool single;      /* page by page */
    bool failed;      /* waits because the disk failed it */
    uint64_t due_ns;  /* not tried again before */
};

void store_io_init_request(struct store_io *io, const struct store_io_owner *owner);
/* op, slot, count and frame[] are set.  Never fails and never waits. */
void store_io_submit(struct store *store, struct store_io *io);
/* May new writes be begun?  Not while those that were have to wait.  A hint, no lock taken. */
bool store_takes_writes(const struct store *store);

/* One bounded step for every store: probes, and requests that are due again.  Main loop. */
void store_io_poll(uint64_t now_ns);
/* When store_io_poll() wants to be called next; UINT64_MAX: not needed.  No lock taken. */
uint64_t store_io_deadline(uint64_t now_ns);

#endif
