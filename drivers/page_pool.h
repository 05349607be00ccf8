/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small structures, cut from whole pages of the machine's memory: what a driver finds at boot
 * (namespaces, partitions), however many there are.
 *
 * A pool that is all zero is empty.  Nothing is ever given back.  Boot CPU, at boot.
 */
#ifndef SPILLWAY_DRIVERS_PAGE_POOL_H
#define SPILLWAY_DRIVERS_PAGE_POOL_H

#include "base/types.h"

struct page_pool {
    uint8_t *at; /* zeroed memory that is not taken yet */
    uint64_t left;
};

/* Gives the pool so many zeroed bytes to begin with. */
void page_pool_fill(struct page_pool *pool, void *memory, uint64_t bytes);
/* Zeroed, 16-byte aligned, at most a page.  NULL: it wants another page and there is none. */
void *page_pool_take(struct page_pool *pool, uint64_t bytes);

#endif
