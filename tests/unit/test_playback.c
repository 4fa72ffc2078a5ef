/* Playlists and segments over real HTTP: types, caching, CORS, ranges, held requests; and ffprobe
 * as a viewer. */
#include "net_test.h"

#include <zlib.h>

#include "media/ts/ts_demux.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/process.h"
#include "output/playback.h"

enum { SECOND = 90000 };

static struct http_server *server;
static struct http_client *client;
static struct playback *playback;
static struct playback_stream *stream;
static int source;

static void on_request(struct http_exchange *x, void *arg)
{
    (void)arg;
    if (!playback_handle(playback, x))
        http_answer(x, 418, "text/plain", SLICE_LIT("not playback's\n"));
}

static void begin(int first_wait_ms)
{
    playback = playback_new(
        loop, &(struct playback_conf){.current_manifest = true, .first_wait_ms = first_wait_ms});
    stream = playback_stream_open(playback, &(struct playback_stream_conf){"demo", 1, 1});
    source = playback_rendition_add(stream, &(struct playback_rendition_conf){"source"});
}

static int setup(void **state)
{
    struct http_server_conf conf = {.listen = {.addr = "127.0.0.1:0"}, .on_request = on_request};

    setup_loop(state);
    begin(1500);
    server = http_server_open(loop, &conf, NULL);
    assert_non_null(server);
    client = http_client_new(loop);
    return 0;
}

static int teardown(void **state)
{
    http_client_free(client);
    playback_free(playback);
    http_server_close(server);
    return teardown_loop(state);
}

static void add_bytes(int r, int64_t msn, int64_t url_seq, struct slice bytes)
{
    struct playback_segment seg = {.msn = msn,
                                   .url_seq = url_seq,
                                   .duration = SECOND,
                                   .wall_ms = 1700000000000 + msn * 1000,
                                   .media = blob_copy(bytes)};

    assert_int_equal(playback_segment_add(stream, r, &seg, NULL), RC_OK);
    blob_unref(&seg.media);
}

static void add(int64_t msn, const char *bytes)
{
    add_bytes(source, msn, msn, slice_str(bytes));
}

/* --- calls --- */

struct got {
    bool over;
    int status;
    char headers[4096]; /* "name: value\n" of each, names in lower case */
    struct buf body;
    enum rc why;
};

