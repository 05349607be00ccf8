/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces: creation, memslots, limits, tear-down. */
#include "mm/space/space.h"

#include <stdatomic.h>
#include <string.h>

#include "mm/content/page_io.h"
#include "mm/content/tier.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"

#define DRAIN_PAGES        1024u /* looked at per space_drain() */
#define ROOM_PAGES         64u   /* below its max, so that a fault need not wait for room */
#define TOTAL_FOR_OTHERS   8u /* of the machine's frames this part is tables, stores and the like */
#define CLUSTERS_PER_FRAME ((uint32_t)(PAGE_SIZE / sizeof(uint32_t)))

/* ---- creation ------------------------------------------------------------------------------- */

static bool room_is_free(struct wait_room *room, uint64_t others)
{
    return space_has_room(CONTAINER_OF(room, struct space, room), others);
}

static void init_space(struct space *space, const struct space_config *config, pfn_t self)
{
    memset(space, 0, sizeof(*space));
    spin_init(&space->lock, RANK_SPACE, "space");
    space->self = self;
    page_owner_init(&space->owner, &space_pages, config->name, config->store);
    space->room.free = room_is_free;
    space->min_pages = config->min_pages;
    space->max_pages = config->max_pages;
    space->working_pages = config->working_pages;
    space->shares = MAX(config->shares, 1u);
    space->read_ahead = READ_WINDOW_START;
    space->last_read_gfn = GFN_LIMIT;
    space->copies_gfn = GFN_LIMIT;
    generation_init(&space->generations);
    atomic_init(&space->flush_gen, 1);
}

struct space *space_create(const struct space_config *config)
{
    pfn_t self;

    if (!frame_alloc(0, ALLOC_META, 0, &self)) {
        return NULL;
    }
    struct space *space = mm_frame_ptr(self);

    init_space(space, config, self);
    if (!table_init(&space->table, config->format)) {
        frame_free(self);
        return NULL;
    }
    if (!pager_add_space(space)) {
        table_destroy(&space->table);
        frame_free(self);
        return NULL;
    }
    return space;
}

#define SHIFT_OF_LEVEL(level) (TABLE_INDEX_BITS * (level)) /* pages that one table maps */

uint64_t space_create_cost(uint64_t pages, unsigned memslots)
{
    uint64_t clusters = (pages >> REGION_SHIFT) / CLUSTERS_PER_FRAME + 1;

    return 2 + frame_array_cost(clusters) + memslots * frame_array_cost(1);
}

uint64_t space_overhead(uint64_t pages, unsigned memslots)
{
    uint64_t tables = 0; /* but the root */

    for (unsigned level = 1; level < TABLE_LEVELS; level++) {
        tables += (pages >> SHIFT_OF_LEVEL(level)) + memslots + 1;
    }
    return space_create_cost(pages, memslots) + tables;
}

/* The 2 MiB regions that the memslot touches. */
static uint64_t memslot_regions(const struct memslot *memslot)
{
    return ((memslot->base + memslot->pages - 1) >> REGION_SHIFT) -
           (memslot->base >> REGION_SHIFT) + 1;
}

uint32_t *space_cluster(const struct memslot *memslot, uint64_t page)
{
    uint64_t region = (page >> REGION_SHIFT) - (memslot->base >> REGION_SHIFT);
    uint32_t *numbers = frame_array_at(&memslot->clusters, (uint32_t)(region / CLUSTERS_PER_FRAME));

    return &numbers[region % CLUSTERS_PER_FRAME];
}

static bool alloc_clusters(struct memslot *memslot)
{
    uint64_t frames = (memslot_regions(memslot) + CLUSTERS_PER_FRAME - 1) / CLUSTERS_PER_FRAME;

    while (memslot->clusters.frames < frames) {
        void *numbers = frame_array_grow(&memslot->clusters, NULL);

        if (numbers == NULL) {
            frame_array_free(&memslot->clusters);
            return false;
        }
        memset(numbers, 0xff, PAGE_SIZE);
    }
    return true;
}

_Static_assert(STORE_NONE == 0xffffffff, "alloc_clusters fills with 0xff");

static bool memslot_overlaps(const struct space *space, uint64_t base, uint64_t pages)
{
    for (unsigned i = 0; i < space->memslots; i++) {
        if (base < space->memslot[i].base + space->memslot[i].pages &&
            space->memslot[i].base < base + pages) {
            return true;
        }
    }
    return false;
}

/* Of those that are not closed. */
static _Atomic uint64_t pages_of_all_spaces;

bool space_may_run_short(const struct space *space)
{
    uint64_t total = frame_alloc_total();
    uint64_t all = atomic_load_explicit(&pages_of_all_spaces, memory_order_relaxed);

    return all > total - total / TOTAL_FOR_OTHERS ||
           (space->max_pages != 0 && space->max_pages < space_pages_of_all(space));
}

