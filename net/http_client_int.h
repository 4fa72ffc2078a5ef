/* net/http_client_int.h: what the files of the HTTP client share with each other.
 *
 * A call waits at its origin until one of the origin's connections has room, runs on it,
 * and ends. Three kinds of objects, each with one place that changes it:
 *   http_client.c       calls: what is asked, time limits, what the caller is told
 *   http_client_pool.c  origins and connections: who waits, who connects, what is kept
 *   http_client_h1.c, http_client_h2.c   the bytes (struct client_protocol)
 * Callers are called back from four functions only (http_call_headers_in, _bytes_in,
 * _finish, and fail_now which the loop runs), so all other code may hold its objects.
 */
#ifndef LEAT_NET_HTTP_CLIENT_INT_H
#define LEAT_NET_HTTP_CLIENT_INT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "net/http_client.h"
#include "net/stream.h"

enum {
    CLIENT_MAX_REQUEST_HEAD = 256 * 1024, /* all headers of a request of ours */
    CLIENT_MAX_CONNS = 64,                /* to one origin; further calls wait */
    CLIENT_IDLE_MS = 60 * 1000,           /* as the reference (video.md 1.5) */
    CLIENT_MAX_INFORMATIONAL = 8,         /* 1xx answers before the real one */
    CLIENT_CONNECT_MS = 2000
};

struct http_client {
    struct loop *loop;
    struct tls_client *tls; /* made with the first https call */
    struct map *origins;    /* of struct client_origin, by key */
    struct list calls;      /* every living call */
    uint64_t last_serial;   /* of connections */
    int idle_ms;            /* CLIENT_IDLE_MS, less in tests */
    bool freeing;
};

/* --- an answer's headers while they come in --- */

struct answer_head {
    struct buf text; /* names and values one after another */
    struct {
        size_t name, value, end;
    } at[HTTP_MAX_HEADERS]; /* offsets: text moves when it grows */
    struct http_header v[HTTP_MAX_HEADERS];
    size_t n;
};

void answer_head_clear(struct answer_head *h);
bool answer_head_name(struct answer_head *h, struct slice part); /* false: over a limit */
void answer_head_name_done(struct answer_head *h);
bool answer_head_value(struct answer_head *h, struct slice part);
void answer_head_value_done(struct answer_head *h);
struct http_headers answer_head_view(struct answer_head *h);

/* --- calls --- */

enum call_phase { CALL_STARTING, CALL_WAITING, CALL_RUNNING, CALL_FAILING, CALL_DONE };

struct http_call {
    struct list_node node;  /* client->calls */
    struct list_node place; /* origin->waiting, then conn->calls */
    struct http_client *client;
    struct loop *loop;
    enum call_phase phase;
    int calling;                /* callers' functions on the stack: memory must stay */
    struct http_call_conf conf; /* limits and callbacks; texts point into the arena */
    void (*on_free)(void *arg); /* see http_call_on_free */

    struct arena *arena;
    bool https;
    char *host; /* to connect to, or "unix:/path" */
    uint16_t port;
    char *name; /* "127.0.0.1:8935", for sentences */
    char *authority, *target;
    struct blob **parts;
    size_t body_bytes;

    struct client_origin *origin; /* while waiting */
    struct client_conn *conn;     /* while running */
    uint64_t after;               /* only connections with a later serial will do */
    bool retried, reused;
    int32_t stream_id;  /* HTTP/2; 0: closed there */
    bool reset_by_peer; /* HTTP/2 */

    size_t part, part_at; /* first body byte that was not handed to the stream */
    size_t unwritten;
    bool body_done;    /* all of the request was handed to the stream */
    bool stop_sending; /* the peer has refused: spare it the rest */
    int64_t sent_us;

    bool heard;    /* a byte of an answer has come */
    int status_in; /* of the header block that is coming in */
    int informational;
    int status; /* of the answer; 0 before */
    bool answer_ended;
    struct answer_head head;
    struct buf body;
    size_t received;

