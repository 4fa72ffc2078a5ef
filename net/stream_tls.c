/* TLS below a stream. OpenSSL reads from the loop's read buffer and writes straight into
 * the stream's queue of records, through a BIO of our own; so an idle connection holds no
 * buffers, and the socket sees one writev whatever OpenSSL does in between. */
#include <openssl/err.h>
#include <stdlib.h>

#include "net/net_int.h"

enum {
    RECORD = 16 * 1024, /* largest plain text of one TLS record */
    AHEAD = 128 * 1024  /* encrypted bytes kept ready for the kernel */
};

struct tls_conn {
    SSL *ssl;
    struct slice in;    /* cipher text being read, borrowed for the call */
    bool in_is_left;    /* it is a tail of `left` */
    struct buf left;    /* cipher text kept while the owner pauses */
    struct chunks wire; /* records on their way out */
    bool open, closing;
};

/* --- the BIO --- */

static int bio_read(BIO *bio, char *out, int n)
{
    struct tls_conn *t = BIO_get_data(bio);
    size_t take = MIN(t->in.n, (size_t)MAX(n, 0));

    BIO_clear_retry_flags(bio);
    if (!take) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, t->in.p, take);
    t->in = slice_skip(t->in, take);
    return (int)take;
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct tls_conn *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    chunks_add(&t->wire, slice_of(p, (size_t)MAX(n, 0)));
    return n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH; /* nothing else means anything here */
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO *bio_new(struct tls_conn *t)
{
    static BIO_METHOD *method; /* made once, on the loop thread */
    BIO *bio;

    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "leat stream");
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_ctrl);
        BIO_meth_set_create(method, bio_create);
    }
    bio = BIO_new(method);
    BIO_set_data(bio, t);
    return bio;
}

/* --- life --- */

void tls_conn_free(struct tls_conn *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    chunks_clear(&t->wire);
    buf_cleanup(&t->left);
    free(t);
}

static void tls_reason(const struct stream *s, const char *what, struct err *err)
{
    char context[128];

    snprintf(context, sizeof(context), "%s with %s", what, s->peer);
    (void)tls_err(err, RC_BAD_INPUT, context);
}

static void tls_failed(struct stream *s)
{
    struct err err;

    tls_reason(s, "TLS", &err);
    stream_failed(s, &err);
}

/* What was not read before the owner paused waits here, out of the shared buffer. */
static void keep_rest(struct tls_conn *t)
{
    if (t->in_is_left)
        buf_consume(&t->left, t->left.n - t->in.n);
    else
        buf_add_slice(&t->left, t->in);
    if (!t->left.n) {
        buf_cleanup(&t->left);
        buf_init(&t->left, 2 * STREAM_READ_MAX);
    }
    t->in = slice_of(NULL, 0);
}

bool tls_conn_has_input(const struct stream *s)
{
    return s->tls && s->tls->left.n > 0;
}

/* --- reading --- */

/* Decrypts until the plain buffer is full or nothing is left. *end: what stopped it. */
static size_t decrypt(struct tls_conn *t, uint8_t *out, size_t max, int *end)
{
    size_t n = 0;

    *end = SSL_ERROR_NONE;
    ERR_clear_error();
    while (n < max) {
        int got = SSL_read(t->ssl, out + n, (int)(max - n));

        if (got <= 0) {
            *end = SSL_get_error(t->ssl, got);
            break;
        }
        n += (size_t)got;
    }
    return n;
}

static void read_plain(struct stream *s)
{
    struct tls_conn *t = s->tls;
    int end = SSL_ERROR_NONE;

    while (end == SSL_ERROR_NONE && s->phase == STREAM_OPEN && s->has_events && !s->paused) {
        size_t n = decrypt(t, s->loop->plain_buf, sizeof(s->loop->plain_buf), &end);

        if (n)
            stream_deliver(s, slice_of(s->loop->plain_buf, n));
    }
    if (s->phase == STREAM_CLOSED || end == SSL_ERROR_NONE || end == SSL_ERROR_WANT_READ)
        return;
    if (end == SSL_ERROR_ZERO_RETURN)
        stream_ended(s, NULL);
    else
        tls_failed(s);
}

