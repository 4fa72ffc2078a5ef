/* The gRPC client: against recorded bytes of the reference, frames by hand, our own server,
 * and a process that is stopped. */
#include "http_peer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/grpc.h"

enum { GUARD_MS = 20000, MAX_MESSAGES = 8 };

struct told {
    int done_calls, status, n;
    enum rc rc;
    char text[ERR_TEXT_MAX];
    struct blob *messages[MAX_MESSAGES];
    struct http_call *call;
    bool cancel_at_message;
};

struct world {
    struct loop *loop;
    struct http_client *client;
    struct peer peer;
    struct timer *guard;
    bool late;
    struct told t;
};

static void on_guard(void *arg)
{
    struct world *w = arg;

    w->late = true;
    loop_stop(w->loop);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->loop = loop_new();
    w->client = http_client_new(w->loop);
    w->guard = timer_new(w->loop, on_guard, w);
    *state = w;
    return 0;
}

static void forget(struct told *t)
{
    for (int i = 0; i < t->n; i++)
        blob_unref(&t->messages[i]);
    *t = (struct told){0};
}

static int teardown(void **state)
{
    struct world *w = *state;

    http_client_free(w->client);
    if (w->peer.listener)
        peer_close(&w->peer);
    timer_free(w->guard);
    loop_free(w->loop);
    forget(&w->t);
    assert_int_equal(blob_total_bytes(), 0);
    free(w);
    return 0;
}

static void on_message(struct slice message, void *arg)
{
    struct world *w = arg;

    if (w->t.n < MAX_MESSAGES)
        w->t.messages[w->t.n++] = blob_copy(message);
    if (w->t.cancel_at_message) {
        http_call_cancel(w->t.call);
        loop_stop(w->loop);
    }
}

static void on_done(int status, const struct err *err, void *arg)
{
    struct world *w = arg;

    w->t.done_calls++;
    w->t.status = status;
    w->t.rc = err ? err->code : RC_OK;
    snprintf(w->t.text, sizeof(w->t.text), "%s", err ? err->text : "");
    loop_stop(w->loop);
}

static struct grpc_call_conf conf_of(struct world *w)
{
    return (struct grpc_call_conf){.url = w->peer.url,
                                   .path = "/net.Orchestrator/Ping",
                                   .message = SLICE_LIT("request"),
                                   .timeout_ms = GUARD_MS,
                                   .on_message = on_message,
                                   .on_done = on_done,
                                   .arg = w};
}

static void run(struct world *w)
{
    timer_start(w->guard, GUARD_MS);
    loop_run(w->loop);
    timer_stop(w->guard);
    assert_false(w->late);
}

static void call(struct world *w, const struct grpc_call_conf *conf)
{
    w->t.call = grpc_call(w->client, conf);
    run(w);
}

/* A client without connections: the next call finds a peer that has forgotten everything. */
static void start_over(struct world *w)
{
    forget(&w->t);
    http_client_free(w->client);
    w->client = http_client_new(w->loop);
}

/* --- recorded answers of the reference --- */

static struct blob *file(const char *name)
{
    char path[128];
    FILE *f;
    long n;
    struct blob *b;

    snprintf(path, sizeof(path), "tests/vectors/h2/%s", name);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: run the test from the root of the sources", path);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);
    b = blob_new((size_t)n);
    assert_int_equal(fread(blob_bytes(b), 1, b->n, f), b->n);
    fclose(f);
    return b;
}

static struct blob *replayed;
static size_t cut_at; /* the recording leaves in two pieces */

static void replay_rest(void *arg)
{
    struct peer_conn *c = arg;

    stream_write(c->stream, slice_skip(blob_slice(replayed), cut_at));
    peer_hang_up(c);
}

static struct deferred rest;

static void replay(struct peer_conn *c)
{
    if (c->stage++)
        return;
    stream_write(c->stream, slice_sub(blob_slice(replayed), 0, cut_at));
    loop_defer(c->peer->loop, &rest, replay_rest, c);
}

static void check_messages(const struct told *t, struct blob *const *want, int n)
{
    if (t->n != n)
        fail_msg("cut at %zu: %d messages, not %d (%s)", cut_at, t->n, n, t->text);
    for (int i = 0; i < n; i++) {
        assert_int_equal(t->messages[i]->n, want[i]->n);
        assert_memory_equal(t->messages[i]->p, want[i]->p, want[i]->n);
    }
}

