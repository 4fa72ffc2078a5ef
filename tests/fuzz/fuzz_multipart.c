/* A worker's results: the first line is the content type, the rest the body. Parts that are read
 * lie within the body, one behind the other, and write to a body that reads the same. */
#include <assert.h>

#include "wire/multipart.h"

static void write_again(struct slice body, const struct multipart_part *parts, size_t n,
                        struct buf *out)
{
    /* a boundary that no input of a fuzzer holds */
    const char *boundary = "1f0e2d3c4b5a69788796a5b4c3d2e1f0";

    if (memmem(body.p, body.n, boundary, strlen(boundary)))
        return;
    for (size_t i = 0; i < n; i++) {
        struct http_header keep[MULTIPART_MAX_HEADERS];
        size_t kept = 0;

        /* A wrong length that was not believed could be right by chance in the new body. */
        for (size_t k = 0; k < parts[i].n_headers; k++)
            if (!slice_eq_nocase(parts[i].headers[k].name, "content-length"))
                keep[kept++] = parts[i].headers[k];
        multipart_part_head(out, boundary, i == 0, keep, kept);
        buf_add_slice(out, slice_sub(body, parts[i].offset, parts[i].length));
    }
    multipart_end(out, boundary);
}

static void check_again(struct slice body, const struct multipart_part *parts, size_t n)
{
    struct multipart_part back[MULTIPART_MAX_PARTS];
    struct buf again;
    size_t m;

    buf_init(&again, 4 * 1024 * 1024);
    write_again(body, parts, n, &again);
    if (n && again.n) {
        assert(
            multipart_parse(SLICE_LIT("multipart/mixed; boundary=1f0e2d3c4b5a69788796a5b4c3d2e1f0"),
                            buf_slice(&again), back, &m, NULL) == RC_OK);
        assert(m == n);
        for (size_t i = 0; i < n; i++)
            assert(slice_eq(slice_sub(buf_slice(&again), back[i].offset, back[i].length),
                            slice_sub(body, parts[i].offset, parts[i].length)));
    }
    buf_cleanup(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct multipart_part parts[MULTIPART_MAX_PARTS];
    struct slice body = slice_of(p, n), type;
    size_t count, end = 0;
    struct err err;

    if (!slice_split(&body, '\n', &type))
        type = slice_of(NULL, 0);
    if (multipart_parse(type, body, parts, &count, &err) != RC_OK) {
        assert(err.text[0]);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        assert(parts[i].offset >= end && parts[i].length <= body.n - parts[i].offset);
        end = parts[i].offset + parts[i].length;
    }
    check_again(body, parts, count);
    return 0;
}
