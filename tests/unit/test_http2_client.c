/* The HTTP client over HTTP/2 and TLS, against peers good and bad, and our own server. */
#include "http_client_test.h"

#include "net/http_server.h"
#include "net/net_int.h"

/* --- HTTP/2 --- */

static void h2_open(struct world *w)
{
    w->peer.on_input = peer_h2;
    peer_open(&w->peer, w->loop);
}

static void h2_call(struct world *w, struct told *t, const char *path, struct blob *body)
{
    struct http_call_conf conf = conf_of(t, url_of(w, path));

    conf.speak = HTTP_SPEAK_2;
    conf.method = body ? "POST" : "GET";
    conf.body = body;
    call(w, t, &conf);
}

static void test_cancel_in_callbacks_http2(void **state)
{
    struct world *w = *state;

    w->peer.on_input = peer_h2;
    peer_open(&w->peer, w->loop);
    cancel_everywhere(w, HTTP_SPEAK_2);
}

static void test_h2_answers(void **state)
{
    static const struct {
        const char *path;
        int status;
        size_t bytes;
        enum rc rc;
        int conns; /* opened by this call alone */
    } cases[] = {
        {"/", 200, 5, RC_OK, 1},
        {"/empty", 204, 0, RC_OK, 1},
        {"/trailers", 200, 5, RC_OK, 1},
        {"/big", 200, 10 * 1000 * 1000, RC_OK, 1},
        {"/103", 200, 5, RC_OK, 1},
        {"/100s", 0, 0, RC_LIMIT, 1},
        {"/reset", 0, 0, RC_CLOSED, 1},
        {"/refuse", 0, 0, RC_CLOSED, 2},
        {"/refuse-first", 200, 5, RC_OK, 2},
        {"/goaway-first", 200, 5, RC_OK, 2},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct told t = {0};

        h2_open(w);
        h2_call(w, &t, cases[i].path, NULL);
        if (t.rc != cases[i].rc || t.status != cases[i].status || t.bytes != cases[i].bytes ||
            w->peer.n_conns != cases[i].conns)
            fail_msg("%s: %s, status %d, %zu bytes, %d connections, \"%s\"", cases[i].path,
                     rc_name(t.rc), t.status, t.bytes, w->peer.n_conns, t.text);
        if (!strcmp(cases[i].path, "/trailers"))
            assert_string_equal(t.trailer, "yes");
        peer_close(&w->peer);
    }
}

static void test_h2_settings(void **state)
{
    static const uint8_t want[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        "\x00\x00\x18\x04\x00\x00\x00\x00\x00"                  /* SETTINGS, 4 values */
        "\x00\x02\x00\x00\x00\x00"                              /* ENABLE_PUSH 0 */
        "\x00\x04\x00\x40\x00\x00"                              /* INITIAL_WINDOW_SIZE 4194304 */
        "\x00\x05\x00\x00\x40\x00"                              /* MAX_FRAME_SIZE 16384 */
        "\x00\x06\x00\x01\x00\x00"                              /* MAX_HEADER_LIST_SIZE 65536 */
        "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\xff\x00\x01"; /* window of 16 MiB */
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;

    w->peer.on_input = say_nothing;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/"));
    conf.speak = HTTP_SPEAK_2;
    conf.timeout_ms = 100;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_TIMEOUT);
    assert_true(w->peer.conns[0]->in.n > sizeof(want));
    assert_memory_equal(w->peer.conns[0]->in.p, want, sizeof(want) - 1);
}

static void test_h2_upload(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(BIG);
    uint8_t sum = 0;
    char want[32];

    for (size_t i = 0; i < body->n; i++)
        sum = (uint8_t)(sum * 31 + body->p[i]);
    snprintf(want, sizeof(want), "%zu/%u", body->n, sum);
    h2_open(w);
    h2_call(w, &t, "/", body);
    assert_int_equal(t.rc, RC_OK);
    assert_string_equal(t.header, want);
    assert_true(t.sent_us > 0);
    blob_unref(&body);
}