static void on_call_done(int status, const struct http_headers *h, struct blob *body,
                         const struct err *err, void *arg)
{
    struct got *g = arg;

    g->over = true;
    g->status = status;
    g->why = err ? err->code : RC_OK;
    for (size_t i = 0; i < h->n; i++)
        snprintf(g->headers + strlen(g->headers), sizeof(g->headers) - strlen(g->headers),
                 SLICE_FMT ": " SLICE_FMT "\n", SLICE_ARG(h->v[i].name), SLICE_ARG(h->v[i].value));
    for (char *c = g->headers; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    buf_add_slice(&g->body, blob_slice(body));
}

/* extra: "name: value", or NULL. */
static struct http_call *start(struct got *g, const char *method, const char *path,
                               const char *extra)
{
    char *url = xasprintf("http://127.0.0.1:%d%s", listener_port(http_server_listener(server)),
                          path);
    struct slice value = slice_str(extra), name;
    struct http_header header = {0};
    struct http_call_conf conf = {.method = method,
                                  .url = url,
                                  .max_body = 64 << 20,
                                  .collect = true,
                                  .on_done = on_call_done,
                                  .arg = g};
    struct http_call *call;

    *g = (struct got){.over = false};
    buf_init(&g->body, 64 << 20);
    if (extra && slice_split(&value, ':', &name)) {
        header = (struct http_header){name, slice_trim(value)};
        conf.headers = &header;
        conf.n_headers = 1;
    }
    call = http_call_start(client, &conf);
    free(url);
    return call;
}

static struct got *ask(const char *method, const char *path, const char *extra)
{
    static struct got g;

    buf_cleanup(&g.body);
    start(&g, method, path, extra);
    RUN_UNTIL(g.over);
    return &g;
}

static struct got *get(const char *path)
{
    return ask("GET", path, NULL);
}

static const char *body(struct got *g)
{
    return buf_cstr(&g->body);
}

static void assert_header(const struct got *g, const char *line)
{
    char *whole = xasprintf("%s\n", line);

    if (!strstr(g->headers, whole))
        fail_msg("no \"%s\" in:\n%s", line, g->headers);
    free(whole);
}

/* --- headers --- */

static void types_and_caching(void **state)
{
    struct got *g;

    (void)state;
    add(1, "media");
    g = get("/stream/demo.m3u8");
    assert_int_equal(g->status, 200);
    assert_header(g, "content-type: application/vnd.apple.mpegurl");
    assert_header(g, "cache-control: max-age=0");
    assert_header(g, "vary: accept-encoding");
    g = get("/stream/demo/source.m3u8?_HLS_skip=YES");
    assert_int_equal(g->status, 200);
    assert_header(g, "content-type: application/vnd.apple.mpegurl");
    assert_non_null(strstr(body(g), "\n/stream/demo/source/1.ts\n"));
    g = get("/stream/demo/source/1.ts");
    assert_string_equal(body(g), "media");
    assert_header(g, "content-type: video/mp2t");
    assert_header(g, "content-length: 5");
    assert_header(g, "accept-ranges: bytes");
    assert_header(g, "cache-control: max-age=86400, immutable");
    assert_int_equal(get("/other")->status, 418);
}

static void playlists_may_be_cached_for_half_a_target(void **state)
{
    (void)state;
    stream = playback_stream_open(playback, &(struct playback_stream_conf){"slow", 5, 1});
    source = playback_rendition_add(stream, &(struct playback_rendition_conf){"source"});
    add(1, "media");
    assert_header(get("/stream/slow.m3u8"), "cache-control: max-age=2");
    assert_header(get("/stream/slow/source.m3u8"), "cache-control: max-age=2");
}

/* Tomorrow's stream of that name pushes the same numbers. */
static void pushed_numbers_are_not_cached_for_good(void **state)
{
    (void)state;
    add_bytes(source, 5, 0, SLICE_LIT("media"));
    assert_header(get("/stream/demo/source/0.ts"), "cache-control: max-age=6, immutable");
}

static void every_status_may_be_read_by_a_page(void **state)
{
    static const struct {
        const char *method, *path, *extra;
        int status;
    } rows[] = {
        {"GET", "/stream/demo.m3u8", NULL, 200},
        {"HEAD", "/stream/demo/source.m3u8", NULL, 200},
        {"GET", "/stream/demo/source/1.ts", NULL, 200},
        {"GET", "/stream/demo/source/1.ts", "range: bytes=1-", 206},
        {"GET", "/stream/demo/source/1.ts", "range: bytes=9-", 416},
        {"GET", "/stream/nobody.m3u8", NULL, 404},
        {"GET", "/stream/nobody/source.m3u8", NULL, 404},
        {"GET", "/stream/demo/other.m3u8", NULL, 404},
        {"GET", "/stream/demo/other/1.ts", NULL, 404},
        {"GET", "/stream/demo/source/2.ts", NULL, 404},
        {"GET", "/stream/demo/source/1.mp4", NULL, 404},
        {"GET", "/stream/demo/source/one.ts", NULL, 404},
        {"GET", "/stream/demo/source/", NULL, 404},
        {"GET", "/stream/demo/source", NULL, 404},
        {"GET", "/stream/demo/", NULL, 404},
        {"GET", "/stream/demo", NULL, 404},
        {"GET", "/stream/", NULL, 404},
        {"GET", "/stream/demo/source/99999999999999999999.ts", NULL, 404},
        {"GET", "/stream/demo/source/-1.ts", NULL, 404},
        {"GET", "/stream/%zz.m3u8", NULL, 400},
        {"GET", "/stream/a%00.m3u8", NULL, 400},
        {"POST", "/stream/demo.m3u8", NULL, 405},
        {"DELETE", "/stream/demo/source/1.ts", NULL, 405},
        {"OPTIONS", "/stream/demo/source/1.ts", NULL, 204},
    };

    (void)state;
    add(1, "media");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got *g = ask(rows[i].method, rows[i].path, rows[i].extra);

        if (g->status != rows[i].status)
            fail_msg("%s %s: %d", rows[i].method, rows[i].path, g->status);
        assert_header(g, "access-control-allow-origin: *");
        assert_header(g, "access-control-expose-headers: date, age, content-length, content-range");
        if (g->status >= 400)
            assert_header(g, "cache-control: max-age=1");
        if (g->status >= 400)
            assert_int_equal(g->body.p[g->body.n - 1], '\n');
    }
}

