#include "base/blob.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* The public part comes first; the bytes follow, stand elsewhere (of a buf), or belong to a
 * parent. */
struct counted {
    struct blob blob;
    atomic_uint refs;
    struct blob *parent;
    uint8_t *own; /* memory taken from a buf */
    size_t counted_bytes;
    uint8_t inside[];
};

static atomic_size_t total_bytes;

static struct counted *counted(const struct blob *b)
{
    return CONTAINER_OF(b, struct counted, blob);
}

static struct counted *make(size_t inside, size_t held)
{
    struct counted *c = xmalloc(sizeof(*c) + inside);

    *c = (struct counted){.counted_bytes = held};
    atomic_init(&c->refs, 1);
    atomic_fetch_add(&total_bytes, held);
    return c;
}

struct blob *blob_new(size_t n)
{
    struct counted *c = make(n, n);

    c->blob = (struct blob){c->inside, n};
    return &c->blob;
}

uint8_t *blob_bytes(struct blob *b)
{
    struct counted *c = counted(b);

    assert(atomic_load(&c->refs) == 1 && !c->parent);
    return c->own ? c->own : c->inside;
}

struct blob *blob_copy(struct slice bytes)
{
    struct blob *b = blob_new(bytes.n);

    if (bytes.n)
        memcpy(blob_bytes(b), bytes.p, bytes.n);
    return b;
}

struct blob *blob_of_buf(struct buf *TAKES from)
{
    size_t n;
    uint8_t *p = buf_take(from, &n);
    struct counted *c = make(0, n);

    c->own = n ? xrealloc(p, n) : p; /* gives back what growth took too much */
    c->blob = (struct blob){c->own, n};
    return &c->blob;
}

struct blob *blob_sub(struct blob *parent, size_t from, size_t n)
{
    struct slice s = slice_sub(blob_slice(parent), from, n);
    struct counted *c = make(0, 0);

    c->parent = blob_ref(counted(parent)->parent ? counted(parent)->parent : parent);
    c->blob = (struct blob){s.p, s.n};
    return &c->blob;
}

struct blob *blob_ref(struct blob *b)
{
    if (b)
        atomic_fetch_add_explicit(&counted(b)->refs, 1, memory_order_relaxed);
    return b;
}

void blob_unref(struct blob **b)
{
    struct counted *c = *b ? counted(*b) : NULL;

    *b = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    atomic_fetch_sub(&total_bytes, c->counted_bytes);
    blob_unref(&c->parent);
    free(c->own);
    free(c);
}

size_t blob_total_bytes(void)
{
    return atomic_load(&total_bytes);
}
