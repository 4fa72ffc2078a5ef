/* HTTP/1 and what is common to both protocols. */
#include "http_server_test.h"

/* --- whole conversations, each sent at once and byte by byte --- */

struct talk {
    const char *name, *say;
    const char *want[4]; /* each must come, in this order */
    bool closes;
};

static const char HELLO[] = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";

static const struct talk talks[] = {
    {"plain",
     "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
     {"HTTP/1.1 200 OK\r\nDate: ", "Content-Type: text/plain\r\n",
      "Content-Length: 5\r\n\r\nhello"}},
    {"two, one after another",
     "GET /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
     {"200 OK", "hello", "200 OK", "hello"}},
    {"asked to close",
     "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
     {"200 OK", "Connection: close\r\n", "hello"},
     true},
    {"head alone",
     "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n"
     "HEAD /zeros?9 HTTP/1.1\r\nHost: h\r\n\r\n",
     {"Content-Length: 5\r\n\r\nHTTP/1.1 200 OK", "Content-Length: 9\r\n\r\n"}},
    {"no content",
     "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
     "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
     {"204 No Content\r\nDate: ", " GMT\r\n\r\nHTTP/1.1 200", "hello"}},
    {"1.0", "GET /hello HTTP/1.0\r\n\r\n", {"HTTP/1.1 200 OK", "hello"}, true},
    {"1.0 kept",
     "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     {"Connection: keep-alive\r\n", "hello"}},
    {"1.0 without length",
     "POST /stream HTTP/1.0\r\nConnection: keep-alive\r\n"
     "Content-Length: 3\r\n\r\nabc",
     {"Connection: close\r\n\r\nabc"},
     true},
    {"body",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
     {"Content-Length: 4\r\n\r\nbody"}},
    {"empty body",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
     {"Content-Length: 0\r\n\r\n"}},
    {"chunks",
     "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
     "4\r\nbody\r\nb;name=value\r\n and more..\r\n0\r\nTrailer: x\r\n\r\n",
     {"Content-Length: 15\r\n\r\nbody and more.."}},
    {"chunks back",
     "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
     "1\r\nA\r\n1\r\nB\r\n0\r\n\r\n",
     {"Transfer-Encoding: chunked\r\n\r\n1\r\nA\r\n", "1\r\nB\r\n", "0\r\n\r\n"}},
    {"expects continue",
     "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
     "Content-Length: 4\r\n\r\nbody",
     {"\r\n\r\nbody"}},
    {"offers another protocol",
     "GET /hello HTTP/1.1\r\nHost: h\r\n"
     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
     {"200 OK", "hello"}},
    {"absolute target",
     "GET http://other:80/hello?q HTTP/1.1\r\nHost: h\r\n\r\n",
     {"200 OK", "hello"}},
    {"starts like the preface", "PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n", {"200 OK", "hello"}},
    {"over the handler's limit",
     "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n"
     "12345678901GET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
     {"413 ", "larger than 10 bytes", "200 OK", "hello"}},
    {"over it in chunks",
     "POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
     "6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n",
     {"413 ", "larger than 10 bytes"}},
    {"unread body is skipped",
     "POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
     "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
     {"200 OK", "hello", "200 OK", "hello"}},

    /* what is no request, or one that two readers could understand in two ways */
    {"garbage", "\x16\x03\x01\x02garbage\r\n\r\n", {"400 Bad Request", "Connection: close"}, true},
    {"no host", "GET / HTTP/1.1\r\n\r\n", {"400 ", "exactly one Host"}, true},
    {"two hosts",
     "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     {"400 ", "exactly one Host"},
     true},
    {"length and chunks",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     {"400 "},
     true},
    {"chunks and length",
     "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
     "Content-Length: 4\r\n\r\n0\r\n\r\n",
     {"400 "},
     true},
    {"two lengths",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
     "Content-Length: 5\r\n\r\nbody",
     {"400 "},
     true},
    {"two equal lengths",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
     "Content-Length: 4\r\n\r\nbody",
     {"400 "},
     true},
    {"negative length",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
     {"400 "},
     true},
    {"length with a sign",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nbody",
     {"400 "},
     true},
    {"length too large",
     "POST /echo HTTP/1.1\r\nHost: h\r\n"
     "Content-Length: 99999999999999999999\r\n\r\n",
     {"400 "},
     true},
    {"length list",
     "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nbody",
     {"400 "},
     true},
    {"coding not last",
     "POST /echo HTTP/1.1\r\nHost: h\r\n"
     "Transfer-Encoding: chunked, gzip\r\n\r\n",
     {"400 "},
     true},
    {"coding unknown",
     "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
     "0\r\n\r\n",
     {"400 "},
     true},
    {"coding misspelt",
     "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
     {"400 "},
     true},
    {"coding in 1.0",
     "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     {"400 "},
     true},
    {"space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", {"400 "}, true},
    {"folded line", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", {"400 "}, true},
    {"line without colon", "GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", {"400 "}, true},
    {"no name", "GET / HTTP/1.1\r\n: h\r\n\r\n", {"400 "}, true},
    {"neither name nor value", "GET / HTTP/1.1\r\nHost: h\r\n:\r\n\r\n", {"400 "}, true},
    {"empty value", "GET /hello HTTP/1.1\r\nHost: h\r\nX:\r\nY: \r\n\r\n", {"200 OK", "hello"}},
    {"bare line feeds", "GET / HTTP/1.1\nHost: h\n\n", {"400 "}, true},
    {"bare carriage return", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", {"400 "}, true},
    {"control byte",
     "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01"
     "b\r\n\r\n",
     {"400 "},
     true},
    {"bad chunk size",
     "POST /later HTTP/1.1\r\nHost: h\r\n"
     "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
     {NULL},
     false},
    {"version 2 without preface", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", {"505 "}, true},
    {"version 9", "GET / HTTP/9.9\r\nHost: h\r\n\r\n", {"505 "}, true},
    {"no version", "GET /\r\n\r\n", {"505 "}, true},
    {"connect", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", {"400 ", "CONNECT"}, true},
    {"unknown method", "BREW / HTTP/1.1\r\nHost: h\r\n\r\n", {"400 "}, true},
};

/* The first piece of what is wanted that has not come yet, in order; NULL when all has. */
static const char *missing(struct peer *c, const struct talk *t)
{
    const char *at = buf_cstr(&c->in);

    for (size_t i = 0; i < ARRAY_LEN(t->want) && t->want[i]; i++) {
        at = strstr(at, t->want[i]);
        if (!at)
            return t->want[i];
        at += strlen(t->want[i]);
    }
    return NULL;
}

static void run_talk(const struct talk *t, bool in_drops)
{
    struct peer c;

    peer_connect(&c, port);
    if (in_drops)
        peer_drip(&c, slice_str(t->say));
    else
        peer_send(&c, t->say);
    RUN_UNTIL(c.ended || (!t->closes && !missing(&c, t)));
    RUN_UNTIL(!drip.left.n || c.ended);
    drip_stop();
    if (missing(&c, t))
        fail_msg("%s: no \"%s\" in: %s", t->name, missing(&c, t), buf_cstr(&c.in));
    if (c.ended != t->closes || c.why != RC_OK) /* a reset could take the answer with it */
        fail_msg("%s: ended %d, %s", t->name, c.ended, rc_name(c.why));
    peer_close(&c);
}

static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(talks); i++)
        run_talk(&talks[i], false);
}

static void test_conversations_in_drops(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(talks); i++)
        run_talk(&talks[i], true);
}

static void test_request_is_taken_apart(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "PUT /live/a%20b/1.ts?x=1&y=?2 HTTP/1.1\r\nHost: me.example:8935\r\n"
                  "content-TYPE:  \tvideo/mp2t  \r\nContent-Length: 12\r\n\r\n");
    RUN_UNTIL(seen.requests == 1);
    assert_string_equal(seen.method, "PUT");
    assert_string_equal(seen.target, "/live/a%20b/1.ts?x=1&y=?2");
    assert_string_equal(seen.path, "/live/a%20b/1.ts");
    assert_string_equal(seen.query, "x=1&y=?2");
    assert_string_equal(seen.authority, "me.example:8935");
    assert_string_equal(seen.type, "video/mp2t");
    assert_int_equal(seen.version, 1);
    assert_int_equal(seen.content_length, 12);
    peer_close(&c);
}

/* --- limits of the head --- */

static void talk_of(const char *start, const char *line, int times, const char *want)
{
    struct peer c;
    struct buf b;

    buf_init(&b, 1 << 24);
    buf_str(&b, start);
    for (int i = 0; i < times; i++)
        buf_str(&b, line);
    peer_connect(&c, port);
    stream_write(c.stream, buf_slice(&b));
    buf_cleanup(&b);
    RUN_UNTIL(peer_has(&c, want) && c.ended);
    assert_int_equal(c.why, RC_OK);
    peer_close(&c);
}

static void test_large_heads_are_refused(void **state)
{
    (void)state;
    talk_of("GET / HTTP/1.1\r\nHost: h\r\n", "A: b\r\n", 65, "431 ");
    talk_of("GET / HTTP/1.1\r\nHost: h\r\nX: ", "0123456789", 6600, "431 ");
    talk_of("GET /", "0123456789", 900, "414 ");
    talk_of("GET / HTTP/1.1\r\nHost: h\r\nX:", "                    ", 10000, "431 ");
    talk_of("", "\r\n", 100 * 1000, "431 "); /* blank lines before a request are free, a few */
    assert_int_equal(seen.requests, 0);
}

static void test_largest_head_passes(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "GET /hello HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 65000; i++)
        stream_write(c.stream, SLICE_LIT("x"));
    peer_send(&c, "\r\n\r\n");
    RUN_UNTIL(peer_has(&c, "hello"));
    peer_close(&c);
}

/* --- time --- */

static void test_slow_head_gets_408(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 1000 && !c.ended; i++) { /* a byte now and then does not help */
        peer_send(&c, "x");
        run_for(5);
    }
    assert_true(c.ended);
    assert_true(peer_has(&c, "408 Request Timeout"));
    peer_close(&c);
}

