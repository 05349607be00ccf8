/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault path: makes one guest page resident, or says what to wait for. */
#include "mm/content/pattern.h"
#include "mm/env.h"
#include "mm/space/page_io.h"
#include "mm/space/space_internal.h"

#define FILL_AHEAD_MAX 16u /* pages of a sequence filled per fault */
#define PLENTY         4u  /* times the high watermark is free: then it is spent freely */

/* The faulting page and how it is wanted, decoded once. */
struct fault {
    struct space *space;
    const struct memory_slot *slot;
    gfn_t page;
    unsigned how;        /* FAULT_* */
    const void *content; /* what the whole page is about to hold; NULL: what it holds now */
    uint64_t *entry;
    struct mm_waiter *waiter;
};

/* Memory that nobody wants: fill ahead in large steps. */
static bool memory_is_plenty(void)
{
    return frame_alloc_free_count() > PLENTY * frame_alloc_high() + REGION_PAGES;
}

static unsigned leaf_flags(unsigned how)
{
    return how & ACCESS_WRITE ? LEAF_ACCESSED | LEAF_DIRTY : LEAF_ACCESSED;
}

static enum mm_result wait_frame(const struct fault *fault)
{
    wait_for_frame(fault->waiter, fault->space);
    return MM_WAIT;
}

static inline void bind_frame(const struct fault *fault, uint64_t page, pfn_t frame)
{
    space_bind_frame(fault->space, gfn(page), frame);
    if (fault->slot->flags & SLOT_PINNED) {
        frame_get(frame)->flags |= FRAME_PINNED;
    }
}

/* MM_OK: a frame for the page, bound to it but not mapped yet. */
static enum mm_result take_frame(const struct fault *fault, pfn_t *out)
{
    if (!space_may_grow(fault->space, fault->waiter)) {
        wait_for_room(fault->waiter, fault->space);
        return MM_WAIT;
    }
    if (!wait_take_frame(fault->waiter, ALLOC_GUEST, out)) {
        return wait_frame(fault);
    }
    bind_frame(fault, fault->page.v, *out);
    return MM_OK;
}

/* The same for a page that is only likely to be wanted: as long as memory is not short. */
static bool spare_frame(const struct fault *fault, uint64_t page, pfn_t *out)
{
    if (wait_frames_wanted() || frame_alloc_free_count() <= frame_alloc_low() ||
        !space_may_grow(fault->space, NULL) || !frame_alloc(0, ALLOC_GUEST, 0, out)) {
        return false;
    }
    bind_frame(fault, page, *out);
    return true;
}

/* HOLE or PATTERN, or any page that is about to be overwritten: a frame of one repeated word. */
static enum mm_result fill(const struct fault *fault, uint64_t word, enum page_where from)
{
    struct space *space = fault->space;
    pfn_t frame;

    if (take_frame(fault, &frame) != MM_OK) {
        return MM_WAIT;
    }
    /* Before it is mapped: the guest must never see what another one left in the frame. */
    if (fault->content != NULL) {
        page_copy(mm_frame_ptr(frame), fault->content);
    } else {
        page_fill(mm_frame_ptr(frame), word);
    }
    space->faults_zero += from == WHERE_HOLE;
    space_move(space, from, WHERE_RESIDENT, 1);
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

        if (entry_kind(fault->space, value, 1) != PAGE_FRAME) {
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

    if (table_entry_get(entry) != 0 || page - fault->slot->base >= fault->slot->pages ||
        !spare_frame(fault, page, &frame)) {
        return false;
    }
    page_fill(mm_frame_ptr(frame), 0);
    space_move(fault->space, WHERE_HOLE, WHERE_RESIDENT, 1);
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
    enum mm_result result = fill(fault, 0, WHERE_HOLE);

    if (result == MM_OK && fault->content == NULL) {
        fill_sequence(fault);
    }
    return result;
}

/* ---- large pages ---------------------------------------------------------------------------- */

static bool large_possible(const struct fault *fault, unsigned level)
{
    uint64_t base = ALIGN_DOWN(fault->page.v, REGION_PAGES);
    const struct memory_slot *slot = fault->slot;

    return level >= 2 && fault->content == NULL && table_entry_get(fault->entry) == 0 &&
           fault->space->table.format->large_levels >= 2 && base >= slot->base &&
           base + REGION_PAGES <= slot->base + slot->pages && fault->space->max_pages == 0 &&
           memory_is_plenty();
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
    if (fault->slot->flags & SLOT_PINNED) {
        frame_get(first)->flags |= FRAME_PINNED;
    } else {
        generation_add(&space->generations, first, 0);
    }
    space_move(space, WHERE_HOLE, WHERE_RESIDENT, REGION_PAGES);
    space->faults_zero++;
    space->large_maps++;
    return true;
}

/* What the slot holds is not wanted any more. */
static enum mm_result overwrite_slot(const struct fault *fault, uint32_t slot)
{
    enum mm_result result = fill(fault, 0, WHERE_STORED);