static void replay_at_every_cut(struct world *w, const char *recording, struct blob *const *want,
                                int n, int status)
{
    replayed = file(recording);
    for (cut_at = 0; cut_at <= replayed->n; cut_at += n == 1 ? 1 : 7) {
        struct grpc_call_conf conf;

        w->peer.on_input = replay;
        peer_open(&w->peer, w->loop);
        conf = conf_of(w);
        call(w, &conf);
        check_messages(&w->t, want, n);
        assert_int_equal(w->t.done_calls, 1);
        assert_int_equal(w->t.status, status);
        start_over(w);
        peer_close(&w->peer);
    }
    blob_unref(&replayed);
}

static void test_recorded_get_orchestrator(void **state)
{
    struct blob *want = file("get-orchestrator.response.pb");

    replay_at_every_cut(*state, "get-orchestrator.h2.s2c.bin", &want, 1, GRPC_OK);
    blob_unref(&want);
}

static void test_recorded_ping(void **state)
{
    struct blob *want = blob_new(0);

    replay_at_every_cut(*state, "ping.h2.s2c.bin", &want, 1, GRPC_OK);
    blob_unref(&want);
}

/* The recording ends while the stream is open: the peer went away. */
static void test_recorded_notifications(void **state)
{
    struct blob *want[] = {file("register-transcoder.notify-0.pb"),
                           file("register-transcoder.notify-1.pb"),
                           file("register-transcoder.notify-2.pb")};

    replay_at_every_cut(*state, "register-transcoder.h2.s2c.bin", want, 3, -1);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        blob_unref(&want[i]);
}

/* --- frames by hand --- */

static const char *script;

static void add_header(struct buf *b, struct slice name, struct slice value)
{
    if (slice_eq_str(name, ":status") && slice_eq_str(value, "200")) {
        buf_u8(b, 0x88);
        return;
    }
    buf_u8(b, 0);
    buf_u8(b, (uint8_t)name.n);
    buf_add_slice(b, name);
    buf_u8(b, (uint8_t)value.n);
    buf_add_slice(b, value);
}

static void say_frame(struct peer_conn *c, uint8_t type, uint8_t flags, uint32_t id,
                      struct slice payload)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_be24(&b, (uint32_t)payload.n);
    buf_u8(&b, type);
    buf_u8(&b, flags);
    buf_be32(&b, id);
    buf_add_slice(&b, payload);
    stream_write(c->stream, buf_slice(&b));
    buf_cleanup(&b);
}

static void say_headers(struct peer_conn *c, struct slice text, uint8_t flags)
{
    struct slice line, name;
    struct buf b;

    buf_init(&b, 1 << 20);
    while (slice_split(&text, ',', &line)) {
        (void)slice_split(&line, '=', &name); /* what is left of line is the value */
        add_header(&b, name, line);
    }
    say_frame(c, NGHTTP2_HEADERS, flags, 1, buf_slice(&b));
    buf_cleanup(&b);
}

static void say_data(struct peer_conn *c, struct slice hex, uint8_t flags)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char two[3] = {(char)hex.p[i], (char)hex.p[i + 1], 0};

        buf_u8(&b, (uint8_t)strtoul(two, NULL, 16));
    }
    say_frame(c, NGHTTP2_DATA, flags, 1, buf_slice(&b));
    buf_cleanup(&b);
}

/* One letter and its operand for each frame, ';' between them:
 *   H name=value,...   headers     T name=value,...   headers that end the stream
 *   D hex              data        E hex              data that ends the stream
 *   R                  reset       X                  hang up                          */
static void say_script(struct peer_conn *c)
{
    struct slice rest_of_it = slice_str(script), step;

    if (c->stage++)
        return;
    say_frame(c, NGHTTP2_SETTINGS, 0, 0, slice_of(NULL, 0));
    while (slice_split(&rest_of_it, ';', &step)) {
        struct slice operand = slice_skip(step, 1);

        switch (step.p[0]) {
        case 'H':
            say_headers(c, operand, NGHTTP2_FLAG_END_HEADERS);
            break;
        case 'T':
            say_headers(c, operand, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM);
            break;
        case 'D':
            say_data(c, operand, 0);
            break;
        case 'E':
            say_data(c, operand, NGHTTP2_FLAG_END_STREAM);
            break;
        case 'R':
            say_frame(c, NGHTTP2_RST_STREAM, 0, 1, SLICE_LIT("\0\0\0\2"));
            break;
        case 'X':
            peer_hang_up(c);
            return;
        }
    }
}

#define HEAD "H:status=200,content-type=application/grpc"
#define OK ";Tgrpc-status=0"

