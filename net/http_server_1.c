/* HTTP/1.0 and 1.1, server side: llhttp in its strict mode cuts the bytes, the limits are
 * ours. One exchange at a time; a pipelined request waits until the answer before it has
 * gone to the kernel. */
#include <llhttp.h>
#include <stdlib.h>

#include "net/http_server_int.h"

enum {
    LEFT_PAUSE = 16 * 1024, /* pipelined bytes held before we stop reading */
    LEFT_MAX = 4 * STREAM_READ_MAX
};

enum http1_state {
    H1_HEAD,   /* between requests, or in the head of one */
    H1_BODY,   /* in the body of the present exchange */
    H1_SKIP,   /* in the rest of a body whose exchange is over */
    H1_ANSWER, /* request complete, answer not */
    H1_OVER    /* nothing that comes can be read any more */
};

enum field_part { IN_NAME, IN_VALUE, COMPLETE };

struct http1_head {
    struct buf text; /* target, then names and values, one after another */
    size_t target_n, n;
    enum field_part part; /* of the last field */
    int refuse;           /* status, when a limit was met */
    struct {
        uint32_t name_n, value_n;
    } v[HTTP_MAX_HEADERS];
};

struct http1 {
    llhttp_t parser;
    enum http1_state state;
    bool keep_alive, reading_paused;
    struct http_exchange *x;
    struct http1_head *head; /* NULL: not a byte of it yet */
    size_t head_bytes;       /* of this head, or of this body's trailers */
    size_t body_bytes;       /* of this body, skipped ones included */
    struct buf left;         /* read, but not its turn yet */
    uint8_t last;            /* byte of the head before the next one */
    struct deferred go_on;
};

/* --- what llhttp found --- */

static struct http_conn *conn_of(llhttp_t *p)
{
    return p->data;
}

