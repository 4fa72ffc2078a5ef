#include "base/reader.h"

#include <assert.h>

struct reader reader_of(struct slice s)
{
    return (struct reader){.p = s.p, .left = s.n};
}

struct slice rd_bytes(struct reader *r, size_t n)
{
    struct slice s = slice_of(r->p, n);

    if (r->failed || n > r->left) {
        r->failed = true;
        r->left = 0; /* ends the loops that read while something is left */
        return slice_of(NULL, 0);
    }
    if (n)
        r->p += n;
    r->left -= n;
    return s;
}

void rd_skip(struct reader *r, size_t n)
{
    (void)rd_bytes(r, n);
}

struct slice rd_rest(struct reader *r)
{
    return rd_bytes(r, r->left);
}

static uint64_t rd_be(struct reader *r, unsigned bytes)
{
    struct slice s = rd_bytes(r, bytes);
    uint64_t v = 0;

    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

uint8_t rd_u8(struct reader *r)
{
    return (uint8_t)rd_be(r, 1);
}

uint16_t rd_be16(struct reader *r)
{
    return (uint16_t)rd_be(r, 2);
}

uint32_t rd_be24(struct reader *r)
{
    return (uint32_t)rd_be(r, 3);
}

uint32_t rd_be32(struct reader *r)
{
    return (uint32_t)rd_be(r, 4);
}

uint64_t rd_be64(struct reader *r)
{
    return rd_be(r, 8);
}

uint32_t rd_le32(struct reader *r)
{
    return __builtin_bswap32(rd_be32(r));
}

uint8_t rd_peek_u8(struct reader *r)
{
    struct reader ahead = *r;
    uint8_t v = rd_u8(&ahead);

    if (ahead.failed)
        *r = ahead;
    return v;
}

struct bitreader bitreader_of(struct slice s)
{
    return (struct bitreader){.p = s.p, .bits = MIN(s.n, SIZE_MAX / 8) * 8};
}

void rb_skip(struct bitreader *r, size_t n)
{
    if (r->failed || n > r->bits - r->at) {
        r->failed = true;
        r->at = r->bits;
    } else {
        r->at += n;
    }
}

uint32_t rb_bits(struct bitreader *r, unsigned n)
{
    size_t from = r->at;
    uint32_t v = 0;

    assert(n <= 32);
    rb_skip(r, n);
    if (r->failed)
        return 0;
    for (size_t i = from; i < from + n; i++)
        v = v << 1 | (uint32_t)(r->p[i / 8] >> (7 - i % 8) & 1);
    return v;
}

/* k zeros, a one, k bits: 2^k - 1 + the bits. More than 31 zeros do not fit 32 bits. */
uint32_t rb_ue(struct bitreader *r)
{
    unsigned zeros = 0;
    uint32_t low;

    while (!r->failed && rb_bits(r, 1) == 0)
        if (++zeros > 31)
            rb_skip(r, SIZE_MAX);
    low = rb_bits(r, MIN(zeros, 31u));
    return r->failed ? 0 : (1u << zeros) - 1 + low;
}

int32_t rb_se(struct bitreader *r)
{
    uint32_t v = rb_ue(r); /* at most 2^32 - 2, so half of it fits */

    return v & 1 ? (int32_t)(v / 2 + 1) : -(int32_t)(v / 2);
}
