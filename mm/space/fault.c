/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault path: makes one guest page resident, or says what to wait for. */
#include "mm/content/page_io.h"
#include "mm/content/pattern.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/space/fault_internal.h"

#define FILL_AHEAD_MAX 16u /* pages of a sequence filled per fault */

static enum mm_result wait_frame(const struct fault *fault)
{
    wait_for_frame(fault->waiter);
    return MM_WAIT;
}

static inline void bind_frame(const struct fault *fault, uint64_t page, pfn_t frame)
{
    space_bind_frame(fault->space, gfn(page), frame);
    if (fault->memslot->flags & MEMSLOT_PINNED) {
        frame_get(frame)->flags |= FRAME_PINNED;
        frame_get(frame)->pins = 1;
    }
}

/* MM_OK: a frame for the page, bound to it but not mapped yet. */
static enum mm_result take_frame(const struct fault *fault, pfn_t *out)
{
    if (!space_may_grow(fault->space, fault->waiter)) {
        wait_for_room(fault->waiter, &fault->space->room);
        return MM_WAIT;
    }
    if (!wait_take_frame(fault->waiter, ALLOC_GUEST, out)) {
        return wait_frame(fault);
    }
    bind_frame(fault, fault->page.v, *out);
    return MM_OK;
}

bool fault_spare_frame(const struct fault *fault, uint64_t page, pfn_t *out)
{
    if (wait_frames_wanted() || frame_alloc_free_count() <= frame_alloc_low() ||
        !space_may_grow(fault->space, NULL) || !frame_alloc(0, ALLOC_GUEST, 0, out)) {
        return false;
    }
    bind_frame(fault, page, *out);
    return true;
}

/* A page that is in a tier comes from there at once; from any tier, if it is about to be
 * overwritten. */
static enum mm_result fill(const struct fault *fault, struct place from)
{
    struct space *space = fault->space;
    pfn_t frame;

    if (take_frame(fault, &frame) != MM_OK) {
        return MM_WAIT;
    }
    /* Before it is mapped: the guest must never see what another one left in the frame. */
    if (fault->content != NULL) {
        page_copy(mm_frame_ptr(frame), fault->content);
        space->identities.false_reads_avoided += !tier_at_once(from.kind);
    } else {
        tier_fill(&space->owner, from, mm_frame_ptr(frame));
    }
    tier_drop(&space->owner, from);
    space->faults_zero += from.kind == PLACE_HOLE;
    space_move(space, from.kind, PLACE_FRAME, 1);
    space_map_frame(space, fault->entry, fault->page, frame, 1, leaf_flags(fault->how), 0);
    return MM_OK;
}

/* ---- ahead of a sequence -------------------------------------------------------------------- */

/* How many pages right behind this one, looking that way, are resident: that far a sequence is
 * likely to go on. */
static unsigned run_behind(const struct fault *fault, int64_t step)
{
    unsigned index = (unsigned)(fault->page.v & (REGION_PAGES - 1)), run = 0;
    unsigned room = step > 0 ? index : REGION_PAGES - 1 - index;

    room = MIN(room, FILL_AHEAD_MAX);
    while (run < room) {
        uint64_t value = table_entry_get(fault->entry - step * (int64_t)(run + 1));

        if (entry_kind(fault->space, value, 1) != PLACE_FRAME) {
            break;
        }
        run++;
    }
    return run;
}

/* Fills one more page, not counted as accessed; false: it is no hole, or memory is not plenty. */
static bool fill_ahead(const struct fault *fault, int64_t offset)
{
    uint64_t *entry = fault->entry + offset;
    uint64_t page = fault->page.v + (uint64_t)offset;
    pfn_t frame;

    if (table_entry_get(entry) != 0 || page - fault->memslot->base >= fault->memslot->pages ||
        !fault_spare_frame(fault, page, &frame)) {
        return false;
    }
    page_fill(mm_frame_ptr(frame), 0);
    space_move(fault->space, PLACE_HOLE, PLACE_FRAME, 1);
    space_map_frame(fault->space, entry, gfn(page), frame, 1, 0, 1);
    return true;
}

