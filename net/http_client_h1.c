/* HTTP/1.1 as a client: one call at a time on a connection, read by llhttp.
 * Source: RFC 9112. */
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http_client_int.h"

/* Bytes that are neither body nor kept headers (reason phrase, chunk sizes and their
 * extensions, 1xx answers, empty lines) may come to this, and to the largest share that
 * honest chunks of one byte need. */
enum { MAX_FRAMING = 2 * HTTP_MAX_HEADER_BYTES, MAX_FRAMING_PER_BODY_BYTE = 8 };

struct h1 {
    struct client_conn conn;
    llhttp_t parser;
    struct http_call *call; /* NULL: idle */
    size_t bytes_in;        /* of this answer, all of it */
    bool keep;              /* the answer has ended and the connection may be used again */
};

static struct h1 *h1_of(struct client_conn *c)
{
    return CONTAINER_OF(c, struct h1, conn);
}

/* --- sending --- */

static bool sends_length(const struct http_call *call)
{
    const char *m = call->conf.method;

    return call->body_bytes || !strcmp(m, "POST") || !strcmp(m, "PUT") || !strcmp(m, "PATCH");
}

static void write_head(struct h1 *h, const struct http_call *call)
{
    struct buf b;

    buf_init(&b, 2 * CLIENT_MAX_REQUEST_HEAD);
    buf_printf(&b, "%s %s HTTP/1.1\r\n", call->conf.method, call->target);
    if (!http_call_header(call, "host"))
        buf_printf(&b, "Host: %s\r\n", call->authority);
    if (!http_call_header(call, "user-agent"))
        buf_str(&b, "User-Agent: leat\r\n");
    for (size_t i = 0; i < call->conf.n_headers; i++) {
        buf_add_slice(&b, call->conf.headers[i].name);
        buf_str(&b, ": ");
        buf_add_slice(&b, call->conf.headers[i].value);
        buf_str(&b, "\r\n");
    }
    if (sends_length(call))
        buf_printf(&b, "Content-Length: %zu\r\n", call->body_bytes);
    buf_str(&b, "\r\n");
    stream_write(h->conn.stream, buf_slice(&b));
    buf_cleanup(&b);
}

static void h1_on_writable(struct client_conn *c)
{
    struct http_call *call = h1_of(c)->call;

    if (!call || call->stop_sending)
        return;
    while (call->unwritten && stream_queued(c->stream) <= STREAM_HIGH_WATER)
        http_call_write_body(call, c->stream, MIN(call->unwritten, (size_t)STREAM_HIGH_WATER));
    call->body_done = !call->unwritten;
}

/* --- the answer, as llhttp finds it --- */

static struct http_call *call_of(llhttp_t *p)
{
    return ((struct h1 *)p->data)->call;
}

static int limit(llhttp_t *p, bool within)
{
    if (within)
        return 0;
    http_call_over_header_limit(call_of(p));
    return HPE_USER;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    return limit(p, answer_head_name(&call_of(p)->head, slice_of(at, n)));
}

static int on_field_complete(llhttp_t *p)
{
    answer_head_name_done(&call_of(p)->head);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    return limit(p, answer_head_value(&call_of(p)->head, slice_of(at, n)));
}

static int on_value_complete(llhttp_t *p)
{
    answer_head_value_done(&call_of(p)->head);
    return 0;
}

static int64_t told_length(const llhttp_t *p, const struct http_call *call)
{
    if (!(p->flags & F_CONTENT_LENGTH) || !strcmp(call->conf.method, "HEAD"))
        return -1;
    return (int64_t)MIN(p->content_length, (uint64_t)INT64_MAX);
}

static int on_headers_complete(llhttp_t *p)
{
    struct http_call *call = call_of(p);
    struct err err;
    bool bodiless = !strcmp(call->conf.method, "HEAD");

    call->status_in = llhttp_get_status_code(p);
    if (call->status_in == 101 || call->status_in < 100) {
        (void)err_set(&err, RC_BAD_INPUT, "%s answers with status %d", call->name, call->status_in);
        http_call_fail(call, &err);
        return -1;
    }
    if (call->status_in < 200)
        return http_call_informational(call) ? 1 : -1; /* 1: no body, whatever it says */
    if (!http_call_headers_in(call, told_length(p, call)))
        return -1;
    return bodiless ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    return http_call_bytes_in(call_of(p), slice_of(at, n)) ? 0 : HPE_USER;
}

