/* HTTP/2 and gRPC, server side: a client of nghttp2, recorded clients, and frames by hand. */
#include "http_server_test.h"

#include <nghttp2/nghttp2.h>

/* --- a client --- */

enum { MAX_CALLS = 300 };

struct call {
    int32_t id;
    int status;
    bool closed;
    uint32_t code;
    struct buf body, headers; /* "name: value\n" for each, trailers after them */
    struct slice up;          /* what is still to be sent */
    bool stay_open;           /* no END_STREAM behind it */
};

static struct client {
    struct peer peer;
    nghttp2_session *session;
    struct call calls[MAX_CALLS];
    int n_calls;
    bool goaway;
    uint32_t goaway_code;
    int pings; /* answered by nghttp2 */
} client;

static struct call *call_of(int32_t id)
{
    for (int i = 0; i < client.n_calls; i++)
        if (client.calls[i].id == id)
            return &client.calls[i];
    return NULL;
}

static void client_flush(void)
{
    const uint8_t *p;
    ssize_t n;

    while (client.peer.stream && (n = nghttp2_session_mem_send(client.session, &p)) > 0)
        stream_write(client.peer.stream, slice_of(p, (size_t)n));
}

static void client_on_data(struct slice bytes, void *arg)
{
    (void)arg;
    assert_int_equal(nghttp2_session_mem_recv(client.session, bytes.p, bytes.n), bytes.n);
    client_flush();
}

static int client_on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name,
                            size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                            void *arg)
{
    struct call *c = call_of(f->hd.stream_id);

    (void)s, (void)flags, (void)arg;
    if (slice_eq_str(slice_of(name, name_n), ":status"))
        c->status = atoi((const char *)value);
    buf_printf(&c->headers, "%.*s: %.*s\n", (int)name_n, name, (int)value_n, value);
    return 0;
}

static int client_on_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p,
                           size_t n, void *arg)
{
    (void)s, (void)flags, (void)arg;
    buf_add(&call_of(id)->body, p, n);
    return 0;
}

static int client_on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    struct call *c = call_of(id);

    (void)s, (void)arg;
    c->closed = true;
    c->code = code;
    return 0;
}

static int client_on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    (void)s, (void)arg;
    client.pings += f->hd.type == NGHTTP2_PING && !(f->hd.flags & NGHTTP2_FLAG_ACK);
    if (f->hd.type == NGHTTP2_GOAWAY) {
        client.goaway = true;
        client.goaway_code = f->goaway.error_code;
    }
    return 0;
}

static void client_open_with(uint32_t window)
{
    static const struct stream_events events = {client_on_data, NULL, peer_on_end};
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;

    memset(&client, 0, sizeof(client));
    peer_connect(&client.peer, port);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, client_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, client_on_frame);
    nghttp2_option_new(&opt);
    nghttp2_option_set_max_send_header_block_length(opt, 1 << 20);
    nghttp2_session_client_new2(&client.session, cb, NULL, opt);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(client.session, 0, settings, ARRAY_LEN(settings));
    if (window > 65535)
        nghttp2_session_set_local_window_size(client.session, 0, 0, 1 << 28);
    stream_set_events(client.peer.stream, &events, &client.peer);
    client_flush();
}

static void client_open(void)
{
    client_open_with(1 << 24);
}

static void client_close(void)
{
    peer_close(&client.peer);
    nghttp2_session_del(client.session);
    for (int i = 0; i < client.n_calls; i++) {
        buf_cleanup(&client.calls[i].body);
        buf_cleanup(&client.calls[i].headers);
    }
}

