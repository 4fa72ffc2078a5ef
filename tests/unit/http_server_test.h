/* What the tests of the HTTP server share: a server whose paths do one thing each, and what
 * it saw. */
#ifndef LEAT_TESTS_HTTP_SERVER_TEST_H
#define LEAT_TESTS_HTTP_SERVER_TEST_H

#include "net_test.h"

#include "base/log.h"
#include "net/grpc.h"
#include "net/http_server_int.h"

enum { WITHIN_MS = 100 }; /* for the body of /within */

static struct http_server *server;
static uint16_t port;

/* What has happened on the server's side since the test began. */
static struct {
    int requests, bodies, closed_complete, closed_cut, bug_lines;
    char method[32], target[512], path[512], query[512], authority[256], type[128];
    int version;
    int64_t content_length;
    enum rc body_why;
    size_t body_bytes;
    int sent_calls;
    struct http_exchange *held; /* of /later and /pause: the test goes on with it */
    struct buf message;
} seen;

static inline void copy_text(char *out, size_t max, struct slice s)
{
    snprintf(out, max, SLICE_FMT, SLICE_ARG(s));
}

static inline void on_x_closed(struct http_exchange *x, bool complete, void *arg)
{
    (void)arg;
    if (complete)
        seen.closed_complete++;
    else
        seen.closed_cut++;
    if (seen.held == x)
        seen.held = NULL;
}

static inline void on_x_body(struct http_exchange *x, struct blob *body, const struct err *why,
                             void *arg)
{
    (void)arg;
    seen.bodies++;
    seen.body_why = why ? why->code : RC_OK;
    if (body) {
        seen.body_bytes = body->n;
        http_answer_blob(x, 200, "application/octet-stream", body);
    } else {
        http_answer_err(x, why);
    }
}

static inline void on_x_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    (void)arg;
    seen.body_bytes += bytes.n;
    http_write(x, bytes);
    if (http_unsent(x) > STREAM_HIGH_WATER)
        http_body_pause(x);
}

static inline void on_x_end(struct http_exchange *x, const struct err *why, void *arg)
{
    (void)arg;
    seen.bodies++;
    seen.body_why = why ? why->code : RC_OK;
    if (why)
        http_abort(x);
    else
        http_finish(x);
}

static inline void on_x_sent(struct http_exchange *x, void *arg)
{
    (void)arg;
    seen.sent_calls++;
    http_body_resume(x);
}

static inline void stream_back(struct http_exchange *x)
{
    static const struct http_body_events events = {on_x_bytes, on_x_end};

    http_on_sent(x, on_x_sent, NULL);
    http_start(x, 200, "application/octet-stream", -1);
    http_stream_body(x, SIZE_MAX, &events, NULL);
}

static inline void on_held_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    (void)x, (void)arg;
    seen.body_bytes += bytes.n;
}

static inline void on_held_end(struct http_exchange *x, const struct err *why, void *arg)
{
    (void)x, (void)arg;
    seen.bodies++;
    seen.body_why = why ? why->code : RC_OK;
}

/* Streams the body, but not now: the test resumes. */
static inline void hold_paused(struct http_exchange *x)
{
    static const struct http_body_events events = {on_held_bytes, on_held_end};

    seen.held = x;
    http_body_pause(x);
    http_stream_body(x, SIZE_MAX, &events, NULL);
}

static inline void read_within(struct http_exchange *x)
{
    http_body_within(x, WITHIN_MS);
    http_read_body(x, 10 << 20, on_x_body, NULL);
}

static inline void send_zeros(struct http_exchange *x)
{
    uint64_t n = 0;
    struct blob *zeros;

    assert_true(slice_u64(http_request(x)->query, 64 << 20, &n));
    zeros = blob_new(n);
    memset(blob_bytes(zeros), 'z', n);
    http_answer_blob(x, 200, "application/octet-stream", zeros);
    blob_unref(&zeros);
}

static inline void on_x_message(struct http_exchange *x, struct blob *message, void *arg)
{
    (void)arg;
    if (!message)
        return;
    buf_clear(&seen.message);
    buf_add_slice(&seen.message, blob_slice(message));
    grpc_reply(x, blob_slice(message));
}

