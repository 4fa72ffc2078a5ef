/* Connecting: the name is looked up, each of its addresses is tried in turn with its share
 * of the time, then the handshake. One callback, whatever happens. */
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>

#include "net/net_int.h"

enum { MAX_ADDRS = 8, DEFAULT_TIMEOUT_MS = 10000 };

struct lookup {
    uv_getaddrinfo_t req;
    struct connecting *c; /* NULL: cancelled */
};

struct attempt {
    uv_connect_t req;
    struct connecting *c; /* NULL: given up */
};

struct connecting {
    struct loop *loop;
    struct connect_conf conf; /* its texts are copies */
    int64_t deadline_ms;
    struct timer *timer; /* of the present step */
    struct deferred start;
    struct lookup *lookup;
    struct attempt *attempt;
    struct stream *stream;
    struct sockaddr_storage addrs[MAX_ADDRS];
    size_t n_addrs, at;
    struct err last;
};

static void try_next(struct connecting *c);

/* --- the end --- */

static void connecting_free(struct connecting *c)
{
    timer_free(c->timer);
    loop_defer_cancel(c->loop, &c->start);
    if (c->lookup)
        c->lookup->c = NULL;
    if (c->attempt)
        c->attempt->c = NULL;
    stream_close(c->stream);
    free((char *)c->conf.host);
    free((char *)c->conf.tls_name);
    free((char *)c->conf.alpn);
    free(c);
}

static void finish(struct connecting *c, struct stream *s)
{
    void (*on_done)(struct stream * s, const struct err *why, void *arg) = c->conf.on_done;
    void *arg = c->conf.arg;
    struct err why = c->last;

    c->stream = NULL;
    connecting_free(c);
    on_done(s, s ? NULL : &why, arg);
}

/* This address is no good; the sentence of the last one is what the caller reads. */
static void attempt_failed(struct connecting *c)
{
    if (c->attempt)
        c->attempt->c = NULL;
    c->attempt = NULL;
    stream_close(c->stream);
    c->stream = NULL;
    try_next(c);
}

static void on_step_timeout(void *arg)
{
    struct connecting *c = arg;
    const char *doing = c->lookup ? "name look-up" : c->attempt ? "connection" : "TLS handshake";

    err_set(&c->last, RC_TIMEOUT, "connect to %s: %s took too long", c->conf.host, doing);
    if (c->lookup)
        finish(c, NULL);
    else
        attempt_failed(c);
}

/* --- connected --- */

static void on_handshake(struct stream *s, const struct err *why)
{
    struct connecting *c = s->owner;

    s->on_open = NULL;
    s->owner = NULL;
    if (!why) {
        finish(c, s);
        return;
    }
    c->last = *why;
    (void)err_wrap(&c->last, why->code, "connect to %s", c->conf.host);
    attempt_failed(c);
}

static void connected(struct connecting *c)
{
    struct stream *s = c->stream;
    const char *name = c->conf.tls_name ? c->conf.tls_name : c->conf.host;
    SSL *ssl;

    stream_set_peer(s);
    if (!c->conf.tls) {
        s->phase = STREAM_OPEN;
        finish(c, s);
        return;
    }
    ssl = tls_client_ssl(c->conf.tls, name, c->conf.alpn);
    if (!ssl) {
        (void)tls_err(&c->last, RC_INTERNAL, "TLS");
        attempt_failed(c);
        return;
    }
    s->owner = c;
    s->on_open = on_handshake;
    stream_start_tls(s, ssl);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct attempt *a = (struct attempt *)req;
    struct connecting *c = a->c;

    free(a);
    if (!c)
        return;
    c->attempt = NULL;
    if (status == 0) {
        connected(c);
        return;
    }
    (void)uv_err(&c->last, status, "connect to %s", c->conf.host);
    c->last.code = RC_UNAVAILABLE;
    attempt_failed(c);
}

/* --- trying --- */

static void start_step_timer(struct connecting *c, size_t shares)
{
    int64_t left = c->deadline_ms - loop_now_ms(c->loop);

    timer_start(c->timer, MAX(left / (int64_t)MAX(shares, 1), 1));
}

static struct attempt *attempt_new(struct connecting *c, bool is_unix)
{
    struct attempt *a = xcalloc(1, sizeof(*a));

    a->c = c;
    c->attempt = a;
    c->stream = stream_new(c->loop, is_unix);
    return a;
}

static void try_next(struct connecting *c)
{
    while (c->at < c->n_addrs && loop_now_ms(c->loop) < c->deadline_ms) {
        struct attempt *a = attempt_new(c, false);
        int status;

        start_step_timer(c, c->n_addrs - c->at);
        status = uv_tcp_connect(&a->req, &c->stream->uv.tcp, (struct sockaddr *)&c->addrs[c->at++],
                                on_connect);
        if (status == 0)
            return;
        (void)uv_err(&c->last, status, "connect to %s", c->conf.host);
        c->last.code = RC_UNAVAILABLE;
        free(a);
        c->attempt = NULL;
        stream_close(c->stream);
        c->stream = NULL;
    }
    finish(c, NULL);
}