static ssize_t client_read(nghttp2_session *s, int32_t id, uint8_t *out, size_t max,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct call *c = source->ptr;
    size_t n = MIN(max, c->up.n);

    (void)s, (void)id, (void)arg;
    if (!n && c->stay_open)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(out, c->up.p, n);
    c->up = slice_skip(c->up, n);
    if (!c->up.n && !c->stay_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

/* up.p NULL: no body. More headers: pairs of name and value. */
static struct call *call_with(const char *method, const char *path, struct slice up, bool stay_open,
                              const char *const *more)
{
    struct call *c = &client.calls[client.n_calls++];
    nghttp2_data_provider data = {{.ptr = c}, client_read};
    nghttp2_nv headers[80] = {nv(":method", method), nv(":path", path), nv(":scheme", "http"),
                              nv(":authority", "me.example")};
    size_t n = 4;

    for (; more && more[0]; more += 2)
        headers[n++] = nv(more[0], more[1]);
    buf_init(&c->body, 1 << 28);
    buf_init(&c->headers, 1 << 20);
    c->up = up;
    c->stay_open = stay_open;
    c->id = nghttp2_submit_request(client.session, NULL, headers, n, up.p ? &data : NULL, NULL);
    assert_true(c->id > 0);
    client_flush();
    return c;
}

static struct call *call(const char *method, const char *path, struct slice up)
{
    return call_with(method, path, up, false, NULL);
}

static bool has(struct call *c, const char *header)
{
    return strstr(buf_cstr(&c->headers), header) != NULL;
}

static const struct slice NONE = {0};

/* --- requests --- */

static void test_simple_requests(void **state)
{
    struct call *c;

    (void)state;
    client_open();
    c = call("GET", "/hello?a=b", NONE);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    assert_true(slice_eq_str(buf_slice(&c->body), "hello"));
    assert_true(has(c, "content-length: 5\n") && has(c, "content-type: text/plain\n"));
    assert_int_equal(c->code, 0);
    assert_int_equal(seen.version, 2);
    assert_string_equal(seen.path, "/hello");
    assert_string_equal(seen.query, "a=b");
    assert_string_equal(seen.authority, "me.example");
    c = call("HEAD", "/hello", NONE);
    RUN_UNTIL(c->closed);
    assert_true(has(c, "content-length: 5\n") && c->body.n == 0);
    c = call("GET", "/nothing", NONE);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 204);
    c = call("POST", "/echo", SLICE_LIT("small body"));
    RUN_UNTIL(c->closed);
    assert_true(slice_eq_str(buf_slice(&c->body), "small body"));
    RUN_UNTIL(seen.closed_complete == 4);
    assert_int_equal(seen.closed_cut, 0);
    client_close();
}

static void test_many_megabytes_both_ways(void **state)
{
    struct blob *b = blob_new(9 << 20);
    struct call *echo, *stream;

    (void)state;
    for (size_t i = 0; i < b->n; i++)
        blob_bytes(b)[i] = (uint8_t)(i * 13 + (i >> 11));
    client_open();
    echo = call("POST", "/echo", blob_slice(b));
    stream = call("POST", "/stream", blob_slice(b));
    RUN_UNTIL(echo->closed && stream->closed);
    assert_true(slice_eq(buf_slice(&echo->body), blob_slice(b)));
    assert_true(slice_eq(buf_slice(&stream->body), blob_slice(b)));
    RUN_UNTIL(seen.closed_complete == 2);
    blob_unref(&b);
    client_close();
    assert_int_equal(blob_total_bytes(), 0);
}

static void test_many_at_once(void **state)
{
    struct call *calls[200];

    (void)state;
    client_open();
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        calls[i] = call("POST", i % 2 ? "/echo" : "/zeros?50000", SLICE_LIT("x"));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        RUN_UNTIL(calls[i]->closed);
        assert_int_equal(calls[i]->status, 200);
        assert_int_equal(calls[i]->body.n, i % 2 ? 1 : 50000);
    }
    RUN_UNTIL(seen.closed_complete == ARRAY_LEN(calls));
    client_close();
}

