/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/page_pool.h"

#include "base/bits.h"
#include "drivers/platform.h"

#define ALIGNMENT 16u

void page_pool_fill(struct page_pool *pool, void *memory, uint64_t bytes)
{
    uint64_t skip = -(uintptr_t)memory & (ALIGNMENT - 1);

    pool->at = (uint8_t *)memory + skip;
    pool->left = bytes > skip ? bytes - skip : 0;
}

void *page_pool_take(struct page_pool *pool, uint64_t bytes)
{
    uint64_t take = ALIGN_UP(bytes, ALIGNMENT);
    hpa_t address;

    if (take > pool->left) {
        void *page = take <= PAGE_SIZE ? platform_dma_alloc(PAGE_SIZE, &address) : NULL;

        if (page == NULL) {
            return NULL;
        }
        page_pool_fill(pool, page, PAGE_SIZE);
    }
    pool->at += take;
    pool->left -= take;
    return pool->at - take;
}
