/* Origins and their connections: which call runs where, when a connection is opened, how
 * long it is kept. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/http_client_int.h"
#include "net/net_int.h" /* stream.on_sent */

/* An attempt outlives its calls a little: their own timers tell them first, with the
 * patience that each of them has. */
enum { ATTEMPT_EXTRA_MS = 1000 };

struct attempt {
    struct list_node node;
    struct client_origin *origin;
    struct connecting *connecting;
};

/* --- connections --- */

static void conn_leave(struct client_conn *c)
{
    if (--c->busy > 0 || !c->dead)
        return;
    free(c->name);
    c->protocol->free(c);
}

void client_conn_close(struct client_conn *c)
{
    struct client_origin *o = c->origin;

    assert(list_is_empty(&c->calls));
    if (c->dead)
        return;
    c->busy++;
    c->dead = true;
    c->origin = NULL;
    list_remove(&o->conns, &c->node);
    stream_close(c->stream);
    c->stream = NULL;
    timer_free(c->timer);
    c->timer = NULL;
    loop_defer_cancel(c->loop, &c->pump);
    client_origin_turn_soon(o);
    conn_leave(c);
}

void client_conn_fail(struct client_conn *c, const struct err *why, enum call_loss loss)
{
    struct list orphans;
    struct http_call *call;

    if (c->dead)
        return;
    list_init(&orphans);
    while ((call = LIST_FIRST(&c->calls, struct http_call, place))) {
        list_remove(&c->calls, &call->place);
        call->conn = NULL;
        list_push(&orphans, &call->place);
    }
    c->busy++;
    client_conn_close(c);
    while ((call = LIST_FIRST(&orphans, struct http_call, place))) {
        list_remove(&orphans, &call->place);
        http_call_lost(call, why, loss);
    }
    conn_leave(c);
}

static void on_conn_timer(void *arg)
{
    struct client_conn *c = arg;

    c->busy++;
    if (list_is_empty(&c->calls))
        client_conn_close(c);
    else
        c->protocol->on_timer(c);
    conn_leave(c);
}

void client_conn_attach(struct client_conn *c, struct http_call *call)
{
    client_origin_unwait(call);
    call->conn = c;
    call->phase = CALL_RUNNING;
    call->reused = c->served > 0;
    c->served++;
    if (list_is_empty(&c->calls))
        timer_stop(c->timer); /* else it is the protocol's */
    list_push(&c->calls, &call->place);
    c->protocol->start(c, call);
}

void client_conn_detach(struct http_call *call)
{
    struct client_conn *c = call->conn;

    if (!c)
        return;
    c->busy++;
    call->conn = NULL;
    list_remove(&c->calls, &call->place);
    c->protocol->leave(c, call);
    if (!c->dead && list_is_empty(&c->calls))
        timer_start(c->timer, c->origin->client->idle_ms);
    if (!c->dead)
        client_origin_turn_soon(c->origin);
    conn_leave(c);
}

/* For upload metrics: whose last byte has left us. */
static void note_sent(struct client_conn *c)
{
    if (stream_queued(c->stream))
        return;
    LIST_EACH (&c->calls, struct http_call, place, call)
        if (call->body_done && !call->sent_us)
            call->sent_us = clock_mono_us();
}

static void on_data(struct slice bytes, void *arg)
{
    struct client_conn *c = arg;

    c->busy++;
    note_sent(c);
    c->protocol->on_data(c, bytes);
    conn_leave(c);
}

static void on_drain(void *arg)
{
    struct client_conn *c = arg;

    c->busy++;
    note_sent(c);
    c->protocol->on_writable(c);
    conn_leave(c);
}

static void on_sent(void *arg)
{
    note_sent(arg);
}

static void on_end(const struct err *why, void *arg)
{
    struct client_conn *c = arg;

    c->busy++;
    c->protocol->on_end(c, why);
    conn_leave(c);
}

static void on_pump(void *arg)
{
    struct client_conn *c = arg;

    c->busy++;
    c->protocol->on_writable(c);
    conn_leave(c);
}

