/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Admission: memory is promised only when it can be kept.
 *
 * A VM is started when its worst case (every page different and dirty) and the
 * tables for it fit beside what other VMs were promised, in pool + store.
 * Pure, so that it is tested on the host.
 */
#ifndef SPILLWAY_HV_ADMISSION_H
#define SPILLWAY_HV_ADMISSION_H

#include "base/types.h"

struct admission {
    /* All in 4 KiB pages. */
    uint64_t pool;     /* frames that guests may have */
    uint64_t store;    /* slots that are not retired */
    uint64_t promised; /* to the VMs that run */
};

/* Pages that a VM with so much memory may need at the worst, its tables included. */
uint64_t admission_need(uint64_t memory_pages);
/* Pages that its tmem may need at the worst, if its persistent pools may hold so many. */
uint64_t admission_tmem_need(uint64_t quota_pages);
/*
 * May a VM that needs so many pages start?  False: message holds one line with the figures.
 */
bool admission_check(const struct admission *a, uint64_t need, uint64_t min_pages, char *message,
                     size_t message_bytes);

#endif
