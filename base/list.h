/* base/list.h: a doubly linked list whose links live in its members.
 *
 *     struct job { struct list_node node; ... };
 *     list_push(&queue, &job->node);
 *     LIST_EACH (&queue, struct job, node, j) ...
 *
 * The body of LIST_EACH may remove j, but not the one after it.
 *
 * Ownership: none, members are their owner's.   Threads: one at a time.
 */
#ifndef LEAT_BASE_LIST_H
#define LEAT_BASE_LIST_H

#include "base/base.h"

struct list_node {
    struct list_node *next, *prev;
};

struct list {
    struct list_node head;
    size_t n;
};

static inline void list_init(struct list *l)
{
    l->head.next = l->head.prev = &l->head;
    l->n = 0;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->n == 0;
}

static inline void list_insert_before(struct list *l, struct list_node *at, struct list_node *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
    l->n++;
}

static inline void list_push(struct list *l, struct list_node *n)
{
    list_insert_before(l, &l->head, n);
}

static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_before(l, l->head.next, n);
}

/* A node that is in no list (next NULL) is left alone, so removing twice is harmless. */
static inline void list_remove(struct list *l, struct list_node *n)
{
    if (!n->next)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
    l->n--;
}

#define LIST_FIRST(l, type, member)                                                                \
    ((l)->n ? CONTAINER_OF((l)->head.next, type, member) : (type *)NULL)
#define LIST_LAST(l, type, member)                                                                 \
    ((l)->n ? CONTAINER_OF((l)->head.prev, type, member) : (type *)NULL)
#define LIST_EACH(l, type, member, var)                                                            \
    for (type *var = CONTAINER_OF((l)->head.next, type, member),                                   \
              *var##_next = CONTAINER_OF(var->member.next, type, member);                          \
         &var->member != &(l)->head;                                                               \
         var = var##_next, var##_next = CONTAINER_OF(var->member.next, type, member))

#endif
