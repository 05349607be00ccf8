/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive doubly linked circular list.  A head and a free link both point at
 * themselves.  No locking: the owner of the list says which lock protects it.
 */
#ifndef SPILLWAY_BASE_LIST_H
#define SPILLWAY_BASE_LIST_H

#include <stdbool.h>

#include "base/bits.h"

struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_after(struct list *at, struct list *item)
{
    item->next = at->next;
    item->prev = at;
    at->next->prev = item;
    at->next = item;
}

static inline void list_push_front(struct list *head, struct list *item)
{
    list_insert_after(head, item);
}

static inline void list_push_back(struct list *head, struct list *item)
{
    list_insert_after(head->prev, item);
}

/* Takes `item` out of its list and leaves it as a free link; safe on a free link. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

/* First item taken out of the list, or NULL if the list is empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *item = head->next;

    if (item == head) {
        return NULL;
    }
    list_remove(item);
    return item;
}

/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)

#define LIST_FOR_EACH(var, head)                                                                   \
    for (struct list *var = (head)->next; var != (head); var = var->next)

/* The body may remove `var` from the list. */
#define LIST_FOR_EACH_SAFE(var, tmp, head)                                                         \
    for (struct list *var = (head)->next, *tmp = var->next; var != (head);                         \
         var = tmp, tmp = tmp->next)

#endif
