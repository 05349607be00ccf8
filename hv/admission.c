/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/admission.h"

#include <stdio.h>

#include "mm/tmem.h"

/* Frames that no promise may use: reclaim's reserve, per-CPU caches, pages in transit. */
#define POOL_RESERVE 512
/* One table page maps 512 pages; the upper levels and the vCPUs take a few more. */
#define TABLE_REACH 512
#define VM_OVERHEAD 64

uint64_t admission_need(uint64_t memory_pages)
{
    return memory_pages + memory_pages / TABLE_REACH + VM_OVERHEAD;
}

uint64_t admission_tmem_need(uint64_t quota_pages)
{
    return quota_pages + tmem_overhead(quota_pages);
}

static unsigned long mib(uint64_t pages)
{
    return (unsigned long)(pages / 256);
}

bool admission_check(const struct admission *a, uint64_t need, uint64_t min_pages, char *message,
                     size_t message_bytes)
{
    uint64_t usable = a->pool > POOL_RESERVE ? a->pool - POOL_RESERVE : 0;
    uint64_t capacity = usable + a->store;
    uint64_t left = capacity > a->promised ? capacity - a->promised : 0;

    if (need > left) {
        snprintf(message, message_bytes,
                 "needs %lu MiB at the worst, expected at most %lu MiB: pool %lu + store %lu - "
                 "promised %lu MiB",
                 mib(need + 255), mib(left), mib(usable), mib(a->store), mib(a->promised));
        return false;
    }
    if (min_pages > usable / 2) {
        snprintf(message, message_bytes,
                 "min is %lu MiB, expected at most half of the pool of %lu MiB", mib(min_pages),
                 mib(usable));
        return false;
    }
    return true;
}
