/* HTTP/2 as a client: many calls on a connection, framed by nghttp2. Bodies leave as blob
 * references. A stream's user data is its call, NULL once the call has gone.
 * Source: RFC 9113; our SETTINGS are those of the reference's client (vectors README). */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http_client_int.h"

enum {
    STREAM_WINDOW = 4 * 1024 * 1024,
    CONN_WINDOW = 16 * 1024 * 1024,
    FRAME_MAX = 16384,          /* what we take */
    SEND_FRAME_MAX = 64 * 1024, /* what we send, if the peer takes it: a turn for each call */
    MAX_CALLS = 100             /* on one connection, whatever the peer allows */
};

struct h2 {
    struct client_conn conn;
    nghttp2_session *session;
    bool settled;     /* the peer's SETTINGS have come */
    bool going;       /* the peer's GOAWAY has come */
    bool pinged;      /* and no byte since */
    int ping_ms;      /* 0: no call wants it */
    int64_t heard_ms; /* when something moved last */
    uint64_t out_seen;
    char complaint[160]; /* nghttp2's words about the peer's last offence */
};

static struct h2 *h2_of(struct client_conn *c)
{
    return CONTAINER_OF(c, struct h2, conn);
}

static struct http_call *call_of(nghttp2_session *s, int32_t id)
{
    return nghttp2_session_get_stream_user_data(s, id);
}

/* What callbacks of nghttp2 return when callers' functions ran below them. */
static int verdict(const struct h2 *h)
{
    return h->conn.dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* --- sending --- */

static ssize_t on_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct h2 *h = arg;

    (void)s, (void)flags;
    if (stream_queued(h->conn.stream) > STREAM_HIGH_WATER)
        return NGHTTP2_ERR_WOULDBLOCK; /* on_drain goes on */
    stream_write(h->conn.stream, slice_of(p, n));
    return (ssize_t)n;
}

static ssize_t on_body_wanted(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n,
                              uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct http_call *call = call_of(s, id);
    size_t offer;

    (void)buf, (void)source, (void)arg;
    if (!call || call->stop_sending)
        return NGHTTP2_ERR_DEFERRED; /* for ever: the stream is reset or ends soon */
    offer = MIN(n, call->unwritten);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (offer == call->unwritten)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)offer;
}

static int on_send_data(nghttp2_session *s, nghttp2_frame *frame, const uint8_t *head, size_t n,
                        nghttp2_data_source *source, void *arg)
{
    struct h2 *h = arg;
    struct http_call *call = call_of(s, frame->hd.stream_id);

    (void)source;
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* its caller left while this waited */
    if (stream_queued(h->conn.stream) > STREAM_HIGH_WATER)
        return NGHTTP2_ERR_WOULDBLOCK;
    stream_write(h->conn.stream, slice_of(head, 9));
    http_call_write_body(call, h->conn.stream, n);
    call->body_done = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    return 0;
}

static ssize_t on_frame_length(nghttp2_session *s, uint8_t type, int32_t id, int32_t conn_window,
                               int32_t stream_window, uint32_t peer_max, void *arg)
{
    (void)s, (void)type, (void)id, (void)arg;
    return MIN(MIN(conn_window, stream_window), (int32_t)MIN(peer_max, (uint32_t)SEND_FRAME_MAX));
}

static void fail_broken(struct h2 *h, int code)
{
    struct err err;

    (void)err_set(&err, RC_BAD_INPUT, "%s breaks HTTP/2: %s", h->conn.name,
                  *h->complaint ? h->complaint : nghttp2_strerror(code));
    client_conn_fail(&h->conn, &err, LOSS_FINAL);
}

static void h2_on_writable(struct client_conn *c)
{
    struct h2 *h = h2_of(c);
    int rc = nghttp2_session_send(h->session);

    if (c->dead)
        return;
    if (rc != 0)
        fail_broken(h, rc);
    else if (nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session))
        return;
    else if (list_is_empty(&c->calls))
        client_conn_close(c);
    else
        fail_broken(h, NGHTTP2_ERR_PROTO);
}

