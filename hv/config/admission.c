/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/config/admission.h"

#include <stdio.h>

#include "base/bits.h"
#include "mm/space/space.h"
#include "mm/tmem/tmem.h"

#define VCPU_FRAMES 4 /* of each vCPU: control structures and the extended state */
#define GUEST_SLOTS 2 /* hv/load/load.h */

uint64_t admission_working(const struct admission_terms *terms)
{
    return (uint64_t)terms->vcpus * ADMISSION_WORKING +
           (uint64_t)terms->disks * ADMISSION_DISK_PINS +
           (uint64_t)terms->nics * ADMISSION_NET_PINS + ADMISSION_VM_PINS;
}

/* From blocks of its disks to pages. */
static uint64_t disks_index(const struct admission_terms *terms)
{
    return terms->disks != 0 ? space_disks_cost(terms->memory) : 0;
}

struct admission_demand admission_demand(const struct admission_terms *terms)
{
    uint64_t resident = terms->max == 0 ? terms->memory : MIN(terms->memory, terms->max);

    return (struct admission_demand){
        .pages = terms->memory + terms->tmem,
        .cap = resident + terms->tmem,
        .floor = MIN(terms->min + admission_working(terms), resident),
        .fixed = space_overhead(terms->memory, GUEST_SLOTS) + disks_index(terms) +
                 tmem_overhead(terms->tmem) + (uint64_t)terms->vcpus * VCPU_FRAMES +
                 (uint64_t)terms->disks * ADMISSION_DISK_FRAMES +
                 (uint64_t)terms->nics * ADMISSION_NET_FRAMES,
    };
}

uint32_t admission_start_cost(const struct admission_terms *terms)
{
    return (uint32_t)(space_create_cost(terms->memory, GUEST_SLOTS) + disks_index(terms) +
                      tmem_create_cost(terms->tmem) + terms->vcpus * VCPU_FRAMES +
                      terms->disks * ADMISSION_DISK_FRAMES + terms->nics * ADMISSION_NET_FRAMES);
}

struct admission_demand admission_add(const struct admission_demand *a,
                                      const struct admission_demand *b)
{
    return (struct admission_demand){a->pages + b->pages, a->cap + b->cap, a->floor + b->floor,
                                     a->fixed + b->fixed};
}

struct admission_demand admission_subtract(const struct admission_demand *a,
                                           const struct admission_demand *b)
{
    return (struct admission_demand){a->pages - b->pages, a->cap - b->cap, a->floor - b->floor,
                                     a->fixed - b->fixed};
}

/* a - b, or nothing. */
static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t usable(const struct admission_supply *supply)
{
    return less(supply->pool, supply->kept);
}

/* Pages that have a place. */
static uint64_t places(const struct admission_supply *supply, const struct admission_demand *all)
{
    return supply->slots + MIN(less(usable(supply), all->fixed), all->cap);
}

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

static unsigned long mib_up(uint64_t pages)
{
    return mib(pages + 255);
}

static bool floors_fit(const struct admission_supply *supply, const struct admission_demand *all)
{
    return all->floor + all->fixed <= usable(supply);
}

uint64_t admission_missing(const struct admission_supply *supply,
                           const struct admission_demand *all)
{
    return less(all->pages, places(supply, all));
}

bool admission_check(const struct admission_supply *supply, const struct admission_demand *others,
                     const struct admission_demand *want, char *message, size_t message_bytes)
{
    struct admission_demand all = admission_add(others, want);
    uint64_t place = places(supply, &all);
    uint64_t taken = others->floor + others->fixed;

    if (all.pages > place) {
        snprintf(message, message_bytes,
                 "needs %lu MiB at the worst, expected at most %lu MiB: pool %lu + store %lu - "
                 "promised %lu MiB",
                 mib_up(want->pages), mib(less(place, others->pages)),
                 mib(less(place, supply->slots)), mib(supply->slots), mib_up(others->pages));
        return false;
    }
    if (!floors_fit(supply, &all)) {
        snprintf(message, message_bytes,
                 "needs %lu MiB that stay in memory (min, tables, 256 KiB for each vCPU), expected "
                 "at most %lu MiB: pool %lu - promised %lu MiB",
                 mib_up(want->floor + want->fixed), mib(less(usable(supply), taken)),
                 mib(usable(supply)), mib_up(taken));
        return false;
    }
    return true;
}
