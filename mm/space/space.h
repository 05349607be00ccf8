/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest-physical address space: memslots, the second-level table that is the one truth about
 * where each page is, and the operations on it.
 *
 *     space -> memslots  [ base .. base+pages )  flags, backing
 *           -> table  leaf entry of a page = one of
 *                 FRAME    present: resident in a frame
 *                 a place elsewhere: mm/content/place.h
 *
 * Life: space_create, space_add_memslot..., use, space_close (no new faults are answered), then
 * space_drain until it returns true (in-flight I/O has ended, everything is freed), space_free.
 *
 * Locks: one spinlock per space (RANK_SPACE) for its table, generation lists and counters.
 */
#ifndef SPILLWAY_MM_SPACE_SPACE_H
#define SPILLWAY_MM_SPACE_SPACE_H

#include "base/types.h"
#include "mm/owner/waiter.h"

struct space;
struct store;
struct table_format;

enum mm_result {
    MM_OK,   /* done */
    MM_WAIT, /* nothing has changed; the waiter is registered and will be woken: try again then */
    MM_NO_MEMSLOT, /* no memslot owns that address */
    MM_LOST,       /* the page cannot be had any more (store error); the VM must be failed */
};

struct space_config {
    const char *name;                  /* of the VM, for messages; must outlive the space */
    const struct table_format *format; /* of the backend */
    struct store *store;               /* where pages go; NULL: nowhere */
    uint64_t min_pages;                /* never reclaimed below this many resident pages */
    uint64_t max_pages;                /* resident at most; 0: no limit */
    uint64_t working_pages; /* nor taken for others below min and so many: what it needs to go on */
    uint32_t shares;        /* weight when memory is short; 100 is usual */
};

#define MEMSLOT_PINNED BIT(0) /* never paged */

#define SPACE_DISKS 16u /* of which pages may be copies */

/* A block of 4 KiB on one of them; see space_unpin_pages() for `epoch`. */
struct space_block {
    unsigned disk;
    uint64_t block;
    uint32_t epoch;
};

struct space_stats {
    uint64_t memory; /* == resident + hole + pattern + compressed + stored + disk + transit */
    uint64_t resident, hole, pattern, compressed, stored, disk, transit;
    uint64_t shared, wss;
    uint64_t faults, faults_zero, page_ins, page_outs, clean_drops, refaults;
    uint64_t readahead, readahead_hits;
    uint64_t discards; /* pages that became holes because the guest did not want them */
    uint64_t disk_drops, disk_reads; /* pages that were dropped for a block, and read back */
    uint64_t false_reads_avoided;    /* of pages that were about to be overwritten */
    uint64_t table_pages;
    uint64_t
        age_histogram[8]; /* resident pages by idle age, in scan periods: 0, 1, 2, 3-4, 5-8, ... */
};

/* Frames beside its pages that a space of so many pages in so many memslots needs at most: to be
 * made, and in all. */
uint64_t space_create_cost(uint64_t pages, unsigned memslots);
uint64_t space_overhead(uint64_t pages, unsigned memslots);
/* NULL: out of memory.  The waiter code and config strings are the caller's. */
struct space *space_create(const struct space_config *config);
/* Page-aligned, must not overlap another memslot.  Before the first fault.  False: bad range or
 * memory. */
bool space_add_memslot(struct space *space, gfn_t base, uint64_t pages, uint32_t flags);
/* Root of the second-level table, for EPTP or nCR3. */
pfn_t space_root(const struct space *space);
/* TLB generation, raised by mm_tlb_shootdown()'s implementation (hv/run/tlb.c). */
_Atomic uint64_t *space_flush_gen(struct space *space);

/*
 * A guest access (ACCESS_*) at that page faulted.
 * MM_OK: the access will succeed when it is tried again.
 */
enum mm_result space_fault(struct space *space, gfn_t page, unsigned access,
                           struct mm_waiter *waiter);
/*
 * Copies between hypervisor memory and guest memory; the range may cross pages and be paged out.
 * All or nothing: on MM_WAIT, MM_NO_MEMSLOT and MM_LOST no byte of guest memory has changed.
 * At most 4096 bytes.  space_read of a hole does not allocate.
 */
enum mm_result space_read(struct space *space, gpa_t from, void *to, size_t bytes,
                          struct mm_waiter *waiter);
enum mm_result space_write(struct space *space, gpa_t to, const void *from, size_t bytes,
                           struct mm_waiter *waiter);
/* Atomic compare-and-exchange of 4 or 8 aligned bytes of guest memory.  *expected gets the old
 * value; *done says whether it was exchanged.  For emulated locked instructions and A/D bits. */
enum mm_result space_cmpxchg(struct space *space, gpa_t at, size_t bytes, uint64_t *expected,
                             uint64_t desired, bool *done, struct mm_waiter *waiter);
/* Would a fault at that page have to read from a disk? */
bool space_has_to_read(struct space *space, gfn_t page);
/*
 * The guest writes to all of a page: `word`, again and again, or what another page of the space
 * holds.  Then what it held is not read.  *done says whether it was written: not if the page is in
 * a frame, or comes to one without I/O, or if the other one is not at hand.  A page that is in no
 * memslot is not; that is no error.
 */
enum mm_result space_overwrite(struct space *space, gfn_t page, uint64_t word,
                               struct mm_waiter *waiter, bool *done);
enum mm_result space_overwrite_copy(struct space *space, gfn_t page, gfn_t from,
                                    struct mm_waiter *waiter, bool *done);

struct gfn_range {
    gfn_t first;
    uint64_t pages;
};

