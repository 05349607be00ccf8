/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame database: one struct frame for every 4 KiB of physical memory, indexed by frame number
 * from 0 to the highest frame of RAM.  Holes between RAM ranges have entries too (RESERVED).
 *
 * Life: frame_db_init() once at boot, before frame_alloc_add_range().
 *
 * Locks: `state`, `order` and, while a frame is free, `next` and `prev` belong to the allocator
 * (mm/frame/frame_alloc.c).  All else belongs to whoever allocated the frame, under that owner's
 * lock.
 */
#ifndef SPILLWAY_MM_FRAME_FRAME_H
#define SPILLWAY_MM_FRAME_FRAME_H

#include "base/log.h"
#include "base/types.h"

#define FRAME_NONE UINT32_MAX /* no frame, no slot, no page I/O */

enum frame_state {
    FRAME_STATE_RESERVED, /* not ours: firmware's, a device's, or not RAM */
    FRAME_STATE_FREE,     /* in the buddy allocator */
    FRAME_STATE_CACHED,   /* free, in a CPU's cache */
    FRAME_STATE_META,     /* the hypervisor's own: tables, structures, buffers */
    FRAME_STATE_GUEST,
    FRAME_STATE_TMEM,
    FRAME_STATE_COMPRESSED,
};

/* frame->flags, the owner's. */
#define FRAME_DIRTY     (1u << 0) /* newer than its copy in the store */
#define FRAME_PINNED    (1u << 1) /* not reclaimed: `pins` says by how many, and it is on no list */
#define FRAME_IO_WRITE  (1u << 2) /* a write from it is in flight */
#define FRAME_IO_READ   (1u << 3) /* a read into it is in flight */
#define FRAME_READAHEAD (1u << 4) /* read ahead and not used yet */
#define FRAME_FORGOTTEN (1u << 5) /* I/O in flight, and its page is gone: mm/content/page_io.h */
#define FRAME_WATCHED   (1u << 6) /* pinned, not written to since: mm/space/identity.h */
#define FRAME_ON_DISK   (1u << 7) /* was a block of a guest's disk when it was clean: likewise */

#define FRAME_ORDER_TAIL 0xff /* frame->order of all but the first frame of an allocated block */

struct frame {
    union {
        struct {
            uint32_t next, prev; /* links of the list it is on, by frame number */
        };
        uint64_t when_ns; /* on no list: a time, its owner's */
        uint32_t pins;    /* FRAME_PINNED: of its memslot, which is for ever, and of space_pin() */
    };
    uint32_t slot; /* store slot: while it is written or read, of that; else of a valid copy;
                    * FRAME_NONE: none */
    uint32_t io;   /* page I/O in flight, or FRAME_NONE */
    uint64_t page; /* inline reverse map, mm/owner/rmap.h: the page that is in it ... */
    uint16_t part; /* ... of this part of its owner */
    uint16_t map_count;
    uint8_t state; /* enum frame_state */
    uint8_t order; /* of the block that begins here, 0: 4 KiB; or FRAME_ORDER_TAIL */
    uint8_t generation : 7, kind : 1; /* of its list, mm/frame/generation.h */
    uint8_t flags;                    /* FRAME_* */
};

_Static_assert(sizeof(struct frame) == 32, "0.8% of RAM, and two to a cache line");

/* mm/frame/frame.c; read them through frame_get() and frame_db_covers(). */
extern struct frame *frame_db;
extern uint64_t frame_db_count;

/* Bytes of memory that frame_db_init() needs for frames 0..highest. */
size_t frame_db_bytes(pfn_t highest);
/* `memory`: that many bytes, 32-byte aligned, of any content; kept for ever.  All frames RESERVED,
 * the allocator empty.
 * `highest` is below FRAME_NONE (16 TiB). */
void frame_db_init(void *memory, pfn_t highest);

static inline bool frame_db_covers(pfn_t number)
{
    return number.v < frame_db_count;
}

/* Never NULL; the number must be one that the database covers. */
static inline struct frame *frame_get(pfn_t number)
{
    ASSERT(frame_db_covers(number));
    return &frame_db[number.v];
}

#endif
