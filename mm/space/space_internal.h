/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An address space from the inside, for mm/space/ and for those who decide over its pages,
 * mm/policy/; for nobody else.
 *
 * The entry of a page says where it is: a leaf, or its place (mm/content/place.h has the drawing of
 * how it moves).  A frame whose write is in flight (FRAME_IO_WRITE) is never chosen for reclaim and
 * never freed, even if it has been taken back.
 */
#ifndef SPILLWAY_MM_SPACE_SPACE_INTERNAL_H
#define SPILLWAY_MM_SPACE_SPACE_INTERNAL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/log.h"
#include "mm/content/place.h"
#include "mm/content/store_internal.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "mm/frame/frame_array.h"
#include "mm/frame/generation.h"
#include "mm/owner/owner.h"
#include "mm/owner/rmap.h"
#include "mm/owner/wait.h"
#include "mm/space/balance.h"
#include "mm/space/identity.h"
#include "mm/space/space.h"
#include "mm/table/format.h"
#include "mm/table/table.h"

#define SPACE_MAX          256u /* address spaces at a time */
#define SPACE_MAX_MEMSLOTS 16u
#define GFN_LIMIT          TABLE_GFN_LIMIT
#define REGION_SHIFT                                                                               \
    TABLE_INDEX_BITS /* 2 MiB: one table page, one store cluster, one large page                   \
                      */
#define REGION_PAGES (1u << REGION_SHIFT)
#define SPACE_PLENTY 4u /* times the high watermark */

struct memslot {
    uint64_t base, pages;
    uint64_t number; /* of its first page: those of all memslots are counted, as they came */
    uint32_t flags;
    struct frame_array clusters; /* see space_cluster() */
};

#define READ_WINDOW_MAX     32u /* pages */
#define READ_WINDOW_START   8u
#define READ_WINDOW_RESTART 4u
#define READ_WINDOW_LOG     8u

/* Reads ahead of which it is not known yet whether they were of use. */
struct read_window {
    uint64_t first; /* gfn */
    uint16_t pages; /* 0: none */
};

/* Pages of neighbouring blocks that are read together, and what has become of those that nobody
 * had asked for. */
struct disk_ahead {
    unsigned window; /* a power of two; 0: as in the beginning */
    unsigned used, unused;
    uint64_t next; /* behind the last read: the disk's number in 63:32, the block */
};

struct space {
    struct spinlock lock; /* all of the rest, unless said otherwise */
    struct table table;
    struct page_owner owner; /* of its pages */
    pfn_t self;              /* constant: the frame this struct is in */
    uint16_t id;             /* constant: index in the pager's table, part of its frames' rmap */
    bool no_store_room;      /* reported */
    bool ignore_age;         /* nothing but accessed pages was found: take them nevertheless */

    struct memslot memslot[SPACE_MAX_MEMSLOTS]; /* sorted by base */
    unsigned memslots;

    struct generations generations;
    struct balance balance;
    uint8_t reclaimed; /* enum generation_kind that reclaim took last; a hint for others */
    uint64_t where[PLACE_KINDS]; /* pages; their sum is the size of its memory */
    uint64_t min_pages, max_pages;
    uint64_t working_pages; /* constant */
    uint32_t shares;

    struct wait_room room; /* below its max */

    /* Read-ahead (fault.c) */
    struct read_window window[READ_WINDOW_LOG];
    unsigned window_next;
    unsigned read_ahead;    /* pages per read now, a power of two */
    uint64_t last_read_gfn; /* behind the last read */
    uint64_t eviction_clock;
    struct disk_ahead disk_ahead; /* likewise from its disks (disk_in.c) */

    /* Aging (aging.c) */
    uint64_t scan_next_ns;
    uint64_t scan_gfn; /* where the scan goes on */
    bool scanning;
    uint64_t scan_accessed; /* pages found accessed in this scan */

    /* Giving up copies (copies.c) */
    uint32_t copies_tightened; /* when the store had become tight so often, the walk began */
    uint64_t copies_gfn;       /* where it goes on; GFN_LIMIT: it is through */

    /* Tear-down (space.c) */
    uint64_t drain_gfn;
    unsigned drain_memslot; /* index in memslot[] */