    if (result == MM_OK) {
        store_slot_give(fault->space->store, slot);
    }
    return result;
}

/* ---- transit -------------------------------------------------------------------------------- */

static enum mm_result wait_for_read(const struct fault *fault, pfn_t number)
{
    struct page_io *io = page_io_of(frame_get(number));

    if (fault->page.v == frame_get(pfn(io->io.frame[io->wanted]))->gfn) {
        io->wanted_how |= fault->how;
    }
    wait_add(&io->waiters, fault->waiter, fault->space);
    return MM_WAIT;
}

/* The frame still holds the page.  The write goes on: its slot is a valid copy when it has ended,
 * unless the page is dirtied first, which the entry's D bit will tell. */
static enum mm_result take_back(const struct fault *fault, pfn_t frame)
{
    struct space *space = fault->space;

    space->taken_back++;
    space_move(space, WHERE_TRANSIT, WHERE_RESIDENT, 1);
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

        if (entry_kind(space, value, 1) == PAGE_FRAME) {
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
    if (memory_is_plenty() &&
        space->where[WHERE_RESIDENT] + READ_WINDOW_MAX < space_own_limit(space)) {
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

/* Is entry[offset] in the slot that lies `offset` beside this one?  Then give it a frame. */
static bool join_read(const struct fault *fault, int64_t offset, uint32_t slot, pfn_t *frame)
{
    const struct space *space = fault->space;
    uint64_t value = table_entry_get(fault->entry + offset);

    return entry_kind(space, value, 1) == PAGE_SLOT &&
           FIELD_GET(SLOT_PAYLOAD_SLOT, entry_payload(space, value)) ==
               (uint64_t)((int64_t)slot + offset) &&
           spare_frame(fault, (uint64_t)((int64_t)fault->page.v + offset), frame);
}

/* Frames for the run of neighbours around the page, in page order, into the request. */
static void gather_run(const struct fault *fault, struct page_io *io, uint32_t slot, pfn_t frame)
{
    uint64_t window = choose_window(fault->space, fault->page.v);
    uint64_t low = ALIGN_DOWN(fault->page.v, window), high = low + window;
    uint32_t below[READ_WINDOW_MAX];
    int64_t down = 0, up = 0;
    pfn_t other;

    while (fault->page.v + (uint64_t)up + 1 < high && join_read(fault, up + 1, slot, &other)) {
        io->io.frame[READ_WINDOW_MAX + up] = (uint32_t)other.v;
        up++;
    }
    while (fault->page.v - (uint64_t)down > low && join_read(fault, -down - 1, slot, &other)) {
        below[down++] = (uint32_t)other.v;
    }
    for (int64_t i = 0; i < down; i++) {
        io->io.frame[i] = below[down - 1 - i];
    }
    io->io.frame[down] = (uint32_t)frame.v;
    for (int64_t i = 0; i < up; i++) {
        io->io.frame[down + 1 + i] = io->io.frame[READ_WINDOW_MAX + i];
    }
    io->io.slot = slot - (uint32_t)down;
    io->wanted = (uint32_t)down;
    io->io.count = (uint32_t)(down + 1 + up);
}

_Static_assert(BLOCK_MAX_PAGES >= 2 * READ_WINDOW_MAX, "gather_run parks the upper half");
_Static_assert(REGION_PAGES % READ_WINDOW_MAX == 0, "a window never leaves its table page");

static void count_read(struct space *space, const struct page_io *io, uint64_t payload)
{
    uint64_t age = (space->eviction_clock - FIELD_GET(SLOT_PAYLOAD_STAMP, payload)) &
                   (SLOT_PAYLOAD_STAMP >> SLOT_PAYLOAD_SHIFT);

    /* With twice the frames the page would still be here (Linux mm/workingset.c, "Refault
     * Distance"). */
    space->refaults += age <= space->where[WHERE_RESIDENT];
    space->page_ins += io->io.count;
    space->readahead += io->io.count - 1;
}

static enum mm_result page_in(const struct fault *fault, uint64_t payload)
{
    struct space *space = fault->space;
    struct page_io *io = page_io_get(space, BLOCK_READ, fault->waiter);
    pfn_t frame;

    if (io == NULL) {
        return wait_frame(fault);
    }
    if (take_frame(fault, &frame) != MM_OK) {
        page_io_put(io);
        return MM_WAIT;
    }
    gather_run(fault, io, (uint32_t)FIELD_GET(SLOT_PAYLOAD_SLOT, payload), frame);
    io->wanted_how = fault->how;
    for (uint32_t i = 0; i < io->io.count; i++) {
        entry_set_absent(space, fault->entry + i - io->wanted, PAGE_IN, io->io.frame[i]);
    }
    space_move(space, WHERE_STORED, WHERE_TRANSIT, io->io.count);
    count_read(space, io, payload);
    remember_window(space, fault->page.v - io->wanted, io->io.count);
    wait_add(&io->waiters, fault->waiter, space);
    page_io_submit(io);
    return MM_WAIT;
}

/* ---- entry ---------------------------------------------------------------------------------- */

static enum mm_result bring_in(const struct fault *fault, uint64_t value)
{
    const struct space *space = fault->space;
    uint64_t payload = entry_payload(space, value);

    switch (entry_kind(space, value, 1)) {
    case PAGE_HOLE:
        return fill_hole(fault);
    case PAGE_PATTERN:
        return fill(fault, pattern_decode(payload), WHERE_PATTERN);
    case PAGE_SLOT:
        if (fault->content != NULL) {
            return overwrite_slot(fault, (uint32_t)FIELD_GET(SLOT_PAYLOAD_SLOT, payload));
        }
        return page_in(fault, payload);
    case PAGE_IN:
        return wait_for_read(fault, pfn(payload));
    case PAGE_OUT:
        return take_back(fault, pfn(payload));
    case PAGE_LOST:
        return MM_LOST;
    case PAGE_FRAME:
        return MM_OK; /* another CPU was faster, or an old translation */
    }
    panic("space %s: entry 0x%llx of no known kind", space->name, (unsigned long long)value);
}

enum mm_result fault_page(struct space *space, gfn_t page, unsigned how, const void *content,
                          struct mm_waiter *waiter, uint64_t **entry, unsigned *level)
{
    struct fault fault = {
        .space = space, .page = page, .how = how, .content = content, .waiter = waiter};

    fault.slot = space_find_slot(space, page.v);
    if (fault.slot == NULL) {
        return MM_NO_SLOT;
    }
    if (space->closed) {
        return MM_LOST;
    }
    fault.entry = table_leaf(&space->table, page, level);
    if (*level > 1 && entry_kind(space, table_entry_get(fault.entry), *level) != PAGE_FRAME) {
        if (large_possible(&fault, *level) && fill_large(&fault)) {
            *entry = table_leaf(&space->table, page, level);
            return MM_OK;
        }
        fault.entry = NULL;
        if (wait_may_take(waiter)) {
            fault.entry = table_leaf_alloc(&space->table, page, wait_promise(waiter));
        }
        *level = 1;
        if (fault.entry == NULL) {
            return wait_frame(&fault);
        }
    }
    *entry = fault.entry;
    if (*level > 1) {
        return MM_OK;
    }
    return bring_in(&fault, table_entry_get(fault.entry));
}

enum mm_result space_fault(struct space *space, gfn_t page, unsigned access,
                           struct mm_waiter *waiter)
{
    enum mm_result result;
    uint64_t *entry;
    unsigned level;

    spin_lock(&space->lock);
    result = fault_page(space, page, access, NULL, waiter, &entry, &level);
    space->faults += result != MM_NO_SLOT;
    spin_unlock(&space->lock);
    return result;
}