/* A guest that fills its memory in order, up or down, takes one fault for many pages. */
static void fill_sequence(const struct fault *fault)
{
    unsigned index = (unsigned)(fault->page.v & (REGION_PAGES - 1));
    int64_t step = 1;
    unsigned run = run_behind(fault, step);

    if (run == 0) {
        step = -1;
        run = run_behind(fault, step);
    }
    run = MIN(run, step > 0 ? REGION_PAGES - 1 - index : index);
    for (unsigned i = 1; i <= run && fill_ahead(fault, step * (int64_t)i); i++) {
    }
}

static enum mm_result fill_hole(const struct fault *fault)
{
    enum mm_result result = fill(fault, place(PLACE_HOLE, 0));

    if (result == MM_OK && fault->content == NULL) {
        fill_sequence(fault);
    }
    return result;
}

/* ---- large pages ---------------------------------------------------------------------------- */

static bool large_possible(const struct fault *fault, unsigned level)
{
    uint64_t base = ALIGN_DOWN(fault->page.v, REGION_PAGES);
    const struct memslot *memslot = fault->memslot;

    return level >= 2 && fault->content == NULL && table_entry_get(fault->entry) == 0 &&
           fault->space->table.format->large_levels >= 2 && base >= memslot->base &&
           base + REGION_PAGES <= memslot->base + memslot->pages && fault->space->max_pages == 0 &&
           space_memory_is_plenty();
}

static void zero_block(pfn_t first)
{
    for (uint64_t i = 0; i < REGION_PAGES; i++) {
        page_fill(mm_frame_ptr(pfn(first.v + i)), 0);
    }
}

/* All 512 pages of the region at once.  False: no block, or no frame for a table. */
static bool fill_large(const struct fault *fault)
{
    struct space *space = fault->space;
    gfn_t base = gfn(ALIGN_DOWN(fault->page.v, REGION_PAGES));
    pfn_t first;

    if (!frame_alloc(FRAME_ORDER_2M, ALLOC_GUEST, 0, &first)) {
        return false;
    }
    zero_block(first);
    space_bind_frame(space, base, first);
    if (!table_map_large(&space->table, base, first,
                         LEAF_WRITABLE | LEAF_EXEC | leaf_flags(fault->how))) {
        frame_free(first);
        return false;
    }
    frame_get(first)->map_count = 1;
    if (fault->memslot->flags & MEMSLOT_PINNED) {
        frame_get(first)->flags |= FRAME_PINNED;
        frame_get(first)->pins = 1;
    } else {
        generation_add(&space->generations, first, GENERATION_OWN, 0);
    }
    space_move(space, PLACE_HOLE, PLACE_FRAME, REGION_PAGES);
    space->faults_zero++;
    space->large_maps++;
    return true;
}

/* ---- transit -------------------------------------------------------------------------------- */

static enum mm_result wait_for_read(const struct fault *fault, pfn_t frame)
{
    page_io_join(frame, fault->how, fault->waiter);
    return MM_WAIT;
}

/* The frame still holds the page.  The write goes on: its slot is a valid copy when it has ended,
 * unless the page is dirtied first, which the entry's D bit will tell. */
static enum mm_result take_back(const struct fault *fault, pfn_t frame)
{
    struct space *space = fault->space;

    space->taken_back++;
    space_move(space, PLACE_WRITING, PLACE_FRAME, 1);
    space_map_frame(space, fault->entry, fault->page, frame, 1, leaf_flags(fault->how), 0);
    return MM_OK;
}

/* ---- reading, with neighbours --------------------------------------------------------------- */

/* How many of a past window's pages, not counting the one that was asked for, have been used. */
static unsigned window_hits(struct space *space, const struct read_window *window)
{
    unsigned level, hits = 0;
    uint64_t *entry = table_leaf(&space->table, gfn(window->first), &level);

    for (unsigned i = 0; level == 1 && i < window->pages; i++) {
        uint64_t value = table_entry_get(&entry[i]);

        if (entry_kind(space, value, 1) == PLACE_FRAME) {
            struct frame *frame = frame_get(entry_frame(space, value, 1));

            if (entry_accessed(space, value)) {
                space_note_access(space, frame);
            }
            hits += !(frame->flags & FRAME_READAHEAD);
        }
    }
    return hits > 0 ? hits - 1 : 0;
}

