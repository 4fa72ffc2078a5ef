/* The encodings of headers and URLs, UTF-8, queries and log lines, both ways. */
#include <assert.h>
#include <stdlib.h>

#include "base/text.h"

typedef enum rc (*decoder)(struct buf *out, struct slice text, struct err *err);
typedef void (*encoder)(struct buf *out, struct slice bytes);

/* What decodes, encoded, decodes to the same; an output that is too short is told. */
static void check_decoding(decoder decode, encoder encode, struct slice in)
{
    struct buf bytes, text, again, small;
    struct err err = {0};

    buf_init(&bytes, in.n);
    buf_init(&text, 4 * in.n + 4);
    buf_init(&again, in.n);
    if (decode(&bytes, in, &err) == RC_OK) {
        encode(&text, buf_slice(&bytes));
        assert(buf_ok(&text));
        assert(decode(&again, buf_slice(&text), NULL) == RC_OK);
        assert(slice_eq(buf_slice(&bytes), buf_slice(&again)));
        if (bytes.n) {
            buf_init(&small, bytes.n - 1);
            assert(decode(&small, in, NULL) == RC_LIMIT);
            buf_cleanup(&small);
        }
    } else {
        assert(err.code == RC_BAD_INPUT);
    }
    buf_cleanup(&again);
    buf_cleanup(&text);
    buf_cleanup(&bytes);
}

/* Any bytes, encoded, are decoded to themselves. */
static void check_encoding(decoder decode, encoder encode, struct slice in)
{
    struct buf text, again;

    buf_init(&text, 4 * in.n + 4);
    buf_init(&again, in.n);
    encode(&text, in);
    assert(buf_ok(&text));
    assert(decode(&again, buf_slice(&text), NULL) == RC_OK);
    assert(slice_eq(buf_slice(&again), in));
    buf_cleanup(&again);
    buf_cleanup(&text);
}

static void check_plain(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] >= 0x20 && s.p[i] < 0x7f);
}

static void check_html(struct slice in)
{
    struct buf b;

    buf_init(&b, 6 * in.n);
    html_escape(&b, in);
    assert(buf_ok(&b) && slice_find(buf_slice(&b), '<') == b.n);
    assert(slice_find(buf_slice(&b), '"') == b.n);
    buf_cleanup(&b);
}

/* A query with this name in it finds a value that lies inside. */
static void check_query(struct slice in)
{
    struct slice value;

    if (query_get(in, "a", &value) && value.n)
        assert(value.p >= in.p && value.p + value.n <= in.p + in.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct slice in = slice_of(p, n);
    uint64_t number;
    char line[256];

    check_decoding(base64_decode, base64_encode, in);
    check_decoding(hex_decode, buf_hex, in);
    check_decoding(percent_decode, percent_encode, in);
    check_encoding(base64_decode, base64_encode, in);
    check_encoding(hex_decode, buf_hex, in);
    check_plain(slice_str(text_printable(in, line)));
    check_html(in);
    check_query(in);
    (void)slice_is_utf8(in); /* must only not read beyond */
    if (slice_u64(in, 1000, &number))
        assert(number <= 1000);
    return 0;
}
