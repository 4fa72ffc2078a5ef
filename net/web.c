/* The web through libcurl, which is loaded by a helper thread when the first call asks for
 * it: 26 libraries and 29 ms that most nodes never need. Nothing here links to it. */
#include "net/web.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "net/net_int.h"

enum { DEFAULT_TIMEOUT_MS = 8000, MAX_REDIRECTS = 5 };

/* What is used of libcurl, by name. */
#define CURL_FUNCTIONS(X)                                                                          \
    X(CURLcode, global_init, (long flags))                                                         \
    X(CURL *, easy_init, (void))                                                                   \
    X(CURLcode, easy_setopt, (CURL * e, CURLoption option, ...))                                   \
    X(CURLcode, easy_getinfo, (CURL * e, CURLINFO info, ...))                                      \
    X(void, easy_cleanup, (CURL * e))                                                              \
    X(const char *, easy_strerror, (CURLcode code))                                                \
    X(CURLM *, multi_init, (void))                                                                 \
    X(CURLMcode, multi_setopt, (CURLM * m, CURLMoption option, ...))                               \
    X(CURLMcode, multi_add_handle, (CURLM * m, CURL * e))                                          \
    X(CURLMcode, multi_remove_handle, (CURLM * m, CURL * e))                                       \
    X(CURLMcode, multi_socket_action, (CURLM * m, curl_socket_t s, int events, int *running))      \
    X(CURLMcode, multi_assign, (CURLM * m, curl_socket_t s, void *p))                              \
    X(CURLMsg *, multi_info_read, (CURLM * m, int *left))                                          \
    X(CURLMcode, multi_cleanup, (CURLM * m))                                                       \
    X(const char *, multi_strerror, (CURLMcode code))                                              \
    X(struct curl_slist *, slist_append, (struct curl_slist * l, const char *text))                \
    X(void, slist_free_all, (struct curl_slist * l))

struct curl_table {
#define X(type, name, params) type(*name) params;
    CURL_FUNCTIONS(X)
#undef X
};

static const char *library = "libcurl.so.4"; /* other names in tests */

/* Filled on the loop thread once the library is there; it stays for good. */
static struct curl_table curl;
static bool curl_is_loaded;

struct web_call {
    struct list_node node; /* web->calls */
    struct web *web;
    CURL *easy; /* NULL: waits for the library, or has failed */
    struct curl_slist *headers;
    struct blob *body_out;
    struct buf body_in;
    bool stay;
    char *method, *url;
    char **header_lines; /* NULL ends */
    int timeout_ms;
    char text[CURL_ERROR_SIZE];
    void (*on_done)(int status, struct blob *body, const struct err *err, void *arg);
    void *arg;
    struct err err;
    struct deferred soon;
    bool told; /* on_done is running or has run: memory goes right after */
};

struct loading {
    struct web *web; /* NULL: gone meanwhile */
    struct curl_table table;
    char why[200]; /* empty: all there */
};

struct web {
    struct loop *loop;
    struct list calls;
    struct loading *loading;
    CURLM *multi;
    struct timer *timer;
    struct list watches;  /* of struct watch */
    struct deferred reap; /* looks for calls that have ended */
    int busy;             /* callers' functions on the stack */
    bool dead;
};

/* A socket of libcurl's. */
struct watch {
    struct list_node node;
    uv_poll_t poll;
    struct web *web;
    curl_socket_t fd;
};

/* --- the end of a call --- */

static void call_free(struct web_call *c)
{
    if (c->easy) {
        curl.multi_remove_handle(c->web->multi, c->easy);
        curl.easy_cleanup(c->easy);
        curl.slist_free_all(c->headers);
    }
    loop_defer_cancel(c->web->loop, &c->soon);
    list_remove(&c->web->calls, &c->node);
    for (size_t i = 0; c->header_lines[i]; i++)
        free(c->header_lines[i]);
    free(c->header_lines);
    free(c->method);
    free(c->url);
    buf_cleanup(&c->body_in);
    blob_unref(&c->body_out);
    free(c);
}

static void web_leave(struct web *w)
{
    if (--w->busy > 0 || !w->dead)
        return;
    if (w->multi)
        curl.multi_cleanup(w->multi); /* gives its sockets back through on_socket */
    loop_defer_cancel(w->loop, &w->reap);
    timer_free(w->timer);
    free(w);
}

static void tell(struct web_call *c, int status, struct blob *body, const struct err *err)
{
    struct web *w = c->web;

    c->told = true;
    list_remove(&w->calls, &c->node);
    w->busy++;
    if (c->on_done)
        c->on_done(status, body, err, c->arg);
    call_free(c);
    web_leave(w);
}

static void fail_now(void *arg)
{
    struct web_call *c = arg;

    tell(c, 0, NULL, &c->err);
}

static void fail_soon(struct web_call *c)
{
    loop_defer(c->web->loop, &c->soon, fail_now, c);
}

