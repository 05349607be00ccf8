/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eviction in batches: choose, unmap, one shootdown, then decide where each page goes.
 *
 * All of it happens under the space's lock, in fixed memory, without waiting.  D is part of the
 * entry that the atomic exchange returns: a CPU sets D only while it finds the entry present (SDM
 * vol. 3, "Accessed and Dirty Flags"; APM vol. 2, "Page-Translation-Table Entry Fields"), so no D
 * comes after the exchange.  Content is looked at after the shootdown alone: until then a CPU may
 * write through a translation that it holds, whose D was set before.
 */
#include "mm/content/page_io.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

#define BATCH_PAGES 64u
#define LOOK_FRAMES 512u /* candidates of one kind looked at per batch */
#define NEIGHBOURS  16u  /* aligned group of pages that leaves together, a power of two */

struct victim {
    pfn_t frame;
    gfn_t page;
    uint64_t *entry;
    uint32_t slot; /* to write to */
    bool dirty;
    bool on_disk; /* a copy of a block */
    bool unused;  /* was read ahead, in vain */
};

struct batch {
    struct space *space;
    unsigned count, target;
    unsigned gone[GENERATION_KINDS]; /* of those that were used, without a write */
    struct victim victim[BATCH_PAGES];
};

/* ---- choosing ------------------------------------------------------------------------------- */

static void take_victim(struct batch *batch, uint64_t *entry, gfn_t page, pfn_t number)
{
    struct space *space = batch->space;
    struct frame *frame = frame_get(number);
    const struct table_format *format = space->table.format;
    uint64_t old = table_entry_exchange(entry, format->make_absent(PLACE_WRITING, number.v));
    bool dirty = (format->flags(old) & LEAF_DIRTY) || (frame->flags & FRAME_DIRTY);
    bool on_disk = !dirty && frame->flags & FRAME_ON_DISK;
    bool unused = frame->flags & FRAME_READAHEAD;

    space->disk_ahead.unused += on_disk && unused;
    generation_remove(&space->generations, number);
    space_move(space, PLACE_FRAME, PLACE_WRITING, 1);
    frame->map_count = 0;
    frame->flags &= (uint8_t) ~(FRAME_READAHEAD | FRAME_ON_DISK);
    batch->victim[batch->count++] = (struct victim){
        .frame = number,
        .page = page,
        .entry = entry,
        .slot = STORE_NONE,
        .dirty = dirty,
        .on_disk = on_disk,
        .unused = unused,
    };
}

/* Accessed since it was last looked at?  Then it is young again. */
static bool second_chance(struct space *space, uint64_t *entry, pfn_t frame)
{
    if (!entry_accessed(space, table_entry_get(entry))) {
        return false;
    }
    table_entry_clear_accessed(space->table.format, entry);
    space_note_access(space, frame_get(frame));
    generation_touch(&space->generations, frame);
    return true;
}

/* As old as the two oldest generations, and not used since. */
static bool neighbour_may_go(const struct space *space, uint64_t value, enum generation_kind kind)
{
    if (entry_kind(space, value, 1) != PLACE_FRAME || entry_accessed(space, value)) {
        return false;
    }
    pfn_t number = entry_frame(space, value, 1);

    return !(frame_get(number)->flags & (FRAME_PINNED | FRAME_IO_WRITE | FRAME_READAHEAD)) &&
           frame_get(number)->kind == kind &&
           generation_age(&space->generations, number) + 2 >=
               generation_count_of(&space->generations, kind);
}

/* Pages beside the victim that are as idle leave with it: one disk request, and one when they
 * come back. */
static void take_neighbours(struct batch *batch, uint64_t *entry, gfn_t page,
                            enum generation_kind kind)
{
    uint64_t *group = entry - (page.v & (NEIGHBOURS - 1));
    uint64_t first = ALIGN_DOWN(page.v, NEIGHBOURS);

    for (unsigned i = 0; i < NEIGHBOURS && batch->count < batch->target; i++) {
        uint64_t value = table_entry_get(&group[i]);

        if (neighbour_may_go(batch->space, value, kind)) {
            take_victim(batch, &group[i], gfn(first + i), entry_frame(batch->space, value, 1));
        }
    }
}

