/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frame/generation.h"

#include "base/log.h"
#include "mm/frame/frame.h"

static struct generation_list *list_of(struct generations *g, uint8_t sequence)
{
    return &g->list[sequence % GENERATIONS];
}

static uint64_t pages_of(const struct frame *frame)
{
    return 1ull << frame->order;
}

void generation_init(struct generations *g)
{
    for (unsigned i = 0; i < GENERATIONS; i++) {
        g->list[i] = (struct generation_list){.head = FRAME_NONE, .tail = FRAME_NONE};
    }
    g->oldest = 0;
    g->youngest = 0;
}

unsigned generation_count(const struct generations *g)
{
    return (uint8_t)(g->youngest - g->oldest) + 1u;
}

static void push_head(struct generations *g, uint32_t number, uint8_t sequence)
{
    struct generation_list *list = list_of(g, sequence);
    struct frame *frame = frame_get(pfn(number));

    frame->generation = sequence;
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

void generation_add(struct generations *g, pfn_t frame, unsigned age)
{
    unsigned last = generation_count(g) - 1;

    push_head(g, (uint32_t)frame.v, (uint8_t)(g->youngest - (age < last ? age : last)));
}

void generation_remove(struct generations *g, pfn_t number)
{
    struct frame *frame = frame_get(number);
    struct generation_list *list = list_of(g, frame->generation);

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
}

void generation_touch(struct generations *g, pfn_t frame)
{
    generation_remove(g, frame);
    push_head(g, (uint32_t)frame.v, g->youngest);
}

unsigned generation_age(const struct generations *g, pfn_t frame)
{
    return (uint8_t)(g->youngest - frame_get(frame)->generation);
}

static void drop_empty_oldest(struct generations *g)
{
    while (g->oldest != g->youngest && list_of(g, g->oldest)->head == FRAME_NONE) {
        g->oldest++;
    }
}

bool generation_oldest(struct generations *g, pfn_t *frame)
{
    drop_empty_oldest(g);
    *frame = pfn(list_of(g, g->oldest)->tail);
    return frame->v != FRAME_NONE;
}

/* The oldest list is emptied from its head, onto the tail of the next younger one: order holds. */
static void append_tail(struct generations *g, uint32_t number, uint8_t sequence)
{
    struct generation_list *list = list_of(g, sequence);
    struct frame *frame = frame_get(pfn(number));

    frame->generation = sequence;
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

bool generation_make_room(struct generations *g, unsigned budget)
{
    drop_empty_oldest(g);
    while (generation_count(g) == GENERATIONS && budget-- > 0) {
        uint32_t head = list_of(g, g->oldest)->head;

        generation_remove(g, pfn(head));
        append_tail(g, head, (uint8_t)(g->oldest + 1));
        drop_empty_oldest(g);
    }
    return generation_count(g) < GENERATIONS;
}

void generation_advance(struct generations *g)
{
    ASSERT(generation_count(g) < GENERATIONS);
    g->youngest++;
    drop_empty_oldest(g);
}

uint64_t generation_pages(const struct generations *g, unsigned age)
{
    if (age >= generation_count(g)) {
        return 0;
    }
    return g->list[(uint8_t)(g->youngest - age) % GENERATIONS].pages;
}
