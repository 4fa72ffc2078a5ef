/* The HTTP client over HTTP/1.1, against peers that behave, stall, lie and vanish. */
#include "http_client_test.h"

/* --- HTTP/1.1: answers, good and bad --- */

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct answer {
    const char *name;
    const char *says;
    bool hangs_up;
    enum rc rc;
    int status;
    const char *body, *text; /* text: part of the sentence */
} answers[] = {
    {"length", OK "Content-Length: 5\r\nX-Test: a\r\n\r\nhello", false, RC_OK, 200, "hello", ""},
    {"chunks", CHUNKED "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-After: t\r\n\r\n", false, RC_OK, 200,
     "hello", ""},
    {"until close", "HTTP/1.0 200 OK\r\n\r\nhello", true, RC_OK, 200, "hello", ""},
    {"no body", "HTTP/1.1 204 No Content\r\n\r\n", false, RC_OK, 204, "", ""},
    {"continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     false, RC_OK, 200, "ok", ""},
    {"continue with a length",
     "HTTP/1.1 103 Hints\r\nContent-Length: 9\r\n\r\n" OK "Content-Length: 2\r\n\r\nok", false,
     RC_OK, 200, "ok", ""},
    {"refusal", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", false, RC_OK, 403, "no",
     ""},
    {"nothing", "", true, RC_CLOSED, 0, NULL, "before its answer"},
    {"half a head", OK "Content-Le", true, RC_CLOSED, 0, NULL, "within its headers"},
    {"cut", OK "Content-Length: 50\r\n\r\nhello", true, RC_CLOSED, 200, NULL, "after 5 bytes"},
    {"chunks cut", CHUNKED "9\r\nhel", true, RC_CLOSED, 200, NULL, "after 3 bytes"},
    {"last chunk missing", CHUNKED "3\r\nhel\r\n", true, RC_CLOSED, 200, NULL, "after 3 bytes"},
    {"bad chunk", CHUNKED "xyz\r\nhel", false, RC_BAD_INPUT, 200, NULL, "breaks HTTP/1.1"},
    {"huge chunk", CHUNKED "fffffffffffffffff\r\nh", false, RC_BAD_INPUT, 200, NULL,
     "breaks HTTP/1.1"},
    {"two lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false, RC_BAD_INPUT,
     0, NULL, "breaks HTTP/1.1"},
    {"length and chunks",
     OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        "\r\nhello",
     false, RC_BAD_INPUT, 0, NULL, "breaks HTTP/1.1"},
    {"negative length", OK "Content-Length: -5\r\n\r\nhello", false, RC_BAD_INPUT, 0, NULL,
     "breaks HTTP/1.1"},
    {"garbage", "\x16\x03\x01\x02 garbage\r\n\r\n", false, RC_BAD_INPUT, 0, NULL,
     "breaks HTTP/1.1"},
    {"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
     false, RC_BAD_INPUT, 0, NULL, "status 101"},
    {"length beyond the limit", OK "Content-Length: 5000000000\r\n\r\n", false, RC_LIMIT, 200, NULL,
     "5000000000 bytes"},
};

static const struct answer *answer;

static void say_answer(struct peer_conn *c)
{
    if (c->stage || !peer_heard(c, "\r\n\r\n"))
        return;
    c->stage = 1;
    peer_say(c, answer->says);
    if (answer->hangs_up)
        peer_hang_up(c);
}

static void check_answer(struct told *t)
{
    struct slice body = blob_slice(t->body);

    if (t->rc != answer->rc || t->status != answer->status || !strstr(t->text, answer->text))
        fail_msg("%s: rc %s, status %d, \"%s\"", answer->name, rc_name(t->rc), t->status, t->text);
    if (t->rc != RC_OK && !strstr(t->text, "127.0.0.1:"))
        fail_msg("%s: no host and port in \"%s\"", answer->name, t->text);
    if (answer->body && !slice_eq_str(body, answer->body))
        fail_msg("%s: body of %zu bytes", answer->name, body.n);
    if (!answer->body && t->body)
        fail_msg("%s: a body came with the error", answer->name);
    if (answer->status && t->headers_calls != 1)
        fail_msg("%s: on_headers ran %d times", answer->name, t->headers_calls);
    assert_int_equal(t->done_calls, 1);
}

static void test_answers(void **state)
{
    struct world *w = *state;

    w->peer.on_input = say_answer;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct told t = {0};
        struct http_call_conf conf = conf_of(&t, url_of(w, "/a?b=c"));

        answer = &answers[i];
        http_client_free(w->client); /* a connection of its own for each */
        w->client = http_client_new(w->loop);
        start(w, &t, &conf);
        run(w);
        check_answer(&t);
        blob_unref(&t.body);
    }
}

