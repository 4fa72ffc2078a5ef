/* tests/unit/http_peer.h: servers that say exactly what a test wants said, for the tests of
 * the HTTP and gRPC clients. They run on the loop of the test.
 *
 * A peer accepts connections and calls on_input when bytes have come. peer_h2() makes it
 * an HTTP/2 server (nghttp2's) that behaves by the path of each request.
 */
#ifndef LEAT_TESTS_HTTP_PEER_H
#define LEAT_TESTS_HTTP_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "base/blob.h"
#include "base/buf.h"
#include "net/stream.h"
#include <uv.h> /* after base/, whose MIN and MAX would clash */

enum { PEER_MAX_CONNS = 80 };

struct peer;

struct peer_conn {
    struct peer *peer;
    int index; /* 0 for the first that was accepted */
    struct stream *stream;
    struct buf in; /* all that has come */
    bool ended;
    int stage; /* the test's own */
    nghttp2_session *h2;
    int open, most_open;         /* requests */
    struct peer_stream *streams; /* all there ever were */
};

struct peer_stream {
    struct peer_stream *next;
    struct peer_conn *conn;
    int32_t id;
    char path[64];
    size_t body_in, body_out;
    uint8_t checksum;
    bool answered;
};

struct peer {
    struct loop *loop;
    struct listener *listener;
    struct tls_server *tls;
    void (*on_input)(struct peer_conn *c);
    struct peer_conn *conns[PEER_MAX_CONNS];
    int n_conns;
    uint32_t max_streams; /* HTTP/2 */
    int requests;         /* HTTP/2, all connections */
    char url[128];
};

/* --- raw --- */

static void peer_on_data(struct slice bytes, void *arg)
{
    struct peer_conn *c = arg;

    buf_add_slice(&c->in, bytes);
    if (c->peer->on_input)
        c->peer->on_input(c);
}

static void peer_on_end(const struct err *why, void *arg)
{
    struct peer_conn *c = arg;

    (void)why;
    c->ended = true;
}

static void peer_hang_up(struct peer_conn *c)
{
    if (c->stream)
        stream_close_when_sent(c->stream);
    c->stream = NULL;
}

static inline void peer_say(struct peer_conn *c, const char *text)
{
    if (c->stream)
        stream_write(c->stream, slice_str(text));
}

static inline bool peer_heard(struct peer_conn *c, const char *text)
{
    return strstr(buf_cstr(&c->in), text) != NULL;
}

static void peer_on_stream(struct stream *s, void *arg)
{
    static const struct stream_events events = {peer_on_data, NULL, peer_on_end};
    struct peer *p = arg;
    struct peer_conn *c = xcalloc(1, sizeof(*c));

    if (p->n_conns == PEER_MAX_CONNS)
        abort();
    c->peer = p;
    c->index = p->n_conns;
    c->stream = s;
    buf_init(&c->in, 64 * 1024 * 1024);
    p->conns[p->n_conns++] = c;
    stream_set_events(s, &events, c);
}

static void peer_open_at(struct peer *p, struct loop *l, const char *addr, const char *scheme)
{
    struct listen_conf conf = {.addr = addr,
                               .tls = p->tls,
                               .max_connections = PEER_MAX_CONNS,
                               .on_stream = peer_on_stream,
                               .arg = p};
    struct err err;

    p->loop = l;
    p->listener = listener_open(l, &conf, &err);
    if (!p->listener)
        fail_msg("%s", err.text);
    snprintf(p->url, sizeof(p->url), "%s://%s", scheme, listener_addr(p->listener));
}

static inline void peer_open(struct peer *p, struct loop *l)
{
    peer_open_at(p, l, "127.0.0.1:0", p->tls ? "https" : "http");
}

static void peer_close(struct peer *p)
{
    for (int i = 0; i < p->n_conns; i++) {
        struct peer_conn *c = p->conns[i];

        stream_close(c->stream);
        nghttp2_session_del(c->h2);
        for (struct peer_stream *st; (st = c->streams);) {
            c->streams = st->next;
            free(st);
        }
        buf_cleanup(&c->in);
        free(c);
    }
    p->n_conns = 0;
    listener_close(p->listener);
    p->listener = NULL;
}

/* --- HTTP/2 --- */

static ssize_t h2_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct peer_conn *c = arg;

    (void)s, (void)flags;
    if (!c->stream)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    stream_write(c->stream, slice_of(p, n));
    return (ssize_t)n;
}

static ssize_t h2_read_body(nghttp2_session *s, int32_t id, uint8_t *out, size_t n, uint32_t *flags,
                            nghttp2_data_source *source, void *arg)
{
    struct peer_stream *st = source->ptr;
    size_t take = MIN(n, st->body_out);

    (void)s, (void)id, (void)arg;
    memset(out, 'b', take);
    st->body_out -= take;
    if (!st->body_out)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!st->body_out && !strcmp(st->path, "/trailers")) {
        nghttp2_nv nv = {(uint8_t *)"x-after", (uint8_t *)"yes", 7, 3, 0};

        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(s, id, &nv, 1);
    }
    return (ssize_t)take;
}

