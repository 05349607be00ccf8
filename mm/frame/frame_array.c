/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/frame_array.h"

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame_alloc.h"

#define FANOUT_SHIFT 10u
#define FANOUT       (1u << FANOUT_SHIFT)
#define DEPTH_MAX    2u

_Static_assert(FANOUT * sizeof(uint32_t) == PAGE_SIZE, "a directory is a frame of frame numbers");

static uint32_t *directory(uint32_t number)
{
    return mm_frame_ptr(pfn(number));
}

/* Frames of data below one entry of a directory at that depth (1: right above the data). */
static uint32_t reach(unsigned depth)
{
    return 1u << FANOUT_SHIFT * (depth - 1);
}

static uint32_t find(const struct frame_array *array, uint32_t index)
{
    uint32_t number = array->root;

    for (unsigned depth = array->depth; depth > 0; depth--) {
        number = directory(number)[index / reach(depth) % FANOUT];
    }
    return number;
}

void *frame_array_at_depth(const struct frame_array *array, uint32_t index)
{
    ASSERT(index < array->frames);
    if (array->depth == 1) {
        return mm_frame_ptr(pfn(((const uint32_t *)array->top)[index]));
    }
    return mm_frame_ptr(pfn(find(array, index)));
}

/* Counts the directories that the data frame of that index needs and those before it do not: a new
 * root, and those on the way to it of which it is the first. */
static unsigned new_directories(const struct frame_array *array, uint32_t index)
{
    unsigned count = 0, depth = array->depth;

    if (index != 0 && index == reach(depth + 1)) {
        count++;
        depth++;
    }
    while (depth > 1 && index % reach(depth) == 0) {
        count++;
        depth--;
    }
    return count;
}

static bool take_frames(uint32_t *number, unsigned count, struct frame_promise *promise)
{
    for (unsigned i = 0; i < count; i++) {
        pfn_t frame;

        if (!frame_alloc_promised(promise, ALLOC_META, &frame)) {
            while (i-- > 0) {
                frame_free(pfn(number[i]));
            }
            return false;
        }
        number[i] = (uint32_t)frame.v;
    }
    return true;
}

void *frame_array_grow(struct frame_array *array, struct frame_promise *promise)
{
    uint32_t index = array->frames, made[DEPTH_MAX + 1], number, *place;
    unsigned directories = new_directories(array, index);

    ASSERT(array->depth < DEPTH_MAX || index < reach(DEPTH_MAX + 1));
    if (!take_frames(made, directories + 1, promise)) {
        return NULL;
    }
    number = made[directories];
    place = &array->root;
    if (index != 0 && index == reach(array->depth + 1)) {
        uint32_t old = array->root;

        array->root = made[--directories];
        directory(array->root)[0] = old;
        array->depth++;
    }
    for (unsigned depth = array->depth; depth > 0; depth--) {
        place = &directory(*place)[index / reach(depth) % FANOUT];
        if (depth > 1 && index % reach(depth) == 0) {
            *place = made[--directories];
        }
    }
    *place = number;
    array->top = mm_frame_ptr(pfn(array->root));
    array->frames++;
    return mm_frame_ptr(pfn(number));
}

void frame_array_shrink(struct frame_array *array)
{
    uint32_t index = --array->frames, number = array->root, below;

    /* Directories that have this frame as their only one go with it. */
    for (unsigned depth = array->depth; depth > 0; depth--) {
        below = directory(number)[index / reach(depth) % FANOUT];
        if (depth < array->depth && index % reach(depth + 1) == 0) {
            frame_free(pfn(number));
        }
        number = below;
    }
    frame_free(pfn(number));
    if (array->depth > 0 && index == reach(array->depth)) {
        number = array->root;
        array->root = directory(number)[0];
        array->depth--;
        array->top = mm_frame_ptr(pfn(array->root));
        frame_free(pfn(number));
    }
}

void frame_array_free(struct frame_array *array)
{
    while (array->frames > 0) {
        frame_array_shrink(array);
    }
}

uint64_t frame_array_cost(uint64_t frames)
{
    uint64_t cost = frames;

    while (frames > 1) {
        frames = (frames + FANOUT - 1) / FANOUT;
        cost += frames;
    }
    return cost;
}