static int head_add(struct http1 *h, const char *p, size_t n)
{
    struct http1_head *head = h->head;

    buf_add(&head->text, p, n);
    if (!buf_ok(&head->text))
        head->refuse = 431;
    return head->refuse ? HPE_USER : HPE_OK;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct http1 *h = conn_of(p)->as.h1;

    h->head->target_n += n;
    if (h->head->target_n > HTTP_MAX_TARGET)
        h->head->refuse = 414;
    return head_add(h, at, n);
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct http1 *h = conn_of(p)->as.h1;
    struct http1_head *head = h->head;

    if (!head) { /* a trailer: nobody needs it, but it has to end */
        h->head_bytes += n;
        return h->head_bytes > HTTP_MAX_HEADER_BYTES ? HPE_USER : HPE_OK;
    }
    if (head->part == COMPLETE) {
        if (head->n == HTTP_MAX_HEADERS) {
            head->refuse = 431;
            return HPE_USER;
        }
        head->part = IN_NAME;
        head->n++;
    }
    head->v[head->n - 1].name_n += (uint32_t)n;
    return head_add(h, at, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct http1 *h = conn_of(p)->as.h1;

    if (!h->head)
        return on_field(p, at, n);
    if (h->head->part == COMPLETE || !h->head->v[h->head->n - 1].name_n)
        return HPE_USER; /* ": value": llhttp takes a field without a name, we do not */
    h->head->part = IN_VALUE;
    h->head->v[h->head->n - 1].value_n += (uint32_t)n;
    return head_add(h, at, n);
}

static int on_value_complete(llhttp_t *p)
{
    struct http1 *h = conn_of(p)->as.h1;

    if (!h->head)
        return HPE_OK;
    if (h->head->part == COMPLETE || !h->head->v[h->head->n - 1].name_n)
        return HPE_USER;
    h->head->part = COMPLETE;
    return HPE_OK;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct http_conn *c = conn_of(p);
    struct http1 *h = c->as.h1;

    h->body_bytes += n;
    if (h->x)
        (void)exchange_body(h->x, slice_of(at, n)); /* held or taken: all the same here */
    return c->dead ? HPE_USER : HPE_OK;
}

static int on_pause(llhttp_t *p)
{
    (void)p;
    return HPE_PAUSED; /* handlers are called outside of llhttp */
}

static const llhttp_settings_t *settings(void)
{
    static llhttp_settings_t s;

    if (!s.on_url) {
        llhttp_settings_init(&s);
        s.on_header_field = on_field;
        s.on_header_value = on_value;
        s.on_header_value_complete = on_value_complete;
        s.on_headers_complete = on_pause;
        s.on_body = on_body;
        s.on_message_complete = on_pause;
        s.on_url = on_url;
    }
    return &s;
}

/* --- refusing --- */

static void head_free(struct http1 *h)
{
    if (h->head)
        buf_cleanup(&h->head->text);
    free(h->head);
    h->head = NULL;
}

/* An answer to bytes that are no request; then the connection ends. */
static void refuse(struct http_conn *c, int status, const char *sentence)
{
    struct slice date = http_date_now();
    struct buf b;

    buf_init(&b, 4096);
    buf_printf(&b,
               "HTTP/1.1 %d %s\r\nDate: " SLICE_FMT "\r\nContent-Type: text/plain; "
               "charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
               status, http_status_text(status), SLICE_ARG(date), strlen(sentence) + 1, sentence);
    conn_write(c, buf_slice(&b));
    buf_cleanup(&b);
    conn_close_when_sent(c);
}

static void broken(struct http_conn *c, llhttp_errno_t e)
{
    struct http1 *h = c->as.h1;
    const char *reason = llhttp_get_error_reason(&h->parser);
    int status = h->head && h->head->refuse ? h->head->refuse
                 : e == HPE_INVALID_VERSION ? 505
                                            : 400;
    struct err why;

    h->keep_alive = false;
    h->state = H1_OVER;
    err_set(&why, RC_BAD_INPUT, "not HTTP: %s", reason && *reason ? reason : "malformed");
    if (h->x)
        exchange_body_end(h->x, &why);
    else if (!h->head)
        conn_close_when_sent(c);
    else if (status == 414)
        refuse(c, 414, "the request target is longer than 8192 bytes");
    else if (status == 431)
        refuse(c, 431, "the head has more than 64 fields or 65536 bytes");
    else
        refuse(c, status, why.text);
}

/* --- a complete head --- */

static void copy_head(struct http1 *h, struct http_exchange *x)
{
    struct http1_head *head = h->head;
    struct http_header *v = arena_alloc(x->arena, MAX(head->n, (size_t)1) * sizeof(*v));
    uint8_t *text = arena_alloc(x->arena, MAX(head->text.n, (size_t)1));
    const uint8_t *at = text + head->target_n;

    if (head->text.n)
        memcpy(text, head->text.p, head->text.n);
    for (size_t i = 0; i < head->n; i++) {
        v[i].name = slice_of(at, head->v[i].name_n);
        at += head->v[i].name_n;
        v[i].value = slice_trim(slice_of(at, head->v[i].value_n));
        at += head->v[i].value_n;
    }
    x->req.headers = (struct http_headers){v, head->n};
    x->req.method = slice_str(llhttp_method_name((llhttp_method_t)h->parser.method));
    x->req.version = 1;
    exchange_set_target(x, slice_of(text, head->target_n));
    exchange_read_headers(x);
}

static size_t count_headers(const struct http_headers *h, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < h->n; i++)
        n += slice_eq_nocase(h->v[i].name, name);
    return n;
}

/* What llhttp lets pass and we do not: two readers of one request must agree on it. */
static const char *head_defect(const llhttp_t *p, const struct http_request *r)
{
    size_t hosts = count_headers(&r->headers, "host");

    if (p->method == HTTP_CONNECT)
        return "CONNECT is not served here";
    if (hosts > 1 || (hosts == 0 && p->http_minor > 0))
        return "HTTP/1.1 needs exactly one Host";
    if (p->http_minor == 0 && (p->flags & F_TRANSFER_ENCODING))
        return "HTTP/1.0 has no Transfer-Encoding";
    if (count_headers(&r->headers, "content-length") > 1)
        return "more than one Content-Length";
    if ((p->flags & F_TRANSFER_ENCODING) &&
        !slice_eq_nocase(http_header_get(&r->headers, "transfer-encoding"), "chunked"))
        return "the only Transfer-Encoding taken is chunked";
    if (!r->path.n || (r->path.p[0] != '/' && !slice_eq_str(r->path, "*")))
        return "the request target is neither a path nor an address";
    return NULL;
}

