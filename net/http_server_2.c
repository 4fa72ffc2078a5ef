/* HTTP/2, server side, over nghttp2. What is ours here: windows that open only as the
 * handler takes the body, frames whose payload is a reference to the answer's blob, one
 * write per loop turn, and limits on what a peer may do without wanting an answer. */
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/http_server_int.h"

/* The first five as the reference announces them (vectors: get-orchestrator.h2.s2c). */
enum {
    MAX_FRAME = 1048576,
    STREAM_WINDOW = 1048576,
    HEADER_LIST = HTTP_MAX_HEADER_BYTES + 32 * HTTP_MAX_HEADERS,
    HEADER_TABLE = 4096,
    CONN_WINDOW = 4 * 1048576,
    RESETS_AHEAD = 1000,        /* streams reset by the peer, beyond those completed */
    NUISANCE_PER_WINDOW = 1000, /* frames that ask for nothing, in one window of time */
    NUISANCE_WINDOW_MS = 10000,
    OUTBOUND_FRAMES = 4000, /* waiting because the peer does not read */
    HEAD_BYTES_FATAL = 4 * HTTP_MAX_HEADER_BYTES,
    MAX_CONTINUATIONS = 1024, /* nghttp2 counts one again for each piece that it comes in */
    FIRST_HEADERS = 16
};

struct http2 {
    nghttp2_session *session;
    struct deferred send;
    uint64_t resets, completed;
    int nuisances;
    int64_t nuisance_since_ms;
    bool flooded, going;
    int64_t heard_ms, pinged_ms; /* pinged: and no byte since; 0: not pinged */
    bool ping_late;
};

/* NULL when the exchange is over; nghttp2 may still hold frames of its stream. */
static struct http_exchange *exchange_of(struct http_conn *c, int32_t stream_id)
{
    return c->dead ? NULL : nghttp2_session_get_stream_user_data(c->as.h2->session, stream_id);
}

/* --- sending --- */

static void send_now(void *arg)
{
    struct http_conn *c = arg;
    struct http2 *h = c->as.h2;
    int rc;

    if (c->dead)
        return;
    rc = nghttp2_session_send(h->session);
    if (c->dead)
        return;
    if (rc != 0)
        log_debug(NULL, "HTTP/2 with %s: %s", stream_peer(c->stream), nghttp2_strerror(rc));
    if (rc == 0 &&
        (nghttp2_session_want_read(h->session) || nghttp2_session_want_write(h->session)))
        return;
    /* over: by a good-bye, or by an error that said one */
    for (struct http_exchange *x; (x = LIST_FIRST(&c->exchanges, struct http_exchange, node));) {
        if (x->ended)
            return; /* its last bytes are on the way; closed() comes back here */
        exchange_close(x, false);
    }
    conn_close_when_sent(c);
}

static void send_soon(struct http_conn *c)
{
    if (!c->dead)
        loop_defer(c->server->loop, &c->as.h2->send, send_now, c);
}

static bool is_full(const struct http_conn *c)
{
    return stream_queued(c->stream) > STREAM_HIGH_WATER; /* on_drain goes on */
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct http_conn *c = arg;

    (void)session, (void)flags;
    if (is_full(c))
        return NGHTTP2_ERR_WOULDBLOCK;
    conn_write(c, slice_of(p, n));
    return (ssize_t)n;
}

/* n bytes of the answer go from the exchange's queue into the stream's. */
static void move_out(struct http_exchange *x, size_t n)
{
    while (n) {
        struct chunk *first = x->out.first;
        struct slice part = slice_of(first->p, MIN(n, first->n));

        if (first->blob)
            conn_write_blob(x->conn, first->blob, part);
        else
            conn_write(x->conn, part);
        n -= part.n;
        chunks_consume(&x->out, part.n);
    }
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *arg)
{
    struct http_conn *c = arg;
    struct http_exchange *x = exchange_of(c, frame->hd.stream_id);

    (void)session, (void)source;
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (is_full(c))
        return NGHTTP2_ERR_WOULDBLOCK;
    conn_write(c, slice_of(head, 9));
    move_out(x, n);
    x->wire_end = c->written;
    x->moved_ms = conn_now_ms(c);
    return 0;
}

static nghttp2_nv nv_of(struct slice name, struct slice value)
{
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n,
                        NGHTTP2_NV_FLAG_NONE};
}

