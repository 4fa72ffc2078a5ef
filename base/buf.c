#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = MIN(max_bytes, SIZE_MAX / 4)}; /* so that doubling cannot wrap */
}

void buf_cleanup(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

/* One byte more than asked is kept for buf_cstr's NUL. A peer chose the size, so short memory
 * is refused like a ceiling. */
static bool grow(struct buf *b, size_t need)
{
    size_t cap = MAX(b->cap * 2, (size_t)BUF_FIRST_BYTES);
    uint8_t *p;

    cap = MIN(cap, b->max + 1);
    cap = MAX(cap, need + 1);
    p = realloc(b->p, cap);
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->n || (b->n + n + 1 > b->cap && !grow(b, b->n + n))) {
        b->failed = true;
        return NULL;
    }
    return b->p + b->n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = buf_reserve(b, n);

    if (!to || !n)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_add_slice(struct buf *b, struct slice s)
{
    buf_add(b, s.p, s.n);
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    uint8_t *to;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    to = n < 0 ? NULL : buf_reserve(b, (size_t)n);
    if (!to)
        return;
    vsnprintf((char *)to, (size_t)n + 1, fmt, ap); /* the NUL falls into the spare byte */
    b->n += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

static void add_be(struct buf *b, uint64_t v, unsigned bytes)
{
    uint8_t out[8];

    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    buf_add(b, out, bytes);
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, 1);
}

void buf_be16(struct buf *b, uint16_t v)
{
    add_be(b, v, 2);
}

void buf_be24(struct buf *b, uint32_t v)
{
    add_be(b, v, 3);
}

void buf_be32(struct buf *b, uint32_t v)
{
    add_be(b, v, 4);
}

void buf_be64(struct buf *b, uint64_t v)
{
    add_be(b, v, 8);
}

void buf_le32(struct buf *b, uint32_t v)
{
    add_be(b, __builtin_bswap32(v), 4);
}

void buf_hex(struct buf *b, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *to = bytes.n > b->max / 2 ? NULL : buf_reserve(b, 2 * bytes.n);

    if (!to) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < bytes.n; i++) {
        to[2 * i] = (uint8_t)digits[bytes.p[i] >> 4];
        to[2 * i + 1] = (uint8_t)digits[bytes.p[i] & 15];
    }
    b->n += 2 * bytes.n;
}

void buf_consume(struct buf *b, size_t n)
{
    n = MIN(n, b->n);
    if (n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
    if (b->failed || !b->p)
        return "";
    b->p[b->n] = '\0'; /* grow() keeps a byte for it */
    return (const char *)b->p;
}

uint8_t *buf_take(struct buf *b, size_t *n)
{
    uint8_t *p = b->p;

    *n = b->n;
    *b = (struct buf){.max = b->max};
    return p;
}
