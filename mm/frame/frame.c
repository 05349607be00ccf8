/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/frame.h"

#include <string.h>

#include "mm/frame/frame_alloc.h"

struct frame *frame_db;
uint64_t frame_db_count;

_Static_assert(FRAME_STATE_RESERVED == 0,
               "zeroed memory is a database of frames that are not ours");

size_t frame_db_bytes(pfn_t highest)
{
    return (highest.v + 1) * sizeof(struct frame);
}

void frame_db_init(void *memory, pfn_t highest)
{
    if (highest.v >= FRAME_NONE) {
        panic("frame 0x%lx: more memory than frame numbers have bits", (unsigned long)highest.v);
    }
    memset(memory, 0, frame_db_bytes(highest));
    frame_db = memory;
    frame_db_count = highest.v + 1;
    frame_alloc_init();
}