static bool is_of_connection(struct slice name)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_nocase(name, names[i]))
            return true;
    return false;
}

static nghttp2_nv nv_of_header(struct http_exchange *x, const struct http_header *h)
{
    uint8_t *name = arena_alloc(x->arena, h->name.n);

    for (size_t i = 0; i < h->name.n; i++)
        name[i] = h->name.p[i] >= 'A' && h->name.p[i] <= 'Z' ? h->name.p[i] | 0x20 : h->name.p[i];
    return nv_of(slice_of(name, h->name.n), h->value);
}

static void submit_trailers(struct http_exchange *x)
{
    nghttp2_nv nv[HTTP_MAX_TRAILERS];

    for (size_t i = 0; i < x->n_trailers; i++)
        nv[i] = nv_of_header(x, &x->trailers[i]);
    (void)nghttp2_submit_trailer(x->conn->as.h2->session, x->stream_id, nv,
                                 x->n_trailers); /* fails for a stream that is gone */
}

static ssize_t on_read_data(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
                            uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct http_exchange *x = exchange_of(arg, id);
    size_t n = x ? MIN(max, x->out.bytes) : 0;

    (void)session, (void)out, (void)source;
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!n && !x->finished) {
        x->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!x->finished || n < x->out.bytes)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (x->n_trailers) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(x);
    }
    return (ssize_t)n;
}

static void add_nv(nghttp2_nv *nv, size_t *n, const char *name, struct slice value)
{
    nv[(*n)++] = nv_of(slice_str(name), value);
}

static void http2_send_head(struct http_exchange *x, int status, const char *type, int64_t length)
{
    nghttp2_nv nv[HTTP_MAX_ANSWER_HEADERS + 4];
    nghttp2_data_provider data = {{0}, on_read_data};
    bool no_data = x->no_body || length == 0;
    size_t n = 0;

    add_nv(nv, &n, ":status", slice_str(arena_printf(x->arena, "%d", status)));
    if (type)
        add_nv(nv, &n, "content-type", slice_str(type));
    if (length >= 0)
        add_nv(nv, &n, "content-length",
               slice_str(arena_printf(x->arena, "%lld", (long long)length)));
    for (size_t i = 0; i < x->n_headers; i++)
        if (!is_of_connection(x->headers[i].name))
            nv[n++] = nv_of_header(x, &x->headers[i]);
    add_nv(nv, &n, "date", http_date_now());
    if (nghttp2_submit_response(x->conn->as.h2->session, x->stream_id, nv, n,
                                no_data ? NULL : &data) != 0)
        http_abort(x); /* a header that HTTP/2 forbids */
    send_soon(x->conn);
}

static void resume_data(struct http_exchange *x)
{
    if (x->is_deferred) {
        x->is_deferred = false;
        (void)nghttp2_session_resume_data(x->conn->as.h2->session, x->stream_id);
    }
    send_soon(x->conn);
}

static void http2_send(struct http_exchange *x, struct blob *b, struct slice part)
{
    if (b)
        chunks_add_blob(&x->out, b, (size_t)(part.p - b->p), part.n);
    else
        chunks_add(&x->out, part);
    resume_data(x);
}

static void http2_finish(struct http_exchange *x)
{
    resume_data(x);
    conn_settle_soon(x->conn); /* an answer without a body may have ended before */
}

static void http2_send_continue(struct http_exchange *x)
{
    nghttp2_nv nv = nv_of(SLICE_LIT(":status"), SLICE_LIT("100"));

    (void)nghttp2_submit_headers(x->conn->as.h2->session, NGHTTP2_FLAG_NONE, x->stream_id, NULL,
                                 &nv, 1, NULL); /* fails for a stream that is gone */
    send_soon(x->conn);
}

/* --- the end of an exchange --- */

static void reset_stream(struct http_exchange *x, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(x->conn->as.h2->session, NGHTTP2_FLAG_NONE, x->stream_id,
                                    code); /* fails for a stream that is gone */
    send_soon(x->conn);
}

static void http2_abort(struct http_exchange *x)
{
    reset_stream(x, NGHTTP2_INTERNAL_ERROR);
    exchange_close(x, false);
}

