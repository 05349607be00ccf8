/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/generation.h"

#include "base/log.h"
#include "mm/frame/frame.h"

#define SEQUENCES 64u               /* frame->generation has 7 bits ... */
#define ANCIENT   127u              /* ... and this is none of them */
#define LAST      (GENERATIONS - 2) /* the age behind which a page is ancient */

_Static_assert(SEQUENCES % GENERATIONS == 0, "a sequence number says which list it is");

static const struct generation_list empty = {.head = FRAME_NONE, .tail = FRAME_NONE};

static struct generation_list *list_of(struct generations *g, enum generation_kind kind,
                                       uint8_t sequence)
{
    return sequence == ANCIENT ? &g->ancient[kind] : &g->list[kind][sequence % GENERATIONS];
}

/* Periods from one to another that is not older. */
static unsigned periods(uint8_t from, uint8_t to)
{
    return (uint8_t)(to - from) % SEQUENCES;
}

static uint8_t sequence_of_age(const struct generations *g, unsigned age)
{
    return age > LAST ? ANCIENT : (uint8_t)(g->youngest - age) % SEQUENCES;
}

static bool has_ancient(const struct generations *g, enum generation_kind kind)
{
    return g->ancient[kind].head != FRAME_NONE;
}

static uint64_t pages_of(const struct frame *frame)
{
    return 1ull << frame->order;
}

void generation_init(struct generations *g)
{
    for (unsigned kind = 0; kind < GENERATION_KINDS; kind++) {
        for (unsigned i = 0; i < GENERATIONS; i++) {
            g->list[kind][i] = empty;
        }
        g->ancient[kind] = empty;
        g->oldest[kind] = 0;
    }
    g->youngest = 0;
}

unsigned generation_count_of(const struct generations *g, enum generation_kind kind)
{
    return has_ancient(g, kind) ? GENERATIONS : periods(g->oldest[kind], g->youngest) + 1;
}

unsigned generation_count(const struct generations *g)
{
    unsigned own = generation_count_of(g, GENERATION_OWN);
    unsigned copies = generation_count_of(g, GENERATION_COPY);

    return own > copies ? own : copies;
}

/* As first of its list, which may be older than all that its kind has. */
static void push_head(struct generations *g, pfn_t number, enum generation_kind kind, unsigned age)
{
    uint8_t sequence = sequence_of_age(g, age);
    struct generation_list *list = list_of(g, kind, sequence);
    struct frame *frame = frame_get(number);

    if (sequence != ANCIENT && age > periods(g->oldest[kind], g->youngest)) {
        g->oldest[kind] = sequence;
    }
    frame->kind = kind;
    frame->generation = sequence & 0x7f;
    frame->prev = FRAME_NONE;
    frame->next = list->head;
    if (list->head == FRAME_NONE) {
        list->tail = (uint32_t)number.v;
    } else {
        frame_get(pfn(list->head))->prev = (uint32_t)number.v;
    }
    list->head = (uint32_t)number.v;
    list->pages += pages_of(frame);
}

void generation_add(struct generations *g, pfn_t frame, enum generation_kind kind, unsigned age)
{
    unsigned last = generation_count(g) - 1;

    push_head(g, frame, kind, age < last ? age : last);
}

/* So that the oldest list of a kind has pages, if any but the ancient one has. */
static void drop_empty_oldest(struct generations *g, enum generation_kind kind)
{
    while (g->oldest[kind] != g->youngest &&
           list_of(g, kind, g->oldest[kind])->head == FRAME_NONE) {
        g->oldest[kind] = (g->oldest[kind] + 1) % SEQUENCES;
    }
}

void generation_remove(struct generations *g, pfn_t number)
{
    struct frame *frame = frame_get(number);
    struct generation_list *list = list_of(g, frame->kind, frame->generation);

    if (frame->prev == FRAME_NONE) {
        ASSERT(list->head == number.v);
        list->head = frame->next;
    } else {
        frame_get(pfn(frame->prev))->next = frame->next;
    }
    if (frame->next == FRAME_NONE) {
        ASSERT(list->tail == number.v);
        list->tail = frame->prev;
    } else {
        frame_get(pfn(frame->next))->prev = frame->prev;
    }
    frame->next = FRAME_NONE;
    frame->prev = FRAME_NONE;
    list->pages -= pages_of(frame);
    drop_empty_oldest(g, frame->kind);
}

void generation_touch(struct generations *g, pfn_t frame)
{
    generation_remove(g, frame);
    push_head(g, frame, frame_get(frame)->kind, 0);
}

void generation_change_kind(struct generations *g, pfn_t frame, enum generation_kind kind)
{
    unsigned age = generation_age(g, frame);

    generation_remove(g, frame);
    push_head(g, frame, kind, age);
}

unsigned generation_age(const struct generations *g, pfn_t frame)
{
    uint8_t sequence = frame_get(frame)->generation;

    return sequence == ANCIENT ? GENERATIONS - 1 : periods(sequence, g->youngest);
}

bool generation_oldest(struct generations *g, enum generation_kind kind, pfn_t *frame)
{
    *frame = pfn(list_of(g, kind, has_ancient(g, kind) ? ANCIENT : g->oldest[kind])->tail);
    return frame->v != FRAME_NONE;
}

/* What is about to become too old for a list of its own, from its tail to the head of the ancient
 * list: order holds. */
static void make_ancient(struct generations *g, enum generation_kind kind, unsigned *budget)
{
    const struct generation_list *list = list_of(g, kind, sequence_of_age(g, LAST));

    while (list->tail != FRAME_NONE && *budget > 0) {
        pfn_t frame = pfn(list->tail);

        generation_remove(g, frame);
        push_head(g, frame, kind, GENERATIONS - 1);
        (*budget)--;
    }
}

static bool has_room(struct generations *g)
{
    uint8_t last = sequence_of_age(g, LAST);

    return list_of(g, GENERATION_OWN, last)->head == FRAME_NONE &&
           list_of(g, GENERATION_COPY, last)->head == FRAME_NONE;
}

bool generation_make_room(struct generations *g, unsigned budget)
{
    make_ancient(g, GENERATION_COPY, &budget);
    make_ancient(g, GENERATION_OWN, &budget);
    return has_room(g);
}

void generation_advance(struct generations *g)
{
    ASSERT(has_room(g));
    g->youngest = (g->youngest + 1) % SEQUENCES;
    drop_empty_oldest(g, GENERATION_COPY);
    drop_empty_oldest(g, GENERATION_OWN);
}

static uint64_t pages_on(const struct generation_list *list)
{
    return __atomic_load_n(&list->pages, __ATOMIC_RELAXED);
}

uint64_t generation_pages(const struct generations *g, unsigned age)
{
    uint8_t list = sequence_of_age(g, age) % GENERATIONS;

    if (age >= GENERATIONS) {
        return 0;
    }
    if (age > LAST) {
        return pages_on(&g->ancient[GENERATION_OWN]) + pages_on(&g->ancient[GENERATION_COPY]);
    }
    return pages_on(&g->list[GENERATION_OWN][list]) + pages_on(&g->list[GENERATION_COPY][list]);
}
