/* One connected stream: reading into the loop's shared buffer, one write per loop turn,
 * and an end that is told once. Life of the memory: stream_close() forgets the owner at
 * once; libuv hands the memory back later, so code that called out looks at s->phase. */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "net/net_int.h"

enum {
    SEND_PER_TURN = 512 * 1024,  /* then the other streams have their turn */
    SEND_IN_FLIGHT = 128 * 1024, /* given to libuv at once: its end is our progress */
    LINGER_MS = 5000,            /* for what is queued when the owner lets go */
    PACED_READS = 8,             /* buffers a paced stream may fill per tick */
    QUIET_TICKS = 20             /* silent for so long: wait for the kernel instead */
};

struct write_op {
    uv_write_t req;
    struct stream *stream;
    size_t bytes;
};

static void flush(void *arg);
static void flush_now(struct stream *s, bool moved);

struct stream *stream_new(struct loop *l, bool is_unix)
{
    struct stream *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    if (is_unix)
        uv_pipe_init(&l->uv, &s->uv.pipe, 0);
    else
        uv_tcp_init(&l->uv, &s->uv.tcp);
    s->uv.handle.data = s;
    return s;
}

static bool is_unix(const struct stream *s)
{
    return s->uv.handle.type == UV_NAMED_PIPE;
}

static int stream_fd(const struct stream *s)
{
    uv_os_fd_t fd = -1;

    (void)uv_fileno(&s->uv.handle, &fd); /* stays -1 when closed */
    return fd;
}

/* --- names --- */

static bool addr_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)addr)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

static void name_peer(struct stream *s, const struct sockaddr *addr)
{
    char text[48] = "?", *host = text;
    bool six = addr->sa_family == AF_INET6;
    uint16_t port = ntohs(six ? ((const struct sockaddr_in6 *)addr)->sin6_port
                              : ((const struct sockaddr_in *)addr)->sin_port);

    (void)uv_ip_name(addr, text, sizeof(text)); /* "?" for what is neither IPv4 nor IPv6 */
    if (strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.')) {
        host = text + 7; /* an IPv4 peer of a socket for both */
        six = false;
    }
    snprintf(s->peer, sizeof(s->peer), six ? "[%s]:%u" : "%s:%u", host, port);
    s->loopback = addr_is_loopback(addr);
}

void stream_set_peer(struct stream *s)
{
    struct sockaddr_storage addr = {.ss_family = AF_INET};
    int n = sizeof(addr);

    if (is_unix(s)) {
        snprintf(s->peer, sizeof(s->peer), "unix");
        s->loopback = true;
        return;
    }
    uv_tcp_nodelay(&s->uv.tcp, 1);
    (void)uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&addr, &n); /* gone: 0.0.0.0:0 */
    name_peer(s, (struct sockaddr *)&addr);
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

bool stream_peer_is_loopback(const struct stream *s)
{
    return s->loopback;
}

const char *stream_alpn(const struct stream *s)
{
    return s->tls ? tls_conn_alpn(s) : "";
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}

/* --- the end --- */

static void tell_end(struct stream *s)
{
    if (s->end_told || !s->has_events || s->phase != STREAM_OPEN)
        return;
    s->end_told = true;
    if (s->ev.on_end)
        s->ev.on_end(s->why_ended, s->arg);
}

static void end_with(struct stream *s, const struct err *why)
{
    if (s->phase == STREAM_CLOSED)
        return;
    if (why && !s->why_ended && !s->end_told) {
        s->why_ended = xmalloc(sizeof(*why));
        *s->why_ended = *why;
    }
    stream_update_reading(s);
    if (s->phase == STREAM_OPENING && s->on_open)
        s->on_open(s, why);
    else if (s->phase == STREAM_LINGERING && (s->failed || s->shut))
        stream_close(s);
    else
        tell_end(s);
}

void stream_ended(struct stream *s, const struct err *why)
{
    struct err cut;

    s->peer_ended = true;
    if (s->phase == STREAM_OPENING && !why) {
        err_set(&cut, RC_CLOSED, "%s closed in the TLS handshake", s->peer);
        why = &cut;
    }
    end_with(s, why);
}

void stream_failed(struct stream *s, const struct err *why)
{
    s->failed = s->peer_ended = true;
    if (!s->writing)
        chunks_clear(&s->out); /* else libuv still points into it */
    end_with(s, why);
}

