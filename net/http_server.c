#include "net/http_server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/http_server_int.h"

enum {
    DEFAULT_HEADER_MS = 10 * 1000,
    DEFAULT_IDLE_MS = 10 * 60 * 1000,
    DEFAULT_STALL_MS = 30 * 1000,
    DEFAULT_STREAMS = 250,
    HALF_CLOSED_MS = 200, /* a peer that stopped sending gets what is ready by then */
    SWEEP_MIN_MS = 5,
    SWEEP_MAX_MS = 500
};

/* --- time: one sweep over the busy connections, and the head of the idle list --- */

static void arm_sweep(struct http_server *s)
{
    const struct http_server_conf *conf = &s->conf;
    int64_t now = loop_now_ms(s->loop), at;
    int every = MIN(conf->header_timeout_ms, conf->stall_timeout_ms) / 8;

    if (s->dead)
        return;
    if (!list_is_empty(&s->busy))
        at = now + MAX(SWEEP_MIN_MS, MIN(every, SWEEP_MAX_MS));
    else if (!list_is_empty(&s->idle))
        at = LIST_FIRST(&s->idle, struct http_conn, node)->idle_since_ms + conf->idle_timeout_ms;
    else
        return;
    if (s->sweep_at && s->sweep_at <= at)
        return;
    s->sweep_at = at;
    timer_start(s->sweep, MAX(at - now, 1));
}

static void check_exchanges(struct http_conn *c, int64_t now)
{
    struct http_exchange *stalled;

    do {
        stalled = NULL;
        LIST_EACH (&c->exchanges, struct http_exchange, node, x) {
            if (exchange_stalled(x, now)) {
                stalled = x;
                break;
            }
        }
        if (stalled)
            exchange_stop(stalled); /* may end any of them: start again */
    } while (stalled && !c->dead);
}

static bool has_unanswered(const struct http_conn *c)
{
    LIST_EACH (&c->exchanges, struct http_exchange, node, x)
        if (!x->finished)
            return true;
    return false;
}

static void check_conn(struct http_conn *c, int64_t now)
{
    const struct http_server_conf *conf = &c->server->conf;

    if (c->left_at_ms && now - c->left_at_ms >= HALF_CLOSED_MS && has_unanswered(c))
        conn_close(c);
    else if (c->head_since_ms && now - c->head_since_ms >= conf->header_timeout_ms && !c->proto)
        conn_close(c);
    else if (c->head_since_ms && now - c->head_since_ms >= conf->header_timeout_ms)
        c->proto->head_timeout(c);
    else
        check_exchanges(c, now);
    if (!c->dead && c->proto && c->proto->watch)
        c->proto->watch(c, now);
}

static void on_sweep(void *arg)
{
    struct http_server *s = arg;
    int64_t now = loop_now_ms(s->loop);
    struct http_conn *c;

    s->sweep_at = 0;
    /* once around by the head: what is called may close any connection */
    for (size_t left = s->busy.n; left > 0 && s->busy.n > 0; left--) {
        c = LIST_FIRST(&s->busy, struct http_conn, node);
        list_remove(&s->busy, &c->node);
        list_push(&s->busy, &c->node);
        check_conn(c, now);
        if (s->dead)
            return;
    }
    while ((c = LIST_FIRST(&s->idle, struct http_conn, node)) &&
           now - c->idle_since_ms >= s->conf.idle_timeout_ms)
        conn_close(c);
    arm_sweep(s);
}

int64_t conn_now_ms(const struct http_conn *c)
{
    return loop_now_ms(c->server->loop);
}

static void conn_list_leave(struct http_conn *c)
{
    list_remove(c->is_idle ? &c->server->idle : &c->server->busy, &c->node);
}

void conn_set_idle(struct http_conn *c)
{
    if (c->dead)
        return;
    if (c->left_at_ms) {
        conn_close_when_sent(c);
        return;
    }
    conn_list_leave(c);
    c->is_idle = true;
    c->head_since_ms = 0;
    c->idle_since_ms = conn_now_ms(c);
    list_push(&c->server->idle, &c->node);
    arm_sweep(c->server);
}

void conn_set_busy(struct http_conn *c)
{
    if (c->dead || !c->is_idle)
        return;
    conn_list_leave(c);
    c->is_idle = false;
    list_push(&c->server->busy, &c->node);
    arm_sweep(c->server);
}

