/* One request and its answer, the part that HTTP/1 and HTTP/2 share: the body on its way to
 * the handler, the answer's head and length, and the end that is told once. */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/http_server_int.h"

enum { BODY_FIRST_ROOM = 1024 * 1024 }; /* most that is set aside on a peer's word alone */

/* --- life --- */

struct http_exchange *exchange_new(struct http_conn *c)
{
    struct http_exchange *x = xcalloc(1, sizeof(*x));

    x->conn = c;
    x->arena = arena_new(HTTP_ARENA_MAX);
    x->req.content_length = -1;
    x->req.peer = stream_peer(c->stream);
    x->req.peer_is_loopback = stream_peer_is_loopback(c->stream);
    x->moved_ms = conn_now_ms(c);
    buf_init(&x->held, SIZE_MAX / 2); /* the protocols stop reading long before */
    list_push(&c->exchanges, &x->node);
    return x;
}

static void exchange_bury(void *arg)
{
    struct http_exchange *x = arg;

    chunks_clear(&x->out);
    buf_cleanup(&x->held);
    buf_cleanup(&x->body);
    arena_free(x->arena);
    free(x);
}

static void body_done(struct http_exchange *x, const struct err *why);

void exchange_close(struct http_exchange *x, bool complete)
{
    struct http_conn *c = x->conn;
    struct err gone;

    if (x->dead)
        return;
    x->dead = true;
    list_remove(&c->exchanges, &x->node);
    loop_defer_cancel(c->server->loop, &x->pump);
    if (!complete) {
        err_set(&gone, RC_CLOSED, "%s went away", x->req.peer);
        body_done(x, x->body_why ? x->body_why : &gone);
    }
    if (x->on_closed)
        x->on_closed(x, complete, x->closed_arg);
    if (!c->dead)
        c->proto->closed(x);
    loop_defer(c->server->loop, &x->bury, exchange_bury, x);
}

/* --- the request --- */

/* "/a?b", and the absolute form that proxies send, "http://host/a?b" (RFC 9112 3.2.2). */
void exchange_set_target(struct http_exchange *x, struct slice target)
{
    struct slice rest = target, scheme;
    size_t at;

    x->req.target = target;
    if (target.n && target.p[0] != '/' && slice_split(&rest, ':', &scheme) &&
        slice_has_prefix(rest, "//")) {
        rest = slice_skip(rest, 2);
        rest = slice_skip(rest, slice_find(rest, '/'));
        target = rest.n ? rest : SLICE_LIT("/");
    }
    at = slice_find(target, '?');
    x->req.path = slice_sub(target, 0, at);
    x->req.query = slice_skip(target, at + 1);
}

void exchange_read_headers(struct http_exchange *x)
{
    const struct http_headers *h = &x->req.headers;
    struct slice length = http_header_get(h, "content-length");
    uint64_t n;

    if (length.p && slice_u64(length, INT64_MAX, &n))
        x->req.content_length = (int64_t)n;
    if (!x->req.authority.n)
        x->req.authority = http_header_get(h, "host");
    x->expects_continue = slice_eq_nocase(http_header_get(h, "expect"), "100-continue");
}

void exchange_begin(struct http_exchange *x)
{
    struct http_server *s = x->conn->server;

    x->moved_ms = conn_now_ms(x->conn);
    s->conf.on_request(x, s->conf.arg);
}

const struct http_request *http_request(const struct http_exchange *x)
{
    return &x->req;
}

struct arena *http_arena(struct http_exchange *x)
{
    return x->arena;
}

struct loop *http_loop(struct http_exchange *x)
{
    return x->conn->server->loop;
}

void http_on_closed(struct http_exchange *x,
                    void (*fn)(struct http_exchange *x, bool complete, void *arg), void *arg)
{
    x->on_closed = fn;
    x->closed_arg = arg;
}

/* --- the body --- */

