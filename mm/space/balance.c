/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/space/balance.h"

#define REFAULT_COST 4u    /* a vCPU waits for the disk; nobody waits for a write */
#define UNKNOWN      64u   /* pages of a kind whose cost is taken for what it is at least */
#define LATELY_LEAST 1024u /* pages */

static void forget_half(struct balance *balance)
{
    for (unsigned kind = 0; kind < GENERATION_KINDS; kind++) {
        balance->evicted[kind] /= 2;
        balance->gained[kind] /= 2;
        balance->cost[kind] /= 2;
    }
}

void balance_note_eviction(struct balance *balance, enum generation_kind kind, uint64_t pages,
                           uint64_t written, uint64_t memory)
{
    uint64_t lately = memory / 4 > LATELY_LEAST ? memory / 4 : LATELY_LEAST;

    balance->evicted[kind] += pages;
    balance->gained[kind] += pages;
    balance->cost[kind] += written;
    while (balance->evicted[GENERATION_OWN] + balance->evicted[GENERATION_COPY] > lately) {
        forget_half(balance);
    }
}

void balance_note_return(struct balance *balance, enum generation_kind kind)
{
    balance->gained[kind] -= balance->gained[kind] > 0;
}

void balance_note_refault(struct balance *balance, enum generation_kind kind)
{
    balance->cost[kind] += REFAULT_COST;
    balance_note_return(balance, kind);
}

/* Does a frame that is gained by copies cost more than by other pages?  A kind that nothing is
 * known of, or not any more, costs what it does at least: a page that is no copy one write. */
enum generation_kind balance_choose(const struct balance *balance)
{
    uint64_t by_copies = balance->gained[GENERATION_COPY] + UNKNOWN;
    uint64_t by_own = balance->gained[GENERATION_OWN] + UNKNOWN;
    uint64_t cost_of_copies = balance->cost[GENERATION_COPY];
    uint64_t cost_of_own = balance->cost[GENERATION_OWN] + UNKNOWN;

    return cost_of_copies * by_own > cost_of_own * by_copies ? GENERATION_OWN : GENERATION_COPY;
}