/* The same answers byte by byte: nothing may depend on how they are cut. */
static void drip(struct peer_conn *c, const char *text)
{
    for (; *text; text++) {
        char one[2] = {*text, 0};

        peer_say(c, one);
        for (int i = 0; i < 3; i++) /* let it leave and arrive alone */
            uv_run(loop_uv(c->peer->loop), UV_RUN_NOWAIT);
    }
}

static void test_answers_in_single_bytes(void **state)
{
    struct world *w = *state;

    w->peer.on_input = NULL;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct told t = {.w = w};
        struct http_call_conf conf = conf_of(&t, url_of(w, "/"));
        struct peer_conn *c;

        answer = &answers[i];
        http_client_free(w->client);
        w->client = http_client_new(w->loop);
        start(w, &t, &conf);
        while (w->peer.n_conns <= (int)i || !w->peer.conns[i]->in.n)
            uv_run(loop_uv(w->loop), UV_RUN_ONCE);
        c = w->peer.conns[i];
        drip(c, answer->says);
        if (answer->hangs_up)
            peer_hang_up(c);
        if (!t.done_calls)
            run(w);
        check_answer(&t);
        blob_unref(&t.body);
    }
}

/* --- HTTP/1.1: floods --- */

static void flood(struct peer_conn *c, const char *head, const char *again)
{
    if (!peer_heard(c, "\r\n\r\n"))
        return;
    peer_say(c, head);
    for (int i = 0; i < 20000; i++)
        peer_say(c, again);
}

static void flood_header_lines(struct peer_conn *c)
{
    flood(c, "HTTP/1.1 200 OK\r\n", "a: b\r\n");
}

static void flood_one_header(struct peer_conn *c)
{
    flood(c, "HTTP/1.1 200 OK\r\nx: ", "aaaaaaaaaa");
}

static void flood_reason(struct peer_conn *c)
{
    flood(c, "HTTP/1.1 200 ", "aaaaaaaaaa");
}

static void flood_continue(struct peer_conn *c)
{
    flood(c, "", "HTTP/1.1 100 Continue\r\n\r\n");
}

static void flood_chunk_extension(struct peer_conn *c)
{
    flood(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "aaaaaaaaaa");
}

static void flood_trailers(struct peer_conn *c)
{
    flood(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n");
}

static void flood_body(struct peer_conn *c)
{
    flood(c, "HTTP/1.0 200 OK\r\n\r\n", "aaaaaaaaaa");
}

static void flood_empty_lines(struct peer_conn *c)
{
    flood(c, "", "\r\n\r\n\r\n\r\n\r\n");
}

static void test_floods(void **state)
{
    static const struct {
        const char *name;
        void (*peer)(struct peer_conn *c);
    } floods[] = {
        {"header lines", flood_header_lines},
        {"one header", flood_one_header},
        {"reason phrase", flood_reason},
        {"100 Continue", flood_continue},
        {"chunk extension", flood_chunk_extension},
        {"trailers", flood_trailers},
        {"body", flood_body},
        {"empty lines", flood_empty_lines},
    };
    struct world *w = *state;

    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        struct told t = {0};
        struct http_call_conf conf = conf_of(&t, url_of(w, "/"));

        conf.max_body = 100000;
        w->peer.on_input = floods[i].peer;
        call(w, &t, &conf);
        if (t.rc != RC_LIMIT)
            fail_msg("%s: %s, \"%s\"", floods[i].name, rc_name(t.rc), t.text);
    }
}