static void http2_closed(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct http2 *h = c->as.h2;

    (void)nghttp2_session_set_stream_user_data(h->session, x->stream_id, NULL);
    if (x->stalled)
        reset_stream(x, NGHTTP2_NO_ERROR); /* it is answered, and would hold its stream for ever */
    if (x->held.n)
        (void)nghttp2_session_consume_connection(h->session, x->held.n);
    if (!x->head_done)
        c->head_since_ms = 0;
    if (list_is_empty(&c->exchanges))
        conn_set_idle(c);
    send_soon(c);
}

/* Our last frame of this answer is in the stream's queue. */
static void answer_ended(struct http_exchange *x)
{
    x->ended = true;
    x->wire_end = x->conn->written;
    x->conn->as.h2->completed++;
    conn_settle_soon(x->conn);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    uint8_t type = frame->hd.type;
    struct http_exchange *x;

    (void)session;
    if (type != NGHTTP2_DATA && type != NGHTTP2_HEADERS)
        return 0;
    x = exchange_of(c, frame->hd.stream_id);
    if (!x || x->ended)
        return 0;
    x->wire_end = c->written;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        answer_ended(x);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct http_exchange *x = exchange_of(arg, id);

    (void)session, (void)code;
    if (x && !x->ended)
        exchange_close(x, false);
    return 0;
}

/* --- receiving --- */