static int on_message_complete(llhttp_t *p)
{
    struct h1 *h = p->data;

    if (!h->call->status)
        return 0; /* a 1xx answer; the real one follows */
    h->keep = llhttp_should_keep_alive(p) && h->call->body_done;
    http_call_finish(h->call);
    return HPE_PAUSED;
}

static const llhttp_settings_t callbacks = {
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* --- connection --- */

static struct client_conn *h1_open(void)
{
    struct h1 *h = xcalloc(1, sizeof(*h));

    return &h->conn;
}

static void h1_free(struct client_conn *c)
{
    free(h1_of(c));
}

static void h1_ready(struct client_conn *c)
{
    (void)c; /* the client speaks when it has something to ask */
}

static bool h1_has_room(const struct client_conn *c)
{
    return list_is_empty(&c->calls);
}

static bool h1_settling(const struct client_conn *c)
{
    (void)c;
    return false;
}

static void h1_start(struct client_conn *c, struct http_call *call)
{
    struct h1 *h = h1_of(c);

    llhttp_init(&h->parser, HTTP_RESPONSE, &callbacks);
    h->parser.data = h;
    h->call = call;
    h->bytes_in = 0;
    h->keep = false;
    write_head(h, call);
    h1_on_writable(c);
}

static void h1_leave(struct client_conn *c, struct http_call *call)
{
    struct h1 *h = h1_of(c);

    (void)call;
    h->call = NULL;
    if (!h->keep)
        client_conn_close(c);
}

static void broken(struct client_conn *c, const char *how)
{
    struct err err;

    (void)err_set(&err, RC_BAD_INPUT, "%s breaks HTTP/1.1: %s", c->name, how);
    client_conn_fail(c, &err, LOSS_FINAL);
}

static bool too_much_framing(const struct h1 *h)
{
    size_t body = h->call->received;

    return h->bytes_in - MIN(body, h->bytes_in) > MAX_FRAMING + MAX_FRAMING_PER_BODY_BYTE * body;
}

static void h1_on_data(struct client_conn *c, struct slice bytes)
{
    struct h1 *h = h1_of(c);
    enum llhttp_errno e;

    if (!h->call) { /* nobody asked */
        client_conn_close(c);
        return;
    }
    h->call->heard = true;
    h->bytes_in += bytes.n;
    e = llhttp_execute(&h->parser, (const char *)bytes.p, bytes.n);
    if (c->dead)
        return;
    if (h->call && e != HPE_OK)
        broken(c, llhttp_get_error_reason(&h->parser));
    else if (h->call && too_much_framing(h))
        http_call_over_header_limit(h->call);
    else if (!h->call && llhttp_get_error_pos(&h->parser) != (const char *)bytes.p + bytes.n)
        client_conn_close(c); /* more than one answer to one request */
}

static void say_cut(const struct client_conn *c, const struct http_call *call,
                    const struct err *why, struct err *err)
{
    if (!call->heard)
        (void)err_set(err, RC_CLOSED, "%s closed the connection before its answer (%s)", c->name,
                      why ? why->text : "without a word");
    else if (!call->status)
        (void)err_set(err, RC_CLOSED, "%s closed the connection within its headers", c->name);
    else
        (void)err_set(err, RC_CLOSED, "%s closed the connection within its answer, after %zu bytes",
                      c->name, call->received);
}

static void h1_on_end(struct client_conn *c, const struct err *why)
{
    struct h1 *h = h1_of(c);
    struct err err;

    if (h->call && !why)
        (void)llhttp_finish(&h->parser); /* ends an answer whose length is "until I close" */
    if (c->dead)
        return;
    if (!h->call) {
        client_conn_close(c);
        return;
    }
    say_cut(c, h->call, why, &err);
    client_conn_fail(c, &err, LOSS_RETRY_IF_REUSED);
}

static void h1_on_timer(struct client_conn *c)
{
    (void)c; /* HTTP/1.1 has no PING: the limits of the call are all there is */
}

const struct client_protocol client_http1 = {
    .version = 1,
    .open = h1_open,
    .ready = h1_ready,
    .has_room = h1_has_room,
    .settling = h1_settling,
    .start = h1_start,
    .leave = h1_leave,
    .on_data = h1_on_data,
    .on_writable = h1_on_writable,
    .on_end = h1_on_end,
    .on_timer = h1_on_timer,
    .free = h1_free,
};
