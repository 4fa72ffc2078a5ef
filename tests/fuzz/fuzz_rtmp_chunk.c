/* Chunks from strangers: the same messages come out however the bytes are cut, and memory stays
 * in proportion to them. The first byte says how the second reader's bytes are cut. */
#include <assert.h>
#include <stdlib.h>

#include "media/rtmp/chunk.h"

/* What came out, as one number. */
struct outcome {
    uint64_t hash;
    enum rc rc;
};

static void mix(struct outcome *o, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        o->hash = (o->hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3;
}

static size_t held_bytes(const struct chunk_reader *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_streams; i++)
        n += r->streams[i].partial.cap;
    return n;
}

static struct outcome read_in_pieces(struct slice in, size_t piece)
{
    struct outcome o = {.rc = RC_NOT_FOUND};
    struct chunk_reader r;
    struct rtmp_message m;
    size_t fed = 0;

    chunk_reader_init(&r);
    while (in.n && o.rc == RC_NOT_FOUND) {
        struct slice part = slice_sub(in, 0, piece);

        in = slice_skip(in, part.n);
        fed += part.n;
        while ((o.rc = chunk_read(&r, &part, &m, NULL)) == RC_OK) {
            mix(&o, &m.type, sizeof(m.type));
            mix(&o, &m.time_ms, sizeof(m.time_ms));
            mix(&o, &m.stream_id, sizeof(m.stream_id));
            mix(&o, m.body->p, m.body->n);
            blob_unref(&m.body);
        }
        assert(o.rc != RC_NOT_FOUND || !part.n);
        assert(held_bytes(&r) <= 2 * fed + CHUNK_MAX_STREAMS * (size_t)8192);
    }
    chunk_reader_cleanup(&r);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice in = slice_of(p, n);
    struct outcome whole, cut;

    if (!n)
        return 0;
    in = slice_skip(in, 1);
    whole = read_in_pieces(in, SIZE_MAX);
    cut = read_in_pieces(in, p[0] + (size_t)1);
    assert(whole.rc == cut.rc);
    assert(whole.hash == cut.hash);
    return 0;
}