void client_conn_pump_soon(struct client_conn *c)
{
    loop_defer(c->loop, &c->pump, on_pump, c);
}

static void conn_open(struct client_origin *o, struct stream *s, int version)
{
    static const struct stream_events events = {on_data, on_drain, on_end};
    const struct client_protocol *p = version == 2 ? &client_http2 : &client_http1;
    struct client_conn *c = p->open();

    c->protocol = p;
    c->origin = o;
    c->loop = o->client->loop;
    c->name = xstrdup(o->name);
    c->stream = s;
    c->serial = ++o->client->last_serial;
    c->timer = timer_new(c->loop, on_conn_timer, c);
    list_init(&c->calls);
    list_push(&o->conns, &c->node);
    timer_start(c->timer, c->origin->client->idle_ms);
    s->on_sent = on_sent;
    stream_set_events(s, &events, c);
    p->ready(c);
}

/* --- connecting --- */

static void attempt_free(struct attempt *a)
{
    list_remove(&a->origin->attempts, &a->node);
    free(a);
}

/* Where calls share a connection they share its failure. */
static void fail_waiting(struct client_origin *o, const struct err *why)
{
    struct http_call *call;
    bool all = o->version != 1;

    while ((call = LIST_FIRST(&o->waiting, struct http_call, place))) {
        http_call_fail(call, why);
        if (!all)
            break;
    }
}

static int version_of(const struct client_origin *o, const struct stream *s)
{
    if (o->https)
        return strcmp(stream_alpn(s), "h2") == 0 ? 2 : 1;
    return o->speak == HTTP_SPEAK_2 ? 2 : 1;
}

static void not_http2(struct client_origin *o, struct stream *s)
{
    const char *chosen = stream_alpn(s);
    struct err err;

    (void)err_set(&err, RC_UNAVAILABLE, "%s does not speak HTTP/2 (in TLS it chose %s)", o->name,
                  *chosen ? chosen : "no protocol");
    stream_close(s);
    fail_waiting(o, &err);
}

static void not_connected(struct client_origin *o, const struct err *why)
{
    struct err err = *why;

    err.code = RC_UNAVAILABLE;
    (void)err_wrap(&err, err.code, "no connection to %s", o->name);
    fail_waiting(o, &err);
}

static void on_connected(struct stream *s, const struct err *why, void *arg)
{
    struct attempt *a = arg;
    struct client_origin *o = a->origin;

    attempt_free(a);
    client_origin_turn_soon(o);
    if (!s) {
        not_connected(o, why);
        return;
    }
    o->version = version_of(o, s);
    if (o->speak == HTTP_SPEAK_2 && o->version != 2)
        not_http2(o, s);
    else
        conn_open(o, s, o->version);
}

static struct tls_client *tls(struct http_client *c, struct err *err)
{
    if (!c->tls)
        c->tls = tls_client_new(false, err);
    return c->tls;
}

/* False: everybody who waits has been told why not. */
static bool connect_for(struct client_origin *o, const struct http_call *call)
{
    static const char *const alpn[] = {
        [HTTP_SPEAK_ANY] = "h2,http/1.1", [HTTP_SPEAK_2] = "h2", [HTTP_SPEAK_1] = NULL};
    struct connect_conf conf = {.host = o->host,
                                .port = o->port,
                                .timeout_ms = call->conf.connect_timeout_ms + ATTEMPT_EXTRA_MS,
                                .on_done = on_connected};
    struct attempt *a;
    struct err err;

    if (o->https) {
        conf.alpn = alpn[o->speak];
        conf.tls = tls(o->client, &err);
        if (!conf.tls) {
            not_connected(o, &err);
            return false;
        }
    }
    a = xcalloc(1, sizeof(*a));
    a->origin = o;
    conf.arg = a;
    list_push(&o->attempts, &a->node);
    a->connecting = stream_connect(o->client->loop, &conf);
    return true;
}

static void attempts_cancel(struct client_origin *o)
{
    struct attempt *a;

    while ((a = LIST_FIRST(&o->attempts, struct attempt, node))) {
        connecting_cancel(a->connecting);
        attempt_free(a);
    }
}

