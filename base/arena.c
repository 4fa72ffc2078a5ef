#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK = 4096 - 64 };

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) uint8_t bytes[];
};

struct arena {
    struct block *blocks;
    size_t used, max; /* used counts the padding too, so many small requests meet max as well */
};

struct arena *arena_new(size_t max_bytes)
{
    struct arena *a = xcalloc(1, sizeof(*a));

    a->max = MIN(max_bytes, SIZE_MAX / 2); /* so that rounding up cannot wrap */
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    while (a->blocks) {
        struct block *b = a->blocks;

        a->blocks = b->next;
        free(b);
    }
    free(a);
}

void *arena_try_alloc(struct arena *a, size_t n)
{
    const size_t align = alignof(max_align_t);
    struct block *b = a->blocks;
    void *p;

    if (n > a->max - a->used)
        return NULL;
    n = (MAX(n, (size_t)1) + align - 1) / align * align;
    a->used = MIN(a->used + n, a->max);
    if (!b || b->size - b->used < n) {
        size_t size = MAX(n, (size_t)ARENA_BLOCK);

        b = xcalloc(1, sizeof(*b) + size);
        b->size = size;
        b->next = a->blocks;
        a->blocks = b;
    }
    p = b->bytes + b->used;
    b->used += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = arena_try_alloc(a, n);

    assert(p); /* the program itself asks for more than its own ceiling */
    return p;
}

char *arena_text(struct arena *a, struct slice s)
{
    char *text = arena_alloc(a, s.n + 1);

    if (s.n)
        memcpy(text, s.p, s.n);
    return text;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_text(a, slice_str(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *text;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    text = arena_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}