static void test_h2_early_refusal(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(4 * BIG);

    h2_open(w);
    h2_call(w, &t, "/early403", body);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.status, 403);
    assert_int_equal(t.bytes, 4);
    blob_unref(&body);
}

static void say_rest(struct world *w)
{
    peer_h2_end(w->peer.conns[0], 1);
}

static void test_h2_early_refusal_stops_the_upload(void **state)
{
    struct world *w = *state;
    struct told t = {.at_headers = in_a_while};
    struct blob *body = patterned(4 * BIG);

    w->in_a_while = say_rest;
    h2_open(w);
    h2_call(w, &t, "/refuse-slowly", body);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.status, 403);
    assert_true(w->peer.conns[0]->streams->body_in < 4 * BIG);
    blob_unref(&body);
}

static void test_h2_reset_while_uploading(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(BIG);

    h2_open(w);
    h2_call(w, &t, "/reset-upload", body);
    assert_int_equal(t.rc, RC_CLOSED);
    assert_non_null(strstr(t.text, "INTERNAL_ERROR"));
    blob_unref(&body);
}

static void many_h2(struct world *w, size_t n, const char *path, struct told *t, struct blob *body)
{
    for (size_t i = 0; i < n; i++) {
        struct http_call_conf conf = conf_of(&t[i], url_of(w, path));

        conf.speak = HTTP_SPEAK_2;
        conf.body = body;
        conf.method = body ? "POST" : "GET";
        start(w, &t[i], &conf);
    }
    run(w);
    for (size_t i = 0; i < n; i++) {
        if (t[i].rc != RC_OK)
            fail_msg("call %zu: %s", i, t[i].text);
        blob_unref(&t[i].body);
    }
}

static void test_h2_calls_share_a_connection(void **state)
{
    struct world *w = *state;
    struct told t[50] = {0};
    struct blob *body = patterned(100000);

    h2_open(w);
    many_h2(w, 50, "/", t, body);
    assert_int_equal(w->peer.n_conns, 1);
    blob_unref(&body);
}

static void test_h2_respects_max_streams(void **state)
{
    struct world *w = *state;
    struct told t[20] = {0};

    w->peer.max_streams = 2;
    h2_open(w);
    many_h2(w, 20, "/", t, NULL);
    assert_int_equal(w->peer.requests, 20); /* none was refused and repeated */
    for (int i = 0; i < w->peer.n_conns; i++)
        assert_in_range(w->peer.conns[i]->most_open, 1, 2);
}

static void test_h2_cancel_while_uploading(void **state)
{
    struct world *w = *state;
    struct told gone = {0}, stays = {0};
    struct blob *body = patterned(4 * BIG);
    struct http_call_conf conf;

    h2_open(w);
    conf = conf_of(&gone, url_of(w, "/"));
    conf.speak = HTTP_SPEAK_2;
    conf.method = "POST";
    conf.body = body;
    gone.w = w;
    gone.call = http_call_start(w->client, &conf);
    while (!w->peer.requests)
        uv_run(loop_uv(w->loop), UV_RUN_ONCE);
    http_call_cancel(gone.call);
    h2_call(w, &stays, "/", NULL);
    assert_int_equal(stays.rc, RC_OK);
    assert_int_equal(w->peer.n_conns, 1);
    assert_int_equal(w->peer.conns[0]->open, 0); /* the peer knows that the first is over */
    blob_unref(&body);
}