static void test_streams_above_the_limit_wait(void **state)
{
    struct call *last = NULL;

    (void)state;
    client_open();
    RUN_UNTIL(nghttp2_session_get_remote_settings(client.session,
                                                  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 250);
    assert_int_equal(
        nghttp2_session_get_remote_settings(client.session, NGHTTP2_SETTINGS_MAX_FRAME_SIZE),
        1048576);
    assert_int_equal(
        nghttp2_session_get_remote_settings(client.session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE),
        1048576);
    for (int i = 0; i < 260; i++)
        last = call("GET", "/later", NONE);
    RUN_UNTIL(seen.requests == 250);
    run_for(20);
    assert_int_equal(seen.requests, 250);
    assert_false(last->closed);
    client_close();
    RUN_UNTIL(seen.closed_cut == 250);
}

static void test_answer_in_two_phases(void **state)
{
    struct call *c;

    (void)state;
    client_open();
    c = call("GET", "/later", NONE);
    RUN_UNTIL(seen.held);
    http_set_header(seen.held, "X-First", "1");
    http_set_header(seen.held, "Connection", "close"); /* has no place in HTTP/2 */
    http_start(seen.held, 202, NULL, -1);
    RUN_UNTIL(c->status == 202);
    assert_true(has(c, "x-first: 1\n"));
    assert_false(has(c, "connection"));
    http_write(seen.held, SLICE_LIT("one "));
    RUN_UNTIL(c->body.n == 4);
    http_write(seen.held, SLICE_LIT("two"));
    http_trailer(seen.held, "X-Sum", "7");
    http_finish(seen.held);
    RUN_UNTIL(c->closed);
    assert_true(slice_eq_str(buf_slice(&c->body), "one two"));
    assert_true(has(c, "x-sum: 7\n"));
    client_close();
}

static void test_body_over_the_limit(void **state)
{
    struct call *told, *untold;
    static uint8_t zeros[100 * 1000];

    (void)state;
    client_open();
    told = call_with("POST", "/small", slice_of(zeros, 11), false,
                     (const char *const[]){"content-length", "11", NULL});
    RUN_UNTIL(told->closed);
    untold = call("POST", "/small", slice_of(zeros, sizeof(zeros)));
    RUN_UNTIL(untold->closed);
    assert_int_equal(told->status, 413);
    assert_int_equal(untold->status, 413);
    assert_int_equal(seen.body_why, RC_LIMIT);
    client_close();
}

static void test_continue(void **state)
{
    struct call *c;

    (void)state;
    client_open();
    c = call_with("POST", "/echo", SLICE_LIT("x"), true,
                  (const char *const[]){"expect", "100-continue", NULL});
    RUN_UNTIL(c->status == 100 || seen.requests);
    c->stay_open = false;
    nghttp2_session_resume_data(client.session, c->id);
    client_flush();
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    client_close();
}

/* --- back-pressure --- */

static void test_paused_body_closes_the_window(void **state)
{
    struct blob *b = blob_new(5 << 20);
    struct call *paused, *other;

    (void)state;
    memset(blob_bytes(b), 'p', b->n);
    client_open();
    paused = call("POST", "/pause", blob_slice(b));
    RUN_UNTIL(seen.held && paused->up.n <= b->n - (1 << 20));
    run_for(20);
    assert_int_equal(paused->up.n, b->n - (1 << 20)); /* one window, not a byte more */
    assert_int_equal(seen.body_bytes, 0);
    other = call("POST", "/echo", slice_of(b->p, 2 << 20)); /* others go on */
    RUN_UNTIL(other->closed);
    assert_int_equal(other->body.n, 2 << 20);
    seen.body_bytes = 0;
    http_body_resume(seen.held);
    RUN_UNTIL(seen.bodies == 2);
    assert_int_equal(seen.body_bytes, b->n);
    http_answer(seen.held, 200, NULL, SLICE_LIT("thanks"));
    RUN_UNTIL(paused->closed);
    blob_unref(&b);
    client_close();
}

/* Paused bodies may take the window of the whole connection: who waits for it is not late. */
static void test_wait_for_the_connections_window_is_no_stall(void **state)
{
    struct blob *b = blob_new(2 << 20);
    struct call *paused[4], *waits;

    (void)state;
    memset(blob_bytes(b), 'w', b->n);
    client_open();
    for (int i = 0; i < 4; i++)
        paused[i] = call("POST", "/pause", blob_slice(b));
    for (int i = 0; i < 4; i++)
        RUN_UNTIL(paused[i]->up.n == 1 << 20);
    waits = call("POST", "/echo", slice_of(b->p, 1000));
    run_for(200);
    assert_int_equal(waits->up.n, 1000);
    assert_int_equal(seen.bodies, 0); /* no RC_TIMEOUT either */
    for (int i = 0; i < 4; i++)
        nghttp2_submit_rst_stream(client.session, 0, paused[i]->id, NGHTTP2_CANCEL);
    client_flush();
    RUN_UNTIL(waits->closed); /* the window came back with what was never read */
    assert_int_equal(waits->body.n, 1000);
    blob_unref(&b);
    client_close();
}

static void test_body_nobody_reads(void **state)
{
    struct blob *b = blob_new(5 << 20);
    struct call *c;

    (void)state;
    memset(blob_bytes(b), 'u', b->n);
    client_open();
    c = call("POST", "/hello", blob_slice(b));
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    assert_int_equal(c->code, NGHTTP2_NO_ERROR);
    assert_true(slice_eq_str(buf_slice(&c->body), "hello"));
    assert_true(c->up.n > 0);      /* it was told to stop */
    for (int i = 0; i < 10; i++) { /* and the connection's window is not eaten up */
        c = call("POST", "/hello", blob_slice(b));
        RUN_UNTIL(c->closed);
    }
    blob_unref(&b);
    client_close();
}

/* A client that opens no window gets no more than it allowed, and is given up. */
static void test_closed_window_stalls_only_its_stream(void **state)
{
    struct call *stuck, *fine;

    (void)state;
    client_open_with(0);
    stuck = call("GET", "/zeros?100000", NONE);
    fine = call("GET", "/nothing", NONE);
    RUN_UNTIL(fine->closed);
    RUN_UNTIL(stuck->closed);
    assert_int_equal(stuck->body.n, 0);
    assert_int_equal(stuck->code, NGHTTP2_INTERNAL_ERROR);
    RUN_UNTIL(seen.closed_cut == 1);
    assert_false(client.peer.ended);
    client_close();
}

static void test_reader_that_stops_is_cut(void **state)
{
    (void)state;
    client_open_with(1 << 28);
    RUN_UNTIL(nghttp2_session_get_remote_settings(client.session,
                                                  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 250);
    stream_pause(client.peer.stream);
    call("GET", "/zeros?40000000", NONE);
    RUN_UNTIL(seen.closed_cut == 1);
    client_close();
}

/* --- is the peer there? --- */

enum { WATCH_MS = 20 };

static struct {
    int changes;
    bool silent;
} watched;

static void on_watched(struct http_exchange *x, bool silent, void *arg)
{
    (void)arg;
    assert_ptr_equal(x, seen.held);
    watched.changes++;
    watched.silent = silent;
}

static struct call *call_watched(void)
{
    struct call *c;

    memset(&watched, 0, sizeof(watched));
    client_open();
    c = call("GET", "/later", NONE);
    RUN_UNTIL(seen.held);
    http_watch(seen.held, WATCH_MS, on_watched, NULL);
    return c;
}

static void test_silent_peer_is_told_and_told_to_be_back(void **state)
{
    struct call *c = call_watched();
    int pings;

    (void)state;
    RUN_UNTIL(client.pings >= 3);
    assert_int_equal(watched.changes, 0);
    stream_pause(client.peer.stream);
    RUN_UNTIL(watched.changes == 1);
    assert_true(watched.silent);
    pings = client.pings;
    run_for(4 * WATCH_MS);
    assert_int_equal(watched.changes, 1); /* once */
    stream_resume(client.peer.stream);
    RUN_UNTIL(watched.changes == 2);
    assert_false(watched.silent);
    assert_int_equal(client.pings, pings + 1); /* none was sent to the silent one */
    http_answer(seen.held, 200, NULL, SLICE_LIT("late"));
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    client_close();
}

/* Fault: after a pause of our own everybody else seems silent. */
static void test_our_own_pause_is_nobodys_silence(void **state)
{
    (void)state;
    (void)call_watched();
    RUN_UNTIL(client.pings == 1);
    usleep(5 * WATCH_MS * 1000);
    RUN_UNTIL(client.pings == 3);
    assert_int_equal(watched.changes, 0);
    client_close();
}

/* --- heads --- */

static void test_large_heads_are_refused(void **state)
{
    static char value[60000], path[9000];
    const char *many[132] = {NULL};
    struct call *c;

    (void)state;
    for (size_t i = 0; i < 65; i++) {
        many[2 * i] = "x-field";
        many[2 * i + 1] = "v";
    }
    many[2 * 64] = NULL;
    memset(value, 'v', sizeof(value) - 1);
    memset(path, '/', sizeof(path) - 1);
    client_open();
    c = call_with("GET", "/hello", NONE, false, many);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200); /* 64 are allowed */
    many[2 * 64] = "x-field";
    c = call_with("GET", "/hello", NONE, false, many);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 431);
    c = call_with("GET", path, NONE, false, NULL);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 414);
    c = call_with("GET", "/hello", NONE, false,
                  (const char *const[]){"a", value, "b", value, NULL});
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 431);
    c = call("GET", "/hello", NONE);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    assert_int_equal(seen.requests, 2);
    client_close();
}