static void a_preflight(void **state)
{
    struct got *g = ask("OPTIONS", "/stream/demo.m3u8", "origin: http://page.example");

    (void)state;
    assert_header(g, "access-control-allow-methods: get, head, options");
    assert_header(g, "access-control-allow-headers: range, authorization");
    assert_header(g, "access-control-max-age: 86400");
    assert_header(ask("PUT", "/stream/demo.m3u8", NULL), "allow: get, head, options");
}

static void heads_have_no_body(void **state)
{
    struct got *g;
    char length[64];

    (void)state;
    add(1, "media");
    snprintf(length, sizeof(length), "content-length: %zu",
             get("/stream/demo/source.m3u8")->body.n);
    g = ask("HEAD", "/stream/demo/source.m3u8", NULL);
    assert_header(g, length);
    assert_int_equal(g->body.n, 0);
    g = ask("HEAD", "/stream/demo/source/1.ts", "range: bytes=1-2"); /* is for GET alone */
    assert_int_equal(g->status, 200);
    assert_header(g, "content-length: 5");
    assert_int_equal(g->body.n, 0);
}

static void ranges(void **state)
{
    static const struct {
        const char *header, *body, *content_range;
        int status;
    } rows[] = {
        {"range: bytes=0-0", "0", "content-range: bytes 0-0/10", 206},
        {"range: bytes=2-4", "234", "content-range: bytes 2-4/10", 206},
        {"range: bytes=7-", "789", "content-range: bytes 7-9/10", 206},
        {"range: bytes=7-99999999999999999", "789", "content-range: bytes 7-9/10", 206},
        {"range: bytes=-3", "789", "content-range: bytes 7-9/10", 206},
        {"range: bytes=-99", "0123456789", "content-range: bytes 0-9/10", 206},
        {"range: bytes=10-", NULL, "content-range: bytes */10", 416},
        {"range: bytes=10-12", NULL, "content-range: bytes */10", 416},
        {"range: bytes=-0", NULL, "content-range: bytes */10", 416},
        /* what is no single good range gets the whole */
        {"range: bytes=0-1,4-5", "0123456789", NULL, 200},
        {"range: bytes=5-2", "0123456789", NULL, 200},
        {"range: bytes=-", "0123456789", NULL, 200},
        {"range: bytes=5", "0123456789", NULL, 200},
        {"range: bytes=a-b", "0123456789", NULL, 200},
        {"range: bytes=1-99999999999999999999", "0123456789", NULL, 200},
        {"range: lines=1-2", "0123456789", NULL, 200},
    };

    (void)state;
    add(1, "0123456789");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got *g = ask("GET", "/stream/demo/source/1.ts", rows[i].header);

        if (g->status != rows[i].status)
            fail_msg("%s: %d", rows[i].header, g->status);
        if (rows[i].body)
            assert_string_equal(body(g), rows[i].body);
        if (rows[i].content_range)
            assert_header(g, rows[i].content_range);
    }
}

static void inflate_body(const struct got *g, char *out, size_t max)
{
    z_stream z = {.next_in = g->body.p, .avail_in = (uInt)g->body.n};

    z.next_out = (uint8_t *)out;
    z.avail_out = (uInt)max;
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    out[z.total_out] = 0;
    inflateEnd(&z);
}

