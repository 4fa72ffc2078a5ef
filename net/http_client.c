/* Calls: what is asked, how long it may take, what the caller is told. */
#include "net/http_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/url.h"
#include "net/http_client_int.h"

/* --- an answer's headers --- */

void answer_head_clear(struct answer_head *h)
{
    buf_clear(&h->text);
    h->n = 0;
}

bool answer_head_name(struct answer_head *h, struct slice part)
{
    if (h->n == HTTP_MAX_HEADERS)
        return false;
    buf_add_slice(&h->text, part);
    return buf_ok(&h->text);
}

void answer_head_name_done(struct answer_head *h)
{
    h->at[h->n].name = h->n ? h->at[h->n - 1].end : 0;
    h->at[h->n].value = h->text.n;
}

bool answer_head_value(struct answer_head *h, struct slice part)
{
    buf_add_slice(&h->text, part);
    return buf_ok(&h->text);
}

void answer_head_value_done(struct answer_head *h)
{
    h->at[h->n++].end = h->text.n;
}

struct http_headers answer_head_view(struct answer_head *h)
{
    struct slice all = buf_slice(&h->text);

    for (size_t i = 0; i < h->n; i++) {
        h->v[i].name = slice_sub(all, h->at[i].name, h->at[i].value - h->at[i].name);
        h->v[i].value = slice_trim(slice_sub(all, h->at[i].value, h->at[i].end - h->at[i].value));
    }
    return (struct http_headers){h->v, h->n};
}

/* --- the end of a call --- */

static void call_free(struct http_call *c)
{
    for (size_t i = 0; i < c->conf.n_body_parts; i++)
        blob_unref(&c->parts[i]);
    free(c->parts);
    buf_cleanup(&c->head.text);
    buf_cleanup(&c->body);
    arena_free(c->arena);
    if (c->on_free)
        c->on_free(c->conf.arg);
    free(c);
}

static void call_enter(struct http_call *c)
{
    c->calling++;
}

/* False: the caller has ended the call meanwhile. */
static bool call_leave(struct http_call *c)
{
    bool over = http_call_is_over(c);

    if (--c->calling == 0 && c->phase == CALL_DONE)
        call_free(c);
    return !over;
}

/* Out of every list; nothing will come in any more. */
static void call_withdraw(struct http_call *c)
{
    if (c->conn)
        client_conn_detach(c);
    if (c->origin)
        client_origin_unwait(c);
    loop_defer_cancel(c->loop, &c->soon);
    timer_free(c->timer);
    c->timer = NULL;
}

static void call_retire(struct http_call *c)
{
    call_withdraw(c);
    list_remove(&c->client->calls, &c->node);
    c->client = NULL;
    c->phase = CALL_DONE;
}

static void tell_done(struct http_call *c, struct blob *body, const struct err *err)
{
    struct http_headers h = answer_head_view(&c->head);

    call_retire(c);
    call_enter(c);
    if (c->conf.on_done)
        c->conf.on_done(c->status, &h, body, err, c->conf.arg);
    (void)call_leave(c); /* it is over in any case */
}

void http_call_finish(struct http_call *c)
{
    struct blob *body = c->conf.collect ? blob_of_buf(&c->body) : NULL;

    c->answer_ended = true;
    tell_done(c, body, NULL);
    blob_unref(&body);
}

static void fail_now(void *arg)
{
    struct http_call *c = arg;

    tell_done(c, NULL, &c->err);
}

void http_call_fail(struct http_call *c, const struct err *why)
{
    if (http_call_is_over(c))
        return;
    call_withdraw(c);
    c->err = *why;
    c->phase = CALL_FAILING;
    loop_defer(c->loop, &c->soon, fail_now, c);
}

void http_call_cancel(struct http_call *c)
{
    if (!c || c->phase == CALL_DONE)
        return;
    call_retire(c);
    if (!c->calling)
        call_free(c);
}

bool http_call_is_over(const struct http_call *c)
{
    return c->phase == CALL_FAILING || c->phase == CALL_DONE;
}

void http_call_on_free(struct http_call *c, void (*fn)(void *arg))
{
    c->on_free = fn;
}

/* --- time --- */

static int64_t by(const struct http_call *c, int limit_ms)
{
    return limit_ms > 0 ? c->started_ms + limit_ms : INT64_MAX;
}

