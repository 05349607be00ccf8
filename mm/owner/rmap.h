/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reverse map: from a frame to the pages that are in it.  Nobody else looks at frame->part and
 * frame->page.
 *
 * Today a frame holds one page of one owner, and the frame itself says which.  What is done with
 * each page of a frame is written as a loop all the same, so that a frame that several pages share
 * changes this file, and not those who use it.
 *
 *     owner     part                       page
 *     space     its number at the pager    gfn, of the first one if the frame begins a large page
 *     tmem      number of the shard        address of the descriptor; void when it is forgotten
 *
 * Locks: that of the frame's page.
 */
#ifndef SPILLWAY_MM_OWNER_RMAP_H
#define SPILLWAY_MM_OWNER_RMAP_H

#include "mm/frame/frame.h"

struct rmap_entry {
    bool valid;
    uint16_t part;
    uint64_t page;
};

/* The frame holds that page, and no other. */
static inline void rmap_set(struct frame *frame, uint16_t part, uint64_t page)
{
    frame->part = part;
    frame->page = page;
}

/* Which part of its owner the frame belongs to: constant while it is allocated. */
static inline uint16_t rmap_part(const struct frame *frame)
{
    return frame->part;
}

static inline struct rmap_entry rmap_first(const struct frame *frame)
{
    return (struct rmap_entry){.valid = true, .part = frame->part, .page = frame->page};
}

static inline void rmap_next(struct rmap_entry *entry)
{
    entry->valid = false;
}

/* For each page of the frame; `entry` is declared here. */
#define rmap_for_each(entry, frame)                                                                \
    for (struct rmap_entry entry = rmap_first(frame); entry.valid; rmap_next(&entry))

#endif