bool exchange_wants_body(const struct http_exchange *x)
{
    return x->mode == BODY_DISCARD || (x->mode != BODY_UNASKED && !x->paused && !x->held.n);
}

/* Tells the handler how the body ended, once. */
static void body_done(struct http_exchange *x, const struct err *why)
{
    enum body_mode mode = x->mode;

    x->mode = BODY_DISCARD;
    if (mode == BODY_COLLECT) {
        struct blob *body = why ? NULL : blob_of_buf(&x->body);

        buf_cleanup(&x->body);
        x->on_body(x, body, why, x->body_arg);
        blob_unref(&body);
    } else if (mode == BODY_STREAM && x->body_events.on_end) {
        x->body_events.on_end(x, why, x->body_arg);
    }
}

static void body_too_large(struct http_exchange *x)
{
    struct err why;

    err_set(&why, RC_LIMIT, "the body is larger than %zu bytes", x->body_max);
    body_done(x, &why);
}

static void body_collect(struct http_exchange *x, struct slice bytes)
{
    size_t told = x->req.content_length > 0 ? (size_t)x->req.content_length : 0;

    if (!x->body.cap && told)
        (void)buf_reserve(&x->body, MIN(told, (size_t)BODY_FIRST_ROOM)); /* add says if it failed */
    buf_add_slice(&x->body, bytes);
    if (!buf_ok(&x->body))
        body_too_large(x);
}

static void body_deliver(struct http_exchange *x, struct slice bytes)
{
    x->body_got += bytes.n;
    if (x->body_got > x->body_max)
        body_too_large(x);
    else if (x->mode == BODY_COLLECT)
        body_collect(x, bytes);
    else
        x->body_events.on_bytes(x, bytes, x->body_arg);
}

bool exchange_body(struct http_exchange *x, struct slice bytes)
{
    x->moved_ms = conn_now_ms(x->conn);
    if (!exchange_wants_body(x)) {
        buf_add_slice(&x->held, bytes);
        return false;
    }
    if (x->mode != BODY_DISCARD)
        body_deliver(x, bytes);
    return true;
}

static void body_maybe_done(struct http_exchange *x)
{
    if (x->body_ended && x->mode != BODY_UNASKED && !x->paused && !x->held.n)
        body_done(x, x->body_why);
}

void exchange_body_end(struct http_exchange *x, const struct err *why)
{
    if (x->body_ended)
        return;
    x->body_ended = true;
    if (why) {
        x->body_why = arena_alloc(x->arena, sizeof(*why));
        *x->body_why = *why;
    }
    body_maybe_done(x);
}

/* What was held goes to the handler, now that it asked or goes on. */
static void pump_held(struct http_exchange *x)
{
    struct buf held = x->held;

    buf_init(&x->held, held.max);
    if (x->mode != BODY_DISCARD)
        body_deliver(x, buf_slice(&held));
    if (!x->dead)
        x->conn->proto->body_taken(x, held.n);
    buf_cleanup(&held);
}

static void pump(void *arg)
{
    struct http_exchange *x = arg;

    if (x->paused && x->mode != BODY_DISCARD)
        return;
    x->moved_ms = conn_now_ms(x->conn);
    if (x->req.content_length > 0 && (uint64_t)x->req.content_length > x->body_max &&
        x->mode != BODY_DISCARD)
        body_too_large(x);
    if (!x->dead && x->held.n)
        pump_held(x);
    if (!x->dead)
        body_maybe_done(x);
    if (!x->dead && !x->held.n)
        x->conn->proto->body_taken(x, 0);
}

static void body_ask(struct http_exchange *x, enum body_mode mode, size_t max_bytes, void *arg)
{
    bool fits = x->req.content_length < 0 || (uint64_t)x->req.content_length <= max_bytes;

    assert(x->mode == BODY_UNASKED || x->dead);
    x->mode = mode;
    x->body_max = max_bytes;
    x->body_arg = arg;
    if (x->expects_continue && fits && !x->body_ended && !x->held.n && !x->head_sent) {
        x->expects_continue = false;
        x->conn->proto->send_continue(x);
    }
    loop_defer(x->conn->server->loop, &x->pump, pump, x);
}

