/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/tier.h"

#define TIER_ADDRESS(kind, name) &tier_##name,

const struct tier *const tier_table[PLACE_READING] = {TIERS(TIER_ADDRESS)};

bool tier_take(struct page_owner *owner, const void *page, struct place *at)
{
    for (unsigned kind = 0; kind < ARRAY_SIZE(tier_table); kind++) {
        if (tier_table[kind]->take != NULL && tier_table[kind]->take(owner, page, at)) {
            return true;
        }
    }
    return false;
}