/* Honest chunks of one byte are no flood. */
static void tiny_chunks(struct peer_conn *c)
{
    if (c->stage++)
        return;
    peer_say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100000; i++)
        peer_say(c, "1\r\na\r\n");
    peer_say(c, "0\r\n\r\n");
}

static void test_tiny_chunks(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;

    w->peer.on_input = tiny_chunks;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/"));
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.bytes, 100000);
}

/* --- the request --- */

static void test_request_bytes(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_header headers[] = {{SLICE_LIT("Livepeer-Payment"), SLICE_LIT("")},
                                    {SLICE_LIT("X-One"), SLICE_LIT("1")}};
    struct blob *parts[] = {blob_copy(SLICE_LIT("ab")), blob_copy(SLICE_LIT("")),
                            blob_copy(SLICE_LIT("cde"))};
    struct http_call_conf conf;
    char want[256];

    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/segment?a=b#part"));
    conf.method = "POST";
    conf.headers = headers;
    conf.n_headers = 2;
    conf.body_parts = parts;
    conf.n_body_parts = 3;
    call(w, &t, &conf);
    snprintf(want, sizeof(want),
             "POST /segment?a=b HTTP/1.1\r\nHost: %s\r\nUser-Agent: leat\r\n"
             "Livepeer-Payment: \r\nX-One: 1\r\nContent-Length: 5\r\n\r\nabcde",
             listener_addr(w->peer.listener));
    assert_string_equal(buf_cstr(&w->peer.conns[0]->in), want);
    assert_true(t.sent_us > 0 && t.sent_us <= clock_mono_us());
    for (size_t i = 0; i < 3; i++)
        blob_unref(&parts[i]);
}

static void test_refuses_broken_requests(void **state)
{
    static const struct {
        const char *url, *method, *value;
        enum rc rc;
    } cases[] = {
        {"ftp://127.0.0.1/", "GET", "x", RC_BAD_INPUT},
        {"nonsense", "GET", "x", RC_BAD_INPUT},
        {"http://127.0.0.1/a b", "GET", "x", RC_BAD_INPUT},
        {"http://127.0.0.1/\r\nX: y", "GET", "x", RC_BAD_INPUT},
        {"http://127.0.0.1/", "GET /x", "x", RC_BAD_INPUT},
        {"http://127.0.0.1/", "GET", "secret\r\nX-More: y", RC_BAD_INPUT},
        {"http://127.0.0.1/", "GET", "secret\n", RC_BAD_INPUT},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct told t = {0};
        struct http_header header = {SLICE_LIT("Credentials"), slice_str(cases[i].value)};
        struct http_call_conf conf = conf_of(&t, cases[i].url);

        conf.method = cases[i].method;
        conf.headers = &header;
        conf.n_headers = 1;
        start(w, &t, &conf);
        assert_int_equal(t.done_calls, 0); /* told from the loop, never from within the start */
        run(w);
        if (t.rc != cases[i].rc)
            fail_msg("case %zu: %s, %s", i, rc_name(t.rc), t.text);
    }
}

static void head_without_body(struct peer_conn *c)
{
    if (peer_heard(c, "HEAD /x HTTP/1.1"))
        peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 70000000\r\n\r\n");
}

static void test_head(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;

    w->peer.on_input = head_without_body;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/x"));
    conf.method = "HEAD";
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.bytes, 0);
}

static void test_unix_socket(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf = conf_of(&t, "https://leat/x");
    char path[64], addr[80];

    snprintf(path, sizeof(path), "/tmp/leat-test-%d.sock", (int)getpid());
    snprintf(addr, sizeof(addr), "unix:%s", path);
    w->peer.on_input = answer_ok;
    peer_open_at(&w->peer, w->loop, addr, "http");
    conf.unix_path = path;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_true(peer_heard(w->peer.conns[0], "Host: leat\r\n"));
    (void)unlink(path);
}