void http_read_body(struct http_exchange *x, size_t max_bytes, http_on_body on_body, void *arg)
{
    if (x->dead)
        return;
    buf_init(&x->body, max_bytes);
    x->on_body = on_body;
    body_ask(x, BODY_COLLECT, max_bytes, arg);
}

void http_stream_body(struct http_exchange *x, size_t max_bytes, const struct http_body_events *ev,
                      void *arg)
{
    if (x->dead)
        return;
    x->body_events = *ev;
    body_ask(x, BODY_STREAM, max_bytes, arg);
}

void http_body_pause(struct http_exchange *x)
{
    x->paused = true;
}

void http_body_resume(struct http_exchange *x)
{
    if (x->dead || !x->paused)
        return;
    x->paused = false;
    loop_defer(x->conn->server->loop, &x->pump, pump, x);
}

/* --- time --- */

size_t exchange_unsent(const struct http_exchange *x)
{
    uint64_t sent = x->conn->sent;

    return x->out.bytes + (x->wire_end > sent ? (size_t)(x->wire_end - sent) : 0);
}

size_t http_unsent(const struct http_exchange *x)
{
    return exchange_unsent(x);
}

void http_body_within(struct http_exchange *x, int ms)
{
    x->body_within_ms = ms;
    x->body_until_ms = conn_now_ms(x->conn) + ms;
}

static bool body_takes_too_long(const struct http_exchange *x, int64_t now_ms)
{
    return x->body_within_ms && !x->body_ended && x->mode != BODY_DISCARD &&
           now_ms >= x->body_until_ms;
}

/* Something is due from the peer (its body, or room for ours) and nothing has moved. */
bool exchange_stalled(struct http_exchange *x, int64_t now_ms)
{
    bool body_due = !x->body_ended && x->mode != BODY_UNASKED && exchange_wants_body(x);

    if (x->mode == BODY_DISCARD && !x->finished)
        body_due = false; /* our handler is busy; what the peer still sends is nobody's wait */
    if (body_due && !x->conn->proto->may_send(x)) {
        body_due = false;
        if (exchange_unsent(x) == 0)
            x->moved_ms = now_ms; /* his time begins when our windows let him send */
    }
    if (body_takes_too_long(x, now_ms))
        return true;
    return (body_due || exchange_unsent(x) > 0) &&
           now_ms - x->moved_ms >= x->conn->server->conf.stall_timeout_ms;
}

void exchange_stop(struct http_exchange *x)
{
    struct err why;

    if (exchange_unsent(x) > 0 || x->mode == BODY_DISCARD) {
        x->conn->proto->abort(x);
        return;
    }
    if (body_takes_too_long(x, conn_now_ms(x->conn)))
        err_set(&why, RC_TIMEOUT, "the body did not come within %d ms, only %zu bytes of it",
                x->body_within_ms, x->body_got);
    else
        err_set(&why, RC_TIMEOUT, "no more of the body came within %d ms, %zu bytes did",
                x->conn->server->conf.stall_timeout_ms, x->body_got);
    x->stalled = true;
    exchange_body_end(x, &why);
}

void http_watch(struct http_exchange *x, int every_ms,
                void (*on_change)(struct http_exchange *x, bool silent, void *arg), void *arg)
{
    x->watch_ms = every_ms;
    x->on_change = on_change;
    x->change_arg = arg;
}

/* --- the answer --- */

/* Text of ours, but parts of it may have come from a stranger: a line break in it would
 * begin a header of his choice. */
static struct slice header_value(struct http_exchange *x, const char *value)
{
    char *copy = arena_strdup(x->arena, value);

