/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/content/tier.h"

#define TIER_ADDRESS(kind, name) &tier_##name,

const struct tier *const tier_table[PLACE_LOST] = {TIERS(TIER_ADDRESS)};