/* --- connections: kept, reused, stale --- */

static void test_reuse(void **state)
{
    struct world *w = *state;

    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    for (int i = 0; i < 3; i++) {
        struct told t = {0};
        struct http_call_conf conf = conf_of(&t, url_of(w, "/"));

        call(w, &t, &conf);
        assert_int_equal(t.rc, RC_OK);
        buf_clear(&w->peer.conns[0]->in);
    }
    assert_int_equal(w->peer.n_conns, 1);
}

static void test_parallel_calls_get_connections_of_their_own(void **state)
{
    struct world *w = *state;
    struct told t[5] = {0};

    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct http_call_conf conf = conf_of(&t[i], url_of(w, "/"));

        start(w, &t[i], &conf);
    }
    run(w);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_int_equal(t[i].rc, RC_OK);
        blob_unref(&t[i].body);
    }
    assert_int_equal(w->peer.n_conns, 5);
}

/* More calls than connections may be open: the rest waits, all are answered. */
static void test_many_parallel_calls(void **state)
{
    enum { CALLS = 100 };
    struct world *w = *state;
    struct told *t = xcalloc(CALLS, sizeof(*t));

    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < CALLS; i++) {
        struct http_call_conf conf = conf_of(&t[i], url_of(w, "/"));

        start(w, &t[i], &conf);
    }
    run(w);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(t[i].rc, RC_OK);
        blob_unref(&t[i].body);
    }
    assert_true(w->peer.n_conns <= CLIENT_MAX_CONNS);
    free(t);
}

/* The first connection answers once and hangs up on the second request. */
static void stale_first(struct peer_conn *c)
{
    if (c->index == 0 && c->stage == 1)
        peer_hang_up(c);
    else
        answer_ok(c);
    buf_clear(&c->in);
}

static void test_stale_connection_is_tried_again(void **state)
{
    struct world *w = *state;
    struct blob *body = patterned(100000);

    w->peer.on_input = stale_first;
    peer_open(&w->peer, w->loop);
    for (int i = 0; i < 2; i++) {
        struct told t = {0};
        struct http_call_conf conf = conf_of(&t, url_of(w, "/"));

        conf.method = "POST";
        conf.body = i ? body : NULL;
        call(w, &t, &conf);
        assert_int_equal(t.rc, RC_OK);
    }
    assert_int_equal(w->peer.n_conns, 2);
    blob_unref(&body);
}

static void always_hang_up_later(struct peer_conn *c)
{
    if (c->index > 0 || c->stage == 1)
        peer_hang_up(c);
    else
        answer_ok(c);
    buf_clear(&c->in);
}

static void test_tried_again_once_only(void **state)
{
    struct world *w = *state;
    struct told first = {0}, second = {0};
    struct http_call_conf conf;

    w->peer.on_input = always_hang_up_later;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&first, url_of(w, "/"));
    call(w, &first, &conf);
    conf = conf_of(&second, url_of(w, "/"));
    call(w, &second, &conf);
    assert_int_equal(first.rc, RC_OK);
    assert_int_equal(second.rc, RC_CLOSED);
    assert_int_equal(w->peer.n_conns, 2);
}

static void half_answer_on_second(struct peer_conn *c)
{
    if (c->stage == 1) {
        peer_say(c, "HTTP/1.1 2");
        peer_hang_up(c);
    } else {
        answer_ok(c);
    }
    buf_clear(&c->in);
}

static void test_begun_answer_is_not_tried_again(void **state)
{
    struct world *w = *state;
    struct told first = {0}, second = {0};
    struct http_call_conf conf;

    w->peer.on_input = half_answer_on_second;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&first, url_of(w, "/"));
    call(w, &first, &conf);
    conf = conf_of(&second, url_of(w, "/"));
    call(w, &second, &conf);
    assert_int_equal(second.rc, RC_CLOSED);
    assert_int_equal(w->peer.n_conns, 1);
}

