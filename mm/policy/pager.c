/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pager: decides when and from whom to reclaim, and when to scan.
 *
 * Memory is short when free frames fall below the low watermark, and stays so until those that
 * are free or on their way out reach the high one.  The victim is who pays least per page: the
 * space with the fewest shares per page it holds, idle pages counting several times (Waldspurger,
 * "Memory Resource Management in VMware ESX Server", section "Reclaiming Idle Memory").
 *
 * tmem comes first as far as it is ephemeral: from the VM that has most of it per share.  What
 * persistent tmem has in frames competes with the spaces, as idle pages of its VM.
 */
#include "mm/policy/pager.h"

#include "mm/content/page_io.h"
#include "mm/content/store_io.h"
#include "mm/env.h"
#include "mm/space/space_internal.h"
#include "mm/tmem/internal.h"

#define BATCH            64u
#define IDLE_TAX         4u            /* 1 / (1 - 75%): what an idle page costs */
#define SCAN_PERIOD_NS   2000000000ull /* without pressure */
#define SCAN_PRESSURE_NS 100000000ull  /* when the old generations run out */
#define FUTILE_NS        5000000ull    /* how long a space that gave nothing is left alone */
#define RETRY_NS         1000000ull    /* when waiters are there and nothing can be done */
#define OLD_ENOUGH       2u            /* generations: fewer and reclaim is guessing */

static struct {
    struct spinlock lock; /* all but the atomics; by trylock in pager_run */
    struct space *space[SPACE_MAX];
    uint64_t futile_until[SPACE_MAX];
    unsigned used; /* entries of space[] in use or once in use */
    struct tmem *tmem[SPACE_MAX];
    uint64_t tmem_futile_until[SPACE_MAX];
    unsigned tmem_used;                /* likewise */
    unsigned next_over_max, next_scan; /* whose turn it is */
    bool short_of_memory;
    bool blocked; /* short, and nobody could give anything */
    _Atomic uint64_t deadline;
    _Atomic bool again; /* somebody wanted a step while one was running */
} pager = {.lock = SPINLOCK_INIT(RANK_PAGER, "pager"), .deadline = UINT64_MAX};

bool pager_add_space(struct space *space)
{
    bool added = false;

    spin_lock(&pager.lock);
    for (unsigned i = 0; i < SPACE_MAX && !added; i++) {
        if (pager.space[i] == NULL) {
            pager.space[i] = space;
            pager.futile_until[i] = 0;
            pager.used = MAX(pager.used, i + 1);
            space->id = (uint16_t)i;
            space->scan_next_ns = mm_clock_ns() + SCAN_PERIOD_NS;
            added = true;
        }
    }
    atomic_store(&pager.deadline, 0);
    spin_unlock(&pager.lock);
    return added;
}

void pager_remove_space(struct space *space)
{
    spin_lock(&pager.lock);
    if (pager.space[space->id] == space) {
        pager.space[space->id] = NULL;
    }
    spin_unlock(&pager.lock);
}

bool pager_add_tmem(struct tmem *tmem)
{
    bool added = false;

    spin_lock(&pager.lock);
    for (unsigned i = 0; i < SPACE_MAX && !added; i++) {
        if (pager.tmem[i] == NULL) {
            pager.tmem[i] = tmem;
            pager.tmem_futile_until[i] = 0;
            pager.tmem_used = MAX(pager.tmem_used, i + 1);
            tmem->place = i;
            added = true;
        }
    }
    spin_unlock(&pager.lock);
    return added;
}

void pager_remove_tmem(struct tmem *tmem)
{
    spin_lock(&pager.lock);
    if (pager.tmem[tmem->place] == tmem) {
        pager.tmem[tmem->place] = NULL;
    }
    spin_unlock(&pager.lock);
}

/* ---- whom to take from ---------------------------------------------------------------------- */