static void head_complete(struct http_conn *c)
{
    struct http1 *h = c->as.h1;
    struct http_exchange *x = exchange_new(c);
    const char *defect;

    copy_head(h, x);
    head_free(h);
    h->head_bytes = h->body_bytes = 0;
    c->head_since_ms = 0;
    h->parser.upgrade = 0; /* offers of other protocols (curl's h2c) are passed over */
    h->keep_alive = llhttp_should_keep_alive(&h->parser) && !c->left_at_ms;
    h->x = x;
    h->state = H1_BODY;
    defect = h->parser.http_major != 1 ? "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here"
                                       : head_defect(&h->parser, &x->req);
    if (!defect) {
        exchange_begin(x);
        return;
    }
    h->keep_alive = false;
    h->state = H1_OVER;
    exchange_refuse(x, h->parser.http_major != 1 ? 505 : 400, defect);
}

/* --- reading --- */

static bool may_parse(const struct http1 *h)
{
    return h->state == H1_HEAD || h->state == H1_BODY || h->state == H1_SKIP;
}

static bool wants_bytes(const struct http1 *h)
{
    if (h->state == H1_BODY)
        return !h->left.n && exchange_wants_body(h->x);
    return h->left.n < LEFT_PAUSE; /* also while we answer: the peer's end shows by reading */
}

static void update_reading(struct http_conn *c)
{
    struct http1 *h = c->as.h1;
    bool pause;

    if (c->dead)
        return;
    pause = !wants_bytes(h);
    if (pause == h->reading_paused)
        return;
    h->reading_paused = pause;
    if (pause)
        stream_pause(c->stream);
    else
        stream_resume(c->stream);
}

static void hold(struct http_conn *c, struct slice bytes)
{
    struct http1 *h = c->as.h1;

    buf_add_slice(&h->left, bytes);
    if (!buf_ok(&h->left))
        conn_close(c); /* cannot be: reading was paused long before */
}

static void start_head(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    if (h->head)
        return;
    h->head = xcalloc(1, sizeof(*h->head));
    buf_init(&h->head->text, HTTP_MAX_HEADER_BYTES);
    h->head->part = COMPLETE;
    h->head_bytes = 0;
    h->last = 0;
    if (!c->head_since_ms)
        c->head_since_ms = conn_now_ms(c);
    conn_set_busy(c);
}

static void next_request(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    h->state = H1_HEAD;
    if (!h->left.n)
        conn_set_idle(c);
    update_reading(c);
}

static void message_complete(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    if (h->state == H1_SKIP) {
        next_request(c);
        return;
    }
    h->state = H1_ANSWER;
    exchange_body_end(h->x, NULL);
}

/* llhttp takes lines that end in a bare line feed, and values folded over two lines; others
 * read these in other ways (RFC 9112 2.2 and 5.2 let a server refuse both). */
static bool lines_are_strict(struct http1 *h, struct slice bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        uint8_t c = bytes.p[i];

        if (h->last == '\n' && (c == ' ' || c == '\t'))
            return false;
        if (c == '\n' && h->last != '\r')
            return false;
        h->last = c;
    }
    return true;
}

static bool over_limit(struct http_conn *c, enum http1_state was, size_t used)
{
    struct http1 *h = c->as.h1;

    if (was == H1_HEAD) {
        h->head_bytes += used;
        if (h->head && h->head_bytes > HTTP_MAX_HEADER_BYTES + HTTP_MAX_TARGET) {
            refuse(c, 431, "the head is larger than 65536 bytes");
            return true;
        }
    } else if (was == H1_SKIP && h->body_bytes > HTTP_MAX_REST + STREAM_READ_MAX) {
        conn_close_when_sent(c);
        return true;
    }
    return false;
}