/* The frame holds that page, and others seem younger. */
static void take_if_old(struct batch *batch, gfn_t page, pfn_t frame)
{
    struct space *space = batch->space;
    enum generation_kind kind = frame_get(frame)->kind;
    unsigned level;
    uint64_t *entry;

    if (frame_get(frame)->flags & FRAME_IO_WRITE ||
        (frame_get(frame)->order > 0 && !space_split_large(space, page, frame))) {
        generation_touch(&space->generations, frame);
        return;
    }
    entry = table_leaf(&space->table, page, &level);
    ASSERT(level == 1);
    if (space->ignore_age || !second_chance(space, entry, frame)) {
        take_victim(batch, entry, page, frame);
        take_neighbours(batch, entry, page, kind);
    }
}

/* What was put on the list of copies, is it one that may be dropped? */
static bool may_drop(struct space *space, gfn_t page, pfn_t frame)
{
    unsigned level;
    uint64_t value = table_entry_get(table_leaf(&space->table, page, &level));
    struct place at;

    return (frame_get(frame)->flags & (FRAME_ON_DISK | FRAME_DIRTY)) == FRAME_ON_DISK &&
           !(space->table.format->flags(value) & LEAF_DIRTY) && identity_place(space, page, &at);
}

static void look_at(struct batch *batch, pfn_t frame, enum generation_kind kind)
{
    struct space *space = batch->space;

    rmap_for_each (user, frame_get(frame)) {
        if (kind == GENERATION_COPY && !may_drop(space, gfn(user.page), frame)) {
            generation_change_kind(&space->generations, frame, GENERATION_OWN);
        } else {
            take_if_old(batch, gfn(user.page), frame);
        }
    }
}

static void choose_of_kind(struct batch *batch, enum generation_kind kind)
{
    pfn_t frame;

    for (unsigned i = 0; i < LOOK_FRAMES && batch->count < batch->target; i++) {
        if (!generation_oldest(&batch->space->generations, kind, &frame)) {
            break;
        }
        look_at(batch, frame, kind);
    }
}

/* Have all copies been used since the last scan, as far as is known, and other pages not?  While
 * one goes on, that is not known of the last generation but one. */
static bool copies_are_young(const struct space *space)
{
    unsigned young = space->scanning ? 2 : 1;

    return generation_count_of(&space->generations, GENERATION_COPY) <= young &&
           generation_count_of(&space->generations, GENERATION_OWN) > young;
}

/* From the kind that costs less; from the other one, if it has none to give. */
static void choose_victims(struct batch *batch)
{
    struct space *space = batch->space;
    enum generation_kind kind = balance_choose(&space->balance);

    __atomic_store_n(&space->reclaimed, kind, __ATOMIC_RELAXED);
    if (kind == GENERATION_COPY && copies_are_young(space)) {
        kind = GENERATION_OWN;
    }
    choose_of_kind(batch, kind);
    if (batch->count == 0) {
        choose_of_kind(batch, kind == GENERATION_COPY ? GENERATION_OWN : GENERATION_COPY);
    }
    /* A whole look at nothing but accessed pages: next time somebody has to go. */
    space->ignore_age = batch->count == 0;
}

unsigned reclaim_generations(const struct space *space)
{
    return generation_count_of(&space->generations,
                               __atomic_load_n(&space->reclaimed, __ATOMIC_RELAXED));
}

/* ---- where they go -------------------------------------------------------------------------- */

/* The page is there now, and needs no frame. */
static void let_go(struct space *space, const struct victim *victim, struct place at)
{
    entry_set_place(space, victim->entry, at);
    space_move(space, PLACE_WRITING, at.kind, 1);
    frame_free(victim->frame);
}

/* Stays resident, as the entry was before. */
static void put_back(struct space *space, const struct victim *victim, unsigned age)
{
    struct frame *frame = frame_get(victim->frame);

    if (victim->dirty) {
        frame->flags |= FRAME_DIRTY;
    }
    if (victim->slot != STORE_NONE && victim->slot != frame->slot) {
        store_slot_give(space->owner.store, victim->slot);
    }
    space_move(space, PLACE_WRITING, PLACE_FRAME, 1);
    space_map_frame(space, victim->entry, victim->page, victim->frame, 1, 0, age);
}