/* --- frames by hand --- */

static void add_frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t stream,
                      struct slice payload)
{
    buf_be24(b, (uint32_t)payload.n);
    buf_u8(b, type);
    buf_u8(b, flags);
    buf_be32(b, stream);
    buf_add_slice(b, payload);
}

static void begin_frames(struct buf *b)
{
    buf_init(b, 1 << 26);
    buf_str(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    add_frame(b, NGHTTP2_SETTINGS, 0, 0, NONE);
}

/* GET / of "h", the rest from the static table. */
static const struct slice GET = {(const uint8_t *)"\x82\x86\x84\x41\x01h", 6};

static uint8_t last_frame_type(struct slice in)
{
    uint8_t type = 0xff;

    while (in.n >= 9) {
        type = in.p[3];
        in = slice_skip(in, 9 + ((size_t)in.p[0] << 16 | (size_t)in.p[1] << 8 | in.p[2]));
    }
    assert_int_equal(in.n, 0);
    return type;
}

static void expect_goaway(struct buf *b)
{
    struct peer c;

    peer_connect(&c, port);
    stream_write(c.stream, buf_slice(b));
    buf_cleanup(b);
    RUN_UNTIL(c.ended);
    assert_int_equal(last_frame_type(buf_slice(&c.in)), NGHTTP2_GOAWAY);
    peer_close(&c);
}

static void flood(uint8_t type, uint8_t flags, uint32_t stream, struct slice payload, int times)
{
    struct buf b;

    begin_frames(&b);
    if (stream)
        add_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, GET);
    for (int i = 0; i < times; i++)
        add_frame(&b, type, flags, stream, payload);
    expect_goaway(&b);
}