    uint64_t pins; /* of space_pin(), which have not ended */

    struct identities identities;

    /* What is lent where nothing is (lend.c) */
    bool has_ones;
    pfn_t ones;

    uint64_t faults, faults_zero, page_ins, page_outs, clean_drops, refaults;
    uint64_t readahead, readahead_hits, taken_back, large_maps, large_splits;
    uint64_t discards; /* pages */

    _Atomic uint64_t flush_gen; /* hv/run/tlb.c */
};

_Static_assert(sizeof(struct space) <= PAGE_SIZE, "a space fits a frame");

/* ---- entries -------------------------------------------------------------------------------- */

static inline struct place entry_place(const struct space *space, uint64_t entry, unsigned level)
{
    const struct table_format *format = space->table.format;

    if (format->classify(entry, level) == ENTRY_LEAF) {
        return place(PLACE_FRAME, format->pfn(entry, level).v);
    }
    return place((enum place_kind)format->absent_kind(entry), format->absent_payload(entry));
}

static inline enum generation_kind space_kind_of(const struct frame *frame)
{
    return frame->flags & FRAME_ON_DISK ? GENERATION_COPY : GENERATION_OWN;
}

/* Of a page that is mapped for that access. */
static inline unsigned leaf_flags(unsigned how)
{
    return how & ACCESS_WRITE ? LEAF_ACCESSED | LEAF_DIRTY : how != 0 ? LEAF_ACCESSED : 0;
}

static inline enum place_kind entry_kind(const struct space *space, uint64_t entry, unsigned level)
{
    const struct table_format *format = space->table.format;

    if (format->classify(entry, level) == ENTRY_LEAF) {
        return PLACE_FRAME;
    }
    return (enum place_kind)format->absent_kind(entry);
}

static inline pfn_t entry_frame(const struct space *space, uint64_t entry, unsigned level)
{
    return space->table.format->pfn(entry, level);
}

static inline bool entry_accessed(const struct space *space, uint64_t entry)
{
    return space->table.format->flags(entry) & LEAF_ACCESSED;
}

/* Not a frame: space_map_frame() does that. */
static inline void entry_set_place(struct space *space, uint64_t *entry, struct place at)
{
    table_entry_set(entry, space->table.format->make_absent(at.kind, at.payload));
}

/* Of a page that leaves now, with the time by which a refault is judged; so DISK ones
 * (identity.c). */
static inline struct place space_slot_place(const struct space *space, uint32_t slot)
{
    return place_of_slot(slot, space->eviction_clock);
}

/* Memory that nobody wants: it is spent in large steps. */
static inline bool space_memory_is_plenty(void)
{
    return frame_alloc_free_count() > SPACE_PLENTY * frame_alloc_high() + REGION_PAGES;
}

/* ---- space.c -------------------------------------------------------------------------------- */

/* Have all VMs more memory than the machine, or this one more than it may have?  If not, nothing
 * ever has to leave.  The space's lock is held. */
bool space_may_run_short(const struct space *space);
struct memslot *space_find_memslot(struct space *space, uint64_t page);
/* The first memslot that has pages at or after that one; NULL: none has. */
const struct memslot *space_memslot_from(const struct space *space, uint64_t page);
/* Where the page's 2 MiB region has the number of its cluster in the store; STORE_NONE: none yet.
 * The space has a store. */
uint32_t *space_cluster(const struct memslot *memslot, uint64_t page);

static inline void space_move(struct space *space, enum place_kind from, enum place_kind to,
                              uint64_t pages)
{
    ASSERT(space->where[from] >= pages);
    space->where[from] -= pages;
    space->where[to] += pages;
}

/* Of all memslots: so many places its pages have. */
static inline uint64_t space_pages_of_all(const struct space *space)
{
    uint64_t pages = 0;

    for (unsigned kind = 0; kind < PLACE_KINDS; kind++) {
        pages += space->where[kind];
    }
    return pages;
}

/* Does its max let it have one more page than those it has, and so many others?  Also without the
 * lock, as a hint. */