static void stream_failed_uv(struct stream *s, int status, const char *doing)
{
    struct err err;

    uv_err(&err, status, "%s %s", doing, s->peer);
    if (err.code == RC_IO)
        err.code = RC_CLOSED;
    stream_failed(s, &err);
}

/* Nothing more can leave, but what the peer said before it reset the connection may wait in
 * the kernel, such as its refusal of an upload: that is read first, and reading tells the end. */
static void write_failed(struct stream *s, int status)
{
    struct err err;

    if (!s->reading || s->phase != STREAM_OPEN || s->why_ended) {
        stream_failed_uv(s, status, "write to");
        return;
    }
    s->failed = true;
    chunks_clear(&s->out);
    uv_err(&err, status, "write to %s", s->peer);
    err.code = RC_CLOSED;
    s->why_ended = xmalloc(sizeof(err));
    *s->why_ended = err;
}

static void on_closed(uv_handle_t *h)
{
    struct stream *s = h->data;

    chunks_clear(&s->out);
    tls_conn_free(s->tls);
    free(s->why_ended);
    free(s);
}

void stream_close(struct stream *s)
{
    if (!s || s->phase == STREAM_CLOSED)
        return;
    s->phase = STREAM_CLOSED;
    admission_leave(s);
    loop_defer_cancel(s->loop, &s->flush);
    loop_defer_cancel(s->loop, &s->pump);
    list_remove(&s->loop->paced, &s->paced);
    timer_free(s->timer);
    s->timer = NULL;
    if (!s->reset_on_close || is_unix(s) || uv_tcp_close_reset(&s->uv.tcp, on_closed) != 0)
        uv_close(&s->uv.handle, on_closed);
}

void stream_reset_on_close(struct stream *s)
{
    s->reset_on_close = true;
}

static void on_linger_over(void *arg)
{
    stream_close(arg);
}

void stream_close_when_sent(struct stream *s)
{
    if (s->failed) {
        stream_close(s);
        return;
    }
    s->phase = STREAM_LINGERING;
    s->paused = false;
    s->read_every_ms = 0;
    list_remove(&s->loop->paced, &s->paced);
    timer_free(s->timer);
    s->timer = timer_new(s->loop, on_linger_over, s);
    timer_start(s->timer, LINGER_MS);
    stream_update_reading(s);
    stream_flush_soon(s);
}

/* All is sent: say so, and stay until the peer has read it. Closing with unread bytes of
 * the peer in the kernel would reset the connection and take the answer with it. */
static void linger_on(struct stream *s)
{
    if (s->shut)
        return;
    s->shut = true;
    (void)shutdown(stream_fd(s), SHUT_WR); /* fails when the peer is gone: reading tells */
    if (s->peer_ended)
        stream_close(s);
}

/* --- reading --- */

void stream_deliver(struct stream *s, struct slice bytes)
{
    s->bytes_in += bytes.n;
    if (s->phase == STREAM_OPEN)
        s->ev.on_data(bytes, s->arg);
}

static void take_input(struct stream *s, struct slice bytes)
{
    if (s->phase == STREAM_LINGERING)
        return; /* read only so that the close is no reset */
    if (s->tls)
        tls_conn_input(s, bytes);
    else
        stream_deliver(s, bytes);
}

static void take_read(struct stream *s, ssize_t n, const uint8_t *p)
{
    if (n > 0)
        take_input(s, slice_of(p, (size_t)n));
    else if (n == UV_EOF)
        stream_ended(s, NULL);
    else if (n < 0)
        stream_failed_uv(s, (int)n, "read from");
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *out)
{
    struct stream *s = h->data;

    (void)hint;
    *out = uv_buf_init((char *)s->loop->read_buf, sizeof(s->loop->read_buf));
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
    struct stream *s = h->data;

    if (s->read_every_ms && n > 0) {
        s->quiet_ticks = 0;
        stream_update_reading(s); /* back to reading by the tick */
    }
    take_read(s, n, (const uint8_t *)b->base);
}

/* --- reading by the tick ---
 *
 * A publisher that sends a message every few milliseconds would wake the loop for each.
 * Paced streams are not watched by epoll at all: a tick shared by the loop reads them one
 * after another. One that stays silent is watched again until something arrives. */

