/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/block_tags.h"

#include "drivers/block.h"

_Static_assert(BLOCK_TAGS <= 64, "tags are bits of one word");

unsigned block_tags_for(unsigned queues)
{
    return queues <= 2 ? BLOCK_TAGS : BLOCK_TAGS / 2;
}

void block_tags_init(struct block_tags *tags, unsigned count)
{
    tags->free = BITS(count - 1, 0);
    tags->used = 0;
    atomic_init(&tags->next_check, 0);
}

unsigned block_tags_take(struct block_tags *tags)
{
    unsigned index = (unsigned)__builtin_ctzll(tags->free);

    tags->free &= ~BIT(index);
    tags->used |= BIT(index);
    tags->tag[index].retries = 0;
    return index;
}

void block_tags_end(struct block_tags *tags, unsigned index, struct block_queue *queue,
                    enum block_status status)
{
    tags->used &= ~BIT(index);
    tags->free |= BIT(index);
    block_queue_end(queue, &tags->tag[index].slice, status);
}

bool block_tags_retry(struct block_tags *tags, unsigned index)
{
    if (tags->tag[index].retries == BLOCK_RETRIES) {
        return false;
    }
    tags->tag[index].retries++;
    return true;
}

int block_tags_overdue(struct block_tags *tags, uint64_t now, uint64_t grace)
{
    if (now < block_tags_next_check(tags)) {
        return -1;
    }
    atomic_store_explicit(&tags->next_check, now + BLOCK_TIMEOUT_CHECK_NS, memory_order_relaxed);
    for (uint64_t left = tags->used; left != 0; left &= left - 1) {
        int index = __builtin_ctzll(left);

        if (now >= tags->tag[index].deadline + grace) {
            return index;
        }
    }
    return -1;
}
