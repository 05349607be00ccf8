/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMs as test_promises.c has them: what their vCPUs do, and what each page and handle must hold.
 *
 * Context: one thread.  What must not happen panics.
 */
#ifndef SPILLWAY_TESTS_UNIT_PROMISE_MODEL_H
#define SPILLWAY_TESTS_UNIT_PROMISE_MODEL_H

#include "hv/config/admission.h"
#include "mm/space/space_internal.h"
#include "mm/tmem/internal.h"
#include "tests/unit/support.h"

#define VMS            4u
#define VCPUS          3u
#define CONTROL_FRAMES 4u    /* of a vCPU: hv/config/admission.c */
#define MEMORY_MAX     1200u /* pages of a VM */
#define QUOTA_MAX      200u
#define EPHEMERAL      64u  /* handles of the ephemeral pool that are looked at again */
#define BURST          200u /* puts of others */
#define HANDLES        50000u
#define TOUCH_MAX      48u /* pages of one access */
#define WORDS          (PAGE_SIZE / sizeof(uint64_t))

enum kind {
    TOUCH,
    DISCARD, /* the pages that would be touched */
    PUT,
    GET,
    FLUSH,
    PUT_EPHEMERAL,
    GET_EPHEMERAL,
    BURST_EPHEMERAL, /* many puts, of handles that are not looked at again */
};

struct access {
    enum kind kind;
    unsigned count;
    uint32_t page[TOUCH_MAX];
    bool write;
    uint32_t index; /* of the handle */
};

/* How long something waits: in all, or since the disk came back. */
struct wait_watch {
    unsigned turns;
    bool outage; /* there was one */
};

struct vm;

struct test_vcpu {
    struct mm_waiter waiter;
    struct vm *vm;
    struct access access;
    bool busy, parked;
    struct wait_watch watch;
    uint32_t next_page; /* of a walk through all memory */
};

struct vm {
    bool up;
    uint64_t number; /* in the order of starts */
    struct admission_terms terms;
    struct admission_demand promised;
    struct space *space;
    struct tmem *tmem;
    uint32_t pool[2]; /* persistent, ephemeral */
    struct test_vcpu vcpu[VCPUS];
    pfn_t control[CONTROL_FRAMES * VCPUS];
    bool quiet;                 /* it begins nothing */
    unsigned walk;              /* of 16 accesses, so many go on in order */
    uint64_t stamp[MEMORY_MAX]; /* first word of each page */
    uint64_t persistent[QUOTA_MAX], ephemeral[EPHEMERAL]; /* of what was put; 0: nothing */
};

extern struct vm model_vms[VMS];
extern bool model_fills, model_reads; /* all memory is being written, or read, in order */
extern bool model_may_lose;           /* the disk has bad blocks: pages may be lost */

static inline uint64_t below(uint64_t limit)
{
    return support_random_below(limit);
}

/* What the vCPU does next. */
void model_choose_access(struct test_vcpu *vcpu);
/* Does it.  MM_WAIT: its waiter is registered, the same has to be done again. */
enum mm_result model_perform(struct test_vcpu *vcpu);

#endif