static const struct {
    const char *name, *script;
    int messages, status;
    enum rc rc;
    const char *text;
} scripts[] = {
    {"one message", HEAD ";D0000000003616263" OK, 1, 0, RC_OK, ""},
    {"in pieces", HEAD ";D00;D000000;D0361;D62;D63" OK, 1, 0, RC_OK, ""},
    {"two in one frame",
     HEAD ";D00000000036162630000000001"
          "7a" OK,
     2, 0, RC_OK, ""},
    {"one and a half, half and one", HEAD ";D0000000003616263000000;D0003616263;D000000000161" OK,
     3, 0, RC_OK, ""},
    {"empty messages", HEAD ";D0000000000;D00000000000000000000" OK, 3, 0, RC_OK, ""},
    {"no message", HEAD OK, 0, 0, RC_OK, ""},
    {"refused", HEAD ";Tgrpc-status=2,grpc-message=invalid secret", 0, 2, RC_UNAVAILABLE,
     "invalid secret"},
    {"trailers only",
     "T:status=200,content-type=application/grpc,grpc-status=12,"
     "grpc-message=a%25b%3A%E2%82%AC%0a%zz%4",
     0, 12, RC_UNSUPPORTED, "a%b:\xe2\x82\xac %zz%4"},
    {"not UTF-8", "T:status=200,content-type=application/grpc,grpc-status=2,grpc-message=a%ff%00b",
     0, 2, RC_UNAVAILABLE, "a? b"},
    {"refused without words", HEAD ";Tgrpc-status=7", 0, 7, RC_DENIED, "PermissionDenied"},
    {"status of no name", HEAD ";Tgrpc-status=99", 0, 99, RC_UNAVAILABLE, "status 99"},
    {"status no number", HEAD ";Tgrpc-status=x", 0, 2, RC_UNAVAILABLE, "status 2"},
    {"message, then refused", HEAD ";D000000000161;Tgrpc-status=1", 1, 1, RC_CLOSED, "Canceled"},
    {"no status", HEAD ";E000000000161", 1, -1, RC_BAD_INPUT, "without grpc-status"},
    {"cut message", HEAD ";D00000000056162" OK, 0, -1, RC_BAD_INPUT, "within a message"},
    {"compressed", HEAD ";D010000000161" OK, 0, -1, RC_BAD_INPUT, "compressed"},
    {"too large", HEAD ";D0000400001", 0, -1, RC_LIMIT, "4194305 bytes, at most 4194304"},
    {"too large, in pieces", HEAD ";D0000;D7fffff", 0, -1, RC_LIMIT, "at most 4194304"},
    {"HTTP 503", "H:status=503,content-type=text/plain;E6e6f", 0, 14, RC_UNAVAILABLE,
     "HTTP 503 Service Unavailable"},
    {"HTTP 404", "T:status=404", 0, 12, RC_UNSUPPORTED, "HTTP 404"},
    {"HTTP 418", "T:status=418", 0, 2, RC_UNAVAILABLE, "HTTP 418"},
    {"web page", "H:status=200,content-type=text/html;E3c68746d6c3e", 0, -1, RC_BAD_INPUT,
     "not gRPC"},
    {"reset", HEAD ";R", 0, -1, RC_CLOSED, "INTERNAL_ERROR"},
    {"hangs up", HEAD ";D000000000161;X", 1, -1, RC_CLOSED, "closed"},
};

static void test_scripts(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct grpc_call_conf conf;

        script = scripts[i].script;
        w->peer.on_input = say_script;
        peer_open(&w->peer, w->loop);
        conf = conf_of(w);
        call(w, &conf);
        if (w->t.n != scripts[i].messages || w->t.status != scripts[i].status ||
            w->t.rc != scripts[i].rc || !strstr(w->t.text, scripts[i].text) || w->t.done_calls != 1)
            fail_msg("%s: %d messages, status %d, %s, \"%s\"", scripts[i].name, w->t.n, w->t.status,
                     rc_name(w->t.rc), w->t.text);
        start_over(w);
        peer_close(&w->peer);
    }
}

static void test_cancel_at_message(void **state)
{
    struct world *w = *state;
    struct grpc_call_conf conf;

    script = HEAD ";D000000000161"
                  "000000000162" OK;
    w->peer.on_input = say_script;
    peer_open(&w->peer, w->loop);
    w->t.cancel_at_message = true;
    conf = conf_of(w);
    call(w, &conf);
    assert_int_equal(w->t.n, 1);
    assert_int_equal(w->t.done_calls, 0);
}

static void test_not_reachable(void **state)
{
    struct world *w = *state;
    struct grpc_call_conf conf;

    peer_open(&w->peer, w->loop);
    peer_close(&w->peer);
    conf = conf_of(w);
    call(w, &conf);
    assert_int_equal(w->t.status, -1);
    assert_int_equal(w->t.rc, RC_UNAVAILABLE);
}

/* --- our own server --- */

struct service {
    struct http_server *server;
    char seen[256]; /* the request's headers that matter */
    struct http_exchange *stream;
};