/* A second answer that nobody asked for must not become the answer of the next call. */
static void answer_twice(struct peer_conn *c)
{
    if (c->index)
        answer_ok(c);
    else if (!c->stage++)
        peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad");
}

static void test_unasked_answer(void **state)
{
    struct world *w = *state;
    struct told first = {0}, second = {0};
    struct http_call_conf conf;

    w->peer.on_input = answer_twice;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&first, url_of(w, "/"));
    call(w, &first, &conf);
    conf = conf_of(&second, url_of(w, "/"));
    call(w, &second, &conf);
    assert_int_equal(first.bytes, 2);
    assert_int_equal(second.bytes, 2);
    assert_int_equal(w->peer.n_conns, 2);
}

static void test_idle_connection_is_closed(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;

    w->client->idle_ms = 20;
    w->peer.on_input = answer_ok;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/"));
    call(w, &t, &conf);
    for (int64_t end = clock_mono_ms() + GUARD_MS; !w->peer.conns[0]->ended;) {
        assert_true(clock_mono_ms() < end);
        uv_run(loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_int_equal(map_count(w->client->origins), 0);
}

/* --- time --- */

static void status_then_silence(struct peer_conn *c)
{
    if (peer_heard(c, "\r\n\r\n") && !c->stage++)
        peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
}

static void test_timeouts(void **state)
{
    static const struct {
        void (*peer)(struct peer_conn *c);
        const char *scheme;
        int connect_ms, header_ms, all_ms;
        enum rc rc;
        const char *begins, *holds;
    } cases[] = {
        {say_nothing, "http", 0, 60, 0, RC_TIMEOUT, "header timeout: 127.0.0.1:", "60 ms"},
        {say_nothing, "http", 0, 0, 70, RC_TIMEOUT, "header timeout: 127.0.0.1:", "70 ms"},
        {status_then_silence, "http", 0, 60, 120, RC_TIMEOUT,
         "body timeout: 127.0.0.1:", "120 ms (3 bytes came)"},
        {say_nothing, "https", 60, 0, 0, RC_UNAVAILABLE, "no connection to 127.0.0.1:", "60 ms"},
        {say_nothing, "https", 5000, 60, 0, RC_TIMEOUT, "header timeout: no connection to ",
         "60 ms"},
    };
    struct world *w = *state;

    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct told t = {0};
        char url[128];
        struct http_call_conf conf = conf_of(&t, url);

        snprintf(url, sizeof(url), "%s://%s/", cases[i].scheme, listener_addr(w->peer.listener));
        w->peer.on_input = cases[i].peer;
        conf.connect_timeout_ms = cases[i].connect_ms;
        conf.header_timeout_ms = cases[i].header_ms;
        conf.timeout_ms = cases[i].all_ms;
        call(w, &t, &conf);
        if (t.rc != cases[i].rc || strncmp(t.text, cases[i].begins, strlen(cases[i].begins)) ||
            !strstr(t.text, cases[i].holds))
            fail_msg("case %zu: %s, \"%s\"", i, rc_name(t.rc), t.text);
    }
}

/* One byte now and then keeps nobody waiting beyond the limit. */
struct drip {
    struct world *w;
    struct timer *timer;
};

static void drip_on_tick(void *arg)
{
    struct drip *d = arg;

    if (d->w->peer.n_conns)
        peer_say(d->w->peer.conns[0], "a");
}

static void test_slow_drip(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct drip d = {.w = w};
    struct http_call_conf conf;

    w->peer.on_input = status_then_silence;
    peer_open(&w->peer, w->loop);
    d.timer = timer_new(w->loop, drip_on_tick, &d);
    timer_repeat(d.timer, 5);
    conf = conf_of(&t, url_of(w, "/"));
    conf.timeout_ms = 150;
    call(w, &t, &conf);
    timer_free(d.timer);
    assert_int_equal(t.rc, RC_TIMEOUT);
}

static void test_connection_refused(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct http_call_conf conf;
    char url[128];

    peer_open(&w->peer, w->loop);
    snprintf(url, sizeof(url), "%s", url_of(w, "/"));
    peer_close(&w->peer);
    conf = conf_of(&t, url);
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_UNAVAILABLE);
    assert_non_null(strstr(t.text, "no connection to 127.0.0.1:"));
    assert_non_null(strstr(t.text, "refused"));
}

