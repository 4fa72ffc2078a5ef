/* Calls to the web, against local peers. */
#include "http_peer.h"

#include <unistd.h>

#include "net/web.c" /* for the library's name */

enum { GUARD_MS = 20000 };

struct world {
    struct loop *loop;
    struct web *web;
    struct peer peer;
    struct timer *guard;
    bool late;
    int done_calls, status;
    enum rc rc;
    char text[ERR_TEXT_MAX];
    struct blob *body;
    void (*at_done)(struct world *w);
    struct web_call *call;
};

static void on_guard(void *arg)
{
    struct world *w = arg;

    w->late = true;
    loop_stop(w->loop);
}

static int setup(void **state)
{
    static const char *const proxies[] = {"http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY",
                                          "ALL_PROXY"};
    struct world *w = xcalloc(1, sizeof(*w));

    for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
        unsetenv(proxies[i]);
    w->loop = loop_new();
    w->web = web_new(w->loop);
    w->guard = timer_new(w->loop, on_guard, w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    web_free(w->web);
    if (w->peer.listener)
        peer_close(&w->peer);
    tls_server_free(w->peer.tls);
    timer_free(w->guard);
    loop_free(w->loop);
    blob_unref(&w->body);
    assert_int_equal(blob_total_bytes(), 0);
    free(w);
    return 0;
}

static void on_done(int status, struct blob *body, const struct err *err, void *arg)
{
    struct world *w = arg;

    w->done_calls++;
    w->status = status;
    w->rc = err ? err->code : RC_OK;
    snprintf(w->text, sizeof(w->text), "%s", err ? err->text : "");
    blob_unref(&w->body);
    w->body = blob_ref(body);
    if (w->at_done)
        w->at_done(w);
    loop_stop(w->loop);
}

static struct web_conf conf_of(struct world *w, const char *url)
{
    return (struct web_conf){
        .url = url, .timeout_ms = 10000, .max_body = 1000, .on_done = on_done, .arg = w};
}

static void run(struct world *w)
{
    timer_start(w->guard, GUARD_MS);
    loop_run(w->loop);
    timer_stop(w->guard);
    assert_false(w->late);
}

static void call(struct world *w, const struct web_conf *conf)
{
    w->done_calls = 0;
    w->call = web_start(w->web, conf);
    assert_int_equal(w->done_calls, 0); /* told from the loop, never from within the start */
    run(w);
    assert_int_equal(w->done_calls, 1);
}

/* First: nothing is loaded yet. */
static void test_library_is_missing(void **state)
{
    struct world *w = *state;
    struct web_conf conf = conf_of(w, "http://127.0.0.1:1/");

    library = "libcurl-that-nobody-has.so.4";
    call(w, &conf);
    library = "libcurl.so.4";
    assert_int_equal(w->rc, RC_UNAVAILABLE);
    assert_non_null(strstr(w->text, "install the package libcurl4"));
    conf.url = "http://127.0.0.1:1/";
    call(w, &conf); /* installed meanwhile: no restart needed */
    assert_non_null(strstr(w->text, "127.0.0.1"));
    assert_null(strstr(w->text, "install"));
}

static void answer(struct peer_conn *c)
{
    if (!peer_heard(c, "\r\n\r\n"))
        return;
    peer_say(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_get(void **state)
{
    struct world *w = *state;
    struct web_conf conf;

    w->peer.on_input = answer;
    peer_open(&w->peer, w->loop);
    conf = conf_of(w, w->peer.url);
    call(w, &conf);
    assert_int_equal(w->rc, RC_OK);
    assert_int_equal(w->status, 202);
    assert_true(slice_eq_str(blob_slice(w->body), "hello"));
    assert_true(peer_heard(w->peer.conns[0], "GET / HTTP/1.1\r\n"));
}

static void answer_when_body(struct peer_conn *c)
{
    if (peer_heard(c, "\r\n\r\n{\"a\":1}"))
        peer_say(c, "HTTP/1.1 204 No Content\r\n\r\n");
}

static void test_methods(void **state)
{
    static const char *const lines[] = {"Content-Type: application/json", "X-One: 1", NULL};
    static const char *const methods[] = {"POST", "PUT", "DELETE"};
    struct world *w = *state;

    w->peer.on_input = answer_when_body;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct web_conf conf = conf_of(w, w->peer.url);
        char first[32];

        conf.method = methods[i];
        conf.headers = lines;
        conf.body = SLICE_LIT("{\"a\":1}");
        call(w, &conf);
        assert_int_equal(w->status, 204);
        snprintf(first, sizeof(first), "%s / HTTP/1.1\r\n", methods[i]);
        assert_true(peer_heard(w->peer.conns[0], first));
        assert_true(peer_heard(w->peer.conns[0], "Content-Type: application/json\r\n"));
        assert_true(peer_heard(w->peer.conns[0], "X-One: 1\r\n"));
        buf_clear(&w->peer.conns[0]->in);
    }
}

/* --- answers that are refused --- */

static void say_too_much(struct peer_conn *c)
{
    peer_say(c, "HTTP/1.0 200 OK\r\n\r\n");
    for (int i = 0; i < 1001; i++)
        peer_say(c, "a");
}

static void say_nothing(struct peer_conn *c)
{
    (void)c;
}

static void redirect_to_file(struct peer_conn *c)
{
    peer_say(c, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
}

static void redirect_for_ever(struct peer_conn *c)
{
    peer_say(c, "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
}

static void cut_answer(struct peer_conn *c)
{
    peer_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel");
    peer_hang_up(c);
}

static void test_refused_answers(void **state)
{
    static const struct {
        const char *name;
        void (*peer)(struct peer_conn *c);
        int timeout_ms;
        enum rc rc;
        const char *text;
    } cases[] = {
        {"body above the limit", say_too_much, 10000, RC_LIMIT, "more than 1000 bytes"},
        {"silence", say_nothing, 100, RC_TIMEOUT, "timed out"},
        {"redirect to a file", redirect_to_file, 10000, RC_BAD_INPUT, "file"},
        {"redirects without end", redirect_for_ever, 10000, RC_LIMIT, "5"},
        {"cut", cut_answer, 10000, RC_CLOSED, ""},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct web_conf conf;

        w->peer.on_input = cases[i].peer;
        peer_open(&w->peer, w->loop);
        conf = conf_of(w, w->peer.url);
        conf.timeout_ms = cases[i].timeout_ms;
        call(w, &conf);
        if (w->rc != cases[i].rc || !strstr(w->text, cases[i].text) || w->body)
            fail_msg("%s: %s, \"%s\"", cases[i].name, rc_name(w->rc), w->text);
        peer_close(&w->peer);
    }
}

static void redirect_with_body(struct peer_conn *c)
{
    if (peer_heard(c, "\r\n\r\nblob bytes"))
        redirect_for_ever(c);
}

static void test_stays_and_sends_a_blob(void **state)
{
    struct world *w = *state;
    struct blob *blob = blob_copy(SLICE_LIT("blob bytes"));
    struct web_conf conf;

    w->peer.on_input = redirect_with_body;
    peer_open(&w->peer, w->loop);
    conf = conf_of(w, w->peer.url);
    conf.method = "PUT";
    conf.blob = blob;
    conf.stay = true;
    call(w, &conf);
    assert_int_equal(w->status, 302);
    assert_true(peer_heard(w->peer.conns[0], "PUT / HTTP/1.1\r\n"));
    blob_unref(&blob);
}

static void test_refused_addresses(void **state)
{
    static const struct {
        const char *url;
        enum rc rc;
    } cases[] = {
        {"file:///etc/passwd", RC_BAD_INPUT},
        {"gopher://127.0.0.1/", RC_BAD_INPUT},
        {"http://", RC_BAD_INPUT},
        {"http://127.0.0.1:1/", RC_UNAVAILABLE},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct web_conf conf = conf_of(w, cases[i].url);

        call(w, &conf);
        if (w->rc != cases[i].rc)
            fail_msg("%s: %s, \"%s\"", cases[i].url, rc_name(w->rc), w->text);
    }
}

static void test_certificate_is_checked(void **state)
{
    struct world *w = *state;
    struct web_conf conf;
    struct err err;
    char dir[] = "/tmp/leat-test-XXXXXX", cert[64], key[64];

    assert_non_null(mkdtemp(dir));
    assert_int_equal(tls_make_self_signed(dir, "127.0.0.1", &err), RC_OK);
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    w->peer.tls = tls_server_new(cert, key, &err);
    assert_non_null(w->peer.tls);
    w->peer.on_input = answer;
    peer_open(&w->peer, w->loop);
    conf = conf_of(w, w->peer.url);
    call(w, &conf);
    assert_int_equal(w->rc, RC_DENIED);
    assert_non_null(strstr(w->text, "certificate"));
    (void)unlink(cert);
    (void)unlink(key);
    (void)rmdir(dir);
}

/* --- cancelling --- */

static void cancel_own(struct world *w)
{
    web_cancel(w->call);
}

static void free_all(struct world *w)
{
    struct web *web = w->web;

    w->web = NULL;
    web_free(web);
}

static void start_another(struct world *w)
{
    struct web_conf conf = conf_of(w, w->peer.url);

    w->at_done = NULL;
    web_start(w->web, &conf);
}

static void test_acts_in_on_done(void **state)
{
    void (*const acts[])(struct world * w) = {cancel_own, start_another, free_all};
    struct world *w = *state;

    w->peer.on_input = answer;
    peer_open(&w->peer, w->loop);
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        struct web_conf conf = conf_of(w, w->peer.url);

        w->at_done = acts[i];
        call(w, &conf);
        assert_int_equal(w->rc, RC_OK);
        if (acts[i] == start_another)
            run(w);
    }
}

static void on_unwanted(int status, struct blob *body, const struct err *err, void *arg)
{
    (void)status, (void)body, (void)err, (void)arg;
    fail_msg("a cancelled call was told");
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct web_conf unwanted, conf;

    w->peer.on_input = answer;
    peer_open(&w->peer, w->loop);
    conf = unwanted = conf_of(w, w->peer.url);
    unwanted.on_done = on_unwanted;
    web_cancel(web_start(w->web, &unwanted));
    w->call = web_start(w->web, &unwanted);
    uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
    uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
    web_cancel(w->call); /* running by now */
    call(w, &conf);
    assert_int_equal(w->rc, RC_OK);
}

static void test_free_with_running_call(void **state)
{
    struct world *w = *state;
    struct web_conf conf;

    w->peer.on_input = say_nothing;
    peer_open(&w->peer, w->loop);
    conf = conf_of(w, w->peer.url);
    web_start(w->web, &conf);
    while (!w->peer.n_conns)
        uv_run(loop_uv(w->loop), UV_RUN_ONCE);
    free_all(w);
    assert_int_equal(w->done_calls, 1);
    assert_int_equal(w->rc, RC_CANCELLED);
}

static void test_free_while_loading(void **state)
{
    struct world *w = *state;
    struct web_conf conf = conf_of(w, "http://127.0.0.1:1/");

    curl_is_loaded = false; /* as at the first call of a process */
    web_start(w->web, &conf);
    free_all(w);
    assert_int_equal(w->rc, RC_CANCELLED);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_library_is_missing),
        CASE(test_get),
        CASE(test_methods),
        CASE(test_refused_answers),
        CASE(test_stays_and_sends_a_blob),
        CASE(test_refused_addresses),
        CASE(test_certificate_is_checked),
        CASE(test_acts_in_on_done),
        CASE(test_cancel),
        CASE(test_free_with_running_call),
        CASE(test_free_while_loading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