static void insert_memslot(struct space *space, const struct memslot *memslot)
{
    unsigned at = space->memslots;

    while (at > 0 && space->memslot[at - 1].base > memslot->base) {
        space->memslot[at] = space->memslot[at - 1];
        at--;
    }
    space->memslot[at] = *memslot;
    space->memslot[at].number = space_pages_of_all(space);
    space->memslots++;
    space->where[PLACE_HOLE] += memslot->pages;
    atomic_fetch_add(&pages_of_all_spaces, memslot->pages);
}

bool space_add_memslot(struct space *space, gfn_t base, uint64_t pages, uint32_t flags)
{
    struct memslot memslot = {.base = base.v, .pages = pages, .flags = flags};
    bool fits;

    if (pages == 0 || pages > GFN_LIMIT || base.v > GFN_LIMIT - pages) {
        return false;
    }
    spin_lock(&space->lock);
    fits = space->memslots < SPACE_MAX_MEMSLOTS && !memslot_overlaps(space, base.v, pages) &&
           (space->owner.store == NULL || alloc_clusters(&memslot));
    if (fits) {
        insert_memslot(space, &memslot);
    }
    spin_unlock(&space->lock);
    return fits;
}

/* ---- look-up -------------------------------------------------------------------------------- */

static const struct memslot *find_memslot(const struct space *space, uint64_t page)
{
    for (unsigned i = 0; i < space->memslots; i++) {
        /* Wraps below the base, so one comparison does. */
        if (page - space->memslot[i].base < space->memslot[i].pages) {
            return &space->memslot[i];
        }
    }
    return NULL;
}

struct memslot *space_find_memslot(struct space *space, uint64_t page)
{
    const struct memslot *memslot = find_memslot(space, page);

    return memslot == NULL ? NULL : &space->memslot[memslot - space->memslot];
}

const struct memslot *space_memslot_from(const struct space *space, uint64_t page)
{
    for (unsigned i = 0; i < space->memslots; i++) {
        if (page < space->memslot[i].base + space->memslot[i].pages) {
            return &space->memslot[i];
        }
    }
    return NULL;
}

/* Memslots do not change after the first fault, so no lock. */
bool space_owns(const struct space *space, gfn_t page)
{
    return find_memslot(space, page.v) != NULL;
}

pfn_t space_root(const struct space *space)
{
    return space->table.root;
}

_Atomic uint64_t *space_flush_gen(struct space *space)
{
    return &space->flush_gen;
}

/* ---- frames of the space -------------------------------------------------------------------- */

