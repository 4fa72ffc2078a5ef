/* The Livepeer-Segment header as any stranger may send it to /segment. */
#include <assert.h>

#include "wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct arena *arena = arena_new(1024 * 1024);
    struct seg_data *m = arena_alloc(arena, sizeof(*m)), *back = arena_alloc(arena, sizeof(*back));
    struct buf a, b;
    struct err err;

    buf_init(&a, 1024 * 1024);
    buf_init(&b, 1024 * 1024);
    if (segment_header_decode(slice_of(p, n), arena, m, &err) == RC_OK) {
        segment_header_encode(m, &a);
        assert(buf_ok(&a));
        assert(segment_header_decode(buf_slice(&a), arena, back, NULL) == RC_OK);
        segment_header_encode(back, &b);
        assert(slice_eq(buf_slice(&a), buf_slice(&b)));
        buf_clear(&a);
        buf_clear(&b);
        segment_flatten(m, &a);
        segment_flatten(back, &b);
        assert(slice_eq(buf_slice(&a), buf_slice(&b)));
    } else {
        assert(err.text[0]);
    }
    buf_cleanup(&a);
    buf_cleanup(&b);
    arena_free(arena);
    return 0;
}