/* One step of llhttp: up to the end of a head, of a message, or of the bytes. */
static bool parse_step(struct http_conn *c, struct slice *bytes)
{
    struct http1 *h = c->as.h1;
    enum http1_state was = h->state;
    const char *p = bytes->n ? (const char *)bytes->p : ""; /* it adds to the pointer, even 0 */
    llhttp_errno_t e;
    size_t used;

    if (was == H1_HEAD && bytes->n)
        start_head(c);
    e = llhttp_execute(&h->parser, p, bytes->n);
    if (c->dead)
        return false;
    used = e == HPE_OK ? bytes->n : (size_t)(llhttp_get_error_pos(&h->parser) - p);
    if (was == H1_HEAD && !lines_are_strict(h, slice_sub(*bytes, 0, used))) {
        refuse(c, 400, "not HTTP: a line of the head is folded or does not end in CR LF");
        return false;
    }
    *bytes = slice_skip(*bytes, used);
    if (e == HPE_PAUSED) {
        llhttp_resume(&h->parser);
        if (was == H1_HEAD)
            head_complete(c);
        else
            message_complete(c);
    } else if (e != HPE_OK) {
        broken(c, e);
        return false;
    }
    return !c->dead && !over_limit(c, was, used) && (bytes->n || e == HPE_PAUSED);
}

static void parse(struct http_conn *c, struct slice bytes)
{
    struct http1 *h = c->as.h1;

    while (may_parse(h) && parse_step(c, &bytes))
        ;
    if (!c->dead && bytes.n && h->state != H1_OVER)
        hold(c, bytes);
    update_reading(c);
}

static void go_on(void *arg)
{
    struct http_conn *c = arg;
    struct http1 *h = c->as.h1;
    struct buf left = h->left;

    if (c->dead || !left.n || !may_parse(h))
        return;
    buf_init(&h->left, LEFT_MAX);
    parse(c, buf_slice(&left));
    buf_cleanup(&left);
}

static void http1_input(struct http_conn *c, struct slice bytes)
{
    struct http1 *h = c->as.h1;

    if (!bytes.n || h->state == H1_OVER)
        return;
    if (h->left.n || !may_parse(h)) {
        hold(c, bytes);
        update_reading(c);
    } else {
        parse(c, bytes);
    }
}

static void http1_peer_left(struct http_conn *c)
{
    struct http1 *h = c->as.h1;
    struct err why;

    h->keep_alive = false;
    if (h->state != H1_BODY)
        return;
    err_set(&why, RC_CLOSED, "%s left in the middle of its body", stream_peer(c->stream));
    exchange_body_end(h->x, &why);
    conn_close(c);
}

static void http1_head_timeout(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    if (h->state == H1_HEAD && h->head)
        refuse(c, 408, "the head of the request took too long");
    else
        conn_close_when_sent(c);
}

static void http1_drain(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    if (h->state == H1_SKIP || (h->state == H1_HEAD && !h->head && !h->left.n))
        conn_close_when_sent(c);
}

static void http1_room(struct http_conn *c)
{
    (void)c; /* everything is in the stream's queue already */
}

/* --- the answer --- */

/* Can the connection serve another request after this answer? */
static bool may_keep_alive(const struct http_conn *c, const struct http_exchange *x)
{
    const struct http1 *h = c->as.h1;
    int64_t rest = x->req.content_length - (int64_t)h->body_bytes;

    if (!h->keep_alive || c->server->draining || c->left_at_ms)
        return false;
    return h->state == H1_ANSWER ||
           (h->state == H1_BODY && !x->expects_continue && rest <= HTTP_MAX_REST);
}

static void wrote(struct http_exchange *x)
{
    x->wire_end = x->conn->written;
}

