/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arrays in single frames: they grow and shrink at their end, and need no two frames side by side.
 *
 *     depth 0: root = the one data frame      up to           4 KiB
 *     depth 1: root -> data frames                            4 MiB
 *     depth 2: root -> directories -> data frames             4 GiB
 *
 * All are META frames.  Locks: the caller's.
 */
#ifndef SPILLWAY_MM_FRAME_FRAME_ARRAY_H
#define SPILLWAY_MM_FRAME_FRAME_ARRAY_H

#include "base/types.h"
#include "mm/frame/frame_alloc.h"

struct frame_array {
    uint32_t root;   /* frame */
    uint32_t frames; /* of data; 0: empty, and root means nothing */
    unsigned depth;
    void *top; /* where the root is */
};

/* One more frame of data, of any content, at the end, out of `promise` if it is not NULL.  NULL: no
 * memory, nothing has changed. */
void *frame_array_grow(struct frame_array *array, struct frame_promise *promise);
/* Frees the last frame of data, and directories that are not needed any more. */
void frame_array_shrink(struct frame_array *array);
void frame_array_free(struct frame_array *array);
/* The 4 KiB of data frame `index`, below `frames`. */
void *frame_array_at_depth(const struct frame_array *array, uint32_t index);
static inline void *frame_array_at(const struct frame_array *array, uint32_t index)
{
    return array->depth == 0 ? array->top : frame_array_at_depth(array, index);
}

/* How many frames, directories included, an array of so many frames of data takes. */
uint64_t frame_array_cost(uint64_t frames);

#endif