/* --- the end of a connection --- */

static void on_drained(void *arg)
{
    struct http_server *s = arg;

    if (!s->dead && s->on_drained)
        s->on_drained(s->drained_arg);
}

static void conn_bury(void *arg)
{
    struct http_conn *c = arg;

    if (c->proto)
        c->proto->free(c);
    free(c);
}

/* The stream is somebody else's business from here on. */
static void conn_leave(struct http_conn *c)
{
    struct http_server *s = c->server;

    c->dead = true;
    c->stream = NULL;
    conn_list_leave(c);
    loop_defer_cancel(s->loop, &c->settle);
    loop_defer(s->loop, &c->bury, conn_bury, c);
    if (s->draining && list_is_empty(&s->idle) && list_is_empty(&s->busy))
        loop_defer(s->loop, &s->drained, on_drained, s);
}

void conn_close(struct http_conn *c)
{
    struct stream *stream = c->stream;

    if (c->dead)
        return;
    conn_leave(c);
    for (struct http_exchange *x; (x = LIST_FIRST(&c->exchanges, struct http_exchange, node));)
        exchange_close(x, false);
    stream_close(stream);
}

void conn_close_when_sent(struct http_conn *c)
{
    struct stream *stream = c->stream;

    if (c->dead)
        return;
    assert(list_is_empty(&c->exchanges));
    conn_leave(c);
    stream_close_when_sent(stream);
}

/* --- bytes out --- */

void conn_write(struct http_conn *c, struct slice bytes)
{
    if (c->dead)
        return;
    c->written += bytes.n;
    stream_write(c->stream, bytes);
}

void conn_write_blob(struct http_conn *c, struct blob *b, struct slice part)
{
    if (c->dead)
        return;
    c->written += part.n;
    stream_write_blob(c->stream, b, (size_t)(part.p - b->p), part.n);
}

static void update_sent(struct http_conn *c)
{
    /* records of TLS make the queue look larger than what is ours in it */
    uint64_t queued = MIN((uint64_t)stream_queued(c->stream), c->written);

    c->sent = MAX(c->sent, c->written - queued);
}

static bool is_over(const struct http_exchange *x)
{
    return x->ended && x->finished && x->wire_end <= x->conn->sent;
}

static struct http_exchange *next_settled(struct http_conn *c)
{
    LIST_EACH (&c->exchanges, struct http_exchange, node, x)
        if (is_over(x) || (x->sent_owed && exchange_unsent(x) == 0))
            return x;
    return NULL;
}

static void settle(void *arg)
{
    struct http_conn *c = arg;

    update_sent(c);
    for (struct http_exchange *x; !c->dead && (x = next_settled(c));) {
        if (is_over(x)) {
            exchange_close(x, true);
            continue;
        }
        x->sent_owed = false;
        if (x->on_sent)
            x->on_sent(x, x->sent_arg);
    }
}

void conn_settle_soon(struct http_conn *c)
{
    if (!c->dead)
        loop_defer(c->server->loop, &c->settle, settle, c);
}

static void on_sent(void *arg)
{
    struct http_conn *c = arg;

    update_sent(c);
    LIST_EACH (&c->exchanges, struct http_exchange, node, x)
        if (x->wire_end > c->sent || x->ended)
            x->moved_ms = conn_now_ms(c);
    settle(c);
}

static void on_drain(void *arg)
{
    struct http_conn *c = arg;

    if (c->proto)
        c->proto->room(c);
}

/* --- bytes in --- */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void input(struct http_conn *c, struct slice bytes)
{
    if (!c->dead)
        c->proto->input(c, bytes);
}

/* Clear text: HTTP/2 if the preface comes, HTTP/1 from the first byte that is not of it. */
static void sniff(struct http_conn *c, struct slice bytes)
{
    size_t take = MIN(bytes.n, sizeof(c->sniffed) - c->sniffed_n);
    bool same;

    memcpy(c->sniffed + c->sniffed_n, bytes.p, take);
    c->sniffed_n += (uint8_t)take;
    same = memcmp(c->sniffed, preface, c->sniffed_n) == 0;
    if (same && c->sniffed_n < sizeof(c->sniffed))
        return;
    if (!(same ? http2_start(c) : http1_start(c))) {
        conn_close(c);
        return;
    }
    input(c, slice_of(c->sniffed, c->sniffed_n));
    input(c, slice_skip(bytes, take));
}

