/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contract: who has a page, as mm/content/ sees him.  Supplied by spaces (mm/space/space.c) for the
 * pages of guest memory and by tmem (mm/tmem/io.c) for the pages that guests have put there.
 *
 *     owner                                        content
 *       a place for each of its pages      --->      the bytes: word, slot, frame (place.h, tier.h)
 *       read_done, write_done              <---      page I/O that has ended (page_io.h)
 *       takes back: write_done says no
 *       forgets: page_io_forget()          --->      frame and slot go when the I/O ends
 *
 * An owner knows where each of its pages is, and no more; content moves bytes, and knows of the
 * owner what stands here.
 *
 * Life: page_owner_init(), use, page_owner_close(); it may be freed when page_owner_idle().
 * Locks: a lock for each page, the owner's choice; see `lock`.
 */
#ifndef SPILLWAY_MM_OWNER_OWNER_H
#define SPILLWAY_MM_OWNER_OWNER_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/types.h"

struct frame;
struct page_owner;
struct store;

struct page_owner_ops {
    /* The lock of the page that is in this frame: the same one from the first I/O of a page until
     * its frame is free, whether it has been forgotten or not. */
    struct spinlock *(*lock)(struct page_owner *owner, const struct frame *frame);

    /* The next two: that lock is held, and the page has not been forgotten. */

    /*
     * A read has ended.  Good: the frame holds the page, and frame->slot a copy of it, or a
     * guest's disk (FRAME_ON_DISK); the frame is its place.  Not good: the page is lost,
     * frame->slot says where it was; content frees both on return.  `how`: what page_io_want() and
     * page_io_join() said; 0: the page came along.
     */
    void (*read_done)(struct page_owner *owner, pfn_t frame, bool good, unsigned how);
    /*
     * A write has ended.  True: the page's place is the slot now, frame->slot, and content frees
     * the frame.  False: the frame is its place, be it that the write was not good, or that the
     * page has been taken back meanwhile; if it was good, frame->slot is a copy.
     */
    bool (*write_done)(struct page_owner *owner, pfn_t frame, bool good);
};

struct page_owner {
    const struct page_owner_ops *ops; /* constant, as the next two */
    const char *name;                 /* of the VM, for messages */
    struct store *store;              /* where its pages go; may be NULL */
    bool closed;                      /* it wants none of its pages any more */
    _Atomic uint32_t ios;             /* page I/O that it has */
    _Atomic uint64_t out_pages;       /* pages of writes in flight that will free a frame */
};

static inline void page_owner_init(struct page_owner *owner, const struct page_owner_ops *ops,
                                   const char *name, struct store *store)
{
    *owner = (struct page_owner){.ops = ops, .name = name, .store = store};
}

/* Requests that have to wait for the disk end at once from now on. */
static inline void page_owner_close(struct page_owner *owner)
{
    __atomic_store_n(&owner->closed, true, __ATOMIC_RELAXED);
}

static inline bool page_owner_closed(const struct page_owner *owner)
{
    return __atomic_load_n(&owner->closed, __ATOMIC_RELAXED);
}

/* No I/O is in flight, and nobody will look at the owner because of one.  Acquire: pairs with the
 * release by which the last one ends. */
static inline bool page_owner_idle(struct page_owner *owner)
{
    return atomic_load_explicit(&owner->ios, memory_order_acquire) == 0;
}

/* A hint, no lock taken. */
static inline uint64_t page_owner_outgoing(struct page_owner *owner)
{
    return atomic_load_explicit(&owner->out_pages, memory_order_relaxed);
}

#endif
