/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame.h"

#include <string.h>

#include "base/log.h"

static struct frame *frames;
static uint64_t frame_count;

uint64_t frame_db_bytes(pfn_t highest)
{
    return (highest.v + 1) * sizeof(struct frame);
}

void frame_db_init(void *memory, pfn_t highest)
{
    ASSERT(highest.v < FRAME_NONE);
    frames = memory;
    frame_count = highest.v + 1;
    memset(frames, 0, frame_db_bytes(highest));
}

struct frame *frame_get(pfn_t frame)
{
    ASSERT(frame.v < frame_count);
    return &frames[frame.v];
}

pfn_t frame_highest(void)
{
    return pfn(frame_count - 1);
}