static void http1_send_continue(struct http_exchange *x)
{
    conn_write(x->conn, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
}

static void add_line(struct buf *b, struct slice name, struct slice value)
{
    buf_add_slice(b, name);
    buf_str(b, ": ");
    buf_add_slice(b, value);
    buf_str(b, "\r\n");
}

static void add_length(struct http_exchange *x, struct buf *b, int64_t length)
{
    struct http1 *h = x->conn->as.h1;

    if (length >= 0)
        buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    else if (x->no_body)
        return;
    else if (h->parser.http_minor > 0) {
        x->chunked = true;
        buf_str(b, "Transfer-Encoding: chunked\r\n");
    } else {
        h->keep_alive = false; /* HTTP/1.0 sees the end by the end */
    }
}

static void http1_send_head(struct http_exchange *x, int status, const char *type, int64_t length)
{
    struct http1 *h = x->conn->as.h1;
    struct buf b;

    buf_init(&b, 1024 * 1024);
    buf_printf(&b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    add_line(&b, SLICE_LIT("Date"), http_date_now());
    if (type)
        add_line(&b, SLICE_LIT("Content-Type"), slice_str(type));
    for (size_t i = 0; i < x->n_headers; i++)
        add_line(&b, x->headers[i].name, x->headers[i].value);
    add_length(x, &b, length);
    h->keep_alive = may_keep_alive(x->conn, x);
    if (!h->keep_alive)
        buf_str(&b, "Connection: close\r\n");
    else if (h->parser.http_minor == 0)
        buf_str(&b, "Connection: keep-alive\r\n");
    buf_str(&b, "\r\n");
    conn_write(x->conn, buf_slice(&b));
    buf_cleanup(&b);
    wrote(x);
}

static void http1_send(struct http_exchange *x, struct blob *b, struct slice part)
{
    struct http_conn *c = x->conn;
    char size[24];

    if (x->chunked) {
        snprintf(size, sizeof(size), "%zx\r\n", part.n);
        conn_write(c, slice_str(size));
    }
    if (b)
        conn_write_blob(c, b, part);
    else
        conn_write(c, part);
    if (x->chunked)
        conn_write(c, SLICE_LIT("\r\n"));
    wrote(x);
}

static void http1_finish(struct http_exchange *x)
{
    struct buf b;

    if (x->chunked) {
        buf_init(&b, 64 * 1024);
        buf_str(&b, "0\r\n");
        for (size_t i = 0; i < x->n_trailers; i++)
            add_line(&b, x->trailers[i].name, x->trailers[i].value);
        buf_str(&b, "\r\n");
        conn_write(x->conn, buf_slice(&b));
        buf_cleanup(&b);
        wrote(x);
    }
    x->ended = true;
    conn_settle_soon(x->conn);
}

static void http1_abort(struct http_exchange *x)
{
    stream_reset_on_close(x->conn->stream); /* an answer without length ends with the stream */
    conn_close(x->conn);
}

static void http1_body_taken(struct http_exchange *x, size_t n)
{
    (void)n;
    if (x->conn->as.h1->left.n)
        loop_defer(x->conn->server->loop, &x->conn->as.h1->go_on, go_on, x->conn);
    update_reading(x->conn);
}

static bool http1_may_send(const struct http_exchange *x)
{
    (void)x;
    return true;
}

static void http1_closed(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct http1 *h = c->as.h1;

    h->x = NULL;
    if (!may_keep_alive(c, x)) {
        conn_close_when_sent(c);
        return;
    }
    if (h->state == H1_ANSWER) {
        next_request(c);
    } else {
        h->state = H1_SKIP;
        c->head_since_ms = conn_now_ms(c);
        update_reading(c);
    }
    if (!c->dead && h->left.n)
        loop_defer(c->server->loop, &h->go_on, go_on, c);
}

static void http1_free(struct http_conn *c)
{
    struct http1 *h = c->as.h1;

    loop_defer_cancel(c->server->loop, &h->go_on);
    head_free(h);
    buf_cleanup(&h->left);
    free(h);
}

bool http1_start(struct http_conn *c)
{
    struct http1 *h = xcalloc(1, sizeof(*h));

    llhttp_init(&h->parser, HTTP_REQUEST, settings());
    h->parser.data = c;
    buf_init(&h->left, LEFT_MAX);
    c->as.h1 = h;
    c->proto = &http_proto_1;
    return true;
}

const struct http_proto http_proto_1 = {
    .input = http1_input,
    .peer_left = http1_peer_left,
    .room = http1_room,
    .head_timeout = http1_head_timeout,
    .drain = http1_drain,
    .free = http1_free,
    .send_continue = http1_send_continue,
    .send_head = http1_send_head,
    .send = http1_send,
    .finish = http1_finish,
    .abort = http1_abort,
    .body_taken = http1_body_taken,
    .may_send = http1_may_send,
    .closed = http1_closed,
};