static void test_floods_end_the_connection(void **state)
{
    static const struct slice eight = {(const uint8_t *)"12345678", 8};
    static const struct slice five = {(const uint8_t *)"\0\0\0\0\1", 5};

    (void)state;
    flood(NGHTTP2_PING, 0, 0, eight, 2000);
    flood(NGHTTP2_SETTINGS, 0, 0, NONE, 2000);
    flood(NGHTTP2_PRIORITY, 0, 1, five, 2000);
    flood(NGHTTP2_DATA, 0, 1, NONE, 2000);
    assert_true(seen.requests <= 2);
}

static void test_rapid_reset_ends_the_connection(void **state)
{
    static const struct slice cancel = {(const uint8_t *)"\0\0\0\x08", 4};
    struct buf b;

    (void)state;
    begin_frames(&b);
    for (uint32_t i = 0; i < 3000; i++) {
        add_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
                  2 * i + 1, SLICE_LIT("\x82\x86\x41\x01h\x44\x06/later"));
        add_frame(&b, NGHTTP2_RST_STREAM, 0, 2 * i + 1, cancel);
    }
    expect_goaway(&b);
    assert_true(seen.requests > 900 && seen.requests < 1100);
    assert_int_equal(seen.closed_cut, seen.requests);
}

static void test_cancelled_requests_that_were_answered_are_fine(void **state)
{
    (void)state;
    client_open();
    for (int i = 0; i < MAX_CALLS; i++) {
        struct call *c = call("GET", "/hello", NONE);

        RUN_UNTIL(c->closed);
        nghttp2_submit_rst_stream(client.session, 0, c->id, NGHTTP2_CANCEL);
        client_flush();
    }
    run_for(5);
    assert_false(client.goaway);
    client_close();
}

static void test_endless_head_is_cut(void **state)
{
    struct peer c;
    struct buf b;

    (void)state;
    begin_frames(&b);
    add_frame(&b, NGHTTP2_HEADERS, 0, 1, GET);
    for (int i = 0; i < 40000; i++) /* literal "a: bbbbbbbb", never indexed */
        add_frame(&b, NGHTTP2_CONTINUATION, 0, 1,
                  SLICE_LIT("\x10\x01"
                            "a\x08"
                            "bbbbbbbb"));
    peer_connect(&c, port);
    stream_write(c.stream, buf_slice(&b));
    buf_cleanup(&b);
    RUN_UNTIL(c.ended);
    assert_int_equal(seen.requests, 0);
    peer_close(&c);
}

static void test_slow_head_is_cut(void **state)
{
    struct peer c;
    struct buf b;

    (void)state;
    begin_frames(&b);
    add_frame(&b, NGHTTP2_HEADERS, 0, 1, GET);
    peer_connect(&c, port);
    stream_write(c.stream, buf_slice(&b));
    buf_cleanup(&b);
    for (int i = 0; i < 1000 && !c.ended; i++) {
        buf_init(&b, 100);
        add_frame(&b, NGHTTP2_CONTINUATION, 0, 1,
                  SLICE_LIT("\x10\x01"
                            "a\x01"
                            "b"));
        stream_write(c.stream, buf_slice(&b));
        buf_cleanup(&b);
        run_for(5);
    }
    assert_true(c.ended);
    peer_close(&c);
}