static enum rc rc_of(const struct web_call *c, CURLcode code)
{
    static const struct {
        CURLcode code;
        enum rc rc;
    } codes[] = {
        {CURLE_OPERATION_TIMEDOUT, RC_TIMEOUT},
        {CURLE_COULDNT_CONNECT, RC_UNAVAILABLE},
        {CURLE_COULDNT_RESOLVE_HOST, RC_UNAVAILABLE},
        {CURLE_COULDNT_RESOLVE_PROXY, RC_UNAVAILABLE},
        {CURLE_SSL_CONNECT_ERROR, RC_UNAVAILABLE},
        {CURLE_PEER_FAILED_VERIFICATION, RC_DENIED},
        {CURLE_URL_MALFORMAT, RC_BAD_INPUT},
        {CURLE_UNSUPPORTED_PROTOCOL, RC_BAD_INPUT},
        {CURLE_WEIRD_SERVER_REPLY, RC_BAD_INPUT},
        {CURLE_TOO_MANY_REDIRECTS, RC_LIMIT},
        {CURLE_GOT_NOTHING, RC_CLOSED},
        {CURLE_RECV_ERROR, RC_CLOSED},
        {CURLE_SEND_ERROR, RC_CLOSED},
        {CURLE_PARTIAL_FILE, RC_CLOSED},
    };

    if (!buf_ok(&c->body_in))
        return RC_LIMIT;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].code == code)
            return codes[i].rc;
    return RC_IO;
}

static void say_failure(struct web_call *c, CURLcode code)
{
    enum rc rc = rc_of(c, code);

    if (rc == RC_LIMIT && !buf_ok(&c->body_in))
        (void)err_set(&c->err, rc, "%s: the answer has more than %zu bytes", c->url,
                      c->body_in.max);
    else
        (void)err_set(&c->err, rc, "%s: %s", c->url, *c->text ? c->text : curl.easy_strerror(code));
}

static void call_ended(struct web_call *c, CURLcode code)
{
    struct blob *body;
    long status = 0;

    if (code != CURLE_OK) {
        say_failure(c, code);
        tell(c, 0, NULL, &c->err);
        return;
    }
    curl.easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    body = blob_of_buf(&c->body_in);
    tell(c, (int)status, body, NULL);
    blob_unref(&body);
}

/* Callers run from here only, so none of them runs inside libcurl. */
static void reap(void *arg)
{
    struct web *w = arg;
    CURLMsg *msg;
    int left;

    w->busy++;
    while (!w->dead && (msg = curl.multi_info_read(w->multi, &left))) {
        CURLcode code = msg->data.result;
        char *p = NULL;

        curl.easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &p);
        call_ended((struct web_call *)p, code);
    }
    web_leave(w);
}

/* --- libcurl on the loop --- */

static void act(struct web *w, curl_socket_t fd, int events)
{
    int running;

    curl.multi_socket_action(w->multi, fd, events, &running);
    loop_defer(w->loop, &w->reap, reap, w);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *watch = h->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(watch->web, watch->fd, flags);
}

static void on_watch_closed(uv_handle_t *h)
{
    free(h->data);
}

static void watch_free(struct watch *watch)
{
    list_remove(&watch->web->watches, &watch->node);
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *watch_new(struct web *w, curl_socket_t fd)
{
    struct watch *watch = xcalloc(1, sizeof(*watch));

    if (uv_poll_init_socket(loop_uv(w->loop), &watch->poll, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->web = w;
    watch->fd = fd;
    list_push(&w->watches, &watch->node);
    curl.multi_assign(w->multi, fd, watch);
    return watch;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct web *w = arg;
    struct watch *watch = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            watch_free(watch);
        return 0;
    }
    if (!watch)
        watch = watch_new(w, fd);
    if (!watch)
        return -1;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&watch->poll, events, on_poll);
    return 0;
}

static void on_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long ms, void *arg)
{
    struct web *w = arg;

    (void)multi;
    if (ms < 0)
        timer_stop(w->timer);
    else
        timer_start(w->timer, ms);
    return 0;
}

