/* SPDX-License-Identifier: BSD-2-Clause */
/* What an address space says of itself. */
#include <string.h>

#include "mm/content/tier.h"
#include "mm/space/space_internal.h"

/* Ages 0, 1, 2, 3-4, 5-8, ...: more than the generations can tell apart falls into the last. */
static void fill_histogram(const struct generations *g, uint64_t histogram[8])
{
    static const uint8_t bucket[GENERATIONS] = {0, 1, 2, 3, 3, 4, 4, 4};

    memset(histogram, 0, 8 * sizeof(histogram[0]));
    for (unsigned age = 0; age < GENERATIONS; age++) {
        histogram[bucket[age]] += generation_pages(g, age);
    }
}

/* Pages that are in memory and take no frame. */
static uint64_t pages_at_once(const struct space *space)
{
    uint64_t pages = 0;

    for (unsigned kind = PLACE_HOLE + 1; kind < PLACE_KINDS; kind++) {
        pages += tier_at_once((enum place_kind)kind) ? space->where[kind] : 0;
    }
    return pages;
}

static void fill_stats(const struct space *space, struct space_stats *stats)
{
    *stats = (struct space_stats){
        .resident = space->where[PLACE_FRAME],
        .hole = space->where[PLACE_HOLE],
        .pattern = pages_at_once(space),
        .stored = space->where[PLACE_SLOT] + space->where[PLACE_LOST],
        .disk = space->where[PLACE_DISK],
        .transit = space->where[PLACE_READING] + space->where[PLACE_WRITING],
        .wss = generation_pages(&space->generations, 0) + generation_pages(&space->generations, 1),
        .faults = space->faults,
        .faults_zero = space->faults_zero,
        .page_ins = space->page_ins,
        .page_outs = space->page_outs,
        .clean_drops = space->clean_drops,
        .refaults = space->refaults,
        .readahead = space->readahead,
        .readahead_hits = space->readahead_hits,
        .discards = space->discards,
        .disk_drops = space->identities.disk_drops,
        .disk_reads = space->identities.disk_reads,
        .false_reads_avoided = space->identities.false_reads_avoided,
        .table_pages = space->table.pages,
        .memory = space_pages_of_all(space),
    };
    fill_histogram(&space->generations, stats->age_histogram);
}

void space_get_stats(struct space *space, struct space_stats *stats)
{
    spin_lock(&space->lock);
    fill_stats(space, stats);
    spin_unlock(&space->lock);
}