/* Fields of a space read without its lock: hints. */
static uint64_t peek(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static uint64_t outgoing_pages(void)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < pager.used; i++) {
        if (pager.space[i] != NULL) {
            pages += page_owner_outgoing(&pager.space[i]->owner);
        }
    }
    for (unsigned i = 0; i < pager.tmem_used; i++) {
        if (pager.tmem[i] != NULL) {
            pages += page_owner_outgoing(&pager.tmem[i]->owner);
        }
    }
    return pages;
}

static uint64_t active_pages(const struct space *space)
{
    return generation_pages(&space->generations, 0) + generation_pages(&space->generations, 1);
}

/* Idle-taxed pages per share, in 1/1024. */
static uint64_t burden(const struct space *space)
{
    uint64_t resident = peek(&space->where[PLACE_FRAME]);
    uint64_t active = MIN(active_pages(space), resident);

    return (active + (resident - active) * IDLE_TAX) * 1024 / space->shares;
}

static struct space *choose_space(uint64_t now)
{
    struct space *chosen = NULL;
    uint64_t most = 0;

    for (unsigned i = 0; i < pager.used; i++) {
        struct space *space = pager.space[i];

        if (space == NULL || now < pager.futile_until[i] ||
            peek(&space->where[PLACE_FRAME]) <= space_floor(space)) {
            continue;
        }
        uint64_t pages = burden(space);

        if (chosen == NULL || pages > most) {
            chosen = space;
            most = pages;
        }
    }
    return chosen;
}

/* Pages of a VM's tmem that count as idle, per share, in 1/1024. */
static uint64_t tmem_burden(struct tmem *tmem, _Atomic uint64_t *pages)
{
    return atomic_load_explicit(pages, memory_order_relaxed) * IDLE_TAX * 1024 /
           atomic_load_explicit(&tmem->shares, memory_order_relaxed);
}

static struct tmem *choose_ephemeral(void)
{
    struct tmem *chosen = NULL;
    uint64_t most = 0;

    for (unsigned i = 0; i < pager.tmem_used; i++) {
        struct tmem *tmem = pager.tmem[i];

        if (tmem != NULL && tmem_burden(tmem, &tmem->ephemeral) > most) {
            chosen = tmem;
            most = tmem_burden(tmem, &tmem->ephemeral);
        }
    }
    return chosen;
}

static struct tmem *choose_persistent(uint64_t now)
{
    struct tmem *chosen = NULL;
    uint64_t most = 0;

    for (unsigned i = 0; i < pager.tmem_used; i++) {
        struct tmem *tmem = pager.tmem[i];

        if (tmem != NULL && now >= pager.tmem_futile_until[i] &&
            tmem_burden(tmem, &tmem->resident) > most) {
            chosen = tmem;
            most = tmem_burden(tmem, &tmem->resident);
        }
    }
    return chosen;
}