static void h2_answer(struct peer_stream *st, const char *status, size_t body)
{
    nghttp2_data_provider data = {.source.ptr = st, .read_callback = h2_read_body};
    char got[32];
    nghttp2_nv nv[] = {
        {(uint8_t *)":status", (uint8_t *)status, 7, 3, 0},
        {(uint8_t *)"x-got", (uint8_t *)got, 5, 0, 0},
    };

    snprintf(got, sizeof(got), "%zu/%u", st->body_in, st->checksum);
    nv[1].valuelen = strlen(got);
    st->body_out = body;
    st->answered = true;
    nghttp2_submit_response(st->conn->h2, st->id, nv, 2, body ? &data : NULL);
}

static void h2_informational(struct peer_stream *st, int times)
{
    nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)"103", 7, 3, 0};

    for (int i = 0; i < times; i++)
        nghttp2_submit_headers(st->conn->h2, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
}

/* At a request's headers. */
static void h2_at_headers(struct peer_stream *st)
{
    nghttp2_session *s = st->conn->h2;

    st->conn->peer->requests++;
    if (!strcmp(st->path, "/early403")) {
        h2_answer(st, "403", 4);
    } else if (!strcmp(st->path, "/refuse")) {
        nghttp2_submit_rst_stream(s, 0, st->id, NGHTTP2_REFUSED_STREAM);
    } else if (!strcmp(st->path, "/refuse-first") && st->conn->index == 0) {
        nghttp2_submit_rst_stream(s, 0, st->id, NGHTTP2_REFUSED_STREAM);
    } else if (!strcmp(st->path, "/goaway-first") && st->conn->index == 0) {
        nghttp2_submit_goaway(s, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
    } else if (!strcmp(st->path, "/refuse-slowly")) {
        nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)"403", 7, 3, 0};

        st->answered = true;
        nghttp2_submit_headers(s, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
    } else if (!strcmp(st->path, "/reset")) {
        nghttp2_submit_rst_stream(s, 0, st->id, NGHTTP2_INTERNAL_ERROR);
    } else if (!strcmp(st->path, "/100s")) {
        h2_informational(st, 100);
    } else if (!strcmp(st->path, "/103")) {
        h2_informational(st, 1);
    }
}

/* When the request has come whole. */
static void h2_at_end(struct peer_stream *st)
{
    if (st->answered || !strcmp(st->path, "/hold") || !strcmp(st->path, "/100s"))
        return;
    if (!strcmp(st->path, "/big"))
        h2_answer(st, "200", 10 * 1000 * 1000);
    else if (!strcmp(st->path, "/empty"))
        h2_answer(st, "204", 0);
    else if (strncmp(st->path, "/reset", 6) != 0 && strcmp(st->path, "/refuse") != 0)
        h2_answer(st, "200", 5);
}

static int h2_begin(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct peer_conn *c = arg;
    struct peer_stream *st;

    if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    st = xcalloc(1, sizeof(*st));
    st->next = c->streams;
    c->streams = st;
    st->conn = c;
    st->id = f->hd.stream_id;
    c->open++;
    c->most_open = MAX(c->most_open, c->open);
    nghttp2_session_set_stream_user_data(s, st->id, st);
    return 0;
}

static int h2_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nn,
                     const uint8_t *value, size_t vn, uint8_t flags, void *arg)
{
    struct peer_stream *st = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);

    (void)flags, (void)arg;
    if (st && nn == 5 && !memcmp(name, ":path", 5))
        snprintf(st->path, sizeof(st->path), "%.*s", (int)vn, (const char *)value);
    return 0;
}

static int h2_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    struct peer_stream *st = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);

    (void)arg;
    if (!st)
        return 0;
    if (f->hd.type == NGHTTP2_HEADERS)
        h2_at_headers(st);
    if ((f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) &&
        (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
        h2_at_end(st);
    return 0;
}

static int h2_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg)
{
    struct peer_stream *st = nghttp2_session_get_stream_user_data(s, id);

    (void)flags, (void)arg;
    for (size_t i = 0; st && i < n; i++)
        st->checksum = (uint8_t)(st->checksum * 31 + p[i]);
    if (st)
        st->body_in += n;
    if (st && !strcmp(st->path, "/reset-upload"))
        nghttp2_submit_rst_stream(s, 0, id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int h2_stream_over(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    struct peer_conn *c = arg;
    struct peer_stream *st = nghttp2_session_get_stream_user_data(s, id);

    (void)code;
    if (st)
        c->open--;
    return 0;
}

static void h2_session_open(struct peer_conn *c)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
         c->peer->max_streams ? c->peer->max_streams : 100},
    };
    nghttp2_session_callbacks *cb;

    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_send_callback(cb, h2_send);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_stream_over);
    nghttp2_session_server_new(&c->h2, cb, c);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, 1);
}

/* For p->on_input: an HTTP/2 server. */
static inline void peer_h2(struct peer_conn *c)
{
    if (!c->h2)
        h2_session_open(c);
    if (nghttp2_session_mem_recv(c->h2, c->in.p, c->in.n) < 0)
        peer_hang_up(c);
    buf_clear(&c->in);
    if (c->stream && nghttp2_session_send(c->h2) != 0)
        peer_hang_up(c);
}

/* Ends an answer that was left open. */
static inline void peer_h2_end(struct peer_conn *c, int32_t id)
{
    nghttp2_nv nv = {(uint8_t *)"x-after", (uint8_t *)"yes", 7, 3, 0};

    nghttp2_submit_headers(c->h2, NGHTTP2_FLAG_END_STREAM, id, NULL, &nv, 1, NULL);
    nghttp2_session_send(c->h2);
}

#endif