/* --- one call --- */

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static size_t request_headers(const struct http_call *call, bool tls, const char *length,
                              nghttp2_nv *v)
{
    size_t n = 0;

    v[n++] = nv(":method", call->conf.method);
    v[n++] = nv(":scheme", tls ? "https" : "http");
    v[n++] = nv(":path", call->target);
    v[n++] = nv(":authority", call->authority);
    for (size_t i = 0; i < call->conf.n_headers; i++) {
        const struct http_header *h = &call->conf.headers[i];

        v[n++] = (nghttp2_nv){(uint8_t *)h->name.p, (uint8_t *)h->value.p, h->name.n, h->value.n,
                              NGHTTP2_NV_FLAG_NONE}; /* copied, names in lower case */
    }
    if (!http_call_header(call, "user-agent"))
        v[n++] = nv("user-agent", "leat");
    if (call->body_bytes)
        v[n++] = nv("content-length", length);
    return n;
}

static int least_ping(const struct client_conn *c)
{
    int least = 0;

    LIST_EACH (&c->calls, const struct http_call, place, call)
        if (call->conf.ping_every_ms > 0 && (!least || call->conf.ping_every_ms < least))
            least = call->conf.ping_every_ms;
    return least;
}

/* After calls have come or gone. Silence goes on counting, however often they do. */
static void watch_silence(struct h2 *h)
{
    int was_ms = h->ping_ms;
    int64_t now = loop_now_ms(h->conn.loop);

    h->ping_ms = least_ping(&h->conn);
    if (h->ping_ms == was_ms)
        return;
    if (!h->ping_ms) {
        timer_stop(h->conn.timer);
        return;
    }
    if (!was_ms) {
        h->pinged = false;
        h->heard_ms = now;
    }
    timer_start(h->conn.timer, h->pinged ? h->ping_ms : MAX(h->heard_ms + h->ping_ms - now, 0));
}

static void h2_start(struct client_conn *c, struct http_call *call)
{
    struct h2 *h = h2_of(c);
    nghttp2_data_provider body = {.read_callback = on_body_wanted};
    nghttp2_nv *v = xcalloc(call->conf.n_headers + 6, sizeof(*v));
    char length[24];
    struct err err;
    size_t n;

    snprintf(length, sizeof(length), "%zu", call->body_bytes);
    n = request_headers(call, c->origin->https, length, v);
    call->body_done = !call->body_bytes;
    call->stream_id = nghttp2_submit_request(h->session, NULL, v, n,
                                             call->body_bytes ? &body : NULL, call);
    free(v);
    if (call->stream_id < 0) {
        (void)err_set(&err, RC_INTERNAL, "HTTP/2 request to %s: %s", c->name,
                      nghttp2_strerror(call->stream_id));
        call->stream_id = 0;
        h->going = true;
        http_call_lost(call, &err, LOSS_RETRY);
        return;
    }
    watch_silence(h);
    client_conn_pump_soon(c);
}

static void h2_leave(struct client_conn *c, struct http_call *call)
{
    struct h2 *h = h2_of(c);

    if (c->dead)
        return;
    if (call->stream_id) {
        (void)nghttp2_session_set_stream_user_data(h->session, call->stream_id, NULL);
        if (!call->answer_ended || !call->body_done)
            (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                            NGHTTP2_CANCEL); /* unknown there: it is gone already */
        call->stream_id = 0;
        client_conn_pump_soon(c);
    }
    watch_silence(h);
    if (h->going && list_is_empty(&c->calls))
        client_conn_close(c);
}

/* --- the answer, as nghttp2 finds it --- */

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    struct http_call *call = call_of(s, frame->hd.stream_id);

    (void)arg;
    if (call)
        call->heard = true;
    return 0;
}

