/* net/stream.h: one connected byte stream (TCP or Unix, with or without TLS) and the
 * listener that accepts them.
 *
 * Writes are queued as slices (copied) or blob ranges (referenced) and leave in one
 * writev per loop turn. The owner watches stream_queued() or waits for on_drain: the
 * queue itself has no limit but the one the owner keeps.
 *
 * Life: the owner calls stream_close(); no callback runs after that. on_end tells that
 * the peer closed or the stream failed, once; the owner must still close.
 */
#ifndef LEAT_NET_STREAM_H
#define LEAT_NET_STREAM_H

#include "base/blob.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/loop.h"
#include "net/tls.h"

struct stream;
struct listener;

struct stream_events {
    void (*on_data)(struct slice bytes, void *arg);   /* borrowed for the call */
    void (*on_drain)(void *arg);                      /* queue fell to zero after having been over
                                                         STREAM_HIGH_WATER; may be NULL */
    void (*on_end)(const struct err *why, void *arg); /* why NULL: the peer closed cleanly */
};

enum { STREAM_HIGH_WATER = 256 * 1024, STREAM_READ_MAX = 64 * 1024 };

/* Until called, nothing is read. */
void stream_set_events(struct stream *s, const struct stream_events *ev, void *arg);
void stream_pause(struct stream *s); /* stop reading: back-pressure to the peer */
void stream_resume(struct stream *s);

/* Collects what arrives for up to `ms` before reading again, so that many small messages
 * cost one wake-up (RTMP publishers). 0: read at once. */
void stream_read_every(struct stream *s, int ms);

void stream_write(struct stream *s, struct slice bytes);                         /* copies */
void stream_write_blob(struct stream *s, struct blob *b, size_t from, size_t n); /* references */
size_t stream_queued(const struct stream *s); /* bytes not yet in the kernel */

/* Closes after what is queued has left (at most 5 s), or at once. s is gone for the caller. */
void stream_close_when_sent(struct stream *s);
void stream_close(struct stream *s); /* NULL is fine */

const char *stream_peer(const struct stream *s); /* "127.0.0.1:51034" or "unix" */
bool stream_peer_is_loopback(const struct stream *s);
const char *stream_alpn(const struct stream *s); /* "h2", "http/1.1" or "" */
/* The owner's bytes, without TLS around them; out: those handed to the kernel or to TLS. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

struct listen_conf {
    const char *addr;         /* "host:port", ":port" for all addresses, port 0 picks one;
                                 "unix:/path" (mode 0600) */
    struct tls_server *tls;   /* borrowed, NULL: clear text */
    int max_connections;      /* further ones are closed at once, logged with a limit;
                                 0: 10000 */
    int max_per_peer;         /* by address (IPv6: by /64), loopback exempt; 0: no limit */
    int handshake_timeout_ms; /* TLS; 0: 5000 */
    void (*on_stream)(struct stream *s, void *arg); /* the callee owns s */
    void *arg;
};

/* NULL and *err: "address 127.0.0.1:1935 is in use by another program; stop it or choose
 * another with -rtmpAddr" is made by the caller from RC_EXISTS. */
struct listener *listener_open(struct loop *l, const struct listen_conf *conf, struct err *err);
const char *listener_addr(const struct listener *l); /* with the real port */
uint16_t listener_port(const struct listener *l);
int listener_connections(const struct listener *l);
void listener_close(struct listener *l); /* accepted streams live on */

struct connect_conf {
    const char *host; /* name, address, or "unix:/path" (port ignored) */
    uint16_t port;
    struct tls_client *tls; /* borrowed, NULL: clear text */
    const char *tls_name;   /* SNI and verification; NULL: host */
    const char *alpn;       /* "h2", "h2,http/1.1", NULL: none offered */
    int timeout_ms;         /* name look-up, connection and handshake together;
                               0: 10 s */
    /* Exactly once from the loop: s (the callee owns it) or NULL and why. */
    void (*on_done)(struct stream *s, const struct err *why, void *arg);
    void *arg;
};

struct connecting;
struct connecting *stream_connect(struct loop *l, const struct connect_conf *conf);
void connecting_cancel(struct connecting *c); /* on_done is not called */

#endif