static void playlists_are_compressed_for_those_who_ask(void **state)
{
    static const struct {
        const char *header;
        bool gzip;
    } rows[] = {
        {"accept-encoding: gzip", true},         {"accept-encoding: br, GZIP;q=0.5, *", true},
        {"accept-encoding: gzip;q=0", false},    {"accept-encoding: gzip; q=0.000", false},
        {"accept-encoding: identity", false},    {"accept-encoding: gzipped", false},
        {"accept-encoding: deflate, br", false},
    };
    char text[8192];
    char *plain;

    (void)state;
    for (int64_t msn = 1; msn <= 6; msn++)
        add(msn, "media");
    plain = xstrdup(body(get("/stream/demo/source.m3u8")));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got *g = ask("GET", "/stream/demo/source.m3u8", rows[i].header);

        assert_header(g, "vary: accept-encoding");
        if (!rows[i].gzip) {
            assert_string_equal(body(g), plain);
            continue;
        }
        assert_header(g, "content-encoding: gzip");
        assert_true(g->body.n < strlen(plain));
        inflate_body(g, text, sizeof(text) - 1);
        assert_string_equal(text, plain);
    }
    assert_null(strstr(ask("GET", "/stream/demo/source/1.ts", "accept-encoding: gzip")->headers,
                       "content-encoding"));
    add(7, "media"); /* the compressed form is of the list as it is now */
    inflate_body(ask("GET", "/stream/demo/source.m3u8", "accept-encoding: gzip"), text,
                 sizeof(text) - 1);
    assert_non_null(strstr(text, "/7.ts"));
    free(plain);
}

/* --- what is fetched --- */

static void segments_stay_after_they_leave_the_list(void **state)
{
    char path[64];

    (void)state;
    for (int64_t msn = 1; msn <= 40; msn++) {
        char bytes[8];

        snprintf(bytes, sizeof(bytes), "%d", (int)msn);
        add(msn, bytes);
    }
    for (int msn = 40 - 2 * HLS_WINDOW; msn <= 40; msn++) {
        snprintf(path, sizeof(path), "/stream/demo/source/%d.ts", msn);
        assert_int_equal(get(path)->status, 200);
        assert_int_equal(atoi(body(get(path))), msn);
    }
    assert_int_equal(get("/stream/demo/source/10.ts")->status, 404);
}

static void gaps_have_no_bytes(void **state)
{
    struct playback_segment gap = {.msn = 2, .url_seq = 2, .duration = SECOND};

    (void)state;
    add(1, "media");
    assert_int_equal(playback_segment_add(stream, source, &gap, NULL), RC_OK);
    assert_int_equal(get("/stream/demo/source/2.ts")->status, 404);
}

