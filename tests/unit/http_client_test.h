/* tests/unit/http_client_test.h: a world with one client and one peer, and calls that write
 * down what they are told. For the tests of the HTTP client. */
#ifndef LEAT_TESTS_HTTP_CLIENT_TEST_H
#define LEAT_TESTS_HTTP_CLIENT_TEST_H

#include "http_peer.h"

#include <unistd.h>

#include "base/clock.h"
#include "net/http_client.h"
#include "net/http_client_int.h"

enum { GUARD_MS = 20000, BIG = 8 * 1024 * 1024 };

/* What a call told us. */
struct told {
    struct world *w;
    int status, headers_calls, done_calls;
    bool headers_before_body;
    size_t bytes;
    enum rc rc;
    char text[ERR_TEXT_MAX], header[64], trailer[64];
    struct blob *body;
    int64_t sent_us;
    struct http_call *call;
    void (*at_headers)(struct told *t);
    void (*at_bytes)(struct told *t);
    void (*at_done)(struct told *t);
};

struct world {
    struct loop *loop;
    struct http_client *client;
    struct peer peer;
    struct timer *guard;
    int waiting; /* calls that are not done */
    bool late;
    struct timer *while_timer;
    void (*in_a_while)(struct world *w);
};

static void on_guard(void *arg)
{
    struct world *w = arg;

    w->late = true;
    loop_stop(w->loop);
}

static void on_while(void *arg)
{
    struct world *w = arg;

    w->in_a_while(w);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->loop = loop_new();
    w->client = http_client_new(w->loop);
    w->guard = timer_new(w->loop, on_guard, w);
    w->while_timer = timer_new(w->loop, on_while, w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    http_client_free(w->client);
    if (w->peer.listener)
        peer_close(&w->peer);
    timer_free(w->guard);
    timer_free(w->while_timer);
    tls_server_free(w->peer.tls);
    loop_free(w->loop);
    assert_int_equal(blob_total_bytes(), 0);
    free(w);
    return 0;
}

static void run(struct world *w)
{
    timer_start(w->guard, GUARD_MS);
    loop_run(w->loop);
    timer_stop(w->guard);
    assert_false(w->late);
}

/* --- calls --- */

static void copy_header(const struct http_headers *h, const char *name, char out[64])
{
    struct slice v = http_header_get(h, name);

    snprintf(out, 64, SLICE_FMT, (int)v.n, (const char *)(v.p ? v.p : (const uint8_t *)""));
}

static void on_headers(int status, const struct http_headers *h, void *arg)
{
    struct told *t = arg;

    t->headers_calls++;
    t->headers_before_body = t->bytes == 0;
    t->status = status;
    copy_header(h, "x-test", t->header);
    if (t->at_headers)
        t->at_headers(t);
}

static void on_bytes(struct slice bytes, void *arg)
{
    struct told *t = arg;

    t->bytes += bytes.n;
    if (t->at_bytes)
        t->at_bytes(t);
}

static void on_done(int status, const struct http_headers *h, struct blob *body,
                    const struct err *err, void *arg)
{
    struct told *t = arg;

    t->done_calls++;
    t->status = status;
    t->rc = err ? err->code : RC_OK;
    snprintf(t->text, sizeof(t->text), "%s", err ? err->text : "");
    copy_header(h, "x-after", t->trailer);
    copy_header(h, "x-got", t->header[0] ? t->trailer : t->header);
    t->body = blob_ref(body);
    t->sent_us = http_call_sent_us(t->call);
    if (t->at_done)
        t->at_done(t);
    if (--t->w->waiting == 0)
        loop_stop(t->w->loop);
}

static struct http_call_conf conf_of(struct told *t, const char *url)
{
    return (struct http_call_conf){.method = "GET",
                                   .url = url,
                                   .timeout_ms = GUARD_MS,
                                   .max_body = 64 * 1024 * 1024,
                                   .collect = true,
                                   .on_headers = on_headers,
                                   .on_bytes = on_bytes,
                                   .on_done = on_done,
                                   .arg = t};
}

static void start(struct world *w, struct told *t, const struct http_call_conf *conf)
{
    t->w = w;
    w->waiting++;
    t->call = http_call_start(w->client, conf);
}

/* A whole call by itself. */
static void call(struct world *w, struct told *t, const struct http_call_conf *conf)
{
    start(w, t, conf);
    run(w);
    assert_int_equal(t->done_calls, 1);
    blob_unref(&t->body);
}

/* For at_headers: gives what should not happen the time to happen, then in_a_while(). */
static inline void in_a_while(struct told *t)
{
    timer_start(t->w->while_timer, 300);
}

static void say_nothing(struct peer_conn *c)
{
    (void)c;
}

static inline void answer_ok(struct peer_conn *c)
{
    if (!peer_heard(c, "\r\n\r\n"))
        return;
    peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    c->stage++;
}

static const char *url_of(struct world *w, const char *path)
{
    static char url[256];

    snprintf(url, sizeof(url), "%s%s", w->peer.url, path);
    return url;
}

static struct blob *patterned(size_t n)
{
    struct blob *b = blob_new(n);

    for (size_t i = 0; i < n; i++)
        blob_bytes(b)[i] = (uint8_t)(i * 7 + i / 251);
    return b;
}

/* --- cancelling and freeing in every callback --- */

static void do_cancel(struct told *t)
{
    http_call_cancel(t->call);
    if (!t->done_calls)
        loop_stop(t->w->loop);
}

static void do_free(struct told *t)
{
    struct http_client *c = t->w->client;

    t->w->client = NULL;
    http_client_free(c);
    loop_stop(t->w->loop);
}

static void run_with(struct world *w, const char *path, enum http_speak speak, struct told *t)
{
    struct http_call_conf conf = conf_of(t, url_of(w, path));

    conf.speak = speak;
    if (!w->client)
        w->client = http_client_new(w->loop);
    start(w, t, &conf);
    run(w);
    w->waiting = 0;
    blob_unref(&t->body);
}

static void cancel_everywhere(struct world *w, enum http_speak speak)
{
    void (*const acts[])(struct told * t) = {do_cancel, do_free};

    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        struct told at_headers = {.at_headers = acts[i]};
        struct told at_bytes = {.at_bytes = acts[i]};
        struct told at_done = {.at_done = acts[i]};
        int freed = acts[i] == do_free; /* then on_done tells RC_CANCELLED */

        run_with(w, "/", speak, &at_headers);
        assert_int_equal(at_headers.done_calls, freed);
        assert_int_equal(at_headers.bytes, 0);
        run_with(w, "/", speak, &at_bytes);
        assert_int_equal(at_bytes.done_calls, freed);
        run_with(w, "/", speak, &at_done);
        assert_int_equal(at_done.done_calls, 1);
        assert_int_equal(at_done.rc, RC_OK);
    }
}

#endif