static int64_t connect_by(const struct http_call *c)
{
    bool connecting = c->phase == CALL_STARTING || c->phase == CALL_WAITING;

    return connecting ? c->connect_by_ms : INT64_MAX;
}

static int64_t header_by(const struct http_call *c)
{
    return c->status ? INT64_MAX : by(c, c->conf.header_timeout_ms);
}

static void arm_timer(struct http_call *c)
{
    int64_t due = MIN(connect_by(c), MIN(header_by(c), by(c, c->conf.timeout_ms)));

    if (due == INT64_MAX)
        timer_stop(c->timer);
    else
        timer_start(c->timer, due - loop_now_ms(c->loop));
}

static void say_header_timeout(const struct http_call *c, int limit_ms, struct err *err)
{
    if (c->phase != CALL_RUNNING)
        (void)err_set(err, RC_TIMEOUT, "header timeout: no connection to %s within %d ms", c->name,
                      limit_ms);
    else if (c->body_bytes)
        (void)err_set(err, RC_TIMEOUT,
                      "header timeout: %s began no answer within %d ms (%zu of %zu bytes sent)",
                      c->name, limit_ms, c->body_bytes - c->unwritten, c->body_bytes);
    else
        (void)err_set(err, RC_TIMEOUT, "header timeout: %s began no answer within %d ms", c->name,
                      limit_ms);
}

static void on_timer(void *arg)
{
    struct http_call *c = arg;
    int64_t now = loop_now_ms(c->loop);

    if (now >= header_by(c))
        say_header_timeout(c, c->conf.header_timeout_ms, &c->err);
    else if (now >= by(c, c->conf.timeout_ms) && !c->status)
        say_header_timeout(c, c->conf.timeout_ms, &c->err);
    else if (now >= by(c, c->conf.timeout_ms))
        (void)err_set(&c->err, RC_TIMEOUT,
                      "body timeout: %s did not end its answer within %d ms (%zu bytes came)",
                      c->name, c->conf.timeout_ms, c->received);
    else if (now >= connect_by(c))
        (void)err_set(&c->err, RC_UNAVAILABLE, "no connection to %s within %d ms", c->name,
                      c->conf.connect_timeout_ms);
    else {
        arm_timer(c);
        return;
    }
    tell_done(c, NULL, &c->err);
}

/* --- what connections report --- */

void http_call_over_header_limit(struct http_call *c)
{
    struct err err;

    (void)err_set(&err, RC_LIMIT, "%s sends more headers than %d bytes or %d lines", c->name,
                  HTTP_MAX_HEADER_BYTES, HTTP_MAX_HEADERS);
    http_call_fail(c, &err);
}

bool http_call_informational(struct http_call *c)
{
    struct err err;

    answer_head_clear(&c->head);
    if (++c->informational <= CLIENT_MAX_INFORMATIONAL)
        return true;
    (void)err_set(&err, RC_LIMIT, "%s sends more than %d answers of class 1xx", c->name,
                  CLIENT_MAX_INFORMATIONAL);
    http_call_fail(c, &err);
    return false;
}

static void over_body_limit(struct http_call *c, uint64_t bytes)
{
    struct err err;

    (void)err_set(&err, RC_LIMIT, "answer of %s has %llu bytes or more, at most %zu are taken",
                  c->name, (unsigned long long)bytes, c->conf.max_body);
    http_call_fail(c, &err);
}

bool http_call_headers_in(struct http_call *c, int64_t content_length)
{
    struct http_headers h = answer_head_view(&c->head);

    c->status = c->status_in;
    if (c->status >= 300)
        c->stop_sending = true;
    arm_timer(c);
    call_enter(c);
    if (c->conf.on_headers)
        c->conf.on_headers(c->status, &h, c->conf.arg);
    if (!http_call_is_over(c) && content_length > 0 && (uint64_t)content_length > c->conf.max_body)
        over_body_limit(c, (uint64_t)content_length);
    return call_leave(c);
}

bool http_call_bytes_in(struct http_call *c, struct slice bytes)
{
    c->received += bytes.n;
    call_enter(c);
    if (c->received > c->conf.max_body)
        over_body_limit(c, c->received);
    else if (c->conf.collect)
        buf_add_slice(&c->body, bytes);
    if (!http_call_is_over(c) && c->conf.on_bytes)
        c->conf.on_bytes(bytes, c->conf.arg);
    return call_leave(c);
}