/* Every URI of a list leads where it should, whatever the name. */
static void odd_names_are_found(void **state)
{
    static const struct {
        const char *name, *escaped;
    } rows[] = {{"live", "live"},       {"a.b", "a.b"},   {"x.m3u8", "x.m3u8"},
                {"a b&c", "a%20b%26c"}, {"50%", "50%25"}, {"\xc3\xb6", "%C3%B6"},
                {"a?b#c", "a%3Fb%23c"}, {"%41", "%2541"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct playback_stream_conf conf = {rows[i].name, 1, 1};
        char path[128], uri[128];

        stream = playback_stream_open(playback, &conf);
        source = playback_rendition_add(stream, &(struct playback_rendition_conf){"so urce"});
        add(1, rows[i].name);
        snprintf(path, sizeof(path), "/stream/%s.m3u8", rows[i].escaped);
        snprintf(uri, sizeof(uri), "\n%s/so%%20urce.m3u8\n", rows[i].escaped);
        assert_non_null(strstr(body(get(path)), uri));
        snprintf(path, sizeof(path), "/stream/%s/so%%20urce.m3u8", rows[i].escaped);
        snprintf(uri, sizeof(uri), "/stream/%s/so%%20urce/1.ts", rows[i].escaped);
        assert_non_null(strstr(body(get(path)), uri));
        assert_string_equal(body(get(uri)), rows[i].name);
    }
}

static void current_is_the_newest_on_air(void **state)
{
    struct playback_stream *first = stream, *begun;

    (void)state;
    add(1, "media");
    stream = playback_stream_open(playback, &(struct playback_stream_conf){"second", 1, 1});
    source = playback_rendition_add(stream, &(struct playback_rendition_conf){"source"});
    add(1, "media");
    assert_non_null(strstr(body(get("/stream/Current.m3u8")), "\nsecond/source.m3u8\n"));
    begun = playback_stream_open(playback, &(struct playback_stream_conf){"begun", 1, 1});
    assert_non_null(strstr(body(get("/stream/Current.m3u8")), "\nsecond/source.m3u8\n"));
    playback_stream_close(begun);
    playback_stream_end(stream);
    assert_non_null(strstr(body(get("/stream/current.m3u8")), "\ndemo/source.m3u8\n"));
    playback_stream_close(first);
    assert_non_null(strstr(body(get("/stream/current.m3u8")), "\nsecond/source.m3u8\n"));
}

static void an_ended_stream_can_be_watched_to_its_end(void **state)
{
    (void)state;
    add(1, "media");
    playback_rendition_add(stream, &(struct playback_rendition_conf){"never"});
    playback_stream_end(stream);
    assert_non_null(strstr(body(get("/stream/demo/source.m3u8")), "/1.ts\n#EXT-X-ENDLIST\n"));
    assert_int_equal(get("/stream/demo.m3u8")->status, 200);
    assert_int_equal(get("/stream/demo/source/1.ts")->status, 200);
    assert_int_equal(get("/stream/demo/never.m3u8")->status, 404);
}

/* --- held requests --- */

/* Runs until the server has seen `n` requests in all: one more that is answered at once. */
static void let_them_arrive(void)
{
    assert_int_equal(get("/other")->status, 418);
    run_for(50);
}

static void the_first_segment_answers_those_who_wait(void **state)
{
    struct got many[40];
    int later = playback_rendition_add(stream, &(struct playback_rendition_conf){"later"});

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        start(&many[i], "GET", i % 2 ? "/stream/demo.m3u8" : "/stream/demo/later.m3u8", NULL);
    let_them_arrive();
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        assert_false(many[i].over);
    add(1, "media");
    for (size_t i = 1; i < ARRAY_LEN(many); i += 2)
        RUN_UNTIL(many[i].over);
    for (size_t i = 0; i < ARRAY_LEN(many); i += 2)
        assert_false(many[i].over); /* that one has nothing yet */
    add_bytes(later, 1, 1, SLICE_LIT("media"));
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        RUN_UNTIL(many[i].over);
        assert_int_equal(many[i].status, 200);
        assert_memory_equal(many[i].body.p, "#EXTM3U", 7);
        buf_cleanup(&many[i].body);
    }
}

static void those_who_wait_hear_that_it_ended(void **state)
{
    struct got a, b;
    int64_t since;

    (void)state;
    start(&a, "GET", "/stream/demo.m3u8", NULL);
    start(&b, "GET", "/stream/demo/source.m3u8", NULL);
    let_them_arrive();
    since = loop_now_ms(loop);
    playback_stream_end(stream);
    RUN_UNTIL(a.over && b.over);
    assert_true(loop_now_ms(loop) - since < 10000); /* the stream is forgotten after 12 s */
    assert_int_equal(a.status, 404);
    assert_int_equal(b.status, 404);
    assert_header(&b, "access-control-allow-origin: *");
    buf_cleanup(&a.body);
    buf_cleanup(&b.body);
}

static void those_who_wait_give_up(void **state)
{
    struct got a;

    (void)state;
    start(&a, "GET", "/stream/demo.m3u8", NULL);
    run_for(1200);
    assert_false(a.over);
    RUN_UNTIL(a.over);
    assert_int_equal(a.status, 404); /* there is no such stream yet */
    assert_header(&a, "access-control-allow-origin: *");
    assert_non_null(strstr(body(&a), "its first segment is not"));
    buf_cleanup(&a.body);
}