static void handshake(struct stream *s)
{
    struct tls_conn *t = s->tls;
    struct err err;
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->open = true;
        timer_free(s->timer);
        s->timer = NULL;
        s->phase = STREAM_OPEN;
        s->on_open(s, NULL);
    } else if (SSL_get_error(t->ssl, rc) != SSL_ERROR_WANT_READ) {
        tls_reason(s, "TLS handshake", &err);
        s->on_open(s, &err); /* not stream_failed: our alert can still leave */
    }
}

static void advance(struct stream *s)
{
    struct tls_conn *t = s->tls;

    if (s->phase == STREAM_OPENING)
        handshake(s);
    if (s->phase == STREAM_OPEN)
        read_plain(s);
    keep_rest(t);
    if (s->phase == STREAM_CLOSED)
        return;
    if (t->wire.bytes)
        stream_flush_soon(s);
    stream_update_reading(s);
}

void tls_conn_input(struct stream *s, struct slice wire)
{
    s->tls->in = wire;
    s->tls->in_is_left = false;
    advance(s);
}

void tls_conn_pump(struct stream *s)
{
    s->tls->in = buf_slice(&s->tls->left);
    s->tls->in_is_left = true;
    advance(s);
}

void stream_start_tls(struct stream *s, SSL *ssl)
{
    struct tls_conn *t = xcalloc(1, sizeof(*t));
    BIO *bio = bio_new(t);

    t->ssl = ssl;
    buf_init(&t->left, 2 * STREAM_READ_MAX);
    SSL_set_bio(ssl, bio, bio);
    s->tls = t;
    stream_update_reading(s);
    stream_pump_soon(s); /* a client speaks first */
}

const char *tls_conn_alpn(const struct stream *s)
{
    const unsigned char *name = NULL;
    unsigned n = 0;

    SSL_get0_alpn_selected(s->tls->ssl, &name, &n);
    if (slice_eq_str(slice_of(name, n), "h2"))
        return "h2";
    return slice_eq_str(slice_of(name, n), "http/1.1") ? "http/1.1" : "";
}

/* --- writing --- */

struct chunks *tls_conn_wire(const struct stream *s)
{
    return &s->tls->wire;
}

/* The next record's plain text: one chunk when it is large, else several put together, so
 * that a frame's head and its body do not become two records. */
static struct slice next_plain(struct stream *s)
{
    struct chunk *c = s->out.first;
    size_t n = 0;

    if (c->n >= RECORD || !c->next)
        return slice_of(c->p, MIN(c->n, (size_t)RECORD));
    for (; c && n < RECORD; c = c->next) {
        size_t take = MIN(c->n, RECORD - n);

        memcpy(s->loop->plain_buf + n, c->p, take);
        n += take;
    }
    return slice_of(s->loop->plain_buf, n);
}

void tls_conn_encrypt(struct stream *s)
{
    struct tls_conn *t = s->tls;

    while (t->open && s->out.bytes && t->wire.bytes < AHEAD) {
        struct slice plain = next_plain(s);
        int n;

        ERR_clear_error();
        n = SSL_write(t->ssl, plain.p, (int)plain.n);
        if (n <= 0) {
            tls_failed(s);
            return;
        }
        chunks_consume(&s->out, (size_t)n);
        s->bytes_out += (size_t)n;
    }
}

void tls_conn_shutdown(struct stream *s)
{
    if (!s->tls->open || s->tls->closing)
        return;
    s->tls->closing = true;
    ERR_clear_error();
    (void)SSL_shutdown(s->tls->ssl); /* our good-bye; the peer's is not waited for */
}