    for (char *p = copy; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    return slice_trim(slice_str(copy));
}

static void add_header(struct http_exchange *x, struct http_header **list, size_t *n, size_t max,
                       const char *name, const char *value)
{
    if (*n == max) {
        log_bug(NULL, "more than %zu headers or trailers in an answer: %s left out", max, name);
        return;
    }
    if (!*list)
        *list = arena_alloc(x->arena, max * sizeof(**list));
    (*list)[(*n)++] = (struct http_header){slice_str(arena_strdup(x->arena, name)),
                                           header_value(x, value)};
}

void http_set_header(struct http_exchange *x, const char *name, const char *value)
{
    if (!x->dead && !x->head_sent)
        add_header(x, &x->headers, &x->n_headers, HTTP_MAX_ANSWER_HEADERS, name, value);
}

void http_trailer(struct http_exchange *x, const char *name, const char *value)
{
    if (!x->dead && !x->finished)
        add_header(x, &x->trailers, &x->n_trailers, HTTP_MAX_TRAILERS, name, value);
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_start(struct http_exchange *x, int status, const char *type, int64_t content_length)
{
    if (x->dead)
        return;
    assert(!x->head_sent);
    x->head_sent = true;
    x->no_body = !status_has_body(status) || slice_eq_str(x->req.method, "HEAD");
    x->left = x->no_body ? -1 : content_length;
    x->moved_ms = conn_now_ms(x->conn);
    x->conn->proto->send_head(x, status, type, status_has_body(status) ? content_length : -1);
    x->sent_owed = true;
}

static void send_part(struct http_exchange *x, struct blob *b, struct slice part)
{
    if (x->dead || x->no_body || !part.n)
        return;
    assert(x->head_sent && !x->finished);
    if (x->left >= 0) {
        if ((uint64_t)x->left < part.n)
            log_bug(NULL, "answer longer than its Content-Length, the rest is cut off");
        part.n = MIN(part.n, (size_t)x->left);
        x->left -= (int64_t)part.n;
    }
    if (exchange_unsent(x) == 0)
        x->moved_ms = conn_now_ms(x->conn);
    x->sent_owed = true;
    x->conn->proto->send(x, b, part);
}

void http_write(struct http_exchange *x, struct slice bytes)
{
    send_part(x, NULL, bytes);
}

void http_write_blob(struct http_exchange *x, struct blob *b, size_t from, size_t n)
{
    send_part(x, b, slice_sub(blob_slice(b), from, n));
}

void http_on_sent(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *arg),
                  void *arg)
{
    x->on_sent = fn;
    x->sent_arg = arg;
}

void http_finish(struct http_exchange *x)
{
    if (x->dead || x->finished)
        return;
    assert(x->head_sent);
    if (x->left > 0) {
        log_bug(NULL, "answer %lld bytes shorter than its Content-Length", (long long)x->left);
        http_abort(x);
        return;
    }
    x->finished = true;
    x->moved_ms = conn_now_ms(x->conn);
    x->conn->proto->finish(x);
}

void http_abort(struct http_exchange *x)
{
    if (!x->dead)
        x->conn->proto->abort(x);
}

void http_answer(struct http_exchange *x, int status, const char *type, struct slice body)
{
    http_start(x, status, type, (int64_t)body.n);
    http_write(x, body);
    http_finish(x);
}

void http_answer_blob(struct http_exchange *x, int status, const char *type, struct blob *body)
{
    http_start(x, status, type, (int64_t)blob_slice(body).n);
    http_write_blob(x, body, 0, blob_slice(body).n);
    http_finish(x);
}

void exchange_refuse(struct http_exchange *x, int status, const char *sentence)
{
    char *line = arena_printf(x->arena, "%s\n", sentence);

    http_answer(x, status, "text/plain; charset=utf-8", slice_str(line));
}

void http_answer_err(struct http_exchange *x, const struct err *err)
{
    /* its 504 is for peers of ours that we waited for; here the client was slow */
    int status = x->stalled && err->code == RC_TIMEOUT ? 408 : rc_http_status(err->code);

    if (!x->dead)
        exchange_refuse(x, status, err->text);
}