/* Half of them used: twice as many next time.  Less than a quarter: half as many. */
static void adapt_window(struct space *space, const struct read_window *window)
{
    unsigned extra = window->pages - 1u, hits = window_hits(space, window);

    if (hits * 2 >= extra) {
        space->read_ahead = MIN(space->read_ahead * 2, READ_WINDOW_MAX);
    } else if (hits * 4 < extra) {
        space->read_ahead = MAX(space->read_ahead / 2, 1u);
    }
}

static unsigned choose_window(struct space *space, uint64_t page)
{
    struct read_window *oldest = &space->window[space->window_next];

    if (oldest->pages > 1) {
        adapt_window(space, oldest);
        oldest->pages = 0;
    }
    if (space->read_ahead == 1 && page == space->last_read_gfn) {
        space->read_ahead = READ_WINDOW_RESTART; /* a sequence begins */
    }
    /* When others have gone, what was paged out comes back in few requests, wanted or not; but not
     * into a space that is at its own max, where it would drive out what is wanted. */
    if (space_memory_is_plenty() &&
        space->where[PLACE_FRAME] + READ_WINDOW_MAX < space_own_limit(space)) {
        return READ_WINDOW_MAX;
    }
    return space->read_ahead;
}

static void remember_window(struct space *space, uint64_t first, unsigned pages)
{
    space->last_read_gfn = first + pages;
    if (pages > 1) {
        space->window[space->window_next].first = first;
        space->window[space->window_next].pages = (uint16_t)pages;
        space->window_next = (space->window_next + 1) % READ_WINDOW_LOG;
    }
}

/* Pages that are read together: of entry[-down] to entry[up], and the frames for them. */
struct run {
    int64_t down, up;
    pfn_t below[READ_WINDOW_MAX], above[READ_WINDOW_MAX]; /* of entry[-1 - i], entry[i] */
};

/* Is entry[offset] in the slot that lies `offset` beside this one?  Then give it a frame. */
static bool join_read(const struct fault *fault, int64_t offset, uint32_t slot, pfn_t *frame)
{
    const struct space *space = fault->space;
    struct place at = entry_place(space, table_entry_get(fault->entry + offset), 1);

    return at.kind == PLACE_SLOT && place_slot(at) == (uint64_t)((int64_t)slot + offset) &&
           fault_spare_frame(fault, (uint64_t)((int64_t)fault->page.v + offset), frame);
}

/* Frames for the neighbours around the page, which is in that slot. */
static void gather_run(const struct fault *fault, uint32_t slot, pfn_t frame, struct run *run)
{
    uint64_t window = choose_window(fault->space, fault->page.v);
    uint64_t low = ALIGN_DOWN(fault->page.v, window), high = low + window;

    run->above[0] = frame;
    run->down = 0;
    run->up = 0;
    while (fault->page.v + (uint64_t)run->up + 1 < high &&
           join_read(fault, run->up + 1, slot, &run->above[run->up + 1])) {
        run->up++;
    }
    while (fault->page.v - (uint64_t)run->down > low &&
           join_read(fault, -run->down - 1, slot, &run->below[run->down])) {
        run->down++;
    }
}

_Static_assert(BLOCK_MAX_PAGES >= READ_WINDOW_MAX, "a window is one request");
_Static_assert(REGION_PAGES % READ_WINDOW_MAX == 0, "a window never leaves its table page");

/* The run in page order into the request; the pages are READING. */
static void add_run(const struct fault *fault, struct page_io *io, const struct run *run)
{
    struct space *space = fault->space;

    for (int64_t i = -run->down; i <= run->up; i++) {
        pfn_t frame = i < 0 ? run->below[-1 - i] : run->above[i];

        page_io_add(io, frame);
        entry_set_place(space, fault->entry + i, place(PLACE_READING, frame.v));
    }
    space_move(space, PLACE_SLOT, PLACE_READING, (uint64_t)(run->down + run->up + 1));
}

void fault_count_refault(struct space *space, enum generation_kind kind, uint64_t when,
                         uint64_t mask)
{
    uint64_t age = (space->eviction_clock - when) & mask;

    /* With twice the frames the page would still be here (Linux mm/workingset.c, "Refault
     * Distance"). */
    if (age <= space->where[PLACE_FRAME]) {
        space->refaults++;
        balance_note_refault(&space->balance, kind);
    }
}

static void count_read(struct space *space, const struct run *run, struct place from)
{
    fault_count_refault(space, GENERATION_OWN, FIELD_GET(PLACE_SLOT_OWNERS, from.payload),
                        FIELD_GET(PLACE_SLOT_OWNERS, UINT64_MAX));
    space->page_ins += (uint64_t)(run->down + run->up + 1);
    space->readahead += (uint64_t)(run->down + run->up);
}