    int64_t started_ms, connect_by_ms;
    struct timer *timer;
    struct deferred soon;
    struct err err; /* told from the loop, see http_call_fail */
};

/* False: the call is gone (or about to), do not touch it. Both call the caller back. */
MUST_CHECK bool http_call_headers_in(struct http_call *c, int64_t content_length);
MUST_CHECK bool http_call_bytes_in(struct http_call *c, struct slice bytes);
void http_call_finish(struct http_call *c); /* complete; c is gone */

/* Ends the call: leaves its connection now, tells the caller from the loop. */
void http_call_fail(struct http_call *c, const struct err *why);
void http_call_over_header_limit(struct http_call *c);
/* Counts a 1xx answer and forgets its headers. False: too many, the call has failed. */
MUST_CHECK bool http_call_informational(struct http_call *c);

enum call_loss {
    LOSS_RETRY,           /* surely not processed: try again, once */
    LOSS_RETRY_IF_REUSED, /* try again if the connection may have been stale */
    LOSS_FINAL
};
void http_call_lost(struct http_call *c, const struct err *why, enum call_loss loss);

void http_call_write_body(struct http_call *c, struct stream *s, size_t n);
bool http_call_is_over(const struct http_call *c);
const struct http_header *http_call_header(const struct http_call *c, const char *name);

/* fn(conf.arg) when the call's memory goes, however it ended: for wrappers like gRPC. */
void http_call_on_free(struct http_call *c, void (*fn)(void *arg));

/* --- connections --- */

struct client_conn;

struct client_protocol {
    int version;
    struct client_conn *(*open)(void);             /* allocates */
    void (*ready)(struct client_conn *c);          /* c->stream is set: say hello */
    bool (*has_room)(const struct client_conn *c); /* for one more call, now */
    bool (*settling)(const struct client_conn *c); /* room for more may come soon */
    void (*start)(struct client_conn *c, struct http_call *call);
    void (*leave)(struct client_conn *c, struct http_call *call); /* call is off its list */
    void (*on_data)(struct client_conn *c, struct slice bytes);
    void (*on_writable)(struct client_conn *c);
    void (*on_end)(struct client_conn *c, const struct err *why);
    void (*on_timer)(struct client_conn *c); /* armed by start, while calls run */
    void (*free)(struct client_conn *c);     /* frees the memory as well */
};

extern const struct client_protocol client_http1, client_http2;

struct client_conn {
    const struct client_protocol *protocol;
    struct list_node node;        /* origin->conns */
    struct client_origin *origin; /* NULL once closed */
    struct loop *loop;
    char *name;
    struct stream *stream;
    struct list calls; /* that run on it */
    uint64_t serial;
    size_t served;
    struct timer *timer; /* idle: until it is closed; else the protocol's */
    struct deferred pump;
    int busy; /* its functions on the stack: memory must stay */
    bool dead;
};

void client_conn_attach(struct client_conn *c, struct http_call *call);
void client_conn_detach(struct http_call *call); /* of a running call */
void client_conn_close(struct client_conn *c);   /* no call may be on it */
/* Closes it under its calls: each is tried again or fails. */
void client_conn_fail(struct client_conn *c, const struct err *why, enum call_loss loss);
void client_conn_pump_soon(struct client_conn *c); /* on_writable from the loop */

/* --- origins: where calls go --- */

struct client_origin {
    struct http_client *client;
    char *key, *name, *host;
    uint16_t port;
    bool https;
    enum http_speak speak;
    int version; /* what it speaks, 0 until known */
    struct list conns, waiting, attempts;
    struct deferred turn;
};

void client_origin_wait(struct http_call *call); /* puts it into the queue of its origin */
void client_origin_unwait(struct http_call *call);
void client_origin_turn_soon(struct client_origin *o);
void client_origins_free(struct http_client *c);

#endif