static void h2_garbage(struct peer_conn *c)
{
    if (!c->stage++)
        peer_say(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void h2_close(struct peer_conn *c)
{
    peer_hang_up(c);
}

static void test_h2_broken_peers(void **state)
{
    static const struct {
        void (*peer)(struct peer_conn *c);
        enum rc rc;
        const char *text;
    } cases[] = {
        {h2_garbage, RC_BAD_INPUT, "breaks HTTP/2"},
        {h2_close, RC_CLOSED, "closed the HTTP/2 connection"},
    };
    struct world *w = *state;

    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct told t = {0};

        w->peer.on_input = cases[i].peer;
        h2_call(w, &t, "/", NULL);
        if (t.rc != cases[i].rc || !strstr(t.text, cases[i].text))
            fail_msg("case %zu: %s, \"%s\"", i, rc_name(t.rc), t.text);
    }
}

/* Header blocks and DATA by hand, for what a well-behaved library would not send. */
static const char h2_settings[] = "\x00\x00\x00\x04\x00\x00\x00\x00\x00";

static void h2_many_headers(struct peer_conn *c)
{
    uint8_t head[9] = {0, 0x3e, 0x81, 1, 4, 0, 0, 0, 1}; /* 16001 bytes, END_HEADERS */

    if (c->stage++)
        return;
    stream_write(c->stream, slice_of(h2_settings, 9));
    stream_write(c->stream, slice_of(head, 9));
    peer_say(c, "\x88"); /* :status 200 */
    for (int i = 0; i < 4000; i++)
        stream_write(c->stream, slice_of("\x00\x01"
                                         "a\x00",
                                         4)); /* "a", empty: 5 bytes less one */
}

static void h2_endless_continuation(struct peer_conn *c)
{
    uint8_t head[9] = {0, 0, 1, 1, 0, 0, 0, 0, 1};
    uint8_t more[9] = {0, 0, 4, 9, 0, 0, 0, 0, 1};

    if (c->stage++)
        return;
    stream_write(c->stream, slice_of(h2_settings, 9));
    stream_write(c->stream, slice_of(head, 9));
    peer_say(c, "\x88");
    for (int i = 0; i < 100000; i++) {
        stream_write(c->stream, slice_of(more, 9));
        stream_write(c->stream, slice_of("\x00\x01"
                                         "a\x00",
                                         4));
    }
}

static void h2_window_overrun(struct peer_conn *c)
{
    uint8_t head[9] = {0, 0, 1, 1, 4, 0, 0, 0, 1};
    uint8_t data[9] = {0, 0x40, 1, 0, 0, 0, 0, 0, 1}; /* 16385 bytes: one too many */

    if (c->stage++)
        return;
    stream_write(c->stream, slice_of(h2_settings, 9));
    stream_write(c->stream, slice_of(head, 9));
    peer_say(c, "\x88");
    stream_write(c->stream, slice_of(data, 9));
    for (int i = 0; i < 16385; i++)
        stream_write(c->stream, slice_of("a", 1));
}

static void h2_wrong_length(struct peer_conn *c)
{
    static const uint8_t bytes[] = {0,   0, 5, 1, 4, 0, 0, 0, 1, 0x88, 0x0f, 0x0d, 1,
                                    '9', 0, 0, 3, 0, 1, 0, 0, 0, 1,    'a',  'b',  'c'};

    if (c->stage++)
        return;
    stream_write(c->stream, slice_of(h2_settings, 9));
    stream_write(c->stream, slice_of(bytes, sizeof(bytes)));
}

/* More frames in the same bytes must find no client. */
static void h2_answer_and_settings(struct peer_conn *c)
{
    static const uint8_t bytes[] = {0, 0, 1, 1, 4, 0,   0,   0,   1, 0x88, 0, 0, 3,  0,
                                    0, 0, 0, 0, 1, 'a', 'b', 'c', 0, 0,    0, 4, 0,  0,
                                    0, 0, 0, 0, 0, 1,   0,   1,   0, 0,    0, 1, 'd'};

    if (c->stage++)
        return;
    stream_write(c->stream, slice_of(h2_settings, 9));
    stream_write(c->stream, slice_of(bytes, sizeof(bytes)));
}

static void test_h2_freed_between_frames(void **state)
{
    struct world *w = *state;
    struct told at_headers = {.at_headers = do_free}, at_bytes = {.at_bytes = do_free};

    w->peer.on_input = h2_answer_and_settings;
    peer_open(&w->peer, w->loop);
    run_with(w, "/", HTTP_SPEAK_2, &at_headers);
    assert_int_equal(at_headers.rc, RC_CANCELLED);
    run_with(w, "/", HTTP_SPEAK_2, &at_bytes);
    assert_int_equal(at_bytes.rc, RC_CANCELLED);
    assert_int_equal(at_bytes.bytes, 3);
}

static void test_h2_hostile_frames(void **state)
{
    static const struct {
        const char *name;
        void (*peer)(struct peer_conn *c);
        enum rc rc;
    } cases[] = {
        {"many headers", h2_many_headers, RC_LIMIT},
        {"endless continuation", h2_endless_continuation, RC_BAD_INPUT},
        {"frame above the limit", h2_window_overrun, RC_BAD_INPUT},
        {"other length than told", h2_wrong_length, RC_BAD_INPUT},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct told t = {0};

        peer_open(&w->peer, w->loop);
        w->peer.on_input = cases[i].peer;
        h2_call(w, &t, "/", NULL);
        if (t.rc != cases[i].rc && !(t.rc == RC_LIMIT && cases[i].rc == RC_BAD_INPUT))
            fail_msg("%s: %s, \"%s\"", cases[i].name, rc_name(t.rc), t.text);
        peer_close(&w->peer);
    }
}

/* --- HTTP/2: silence --- */

static void h2_then_frozen(struct peer_conn *c)
{
    peer_h2(c);
    if (c->open)
        stream_pause(c->stream); /* as a stopped process: the kernel still takes our bytes */
}

static void test_h2_ping_finds_a_frozen_peer(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;
    int64_t before = clock_mono_ms();

    w->peer.on_input = h2_then_frozen;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/hold"));
    conf.speak = HTTP_SPEAK_2;
    conf.ping_every_ms = 50;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_TIMEOUT);
    assert_non_null(strstr(t.text, "no PING within 50 ms"));
    assert_true(clock_mono_ms() - before >= 100);
    assert_int_equal(w->peer.n_conns, 1);
}

