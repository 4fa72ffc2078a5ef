/* net/http_server.h: HTTP/1.1, HTTP/2 and gRPC on one port.
 *
 * A connection is HTTP/2 when TLS chose it or when clear text begins with the
 * preface. The server parses, keeps limits and calls the handler once per request
 * when its headers are complete; the handler answers through the exchange now or
 * later. Writes are corked: one flush per loop turn.
 *
 * Life of an exchange: it is valid from the handler's call until on_closed has run
 * (answer fully sent, or the peer went away). A handler that answers later must set
 * on_closed and forget the exchange there. http_answer() and http_finish() may be
 * called once.
 *
 * Limits that a stranger meets: connections, connections per peer, header bytes and
 * count, time to the first and between header bytes (a slow client gets 408 and is
 * closed), idle time, concurrent streams per connection, body bytes (the handler's
 * maximum), time without progress in either direction, HTTP/2 reset floods.
 */
#ifndef LEAT_NET_HTTP_SERVER_H
#define LEAT_NET_HTTP_SERVER_H

#include "base/arena.h"
#include "base/blob.h"
#include "base/err.h"
#include "net/http.h"
#include "net/stream.h"

struct http_server;
struct http_exchange;

struct http_request {
    struct slice method;         /* "GET" */
    struct slice target;         /* as sent, "/a/b?c=d" */
    struct slice path;           /* before '?', not decoded */
    struct slice query;          /* after '?', or empty */
    struct slice authority;      /* Host or :authority */
    struct http_headers headers; /* without pseudo headers */
    int version;                 /* 1 or 2 */
    int64_t content_length;      /* -1: not told */
    const char *peer;            /* "127.0.0.1:51034" */
    bool peer_is_loopback;
};

typedef void (*http_handler)(struct http_exchange *x, void *arg);

struct http_server_conf {
    struct listen_conf listen; /* on_stream is the server's own */
    http_handler on_request;
    void *arg;
    int header_timeout_ms; /* 0: 10 s */
    int idle_timeout_ms;   /* 0: 10 minutes, as the reference */
    int stall_timeout_ms;  /* no byte moved although one was due; 0: 30 s */
    int max_streams;       /* per HTTP/2 connection; 0: 250 */
};

struct http_server *http_server_open(struct loop *l, const struct http_server_conf *conf,
                                     struct err *err);
struct listener *http_server_listener(struct http_server *s); /* NULL once it drains */

/* Stops listening, tells HTTP/2 peers GOAWAY and HTTP/1.1 peers "Connection: close"; running
 * exchanges finish. on_drained once none is left. */
void http_server_drain(struct http_server *s, void (*on_drained)(void *arg), void *arg);
void http_server_close(struct http_server *s); /* at once; on_closed of each exchange runs first */

/* --- the request --- */
const struct http_request *http_request(const struct http_exchange *x); /* valid with x */
struct arena *http_arena(struct http_exchange *x);                      /* dies with x */
struct loop *http_loop(struct http_exchange *x);

/* Whole body as one blob (callee refs it to keep it), or NULL and why: RC_LIMIT above max,
 * RC_CLOSED when the peer left, RC_TIMEOUT. "Expect: 100-continue" is answered. */
typedef void (*http_on_body)(struct http_exchange *x, struct blob *body, const struct err *why,
                             void *arg);
void http_read_body(struct http_exchange *x, size_t max_bytes, http_on_body on_body, void *arg);

/* Body as it arrives; `end` with an empty slice at the end. The peer is held back by
 * http_body_pause() (HTTP/2: its window; HTTP/1.1: the socket). */
struct http_body_events {
    void (*on_bytes)(struct http_exchange *x, struct slice bytes, void *arg);
    void (*on_end)(struct http_exchange *x, const struct err *why, void *arg); /* NULL: complete */
};
void http_stream_body(struct http_exchange *x, size_t max_bytes, const struct http_body_events *ev,
                      void *arg);
/* The whole body, from now: what is not here within ms ends as a stalled one does, RC_TIMEOUT.
 * Without it a peer may take as long as a byte comes now and then. */
void http_body_within(struct http_exchange *x, int ms);
void http_body_pause(struct http_exchange *x);
void http_body_resume(struct http_exchange *x);

/* --- the answer --- */
void http_set_header(struct http_exchange *x, const char *name, const char *value); /* copies */

/* Head, body and end in one. `type` NULL: none. HEAD requests get the head alone. */
void http_answer(struct http_exchange *x, int status, const char *type, struct slice body);
void http_answer_blob(struct http_exchange *x, int status, const char *type, struct blob *body);

/* Status by rc_http_status(), 408 for a body that stalled; the sentence as text/plain with a
 * newline. */
void http_answer_err(struct http_exchange *x, const struct err *err);

/* In pieces. content_length -1: chunked, or HTTP/2 without length. http_start sends the head
 * at once (two-phase answers of video.md 4.2 need it). */
void http_start(struct http_exchange *x, int status, const char *type, int64_t content_length);
void http_write(struct http_exchange *x, struct slice bytes); /* copies */
void http_write_blob(struct http_exchange *x, struct blob *b, size_t from, size_t n);
size_t http_unsent(const struct http_exchange *x); /* bytes of this answer still queued here */
void http_on_sent(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *arg),
                  void *arg); /* called when http_unsent falls to 0 */
/* HTTP/2, and HTTP/1.1 where the answer is chunked. */
void http_trailer(struct http_exchange *x, const char *name, const char *value);
void http_finish(struct http_exchange *x);
void http_abort(struct http_exchange *x); /* reset: the peer sees a broken answer */

/* For an answer that stays open for long (HTTP/2; HTTP/1.1 has no means): a PING goes out when the
 * peer said nothing for every_ms, and on_change tells when that stays without an answer as long
 * again, and when the peer speaks after all. About half a second coarse. Nothing is closed. */
void http_watch(struct http_exchange *x, int every_ms,
                void (*on_change)(struct http_exchange *x, bool silent, void *arg), void *arg);

/* Once, when the exchange is over. complete: everything was handed to the kernel. Set it in the
 * handler. x is invalid afterwards. */
void http_on_closed(struct http_exchange *x,
                    void (*fn)(struct http_exchange *x, bool complete, void *arg), void *arg);

#endif