/* --- upload metrics --- */

static int64_t all_read_us;

static void answer_later(struct world *w)
{
    peer_say(w->peer.conns[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void read_all(struct peer_conn *c)
{
    if (c->in.n < BIG || all_read_us)
        return;
    all_read_us = clock_mono_us();
    timer_start(CONTAINER_OF(c->peer, struct world, peer)->while_timer, 50);
}

static void test_sent_time_is_not_the_answers(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(BIG);
    struct http_call_conf conf;

    w->in_a_while = answer_later;
    w->peer.on_input = read_all;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/segment"));
    conf.method = "POST";
    conf.body = body;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_true(t.sent_us > 0 && t.sent_us <= all_read_us + 20000);
    blob_unref(&body);
}

/* --- early answers --- */

static void early_403(struct peer_conn *c)
{
    if (!peer_heard(c, "\r\n\r\n") || c->stage++)
        return;
    peer_say(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n");
    stream_pause(c->stream); /* and reads no more */
}

static void test_early_refusal(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(4 * BIG);
    struct http_call_conf conf;

    w->peer.on_input = early_403;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/segment"));
    conf.method = "POST";
    conf.body = body;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.status, 403);
    assert_int_equal(t.bytes, 4);
    assert_true(w->peer.conns[0]->in.n < 4 * BIG);
    t = (struct told){0};
    conf = conf_of(&t, url_of(w, "/next"));
    w->peer.on_input = answer_ok;
    call(w, &t, &conf); /* not behind the rest of that body */
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(w->peer.n_conns, 2);
    blob_unref(&body);
}

/* A peer that refuses and reads on is spared the rest. */
static void early_403_reading_on(struct peer_conn *c)
{
    if (peer_heard(c, "\r\n\r\n") && !c->stage++)
        peer_say(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n");
}

static void say_rest(struct world *w)
{
    peer_say(w->peer.conns[0], "no\n");
}

static void test_early_refusal_stops_the_upload(void **state)
{
    struct world *w = *state;
    struct told t = {.at_headers = in_a_while};
    struct blob *body = patterned(4 * BIG);
    struct http_call_conf conf;

    w->in_a_while = say_rest;
    w->peer.on_input = early_403_reading_on;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/segment"));
    conf.method = "POST";
    conf.body = body;
    call(w, &t, &conf);
    assert_int_equal(t.status, 403);
    assert_int_equal(t.bytes, 3);
    assert_true(w->peer.conns[0]->in.n < 4 * BIG);
    blob_unref(&body);
}

static void early_403_and_gone(struct peer_conn *c)
{
    if (!peer_heard(c, "\r\n\r\n") || c->stage++)
        return;
    peer_say(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n");
    peer_hang_up(c);
}

static void test_early_refusal_then_close(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    struct blob *body = patterned(4 * BIG);
    struct http_call_conf conf;

    w->peer.on_input = early_403_and_gone;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/segment"));
    conf.method = "POST";
    conf.body = body;
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_int_equal(t.status, 403);
    blob_unref(&body);
}

/* The status is told when it comes, not when the body has ended (video.md 4.2, step 9). */
static void finish_answer(struct told *t)
{
    peer_say(t->w->peer.conns[0], "abc");
}

static void status_alone(struct peer_conn *c)
{
    if (peer_heard(c, "\r\n\r\n") && !c->stage++)
        peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
}

static void test_two_phases(void **state)
{
    struct world *w = *state;
    struct told t = {.at_headers = finish_answer};
    struct http_call_conf conf;

    w->peer.on_input = status_alone;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/"));
    call(w, &t, &conf);
    assert_int_equal(t.rc, RC_OK);
    assert_true(t.headers_before_body);
    assert_int_equal(t.bytes, 3);
}

/* --- cancelling, anywhere --- */

static void answer_each(struct peer_conn *c)
{
    answer_ok(c);
    buf_clear(&c->in);
}

static void test_cancel_in_callbacks_http1(void **state)
{
    struct world *w = *state;

    w->peer.on_input = answer_each;
    peer_open(&w->peer, w->loop);
    cancel_everywhere(w, HTTP_SPEAK_1);
}

static void test_cancel_at_once_and_while_waiting(void **state)
{
    struct world *w = *state;
    struct told gone = {0}, stays = {0};
    struct http_call_conf conf;

    w->peer.on_input = answer_each;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&gone, url_of(w, "/"));
    http_call_cancel(http_call_start(w->client, &conf));
    gone.w = w;
    gone.call = http_call_start(w->client, &conf);
    uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
    http_call_cancel(gone.call); /* connecting by now */
    conf = conf_of(&stays, url_of(w, "/"));
    call(w, &stays, &conf);
    assert_int_equal(gone.done_calls, 0);
    assert_int_equal(stays.rc, RC_OK);
}

static void test_free_with_running_calls(void **state)
{
    struct world *w = *state;
    struct told t[4] = {0};

    w->peer.on_input = say_nothing;
    peer_open(&w->peer, w->loop);
    for (int i = 0; i < 4; i++) {
        struct http_call_conf conf = conf_of(&t[i], url_of(w, "/"));

        conf.speak = i % 2 ? HTTP_SPEAK_2 : HTTP_SPEAK_1;
        start(w, &t[i], &conf);
        if (i < 3)
            for (int n = 0; n < 10; n++)
                uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
    }
    do_free(&t[0]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(t[i].done_calls, 1);
        assert_int_equal(t[i].rc, RC_CANCELLED);
    }
}

/* A caller that starts the next call when one ends must not keep a dying client alive. */
static void start_another(struct told *t)
{
    struct http_call_conf conf = conf_of(t, "http://127.0.0.1:1/");

    assert_null(http_call_start(t->w->client, &conf));
}

static void test_start_while_freeing(void **state)
{
    struct world *w = *state;
    struct told t = {.at_done = start_another};
    struct http_call_conf conf;

    w->peer.on_input = say_nothing;
    peer_open(&w->peer, w->loop);
    conf = conf_of(&t, url_of(w, "/"));
    start(w, &t, &conf);
    http_client_free(w->client);
    w->client = NULL;
    assert_int_equal(t.rc, RC_CANCELLED);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_answers),
        CASE(test_answers_in_single_bytes),
        CASE(test_floods),
        CASE(test_tiny_chunks),
        CASE(test_request_bytes),
        CASE(test_refuses_broken_requests),
        CASE(test_head),
        CASE(test_unix_socket),
        CASE(test_reuse),
        CASE(test_parallel_calls_get_connections_of_their_own),
        CASE(test_many_parallel_calls),
        CASE(test_stale_connection_is_tried_again),
        CASE(test_tried_again_once_only),
        CASE(test_begun_answer_is_not_tried_again),
        CASE(test_unasked_answer),
        CASE(test_idle_connection_is_closed),
        CASE(test_timeouts),
        CASE(test_slow_drip),
        CASE(test_connection_refused),
        CASE(test_sent_time_is_not_the_answers),
        CASE(test_early_refusal),
        CASE(test_early_refusal_stops_the_upload),
        CASE(test_early_refusal_then_close),
        CASE(test_two_phases),
        CASE(test_cancel_in_callbacks_http1),
        CASE(test_cancel_at_once_and_while_waiting),
        CASE(test_free_with_running_calls),
        CASE(test_start_while_freeing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