static void test_bad_frames_end_the_connection(void **state)
{
    static const struct {
        const char *name;
        uint8_t type, flags;
        uint32_t stream;
        struct slice payload;
    } cases[] = {
        {"data on stream 0", NGHTTP2_DATA, 0, 0, {(const uint8_t *)"x", 1}},
        {"even stream", NGHTTP2_HEADERS, 5, 2, {(const uint8_t *)"\x82\x86\x84", 3}},
        {"bad HPACK", NGHTTP2_HEADERS, 5, 1, {(const uint8_t *)"\xff\xff\xff\xff\xff\x0f", 6}},
        {"short ping", NGHTTP2_PING, 0, 0, {(const uint8_t *)"1234", 4}},
        {"short settings", NGHTTP2_SETTINGS, 0, 0, {(const uint8_t *)"1234", 4}},
        {"zero window", NGHTTP2_WINDOW_UPDATE, 0, 0, {(const uint8_t *)"\0\0\0\0", 4}},
        {"push from a client", NGHTTP2_PUSH_PROMISE, 4, 1, {(const uint8_t *)"\0\0\0\2\x82", 5}},
        {"lone continuation", NGHTTP2_CONTINUATION, 4, 1, {(const uint8_t *)"\x82", 1}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;

        begin_frames(&b);
        add_frame(&b, cases[i].type, cases[i].flags, cases[i].stream, cases[i].payload);
        add_frame(&b, cases[i].type, cases[i].flags, cases[i].stream, cases[i].payload);
        expect_goaway(&b);
    }
    assert_int_equal(seen.requests, 0);
}

static void test_almost_the_preface(void **state)
{
    struct peer c;

    (void)state;
    peer_connect(&c, port);
    peer_drip(&c, SLICE_LIT("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n"));
    RUN_UNTIL(c.ended);
    drip_stop();
    assert_true(peer_has(&c, "400 ") || peer_has(&c, "505 "));
    peer_close(&c);
}

static void test_cut_after_every_byte(void **state)
{
    struct buf b;

    (void)state;
    begin_frames(&b);
    add_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1,
              SLICE_LIT("\x83\x86\x41\x01h\x44\x07/stream"));
    add_frame(&b, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, SLICE_LIT("payload"));
    for (size_t n = 0; n <= b.n; n++) {
        struct peer c;

        peer_connect(&c, port);
        stream_write(c.stream, slice_of(b.p, n));
        stream_close_when_sent(c.stream);
        c.stream = NULL;
        buf_cleanup(&c.in);
    }
    buf_cleanup(&b);
    RUN_UNTIL(listener_connections(http_server_listener(server)) == 0);
    assert_int_equal(seen.closed_complete + seen.closed_cut, seen.requests);
    assert_true(seen.closed_complete >= 1);
}

/* --- the end of a server --- */

static bool drained;

static void on_drained_(void *arg)
{
    (void)arg;
    drained = true;
}

static void test_drain_says_goaway_and_finishes(void **state)
{
    struct call *c;

    (void)state;
    drained = false;
    client_open();
    c = call("GET", "/later", NONE);
    RUN_UNTIL(seen.held);
    http_server_drain(server, on_drained_, NULL);
    RUN_UNTIL(client.goaway);
    run_for(5);
    assert_false(drained);
    http_answer(seen.held, 200, NULL, SLICE_LIT("the last"));
    RUN_UNTIL(c->closed && drained && client.peer.ended);
    assert_true(slice_eq_str(buf_slice(&c->body), "the last"));
    assert_int_equal(client.goaway_code, 0);
    client_close();
}

static void test_abort_resets_the_stream(void **state)
{
    struct call *c;

    (void)state;
    client_open();
    c = call("GET", "/later", NONE);
    RUN_UNTIL(seen.held);
    http_start(seen.held, 200, NULL, -1);
    http_write(seen.held, SLICE_LIT("half"));
    RUN_UNTIL(c->body.n == 4);
    http_write(seen.held, SLICE_LIT("never sent"));
    http_abort(seen.held);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->code, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(seen.closed_cut, 1);
    c = call("GET", "/hello", NONE);
    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    client_close();
}

static void abort_while_full(struct http_exchange *x, void *arg)
{
    (void)arg;
    seen.held = x;
    send_zeros(x);
}