static void try_unix(struct connecting *c)
{
    struct attempt *a = attempt_new(c, true);

    start_step_timer(c, 1);
    uv_pipe_connect(&a->req, &c->stream->uv.pipe, c->conf.host + 5, on_connect);
}

static void add_address(struct connecting *c, const struct sockaddr *addr, size_t n)
{
    if (c->n_addrs < MAX_ADDRS && n <= sizeof(c->addrs[0]))
        memcpy(&c->addrs[c->n_addrs++], addr, n);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct lookup *lookup = (struct lookup *)req;
    struct connecting *c = lookup->c;

    if (c) {
        c->lookup = NULL;
        for (struct addrinfo *a = status == 0 ? found : NULL; a; a = a->ai_next)
            add_address(c, a->ai_addr, a->ai_addrlen);
        (void)err_set(&c->last, RC_UNAVAILABLE, "connect to %s: %s", c->conf.host,
                      status == 0 ? "the name has no address" : uv_strerror(status));
        try_next(c);
    }
    uv_freeaddrinfo(found);
    free(lookup);
}

static void start_lookup(struct connecting *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char port[8];
    int status;

    snprintf(port, sizeof(port), "%u", c->conf.port);
    c->lookup = xcalloc(1, sizeof(*c->lookup));
    c->lookup->c = c;
    start_step_timer(c, 1);
    status = uv_getaddrinfo(&c->loop->uv, &c->lookup->req, on_lookup, c->conf.host, port, &hints);
    if (status == 0)
        return;
    (void)uv_err(&c->last, status, "look up %s", c->conf.host);
    c->last.code = RC_UNAVAILABLE;
    free(c->lookup);
    c->lookup = NULL;
    finish(c, NULL);
}

static void start(void *arg)
{
    struct connecting *c = arg;
    struct sockaddr_storage addr;
    const char *host = c->conf.host;

    if (strncmp(host, "unix:", 5) == 0) {
        try_unix(c);
    } else if (uv_ip4_addr(host, c->conf.port, (struct sockaddr_in *)&addr) == 0 ||
               uv_ip6_addr(host, c->conf.port, (struct sockaddr_in6 *)&addr) == 0) {
        add_address(c, (struct sockaddr *)&addr, sizeof(addr));
        try_next(c);
    } else {
        start_lookup(c);
    }
}

struct connecting *stream_connect(struct loop *l, const struct connect_conf *conf)
{
    struct connecting *c = xcalloc(1, sizeof(*c));

    c->loop = l;
    c->conf = *conf;
    c->conf.host = xstrdup(conf->host);
    c->conf.tls_name = conf->tls_name ? xstrdup(conf->tls_name) : NULL;
    c->conf.alpn = conf->alpn ? xstrdup(conf->alpn) : NULL;
    c->timer = timer_new(l, on_step_timeout, c);
    timer_start(c->timer, conf->timeout_ms > 0 ? conf->timeout_ms : DEFAULT_TIMEOUT_MS);
    c->deadline_ms = loop_now_ms(l) +
                     (conf->timeout_ms > 0 ? conf->timeout_ms : DEFAULT_TIMEOUT_MS);
    loop_defer(l, &c->start, start, c);
    return c;
}

void connecting_cancel(struct connecting *c)
{
    connecting_free(c);
}

/* --- libuv's errors in our words --- */

static const struct {
    int status;
    enum rc rc;
} uv_codes[] = {
    {UV_EADDRINUSE, RC_EXISTS},
    {UV_EACCES, RC_DENIED},
    {UV_EADDRNOTAVAIL, RC_UNAVAILABLE},
    {UV_ECONNREFUSED, RC_UNAVAILABLE},
    {UV_EHOSTUNREACH, RC_UNAVAILABLE},
    {UV_ENETUNREACH, RC_UNAVAILABLE},
    {UV_ETIMEDOUT, RC_TIMEOUT},
    {UV_ECONNRESET, RC_CLOSED},
    {UV_EPIPE, RC_CLOSED},
    {UV_EOF, RC_CLOSED},
    {UV_ECANCELED, RC_CANCELLED},
    {UV_EINVAL, RC_BAD_INPUT},
};

enum rc uv_err(struct err *err, int uv_status, const char *fmt, ...)
{
    enum rc rc = RC_IO;
    char context[256];
    va_list ap;

    for (size_t i = 0; i < ARRAY_LEN(uv_codes); i++)
        if (uv_codes[i].status == uv_status)
            rc = uv_codes[i].rc;
    va_start(ap, fmt);
    vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    return err_set(err, rc, "%s: %s", context, uv_strerror(uv_status));
}
