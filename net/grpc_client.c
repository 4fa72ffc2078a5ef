/* gRPC calls over the HTTP client. A call's state lives as long as its HTTP call. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/url.h"
#include "net/grpc.h"
#include "net/http_client_int.h"

enum {
    PREFIX = 5,       /* compressed flag, length */
    CONNECT_MS = 3000 /* video.md 1.5 */
};

struct grpc {
    struct http_call *call;
    struct grpc_call_conf conf; /* callbacks and arg only */
    char *name;                 /* "https://host:8935/net.Orchestrator/Ping", for sentences */
    int http_status;
    bool is_grpc;       /* by the answer's content type */
    struct buf partial; /* a message that has not come whole */
};

static void grpc_free(void *arg)
{
    struct grpc *g = arg;

    buf_cleanup(&g->partial);
    free(g->name);
    free(g);
}

/* --- statuses --- */

static const struct {
    const char *name;
    enum rc rc;
} statuses[] = {
    /* by gRPC's number; the reference uses 2 for every refusal */
    {"OK", RC_OK},
    {"Canceled", RC_CLOSED},
    {"Unknown", RC_UNAVAILABLE},
    {"InvalidArgument", RC_BAD_INPUT},
    {"DeadlineExceeded", RC_TIMEOUT},
    {"NotFound", RC_NOT_FOUND},
    {"AlreadyExists", RC_EXISTS},
    {"PermissionDenied", RC_DENIED},
    {"ResourceExhausted", RC_BUSY},
    {"FailedPrecondition", RC_STALE},
    {"Aborted", RC_UNAVAILABLE},
    {"OutOfRange", RC_LIMIT},
    {"Unimplemented", RC_UNSUPPORTED},
    {"Internal", RC_UNAVAILABLE},
    {"Unavailable", RC_UNAVAILABLE},
    {"DataLoss", RC_UNAVAILABLE},
    {"Unauthenticated", RC_DENIED},
};

static enum rc status_rc(int status)
{
    return (size_t)status < ARRAY_LEN(statuses) ? statuses[status].rc : RC_UNAVAILABLE;
}

static const char *status_name(int status)
{
    return (size_t)status < ARRAY_LEN(statuses) ? statuses[status].name : "of no known name";
}

/* Source: github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
static const struct {
    int http, grpc;
} http_statuses[] = {
    {400, 13}, {401, 16}, {403, 7},  {404, GRPC_UNIMPLEMENTED},
    {429, 14}, {502, 14}, {503, 14}, {504, 14},
};

static int status_of_http(int http)
{
    for (size_t i = 0; i < ARRAY_LEN(http_statuses); i++)
        if (http_statuses[i].http == http)
            return http_statuses[i].grpc;
    return GRPC_UNKNOWN;
}

/* Percent-decoding that keeps what it does not understand, and shows control bytes as
 * spaces: the text is meant for a log line. */
static void decode_message(struct slice in, char *out, size_t max)
{
    size_t n = 0;

    while (in.n && n + 1 < max) {
        struct buf b;
        uint8_t c = in.p[0];
        size_t used = 1;

        buf_init(&b, 1);
        if (c == '%' && hex_decode(&b, slice_sub(in, 1, 2), NULL) == RC_OK && b.n == 1) {
            c = b.p[0];
            used = 3;
        }
        buf_cleanup(&b);
        out[n++] = (char)(c < ' ' || c == 0x7f ? ' ' : c);
        in = slice_skip(in, used);
    }
    out[n] = '\0';
    if (!slice_is_utf8(slice_of(out, n)))
        for (size_t i = 0; i < n; i++)
            if ((uint8_t)out[i] >= 0x80)
                out[i] = '?';
}

/* --- messages --- */

/* The message's length from its prefix. False: the call has failed. */
static bool read_prefix(struct grpc *g, const uint8_t *p, size_t *n)
{
    struct err err = {.code = RC_OK};

    *n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] != 0)
        (void)err_set(&err, RC_BAD_INPUT,
                      "%s: compressed message (flag %u), though none was asked "
                      "for",
                      g->name, p[0]);
    else if (*n > GRPC_MAX_MESSAGE)
        (void)err_set(&err, RC_LIMIT, "%s: message of %zu bytes, at most %d", g->name, *n,
                      GRPC_MAX_MESSAGE);
    if (err.code != RC_OK)
        http_call_fail(g->call, &err);
    return err.code == RC_OK;
}

/* Moves up to `upto - partial.n` bytes of *in into the partial message. True: it is full. */
static bool gather(struct grpc *g, struct slice *in, size_t upto)
{
    size_t take = MIN(upto - MIN(upto, g->partial.n), in->n);

    buf_add(&g->partial, in->p, take);
    *in = slice_skip(*in, take);
    return g->partial.n >= upto;
}

static void tell(struct grpc *g, struct slice message)
{
    if (g->conf.on_message)
        g->conf.on_message(message, g->conf.arg);
}

/* Takes one message, or what there is of one, from *in. False: no more, or the call is over. */
static bool take_message(struct grpc *g, struct slice *in)
{
    size_t n;

    if (!g->partial.n && in->n >= PREFIX) { /* usual: whole in one piece, not copied */
        if (!read_prefix(g, in->p, &n))
            return false;
        if (in->n - PREFIX >= n) {
            struct slice message = slice_sub(*in, PREFIX, n);

            *in = slice_skip(*in, PREFIX + n);
            tell(g, message);
            return true;
        }
    }
    if (!gather(g, in, PREFIX) || !read_prefix(g, g->partial.p, &n) || !gather(g, in, PREFIX + n))
        return false;
    tell(g, slice_sub(buf_slice(&g->partial), PREFIX, n));
    buf_cleanup(&g->partial);
    buf_init(&g->partial, PREFIX + GRPC_MAX_MESSAGE);
    return true;
}