static void flooded(struct http_conn *c, const char *with)
{
    static struct log_limit limit;

    if (c->as.h2->flooded)
        return;
    c->as.h2->flooded = true;
    if (log_allowed(&limit, 6))
        log_peer(NULL, "%s floods us with %s: connection closed", stream_peer(c->stream), with);
    (void)nghttp2_session_terminate_session(c->as.h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    send_soon(c);
}

/* A frame that is legal but asks for nothing. A few are normal, thousands are an attack. */
static void nuisance(struct http_conn *c)
{
    struct http2 *h = c->as.h2;
    int64_t now = conn_now_ms(c);

    if (now - h->nuisance_since_ms > NUISANCE_WINDOW_MS) {
        h->nuisance_since_ms = now;
        h->nuisances = 0;
    }
    if (++h->nuisances > NUISANCE_PER_WINDOW)
        flooded(c, "frames without content");
}

/* What a callback returns: after a flood not one frame more is looked at. */
static int verdict(const struct http_conn *c)
{
    return !c->dead && c->as.h2->flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    struct http_exchange *x;

    if (c->dead || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    x = exchange_new(c);
    x->stream_id = frame->hd.stream_id;
    x->req.version = 2;
    x->n_room = FIRST_HEADERS;
    x->req.headers.v = arena_alloc(x->arena, FIRST_HEADERS * sizeof(struct http_header));
    (void)nghttp2_session_set_stream_user_data(session, x->stream_id, x);
    conn_set_busy(c);
    c->head_since_ms = conn_now_ms(c);
    return 0;
}

static struct slice arena_slice(struct http_exchange *x, const uint8_t *p, size_t n)
{
    return slice_of(memcpy(arena_alloc(x->arena, n + 1), p, n), n);
}

static void add_header(struct http_exchange *x, struct slice name, struct slice value)
{
    struct http_header *v;

    if (x->req.headers.n == HTTP_MAX_HEADERS) {
        x->refuse_status = 431;
        return;
    }
    if (x->req.headers.n == x->n_room) {
        v = arena_alloc(x->arena, HTTP_MAX_HEADERS * sizeof(*v));
        memcpy(v, x->req.headers.v, x->n_room * sizeof(*v));
        x->req.headers.v = v;
        x->n_room = HTTP_MAX_HEADERS;
    }
    v = (struct http_header *)x->req.headers.v;
    v[x->req.headers.n++] = (struct http_header){name, value};
}

static void add_pseudo(struct http_exchange *x, struct slice name, struct slice value)
{
    if (slice_eq_str(name, ":method"))
        x->req.method = value;
    else if (slice_eq_str(name, ":authority"))
        x->req.authority = value;
    else if (slice_eq_str(name, ":path") && value.n > HTTP_MAX_TARGET)
        x->refuse_status = 414;
    else if (slice_eq_str(name, ":path"))
        exchange_set_target(x, value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct http_exchange *x = exchange_of(arg, frame->hd.stream_id);

    (void)session, (void)flags;
    if (!x)
        return 0;
    x->head_bytes += name_n + value_n;
    if (x->head_bytes > HEAD_BYTES_FATAL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (x->head_bytes > HTTP_MAX_HEADER_BYTES)
        x->refuse_status = 431;
    if (x->refuse_status || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* the rest does not matter; trailers are nobody's need */
    if (name_n && name[0] == ':')
        add_pseudo(x, slice_of(name, name_n), arena_slice(x, value, value_n));
    else
        add_header(x, arena_slice(x, name, name_n), arena_slice(x, value, value_n));
    return 0;
}

static const char *head_defect(const struct http_exchange *x)
{
    if (x->refuse_status == 414)
        return "the request target is longer than 8192 bytes";
    if (x->refuse_status)
        return "the head has more than 64 fields or 65536 bytes";
    if (slice_eq_str(x->req.method, "CONNECT"))
        return "CONNECT is not served here";
    return NULL;
}

static void head_complete(struct http_conn *c, struct http_exchange *x)
{
    const char *defect = head_defect(x);

    c->head_since_ms = 0;
    x->head_done = true;
    exchange_read_headers(x);
    if (!x->req.method.n)
        x->req.method = SLICE_LIT("GET"); /* only where the head was too long to be kept */
    if (defect)
        exchange_refuse(x, x->refuse_status ? x->refuse_status : 400, defect);
    else
        exchange_begin(x);
}

static void note_reset(struct http_conn *c)
{
    struct http2 *h = c->as.h2;

    if (++h->resets > h->completed + RESETS_AHEAD) /* CVE-2023-44487 */
        flooded(c, "requests that it resets at once");
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_conn *c = arg;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
               (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA);
    struct http_exchange *x;

    (void)session;
    if (c->dead)
        return 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        x = exchange_of(c, frame->hd.stream_id);
        if (x && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            head_complete(c, x);
        break;
    case NGHTTP2_DATA:
        if (!end && frame->hd.length == 0)
            nuisance(c);
        break;
    case NGHTTP2_RST_STREAM:
        note_reset(c);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        break;
    case NGHTTP2_SETTINGS:
        if (list_is_empty(&c->exchanges) && !c->is_idle)
            conn_set_idle(c); /* it is a client, only not in a hurry */
        nuisance(c);
        break;
    default:
        nuisance(c);
    }
    x = end ? exchange_of(c, frame->hd.stream_id) : NULL;
    if (x)
        exchange_body_end(x, NULL);
    return verdict(c);
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int why,
                            void *arg)
{
    (void)session, (void)frame, (void)why;
    nuisance(arg);
    return verdict(arg);
}

/* The rest of a body whose answer is sent: a short one is let through, because clients take
 * a reset while they upload for a failure (curl 7.88); a long one is stopped (RFC 9113 8.1). */
static void skip_rest(struct http_conn *c, int32_t id, size_t n)
{
    nghttp2_session *session = c->as.h2->session;

    (void)nghttp2_session_consume_connection(session, n);
    if (nghttp2_session_get_stream_effective_recv_data_length(session, id) <= HTTP_MAX_REST)
        return;
    (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    send_soon(c);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t n, void *arg)
{
    struct http_conn *c = arg;
    struct http_exchange *x = exchange_of(c, id);

    (void)flags;
    if (c->dead)
        return 0;
    if (!x)
        skip_rest(c, id, n);
    else if (exchange_body(x, slice_of(p, n)))
        (void)nghttp2_session_consume(session, id, n);
    return 0;
}

static void http2_body_taken(struct http_exchange *x, size_t n)
{
    if (!n)
        return;
    (void)nghttp2_session_consume(x->conn->as.h2->session, x->stream_id, n);
    send_soon(x->conn);
}

/* Paused bodies of other streams may have used up the window of the connection. */
static bool http2_may_send(const struct http_exchange *x)
{
    nghttp2_session *session = x->conn->as.h2->session;

    return nghttp2_session_get_effective_recv_data_length(session) < CONN_WINDOW / 2;
}

/* --- is the peer there? --- */

static int least_watch(const struct http_conn *c)
{
    int least = 0;

    LIST_EACH (&c->exchanges, const struct http_exchange, node, x)
        if (x->watch_ms && (!least || x->watch_ms < least))
            least = x->watch_ms;
    return least;
}

static struct http_exchange *to_be_told(const struct http_conn *c, bool silent)
{
    LIST_EACH (&c->exchanges, struct http_exchange, node, x)
        if (x->watch_ms && x->told_silent != silent)
            return x;
    return NULL;
}

static void tell_watchers(struct http_conn *c, bool silent)
{
    for (struct http_exchange *x; !c->dead && (x = to_be_told(c, silent));) {
        x->told_silent = silent;
        x->on_change(x, silent, x->change_arg);
    }
}

static void heard(struct http_conn *c)
{
    struct http2 *h = c->as.h2;

    h->heard_ms = conn_now_ms(c);
    if (!h->pinged_ms)
        return; /* as nearly always: nobody was told of a silence */
    h->pinged_ms = 0;
    h->ping_late = false;
    tell_watchers(c, false);
}

static void http2_watch(struct http_conn *c, int64_t now_ms)
{
    struct http2 *h = c->as.h2;
    int every_ms = least_watch(c);

    if (!every_ms)
        return;
    if (!h->pinged_ms && now_ms - h->heard_ms >= every_ms) {
        h->pinged_ms = now_ms;
        (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL); /* fails without memory */
        send_soon(c);
    } else if (h->ping_late) {
        tell_watchers(c, true);
    } else {
        /* If it was us who stood still, the answer lies in the socket: read before it is told. */
        h->ping_late = h->pinged_ms && now_ms - h->pinged_ms >= every_ms;
    }
}

static void http2_input(struct http_conn *c, struct slice bytes)
{
    struct http2 *h = c->as.h2;
    ssize_t n;

    if (h->flooded)
        return;
    heard(c);
    if (c->dead)
        return;
    n = nghttp2_session_mem_recv(h->session, bytes.p, bytes.n);
    if (c->dead)
        return;
    if (n < 0) {
        log_debug(NULL, "HTTP/2 with %s: %s", stream_peer(c->stream), nghttp2_strerror((int)n));
        if (n == NGHTTP2_ERR_FLOODED)
            flooded(c, "frames that we must answer");
        /* says nothing more where a flood was answered already */
        (void)nghttp2_session_terminate_session(h->session, NGHTTP2_PROTOCOL_ERROR);
    } else if (nghttp2_session_get_outbound_queue_size(h->session) > OUTBOUND_FRAMES) {
        flooded(c, "frames whose answers it does not read");
    }
    send_soon(c);
}

static void http2_peer_left(struct http_conn *c)
{
    (void)c; /* whether its answers still reach it shows by writing */
}

static void http2_head_timeout(struct http_conn *c)
{
    conn_close(c);
}

static void http2_drain(struct http_conn *c)
{
    struct http2 *h = c->as.h2;

    if (h->going)
        return;
    h->going = true;
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    send_soon(c);
}

/* --- the session --- */

static void http2_free(struct http_conn *c)
{
    struct http2 *h = c->as.h2;

    loop_defer_cancel(c->server->loop, &h->send);
    nghttp2_session_del(h->session);
    free(h);
}

static nghttp2_session_callbacks *callbacks(void)
{
    static nghttp2_session_callbacks *cb; /* one for the process, made on the loop thread */

    if (cb || nghttp2_session_callbacks_new(&cb) != 0)
        return cb;
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    return cb;
}

static nghttp2_session *session_new(struct http_conn *c)
{
    nghttp2_session *session = NULL;
    nghttp2_option *opt;

    if (!callbacks() || nghttp2_option_new(&opt) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_continuations(opt, MAX_CONTINUATIONS);
    if (nghttp2_session_server_new2(&session, callbacks(), c, opt) != 0)
        session = NULL;
    nghttp2_option_del(opt);
    return session;
}

bool http2_start(struct http_conn *c)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, MAX_FRAME},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)c->server->conf.max_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, HEADER_TABLE},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    struct http2 *h;
    nghttp2_session *session = session_new(c);

    if (!session)
        return false;
    h = xcalloc(1, sizeof(*h));
    h->session = session;
    h->heard_ms = conn_now_ms(c);
    c->as.h2 = h;
    c->proto = &http_proto_2;
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) != 0)
        return false;
    send_soon(c);
    return true;
}

const struct http_proto http_proto_2 = {
    .input = http2_input,
    .peer_left = http2_peer_left,
    .room = send_soon,
    .head_timeout = http2_head_timeout,
    .watch = http2_watch,
    .drain = http2_drain,
    .free = http2_free,
    .send_continue = http2_send_continue,
    .send_head = http2_send_head,
    .send = http2_send,
    .finish = http2_finish,
    .abort = http2_abort,
    .body_taken = http2_body_taken,
    .may_send = http2_may_send,
    .closed = http2_closed,
};