/* The store has what the frame has. */
static bool try_drop_clean(struct space *space, const struct victim *victim)
{
    struct frame *frame = frame_get(victim->frame);

    if (victim->dirty || frame->slot == FRAME_NONE) {
        return false;
    }
    uint32_t copy = frame->slot;

    space->clean_drops++;
    space->eviction_clock++;
    frame->slot = FRAME_NONE;
    let_go(space, victim, space_slot_place(space, copy));
    return true;
}

static bool try_tiers(struct space *space, const struct victim *victim)
{
    struct place at;

    if (!tier_take(&space->owner, mm_frame_ptr(victim->frame), &at)) {
        return false;
    }
    page_io_drop_copy(&space->owner, frame_get(victim->frame));
    let_go(space, victim, at);
    return true;
}

/* A block of a disk is what the frame has. */
static bool try_drop_for_disk(struct space *space, const struct victim *victim)
{
    struct place at;

    if (!victim->on_disk || !identity_place(space, victim->page, &at)) {
        return false;
    }
    space->identities.disk_drops++;
    space->eviction_clock++;
    let_go(space, victim, at);
    return true;
}

static uint32_t cluster_for(struct space *space, gfn_t page)
{
    uint32_t *cluster = space_cluster(space_find_memslot(space, page.v), page.v);

    if (*cluster == STORE_NONE) {
        *cluster = store_cluster_take(space->owner.store);
    }
    return *cluster;
}

static bool choose_slot(struct space *space, struct victim *victim)
{
    if (space->owner.store == NULL) {
        return false;
    }
    victim->slot = frame_get(victim->frame)->slot;
    if (victim->slot == FRAME_NONE) {
        victim->slot = store_slot_take(space->owner.store, cluster_for(space, victim->page),
                                       (uint32_t)(victim->page.v & (REGION_PAGES - 1)));
    }
    if (victim->slot == STORE_NONE && !space->no_store_room) {
        space->no_store_room = true;
        log_warn("%s: the store %s is full: pages stay in memory", space->owner.name,
                 store_device_name(space->owner.store));
    }
    return victim->slot != STORE_NONE;
}

