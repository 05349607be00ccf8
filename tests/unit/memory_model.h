/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUs with translations of their own and a plain array that says what they must read: the moving
 * parts of test_model.c.
 *
 * One thread plays all of them.  A vCPU does one operation after another on a space, by a guest's
 * access through its TLB or by the hypervisor's calls, and parks when one has to wait.
 */
#ifndef SPILLWAY_TESTS_UNIT_MEMORY_MODEL_H
#define SPILLWAY_TESTS_UNIT_MEMORY_MODEL_H

#include "mm/space/space_internal.h"
#include "tests/unit/fake_disk.h"

#define SPACES      3u
#define VCPUS       6u
#define TLB_ENTRIES 8u
#define PINS        24u
#define WORDS       (PAGE_SIZE / sizeof(uint64_t))
#define SLOT_A      600u /* pages at 0 */
#define SLOT_B_BASE 1000u
#define SLOT_B      500u
#define PAGES       (SLOT_A + SLOT_B)
#define FRAMES      1600u

enum op_kind {
    OP_READ,
    OP_WRITE,
    OP_FILL,
    OP_HV_READ,
    OP_HV_WRITE,
    OP_HV_WRITE_PAGE,
    OP_CMPXCHG,
    OP_DISCARD,
    OP_PIN,
    OP_COPY,
    OP_KINDS,
};

struct op {
    enum op_kind kind;
    unsigned page; /* index in the model */
    unsigned word;
    unsigned bytes;
    unsigned pages; /* OP_DISCARD */
    uint64_t value;
};

struct translation {
    bool valid, dirty;
    unsigned page;
    pfn_t frame;
};

struct model_space {
    struct space *space;
    uint64_t word[PAGES][WORDS];
    bool lost[PAGES];
};

struct model_vcpu {
    struct mm_waiter waiter;
    struct model_space *in;
    struct translation tlb[TLB_ENTRIES];
    struct op op;
    bool busy, parked;
};

/* A device that may write to a page at any time. */
struct model_pin {
    struct model_space *in; /* NULL: none */
    unsigned page;
    pfn_t frame;
    bool written;
};

struct model_counts {
    uint64_t discarded[PLACE_KINDS]; /* pages, by where they were */
    uint64_t discarded_large;        /* large pages in one piece */
    uint64_t overwritten;            /* whole pages that were not read first */
    uint64_t lost_pages, stale_writes, waits, pins, device_writes;
};

extern struct model_space model_spaces[SPACES];
extern struct model_vcpu model_vcpus[VCPUS];
extern struct fake_disk model_disk; /* with failures, a page may be lost */
extern struct model_counts model_counts;

/* Starts a run over: random numbers by that seed, counts at 0. */
void model_seed(uint64_t seed);
uint64_t model_random(uint64_t below);
/* Where the model has its page of that index. */
gfn_t model_gfn(unsigned page);
/* What has been read of a page is what the array says. */
void model_compare_page(struct model_space *in, unsigned page, const uint64_t *got);
/* What a shootdown does to the CPUs; before they leave the guest they may still write. */
void model_shootdown(struct space *space);
/* The wake() of a vCPU's waiter. */
void model_wake(struct mm_waiter *waiter);
/* All of the space becomes holes, and is compared. */
void model_discard_all(struct model_space *in);
/* A step of the vCPU: chooses an operation if it has none, tries it, compares. */
void model_run_vcpu(struct model_vcpu *vcpu);

/* ---- memory_model_devices.c ---- */

/* A device begins to use the page of an operation. */
enum mm_result model_pin_page(struct model_vcpu *vcpu, const struct op *op);
/* Is the page held by a pin, of its own or of its large page? */
bool model_is_pinned(const struct model_space *in, unsigned page, unsigned level);
/* A step of the devices: one writes to its page, or looks at it, or lets it go. */
void model_run_devices(void);
/* All devices let their pages go. */
void model_end_pins(void);

#endif