/* nghttp2 has checked that it is three digits. */
static int status_of(struct slice value)
{
    uint64_t status = 0;

    return slice_u64(value, 999, &status) ? (int)status : 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct h2 *h = arg;
    struct http_call *call = call_of(s, frame->hd.stream_id);
    bool fits;

    (void)flags;
    if (!call)
        return 0;
    if (name_n && name[0] == ':') {
        if (slice_eq_str(slice_of(name, name_n), ":status"))
            call->status_in = status_of(slice_of(value, value_n));
        return 0;
    }
    fits = answer_head_name(&call->head, slice_of(name, name_n));
    if (fits) {
        answer_head_name_done(&call->head);
        fits = answer_head_value(&call->head, slice_of(value, value_n));
    }
    if (fits)
        answer_head_value_done(&call->head);
    else
        http_call_over_header_limit(call);
    return verdict(h);
}

static int64_t told_length(struct http_call *call)
{
    struct http_headers all = answer_head_view(&call->head);
    uint64_t n;

    if (!strcmp(call->conf.method, "HEAD"))
        return -1;
    return slice_u64(http_header_get(&all, "content-length"), INT64_MAX, &n) ? (int64_t)n : -1;
}

/* False: the call is gone. */
static bool headers_in(struct http_call *call)
{
    if (call->status)
        return true; /* trailers */
    if (call->status_in < 200)
        return http_call_informational(call);
    return http_call_headers_in(call, told_length(call));
}

/* More than one call at a time only when the peer has said how many it takes. */
static void peer_settings(struct h2 *h, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    h->settled = true;
    client_origin_turn_soon(h->conn.origin);
}

static void peer_goes(struct h2 *h)
{
    h->going = true;
    client_origin_turn_soon(h->conn.origin);
}

static void answer_frame(nghttp2_session *s, const nghttp2_frame *frame)
{
    struct http_call *call = call_of(s, frame->hd.stream_id);

    if (!call || (frame->hd.type == NGHTTP2_HEADERS && !headers_in(call)))
        return;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        http_call_finish(call);
}

static void reset_frame(nghttp2_session *s, const nghttp2_frame *frame)
{
    struct http_call *call = call_of(s, frame->hd.stream_id);

    if (call)
        call->reset_by_peer = true;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        answer_frame(s, frame);
        break;
    case NGHTTP2_RST_STREAM:
        reset_frame(s, frame);
        break;
    case NGHTTP2_SETTINGS:
        peer_settings(h, frame);
        break;
    case NGHTTP2_GOAWAY:
        peer_goes(h);
        break;
    }
    return verdict(h);
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                         void *arg)
{
    struct h2 *h = arg;
    struct http_call *call = call_of(s, id);

    (void)flags;
    if (call && n && !http_call_bytes_in(call, slice_of(p, n)))
        return verdict(h);
    return 0;
}

static int on_invalid_frame(nghttp2_session *s, const nghttp2_frame *frame, int code, void *arg)
{
    struct h2 *h = arg;

    (void)s, (void)frame;
    snprintf(h->complaint, sizeof(h->complaint), "%s", nghttp2_strerror(code));
    return 0;
}

static int on_error(nghttp2_session *s, int code, const char *text, size_t n, void *arg)
{
    struct h2 *h = arg;

    (void)s, (void)code;
    snprintf(h->complaint, sizeof(h->complaint), "%.*s", (int)MIN(n, sizeof(h->complaint) - 1),
             text);
    return 0;
}

static void say_reset(struct h2 *h, const struct http_call *call, uint32_t code, struct err *err)
{
    if (call->reset_by_peer || code == NGHTTP2_REFUSED_STREAM)
        (void)err_set(err, RC_CLOSED, "%s reset the call (HTTP/2 %s) after %zu bytes of its answer",
                      h->conn.name, nghttp2_http2_strerror(code), call->received);
    else
        (void)err_set(err, RC_BAD_INPUT, "%s breaks HTTP/2 after %zu bytes of its answer: %s",
                      h->conn.name, call->received,
                      *h->complaint ? h->complaint : nghttp2_http2_strerror(code));
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    struct h2 *h = arg;
    struct http_call *call = call_of(s, id);
    struct err err;

    if (!call)
        return 0;
    call->stream_id = 0;
    say_reset(h, call, code, &err);
    *h->complaint = '\0';
    http_call_lost(call, &err, code == NGHTTP2_REFUSED_STREAM ? LOSS_RETRY : LOSS_FINAL);
    return verdict(h);
}

