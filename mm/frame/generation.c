/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/generation.h"

#include "base/log.h"
#include "mm/frame/frame.h"

#define SEQUENCES 128u /* frame->generation has 7 bits */

_Static_assert(SEQUENCES % GENERATIONS == 0, "a sequence number says which list it is");

static struct generation_list *list_of(struct generations *g, enum generation_kind kind,
                                       uint8_t sequence)
{
    return &g->list[kind][sequence % GENERATIONS];
}

/* Periods from one to another that is not older. */
static unsigned periods(uint8_t from, uint8_t to)
{
    return (uint8_t)(to - from) % SEQUENCES;
}

static uint8_t sequence_of_age(const struct generations *g, unsigned age)
{
    return (uint8_t)(g->youngest - age) % SEQUENCES;
}

static uint64_t pages_of(const struct frame *frame)
{
    return 1ull << frame->order;
}

void generation_init(struct generations *g)
{
    for (unsigned kind = 0; kind < GENERATION_KINDS; kind++) {
        for (unsigned i = 0; i < GENERATIONS; i++) {
            g->list[kind][i] = (struct generation_list){.head = FRAME_NONE, .tail = FRAME_NONE};
        }
        g->oldest[kind] = 0;
    }
    g->youngest = 0;
}

unsigned generation_count_of(const struct generations *g, enum generation_kind kind)
{
    return periods(g->oldest[kind], g->youngest) + 1;
}

unsigned generation_count(const struct generations *g)
{
    unsigned own = generation_count_of(g, GENERATION_OWN);
    unsigned copies = generation_count_of(g, GENERATION_COPY);

    return own > copies ? own : copies;
}

static void link_first(struct generations *g, uint32_t number, enum generation_kind kind,
                       uint8_t sequence)
{
    struct generation_list *list = list_of(g, kind, sequence);
    struct frame *frame = frame_get(pfn(number));

    frame->kind = kind;
    frame->generation = sequence % SEQUENCES;
    frame->prev = FRAME_NONE;
    frame->next = list->head;
    if (list->head == FRAME_NONE) {
        list->tail = number;
    } else {
        frame_get(pfn(list->head))->prev = number;
    }
    list->head = number;
    list->pages += pages_of(frame);
}

/* As first of its list, which may be older than all that its kind has. */
static void push_head(struct generations *g, pfn_t frame, enum generation_kind kind, unsigned age)
{
    uint8_t sequence = sequence_of_age(g, age);

    if (age >= generation_count_of(g, kind)) {
        g->oldest[kind] = sequence;
    }
    link_first(g, (uint32_t)frame.v, kind, sequence);
}

void generation_add(struct generations *g, pfn_t frame, enum generation_kind kind, unsigned age)
{
    unsigned last = generation_count(g) - 1;

    push_head(g, frame, kind, age < last ? age : last);
}

/* So that the oldest list of a kind has pages, if it has any. */
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
    return periods(frame_get(frame)->generation, g->youngest);
}

bool generation_oldest(struct generations *g, enum generation_kind kind, pfn_t *frame)
{
    *frame = pfn(list_of(g, kind, g->oldest[kind])->tail);
    return frame->v != FRAME_NONE;
}

/* The oldest list is emptied from its head, onto the tail of the next younger one: order holds. */
static void append_tail(struct generations *g, uint32_t number, enum generation_kind kind,
                        uint8_t sequence)
{
    struct generation_list *list = list_of(g, kind, sequence);
    struct frame *frame = frame_get(pfn(number));

    frame->generation = sequence % SEQUENCES;
    frame->next = FRAME_NONE;
    frame->prev = list->tail;
    if (list->tail == FRAME_NONE) {
        list->head = number;
    } else {
        frame_get(pfn(list->tail))->next = number;
    }
    list->tail = number;
    list->pages += pages_of(frame);
}

static void merge_oldest(struct generations *g, enum generation_kind kind, unsigned *budget)
{
    while (generation_count_of(g, kind) == GENERATIONS && *budget > 0) {
        uint32_t head = list_of(g, kind, g->oldest[kind])->head;
        uint8_t next = (g->oldest[kind] + 1) % SEQUENCES;

        generation_remove(g, pfn(head));
        append_tail(g, head, kind, next);
        if (periods(next, g->youngest) >= generation_count_of(g, kind)) {
            g->oldest[kind] = next; /* all was on the list that has gone */
        }
        (*budget)--;
    }
}

bool generation_make_room(struct generations *g, unsigned budget)
{
    merge_oldest(g, GENERATION_COPY, &budget);
    merge_oldest(g, GENERATION_OWN, &budget);
    return generation_count(g) < GENERATIONS;
}

void generation_advance(struct generations *g)
{
    ASSERT(generation_count(g) < GENERATIONS);
    g->youngest = (g->youngest + 1) % SEQUENCES;
    drop_empty_oldest(g, GENERATION_COPY);
    drop_empty_oldest(g, GENERATION_OWN);
}

uint64_t generation_pages(const struct generations *g, unsigned age)
{
    uint8_t list = sequence_of_age(g, age) % GENERATIONS;

    if (age >= generation_count(g)) {
        return 0;
    }
    return __atomic_load_n(&g->list[GENERATION_OWN][list].pages, __ATOMIC_RELAXED) +
           __atomic_load_n(&g->list[GENERATION_COPY][list].pages, __ATOMIC_RELAXED);
}