bool fault_begin_read(const struct fault *fault, struct page_io **io, pfn_t *frame)
{
    *io = page_io_get(&fault->space->owner, BLOCK_READ, fault->waiter);
    if (*io == NULL) {
        wait_for_frame(fault->waiter);
        return false;
    }
    if (take_frame(fault, frame) != MM_OK) {
        page_io_put(*io);
        return false;
    }
    return true;
}

static enum mm_result page_in(const struct fault *fault, struct place from)
{
    struct space *space = fault->space;
    struct page_io *io;
    struct run run;
    pfn_t frame;

    if (!fault_begin_read(fault, &io, &frame)) {
        return MM_WAIT;
    }
    gather_run(fault, place_slot(from), frame, &run);
    page_io_start_at(io, place_slot(from) - (uint32_t)run.down);
    add_run(fault, io, &run);
    count_read(space, &run, from);
    remember_window(space, fault->page.v - (uint64_t)run.down, (unsigned)(run.down + run.up + 1));
    page_io_want(io, (uint32_t)run.down, fault->how, fault->waiter);
    page_io_submit(io);
    return MM_WAIT;
}

/* ---- entry ---------------------------------------------------------------------------------- */

static enum mm_result bring_in(const struct fault *fault, struct place from)
{
    switch (from.kind) {
    case PLACE_HOLE:
        return fill_hole(fault);
    case PLACE_READING:
        return wait_for_read(fault, place_frame(from));
    case PLACE_WRITING:
        return take_back(fault, place_frame(from));
    case PLACE_LOST:
        return MM_LOST;
    default:
        break;
    }
    if (!tier_holds(from.kind)) {
        panic("space %s: page 0x%llx in a place of no known kind, %d", fault->space->owner.name,
              (unsigned long long)fault->page.v, from.kind);
    }
    if (fault->content != NULL || tier_at_once(from.kind)) {
        return fill(fault, from);
    }
    return from.kind == PLACE_DISK ? fault_from_disk(fault, from) : page_in(fault, from);
}

/* As fault_page(), of a page that is in no frame. */
static __attribute__((noinline)) enum mm_result bring_page(struct fault *fault, uint64_t **entry,
                                                           unsigned *level)
{
    struct space *space = fault->space;

    fault->entry = *entry;
    if (*level > 1) {
        if (large_possible(fault, *level) && fill_large(fault)) {
            *entry = table_leaf(&space->table, fault->page, level);
            return MM_OK;
        }
        fault->entry = NULL;
        if (wait_may_take(fault->waiter)) {
            fault->entry =
                table_leaf_alloc(&space->table, fault->page, wait_promise(fault->waiter));
        }
        *level = 1;
        *entry = fault->entry;
        if (fault->entry == NULL) {
            return wait_frame(fault);
        }
    }
    return bring_in(fault, entry_place(space, table_entry_get(fault->entry), 1));
}

enum mm_result fault_page(struct space *space, gfn_t page, unsigned how, const void *content,
                          struct mm_waiter *waiter, uint64_t **entry, unsigned *level)
{
    const struct memslot *memslot = space_find_memslot(space, page.v);

    if (memslot == NULL) {
        return MM_NO_MEMSLOT;
    }
    if (space->owner.closed) {
        return MM_LOST;
    }
    *entry = table_leaf(&space->table, page, level);
    if (entry_kind(space, table_entry_get(*entry), *level) == PLACE_FRAME) {
        return MM_OK; /* and if it is one that faulted: another CPU was faster */
    }
    return bring_page(&(struct fault){.space = space,
                                      .memslot = memslot,
                                      .page = page,
                                      .how = how,
                                      .content = content,
                                      .waiter = waiter},
                      entry, level);
}

enum mm_result space_fault(struct space *space, gfn_t page, unsigned access,
                           struct mm_waiter *waiter)
{
    enum mm_result result;
    uint64_t *entry;
    unsigned level;

    spin_lock(&space->lock);
    result = fault_page(space, page, access, NULL, waiter, &entry, &level);
    space->faults += result != MM_NO_MEMSLOT;
    spin_unlock(&space->lock);
    return result;
}