static bool multi_open(struct web *w)
{
    w->multi = curl.multi_init();
    if (!w->multi)
        return false;
    curl.multi_setopt(w->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl.multi_setopt(w->multi, CURLMOPT_SOCKETDATA, w);
    curl.multi_setopt(w->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    curl.multi_setopt(w->multi, CURLMOPT_TIMERDATA, w);
    w->timer = timer_new(w->loop, on_timer, w);
    return true;
}

/* --- one transfer --- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct web_call *c = arg;

    buf_add(&c->body_in, p, size * n);
    return buf_ok(&c->body_in) ? size * n : 0;
}

static bool set_request(struct web_call *c)
{
    CURL *e = c->easy;
    bool ok = true;

    for (size_t i = 0; c->header_lines[i]; i++)
        c->headers = curl.slist_append(c->headers, c->header_lines[i]);
    ok = ok && curl.easy_setopt(e, CURLOPT_URL, c->url) == CURLE_OK;
    ok = ok && curl.easy_setopt(e, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
    if (!strcmp(c->method, "HEAD")) {
        ok = ok && curl.easy_setopt(e, CURLOPT_NOBODY, 1L) == CURLE_OK;
    } else if (c->body_out->n || strcmp(c->method, "GET") != 0) {
        ok = ok && curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_out->n) ==
                       CURLE_OK;
        ok = ok && curl.easy_setopt(e, CURLOPT_POSTFIELDS,
                                    c->body_out->n ? (char *)c->body_out->p : "") == CURLE_OK;
        ok = ok && curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, c->method) == CURLE_OK;
    }
    return ok;
}

static bool set_limits(struct web_call *c)
{
    CURL *e = c->easy;

    return curl.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_FOLLOWLOCATION, c->stay ? 0L : 1L) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
}

static bool set_callbacks(struct web_call *c)
{
    CURL *e = c->easy;

    return curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_WRITEDATA, c) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_PRIVATE, c) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_ERRORBUFFER, c->text) == CURLE_OK &&
           curl.easy_setopt(e, CURLOPT_USERAGENT, "leat") == CURLE_OK;
}

static void begin(void *arg)
{
    struct web_call *c = arg;

    c->easy = curl.easy_init();
    if (c->easy && set_request(c) && set_limits(c) && set_callbacks(c) &&
        curl.multi_add_handle(c->web->multi, c->easy) == CURLM_OK)
        return;
    (void)err_set(&c->err, RC_INTERNAL, "%s: libcurl does not take the call", c->url);
    fail_now(c);
}

/* --- loading --- */

static bool find(void *lib, const char *name, void *out, struct loading *l)
{
    void *f = dlsym(lib, name);

    if (!f)
        snprintf(l->why, sizeof(l->why), "%s has no %s", library, name);
    memcpy(out, &f, sizeof(f));
    return f != NULL;
}

static void load_run(void *arg)
{
    struct loading *l = arg;
    void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);

    if (!lib) {
        snprintf(l->why, sizeof(l->why), "%s is missing; install the package libcurl4", library);
        return;
    }
#define X(type, name, params)                                                                      \
    if (!find(lib, "curl_" #name, &l->table.name, l))                                              \
        return;
    CURL_FUNCTIONS(X)
#undef X
    if (l->table.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        snprintf(l->why, sizeof(l->why), "libcurl does not start");
}

static void begin_waiting(struct web *w, const char *why)
{
    if (!*why && !w->multi && !multi_open(w))
        why = "libcurl does not start";
    LIST_EACH (&w->calls, struct web_call, node, c) {
        if (c->easy || c->soon.next)
            continue;
        if (!*why) {
            loop_defer(w->loop, &c->soon, begin, c);
            continue;
        }
        (void)err_set(&c->err, RC_UNAVAILABLE, "%s: %s", c->url, why);
        fail_soon(c);
    }
}

static void load_done(void *arg, bool cancelled)
{
    struct loading *l = arg;
    struct web *w = l->web;

    if (!cancelled && !*l->why && !curl_is_loaded) {
        curl = l->table;
        curl_is_loaded = true;
    }
    if (w) {
        w->loading = NULL;
        begin_waiting(w, cancelled ? "libcurl was not loaded: the node stops" : l->why);
    }
    free(l);
}

static void load(struct web *w)
{
    if (w->loading)
        return;
    w->loading = xcalloc(1, sizeof(*w->loading));
    w->loading->web = w;
    threads_submit(w->loop, w->loading, load_run, load_done);
}

/* --- the public functions --- */

struct web *web_new(struct loop *l)
{
    struct web *w = xcalloc(1, sizeof(*w));

    w->loop = l;
    list_init(&w->calls);
    list_init(&w->watches);
    return w;
}

void web_free(struct web *w)
{
    struct web_call *c;

    if (!w || w->dead)
        return;
    w->dead = true;
    w->busy++;
    if (w->loading)
        w->loading->web = NULL;
    while ((c = LIST_FIRST(&w->calls, struct web_call, node))) {
        (void)err_set(&c->err, RC_CANCELLED, "%s: the call was cancelled", c->url);
        tell(c, 0, NULL, &c->err);
    }
    web_leave(w);
}

static char **copy_lines(const char *const *lines)
{
    size_t n = 0;
    char **copy;

    while (lines && lines[n])
        n++;
    copy = xcalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(lines[i]);
    return copy;
}

struct web_call *web_start(struct web *w, const struct web_conf *conf)
{
    struct web_call *c;

    if (w->dead)
        return NULL;
    c = xcalloc(1, sizeof(*c));
    c->web = w;
    c->method = xstrdup(conf->method ? conf->method : "GET");
    c->url = xstrdup(conf->url);
    c->header_lines = copy_lines(conf->headers);
    c->timeout_ms = conf->timeout_ms > 0 ? conf->timeout_ms : DEFAULT_TIMEOUT_MS;
    c->on_done = conf->on_done;
    c->arg = conf->arg;
    c->body_out = conf->blob ? blob_ref(conf->blob) : blob_copy(conf->body);
    c->stay = conf->stay;
    buf_init(&c->body_in, conf->max_body);
    list_push(&w->calls, &c->node);
    if (curl_is_loaded)
        begin_waiting(w, "");
    else
        load(w);
    return c;
}

void web_cancel(struct web_call *c)
{
    if (c && !c->told)
        call_free(c);
}
