/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multi-generation lists of the resident frames of one space.
 *
 *     oldest                                  youngest          sequence numbers, modulo 256
 *       |                                        |
 *     list --> list --> list --> ...  -->      list             at most GENERATIONS lists
 *       ^ reclaim takes from the tail            ^ faults and accessed frames go to the head
 *
 * A frame remembers the sequence number of its list (frame->generation); lists are linked through
 * the frames (frame->next, frame->prev).  A block of several frames is linked by its first one and
 * counts with all its pages.  A scan period opens a new youngest list; when there is no room for
 * one, the two oldest are merged, a bounded number of frames at a time.
 *
 * Locks: that of the space.
 */
#ifndef SPILLWAY_MM_FRAME_GENERATION_H
#define SPILLWAY_MM_FRAME_GENERATION_H

#include "base/types.h"

#define GENERATIONS 8u /* power of two */

struct generation_list {
    uint32_t head, tail; /* frame numbers, FRAME_NONE */
    uint64_t pages;
};

struct generations {
    struct generation_list list[GENERATIONS]; /* of sequence number modulo GENERATIONS */
    uint8_t oldest, youngest;
};

void generation_init(struct generations *g);
/* Puts a frame on the list that is `age` periods old, or on the oldest there is. */
void generation_add(struct generations *g, pfn_t frame, unsigned age);
void generation_remove(struct generations *g, pfn_t frame);
/* Has been accessed: to the head of the youngest list. */
void generation_touch(struct generations *g, pfn_t frame);
/* How many periods ago the frame was last known to be accessed. */
unsigned generation_age(const struct generations *g, pfn_t frame);
/* The frame to reclaim next; false: there are none. */
bool generation_oldest(struct generations *g, pfn_t *frame);
/* Makes room for a new generation, moving at most `budget` frames.  True: there is room. */
bool generation_make_room(struct generations *g, unsigned budget);
/* Opens a new youngest generation; there must be room. */
void generation_advance(struct generations *g);
/* Lists in use: 1 .. GENERATIONS. */
unsigned generation_count(const struct generations *g);
/* Pages on the list of that age; 0 if there is none. */
uint64_t generation_pages(const struct generations *g, unsigned age);

#endif