/* A peer that answers PINGs may think as long as the call's own limit allows. */
static void test_h2_ping_keeps_a_living_peer(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;

    h2_open(w);
    conf = conf_of(&t, url_of(w, "/hold"));
    conf.speak = HTTP_SPEAK_2;
    conf.ping_every_ms = 100;
    conf.timeout_ms = 700;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_TIMEOUT);
    assert_non_null(strstr(t.text, "header timeout"));
}

/* --- TLS, and our own server --- */

struct real {
    struct http_server *server;
    int versions[3]; /* requests by HTTP version */
};

static void on_real_body(struct http_exchange *x, struct blob *body, const struct err *why,
                         void *arg)
{
    char text[32];

    (void)why, (void)arg;
    snprintf(text, sizeof(text), "%zu bytes", body ? body->n : 0);
    http_answer(x, 200, "text/plain", slice_str(text));
}

static void on_real_request(struct http_exchange *x, void *arg)
{
    struct real *r = arg;

    r->versions[http_request(x)->version]++;
    http_read_body(x, 2 * BIG, on_real_body, NULL);
}

static struct tls_server *make_tls(char dir[64])
{
    struct tls_server *t;
    struct err err;
    char cert[96], key[96];

    snprintf(dir, 64, "/tmp/leat-test-XXXXXX");
    if (!mkdtemp(dir) || tls_make_self_signed(dir, "leat.test", &err) != RC_OK)
        fail_msg("no certificate: %s", err.text);
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    t = tls_server_new(cert, key, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static void remove_tls(const char *dir)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/cert.pem", dir);
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/key.pem", dir);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void test_real_server(void **state)
{
    static const struct {
        enum http_speak speak;
        bool tls;
        int version;
    } cases[] = {
        {HTTP_SPEAK_ANY, true, 2},  {HTTP_SPEAK_1, true, 1},  {HTTP_SPEAK_2, true, 2},
        {HTTP_SPEAK_ANY, false, 1}, {HTTP_SPEAK_1, false, 1}, {HTTP_SPEAK_2, false, 2},
    };
    struct world *w = *state;
    char dir[64];
    struct tls_server *tls = make_tls(dir);
    struct blob *body = patterned(BIG);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct real r = {0};
        struct http_server_conf sc = {.listen = {.addr = "127.0.0.1:0",
                                                 .max_connections = 20,
                                                 .tls = cases[i].tls ? tls : NULL},
                                      .on_request = on_real_request,
                                      .arg = &r};
        struct told t[8] = {0};
        struct http_call_conf conf;
        struct err err;
        char url[128];

        r.server = http_server_open(w->loop, &sc, &err);
        assert_non_null(r.server);
        snprintf(url, sizeof(url), "%s://%s/x", cases[i].tls ? "https" : "http",
                 listener_addr(http_server_listener(r.server)));
        for (size_t k = 0; k < ARRAY_LEN(t); k++) {
            conf = conf_of(&t[k], url);
            conf.speak = cases[i].speak;
            conf.method = "POST";
            conf.body = body;
            start(w, &t[k], &conf);
        }
        run(w);
        for (size_t k = 0; k < ARRAY_LEN(t); k++) {
            if (t[k].rc != RC_OK || !slice_eq_str(blob_slice(t[k].body), "8388608 bytes"))
                fail_msg("case %zu call %zu: %s", i, k, t[k].text);
            blob_unref(&t[k].body);
        }
        assert_int_equal(r.versions[cases[i].version], ARRAY_LEN(t));
        http_server_close(r.server);
    }
    blob_unref(&body);
    tls_server_free(tls);
    remove_tls(dir);
}

/* A TLS server without ALPN: fine for HTTP/1.1, a clear refusal for what must be HTTP/2. */
static void test_http2_not_spoken(void **state)
{
    struct world *w = *state;
    struct told any = {0}, two = {0};
    struct http_call_conf conf;
    char dir[64];
    SSL *ssl;

    w->peer.tls = make_tls(dir);
    remove_tls(dir);
    ssl = tls_server_ssl(w->peer.tls);
    SSL_CTX_set_alpn_select_cb(SSL_get_SSL_CTX(ssl), NULL, NULL);
    SSL_free(ssl);
    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&any, url_of(w, "/"));
    call(w, &any, &conf);
    assert_int_equal(any.rc, RC_OK);
    conf = conf_of(&two, url_of(w, "/"));
    conf.speak = HTTP_SPEAK_2;
    call(w, &two, &conf);
    assert_int_equal(two.rc, RC_UNAVAILABLE);
    assert_non_null(strstr(two.text, "does not speak HTTP/2 (in TLS it chose no protocol)"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_cancel_in_callbacks_http2),
        CASE(test_h2_answers),
        CASE(test_h2_settings),
        CASE(test_h2_upload),
        CASE(test_h2_early_refusal),
        CASE(test_h2_early_refusal_stops_the_upload),
        CASE(test_h2_reset_while_uploading),
        CASE(test_h2_calls_share_a_connection),
        CASE(test_h2_respects_max_streams),
        CASE(test_h2_cancel_while_uploading),
        CASE(test_h2_broken_peers),
        CASE(test_h2_hostile_frames),
        CASE(test_h2_freed_between_frames),
        CASE(test_h2_ping_finds_a_frozen_peer),
        CASE(test_h2_ping_keeps_a_living_peer),
        CASE(test_http2_not_spoken),
        CASE(test_real_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
