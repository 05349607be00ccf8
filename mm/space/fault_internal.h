/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by fault.c and disk_in.c and nobody else.  The space's lock is held for all of it. */
#ifndef SPILLWAY_MM_SPACE_FAULT_INTERNAL_H
#define SPILLWAY_MM_SPACE_FAULT_INTERNAL_H

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

struct page_io;

/* A request to read with, and a frame for the page, bound to it but not mapped yet.  False: the
 * waiter waits for them. */
bool fault_begin_read(const struct fault *fault, struct page_io **io, pfn_t *frame);
/* A frame for a page that is only likely to be wanted: as long as memory is not short. */
bool fault_spare_frame(const struct fault *fault, uint64_t page, pfn_t *out);
/* A page that comes in, of that kind when it left, was evicted at that time of the eviction clock,
 * of which `mask` is known. */
void fault_count_refault(struct space *space, enum generation_kind kind, uint64_t when,
                         uint64_t mask);

/* ---- disk_in.c ---- */

/* A page that was dropped for a block of a disk comes from there, with those of the blocks beside
 * it. */
enum mm_result fault_from_disk(const struct fault *fault, struct place from);

#endif