/* In turn, so that one that is always there does not keep the others from it. */
static struct space *choose_over_max(uint64_t now)
{
    for (unsigned n = 0; n < pager.used; n++) {
        unsigned i = (pager.next_over_max + n) % pager.used;
        struct space *space = pager.space[i];

        if (space != NULL && now >= pager.futile_until[i] &&
            peek(&space->where[PLACE_FRAME]) > space_own_limit(space)) {
            pager.next_over_max = i + 1;
            return space;
        }
    }
    return NULL;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Nothing found although accessed pages were welcome, or found but not disposed of: all is pinned
 * or in flight, or the store is full.  Only time will help. */
static void reclaim_from(struct space *space, unsigned target, uint64_t floor, uint64_t now)
{
    bool forced = space->ignore_age;

    if (reclaim_batch(space, target, floor) == 0 && (forced || !space->ignore_age)) {
        pager.futile_until[space->id] = now + FUTILE_NS;
    }
}

static void write_out_from(struct tmem *tmem, unsigned target, uint64_t now)
{
    if (tmem_write_out(tmem, target) == 0) {
        pager.tmem_futile_until[tmem->place] = now + FUTILE_NS; /* no store, full, or no request */
    }
}

/* One batch from somebody.  False: nobody has anything to give now. */
static bool take_batch(unsigned target, uint64_t now)
{
    struct tmem *tmem = choose_ephemeral();
    struct space *space;

    if (tmem != NULL && tmem_evict(tmem, target) > 0) {
        return true;
    }
    space = choose_space(now);
    tmem = choose_persistent(now);
    if (tmem != NULL && (space == NULL || tmem_burden(tmem, &tmem->resident) > burden(space))) {
        write_out_from(tmem, target, now);
        return true;
    }
    if (space == NULL) {
        return false;
    }
    reclaim_from(space, target, space_floor(space), now);
    return true;
}

/* One batch if memory is short.  True: go on. */
static bool step_reclaim(uint64_t now)
{
    uint64_t free = frame_alloc_free_count();
    uint64_t coming = free + outgoing_pages();

    if (free < frame_alloc_low()) {
        pager.short_of_memory = true;
    }
    if (coming >= frame_alloc_high()) {
        pager.short_of_memory = false;
    }
    pager.blocked = pager.short_of_memory &&
                    !take_batch((unsigned)MIN(BATCH, frame_alloc_high() - coming), now);
    return pager.short_of_memory && !pager.blocked;
}

/* One batch of a space that is at its own max, however short memory is.  True: go on. */
static bool step_over_max(uint64_t now)
{
    struct space *space = choose_over_max(now);

    if (space == NULL) {
        return false;
    }
    reclaim_from(space, BATCH, space_own_limit(space), now);
    return true;
}

/* One slice of giving up copies.  True: go on. */
static bool step_copies(void)
{
    for (unsigned i = 0; i < pager.used; i++) {
        if (pager.space[i] != NULL && copies_step(pager.space[i])) {
            return true;
        }
    }
    for (unsigned i = 0; i < pager.tmem_used; i++) {
        if (pager.tmem[i] != NULL && tmem_copies_step(pager.tmem[i])) {
            return true;
        }
    }
    return false;
}

static bool scan_is_due(const struct space *space, uint64_t now)
{
    uint64_t early = SCAN_PERIOD_NS - SCAN_PRESSURE_NS;

    if (space->scanning || now >= space->scan_next_ns) {
        return true;
    }
    return pager.short_of_memory && reclaim_generations(space) <= OLD_ENOUGH &&
           now + early >= space->scan_next_ns;
}

/* One slice of a scan that is due, in turn.  True: go on. */
static bool step_scan(uint64_t now)
{
    for (unsigned n = 0; n < pager.used; n++) {
        unsigned i = (pager.next_scan + n) % pager.used;
        struct space *space = pager.space[i];

        if (space != NULL && scan_is_due(space, now)) {
            pager.next_scan = i + 1;
            if (!aging_step(space)) {
                space->scan_next_ns = now + SCAN_PERIOD_NS;
            }
            return true;
        }
    }
    return false;
}

static uint64_t next_deadline(uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < pager.used; i++) {
        if (pager.space[i] != NULL) {
            next = MIN(next, pager.space[i]->scan_next_ns);
        }
    }
    if (pager.blocked || wait_anybody()) {
        next = MIN(next, now + RETRY_NS);
    }
    return MIN(next, store_io_deadline(now));
}

/* Whoever fails has seen the lock held after `again` was set, so the holder will see `again`. */
static bool enter(void)
{
    if (spin_trylock(&pager.lock)) {
        return true;
    }
    atomic_store(&pager.again, true);
    return spin_trylock(&pager.lock);
}

bool pager_run(void)
{
    uint64_t now = mm_clock_ns();
    bool more;

    if (!enter()) {
        return false;
    }
    more = step_reclaim(now);
    more |= step_over_max(now);
    more |= step_copies();
    more |= step_scan(now);
    atomic_store(&pager.deadline, next_deadline(now));
    spin_unlock(&pager.lock);
    store_io_poll(now);
    wait_serve(page_io_vacant());
    return atomic_exchange(&pager.again, false) || more;
}

uint64_t pager_deadline(void)
{
    return atomic_load_explicit(&pager.deadline, memory_order_relaxed);
}
