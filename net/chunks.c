/* The bytes a stream still has to send: small writes are gathered into shared chunks,
 * blob ranges are referenced, and all leave in one writev. */
#include <assert.h>
#include <stdlib.h>

#include "net/net_int.h"

enum { CHUNK_MIN = 4096 - sizeof(struct chunk) };

static struct chunk *chunk_append(struct chunks *q, size_t room)
{
    struct chunk *c = xmalloc(sizeof(*c) + room);

    *c = (struct chunk){.room = room};
    c->p = c->bytes;
    if (q->last)
        q->last->next = c;
    else
        q->first = c;
    q->last = c;
    return c;
}

static size_t chunk_fill(struct chunk *c, struct slice bytes)
{
    size_t n = MIN(c->room, bytes.n);

    memcpy((uint8_t *)c->p + c->n, bytes.p, n);
    c->n += n;
    c->room -= n;
    return n;
}

void chunks_add(struct chunks *q, struct slice bytes)
{
    q->bytes += bytes.n;
    if (q->last && q->last->room && bytes.n)
        bytes = slice_skip(bytes, chunk_fill(q->last, bytes));
    if (bytes.n)
        chunk_fill(chunk_append(q, MAX(bytes.n, (size_t)CHUNK_MIN)), bytes);
}

void chunks_add_blob(struct chunks *q, struct blob *b, size_t from, size_t n)
{
    struct slice part = slice_sub(blob_slice(b), from, n);
    struct chunk *c;

    if (part.n <= 512) { /* a reference and an iovec of its own cost more than the copy */
        chunks_add(q, part);
        return;
    }
    c = chunk_append(q, 0);
    c->blob = blob_ref(b);
    c->p = part.p;
    c->n = part.n;
    q->bytes += part.n;
}

static void chunk_free_first(struct chunks *q)
{
    struct chunk *c = q->first;

    q->first = c->next;
    if (!q->first)
        q->last = NULL;
    blob_unref(&c->blob);
    free(c);
}

void chunks_consume(struct chunks *q, size_t n)
{
    assert(n <= q->bytes);
    q->bytes -= n;
    while (n) {
        struct chunk *c = q->first;
        size_t now = MIN(n, c->n);

        c->p += now;
        c->n -= now;
        n -= now;
        if (!c->n)
            chunk_free_first(q);
    }
}

unsigned chunks_gather(const struct chunks *q, uv_buf_t v[CHUNKS_GATHER], size_t max_bytes,
                       size_t *total)
{
    unsigned n = 0;

    *total = 0;
    for (struct chunk *c = q->first; c && n < CHUNKS_GATHER && *total < max_bytes; c = c->next) {
        size_t take = MIN(c->n, max_bytes - *total);

        v[n++] = uv_buf_init((char *)c->p, (unsigned)take);
        *total += take;
    }
    return n;
}

void chunks_clear(struct chunks *q)
{
    while (q->first)
        chunk_free_first(q);
    q->bytes = 0;
}
