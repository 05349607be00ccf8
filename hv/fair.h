/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fair shares of CPU time, in two levels: VMs by weight, and the vCPUs of a VM alike.
 *
 *     queue --tree--> group (VM) --tree--> member (vCPU that waits); least virtual time first
 *
 * Start-time fair queueing (Goyal, Vin, Cheng, "Start-Time Fair Queueing", 1996).  A group's
 * virtual time is the CPU time of its members divided by its weight; the group with least comes
 * next. `now` of a queue is the virtual time at which the last one was picked.  It decides what a
 * newcomer begins with: it may be behind `now` by half a slice, which it is then given, and ahead
 * by what its members can use in one slice, which it then waits for; not by more, however long it
 * slept or ran.  One that was only stopped may be behind by some more: with several CPUs its share
 * may be more than it can use, and what it misses then it can never make up.  While nobody waits
 * nobody is owed anything, and `now` follows whoever has run most.
 *
 * So a member that wants to run lags behind its share by at most FAIR_LAG_NS of CPU time, as long
 * as there are at most FAIR_PERIOD_NS / FAIR_SLICE_MIN_NS members for each CPU;
 * tests/unit/test_fair.c measures it against a fluid.
 *
 * Pure: no locks, no clock, no CPU.  The caller (hv/run/sched.c) has the lock, and says how long a
 * member ran.  All times in nanoseconds; virtual times wrap, and are compared by their difference.
 *
 * Life of a member: fair_member_init; then idle -> waiting (fair_enqueue) -> running (fair_pick),
 * charged now and then (fair_charge), -> idle (fair_stop), and so on.
 */
#ifndef SPILLWAY_HV_FAIR_H
#define SPILLWAY_HV_FAIR_H

#include "base/tree.h"
#include "base/types.h"

#define FAIR_WEIGHT_MAX 10000u

/* A slice is 8 ms for few and shorter for many, so that each has its turn within the period. */
#define FAIR_SLICE_NS     8000000ull
#define FAIR_SLICE_MIN_NS 2000000ull
#define FAIR_PERIOD_NS    40000000ull
#define FAIR_LAG_NS       100000000ull

struct fair_member {
    RB_ENTRY(fair_member) link; /* in its group's tree while it waits */
    struct fair_group *group;
    uint64_t vtime;
    uint64_t order; /* of those with the same vtime, who came first */
    bool waits;     /* it is in that tree */
    unsigned cpu;   /* runs there, or ran there last */
};

RB_HEAD(fair_members, fair_member);

struct fair_group {
    RB_ENTRY(fair_group) link; /* in the queue's tree while members wait */
    uint64_t vtime;
    uint64_t order; /* of those with the same vtime, who came first */
    uint32_t weight;
    unsigned waiting, running;   /* members */
    struct fair_members members; /* that wait */
    uint64_t now;                /* virtual time of the members */
};

RB_HEAD(fair_tree, fair_group);

struct fair_queue {
    struct fair_tree tree;
    uint64_t now;
    uint64_t order;
    unsigned cpus;
    unsigned waiting, running; /* members */
};

void fair_init(struct fair_queue *queue, unsigned cpus);
/* weight: 1 .. FAIR_WEIGHT_MAX. */
void fair_group_init(struct fair_group *group, uint32_t weight);
void fair_member_init(struct fair_member *member, struct fair_group *group);

/* What it is ahead or behind stays the same CPU time. */
void fair_set_weight(struct fair_queue *queue, struct fair_group *group, uint32_t weight);

/* How long whoever is picked now may run while others wait. */
uint64_t fair_slice(const struct fair_queue *queue);

/* idle -> waiting.  woken: it did not want to run until now; else it has just been stopped. */
void fair_enqueue(struct fair_queue *queue, struct fair_member *member, bool woken);
/* Waiting, and it goes behind the other members of its group that wait, on whatever CPU. */
void fair_put_last(struct fair_member *member);
/* Waiting, and it comes before the other members of its group, on whatever CPU. */
void fair_put_first(struct fair_member *member);
/*
 * waiting -> running: who comes next on that CPU, preferably one that ran there last; NULL: nobody
 * waits.  `avoid`, if not NULL, is a group that comes only if no other one waits.
 */
struct fair_member *fair_pick(struct fair_queue *queue, unsigned cpu,
                              const struct fair_group *avoid);
/* Likewise, but of that group; NULL: none of its members waits. */
struct fair_member *fair_pick_of(struct fair_queue *queue, struct fair_group *group, unsigned cpu);
/* A running member ran for so long (more); or so much was done for it while it did not run. */
void fair_charge(struct fair_queue *queue, struct fair_member *member, uint64_t ns);
/* running -> idle; charged before. */
void fair_stop(struct fair_queue *queue, struct fair_member *member);
/* Shall the first have the CPU of the second rather than wait?  Each ran for so many ns more than
 * it was charged. */
bool fair_preempts(const struct fair_member *first, uint64_t first_ran,
                   const struct fair_member *second, uint64_t second_ran);

#endif