/* Three target durations of a second, whether they came before the first segment or after it. */
static void those_who_wait_for_a_rendition_give_up(void **state)
{
    struct got a, b;
    int64_t since;

    (void)state;
    playback_free(playback);
    begin(15000);
    playback_rendition_add(stream, &(struct playback_rendition_conf){"never"});
    start(&a, "GET", "/stream/demo/never.m3u8", NULL);
    let_them_arrive();
    add(1, "media");
    since = loop_now_ms(loop);
    run_for(500);
    start(&b, "GET", "/stream/demo/never.m3u8", NULL);
    run_for(1000);
    assert_false(a.over || b.over);
    RUN_UNTIL(a.over);
    assert_false(b.over);
    assert_true(loop_now_ms(loop) - since < 5000);
    assert_int_equal(a.status, 503);
    assert_header(&a, "retry-after: 1");
    assert_non_null(strstr(body(&a), "no orchestrator"));
    RUN_UNTIL(b.over);
    assert_int_equal(b.status, 503);
    buf_cleanup(&a.body);
    buf_cleanup(&b.body);
}

/* Players count on it, so the first segment decides for good; what is asked is the least. */
static void the_first_segment_fixes_the_target(void **state)
{
    struct playback_segment seg = {.msn = 1, .url_seq = 1, .duration = 83 * SECOND / 10};

    (void)state;
    seg.media = blob_copy(SLICE_LIT("media"));
    assert_int_equal(playback_segment_add(stream, source, &seg, NULL), RC_OK);
    blob_unref(&seg.media);
    assert_non_null(strstr(body(get("/stream/demo/source.m3u8")), "TARGETDURATION:8\n"));
    add(2, "media");
    assert_non_null(strstr(body(get("/stream/demo/source.m3u8")), "TARGETDURATION:8\n"));
}

static void those_who_leave_are_forgotten(void **state)
{
    struct got a, b;
    struct http_call *leaving;

    (void)state;
    leaving = start(&a, "GET", "/stream/demo.m3u8", NULL);
    start(&b, "GET", "/stream/demo.m3u8", NULL);
    let_them_arrive();
    http_call_cancel(leaving);
    run_for(50);
    add(1, "media");
    RUN_UNTIL(b.over);
    assert_int_equal(b.status, 200);
    buf_cleanup(&b.body);
    buf_cleanup(&a.body);
}

static void a_stream_may_go_while_they_wait(void **state)
{
    struct got a;

    (void)state;
    start(&a, "GET", "/stream/demo.m3u8", NULL);
    let_them_arrive();
    playback_stream_close(stream);
    RUN_UNTIL(a.over);
    assert_int_equal(a.status, 404);
    buf_cleanup(&a.body);
    assert_int_equal(get("/stream/demo.m3u8")->status, 404);
}

/* --- a viewer --- */

static struct {
    struct buf out, errors;
    int status;
    bool over;
} viewer;

static void on_viewer_line(struct slice line, bool is_stderr, void *arg)
{
    struct buf *to = is_stderr ? &viewer.errors : &viewer.out;

    (void)arg;
    buf_add_slice(to, line);
    buf_u8(to, '\n');
}

static void on_viewer_exit(int status, int signum, void *arg)
{
    (void)arg;
    viewer.status = signum ? -1 : status;
    viewer.over = true;
}

static void run_viewer(const char *const *argv)
{
    struct process_conf conf = {
        .argv = argv, .pass_fd = -1, .on_line = on_viewer_line, .on_exit = on_viewer_exit};
    struct process *p;
    struct err err;

    viewer.over = false;
    buf_init(&viewer.out, 1 << 20);
    buf_init(&viewer.errors, 1 << 20);
    p = process_start(loop, &conf, &err);
    assert_non_null(p);
    RUN_UNTIL(viewer.over);
    process_free(p);
}

