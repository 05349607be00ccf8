/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/fair.h"

#include "base/bits.h"
#include "base/log.h"

#define UNIT        4096u      /* virtual ns of one ns at weight 1 */
#define AFFINITY_NS 2000000ull /* the bonus for staying on a CPU */
#define PREEMPT_NS  500000ull  /* so much further must one be that gives way to one that wakes */
/* A group that ran all the time may be behind by so much: it has one CPU, and its share is more. */
#define OWED_NS (8 * FAIR_SLICE_NS)
/* So many groups, and of each so many members, are looked at for one that ran on this CPU. */
#define LOOK 4u

/* Is virtual time a before b? */
static bool before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return before(a, b) ? b : a;
}

/* CPU time of a group in its virtual time. */
static uint64_t scale(const struct fair_group *group, uint64_t ns)
{
    return ns * UNIT / group->weight;
}

static int compare(const struct fair_group *a, const struct fair_group *b)
{
    if (a->vtime != b->vtime) {
        return before(a->vtime, b->vtime) ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

RB_GENERATE_STATIC(fair_tree, fair_group, link, compare)

static int compare_members(const struct fair_member *a, const struct fair_member *b)
{
    if (a->vtime != b->vtime) {
        return before(a->vtime, b->vtime) ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

RB_GENERATE_STATIC(fair_members, fair_member, link, compare_members)

static void insert(struct fair_queue *queue, struct fair_group *group)
{
    group->order = queue->order++;
    RB_INSERT(fair_tree, &queue->tree, group);
}

void fair_init(struct fair_queue *queue, unsigned cpus)
{
    *queue = (struct fair_queue){.cpus = cpus};
    RB_INIT(&queue->tree);
}

void fair_group_init(struct fair_group *group, uint32_t weight)
{
    *group = (struct fair_group){.weight = weight};
    RB_INIT(&group->members);
}

void fair_member_init(struct fair_member *member, struct fair_group *group)
{
    *member = (struct fair_member){.group = group};
}

void fair_set_weight(struct fair_queue *queue, struct fair_group *group, uint32_t weight)
{
    int64_t lead = (int64_t)(group->vtime - queue->now);

    ASSERT(weight >= 1 && weight <= FAIR_WEIGHT_MAX);
    if (group->waiting != 0) {
        RB_REMOVE(fair_tree, &queue->tree, group);
    }
    group->vtime = queue->now + (uint64_t)(lead / (int64_t)weight * (int64_t)group->weight);
    group->weight = weight;
    if (group->waiting != 0) {
        insert(queue, group);
    }
}

uint64_t fair_slice(const struct fair_queue *queue)
{
    uint64_t members = MAX(queue->waiting + queue->running, 1u);
    uint64_t slice = FAIR_PERIOD_NS * queue->cpus / members;

    return MIN(MAX(slice, FAIR_SLICE_MIN_NS), FAIR_SLICE_NS);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* Neither further behind than the credit nor further ahead than the debt. */
static uint64_t place(uint64_t vtime, uint64_t now, uint64_t credit, uint64_t debt)
{
    if (before(vtime, now - credit)) {
        return now - credit;
    }
    return before(now + debt, vtime) ? now + debt : vtime;
}

void fair_enqueue(struct fair_queue *queue, struct fair_member *member, bool woken)
{
    struct fair_group *group = member->group;
    uint64_t credit = fair_slice(queue) / 2;

    ASSERT(!member->waits);
    member->waits = true;
    member->vtime = place(member->vtime, group->now, woken ? credit : OWED_NS, 2 * FAIR_SLICE_NS);
    member->order = queue->order++;
    RB_INSERT(fair_members, &group->members, member);
    queue->waiting++;
    if (group->waiting++ == 0) {
        /* The most that it can be ahead: each running member may have used a slice since `now`, and
         * this one before it came. */
        uint64_t debt = FAIR_SLICE_NS * (group->running + 2);

        credit = woken && group->running == 0 ? credit : OWED_NS;
        group->vtime = place(group->vtime, queue->now, scale(group, credit), scale(group, debt));
        insert(queue, group);
    }
}

void fair_put_last(struct fair_member *member)
{
    struct fair_members *members = &member->group->members;
    const struct fair_member *last;

    RB_REMOVE(fair_members, members, member);
    last = RB_MAX(fair_members, members);
    if (last != NULL) {
        member->vtime = later(member->vtime, last->vtime + AFFINITY_NS + 1);
    }
    RB_INSERT(fair_members, members, member);
}

void fair_put_first(struct fair_member *member)
{
    struct fair_members *members = &member->group->members;
    const struct fair_member *first;

    RB_REMOVE(fair_members, members, member);
    first = RB_MIN(fair_members, members);
    if (first != NULL && !before(member->vtime, first->vtime - AFFINITY_NS)) {
        member->vtime = first->vtime - AFFINITY_NS - 1;
    }
    RB_INSERT(fair_members, members, member);
}

/* ---- picking -------------------------------------------------------------------------------- */

/* The member with the least virtual time, where having run on that CPU counts for some.  Of those
 * that the first one is so little ahead of, a few are looked at. */
static struct fair_member *choose_member(struct fair_group *group, unsigned cpu)
{
    struct fair_member *first = RB_MIN(fair_members, &group->members), *member = first;

    for (unsigned i = 0; i < LOOK && member != NULL; i++) {
        if (!before(member->vtime - AFFINITY_NS, first->vtime)) {
            break;
        }
        if (member->cpu == cpu) {
            return member;
        }
        member = RB_NEXT(fair_members, &group->members, member);
    }
    return first;
}

/* Is the group so little behind the first one that it may go before it, by either's weight? */
static bool hardly_behind(const struct fair_group *group, const struct fair_group *first)
{
    uint64_t worth = scale(first->weight > group->weight ? first : group, AFFINITY_NS);

    return !before(first->vtime + worth, group->vtime);
}

/* Of the first group; or of one hardly behind it, if it ran on that CPU.  *least: the virtual time
 * of the first one. */
static struct fair_member *choose(struct fair_queue *queue, unsigned cpu,
                                  const struct fair_group *avoid, uint64_t *least)
{
    struct fair_group *group = RB_MIN(fair_tree, &queue->tree), *first = NULL;
    struct fair_member *found = NULL;

    for (unsigned i = 0; i < LOOK && group != NULL; i++) {
        if (group != avoid) {
            struct fair_member *member = choose_member(group, cpu);

            if (first == NULL) {
                first = group;
                found = member;
                *least = group->vtime;
            } else if (!hardly_behind(group, first)) {
                break;
            }
            if (member->cpu == cpu) {
                return member;
            }
        }
        group = RB_NEXT(fair_tree, &queue->tree, group);
    }
    return found;
}

static void begin_running(struct fair_queue *queue, struct fair_member *member, unsigned cpu)
{
    struct fair_group *group = member->group;

    RB_REMOVE(fair_members, &group->members, member);
    member->waits = false;
    queue->waiting--;
    queue->running++;
    if (--group->waiting == 0) {
        RB_REMOVE(fair_tree, &queue->tree, group);
    }
    group->running++;
    group->now = later(group->now, member->vtime);
    member->cpu = cpu;
}

struct fair_member *fair_pick(struct fair_queue *queue, unsigned cpu,
                              const struct fair_group *avoid)
{
    uint64_t least = queue->now;
    struct fair_member *member = choose(queue, cpu, avoid, &least);

    if (member == NULL && avoid != NULL) {
        member = choose(queue, cpu, NULL, &least);
    }
    if (member != NULL) {
        queue->now = later(queue->now, least);
        begin_running(queue, member, cpu);
    }
    return member;
}

struct fair_member *fair_pick_of(struct fair_queue *queue, struct fair_group *group, unsigned cpu)
{
    struct fair_member *member = choose_member(group, cpu);

    if (member != NULL) {
        begin_running(queue, member, cpu);
    }
    return member;
}

/* ---- running -------------------------------------------------------------------------------- */

static void charge_member(struct fair_member *member, uint64_t ns)
{
    if (member->waits) {
        RB_REMOVE(fair_members, &member->group->members, member);
    }
    member->vtime += ns;
    if (member->waits) {
        RB_INSERT(fair_members, &member->group->members, member);
    }
}

void fair_charge(struct fair_queue *queue, struct fair_member *member, uint64_t ns)
{
    struct fair_group *group = member->group;

    charge_member(member, ns);
    if (group->waiting != 0) {
        RB_REMOVE(fair_tree, &queue->tree, group);
    } else if (group->running != 0) {
        group->now = later(group->now, member->vtime);
    }
    group->vtime += scale(group, ns);
    if (group->waiting != 0) {
        insert(queue, group);
    } else if (group->running != 0 && RB_EMPTY(&queue->tree)) {
        queue->now = later(queue->now, group->vtime);
    }
}

void fair_stop(struct fair_queue *queue, struct fair_member *member)
{
    member->group->running--;
    queue->running--;
}

bool fair_preempts(const struct fair_member *first, uint64_t first_ran,
                   const struct fair_member *second, uint64_t second_ran)
{
    const struct fair_group *a = first->group, *b = second->group;

    if (a == b) {
        return before(first->vtime + first_ran + PREEMPT_NS, second->vtime + second_ran);
    }
    return before(a->vtime + scale(a, first_ran + PREEMPT_NS), b->vtime + scale(b, second_ran));
}
