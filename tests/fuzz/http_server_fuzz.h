/* Feeds bytes to a connection of the HTTP server and notes what its handler saw. */
#ifndef LEAT_FUZZ_HTTP_SERVER_FUZZ_H
#define LEAT_FUZZ_HTTP_SERVER_FUZZ_H

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/keccak.h"
#include "base/log.h"
#include "net/grpc.h"
#include "net/http_server_int.h"

static struct loop *loop;
static struct http_server *server;
static struct keccak story;

static inline void note(struct slice s)
{
    uint8_t n[4] = {(uint8_t)(s.n >> 24), (uint8_t)(s.n >> 16), (uint8_t)(s.n >> 8), (uint8_t)s.n};

    keccak_add(&story, slice_of(n, sizeof(n)));
    keccak_add(&story, s);
}

static inline void on_body(struct http_exchange *x, struct blob *body, const struct err *why,
                           void *arg)
{
    (void)arg;
    if (body) {
        note(blob_slice(body));
        http_answer_blob(x, 200, "text/plain", body);
    } else {
        http_answer_err(x, why);
    }
}

static inline void on_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    (void)arg;
    assert(bytes.n > 0);
    http_write(x, bytes);
    if (bytes.p[0] == 'p')
        http_body_pause(x);
    if (bytes.p[0] == 'a')
        http_abort(x);
}

static inline void on_end(struct http_exchange *x, const struct err *why, void *arg)
{
    (void)why, (void)arg;
    http_trailer(x, "X-End", "1");
    http_finish(x);
}

static inline void on_sent(struct http_exchange *x, void *arg)
{
    (void)arg;
    http_body_resume(x);
}

static inline void on_message(struct http_exchange *x, struct blob *message, void *arg)
{
    (void)arg;
    if (message)
        grpc_reply(x, blob_slice(message));
}

static inline void check_request(const struct http_request *r)
{
    assert(r->method.n > 0 && r->path.n > 0);
    assert(r->headers.n <= HTTP_MAX_HEADERS && r->target.n <= HTTP_MAX_TARGET);
    for (size_t i = 0; i < r->headers.n; i++) {
        const struct http_header *h = &r->headers.v[i];

        assert(h->name.n > 0);
        assert(slice_find(h->value, '\n') == h->value.n && slice_find(h->value, 0) == h->value.n);
        note(h->name);
        note(h->value);
    }
    note(r->method);
    note(r->target);
}

static inline void on_request(struct http_exchange *x, void *arg)
{
    static const struct http_body_events events = {on_bytes, on_end};
    const struct http_request *r = http_request(x);

    (void)arg;
    check_request(r);
    if (grpc_is_request(r)) {
        grpc_read(x, on_message, NULL);
    } else if (slice_has_prefix(r->path, "/s")) {
        http_on_sent(x, on_sent, NULL);
        http_start(x, 200, "text/plain", -1);
        http_stream_body(x, SIZE_MAX, &events, NULL);
    } else if (slice_has_prefix(r->path, "/e")) {
        http_read_body(x, 100, on_body, NULL);
    } else if (!slice_has_prefix(r->path, "/l")) { /* /l: later, which is never */
        http_answer(x, 200, "text/plain", SLICE_LIT("hello"));
    }
}

static inline void start_once(void)
{
    struct http_server_conf conf = {.on_request = on_request};

    if (loop)
        return;
    log_init("fuzz", LOG_BUG);
    loop = loop_new();
    conf.listen.addr = "127.0.0.1:0";
    server = http_server_open(loop, &conf, NULL);
    assert(server);
}

/* An accepted connection, without a network in between. */
static inline int connect_pair(void)
{
    int fds[2];
    struct stream *s = stream_new(loop, true);

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        abort();
    uv_pipe_open(&s->uv.pipe, fds[1]);
    stream_set_peer(s);
    s->phase = STREAM_OPEN;
    server->conf.listen.on_stream(s, server);
    return fds[0];
}

static inline void turn(int fd)
{
    static char answers[1 << 18];

    uv_run(&loop->uv, UV_RUN_NOWAIT);
    while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
        ;
}

static inline bool send_part(int fd, struct slice part)
{
    if (part.n && send(fd, part.p, part.n, MSG_DONTWAIT | MSG_NOSIGNAL) <= 0)
        return false;
    turn(fd);
    return true;
}

static inline struct hash tell(struct slice opening, struct slice bytes, size_t step)
{
    int fd = connect_pair();
    struct http_conn *c;

    keccak_init(&story);
    if (!send_part(fd, opening))
        bytes.n = 0;
    while (bytes.n && send_part(fd, slice_sub(bytes, 0, step)))
        bytes = slice_skip(bytes, step);
    for (int i = 0; i < 200; i++) /* pipelined requests take a few turns each */
        turn(fd);
    while ((c = LIST_FIRST(&server->busy, struct http_conn, node)) ||
           (c = LIST_FIRST(&server->idle, struct http_conn, node)))
        conn_close(c);
    close(fd);
    turn(fd);
    turn(fd);
    return keccak_done(&story);
}

enum { FUZZ_MAX = 32 * 1024 }; /* must fit into a socket's buffer */

/* A size of pieces that the bytes choose. */
static inline size_t piece_of(struct slice bytes)
{
    return bytes.n < 400 ? 1 : 1 + (size_t)bytes.p[bytes.n / 2];
}

#endif
