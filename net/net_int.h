/* net/net_int.h: what the files of net/ share with each other and nobody else. */
#ifndef LEAT_NET_NET_INT_H
#define LEAT_NET_NET_INT_H

#include "base/list.h" /* before <uv.h>, whose MIN and MAX would clash */
#include "net/stream.h"

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <uv.h>

/* --- the loop --- */

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;  /* deferred calls run before the loop sleeps ... */
    uv_check_t check;      /* ... and right after it has read */
    uv_idle_t awake;       /* active while a deferred call waits, so the loop does not sleep */
    struct deferred soon;  /* ring of calls for this turn */
    struct deferred flush; /* ring of calls that come after them: one write per turn */
    struct list signals;   /* of struct signal_watch */
    struct list work;      /* of struct work: jobs on helper threads */
    int lingering;         /* killed children not reaped yet: loop_free waits for them */
    bool running;
    struct list paced;                  /* streams read by the shared tick, see stream_read_every */
    struct timer *tick;                 /* made with the first paced stream */
    int64_t tick_due_ms;                /* while it is armed */
    uint8_t read_buf[STREAM_READ_MAX];  /* every stream reads into this one ... */
    uint8_t plain_buf[STREAM_READ_MAX]; /* ... and decrypts into this one */
};

/* As loop_defer, after all deferred calls of this turn. */
void loop_flush(struct loop *l, struct deferred *d, void (*fn)(void *arg), void *arg);

/* --- queued bytes --- */

struct chunk {
    struct chunk *next;
    struct blob *blob; /* p points into it; NULL: p points into bytes[] */
    const uint8_t *p;
    size_t n;
    size_t room; /* bytes[] still free behind p + n */
    uint8_t bytes[];
};

struct chunks {
    struct chunk *first, *last;
    size_t bytes;
};

void chunks_add(struct chunks *q, struct slice bytes);
void chunks_add_blob(struct chunks *q, struct blob *b, size_t from, size_t n);
void chunks_consume(struct chunks *q, size_t n);
enum { CHUNKS_GATHER = 64 };
unsigned chunks_gather(const struct chunks *q, uv_buf_t v[CHUNKS_GATHER], size_t max_bytes,
                       size_t *total);
void chunks_clear(struct chunks *q);

/* --- streams --- */

enum stream_phase {
    STREAM_OPENING,   /* connecting or in the TLS handshake: nobody owns it yet */
    STREAM_OPEN,      /* the owner's */
    STREAM_LINGERING, /* the owner has let go; what is queued leaves */
    STREAM_CLOSED     /* waits for libuv to let go of its memory */
};

struct tls_conn;
struct admission;

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct loop *loop;
    enum stream_phase phase;
    bool has_events, paused, reading;
    bool peer_ended;     /* no more bytes will come */
    bool failed;         /* no more bytes can leave */
    bool end_told;       /* on_end has run */
    bool was_high;       /* on_drain is owed */
    bool shut;           /* our end of file was sent */
    bool reset_on_close; /* the peer shall see a broken connection, not an end */
    bool loopback;
    uint8_t quiet_ticks; /* paced ticks in a row that brought nothing */
    int read_every_ms;
    int64_t read_due_ms;
    struct list_node paced;
    struct stream_events ev;
    void *arg;
    void (*on_sent)(void *arg); /* for net/ itself: bytes went to the kernel */
    void (*on_open)(struct stream *s, const struct err *why); /* once, at the handshake's end */
    void *owner;                                              /* of on_open */
    struct err *why_ended;                                    /* told with on_end; NULL: clean */
    struct chunks out;                                        /* as the owner wrote it */
    struct tls_conn *tls;                                     /* NULL: clear text */
    struct write_op *writing;                                 /* the one write in flight */
    struct deferred flush, pump;
    struct timer *timer;         /* handshake, then lingering */
    struct admission *admission; /* where this connection is counted; NULL: outgoing */
    struct peer_count *peer_count;
    uint64_t bytes_in, bytes_out; /* the owner's, without TLS around them */
    uint64_t wire_out;            /* what the kernel took */
    char peer[64];
};

struct stream *stream_new(struct loop *l, bool is_unix);
void stream_set_peer(struct stream *s); /* reads name and kind of the peer */
void stream_update_reading(struct stream *s);
void stream_flush_soon(struct stream *s);
void stream_reset_on_close(struct stream *s);
void stream_pump_soon(struct stream *s); /* deliver what waits */
void stream_deliver(struct stream *s, struct slice bytes);
void stream_ended(struct stream *s, const struct err *why);  /* why NULL: the peer closed */
void stream_failed(struct stream *s, const struct err *why); /* broken in both directions */

/* Begins the handshake. on_open(s, NULL) when it is done, else on_open(s, why). */
void stream_start_tls(struct stream *s, SSL *ssl);

/* --- TLS below a stream (stream_tls.c) --- */

void tls_conn_free(struct tls_conn *t);
void tls_conn_input(struct stream *s, struct slice wire);
void tls_conn_pump(struct stream *s); /* deliver what waits */
bool tls_conn_has_input(const struct stream *s);
void tls_conn_encrypt(struct stream *s); /* moves some of s->out into the wire */
struct chunks *tls_conn_wire(const struct stream *s);
void tls_conn_shutdown(struct stream *s);
const char *tls_conn_alpn(const struct stream *s);

SSL *tls_server_ssl(struct tls_server *t);
SSL *tls_client_ssl(struct tls_client *t, const char *name, const char *alpn);
enum rc tls_err(struct err *err, enum rc rc, const char *what); /* with OpenSSL's last reason */

/* --- counting accepted connections (listen.c) --- */

void admission_leave(struct stream *s);

/* RC_* for a libuv error, with the sentence "context: reason". */
enum rc uv_err(struct err *err, int uv_status, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