static void on_bytes(struct slice bytes, void *arg)
{
    struct grpc *g = arg;

    if (g->http_status != 200 || !g->is_grpc)
        return; /* an error page */
    while (take_message(g, &bytes) && bytes.n && !http_call_is_over(g->call))
        ;
}

/* --- the end --- */

static void on_headers(int status, const struct http_headers *h, void *arg)
{
    struct grpc *g = arg;

    g->http_status = status;
    g->is_grpc = slice_has_prefix(http_header_get(h, "content-type"), "application/grpc");
}

/* The peer's status, or -1 when it told none. */
static int told_status(const struct http_headers *h)
{
    struct slice s = http_header_get(h, "grpc-status");
    uint64_t status;

    if (!s.p)
        return -1;
    return slice_u64(s, 999, &status) ? (int)status : GRPC_UNKNOWN;
}

static void refused(struct grpc *g, int status, const struct http_headers *h)
{
    struct err err = {.code = status_rc(status)};

    decode_message(http_header_get(h, "grpc-message"), err.text, sizeof(err.text));
    if (!*err.text)
        (void)err_set(&err, err.code, "%s: status %d, %s", g->name, status, status_name(status));
    g->conf.on_done(status, &err, g->conf.arg);
}

static void ended_without_status(struct grpc *g)
{
    int status = g->http_status != 200 ? status_of_http(g->http_status) : -1;
    struct err err;

    if (status >= 0)
        (void)err_set(&err, status_rc(status), "%s: HTTP %d %s instead of gRPC", g->name,
                      g->http_status, http_status_text(g->http_status));
    else if (!g->is_grpc)
        (void)err_set(&err, RC_BAD_INPUT, "%s: the answer is not gRPC", g->name);
    else
        (void)err_set(&err, RC_BAD_INPUT, "%s: ended without grpc-status", g->name);
    g->conf.on_done(status, &err, g->conf.arg);
}

static void on_done(int http_status, const struct http_headers *h, struct blob *body,
                    const struct err *err, void *arg)
{
    struct grpc *g = arg;
    int status = told_status(h);
    struct err cut;

    (void)http_status, (void)body;
    if (!g->conf.on_done)
        return;
    if (err) {
        g->conf.on_done(-1, err, g->conf.arg);
    } else if (status < 0) {
        ended_without_status(g);
    } else if (status != GRPC_OK) {
        refused(g, status, h);
    } else if (g->partial.n) {
        (void)err_set(&cut, RC_BAD_INPUT, "%s: ended within a message, after %zu bytes", g->name,
                      g->partial.n);
        g->conf.on_done(-1, &cut, g->conf.arg);
    } else {
        g->conf.on_done(GRPC_OK, NULL, g->conf.arg);
    }
}

/* --- the start --- */

static struct blob *framed(struct slice message)
{
    struct blob *b = blob_new(PREFIX + message.n);
    uint8_t *p = blob_bytes(b);

    p[0] = 0;
    p[1] = (uint8_t)(message.n >> 24);
    p[2] = (uint8_t)(message.n >> 16);
    p[3] = (uint8_t)(message.n >> 8);
    p[4] = (uint8_t)message.n;
    memcpy(p + PREFIX, message.p, message.n);
    return b;
}

/* Scheme, host and port of conf->url, whatever follows them, and the method's path. */
static char *full_url(const struct grpc_call_conf *conf)
{
    const char *host = strstr(conf->url, "://");
    size_t n = host ? (size_t)(host - conf->url) + 3 : 0;

    n += strcspn(conf->url + n, "/?#");
    return xasprintf("%.*s%s", (int)MIN(n, (size_t)HTTP_MAX_TARGET), conf->url, conf->path);
}

static struct grpc *grpc_new(const struct grpc_call_conf *conf)
{
    struct grpc *g = xcalloc(1, sizeof(*g));

    g->conf.on_message = conf->on_message;
    g->conf.on_done = conf->on_done;
    g->conf.arg = conf->arg;
    g->name = full_url(conf);
    buf_init(&g->partial, PREFIX + GRPC_MAX_MESSAGE);
    return g;
}

struct http_call *grpc_call(struct http_client *c, const struct grpc_call_conf *conf)
{
    char deadline[24];
    struct http_header headers[4] = {
        {SLICE_LIT("content-type"), SLICE_LIT("application/grpc")},
        {SLICE_LIT("user-agent"), SLICE_LIT("leat")},
        {SLICE_LIT("te"), SLICE_LIT("trailers")},
    };
    struct grpc *g = grpc_new(conf);
    struct blob *body = framed(conf->message);
    struct http_call_conf http = {
        .method = "POST",
        .url = g->name,
        .unix_path = conf->unix_path,
        .speak = HTTP_SPEAK_2,
        .headers = headers,
        .n_headers = 3,
        .body = body,
        .max_body = SIZE_MAX,
        .connect_timeout_ms = conf->connect_timeout_ms ? conf->connect_timeout_ms : CONNECT_MS,
        .timeout_ms = conf->timeout_ms,
        .ping_every_ms = conf->ping_every_ms,
        .on_headers = on_headers,
        .on_bytes = on_bytes,
        .on_done = on_done,
        .arg = g,
    };

    if (conf->timeout_ms > 0) {
        snprintf(deadline, sizeof(deadline), "%dm", MIN(conf->timeout_ms, 99999999));
        headers[http.n_headers++] = (struct http_header){SLICE_LIT("grpc-timeout"),
                                                         slice_str(deadline)};
    }
    g->call = http_call_start(c, &http);
    blob_unref(&body);
    if (g->call)
        http_call_on_free(g->call, grpc_free);
    else
        grpc_free(g);
    return g->call;
}