/* Six seconds of moving picture and tone as segments of one second. */
static char *make_segments(void)
{
    char *to = make_dir();
    char *command = xasprintf(
        "ffmpeg -v error -f lavfi -i testsrc=s=160x90:r=25:d=6 -f lavfi -i sine=r=48000:d=6 "
        "-c:v libx264 -preset ultrafast -g 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 48k "
        "-f hls -hls_time 1 -hls_list_size 0 -hls_segment_filename '%s/%%d.ts' '%s/list.m3u8'",
        to, to);

    assert_int_equal(system(command), 0);
    free(command);
    return to;
}

static void add_segment_file(const char *folder, int64_t number)
{
    char *path = xasprintf("%s/%d.ts", folder, (int)number);
    FILE *f = fopen(path, "rb");
    struct playback_segment seg = {.msn = number + 1, .url_seq = number + 1, .duration = SECOND};
    struct ts_probe probe;
    struct buf bytes;

    assert_non_null(f);
    buf_init(&bytes, 1 << 20);
    bytes.n = fread(buf_reserve(&bytes, 1 << 19), 1, 1 << 19, f);
    fclose(f);
    free(path);
    seg.media = blob_of_buf(&bytes);
    assert_int_equal(ts_probe(blob_slice(seg.media), &probe, NULL), RC_OK);
    seg.video = &probe.video;
    seg.audio = &probe.audio;
    seg.fps = 25;
    assert_int_equal(playback_segment_add(stream, source, &seg, NULL), RC_OK);
    blob_unref(&seg.media);
    ts_probe_cleanup(&probe);
}

static void ffprobe_sees_every_frame(void **state)
{
    char *folder = make_segments();
    char *url = xasprintf("http://127.0.0.1:%d/stream/demo.m3u8",
                          listener_port(http_server_listener(server)));
    const char *argv[] = {"/usr/bin/ffprobe",
                          "-v",
                          "warning",
                          "-count_frames",
                          "-show_entries",
                          "stream=codec_name,width,nb_read_frames",
                          "-of",
                          "csv=p=0",
                          url,
                          NULL};

    (void)state;
    for (int64_t i = 0; i < 6; i++)
        add_segment_file(folder, i);
    assert_non_null(strstr(body(get("/stream/demo.m3u8")), ",RESOLUTION=160x90,FRAME-RATE=25.000"));
    assert_non_null(strstr(body(get("/stream/demo.m3u8")), ",CODECS=\"avc1.42c0"));
    playback_stream_end(stream);
    run_viewer(argv);
    if (viewer.status != 0 || viewer.errors.n)
        fail_msg("ffprobe: %d, %s", viewer.status, buf_cstr(&viewer.errors));
    assert_non_null(strstr(buf_cstr(&viewer.out), "h264,160,150"));
    assert_non_null(strstr(buf_cstr(&viewer.out), "aac,"));
    buf_cleanup(&viewer.out);
    buf_cleanup(&viewer.errors);
    free(url);
    remove_dir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(types_and_caching),
        T(playlists_may_be_cached_for_half_a_target),
        T(pushed_numbers_are_not_cached_for_good),
        T(every_status_may_be_read_by_a_page),
        T(a_preflight),
        T(heads_have_no_body),
        T(ranges),
        T(playlists_are_compressed_for_those_who_ask),
        T(segments_stay_after_they_leave_the_list),
        T(gaps_have_no_bytes),
        T(odd_names_are_found),
        T(current_is_the_newest_on_air),
        T(an_ended_stream_can_be_watched_to_its_end),
        T(the_first_segment_answers_those_who_wait),
        T(those_who_wait_hear_that_it_ended),
        T(those_who_wait_give_up),
        T(those_who_wait_for_a_rendition_give_up),
        T(the_first_segment_fixes_the_target),
        T(those_who_leave_are_forgotten),
        T(a_stream_may_go_while_they_wait),
        T(ffprobe_sees_every_frame),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
