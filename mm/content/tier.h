/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tiers: where bytes of pages are that are not in a frame.  Each kind of place that is one has an
 * entry in the table of tiers (mm/content/tiers.h, tier.c).
 *
 * A tier is at once (its `fill` is not NULL): bytes go there and come back while the caller waits,
 * in bounded time and without I/O.  Else they move by page I/O (mm/content/page_io.h); that is the
 * store alone.
 *
 * Context: any; locks of the caller's page are held.  A tier that needs memory takes it by
 * frame_alloc() and does without the page if there is none: pages leave because memory is short.
 */
#ifndef SPILLWAY_MM_CONTENT_TIER_H
#define SPILLWAY_MM_CONTENT_TIER_H

#include "mm/content/place.h"
#include "mm/owner/owner.h"

struct tier {
    /* Wants the 4 KiB, which hold still: *at says where they are from now on.  NULL: does not take
     * pages at once. */
    bool (*take)(struct page_owner *owner, const void *page, struct place *at);
    /* Writes to the 4 KiB what was taken; the place holds it still.  NULL: not at once. */
    void (*fill)(const struct page_owner *owner, uint64_t payload, void *page);
    /* The place is not the page's any more. */
    void (*drop)(struct page_owner *owner, uint64_t payload);
};

#define TIER_DECLARE(kind, name) extern const struct tier tier_##name;
TIERS(TIER_DECLARE)
extern const struct tier *const tier_table[PLACE_LOST];

static inline bool tier_holds(enum place_kind kind)
{
    return kind < PLACE_LOST;
}

/* A place from which a page comes without I/O. */
static inline bool tier_at_once(enum place_kind kind)
{
    return tier_holds(kind) && tier_table[kind]->fill != NULL;
}

/* One after the other, without a loop: every page that is put comes by. */
#define TIER_TAKE(kind, name)                                                                      \
    if (tier_##name.take != NULL && tier_##name.take(owner, page, at)) {                           \
        return true;                                                                               \
    }

/* The first tier that wants the page gets it; false: none does at once. */
static inline bool tier_take(struct page_owner *owner, const void *page, struct place *at)
{
    TIERS(TIER_TAKE)
    return false;
}

/* The place is tier_at_once(). */
static inline void tier_fill(const struct page_owner *owner, struct place at, void *page)
{
    tier_table[at.kind]->fill(owner, at.payload, page);
}

/* The place is tier_holds(). */
static inline void tier_drop(struct page_owner *owner, struct place at)
{
    tier_table[at.kind]->drop(owner, at.payload);
}

#endif