/* Disposes of what needs no write; the rest, with slots, moves to the front of the batch. */
static unsigned settle_without_write(struct batch *batch)
{
    struct space *space = batch->space;
    unsigned settled = 0, left = 0;

    for (unsigned i = 0; i < batch->count; i++) {
        struct victim *victim = &batch->victim[i];

        if (try_drop_clean(space, victim) || try_tiers(space, victim)) {
            batch->gone[GENERATION_OWN] += !victim->unused;
            settled++;
        } else if (try_drop_for_disk(space, victim)) {
            batch->gone[GENERATION_COPY] += !victim->unused;
            settled++;
        } else if (choose_slot(space, victim)) {
            batch->victim[left++] = *victim;
        } else {
            put_back(space, victim, 0);
        }
    }
    batch->count = left;
    return settled;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Insertion sort by slot: the batch is small and comes nearly in order. */
static void sort_by_slot(struct batch *batch)
{
    for (unsigned i = 1; i < batch->count; i++) {
        struct victim victim = batch->victim[i];
        unsigned at = i;

        while (at > 0 && batch->victim[at - 1].slot > victim.slot) {
            batch->victim[at] = batch->victim[at - 1];
            at--;
        }
        batch->victim[at] = victim;
    }
}

static unsigned run_length(const struct batch *batch, unsigned first)
{
    unsigned last = first + 1;

    while (last < batch->count && last - first < BLOCK_MAX_PAGES &&
           batch->victim[last].slot == batch->victim[last - 1].slot + 1) {
        last++;
    }
    return last - first;
}

static void write_run(struct page_io *io, const struct victim *victim, unsigned count)
{
    page_io_start_at(io, victim->slot);
    for (unsigned i = 0; i < count; i++) {
        page_io_add(io, victim[i].frame);
    }
    page_io_submit(io);
}

/* In runs of neighbouring slots, as far as there are page I/Os. */
static unsigned write_out(struct batch *batch)
{
    struct space *space = batch->space;
    unsigned first = 0;

    sort_by_slot(batch);
    while (first < batch->count) {
        struct page_io *io = page_io_get(&space->owner, BLOCK_WRITE, NULL);
        unsigned count = run_length(batch, first);

        if (io == NULL) {
            break;
        }
        write_run(io, &batch->victim[first], count);
        first += count;
    }
    for (unsigned i = first; i < batch->count; i++) {
        put_back(space, &batch->victim[i], GENERATIONS);
    }
    return first;
}

/* Of a batch whose victims have been chosen: how many left or are leaving. */
static unsigned send_off(struct batch *batch)
{
    struct space *space = batch->space;
    uint64_t memory = space->where[PLACE_FRAME];
    unsigned settled, written;

    if (batch->count == 0) {
        return 0;
    }
    mm_tlb_shootdown(space);
    settled = settle_without_write(batch);
    written = write_out(batch);
    balance_note_eviction(&space->balance, GENERATION_COPY, batch->gone[GENERATION_COPY], 0,
                          memory);
    balance_note_eviction(&space->balance, GENERATION_OWN, batch->gone[GENERATION_OWN] + written,
                          written, memory);
    return settled + written;
}

/* There is no store, or it is full: nothing can leave but copies, old or young, dear or not. */
static unsigned take_copies_alone(struct space *space, unsigned target, bool ignore_age)
{
    struct batch batch = {.space = space, .target = target};

    space->ignore_age = ignore_age;
    choose_of_kind(&batch, GENERATION_COPY);
    space->ignore_age = batch.count == 0;
    return send_off(&batch);
}

static unsigned take_batch(struct space *space, unsigned target)
{
    struct batch batch = {.space = space, .target = target};
    bool ignore_age = space->ignore_age, found;
    unsigned leaving;

    choose_victims(&batch);
    found = batch.count > 0;
    leaving = send_off(&batch);
    return found && leaving == 0 ? take_copies_alone(space, target, ignore_age) : leaving;
}

unsigned reclaim_batch(struct space *space, unsigned target, uint64_t floor)
{
    uint64_t resident;
    unsigned leaving = 0;

    spin_lock(&space->lock);
    resident = space->where[PLACE_FRAME];
    if (resident > floor) {
        leaving = take_batch(space, (unsigned)MIN(MIN(target, BATCH_PAGES), resident - floor));
    }
    spin_unlock(&space->lock);
    return leaving;
}

/* The page's entry, and its frame that may leave; large pages are split.  False: it cannot. */
static bool find_evictable(struct space *space, gfn_t page, uint64_t **entry, pfn_t *frame)
{
    unsigned level;

    if (space_find_memslot(space, page.v) == NULL) {
        return false;
    }
    *entry = table_leaf(&space->table, page, &level);
    if (entry_kind(space, table_entry_get(*entry), level) != PLACE_FRAME) {
        return false;
    }
    *frame = entry_frame(space, table_entry_get(*entry), level);
    if (frame_get(*frame)->flags & (FRAME_PINNED | FRAME_IO_WRITE)) {
        return false;
    }
    if (level > 1) {
        if (!space_split_large(space, page, *frame)) {
            return false;
        }
        *entry = table_leaf(&space->table, page, &level);
        *frame = entry_frame(space, table_entry_get(*entry), level);
    }
    return true;
}

bool space_evict(struct space *space, gfn_t page)
{
    struct batch batch = {.space = space, .target = 1};
    uint64_t *entry;
    unsigned level;
    pfn_t frame;
    bool out;

    spin_lock(&space->lock);
    if (!space->owner.closed && find_evictable(space, page, &entry, &frame)) {
        take_victim(&batch, entry, page, frame);
        send_off(&batch);
    }
    entry = table_leaf(&space->table, page, &level);
    out = tier_holds(entry_kind(space, table_entry_get(entry), level));
    spin_unlock(&space->lock);
    return out;
}
