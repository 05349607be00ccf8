/* SPDX-License-Identifier: BSD-2-Clause */
/* Fake physical memory and the rest of mm/env.h. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "mm/env.h"
#include "mm/frame/frame.h"
#include "mm/frame/frame_alloc.h"
#include "tests/unit/support.h"

static struct {
    uint8_t *base; /* frame SUPPORT_FIRST_FRAME */
    uint64_t frames;
    void *db;
    size_t db_bytes;
} memory;

static void (*before_free)(void);
static void (*on_shootdown)(struct space *space);
static _Atomic uint64_t clock_ns = 1000000000;
static _Atomic unsigned wakes, shootdowns;
static unsigned fail_in;
static bool failed;

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        panic("support: no memory");
    }
    return at;
}

void support_memory_init_empty(uint64_t frames)
{
    pfn_t highest = pfn(SUPPORT_FIRST_FRAME + frames - 1);

    memory.frames = frames;
    memory.base = map(frames * PAGE_SIZE);
    /* What memory holds at power-on is not zero. */
    memset(memory.base, 0x5a, MIN(frames, 4096) * PAGE_SIZE);
    memory.db_bytes = frame_db_bytes(highest);
    memory.db = map(memory.db_bytes);
    frame_db_init(memory.db, highest);
    fail_in = 0;
}

void support_memory_init(uint64_t frames)
{
    support_memory_init_empty(frames);
    frame_alloc_add_range(pfn(SUPPORT_FIRST_FRAME), frames);
    frame_alloc_ready();
}

void support_before_memory_free(void (*call)(void))
{
    before_free = call;
}

void support_memory_free(void)
{
    if (before_free != NULL) {
        before_free();
    }
    before_free = NULL;
    munmap(memory.base, memory.frames * PAGE_SIZE);
    munmap(memory.db, memory.db_bytes);
    memory.frames = 0;
    on_shootdown = NULL;
}

void *mm_frame_ptr(pfn_t frame)
{
    if (frame.v - SUPPORT_FIRST_FRAME >= memory.frames) {
        panic("support: nobody owns frame 0x%llx", (unsigned long long)frame.v);
    }
    return memory.base + (frame.v - SUPPORT_FIRST_FRAME) * PAGE_SIZE;
}

/* ---- failing allocations: the linker sends calls of these functions here (--wrap) ---- */

static bool fails_now(void)
{
    if (fail_in != 0 && --fail_in == 0) {
        failed = true;
        return true;
    }
    return false;
}

bool __real_frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);
bool __wrap_frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);

bool __wrap_frame_alloc(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    return !fails_now() && __real_frame_alloc(order, use, flags, out);
}

bool __real_frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);
bool __wrap_frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out);

bool __wrap_frame_alloc_zeroed(unsigned order, enum alloc_use use, unsigned flags, pfn_t *out)
{
    return !fails_now() && __real_frame_alloc_zeroed(order, use, flags, out);
}

bool __real_frame_alloc_promised(struct frame_promise *promise, enum alloc_use use, pfn_t *out);
bool __wrap_frame_alloc_promised(struct frame_promise *promise, enum alloc_use use, pfn_t *out);

bool __wrap_frame_alloc_promised(struct frame_promise *promise, enum alloc_use use, pfn_t *out)
{
    return !fails_now() && __real_frame_alloc_promised(promise, use, out);
}

void support_fail_alloc(unsigned n)
{
    fail_in = n;
    failed = false;
}

bool support_alloc_failed(void)
{
    return failed;
}

/* ---- mm/env.h ---- */

void support_on_shootdown(void (*shootdown)(struct space *space))
{
    on_shootdown = shootdown;
}

void mm_tlb_shootdown(struct space *space)
{
    shootdowns++;
    if (on_shootdown != NULL) {
        on_shootdown(space);
    }
}

void support_clock_advance(uint64_t ns)
{
    clock_ns += ns;
}

uint64_t mm_clock_ns(void)
{
    return clock_ns;
}

unsigned mm_cpu_id(void)
{
    return support_cpu();
}

void mm_pager_wake(void)
{
    wakes++;
}

unsigned support_pager_wakes(void)
{
    return wakes;
}

unsigned support_shootdowns(void)
{
    return shootdowns;
}