static void on_tick(void *arg);

/* The tick comes no later than `due`. */
static void arm_tick(struct loop *l, int64_t due)
{
    if (!l->tick)
        l->tick = timer_new(l, on_tick, l);
    if (timer_is_armed(l->tick) && l->tick_due_ms <= due)
        return;
    l->tick_due_ms = due;
    timer_start(l->tick, MAX(due - loop_now_ms(l), 1));
}

static void pace(struct stream *s)
{
    int64_t now = loop_now_ms(s->loop);

    /* on a common grid, so that streams with one interval share their wake-ups */
    s->read_due_ms = (now / s->read_every_ms + 1) * s->read_every_ms;
    list_push(&s->loop->paced, &s->paced);
    arm_tick(s->loop, s->read_due_ms);
}

/* False when the kernel has no more, or the stream does not want more. */
static bool read_once(struct stream *s)
{
    struct loop *l = s->loop;
    ssize_t n;

    do
        n = recv(stream_fd(s), l->read_buf, sizeof(l->read_buf), MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    s->quiet_ticks = 0;
    take_read(s, n == 0 ? UV_EOF : n < 0 ? uv_translate_sys_error(errno) : n, l->read_buf);
    return n == (ssize_t)sizeof(l->read_buf) && s->phase == STREAM_OPEN && !s->paused &&
           !s->peer_ended;
}

static void read_paced(struct stream *s)
{
    int reads = 0;

    if (s->quiet_ticks < QUIET_TICKS)
        s->quiet_ticks++;
    while (read_once(s) && ++reads < PACED_READS)
        ;
    if (s->phase != STREAM_CLOSED)
        stream_update_reading(s);
}

static void on_tick(void *arg)
{
    struct loop *l = arg;
    int64_t now = loop_now_ms(l);

    /* Once around the list by its head: a callback may close any stream. What is read goes
     * to the end again, no longer due. */
    for (size_t left = l->paced.n; left > 0 && l->paced.n > 0; left--) {
        struct stream *s = LIST_FIRST(&l->paced, struct stream, paced);

        list_remove(&l->paced, &s->paced);
        if (s->read_due_ms <= now) {
            read_paced(s);
        } else {
            list_push(&l->paced, &s->paced);
            arm_tick(l, s->read_due_ms);
        }
    }
}

/* Starts or stops reading as the state asks. The one place that decides. */
void stream_update_reading(struct stream *s)
{
    bool want = s->phase == STREAM_OPENING || s->phase == STREAM_LINGERING ||
                (s->phase == STREAM_OPEN && s->has_events && !s->paused);
    bool paced;

    if (s->peer_ended || (tls_conn_has_input(s) && s->phase != STREAM_LINGERING))
        want = false;
    paced = want && s->read_every_ms > 0 && s->quiet_ticks < QUIET_TICKS;
    if (paced && !s->paced.next)
        pace(s);
    else if (!paced)
        list_remove(&s->loop->paced, &s->paced);
    want = want && !paced;
    if (want && !s->reading)
        want = uv_read_start(&s->uv.stream, on_alloc, on_read) == 0;
    else if (!want && s->reading)
        uv_read_stop(&s->uv.stream);
    s->reading = want;
}

static void pump(void *arg)
{
    struct stream *s = arg;

    if (s->peer_ended)
        tell_end(s);
    else if (s->tls && s->phase != STREAM_LINGERING)
        tls_conn_pump(s);
    if (s->phase != STREAM_CLOSED)
        stream_update_reading(s);
}

void stream_pump_soon(struct stream *s)
{
    loop_defer(s->loop, &s->pump, pump, s);
}

void stream_set_events(struct stream *s, const struct stream_events *ev, void *arg)
{
    s->ev = *ev;
    s->arg = arg;
    s->has_events = true;
    stream_pump_soon(s);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
    stream_update_reading(s);
}

void stream_resume(struct stream *s)
{
    s->paused = false;
    stream_pump_soon(s);
}

void stream_read_every(struct stream *s, int ms)
{
    s->read_every_ms = ms;
    s->quiet_ticks = 0;
    list_remove(&s->loop->paced, &s->paced);
    stream_update_reading(s);
}

/* --- writing --- */

void stream_flush_soon(struct stream *s)
{
    loop_flush(s->loop, &s->flush, flush, s);
}

size_t stream_queued(const struct stream *s)
{
    if (s->failed)
        return 0;
    return s->out.bytes + (s->tls ? tls_conn_wire(s)->bytes : 0);
}

static bool may_write(struct stream *s)
{
    return !s->failed && s->phase == STREAM_OPEN;
}

static void queued_more(struct stream *s)
{
    if (stream_queued(s) > STREAM_HIGH_WATER)
        s->was_high = true;
    if (!s->writing)
        stream_flush_soon(s);
}

void stream_write(struct stream *s, struct slice bytes)
{
    if (!may_write(s) || !bytes.n)
        return;
    chunks_add(&s->out, bytes);
    queued_more(s);
}

void stream_write_blob(struct stream *s, struct blob *b, size_t from, size_t n)
{
    if (!may_write(s) || !n)
        return;
    chunks_add_blob(&s->out, b, from, n);
    queued_more(s);
}

static void sent(struct stream *s, size_t n)
{
    chunks_consume(s->tls ? tls_conn_wire(s) : &s->out, n);
    s->wire_out += n;
    if (!s->tls)
        s->bytes_out += n;
}

static void on_written(uv_write_t *req, int status)
{
    struct write_op *op = (struct write_op *)req;
    struct stream *s = op->stream;
    size_t bytes = op->bytes;

    free(op);
    s->writing = NULL;
    if (s->phase == STREAM_CLOSED)
        return;
    if (status < 0) {
        write_failed(s, status);
        return;
    }
    sent(s, bytes);
    if (s->failed)
        chunks_clear(&s->out);
    else
        flush_now(s, true);
}

/* The kernel is full: libuv waits for room and finishes this piece. */
static void write_rest(struct stream *s, const struct chunks *q)
{
    uv_buf_t v[CHUNKS_GATHER];
    struct write_op *op = xcalloc(1, sizeof(*op));
    unsigned n = chunks_gather(q, v, SEND_IN_FLIGHT, &op->bytes);
    int status;

    op->stream = s;
    status = uv_write(&op->req, &s->uv.stream, v, n, on_written);
    if (status == 0) {
        s->writing = op;
        return;
    }
    free(op);
    write_failed(s, status);
}

/* Hands the kernel what it takes now. True when everything left. */
static bool write_some(struct stream *s)
{
    uv_buf_t v[CHUNKS_GATHER];
    size_t budget = SEND_PER_TURN, total;

    for (;;) {
        struct chunks *q = s->tls ? tls_conn_wire(s) : &s->out;

        if (s->tls)
            tls_conn_encrypt(s);
        if (s->failed)
            return false;
        if (!q->bytes)
            return true;
        if (!budget) {
            stream_flush_soon(s);
            return false;
        }
        int n = uv_try_write(&s->uv.stream, v, chunks_gather(q, v, budget, &total));
        if (n < 0 && n != UV_EAGAIN) {
            write_failed(s, n);
            return false;
        }
        sent(s, (size_t)MAX(n, 0));
        budget -= (size_t)MAX(n, 0);
        if ((size_t)MAX(n, 0) < total) {
            write_rest(s, q);
            return false;
        }
    }
}

static void drained(struct stream *s)
{
    if (s->phase == STREAM_LINGERING) {
        if (s->tls && !s->shut)
            tls_conn_shutdown(s);
        if (stream_queued(s))
            stream_flush_soon(s);
        else
            linger_on(s);
    } else if (s->was_high) {
        s->was_high = false;
        if (s->ev.on_drain)
            s->ev.on_drain(s->arg);
    }
}

/* moved: bytes left since on_sent was last called. */
static void flush_now(struct stream *s, bool moved)
{
    uint64_t before = s->wire_out;
    bool empty;

    if (s->writing || s->failed || s->phase == STREAM_CLOSED)
        return;
    empty = write_some(s);
    moved |= s->wire_out != before;
    if (moved && s->on_sent && s->phase == STREAM_OPEN)
        s->on_sent(s->arg);
    if (empty && s->phase != STREAM_CLOSED && !s->failed && !stream_queued(s))
        drained(s);
}

static void flush(void *arg)
{
    flush_now(arg, false);
}