/* --- connection --- */

static nghttp2_session *session_new(struct h2 *h)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    nghttp2_session *s = NULL;

    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&option) != 0)
        abort(); /* no memory */
    nghttp2_option_set_max_send_header_block_length(option, 2 * CLIENT_MAX_REQUEST_HEAD);
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(cb, on_frame_length);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_error_callback2(cb, on_error);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    if (nghttp2_session_client_new2(&s, cb, h, option) != 0)
        abort(); /* no memory */
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return s;
}

static struct client_conn *h2_open(void)
{
    struct h2 *h = xcalloc(1, sizeof(*h));

    h->session = session_new(h);
    return &h->conn;
}

static void h2_free(struct client_conn *c)
{
    struct h2 *h = h2_of(c);

    nghttp2_session_del(h->session);
    free(h);
}

static void h2_ready(struct client_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_MAX_HEADER_BYTES},
    };
    nghttp2_session *s = h2_of(c)->session;

    if (nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) != 0)
        abort(); /* no memory */
    client_conn_pump_soon(c);
}

static bool h2_settling(const struct client_conn *c)
{
    return !CONTAINER_OF(c, const struct h2, conn)->settled;
}

static bool h2_has_room(const struct client_conn *c)
{
    const struct h2 *h = CONTAINER_OF(c, const struct h2, conn);
    uint32_t peer_max = nghttp2_session_get_remote_settings(
        h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    if (h->going)
        return false;
    return c->calls.n < (h->settled ? MIN(peer_max, (uint32_t)MAX_CALLS) : 1);
}

static void h2_on_data(struct client_conn *c, struct slice bytes)
{
    struct h2 *h = h2_of(c);
    ssize_t n;

    h->heard_ms = loop_now_ms(c->loop);
    h->pinged = false;
    n = nghttp2_session_mem_recv(h->session, bytes.p, bytes.n);
    if (c->dead)
        return;
    if (n < 0)
        fail_broken(h, (int)n);
    else
        h2_on_writable(c);
}

static void h2_on_end(struct client_conn *c, const struct err *why)
{
    struct err err;

    (void)err_set(&err, RC_CLOSED, "%s closed the HTTP/2 connection (%s)", c->name,
                  why ? why->text : "without a word");
    client_conn_fail(c, &err, LOSS_RETRY_IF_REUSED);
}

/* What the kernel still takes of a long upload counts as a sign of life. */
static bool upload_moves(struct h2 *h)
{
    uint64_t out = stream_bytes_out(h->conn.stream);
    bool moves = out != h->out_seen && stream_queued(h->conn.stream) > 0;

    h->out_seen = out;
    return moves;
}

static void peer_is_silent(struct h2 *h)
{
    struct err err;

    (void)err_set(&err, RC_TIMEOUT, "%s answered no PING within %d ms", h->conn.name, h->ping_ms);
    client_conn_fail(&h->conn, &err, LOSS_FINAL);
}

static void h2_on_timer(struct client_conn *c)
{
    struct h2 *h = h2_of(c);
    int64_t now = loop_now_ms(c->loop), quiet_ms;

    if (upload_moves(h)) {
        h->heard_ms = now;
        h->pinged = false;
    }
    quiet_ms = now - h->heard_ms;
    if (h->pinged) {
        peer_is_silent(h);
        return;
    }
    if (quiet_ms < h->ping_ms) {
        timer_start(c->timer, h->ping_ms - quiet_ms);
        return;
    }
    h->pinged = true;
    (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL); /* fails without memory only */
    timer_start(c->timer, h->ping_ms);
    h2_on_writable(c);
}

const struct client_protocol client_http2 = {
    .version = 2,
    .open = h2_open,
    .ready = h2_ready,
    .has_room = h2_has_room,
    .settling = h2_settling,
    .start = h2_start,
    .leave = h2_leave,
    .on_data = h2_on_data,
    .on_writable = h2_on_writable,
    .on_end = h2_on_end,
    .on_timer = h2_on_timer,
    .free = h2_free,
};
