/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/block_slots.h"

#include "drivers/block.h"

_Static_assert(BLOCK_SLOTS <= 64, "slots are bits of one word");

unsigned block_slots_for(unsigned queues)
{
    return queues <= 2 ? BLOCK_SLOTS : BLOCK_SLOTS / 2;
}

void block_slots_init(struct block_slots *slots, unsigned count)
{
    slots->free = BITS(count - 1, 0);
    slots->used = 0;
    slots->next_check = 0;
}

unsigned block_slots_take(struct block_slots *slots, const struct block_slice *slice)
{
    unsigned index = (unsigned)__builtin_ctzll(slots->free);

    slots->free &= ~BIT(index);
    slots->used |= BIT(index);
    slots->slot[index] = (struct block_slot){.slice = *slice};
    return index;
}

void block_slots_end(struct block_slots *slots, unsigned index, struct block_queue *queue,
                     enum block_status status)
{
    slots->used &= ~BIT(index);
    slots->free |= BIT(index);
    block_queue_end(queue, &slots->slot[index].slice, status);
}

bool block_slots_retry(struct block_slots *slots, unsigned index)
{
    if (slots->slot[index].retries == BLOCK_RETRIES) {
        return false;
    }
    slots->slot[index].retries++;
    return true;
}

int block_slots_overdue(struct block_slots *slots, uint64_t now, uint64_t grace)
{
    if (now < slots->next_check) {
        return -1;
    }
    slots->next_check = now + BLOCK_TIMEOUT_CHECK_NS;
    for (uint64_t left = slots->used; left != 0; left &= left - 1) {
        int index = __builtin_ctzll(left);

        if (now >= slots->slot[index].deadline + grace) {
            return index;
        }
    }
    return -1;
}