/* --- origins --- */

static struct client_conn *find_room(struct client_origin *o, const struct http_call *call)
{
    struct client_conn *best = NULL;

    LIST_EACH (&o->conns, struct client_conn, node, c)
        if (c->serial > call->after && c->protocol->has_room(c))
            best = c; /* the youngest: the others may grow old and go */
    return best;
}

/* A new HTTP/2 connection may soon have room for all who wait. */
static bool settling(const struct client_origin *o)
{
    LIST_EACH (&o->conns, struct client_conn, node, c)
        if (c->protocol->settling(c))
            return true;
    return false;
}

static bool may_connect(const struct client_origin *o, size_t homeless)
{
    if (o->conns.n + o->attempts.n >= CLIENT_MAX_CONNS)
        return false;
    if (o->version == 1)
        return o->attempts.n < homeless;
    return !o->attempts.n && !settling(o);
}

static void dispatch(struct client_origin *o)
{
    size_t homeless = 0;

    LIST_EACH (&o->waiting, struct http_call, place, call) {
        struct client_conn *c = find_room(o, call);

        if (c)
            client_conn_attach(c, call);
        else if (may_connect(o, ++homeless) && !connect_for(o, call))
            return;
    }
}

static void origin_free(struct client_origin *o)
{
    (void)map_remove(o->client->origins, slice_str(o->key));
    loop_defer_cancel(o->client->loop, &o->turn);
    free(o->key);
    free(o->name);
    free(o->host);
    free(o);
}

static void origin_turn(void *arg)
{
    struct client_origin *o = arg;

    dispatch(o);
    if (list_is_empty(&o->waiting))
        attempts_cancel(o);
    if (list_is_empty(&o->waiting) && list_is_empty(&o->conns))
        origin_free(o);
}

void client_origin_turn_soon(struct client_origin *o)
{
    loop_defer(o->client->loop, &o->turn, origin_turn, o);
}

static int known_version(const struct http_call *call)
{
    if (call->conf.speak == HTTP_SPEAK_2)
        return 2;
    return call->conf.speak == HTTP_SPEAK_1 || !call->https ? 1 : 0;
}

static struct client_origin *origin_new(struct http_call *call, char *TAKES key)
{
    struct client_origin *o = xcalloc(1, sizeof(*o));

    o->client = call->client;
    o->key = key;
    o->name = xstrdup(call->name);
    o->host = xstrdup(call->host);
    o->port = call->port;
    o->https = call->https;
    o->speak = call->conf.speak;
    o->version = known_version(call);
    list_init(&o->conns);
    list_init(&o->waiting);
    list_init(&o->attempts);
    (void)map_put(o->client->origins, slice_str(key), o); /* was absent */
    return o;
}

static struct client_origin *origin_get(struct http_call *call)
{
    char *key = xasprintf("%d %d %u %s", call->https, call->conf.speak, call->port, call->host);
    struct client_origin *o = map_get(call->client->origins, slice_str(key));

    if (!o)
        return origin_new(call, key);
    free(key);
    return o;
}

void client_origin_wait(struct http_call *call)
{
    struct client_origin *o = origin_get(call);

    call->phase = CALL_WAITING;
    call->origin = o;
    if (call->retried)
        list_push_front(&o->waiting, &call->place);
    else
        list_push(&o->waiting, &call->place);
    client_origin_turn_soon(o);
}

void client_origin_unwait(struct http_call *call)
{
    list_remove(&call->origin->waiting, &call->place);
    client_origin_turn_soon(call->origin);
    call->origin = NULL;
}

void client_origins_free(struct http_client *c)
{
    size_t at = 0;
    struct slice key;
    void *value;

    while (map_next(c->origins, &at, &key, &value)) {
        struct client_origin *o = value;
        struct client_conn *conn;

        while ((conn = LIST_FIRST(&o->conns, struct client_conn, node)))
            client_conn_close(conn);
        attempts_cancel(o);
        origin_free(o);
    }
}