static void on_data(struct slice bytes, void *arg)
{
    struct http_conn *c = arg;

    if (c->proto)
        input(c, bytes);
    else
        sniff(c, bytes);
}

static void on_end(const struct err *why, void *arg)
{
    struct http_conn *c = arg;

    if (why || !c->proto || list_is_empty(&c->exchanges)) {
        conn_close(c);
        return;
    }
    c->left_at_ms = conn_now_ms(c);
    c->proto->peer_left(c);
}

static void on_stream(struct stream *stream, void *arg)
{
    static const struct stream_events events = {on_data, on_drain, on_end};
    struct http_server *s = arg;
    struct http_conn *c = xcalloc(1, sizeof(*c));
    bool started = true;

    c->server = s;
    c->stream = stream;
    list_init(&c->exchanges);
    c->head_since_ms = conn_now_ms(c);
    list_push(&s->busy, &c->node);
    stream_set_events(stream, &events, c);
    stream->on_sent = on_sent;
    if (s->conf.listen.tls)
        started = strcmp(stream_alpn(stream), "h2") == 0 ? http2_start(c) : http1_start(c);
    if (!started)
        conn_close(c);
    arm_sweep(s);
}

/* --- the server --- */

static int or_default(int ms, int fallback)
{
    return ms > 0 ? ms : fallback;
}

struct http_server *http_server_open(struct loop *l, const struct http_server_conf *conf,
                                     struct err *err)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->conf = *conf;
    s->conf.header_timeout_ms = or_default(conf->header_timeout_ms, DEFAULT_HEADER_MS);
    s->conf.idle_timeout_ms = or_default(conf->idle_timeout_ms, DEFAULT_IDLE_MS);
    s->conf.stall_timeout_ms = or_default(conf->stall_timeout_ms, DEFAULT_STALL_MS);
    s->conf.max_streams = or_default(conf->max_streams, DEFAULT_STREAMS);
    s->conf.listen.on_stream = on_stream;
    s->conf.listen.arg = s;
    list_init(&s->busy);
    list_init(&s->idle);
    s->listener = listener_open(l, &s->conf.listen, err);
    if (!s->listener) {
        free(s);
        return NULL;
    }
    s->sweep = timer_new(l, on_sweep, s);
    return s;
}

struct listener *http_server_listener(struct http_server *s)
{
    return s->listener;
}

void http_server_drain(struct http_server *s, void (*drained)(void *arg), void *arg)
{
    s->draining = true;
    s->on_drained = drained;
    s->drained_arg = arg;
    listener_close(s->listener);
    s->listener = NULL;
    for (struct http_conn *c; (c = LIST_FIRST(&s->idle, struct http_conn, node));) {
        c->proto->drain(c);
        if (!c->dead)
            conn_set_busy(c); /* its good-bye is on the way */
    }
    for (size_t left = s->busy.n; left > 0 && s->busy.n > 0; left--) {
        struct http_conn *c = LIST_FIRST(&s->busy, struct http_conn, node);

        list_remove(&s->busy, &c->node);
        list_push(&s->busy, &c->node);
        if (c->proto)
            c->proto->drain(c);
        else
            conn_close(c);
    }
    if (list_is_empty(&s->idle) && list_is_empty(&s->busy))
        loop_defer(s->loop, &s->drained, on_drained, s);
}

static void server_bury(void *arg)
{
    free(arg);
}

void http_server_close(struct http_server *s)
{
    struct http_conn *c;

    if (!s || s->dead)
        return;
    s->dead = true;
    listener_close(s->listener);
    s->listener = NULL;
    timer_free(s->sweep);
    s->sweep = NULL;
    while ((c = LIST_FIRST(&s->busy, struct http_conn, node)) ||
           (c = LIST_FIRST(&s->idle, struct http_conn, node)))
        conn_close(c);
    loop_defer_cancel(s->loop, &s->drained);
    loop_defer(s->loop, &s->bury, server_bury, s); /* behind the burials of its connections */
}
