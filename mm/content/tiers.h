/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tiers, in the order in which they are asked whether they want a page that leaves its frame:
 * X(KIND, name) makes the place PLACE_KIND, and tier_name (mm/content/tier.h) serves it.  A new
 * tier is a file of its own and a line here.
 */
#ifndef SPILLWAY_MM_CONTENT_TIERS_H
#define SPILLWAY_MM_CONTENT_TIERS_H

#define TIERS(X)                                                                                   \
    X(HOLE, hole)                                                                                  \
    X(WORD, word)                                                                                  \
    X(SLOT, slot)                                                                                  \
    X(DISK, disk)

#endif
