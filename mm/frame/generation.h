/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multi-generation lists of the resident frames of one space, of two kinds: copies of a disk's
 * blocks, which can be dropped, and the rest, which as a rule has to be written.
 *
 *     ancient              oldest            youngest      sequence numbers, modulo 64
 *       |                    |                  |
 *     list  <-- moved --   list --> ...  -->  list         at most GENERATIONS lists
 *       ^ reclaim takes from its tail           ^ faults and accessed frames go to the head
 *
 * The youngest is that of both kinds, the oldest each kind's own: how old either has become is
 * what reclaim balances by (mm/space/balance.h).
 *
 * A frame remembers its kind and the sequence number of its list (frame->kind, frame->generation);
 * lists are linked through the frames (frame->next, frame->prev).  A block of several frames is
 * linked by its first one and counts with all its pages.
 *
 * A scan period opens a new youngest list.  What becomes too old for a list of its own is moved to
 * the ancient one before, a bounded number of frames at a time, and stays there: bookkeeping costs
 * nothing for a page whose age does not change.
 *
 * Locks: that of the space.
 */
#ifndef SPILLWAY_MM_FRAME_GENERATION_H
#define SPILLWAY_MM_FRAME_GENERATION_H

#include "base/types.h"

#define GENERATIONS 8u /* power of two; the ancient one is among them */

enum generation_kind {
    GENERATION_OWN,
    GENERATION_COPY, /* was a copy of a block when it was put there: reclaim looks again */
    GENERATION_KINDS,
};

struct generation_list {
    uint32_t head, tail; /* frame numbers, FRAME_NONE */
    uint64_t pages;
};

struct generations {
    struct generation_list list[GENERATION_KINDS][GENERATIONS]; /* of sequence number modulo that */
    struct generation_list ancient[GENERATION_KINDS];
    uint8_t oldest[GENERATION_KINDS], youngest;
};

void generation_init(struct generations *g);
/* Puts a frame on the list that is `age` periods old, or on the oldest that any kind has. */
void generation_add(struct generations *g, pfn_t frame, enum generation_kind kind, unsigned age);
void generation_remove(struct generations *g, pfn_t frame);
/* Has been accessed: to the head of the youngest list. */
void generation_touch(struct generations *g, pfn_t frame);
/* Is of that kind, not of the one that it was put on the list as; its age stays. */
void generation_change_kind(struct generations *g, pfn_t frame, enum generation_kind kind);
/* How many periods ago the frame was last known to be accessed; GENERATIONS - 1: or more. */
unsigned generation_age(const struct generations *g, pfn_t frame);
/* The frame of that kind to reclaim next; false: there are none. */
bool generation_oldest(struct generations *g, enum generation_kind kind, pfn_t *frame);
/* Makes room for a new generation, moving at most `budget` frames.  True: there is room. */
bool generation_make_room(struct generations *g, unsigned budget);
/* Opens a new youngest generation; there must be room. */
void generation_advance(struct generations *g);
/* Lists in use: 1 .. GENERATIONS; of all kinds, of one. */
unsigned generation_count(const struct generations *g);
unsigned generation_count_of(const struct generations *g, enum generation_kind kind);
/* Pages on the lists of that age; 0 if there are none.  Without the lock: a hint. */
uint64_t generation_pages(const struct generations *g, unsigned age);

#endif
