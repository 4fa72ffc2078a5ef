#include "output/deliver.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/text.h"

enum { GZIP_FROM_BYTES = 200, SEGMENT_MAX_AGE_S = 86400 };

/* On every status, errors too: a player in a browser must be able to read them. */
static void set_cors(struct http_exchange *x)
{
    http_set_header(x, "access-control-allow-origin", "*");
    http_set_header(x, "access-control-expose-headers", "Date, Age, Content-Length, Content-Range");
    http_set_header(x, "timing-allow-origin", "*");
}

void deliver_refusal(struct http_exchange *x, int status, const char *why)
{
    char line[512];

    set_cors(x);
    http_set_header(x, "cache-control", "max-age=1");
    snprintf(line, sizeof(line), "%s\n", why);
    http_answer(x, status, "text/plain; charset=utf-8", slice_str(line));
}

bool deliver_method(struct http_exchange *x)
{
    struct slice method = http_request(x)->method;

    if (slice_eq_str(method, "GET") || slice_eq_str(method, "HEAD"))
        return false;
    if (slice_eq_str(method, "OPTIONS")) {
        set_cors(x);
        http_set_header(x, "access-control-allow-methods", "GET, HEAD, OPTIONS");
        http_set_header(x, "access-control-allow-headers", "Range, Authorization");
        http_set_header(x, "access-control-max-age", "86400");
        http_answer(x, 204, NULL, slice_of(NULL, 0));
        return true;
    }
    http_set_header(x, "allow", "GET, HEAD, OPTIONS");
    deliver_refusal(x, 405, "only GET, HEAD and OPTIONS are answered here");
    return true;
}

/* --- playlists --- */

static bool accepts_gzip(struct http_exchange *x)
{
    struct slice rest = http_header_get(&http_request(x)->headers, "accept-encoding"), one;

    while (slice_split(&rest, ',', &one)) {
        one = slice_trim(one);
        if (slice_has_prefix(one, "gzip"))
            return !slice_has_suffix(one, "q=0");
    }
    return false;
}

/* NULL when it would not pay, or zlib has no memory. */
static struct blob *compress_text(struct slice text)
{
    z_stream z = {.next_in = (uint8_t *)text.p, .avail_in = (uInt)text.n};
    struct blob *whole = NULL, *out = NULL;

    if (text.n < GZIP_FROM_BYTES ||
        deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    whole = blob_new(deflateBound(&z, text.n));
    z.next_out = blob_bytes(whole);
    z.avail_out = (uInt)whole->n;
    if (deflate(&z, Z_FINISH) == Z_STREAM_END)
        out = blob_copy(slice_of(whole->p, z.total_out));
    deflateEnd(&z);
    blob_unref(&whole);
    return out;
}

void deliver_playlist(struct http_exchange *x, struct blob *text, struct blob **gzip,
                      int target_duration_s)
{
    /* What the reference calls application/x-mpegURL; players take both, this one is registered. */
    const char *type = "application/vnd.apple.mpegurl";
    char cache[32];

    set_cors(x);
    /* At most half a target duration, so that no cache makes a player late. */
    snprintf(cache, sizeof(cache), "max-age=%d", MAX(target_duration_s / 2, 1));
    http_set_header(x, "cache-control", cache);
    http_set_header(x, "vary", "Accept-Encoding");
    if (accepts_gzip(x) && !*gzip)
        *gzip = compress_text(blob_slice(text));
    if (accepts_gzip(x) && *gzip) {
        http_set_header(x, "content-encoding", "gzip");
        http_answer_blob(x, 200, type, *gzip);
    } else {
        http_answer_blob(x, 200, type, text);
    }
}

/* --- segments --- */

enum range_kind { RANGE_NONE, RANGE_GOOD, RANGE_OUTSIDE };

/* One "bytes=a-b", "bytes=a-" or "bytes=-n"; anything else is ignored, as RFC 9110 14.2 allows. */
static enum range_kind read_range(struct slice header, size_t size, size_t *from, size_t *n)
{
    struct slice rest = slice_skip(header, 6), first;
    uint64_t a = 0, b = size ? size - 1 : 0;

    if (!slice_has_prefix(header, "bytes=") || slice_find(rest, ',') < rest.n)
        return RANGE_NONE;
    slice_split(&rest, '-', &first);
    if (!first.n) {
        if (!slice_u64(rest, UINT64_MAX, &b))
            return RANGE_NONE;
        *n = MIN((size_t)b, size);
        *from = size - *n;
        return *n ? RANGE_GOOD : RANGE_OUTSIDE;
    }
    if (!slice_u64(first, UINT64_MAX, &a) || (rest.n && !slice_u64(rest, UINT64_MAX, &b)) || b < a)
        return rest.n || a < size ? RANGE_NONE : RANGE_OUTSIDE;
    if (a >= size)
        return RANGE_OUTSIDE;
    *from = a;
    *n = MIN((size_t)(b - a + 1), size - *from);
    return RANGE_GOOD;
}

static void answer_part(struct http_exchange *x, struct blob *media, const char *type, size_t from,
                        size_t n)
{
    char range[80];

    snprintf(range, sizeof(range), "bytes %zu-%zu/%zu", from, from + n - 1, media->n);
    http_set_header(x, "content-range", range);
    http_start(x, 206, type, (int64_t)n);
    if (!slice_eq_str(http_request(x)->method, "HEAD"))
        http_write_blob(x, media, from, n);
    http_finish(x);
}

void deliver_segment(struct http_exchange *x, struct blob *media, const char *ext)
{
    struct slice header = http_header_get(&http_request(x)->headers, "range");
    const char *type = strcmp(ext, ".mp4") == 0 ? "video/mp4" : "video/mp2t";
    size_t from = 0, n = 0;
    char text[80];

    set_cors(x);
    snprintf(text, sizeof(text), "max-age=%d, immutable", SEGMENT_MAX_AGE_S);
    http_set_header(x, "cache-control", text);
    http_set_header(x, "accept-ranges", "bytes");
    switch (header.n ? read_range(header, media->n, &from, &n) : RANGE_NONE) {
    case RANGE_NONE:
        http_answer_blob(x, 200, type, media);
        break;
    case RANGE_GOOD:
        answer_part(x, media, type, from, n);
        break;
    case RANGE_OUTSIDE:
        snprintf(text, sizeof(text), "bytes */%zu", media->n);
        http_set_header(x, "content-range", text);
        http_answer(x, 416, "text/plain; charset=utf-8", SLICE_LIT("range outside the segment\n"));
        break;
    }
}
