/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From which kind of a space's pages reclaim takes next: from copies of a disk's blocks, which go
 * without a write, or from the rest.  By what a page of each kind has cost lately: a write when it
 * left, and a wait if it was wanted back too soon.  So pages that are read once, like a file from
 * end to end, do not drive out what has to be written; and where it is the copies that are in use,
 * their refaults say so (Linux weighs file against anonymous pages so, mm/swap.c, lru_note_cost()).
 *
 * Pure arithmetic.  Locks: those of whose pages it is about.
 */
#ifndef SPILLWAY_MM_SPACE_BALANCE_H
#define SPILLWAY_MM_SPACE_BALANCE_H

#include "base/types.h"
#include "mm/frame/generation.h"

struct balance {
    uint64_t evicted[GENERATION_KINDS]; /* pages, lately */
    uint64_t gained[GENERATION_KINDS];  /* of those: have not been wanted back */
    uint64_t cost[GENERATION_KINDS];    /* of those, in writes of one page */
};

/* So many pages of that kind have left, of which so many had to be written.  `memory`: pages that
 * are resident; a quarter of it is what "lately" means. */
void balance_note_eviction(struct balance *balance, enum generation_kind kind, uint64_t pages,
                           uint64_t written, uint64_t memory);
/* Somebody waits for a page of that kind that should not have left. */
void balance_note_refault(struct balance *balance, enum generation_kind kind);
/* A page of that kind that had left has been used again; who did it has not waited. */
void balance_note_return(struct balance *balance, enum generation_kind kind);
/* The kind that gives a frame for less. */
enum generation_kind balance_choose(const struct balance *balance);

#endif
