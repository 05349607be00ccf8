/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page I/O: the one engine that moves pages between frames and the store, whoever owns them.
 *
 * A request is a run of neighbouring slots and the frames that they are read into or written from,
 * with those who wait for it.  How it is sent, verified and tried again is mm/content/store_io.h's;
 * whose the pages are, and what becomes of them, is the owner's (mm/owner/owner.h).
 *
 *     page_io_get -> page_io_add...  -> [page_io_want] -> page_io_submit -> read_done, write_done
 *                 -> page_io_put
 *
 * From page_io_add() until its I/O ends a frame has FRAME_IO_READ or FRAME_IO_WRITE, frame->io
 * says which request that is, and frame->slot the slot.  The frame must not be freed meanwhile:
 * whoever wants it no more calls page_io_forget().
 *
 * Requests are fixed in number and all owners' alike, so no memory is needed when it is short.  Why
 * whoever waits for one gets one: reads keep a share that writes do not touch, waiters are served
 * in order (mm/owner/wait.h) and those who are keep one each, and every request ends (store_io.h).
 *
 * Locks: the pool has its own (RANK_PAGE_IO), taken inside.  Locks of pages may be held, and each
 * function that takes a frame wants that of its page held.  Completion runs from block_poll() or
 * store_io_poll() and takes them.
 */
#ifndef SPILLWAY_MM_CONTENT_PAGE_IO_H
#define SPILLWAY_MM_CONTENT_PAGE_IO_H

#include "mm/content/store_internal.h"
#include "mm/content/store_io.h"
#include "mm/frame/frame.h"
#include "mm/owner/owner.h"
#include "mm/owner/wait.h"

#define PAGE_IO_REQUESTS 128u
#define PAGE_IO_RESERVE  48u /* of them, for reads that somebody waits for */

struct page_io;

/*
 * A request of no pages yet, for the slots from `slot` on.  NULL: none is free (for writes and for
 * what nobody waits for, waiter == NULL, a share is left to reads; for reads what others are served
 * with), or the store takes no writes now.
 */
struct page_io *page_io_get(struct page_owner *owner, enum block_op op,
                            const struct mm_waiter *waiter);
/* Gives one back that has no pages. */
void page_io_put(struct page_io *io);
/* Where its first page is read from or written to; before that is added. */
void page_io_start_at(struct page_io *io, uint32_t slot);
/* The same for a read from another place than the owner's store: a guest's disk, and a block of it
 * (store_open_disk()). */
void page_io_start_on_disk(struct page_io *io, struct store *disk, uint32_t block);
/* May the page that goes to this slot be added? */
bool page_io_goes_on(const struct page_io *io, uint32_t slot);
/* The next page of the run: its frame is read into, or written from.  What is written holds still,
 * and is sealed now. */
void page_io_add(struct page_io *io, pfn_t frame);
/* The waiter is woken when the read ends.  `how`, for read_done() of the page that was added as
 * number `index`: how it is wanted, not 0. */
void page_io_want(struct page_io *io, uint32_t index, unsigned how, struct mm_waiter *waiter);
/* At least one page has been added, and their places are READING or WRITING. */
void page_io_submit(struct page_io *io);

/* The same as page_io_want() for the read that is in flight into this frame; `how` counts if the
 * frame is the wanted one. */
void page_io_join(pfn_t frame, unsigned how, struct mm_waiter *waiter);
/* Its owner does not want the page any more.  True: I/O is in flight, and the frame and its slot go
 * when that ends.  False: they are still the caller's. */
static inline bool page_io_forget(pfn_t number)
{
    struct frame *frame = frame_get(number);

    if (!(frame->flags & (FRAME_IO_READ | FRAME_IO_WRITE))) {
        return false;
    }
    frame->flags |= FRAME_FORGOTTEN;
    return true;
}

/* The slot of which the frame is a copy, if there is one, is not its any more.  No write to it is
 * in flight. */
static inline void page_io_drop_copy(struct page_owner *owner, struct frame *frame)
{
    if (frame->slot != FRAME_NONE) {
        store_slot_give(owner->store, frame->slot);
        frame->slot = FRAME_NONE;
    }
}

/* How many reads could be started.  A hint, no lock taken. */
uint32_t page_io_vacant(void);

#endif