/* The frame of an aborted answer may be half way out, waiting for room in the kernel. */
static void test_abort_behind_a_full_socket(void **state)
{
    struct call *c[3];

    (void)state;
    http_server_close(server);
    open_server((struct http_server_conf){.on_request = abort_while_full});
    client_open_with(1 << 28);
    RUN_UNTIL(nghttp2_session_get_remote_settings(client.session,
                                                  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 250);
    run_for(5);
    stream_pause(client.peer.stream);
    for (int i = 0; i < 3; i++) {
        struct http_exchange *before = seen.held;

        c[i] = call("GET", "/zeros?30000000", NONE);
        RUN_UNTIL(seen.held != before);
    }
    run_for(20);
    http_abort(seen.held);
    run_for(5);
    stream_resume(client.peer.stream);
    RUN_UNTIL(c[0]->closed && c[1]->closed && c[2]->closed);
    assert_int_equal(c[0]->body.n, 30000000);
    assert_int_equal(c[1]->body.n, 30000000);
    assert_int_equal(c[2]->code, NGHTTP2_INTERNAL_ERROR);
    client_close();
}

static void close_the_server(struct http_exchange *x, void *arg)
{
    (void)x, (void)arg;
    seen.requests++;
    http_server_close(server);
    server = NULL;
}

static void test_server_closed_inside_a_handler(void **state)
{
    (void)state;
    http_server_close(server);
    open_server((struct http_server_conf){.on_request = close_the_server});
    client_open();
    for (int i = 0; i < 3; i++)
        call("POST", "/", SLICE_LIT("body"));
    RUN_UNTIL(client.peer.ended);
    assert_int_equal(seen.requests, 1);
    client_close();
}

/* --- gRPC --- */

static const char *const GRPC[] = {"content-type", "application/grpc", "te", "trailers", NULL};

static struct call *grpc(struct slice body)
{
    struct call *c = call_with("POST", "/net.Orchestrator/Ping", body, false, GRPC);

    RUN_UNTIL(c->closed);
    assert_int_equal(c->status, 200);
    assert_true(has(c, "content-type: application/grpc\n"));
    return c;
}

static void test_grpc_messages(void **state)
{
    struct blob *large = blob_new(5 + GRPC_MAX_MESSAGE);
    struct call *c;

    (void)state;
    memset(blob_bytes(large), 0, large->n);
    blob_bytes(large)[2] = GRPC_MAX_MESSAGE >> 16;
    client_open();
    c = grpc(slice_of("\0\0\0\0\3abc", 8));
    assert_true(slice_eq(buf_slice(&c->body), slice_of("\0\0\0\0\3abc", 8)));
    assert_true(has(c, "grpc-status: 0\n"));
    c = grpc(slice_of("\0\0\0\0\0", 5)); /* an empty message is one, too */
    assert_true(slice_eq(buf_slice(&c->body), slice_of("\0\0\0\0\0", 5)));
    c = grpc(blob_slice(large));
    assert_int_equal(c->body.n, large->n);
    assert_true(has(c, "grpc-status: 0\n"));
    blob_unref(&large);
    client_close();
}

static void test_grpc_refusals(void **state)
{
    static const struct {
        struct slice body;
        const char *status;
    } cases[] = {
        {{(const uint8_t *)"\1\0\0\0\3abc", 8}, "grpc-status: 12\n"}, /* compressed */
        {{(const uint8_t *)"\0\0\x40\0\1x", 6}, "grpc-status: 8\n"},  /* too large */
        {{(const uint8_t *)"\0\xff\xff\xff\xffx", 6}, "grpc-status: 8\n"},
        {{(const uint8_t *)"\0\0\0\0\4abc", 8}, "grpc-status: 13\n"}, /* cut */
        {{(const uint8_t *)"\0\0\0\0\2abc", 8}, "grpc-status: 13\n"}, /* one and a bit */
        {{(const uint8_t *)"\2\0\0\0\3abc", 8}, "grpc-status: 13\n"}, /* flag unknown */
        {{(const uint8_t *)"\0\0", 2}, "grpc-status: 13\n"},
    };

    (void)state;
    client_open();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call *c = grpc(cases[i].body);

        if (!has(c, cases[i].status))
            fail_msg("case %zu: %s", i, buf_cstr(&c->headers));
        assert_int_equal(c->body.n, 0);
        assert_true(has(c, "grpc-message: "));
    }
    client_close();
}

static void test_grpc_needs_http2_and_its_type(void **state)
{
    struct call *c;

    (void)state;
    client_open();
    c = call_with("POST", "/echo", SLICE_LIT("x"), false,
                  (const char *const[]){"content-type", "application/json", NULL});
    RUN_UNTIL(c->closed);
    assert_false(has(c, "grpc-status"));
    client_close();
}

static void grpc_stream_handler(struct http_exchange *x, void *arg)
{
    (void)arg;
    note_request(http_request(x));
    http_on_closed(x, on_x_closed, NULL);
    seen.held = x;
}

static void test_grpc_server_stream_and_its_failure(void **state)
{
    struct call *c;

    (void)state;
    http_server_close(server);
    open_server((struct http_server_conf){.on_request = grpc_stream_handler});
    client_open();
    c = call_with("POST", "/net.Transcoder/RegisterTranscoder", slice_of("\0\0\0\0\0", 5), false,
                  GRPC);
    RUN_UNTIL(seen.held);
    grpc_send(seen.held, SLICE_LIT("first"));
    RUN_UNTIL(c->body.n == 10);
    grpc_send(seen.held, SLICE_LIT("second"));
    RUN_UNTIL(c->body.n == 21);
    assert_false(c->closed);
    grpc_fail(seen.held, GRPC_UNKNOWN, "50% of \xc3\xbc\nOK");
    RUN_UNTIL(c->closed);
    assert_true(has(c, "grpc-status: 2\n"));
    assert_true(has(c, "grpc-message: 50%25 of %C3%BC%0AOK\n"));
    RUN_UNTIL(seen.closed_complete == 1);
    client_close();
}

/* --- recorded clients --- */

static struct buf read_file(const char *name)
{
    char *path = xasprintf("tests/vectors/h2/%s", name);
    FILE *f = fopen(path, "rb");
    struct buf b;
    size_t n;

    if (!f)
        fail_msg("no %s below %s", path, getenv("PWD"));
    buf_init(&b, 1 << 20);
    n = fread(buf_reserve(&b, 1 << 16), 1, 1 << 16, f);
    b.n = n;
    fclose(f);
    free(path);
    return b;
}