static void on_request_message(struct http_exchange *x, struct blob *message, void *arg)
{
    struct service *s = arg;

    if (!message)
        return;
    if (slice_eq_str(http_request(x)->path, "/net.Test/Stream")) {
        grpc_send(x, SLICE_LIT("first"));
        s->stream = x;
    } else {
        grpc_reply(x, blob_slice(message));
    }
}

static void on_request(struct http_exchange *x, void *arg)
{
    static const char *const names[] = {"te", "user-agent", "grpc-timeout", "content-length"};
    struct service *s = arg;
    size_t n = 0;

    assert_true(grpc_is_request(http_request(x)));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice v = http_header_get(&http_request(x)->headers, names[i]);

        n += (size_t)snprintf(s->seen + n, sizeof(s->seen) - n, "%s=" SLICE_FMT " ", names[i],
                              (int)v.n, v.p ? (const char *)v.p : "");
    }
    grpc_read(x, on_request_message, s);
}

static void serve(struct loop *l, struct service *s)
{
    struct http_server_conf conf = {.listen = {.addr = "127.0.0.1:0", .max_connections = 10},
                                    .on_request = on_request,
                                    .arg = s};
    struct err err;

    s->server = http_server_open(l, &conf, &err);
    if (!s->server)
        fail_msg("%s", err.text);
}

static void test_own_server(void **state)
{
    struct world *w = *state;
    struct service s = {0};
    struct grpc_call_conf conf;
    struct blob *large = blob_new(GRPC_MAX_MESSAGE);

    memset(blob_bytes(large), 'x', large->n);
    serve(w->loop, &s);
    snprintf(w->peer.url, sizeof(w->peer.url), "http://%s/ignored?x",
             listener_addr(http_server_listener(s.server)));
    conf = conf_of(w);
    conf.message = blob_slice(large);
    conf.timeout_ms = 5000;
    call(w, &conf);
    assert_int_equal(w->t.status, GRPC_OK);
    assert_int_equal(w->t.n, 1);
    assert_int_equal(w->t.messages[0]->n, GRPC_MAX_MESSAGE);
    assert_string_equal(s.seen,
                        "te=trailers user-agent=leat grpc-timeout=5000m content-length=4194309 ");
    http_server_close(s.server);
    blob_unref(&large);
}

/* --- a process that is stopped --- */

static void say_port(int fd, uint16_t port)
{
    if (write(fd, &port, sizeof(port)) != sizeof(port))
        _exit(2);
}

static pid_t serve_in_child(uint16_t *port)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct service s = {0};
        struct loop *l = loop_new();

        serve(l, &s);
        say_port(fds[1], listener_port(http_server_listener(s.server)));
        loop_run(l);
        _exit(0);
    }
    assert_int_equal(read(fds[0], port, sizeof(*port)), sizeof(*port));
    close(fds[0]);
    close(fds[1]);
    return pid;
}

struct stopping {
    struct world *w;
    pid_t pid;
    int64_t at_ms;
};

static void stop_at_first_message(struct slice message, void *arg)
{
    struct stopping *s = arg;

    (void)message;
    s->at_ms = clock_mono_ms();
    kill(s->pid, SIGSTOP);
}

static void on_stopped_done(int status, const struct err *err, void *arg)
{
    on_done(status, err, ((struct stopping *)arg)->w);
}

static void test_stopped_process_is_noticed(void **state)
{
    struct world *w = *state;
    struct stopping s = {.w = w};
    struct grpc_call_conf conf;
    uint16_t port;
    int64_t took;

    s.pid = serve_in_child(&port);
    snprintf(w->peer.url, sizeof(w->peer.url), "http://127.0.0.1:%u", port);
    conf = conf_of(w);
    conf.path = "/net.Test/Stream";
    conf.timeout_ms = 0;
    conf.ping_every_ms = 200;
    conf.on_message = stop_at_first_message;
    conf.on_done = on_stopped_done;
    conf.arg = &s;
    call(w, &conf);
    took = clock_mono_ms() - s.at_ms;
    kill(s.pid, SIGKILL);
    assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
    assert_int_equal(w->t.status, -1);
    assert_int_equal(w->t.rc, RC_TIMEOUT);
    assert_non_null(strstr(w->t.text, "answered no PING within 200 ms"));
    assert_true(took >= 380); /* not before it had its two intervals */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_stopped_process_is_noticed), /* forks: first, while there is no other state */
        CASE(test_recorded_get_orchestrator),
        CASE(test_recorded_ping),
        CASE(test_recorded_notifications),
        CASE(test_scripts),
        CASE(test_cancel_at_message),
        CASE(test_not_reachable),
        CASE(test_own_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
