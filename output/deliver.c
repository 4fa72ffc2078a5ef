#include "output/deliver.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/text.h"

enum { GZIP_FROM_BYTES = 200 };

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
    if (status == 503)
        http_set_header(x, "retry-after", "1");
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

void deliver_playlist(struct http_exchange *x, struct shared_text *t, int target_duration_s)
{
    /* The reference says application/x-mpegURL. Players take both; this one is registered. */
    const char *type = "application/vnd.apple.mpegurl";
    bool gzip = http_accepts_gzip(&http_request(x)->headers);
    char cache[32];

    set_cors(x);
    /* At most half a target duration, so that no cache makes a player late. */
    snprintf(cache, sizeof(cache), "max-age=%d", target_duration_s / 2);
    http_set_header(x, "cache-control", cache);
    http_set_header(x, "vary", "Accept-Encoding");
    if (gzip && !t->gzip)
        t->gzip = compress_text(blob_slice(t->plain));
    if (gzip && t->gzip)
        http_set_header(x, "content-encoding", "gzip");
    http_answer_blob(x, 200, type, gzip && t->gzip ? t->gzip : t->plain);
}

/* --- segments --- */

enum range_kind { RANGE_NONE, RANGE_GOOD, RANGE_OUTSIDE };

/* "a-b", "a-" or "-n"; what is none of them is ignored, as RFC 9110 14.2 allows. */
static enum range_kind read_range(struct slice text, size_t size, size_t *from, size_t *n)
{
    size_t dash = slice_find(text, '-');
    struct slice first = slice_sub(text, 0, dash), last = slice_skip(text, dash + 1);
    uint64_t a = 0, b = UINT64_MAX;

    if (dash == text.n || (!first.n && !last.n) || (first.n && !slice_u64(first, UINT64_MAX, &a)) ||
        (last.n && !slice_u64(last, UINT64_MAX, &b)) || (first.n && b < a))
        return RANGE_NONE;
    if (!first.n) { /* the last b bytes */
        a = size - MIN(b, (uint64_t)size);
        b = UINT64_MAX;
    }
    if (a >= size)
        return RANGE_OUTSIDE;
    *from = (size_t)a;
    *n = (size_t)(MIN(b, (uint64_t)size - 1) - a + 1);
    return RANGE_GOOD;
}

/* Several ranges, or one on a condition that we have no validator for, get the whole. */
static enum range_kind range_asked(struct http_exchange *x, size_t size, size_t *from, size_t *n)
{
    const struct http_request *r = http_request(x);
    struct slice header = http_header_get(&r->headers, "range");

    if (!slice_eq_str(r->method, "GET") || !slice_has_prefix(header, "bytes=") ||
        slice_find(header, ',') < header.n || http_header_get(&r->headers, "if-range").p)
        return RANGE_NONE;
    return read_range(slice_skip(header, strlen("bytes=")), size, from, n);
}

static void answer_part(struct http_exchange *x, struct blob *media, const char *type, size_t from,
                        size_t n)
{
    char range[80];

    snprintf(range, sizeof(range), "bytes %zu-%zu/%zu", from, from + n - 1, media->n);
    http_set_header(x, "content-range", range);
    http_start(x, 206, type, (int64_t)n);
    http_write_blob(x, media, from, n);
    http_finish(x);
}

static void refuse_range(struct http_exchange *x, size_t size)
{
    char range[48];

    snprintf(range, sizeof(range), "bytes */%zu", size);
    http_set_header(x, "content-range", range);
    deliver_refusal(x, 416, "the range lies outside the segment");
}

void deliver_segment(struct http_exchange *x, struct blob *media, const char *ext, int max_age_s)
{
    const char *type = strcmp(ext, ".mp4") == 0 ? "video/mp4" : "video/mp2t";
    size_t from = 0, n = 0;
    enum range_kind kind = range_asked(x, media->n, &from, &n);
    char cache[48];

    if (kind == RANGE_OUTSIDE) {
        refuse_range(x, media->n);
        return;
    }
    set_cors(x);
    snprintf(cache, sizeof(cache), "max-age=%d, immutable", max_age_s);
    http_set_header(x, "cache-control", cache);
    http_set_header(x, "accept-ranges", "bytes");
    if (kind == RANGE_GOOD)
        answer_part(x, media, type, from, n);
    else
        http_answer_blob(x, 200, type, media);
}