static inline void note_request(const struct http_request *r)
{
    seen.requests++;
    copy_text(seen.method, sizeof(seen.method), r->method);
    copy_text(seen.target, sizeof(seen.target), r->target);
    copy_text(seen.path, sizeof(seen.path), r->path);
    copy_text(seen.query, sizeof(seen.query), r->query);
    copy_text(seen.authority, sizeof(seen.authority), r->authority);
    copy_text(seen.type, sizeof(seen.type), http_header_get(&r->headers, "Content-Type"));
    seen.version = r->version;
    seen.content_length = r->content_length;
    assert_true(r->peer_is_loopback);
}

static inline void on_test_request(struct http_exchange *x, void *arg)
{
    const struct http_request *r = http_request(x);

    (void)arg;
    note_request(r);
    http_on_closed(x, on_x_closed, NULL);
    if (grpc_is_request(r))
        grpc_read(x, on_x_message, NULL);
    else if (slice_eq_str(r->path, "/echo"))
        http_read_body(x, 10 << 20, on_x_body, NULL);
    else if (slice_eq_str(r->path, "/within"))
        read_within(x);
    else if (slice_eq_str(r->path, "/small"))
        http_read_body(x, 10, on_x_body, NULL);
    else if (slice_eq_str(r->path, "/stream"))
        stream_back(x);
    else if (slice_eq_str(r->path, "/zeros"))
        send_zeros(x);
    else if (slice_eq_str(r->path, "/later"))
        seen.held = x;
    else if (slice_eq_str(r->path, "/pause"))
        hold_paused(x);
    else if (slice_eq_str(r->path, "/nothing"))
        http_answer(x, 204, NULL, (struct slice){0});
    else
        http_answer(x, 200, "text/plain", SLICE_LIT("hello"));
}

static inline void on_log_line(enum log_level level, const char *tag, const char *text, void *arg)
{
    (void)tag, (void)text, (void)arg;
    seen.bug_lines += level == LOG_BUG;
}

static inline void open_server(struct http_server_conf conf)
{
    struct err err = {0};

    conf.listen.addr = "127.0.0.1:0";
    if (!conf.on_request)
        conf.on_request = on_test_request;
    server = http_server_open(loop, &conf, &err);
    if (!server)
        fail_msg("%s", err.text);
    port = listener_port(http_server_listener(server));
}

static inline int setup_server(void **state)
{
    setup_loop(state);
    memset(&seen, 0, sizeof(seen));
    buf_init(&seen.message, 1 << 24);
    log_set_hook(on_log_line, NULL);
    open_server((struct http_server_conf){0});
    return 0;
}

/* As setup_server, with limits of time that a test can wait for. */
static inline int setup_hasty_server(void **state)
{
    setup_server(state);
    http_server_close(server);
    open_server((struct http_server_conf){
        .header_timeout_ms = 60, .idle_timeout_ms = 60, .stall_timeout_ms = 60});
    return 0;
}

static inline int teardown_server(void **state)
{
    int bugs = seen.bug_lines;

    http_server_close(server);
    buf_cleanup(&seen.message);
    log_set_hook(NULL, NULL);
    if (teardown_loop(state) != 0)
        return -1;
    if (bugs)
        print_error("%d lines of level bug\n", bugs);
    return bugs ? -1 : 0;
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup_server, teardown_server)
#define WITH_HASTY(test) cmocka_unit_test_setup_teardown(test, setup_hasty_server, teardown_server)

/* --- sending drop by drop --- */

static struct {
    struct deferred go;
    struct stream *to;
    struct slice left;
} drip;

static inline void drip_go(void *arg)
{
    (void)arg;
    stream_write(drip.to, slice_sub(drip.left, 0, 1));
    drip.left = slice_skip(drip.left, 1);
    if (drip.left.n)
        loop_defer(loop, &drip.go, drip_go, NULL);
}

/* One byte per turn of the loop, each in a packet of its own. */
static inline void peer_drip(struct peer *p, struct slice bytes)
{
    drip.to = p->stream;
    drip.left = bytes;
    loop_defer(loop, &drip.go, drip_go, NULL);
}

static inline void drip_stop(void)
{
    loop_defer_cancel(loop, &drip.go);
    drip.left.n = 0;
}

#endif
