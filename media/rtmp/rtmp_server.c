#include "media/rtmp/rtmp_server.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "media/rtmp/rtmp_int.h"

enum { VIOLATIONS_LOGGED_A_MINUTE = 60 };

struct rtmp_server {
    struct loop *loop;
    struct listener *listener;
    struct rtmp_server_conf conf;
    struct list conns;
    struct log_limit violations;
};

/* One connection: what ties a session to the loop. */
struct conn {
    struct list_node node;
    struct rtmp_server *server;
    struct stream *stream;
    struct timer *timer;
    struct deferred wake;
    struct rtmp_session *session;
};

/* --- what the session asks for --- */

static void host_write(struct slice bytes, void *arg)
{
    stream_write(((struct conn *)arg)->stream, bytes);
}

static void host_write_blob(struct blob *b, size_t from, size_t n, void *arg)
{
    stream_write_blob(((struct conn *)arg)->stream, b, from, n);
}

static size_t host_queued(void *arg)
{
    return stream_queued(((struct conn *)arg)->stream);
}

static void host_pause(bool paused, void *arg)
{
    struct conn *c = arg;

    (paused ? stream_pause : stream_resume)(c->stream);
}

static void host_read_every(int ms, void *arg)
{
    stream_read_every(((struct conn *)arg)->stream, ms);
}

static void on_wake(void *arg)
{
    struct conn *c = arg;

    rtmp_session_resume(c->session);
}

static void host_wake(void *arg)
{
    struct conn *c = arg;

    loop_defer(c->server->loop, &c->wake, on_wake, c);
}

static void host_over(const struct err *unheard, void *arg)
{
    struct conn *c = arg;

    if (unheard && log_allowed(&c->server->violations, VIOLATIONS_LOGGED_A_MINUTE))
        log_peer(NULL, "rtmp %s: %s", stream_peer(c->stream), unheard->text);
    list_remove(&c->server->conns, &c->node);
    loop_defer_cancel(c->server->loop, &c->wake);
    timer_free(c->timer);
    stream_close_when_sent(c->stream);
    free(c);
}

static const char *host_peer(void *arg)
{
    return stream_peer(((struct conn *)arg)->stream);
}

static int64_t host_now_ms(void *arg)
{
    return loop_now_ms(((struct conn *)arg)->server->loop);
}

static void host_on_publish(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    const struct rtmp_server_conf *conf = &((struct conn *)arg)->server->conf;

    conf->on_publish(s, t, conf->arg);
}

static void host_on_play(struct rtmp_session *s, const struct rtmp_target *t, void *arg)
{
    const struct rtmp_server_conf *conf = &((struct conn *)arg)->server->conf;

    conf->on_play(s, t, conf->arg);
}

static const struct rtmp_host host_template = {
    .pipe = {.write = host_write, .write_blob = host_write_blob},
    .queued = host_queued,
    .pause = host_pause,
    .read_every = host_read_every,
    .wake = host_wake,
    .over = host_over,
    .peer = host_peer,
    .now_ms = host_now_ms,
    .on_publish = host_on_publish,
    .on_play = host_on_play,
};

/* --- what the loop tells; the connection may be gone after each call into the session --- */

static void on_data(struct slice bytes, void *arg)
{
    struct conn *c = arg;

    rtmp_session_feed(c->session, bytes);
}

static void on_drain(void *arg)
{
    rtmp_session_writable(((struct conn *)arg)->session);
}

static void on_end(const struct err *why, void *arg)
{
    rtmp_session_hangup(((struct conn *)arg)->session, why);
}

static void on_timer(void *arg)
{
    struct conn *c = arg;
    int64_t next_ms = rtmp_session_tick(c->session);

    if (next_ms)
        timer_start(c->timer, next_ms);
}

static void on_stream(struct stream *stream, void *arg)
{
    static const struct stream_events events = {on_data, on_drain, on_end};
    struct rtmp_server *server = arg;
    struct conn *c = xcalloc(1, sizeof(*c));
    struct rtmp_host host = host_template;

    host.arg = c;
    c->server = server;
    c->stream = stream;
    c->timer = timer_new(server->loop, on_timer, c);
    c->session = rtmp_session_new(&host);
    list_push(&server->conns, &c->node);
    stream_set_events(stream, &events, c);
    timer_start(c->timer, RTMP_TICK_MS);
}

struct rtmp_server *rtmp_server_open(struct loop *l, const struct rtmp_server_conf *conf,
                                     struct err *err)
{
    struct rtmp_server *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->conf = *conf;
    s->conf.listen.on_stream = on_stream;
    s->conf.listen.arg = s;
    list_init(&s->conns);
    s->listener = listener_open(l, &s->conf.listen, err);
    if (!s->listener) {
        free(s);
        return NULL;
    }
    return s;
}

const char *rtmp_server_addr(const struct rtmp_server *s)
{
    return listener_addr(s->listener);
}

void rtmp_server_close(struct rtmp_server *s)
{
    if (!s)
        return;
    listener_close(s->listener);
    /* By its head each time: the end of one session can end others. */
    for (struct conn *c; (c = LIST_FIRST(&s->conns, struct conn, node));)
        rtmp_session_stop(c->session);
    free(s);
}