static bool contains(struct buf *in, const char *bytes, size_t n)
{
    return memmem(in->p, in->n, bytes, n) != NULL;
}

/* What a client says in a conversation has three parts, each after something of ours: the
 * preface and its SETTINGS; from the acknowledgement of our SETTINGS to the end of the call;
 * its GOAWAY. */
enum { OPENING = 24 + 9, GOAWAY = 9 + 33 };

static struct slice main_part(const struct buf *bytes)
{
    bool says_goaway = bytes->n > GOAWAY && bytes->p[bytes->n - GOAWAY + 3] == NGHTTP2_GOAWAY;

    return slice_sub(buf_slice(bytes), OPENING, bytes->n - OPENING - (says_goaway ? GOAWAY : 0));
}

static void replay(const char *name, const char *want_path, bool in_drops)
{
    char *sent = xasprintf("%s.h2.c2s.bin", name), *message = xasprintf("%s.request.pb", name);
    struct buf bytes = read_file(sent), want = read_file(message);
    struct slice answer = slice_of(want.p, want.n), call_bytes = main_part(&bytes);
    struct peer c;

    peer_connect(&c, port);
    seen.closed_complete = 0;
    buf_clear(&seen.message);
    stream_write(c.stream, slice_of(bytes.p, OPENING));
    RUN_UNTIL(c.in.n > 0);
    if (in_drops)
        peer_drip(&c, call_bytes);
    else
        stream_write(c.stream, call_bytes);
    RUN_UNTIL(seen.closed_complete == 1);
    RUN_UNTIL(contains(&c.in, (const char *)answer.p, answer.n)); /* the handler echoes */
    assert_string_equal(seen.path, want_path);
    assert_string_equal(seen.method, "POST");
    assert_true(slice_eq(buf_slice(&seen.message), answer));
    RUN_UNTIL(!drip.left.n);
    assert_false(c.ended);
    stream_write(c.stream, slice_skip(buf_slice(&bytes), OPENING + call_bytes.n));
    if (bytes.n > OPENING + call_bytes.n)
        RUN_UNTIL(c.ended);
    peer_close(&c);
    buf_cleanup(&bytes);
    buf_cleanup(&want);
    free(sent);
    free(message);
}

static void test_recorded_clients(void **state)
{
    static const char *const calls[][2] = {
        {"get-orchestrator", "/net.Orchestrator/GetOrchestrator"},
        {"ping", "/net.Orchestrator/Ping"},
        {"register-transcoder", "/net.Transcoder/RegisterTranscoder"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        replay(calls[i][0], calls[i][1], false);
        replay(calls[i][0], calls[i][1], true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_simple_requests),
        WITH_SERVER(test_many_megabytes_both_ways),
        WITH_SERVER(test_many_at_once),
        WITH_SERVER(test_streams_above_the_limit_wait),
        WITH_SERVER(test_answer_in_two_phases),
        WITH_SERVER(test_body_over_the_limit),
        WITH_SERVER(test_continue),
        WITH_SERVER(test_paused_body_closes_the_window),
        WITH_HASTY(test_wait_for_the_connections_window_is_no_stall),
        WITH_SERVER(test_body_nobody_reads),
        WITH_HASTY(test_closed_window_stalls_only_its_stream),
        WITH_HASTY(test_silent_peer_is_told_and_told_to_be_back),
        WITH_HASTY(test_our_own_pause_is_nobodys_silence),
        WITH_HASTY(test_reader_that_stops_is_cut),
        WITH_SERVER(test_large_heads_are_refused),
        WITH_SERVER(test_floods_end_the_connection),
        WITH_SERVER(test_rapid_reset_ends_the_connection),
        WITH_SERVER(test_cancelled_requests_that_were_answered_are_fine),
        WITH_SERVER(test_endless_head_is_cut),
        WITH_HASTY(test_slow_head_is_cut),
        WITH_SERVER(test_bad_frames_end_the_connection),
        WITH_SERVER(test_almost_the_preface),
        WITH_SERVER(test_cut_after_every_byte),
        WITH_SERVER(test_drain_says_goaway_and_finishes),
        WITH_SERVER(test_abort_resets_the_stream),
        WITH_SERVER(test_abort_behind_a_full_socket),
        WITH_SERVER(test_server_closed_inside_a_handler),
        WITH_SERVER(test_grpc_messages),
        WITH_SERVER(test_grpc_refusals),
        WITH_SERVER(test_grpc_needs_http2_and_its_type),
        WITH_SERVER(test_grpc_server_stream_and_its_failure),
        WITH_SERVER(test_recorded_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