static void test_silent_and_idle_connections_are_closed(void **state)
{
    struct peer silent, idle;

    (void)state;
    peer_connect(&silent, port);
    peer_connect(&idle, port);
    peer_send(&idle, HELLO);
    RUN_UNTIL(peer_has(&idle, "hello"));
    RUN_UNTIL(silent.ended && idle.ended);
    assert_int_equal(silent.in.n, 0);
    assert_false(peer_has(&idle, "408"));
    peer_close(&silent);
    peer_close(&idle);
}

static void test_stalled_body_is_given_up(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    RUN_UNTIL(c.ended);
    assert_int_equal(seen.body_why, RC_TIMEOUT);
    assert_int_equal(seen.closed_complete, 1);
    assert_true(peer_has(&c, "408 ") && peer_has(&c, "4 bytes did"));
    peer_close(&c);
}

struct trickle {
    struct peer *to;
    struct timer *timer;
};

static void on_trickle(void *arg)
{
    const struct trickle *t = arg;

    if (!t->to->ended)
        peer_send(t->to, "s");
}

/* Fault: who sends a byte now and then holds a place, and memory, as long as he likes. */
static void test_body_that_trickles_is_given_up(void **state)
{
    struct peer c;
    struct trickle t = {.to = &c};

    (void)state;
    t.timer = timer_new(loop, on_trickle, &t);
    peer_connect(&c, port);
    peer_send(&c, "POST /within HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    timer_repeat(t.timer, 5);
    RUN_UNTIL(seen.bodies == 1);
    timer_free(t.timer);
    assert_int_equal(seen.body_why, RC_TIMEOUT);
    RUN_UNTIL(c.ended);
    assert_true(peer_has(&c, "408 ") && peer_has(&c, "the body did not come within 100 ms"));
    peer_close(&c);
}

static void test_body_in_time_has_all_the_time_for_its_answer(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /within HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsome");
    RUN_UNTIL(peer_has(&c, "some"));
    run_for(WITHIN_MS + 20);
    peer_send(&c, HELLO);
    RUN_UNTIL(peer_has(&c, "hello"));
    peer_close(&c);
}

static void test_stalled_reader_is_cut(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    stream_pause(c.stream);
    peer_send(&c, "GET /zeros?30000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    RUN_UNTIL(seen.closed_cut == 1);
    assert_int_equal(seen.closed_complete, 0);
    peer_close(&c);
}

/* Slow, but never without progress for long: the whole answer must arrive. */
static void test_slow_reader_is_served(void **state)
{
    static const char request[] = "GET /zeros?30000000 HTTP/1.1\r\nHost: h\r\n\r\n";
    static char part[64 * 1024];
    size_t got = 0;
    ssize_t n = 1;
    int fd;

    (void)state;
    http_server_close(server);
    open_server((struct http_server_conf){.stall_timeout_ms = 300});
    fd = raw_connect(port);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    while (got < 30000000 && n != 0) {
        run_for(2);
        n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
        got += (size_t)MAX(n, 0);
    }
    assert_true(got >= 30000000);
    RUN_UNTIL(seen.closed_complete == 1);
    close(fd);
}

/* Wherever the kernel's buffers end, the end of the answer is noticed. */
static void test_end_of_any_answer_is_noticed(void **state)
{
    (void)state;
    for (int n = 2000 * 1000; n < 8000 * 1000; n += 100 * 1000) {
        char *head = xasprintf("GET /zeros?%d HTTP/1.1\r\nHost: h\r\n\r\n", n);
        int before = seen.closed_complete, fd = raw_connect(port), turns = 0;
        static char part[8 << 20];

        assert_int_equal(write(fd, head, strlen(head)), strlen(head));
        run_for(2);
        while (seen.closed_complete == before) {
            assert_true(++turns < 5000);
            (void)!recv(fd, part, sizeof(part), MSG_DONTWAIT);
            run_for(1);
        }
        close(fd);
        free(head);
    }
}

static void test_handler_may_take_its_time(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    run_for(200); /* beyond every limit on the peer, who owes nothing */
    assert_non_null(seen.held);
    http_answer(seen.held, 200, NULL, SLICE_LIT("at last"));
    RUN_UNTIL(peer_has(&c, "at last"));
    peer_close(&c);
}

/* --- bodies --- */

static void test_body_of_many_megabytes(void **state)
{
    const size_t n = 9 << 20;
    struct blob *b = blob_new(n);
    struct peer c;
    char *head = xasprintf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        blob_bytes(b)[i] = (uint8_t)(i * 7 + (i >> 12));
    peer_connect(&c, port);
    peer_send(&c, head);
    stream_write_blob(c.stream, b, 0, n);
    RUN_UNTIL(c.in.n > n);
    RUN_UNTIL(seen.closed_complete == 1);
    assert_true(slice_eq(slice_skip(buf_slice(&c.in), c.in.n - n), blob_slice(b)));
    blob_unref(&b);
    free(head);
    peer_close(&c);
    assert_int_equal(blob_total_bytes(), 0);
}

static void test_continue_is_said_when_the_body_is_wanted(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                  "Content-Length: 4\r\n\r\n");
    RUN_UNTIL(peer_has(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_false(peer_has(&c, "200"));
    peer_send(&c, "body");
    RUN_UNTIL(peer_has(&c, "\r\n\r\nbody"));
    peer_close(&c);

    peer_connect(&c, port); /* refused: no "go on", and no second request after it */
    peer_send(&c, "POST /small HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                  "Content-Length: 11\r\n\r\n");
    RUN_UNTIL(c.ended);
    assert_true(peer_has(&c, "413 "));
    assert_false(peer_has(&c, "100 Continue"));
    peer_close(&c);
}

static void test_paused_body_holds_the_peer_back(void **state)
{
    const size_t n = 30 << 20;
    struct blob *b = blob_new(n);
    struct peer c;
    char *head = xasprintf("POST /pause HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);

    (void)state;
    memset(blob_bytes(b), 'b', n);
    peer_connect(&c, port);
    peer_send(&c, head);
    stream_write_blob(c.stream, b, 0, n);
    RUN_UNTIL(seen.held);
    run_for(50);
    assert_true(stream_queued(c.stream) > n / 2); /* what left sits in the kernel's buffers */
    assert_int_equal(seen.body_bytes, 0);
    assert_true(seen.held->held.n <= 4 * STREAM_READ_MAX);
    http_body_resume(seen.held);
    RUN_UNTIL(seen.bodies == 1);
    assert_int_equal(seen.body_bytes, n);
    http_answer(seen.held, 200, NULL, SLICE_LIT("thanks"));
    RUN_UNTIL(peer_has(&c, "thanks"));
    blob_unref(&b);
    free(head);
    peer_close(&c);
}

static void test_unread_long_body_ends_the_connection_cleanly(void **state)
{
    const size_t n = 30 << 20;
    struct blob *b = blob_new(n);
    struct peer c;
    char *head = xasprintf("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);

    (void)state;
    memset(blob_bytes(b), 'b', n);
    peer_connect(&c, port);
    peer_send(&c, head);
    stream_write_blob(c.stream, b, 0, n);
    RUN_UNTIL(c.ended);
    assert_true(peer_has(&c, "Connection: close") && peer_has(&c, "hello"));
    assert_int_equal(c.why, RC_OK);
    blob_unref(&b);
    free(head);
    peer_close(&c);
}

static void test_peer_leaves_in_its_body(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    RUN_UNTIL(seen.requests == 1);
    stream_close_when_sent(c.stream);
    c.stream = NULL;
    RUN_UNTIL(seen.bodies == 1 && seen.closed_complete + seen.closed_cut == 1);
    assert_int_equal(seen.body_why, RC_CLOSED);
    peer_close(&c);
}

static void test_broken_chunks_reach_the_handler(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\nnot hex\r\n");
    RUN_UNTIL(c.ended);
    assert_int_equal(seen.body_why, RC_BAD_INPUT);
    assert_true(peer_has(&c, "400 "));
    peer_close(&c);
}

static void test_streamed_echo_of_many_megabytes(void **state)
{
    struct blob *b = blob_new(1 << 20);
    struct peer c;
    const size_t n = 20;

    (void)state;
    memset(blob_bytes(b), 'e', b->n);
    peer_connect(&c, port);
    peer_send(&c, "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < n; i++) {
        peer_send(&c, "100000\r\n");
        stream_write_blob(c.stream, b, 0, b->n);
        peer_send(&c, "\r\n");
    }
    peer_send(&c, "0\r\n\r\n");
    RUN_UNTIL(seen.closed_complete == 1);
    assert_int_equal(seen.body_bytes, n << 20);
    assert_true(seen.sent_calls > 0);
    RUN_UNTIL(c.in.n > n << 20);
    blob_unref(&b);
    peer_close(&c);
}

/* --- the answer --- */

static struct http_exchange *held_exchange(struct peer *c, const char *head)
{
    peer_connect(c, port);
    peer_send(c, head);
    RUN_UNTIL(seen.held);
    return seen.held;
}

static const char LATER[] = "GET /later HTTP/1.1\r\nHost: h\r\n\r\n";

static void test_answer_in_two_phases(void **state)
{
    struct peer c;
    struct http_exchange *x = held_exchange(&c, LATER);

    (void)state;
    http_set_header(x, "X-First", "1");
    http_start(x, 202, "text/plain", -1);
    RUN_UNTIL(peer_has(&c, "202 Accepted") && peer_has(&c, "\r\n\r\n"));
    http_write(x, SLICE_LIT("part one"));
    http_write(x, (struct slice){0});
    RUN_UNTIL(peer_has(&c, "part one"));
    assert_int_equal(http_unsent(x), 0);
    http_write(x, SLICE_LIT("part two"));
    assert_true(http_unsent(x) > 0);
    http_trailer(x, "X-Check", "sum");
    http_finish(x);
    RUN_UNTIL(peer_has(&c, "\r\n0\r\nX-Check: sum\r\n\r\n"));
    RUN_UNTIL(seen.closed_complete == 1);
    peer_send(&c, HELLO);
    RUN_UNTIL(peer_has(&c, "hello"));
    peer_close(&c);
}

static void test_header_values_cannot_break_lines(void **state)
{
    struct peer c;
    struct http_exchange *x = held_exchange(&c, LATER);

    (void)state;
    http_set_header(x, "X-Name", "a\r\nSet-Cookie: evil=1\r\n\r\n<b>");
    http_answer(x, 200, "text/plain", SLICE_LIT("done"));
    RUN_UNTIL(peer_has(&c, "done"));
    assert_false(peer_has(&c, "\r\nSet-Cookie"));
    peer_close(&c);
}

static void test_abort_shows(void **state)
{
    struct peer c;
    struct http_exchange *x = held_exchange(&c, "GET /later HTTP/1.0\r\n\r\n");

    (void)state;
    http_start(x, 200, NULL, -1);
    http_write(x, SLICE_LIT("the first half"));
    RUN_UNTIL(peer_has(&c, "the first half"));
    http_abort(x);
    RUN_UNTIL(c.ended);
    assert_int_equal(c.why, RC_CLOSED); /* HTTP/1.0: only a reset tells it from a good end */
    assert_int_equal(seen.closed_cut, 1);
    peer_close(&c);
}

static void test_wrong_content_length_is_our_bug(void **state)
{
    struct peer c;
    struct http_exchange *x = held_exchange(&c, LATER);

    (void)state;
    http_start(x, 200, NULL, 10);
    http_write(x, SLICE_LIT("12345"));
    http_finish(x);
    RUN_UNTIL(c.ended);
    assert_int_equal(seen.bug_lines, 1);
    assert_int_equal(seen.closed_cut, 1);
    peer_close(&c);
    x = held_exchange(&c, LATER);
    http_start(x, 200, NULL, 3);
    http_write(x, SLICE_LIT("12345"));
    http_finish(x);
    RUN_UNTIL(peer_has(&c, "\r\n\r\n123"));
    assert_int_equal(seen.bug_lines, 2);
    peer_send(&c, HELLO);
    RUN_UNTIL(peer_has(&c, "123HTTP/1.1 200 OK"));
    peer_close(&c);
    seen.bug_lines = 0;
}

static void test_peer_leaves_while_we_think(void **state)
{
    struct peer c;

    (void)state;
    held_exchange(&c, LATER);
    peer_close(&c);
    RUN_UNTIL(seen.closed_cut == 1);
    assert_null(seen.held);
}

static void test_half_closed_peer_gets_its_answer(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
    stream_close_when_sent(c.stream); /* sends an end of file, reads on */
    c.stream = NULL;
    RUN_UNTIL(seen.closed_complete == 1);
    peer_close(&c);
}

static void test_pipelined_requests_wait_their_turn(void **state)
{
    struct peer c;
    struct http_exchange *x = held_exchange(&c, "GET /later?1 HTTP/1.1\r\nHost: h\r\n\r\n"
                                                "GET /later?2 HTTP/1.1\r\nHost: h\r\n\r\n");

    (void)state;
    run_for(5);
    assert_int_equal(seen.requests, 1);
    seen.held = NULL;
    http_answer(x, 200, NULL, SLICE_LIT("first"));
    RUN_UNTIL(seen.held);
    assert_string_equal(seen.query, "2");
    http_answer(seen.held, 200, NULL, SLICE_LIT("second"));
    RUN_UNTIL(peer_has(&c, "second"));
    peer_close(&c);
}

static void test_pipelined_flood_is_held_back(void **state)
{
    struct peer c;
    struct http_exchange *x;

    (void)state;
    x = held_exchange(&c, LATER);
    for (int i = 0; i < 300 * 1000; i++)
        stream_write(c.stream, SLICE_LIT("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
    run_for(50);
    assert_true(stream_queued(c.stream) > 1 << 20);
    seen.held = NULL;
    http_answer(x, 200, NULL, SLICE_LIT("first"));
    RUN_UNTIL(seen.requests > 1000);
    peer_close(&c);
}

/* --- ending from inside, at every place --- */

enum where { IN_HANDLER, IN_BYTES, IN_BODY_END, IN_SENT, IN_CLOSED, WHERES };
enum what { CLOSE_SERVER, ABORT, DRAIN, WHATS };

static struct {
    enum where where;
    enum what what;
    bool done;
} saboteur;

static void sabotage(struct http_exchange *x, enum where where)
{
    if (where != saboteur.where || saboteur.done)
        return;
    saboteur.done = true;
    if (saboteur.what == CLOSE_SERVER) {
        http_server_close(server);
        server = NULL;
    } else if (saboteur.what == DRAIN)
        http_server_drain(server, NULL, NULL);
    else if (where != IN_CLOSED)
        http_abort(x);
}

static void sabotage_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    (void)arg;
    http_write(x, bytes);
    sabotage(x, IN_BYTES);
}

static void sabotage_end(struct http_exchange *x, const struct err *why, void *arg)
{
    (void)arg, (void)why;
    sabotage(x, IN_BODY_END);
    if (saboteur.where != IN_SENT) /* which is for answers that go on */
        http_finish(x);
}

static void sabotage_sent(struct http_exchange *x, void *arg)
{
    (void)arg;
    sabotage(x, IN_SENT);
}

static void sabotage_closed(struct http_exchange *x, bool complete, void *arg)
{
    (void)arg, (void)complete;
    sabotage(x, IN_CLOSED);
}

static void sabotage_request(struct http_exchange *x, void *arg)
{
    static const struct http_body_events events = {sabotage_bytes, sabotage_end};

    (void)arg;
    seen.requests++;
    http_on_closed(x, sabotage_closed, NULL);
    http_on_sent(x, sabotage_sent, NULL);
    http_start(x, 200, NULL, -1);
    http_stream_body(x, SIZE_MAX, &events, NULL);
    sabotage(x, IN_HANDLER);
}

static void test_everything_may_end_inside_any_callback(void **state)
{
    (void)state;
    for (enum where where = 0; where < WHERES; where++) {
        for (enum what what = 0; what < WHATS; what++) {
            struct peer c[3];

            http_server_close(server);
            open_server((struct http_server_conf){.on_request = sabotage_request});
            memset(&saboteur, 0, sizeof(saboteur));
            saboteur.where = where;
            saboteur.what = what;
            for (int i = 0; i < 3; i++)
                peer_connect(&c[i], port);
            for (int i = 0; i < 3; i++) {
                peer_send(&c[i], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
                peer_send(&c[i], "abcGET / HTTP/1.1\r\nHost: h\r\n\r\n");
            }
            RUN_UNTIL(saboteur.done);
            run_for(5);
            for (int i = 0; i < 3; i++)
                peer_close(&c[i]);
        }
    }
}

static bool drained;

static void on_drained_(void *arg)
{
    (void)arg;
    drained = true;
}

static void test_drain_waits_for_what_runs(void **state)
{
    struct peer busy, idle, fresh, late;

    (void)state;
    drained = false;
    held_exchange(&busy, LATER);
    peer_connect(&idle, port);
    peer_send(&idle, HELLO);
    peer_connect(&fresh, port);
    RUN_UNTIL(peer_has(&idle, "hello"));
    run_for(5);
    http_server_drain(server, on_drained_, NULL);
    assert_false(drained);
    RUN_UNTIL(idle.ended && fresh.ended);
    peer_connect_with(&late, (struct connect_conf){.host = "127.0.0.1", .port = port});
    RUN_UNTIL(late.failed);
    run_for(5);
    assert_false(drained);
    http_answer(seen.held, 200, NULL, SLICE_LIT("the last"));
    RUN_UNTIL(drained && busy.ended);
    assert_true(peer_has(&busy, "Connection: close") && peer_has(&busy, "the last"));
    peer_close(&busy);
    peer_close(&idle);
    peer_close(&fresh);
}

static void test_drain_of_an_empty_server(void **state)
{
    (void)state;
    drained = false;
    http_server_drain(server, on_drained_, NULL);
    assert_false(drained); /* never inside the call */
    RUN_UNTIL(drained);
}

/* Cuts the connection after each byte of a request, in turn. */
static void test_cut_after_every_byte(void **state)
{
    static const char request[] = "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked"
                                  "\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    (void)state;
    for (size_t n = 0; n < sizeof(request); n++) {
        struct peer c;

        peer_connect(&c, port);
        stream_write(c.stream, slice_of(request, n));
        stream_close_when_sent(c.stream);
        c.stream = NULL;
        buf_cleanup(&c.in);
    }
    RUN_UNTIL(listener_connections(http_server_listener(server)) == 0);
    assert_true(seen.closed_complete >= 1);
    assert_int_equal(seen.closed_complete + seen.closed_cut, seen.requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_conversations),
        WITH_SERVER(test_conversations_in_drops),
        WITH_SERVER(test_request_is_taken_apart),
        WITH_SERVER(test_large_heads_are_refused),
        WITH_SERVER(test_largest_head_passes),
        WITH_HASTY(test_slow_head_gets_408),
        WITH_HASTY(test_silent_and_idle_connections_are_closed),
        WITH_HASTY(test_stalled_body_is_given_up),
        WITH_HASTY(test_body_that_trickles_is_given_up),
        WITH_SERVER(test_body_in_time_has_all_the_time_for_its_answer),
        WITH_HASTY(test_stalled_reader_is_cut),
        WITH_SERVER(test_slow_reader_is_served),
        WITH_SERVER(test_end_of_any_answer_is_noticed),
        WITH_HASTY(test_handler_may_take_its_time),
        WITH_SERVER(test_body_of_many_megabytes),
        WITH_SERVER(test_continue_is_said_when_the_body_is_wanted),
        WITH_SERVER(test_paused_body_holds_the_peer_back),
        WITH_SERVER(test_unread_long_body_ends_the_connection_cleanly),
        WITH_SERVER(test_peer_leaves_in_its_body),
        WITH_SERVER(test_broken_chunks_reach_the_handler),
        WITH_SERVER(test_streamed_echo_of_many_megabytes),
        WITH_SERVER(test_answer_in_two_phases),
        WITH_SERVER(test_header_values_cannot_break_lines),
        WITH_SERVER(test_abort_shows),
        WITH_SERVER(test_wrong_content_length_is_our_bug),
        WITH_SERVER(test_peer_leaves_while_we_think),
        WITH_SERVER(test_half_closed_peer_gets_its_answer),
        WITH_SERVER(test_pipelined_requests_wait_their_turn),
        WITH_SERVER(test_pipelined_flood_is_held_back),
        WITH_SERVER(test_everything_may_end_inside_any_callback),
        WITH_SERVER(test_drain_waits_for_what_runs),
        WITH_SERVER(test_drain_of_an_empty_server),
        WITH_SERVER(test_cut_after_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