bool space_has_room(const struct space *space, uint64_t others);
/* May the waiter (NULL: nobody in particular) have that room, or does it have to queue for it? */
bool space_may_grow_to_max(const struct space *space, const struct mm_waiter *waiter);
static inline bool space_may_grow(const struct space *space, const struct mm_waiter *waiter)
{
    /* Those who wait for room do so until the pager has seen that the max is gone. */
    return (__atomic_load_n(&space->max_pages, __ATOMIC_RELAXED) == 0 &&
            __atomic_load_n(&space->room.waiters, __ATOMIC_RELAXED) == 0) ||
           space_may_grow_to_max(space, waiter);
}
/* So many resident pages are its own when others want memory. */
uint64_t space_floor(const struct space *space);
/* Above so many resident pages its own max wants it to let some go; UINT64_MAX: it has none. */
uint64_t space_own_limit(const struct space *space);
/* Pages in frames, and on their way to or from one: what counts against its max. */
uint64_t space_in_frames(const struct space *space);
/* The frame, just allocated, is for that page: sets its rmap, no flags, no slot. */
void space_bind_frame(struct space *space, gfn_t page, pfn_t frame);
/* Makes `entry` a leaf of the frame and puts the frame on the list of that age. */
void space_map_frame(struct space *space, uint64_t *entry, gfn_t page, pfn_t frame, unsigned level,
                     unsigned flags, unsigned age);
/* The large page that `any` is in, which is not pinned, becomes pages of their own, each with its
 * age.  False: no frame for the table. */
bool space_split_large(struct space *space, gfn_t any, pfn_t first);
/* The page has been used: settles whether it was worth reading ahead. */
static inline void space_note_access(struct space *space, struct frame *frame)
{
    if (frame->flags & FRAME_READAHEAD) {
        frame->flags &= (uint8_t)~FRAME_READAHEAD;
        space->readahead_hits++;
        space->disk_ahead.used += (frame->flags & FRAME_ON_DISK) != 0;
        balance_note_return(&space->balance, space_kind_of(frame));
    }
}

/* ---- owner.c -------------------------------------------------------------------------------- */

extern const struct page_owner_ops space_pages;

/* The hypervisor, or a device, writes to a page that is in this frame. */
static inline void space_note_write(struct frame *frame)
{
    frame->flags = (uint8_t)((frame->flags | FRAME_DIRTY) & ~FRAME_WATCHED);
}

/* ---- fault.c -------------------------------------------------------------------------------- */

/*
 * Makes the page resident; on MM_OK *entry and *level are its leaf.  The lock is held.  `content`,
 * if not NULL, is what the caller is going to write to all of the page: a page that is elsewhere is
 * then not brought in first, and may already hold it on return.
 */
enum mm_result fault_page(struct space *space, gfn_t page, unsigned how, const void *content,
                          struct mm_waiter *waiter, uint64_t **entry, unsigned *level);

/* ---- guest_copy.c --------------------------------------------------------------------------- */

/* Writes a whole page with what that owner has in a tier (tier_at_once()); as space_write(). */
enum mm_result space_write_place(struct space *space, gfn_t page, const struct page_owner *owner,
                                 struct place from, struct mm_waiter *waiter);

/* ---- reclaim.c ------------------------------------------------------------------------------ */

/* Evicts up to `target` pages of the space, while more than `floor` are resident; returns how many
 * left or are leaving.  No locks. */
unsigned reclaim_batch(struct space *space, unsigned target, uint64_t floor);
/* How many generations there are of the kind that it takes from.  Without the lock: a hint. */
unsigned reclaim_generations(const struct space *space);

/* ---- aging.c -------------------------------------------------------------------------------- */

/* One slice of a scan; true: the scan goes on.  No locks. */
bool aging_step(struct space *space);

/* ---- copies.c ------------------------------------------------------------------------------- */

/* If the space's store has become tight: one slice of a walk over its resident pages, which give up
 * their copies there.  False: nothing to do.  No locks. */
bool copies_step(struct space *space);

/* ---- pager.c -------------------------------------------------------------------------------- */

/* Gives the space an id and puts it under the pager; false: too many spaces. */
bool pager_add_space(struct space *space);
/* On return the pager does not look at the space and never will. */
void pager_remove_space(struct space *space);

#endif
