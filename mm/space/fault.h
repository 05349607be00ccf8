/* SPDX-License-Identifier: BSD-2-Clause */
/* A fault that is being served, for mm/space/fault.c and what it is cut into.  The space's lock is
 * held. */
#ifndef SPILLWAY_MM_SPACE_FAULT_H
#define SPILLWAY_MM_SPACE_FAULT_H

#include "mm/space/space_internal.h"

/* The faulting page and how it is wanted, decoded once. */
struct fault {
    struct space *space;
    const struct memslot *memslot;
    gfn_t page;
    unsigned how;        /* FAULT_* */
    const void *content; /* what the whole page is about to hold; NULL: what it holds now */
    uint64_t *entry;
    struct mm_waiter *waiter;
};

/* ---- fault.c ---- */
/* Queues the waiter for a frame, or for a request to read with. */
enum mm_result fault_wait_frame(const struct fault *fault);
/* MM_OK: a frame for the page, bound to it but not mapped yet. */
enum mm_result fault_take_frame(const struct fault *fault, pfn_t *out);
/* The same for a page that is only likely to be wanted: as long as memory is not short. */
bool fault_spare_frame(const struct fault *fault, uint64_t page, pfn_t *out);
/* Counts a page that comes back, which left at that place. */
void fault_count_refault(struct space *space, struct place from);

/* ---- disk_fault.c ---- */
/* Starts reading the page, a copy of a block, from its disk; with it those that are copies of the
 * blocks beside it. */
enum mm_result fault_read_disk(const struct fault *fault, struct place from);

#endif
