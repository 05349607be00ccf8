/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page I/O: a run of neighbouring store slots and the frames that they are read into or written
 * from, with those who wait for it.
 *
 * How a request is sent, verified and tried again is mm/content/store_io.h's.  Frames of a read
 * know their page_io by frame->io.  A page_io belongs to one space from get to completion, and
 * space->ios counts them.
 *
 * Locks: the pool has its own (RANK_PAGE_IO), taken inside.  Everything else is under the lock of
 * the space; completion runs from block_poll() or store_io_poll() and takes it.
 */
#ifndef SPILLWAY_MM_SPACE_PAGE_IO_H
#define SPILLWAY_MM_SPACE_PAGE_IO_H

#include "mm/content/store_io.h"
#include "mm/space/space_internal.h"

struct page_io {
    struct store_io io;  /* slot, count and frame[] are the caller's */
    struct list link;    /* in the pool's list while free */
    struct list waiters; /* mm/space/wait.h */
    struct space *space;
    uint32_t wanted;     /* read: index of the page that was asked for, the others come along */
    uint32_t wanted_how; /* FAULT_* */
};

/* NULL: none is free (for writes a share is left to reads, for reads what others are served with),
 * or the store takes no writes now.  The space's lock is held. */
struct page_io *page_io_get(struct space *space, enum block_op op, const struct mm_waiter *waiter);
/* Gives one back that was not submitted. */
void page_io_put(struct page_io *io);
/* The run is set; entries are IN or OUT already. */
void page_io_submit(struct page_io *io);
/* The read that fills this frame of an IN entry. */
struct page_io *page_io_of(const struct frame *frame);
/* How many reads could be started.  A hint, no lock taken. */
uint32_t page_io_vacant(void);

#endif
