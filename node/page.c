#include "node/page.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "node/assets.h"

enum { MAX_STATUS_BYTES = 16 * 1024 * 1024 };

struct page {
    struct page_conf conf;
};

struct page *page_new(const struct page_conf *conf)
{
    struct page *p = xcalloc(1, sizeof(*p));

    p->conf = *conf;
    return p;
}

void page_free(struct page *p)
{
    free(p);
}

static const struct asset *find(const char *name, size_t n)
{
    for (size_t i = 0; i < n_assets; i++)
        if (strlen(assets[i].name) == n && memcmp(assets[i].name, name, n) == 0)
            return &assets[i];
    return NULL;
}

/* For curl and the like; browsers take the compressed form. NULL: zlib has no memory. */
static struct blob *unpack(const struct asset *a)
{
    /* The size of the original stands at the end (RFC 1952 2.3.1). */
    const uint8_t *end = a->gzip + a->n - 4;
    size_t size = end[0] | (size_t)end[1] << 8 | (size_t)end[2] << 16 | (size_t)end[3] << 24;
    struct blob *out = blob_new(size);
    z_stream z = {.next_in = (uint8_t *)a->gzip,
                  .avail_in = (uInt)a->n,
                  .next_out = blob_bytes(out),
                  .avail_out = (uInt)size};

    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK || inflate(&z, Z_FINISH) != Z_STREAM_END)
        blob_unref(&out);
    inflateEnd(&z);
    return out;
}

static void send_asset(struct http_exchange *x, const struct asset *a)
{
    struct blob *plain = http_accepts_gzip(&http_request(x)->headers) ? NULL : unpack(a);

    if (plain) {
        http_answer_blob(x, 200, a->type, plain);
        blob_unref(&plain);
        return;
    }
    http_set_header(x, "content-encoding", "gzip");
    http_answer(x, 200, a->type, slice_of(a->gzip, a->n));
}

static void answer_asset(struct http_exchange *x, struct slice name)
{
    const struct asset *a = find((const char *)name.p, name.n);

    if (!a) {
        http_answer(x, 404, "text/plain; charset=utf-8", SLICE_LIT("not found\n"));
        return;
    }
    http_set_header(x, "vary", "Accept-Encoding");
    http_set_header(x, "cache-control", "no-cache");
    http_set_header(x, "x-content-type-options", "nosniff");
    http_set_header(x, "content-security-policy",
                    "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
                    "img-src 'self' data: blob:; connect-src *");
    send_asset(x, a);
}

static void answer_status(struct page *p, struct http_exchange *x)
{
    struct buf json;

    buf_init(&json, MAX_STATUS_BYTES);
    p->conf.status(&json, p->conf.arg);
    http_set_header(x, "cache-control", "no-store");
    http_answer(x, 200, "application/json", buf_slice(&json));
    buf_cleanup(&json);
}

/* On the admin port the page has to fetch the streams from the media port; only we know which
 * of the two it came by. */
static void answer_door(struct http_exchange *x, bool is_admin)
{
    http_set_header(x, "cache-control", "no-store");
    http_answer(x, 200, "text/javascript; charset=utf-8",
                is_admin ? SLICE_LIT("export const atAdminDoor = true;\n")
                         : SLICE_LIT("export const atAdminDoor = false;\n"));
}

static bool is_get(struct http_exchange *x)
{
    struct slice method = http_request(x)->method;

    return slice_eq_str(method, "GET") || slice_eq_str(method, "HEAD");
}

static void handle(struct page *p, struct http_exchange *x, bool dashboard, bool is_admin)
{
    struct slice path = http_request(x)->path;

    if (!is_get(x))
        http_answer(x, 405, "text/plain; charset=utf-8", SLICE_LIT("only GET is answered here\n"));
    else if (slice_eq_str(path, "/") && dashboard)
        answer_asset(x, SLICE_LIT("index.html"));
    else if (slice_eq_str(path, "/api/status") && dashboard)
        answer_status(p, x);
    else if (slice_has_prefix(path, "/play/") && path.n > 6)
        answer_asset(x, SLICE_LIT("play.html"));
    else if (slice_eq_str(path, "/assets/door.js"))
        answer_door(x, is_admin);
    else if (slice_has_prefix(path, "/assets/"))
        answer_asset(x, slice_skip(path, strlen("/assets/")));
    else
        http_answer(x, 404, "text/plain; charset=utf-8", SLICE_LIT("not found\n"));
}

void page_handle(struct http_exchange *x, void *arg)
{
    struct page *p = arg;

    handle(p, x, p->conf.dashboard_for_all, false);
}

void page_handle_admin(struct http_exchange *x, struct page *p)
{
    handle(p, x, true, true);
}