/*
 * The guest does not want what is in these pages any more, wherever it is: each becomes a hole,
 * which reads as zeroes.  Its frame is free at once, or when its I/O has ended; nothing of it is
 * written from now on.  Large pages go in one piece.
 *
 * A page stays as it is if it is pinned, in no memslot, or in a large page that is discarded in
 * part while there is no frame for a table.  Returns how many pages of the ranges are holes now.
 * Takes the space's lock for a bounded number of pages at a time; the time grows with the pages
 * that are not holes.  No locks at or above RANK_SPACE held.
 */
uint64_t space_discard(struct space *space, const struct gfn_range *ranges, unsigned count);

/* Does the address belong to a memslot? */
bool space_owns(const struct space *space, gfn_t page);

/* Beside ACCESS_* of a pin. */
#define SPACE_PIN_OVERWRITE BIT(8) /* all of it will be written: what it held need not come */
#define SPACE_PIN_LASTING   BIT(9) /* for long: of a large page, the others shall not be held too */
#define SPACE_PIN_COPY      BIT(10) /* it may end as a copy: all of it is a block then */

/*
 * Holds pages in their frames until space_unpin_pages(): a device, or the hypervisor by
 * mm_frame_ptr(), may use their bytes at any time, with no lock.  `how`: ACCESS_* as in
 * space_fault(), and the above.  As many of them, in that order, as are in their frames anyhow: the
 * first one that had to come is the last one of the call, since the waiter's turn is for one, and
 * so is one for which a large page had to be split.  Returns how many are pinned now, frames[] of
 * each; *result of the one behind them, which cannot be had now, or MM_OK: call again for the rest,
 * if there is any.
 *
 * The caller bounds how many pins it has: those of requests to a disk end with them, and lasting
 * ones are part of what admission reckons for a VM.  It does not hold one while it waits for
 * another (MM_WAIT): then all could be waiting.
 */
unsigned space_pin_pages(struct space *space, const gfn_t *pages, unsigned count, unsigned how,
                         pfn_t *frames, struct mm_waiter *waiter, enum mm_result *result);
/* Of one page. */
static inline enum mm_result space_pin(struct space *space, gfn_t page, unsigned how, pfn_t *frame,
                                       struct mm_waiter *waiter)
{
    enum mm_result result;

    space_pin_pages(space, &page, 1, how, frame, waiter, &result);
    return result;
}
/*
 * Ends pins.  `written`: their bytes may have changed.  With a block, each page that nobody else
 * has written to since is a copy of one: the first page of that block, the next one of the next,
 * and so on.  They may be dropped when the disk has been flushed up to its epoch; 0: at once. NULL:
 * none is a copy.  Also when the space is closed, which is not drained before.  Any CPU; locks
 * below RANK_SPACE may be held.
 */
void space_unpin_pages(struct space *space, const gfn_t *pages, unsigned count, bool written,
                       const struct space_block *block);
/* Of one page, which is no copy. */
static inline void space_unpin(struct space *space, gfn_t page, bool written)
{
    space_unpin_pages(space, &page, 1, written, NULL);
}

/*
 * Disk identity (mm/space/identity.h).
 *
 * A device moves a page to or from a block of a disk:
 *     space_disk_overwrite()   if it writes to the disk: before anything else
 *     space_pin_pages()        with SPACE_PIN_COPY
 *     space_watch()            when all pages are pinned, before the transfer
 *     space_unpin_pages()      with the block, if it has gone well and no other one touched that
 *                              meanwhile
 *
 * space_add_disk(): the disk's number, behind the memslots and before the first fault; -1: no
 * memory, or too many.  `store`: of store_open_disk().
 */
int space_add_disk(struct space *space, struct store *store);
/* Frames that the disks of a space of so many pages cost. */
uint64_t space_disks_cost(uint64_t pages);
/*
 * So many blocks of the disk are about to change: pages that are copies of them stop to be, and
 * what was dropped for them comes in.  MM_WAIT, MM_LOST: as in space_pin(), of the page *lost.  On
 * MM_OK no page stands for any of the blocks, until a transfer that ends later says so.
 */
enum mm_result space_disk_overwrite(struct space *space, unsigned disk, uint64_t block,
                                    uint64_t blocks, struct mm_waiter *waiter, gfn_t *lost);
/* CPUs see the D bits as they are. */
void space_watch(struct space *space);
/* What was written before the end of that epoch is in stable storage. */
void space_disk_flushed(struct space *space, unsigned disk, uint32_t epoch);
/* What was written since the last flush, up to that epoch, may be lost. */
void space_disk_not_flushed(struct space *space, unsigned disk, uint32_t epoch);

/*
 * A page that no memslot owns reads as ones and can be written, until space_take_ones(): for
 * one instruction of a vCPU that touches what is not there.  The frame behind it is one for the
 * whole space, so one vCPU at a time.  MM_WAIT: memory is short; MM_NO_MEMSLOT: beyond what a table
 * can map.
 */
enum mm_result space_lend_ones(struct space *space, gfn_t page, struct mm_waiter *waiter);
/* Nothing is there again, whatever was written is forgotten, no CPU has a translation.  Pages that
 * have been lent, each once. */
void space_take_ones(struct space *space, const gfn_t *pages, unsigned count);

/* Evicts that page, as reclaim does with one that is old, if it is resident and can go.  True: it
 * is in no frame any more; false: not yet, call again when writes have ended.  For tests: the test
 * device (hv/vdev/testdev.c). */
bool space_evict(struct space *space, gfn_t page);

void space_set_limits(struct space *space, uint64_t min_pages, uint64_t max_pages, uint32_t shares);
void space_get_stats(struct space *space, struct space_stats *stats);

/* See "Life" above. */
void space_close(struct space *space);
bool space_drain(struct space *space);
void space_free(struct space *space);

#endif