static void rewind_call(struct http_call *c)
{
    c->part = c->part_at = 0;
    c->unwritten = c->body_bytes;
    c->body_done = false;
    c->sent_us = 0;
    c->heard = c->reset_by_peer = false;
    c->informational = 0;
    answer_head_clear(&c->head);
}

static void set_connect_by(struct http_call *c)
{
    c->connect_by_ms = loop_now_ms(c->loop) + c->conf.connect_timeout_ms;
}

void http_call_lost(struct http_call *c, const struct err *why, enum call_loss loss)
{
    bool again = loss == LOSS_RETRY || (loss == LOSS_RETRY_IF_REUSED && c->reused);

    if (!again || c->heard || c->retried) {
        http_call_fail(c, why);
        return;
    }
    client_conn_detach(c);
    rewind_call(c);
    c->retried = true;
    c->after = c->client->last_serial;
    set_connect_by(c);
    client_origin_wait(c);
    arm_timer(c);
}

void http_call_write_body(struct http_call *c, struct stream *s, size_t n)
{
    assert(n <= c->unwritten);
    c->unwritten -= n;
    while (n) {
        struct blob *b = c->parts[c->part];
        size_t take = MIN(n, b->n - c->part_at);

        stream_write_blob(s, b, c->part_at, take);
        n -= take;
        c->part_at += take;
        if (c->part_at == b->n) {
            c->part++;
            c->part_at = 0;
        }
    }
}

const struct http_header *http_call_header(const struct http_call *c, const char *name)
{
    for (size_t i = 0; i < c->conf.n_headers; i++)
        if (slice_eq_nocase(c->conf.headers[i].name, name))
            return &c->conf.headers[i];
    return NULL;
}

/* --- the start of a call --- */

/* Addresses and secrets come from files and peers: a line break in one would let it add
 * headers of its own. */
static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == ':')
            return false;
    return s.n > 0;
}