/* A field that others change meanwhile. */
static uint64_t peek(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

uint64_t space_in_frames(const struct space *space)
{
    return peek(&space->where[PLACE_FRAME]) + peek(&space->where[PLACE_READING]) +
           peek(&space->where[PLACE_WRITING]);
}

bool space_has_room(const struct space *space, uint64_t others)
{
    uint64_t max = peek(&space->max_pages);

    /* If nothing can leave, for want of a slot, the limit has to give way: who waited for room
     * would wait for the others to bring their pages back. */
    return max == 0 || space_in_frames(space) + others < max || space->owner.store == NULL ||
           store_is_full(space->owner.store);
}

bool space_may_grow_to_max(const struct space *space, const struct mm_waiter *waiter)
{
    if (waiter != NULL && waiter->has_room && waiter->room == &space->room) {
        return space_has_room(space, 0);
    }
    return __atomic_load_n(&space->room.waiters, __ATOMIC_RELAXED) == 0 &&
           space_has_room(space, __atomic_load_n(&space->room.promised, __ATOMIC_RELAXED));
}

uint64_t space_floor(const struct space *space)
{
    return peek(&space->min_pages) + space->working_pages;
}

uint64_t space_own_limit(const struct space *space)
{
    uint64_t max = peek(&space->max_pages);

    return max == 0 ? UINT64_MAX : max - MIN(ROOM_PAGES, max / 2);
}

void space_bind_frame(struct space *space, gfn_t page, pfn_t number)
{
    struct frame *frame = frame_get(number);

    rmap_set(frame, space->id, page.v);
    frame->slot = FRAME_NONE;
    frame->flags = 0;
    frame->map_count = 0;
}

void space_map_frame(struct space *space, uint64_t *entry, gfn_t page, pfn_t number, unsigned level,
                     unsigned flags, unsigned age)
{
    struct frame *frame = frame_get(number);

    ASSERT(rmap_first(frame).page == page.v && rmap_part(frame) == space->id);
    frame->map_count = 1;
    table_entry_set(
        entry, space->table.format->make_leaf(number, level, LEAF_WRITABLE | LEAF_EXEC | flags));
    if (!(frame->flags & FRAME_PINNED)) {
        generation_add(&space->generations, number, space_kind_of(frame), age);
    }
}

bool space_split_large(struct space *space, gfn_t any, pfn_t first)
{
    gfn_t page = gfn(ALIGN_DOWN(any.v, REGION_PAGES));
    unsigned age = generation_age(&space->generations, first);

    if (!table_split(&space->table, page)) {
        return false;
    }
    generation_remove(&space->generations, first);
    frame_alloc_split(first);
    for (uint64_t i = 0; i < REGION_PAGES; i++) {
        pfn_t number = pfn(first.v + i);

        space_bind_frame(space, gfn(page.v + i), number);
        frame_get(number)->map_count = 1;
        generation_add(&space->generations, number, GENERATION_OWN, age);
    }
    space->large_splits++;
    return true;
}

/* ---- limits --------------------------------------------------------------------------------- */

void space_set_limits(struct space *space, uint64_t min_pages, uint64_t max_pages, uint32_t shares)
{
    spin_lock(&space->lock);
    space->min_pages = min_pages;
    space->max_pages = max_pages;
    space->shares = MAX(shares, 1u);
    spin_unlock(&space->lock);
    mm_pager_wake();
}

/* ---- tear-down ------------------------------------------------------------------------------ */

void space_close(struct space *space)
{
    pager_remove_space(space);
    spin_lock(&space->lock);
    page_owner_close(&space->owner);
    atomic_fetch_sub(&pages_of_all_spaces, space_pages_of_all(space));
    spin_unlock(&space->lock);
}

static void free_leaf(struct space *space, uint64_t value, unsigned level)
{
    pfn_t number = entry_frame(space, value, level);
    struct frame *frame = frame_get(number);
    uint64_t pages = 1ull << (REGION_SHIFT * (level - 1));

    if (!(frame->flags & FRAME_PINNED)) {
        generation_remove(&space->generations, number);
    }
    page_io_drop_copy(&space->owner, frame);
    space_move(space, PLACE_FRAME, PLACE_HOLE, pages);
    frame_free(number);
}

/* The page becomes a hole.  No I/O is in flight, so it is neither READING nor WRITING. */
static void free_page(struct space *space, uint64_t *entry, unsigned level)
{
    uint64_t value = table_entry_get(entry);
    struct place at = entry_place(space, value, level);

    if (at.kind == PLACE_HOLE) {
        return;
    }
    if (at.kind == PLACE_FRAME) {
        free_leaf(space, value, level);
    } else {
        ASSERT(tier_holds(at.kind) || at.kind == PLACE_LOST);
        if (tier_holds(at.kind)) {
            tier_drop(&space->owner, at);
        }
        space_move(space, at.kind, PLACE_HOLE, 1);
    }
    entry_set_place(space, entry, place(PLACE_HOLE, 0));
}

static void free_clusters(struct space *space, struct memslot *memslot)
{
    uint64_t regions = memslot->clusters.frames != 0 ? memslot_regions(memslot) : 0;

    for (uint64_t i = 0; i < regions; i++) {
        uint32_t cluster = *space_cluster(memslot, memslot->base + (i << REGION_SHIFT));

        if (cluster != STORE_NONE) {
            store_cluster_give(space->owner.store, cluster);
        }
    }
    frame_array_free(&memslot->clusters);
}

/* The tables of [first, end), which are holes now: no CPU uses them any more. */
static void free_tables(struct space *space, uint64_t first, uint64_t end)
{
    struct table_trash trash;

    table_trash_init(&trash);
    table_prune(&space->table, gfn(first), gfn(end), &trash);
    table_trash_free(&trash);
}

/* Some pages of the memslot, from where the last call ended; false: more is left.  `drain_gfn`
 * counts from the base. */
static bool drain_memslot(struct space *space, const struct memslot *memslot)
{
    uint64_t first = ALIGN_DOWN(memslot->base + space->drain_gfn, REGION_PAGES);
    unsigned budget = DRAIN_PAGES;

    while (budget-- > 0 && space->drain_gfn < memslot->pages) {
        uint64_t page = memslot->base + space->drain_gfn;
        unsigned level;
        uint64_t *entry = table_leaf(&space->table, gfn(page), &level);
        uint64_t span = 1ull << (REGION_SHIFT * (level - 1));

        free_page(space, entry, level);
        space->drain_gfn = ALIGN_DOWN(page, span) + span - memslot->base;
    }
    free_tables(space, first, memslot->base + space->drain_gfn);
    return space->drain_gfn >= memslot->pages;
}

/* False: more is left. */
static bool drain_some(struct space *space)
{
    struct memslot *memslot;

    if (space->drain_memslot == space->memslots) {
        return true;
    }
    memslot = &space->memslot[space->drain_memslot];
    if (drain_memslot(space, memslot)) {
        free_clusters(space, memslot);
        space->drain_memslot++;
        space->drain_gfn = 0;
    }
    return space->drain_memslot == space->memslots;
}

bool space_drain(struct space *space)
{
    bool empty;

    spin_lock(&space->lock);
    ASSERT(space->owner.closed);
    empty = page_owner_idle(&space->owner) && space->pins == 0 && drain_some(space);
    spin_unlock(&space->lock);
    return empty;
}

void space_free(struct space *space)
{
    pfn_t self = space->self;

    ASSERT(space->owner.closed && page_owner_idle(&space->owner));
    ASSERT(space->drain_memslot == space->memslots);
    table_destroy(&space->table);
    identity_free(space);
    if (space->has_ones) {
        frame_free(space->ones);
    }
    frame_free(self);
}