static bool is_value(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_target(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return true;
}

static enum rc set_target(struct http_call *c, const struct url *u, struct err *err)
{
    struct slice path = slice_sub(u->path, 0, slice_find(u->path, '#'));
    struct slice query = slice_sub(u->query, 0, slice_find(u->query, '#'));

    if (path.n + query.n > HTTP_MAX_TARGET)
        return err_set(err, RC_LIMIT, "address of %zu bytes, at most %d", path.n + query.n,
                       HTTP_MAX_TARGET);
    if (!is_target(path) || !is_target(query))
        return err_set(err, RC_BAD_INPUT, "address holds a space or control byte");
    c->target = arena_printf(c->arena, "%s" SLICE_FMT "%s" SLICE_FMT, path.n ? "" : "/",
                             (int)path.n, (const char *)path.p, query.n ? "?" : "", (int)query.n,
                             (const char *)query.p);
    return RC_OK;
}

static void set_place(struct http_call *c, const struct http_call_conf *conf, const struct url *u)
{
    const char *open = strchr(u->host, ':') ? "[" : "", *close = *open ? "]" : "";
    bool usual_port;

    c->https = strcmp(u->scheme, "https") == 0 && !conf->unix_path;
    c->port = u->port ? u->port : c->https ? 443 : 80;
    usual_port = c->port == (c->https ? 443 : 80);
    c->authority = usual_port ? arena_printf(c->arena, "%s%s%s", open, u->host, close)
                              : arena_printf(c->arena, "%s%s%s:%u", open, u->host, close, c->port);
    if (conf->unix_path) {
        c->host = arena_printf(c->arena, "unix:%s", conf->unix_path);
        c->name = c->host;
    } else {
        c->host = arena_strdup(c->arena, u->host);
        c->name = arena_printf(c->arena, "%s%s%s:%u", open, u->host, close, c->port);
    }
}

static enum rc set_url(struct http_call *c, const struct http_call_conf *conf, struct err *err)
{
    struct url u;
    enum rc rc;

    c->name = "?";
    if (strlen(conf->url) > HTTP_MAX_TARGET + URL_HOST_MAX + 32)
        return err_set(err, RC_LIMIT, "address of %zu bytes, at most %d", strlen(conf->url),
                       HTTP_MAX_TARGET);
    rc = url_parse(slice_str(conf->url), &u, err);
    if (rc != RC_OK)
        return rc;
    if (strcmp(u.scheme, "http") != 0 && strcmp(u.scheme, "https") != 0)
        return err_set(err, RC_BAD_INPUT, "%s: not http:// or https://", conf->url);
    if (!is_target(slice_str(u.host)) || !is_token(slice_str(conf->method)))
        return err_set(err, RC_BAD_INPUT, "host or method holds a space or control byte");
    set_place(c, conf, &u);
    return set_target(c, &u, err);
}

static enum rc set_headers(struct http_call *c, const struct http_call_conf *conf, struct err *err)
{
    struct http_header *copy = arena_alloc(c->arena, (conf->n_headers + 1) * sizeof(*copy));
    size_t total = 0;

    for (size_t i = 0; i < conf->n_headers; i++) {
        const struct http_header *h = &conf->headers[i];

        total += h->name.n + h->value.n + 4;
        if (!is_token(h->name) || !is_value(h->value))
            return err_set(err, RC_BAD_INPUT, "header " SLICE_FMT " holds a control byte",
                           SLICE_ARG(h->name));
        if (total > CLIENT_MAX_REQUEST_HEAD)
            return err_set(err, RC_LIMIT, "request headers above %d bytes",
                           CLIENT_MAX_REQUEST_HEAD);
        copy[i].name = slice_of(arena_text(c->arena, h->name), h->name.n);
        copy[i].value = slice_of(arena_text(c->arena, h->value), h->value.n);
    }
    c->conf.headers = copy;
    return RC_OK;
}

static void set_body(struct http_call *c, const struct http_call_conf *conf)
{
    struct blob *const *parts = conf->body ? &conf->body : conf->body_parts;
    size_t n = conf->body ? 1 : conf->n_body_parts;

    c->conf.n_body_parts = n;
    c->parts = xcalloc(n + 1, sizeof(*c->parts));
    for (size_t i = 0; i < n; i++) {
        c->parts[i] = blob_ref(parts[i]);
        c->body_bytes += parts[i]->n;
    }
    c->unwritten = c->body_bytes;
}

static void begin(void *arg)
{
    client_origin_wait(arg);
}

static struct http_call *call_new(struct http_client *client, const struct http_call_conf *conf)
{
    struct http_call *c = xcalloc(1, sizeof(*c));

    c->client = client;
    c->loop = client->loop;
    c->conf = *conf;
    c->arena = arena_new(2 * CLIENT_MAX_REQUEST_HEAD + 8 * HTTP_MAX_TARGET);
    c->conf.method = arena_strdup(c->arena, conf->method);
    if (c->conf.connect_timeout_ms <= 0)
        c->conf.connect_timeout_ms = CLIENT_CONNECT_MS;
    buf_init(&c->head.text, HTTP_MAX_HEADER_BYTES);
    buf_init(&c->body, conf->collect ? conf->max_body : 0);
    list_push(&client->calls, &c->node);
    c->timer = timer_new(c->loop, on_timer, c);
    c->started_ms = loop_now_ms(c->loop);
    return c;
}

struct http_call *http_call_start(struct http_client *client, const struct http_call_conf *conf)
{
    struct http_call *c;
    struct err err;

    if (client->freeing)
        return NULL;
    c = call_new(client, conf);
    set_body(c, conf);
    if (set_headers(c, conf, &err) != RC_OK || set_url(c, conf, &err) != RC_OK) {
        http_call_fail(c, &err);
        return c;
    }
    set_connect_by(c);
    arm_timer(c);
    loop_defer(c->loop, &c->soon, begin, c);
    return c;
}

int64_t http_call_sent_us(const struct http_call *c)
{
    return c->sent_us;
}

/* --- the client --- */

struct http_client *http_client_new(struct loop *l)
{
    struct http_client *c = xcalloc(1, sizeof(*c));

    c->loop = l;
    c->origins = map_new();
    c->idle_ms = CLIENT_IDLE_MS;
    list_init(&c->calls);
    return c;
}

void http_client_free(struct http_client *c)
{
    struct http_call *call;

    if (!c || c->freeing)
        return;
    c->freeing = true;
    while ((call = LIST_FIRST(&c->calls, struct http_call, node))) {
        (void)err_set(&call->err, RC_CANCELLED, "%s: the call was cancelled", call->name);
        tell_done(call, NULL, &call->err);
    }
    client_origins_free(c);
    map_free(c->origins);
    tls_client_free(c->tls);
    free(c);
}
