/* net/http_server_int.h: what the files of the HTTP server share.
 *
 * A connection (struct http_conn) speaks one of two protocols (struct http_proto) and
 * carries exchanges: one at a time with HTTP/1, many with HTTP/2. http_server.c owns
 * connections and time, http_server_exchange.c what both protocols have in common,
 * http_server_1.c and http_server_2.c the bytes.
 *
 * Memory: any callback of a handler may end any exchange or connection. So ending only
 * marks them `dead` and takes them out of the lists; a deferred call frees them when no
 * caller can be looking any more. After each call out, look at `dead`.
 */
#ifndef LEAT_NET_HTTP_SERVER_INT_H
#define LEAT_NET_HTTP_SERVER_INT_H

#include "net/http_server.h"
#include "net/net_int.h"

enum {
    HTTP_MAX_ANSWER_HEADERS = 48,
    HTTP_MAX_TRAILERS = 8,
    HTTP_ARENA_MAX = 8 * 1024 * 1024,
    HTTP_MAX_REST = 256 * 1024 /* unread rest of a body that is skipped to keep a connection */
};

struct http_conn;

struct http_proto {
    void (*input)(struct http_conn *c, struct slice bytes);
    void (*peer_left)(struct http_conn *c); /* the peer sends no more, but may still read */
    void (*room)(struct http_conn *c);      /* the stream's queue is empty again */
    void (*head_timeout)(struct http_conn *c);
    void (*watch)(struct http_conn *c, int64_t now_ms); /* is the peer there? NULL: cannot tell */
    void (*drain)(struct http_conn *c);
    void (*free)(struct http_conn *c);

    void (*send_continue)(struct http_exchange *x);
    void (*send_head)(struct http_exchange *x, int status, const char *type, int64_t length);
    void (*send)(struct http_exchange *x, struct blob *b, struct slice part); /* b NULL: copy */
    void (*finish)(struct http_exchange *x);
    void (*abort)(struct http_exchange *x);
    void (*body_taken)(struct http_exchange *x, size_t n); /* held bytes went to the handler */
    bool (*may_send)(const struct http_exchange *x);       /* do our windows let the peer send? */
    void (*closed)(struct http_exchange *x); /* it is out of the list; what comes next? */
};

extern const struct http_proto http_proto_1, http_proto_2;

struct http_server {
    struct loop *loop;
    struct http_server_conf conf;
    struct listener *listener;
    struct list busy; /* connections that something is expected of, now */
    struct list idle; /* the others, longest idle first */
    struct timer *sweep;
    int64_t sweep_at; /* when it is armed for; 0: not */
    bool draining, dead;
    void (*on_drained)(void *arg);
    void *drained_arg;
    struct deferred drained, bury;
};

struct http_conn {
    struct http_server *server;
    struct list_node node;
    struct stream *stream;
    const struct http_proto *proto; /* NULL: not known yet */
    struct list exchanges;
    bool dead, is_idle;
    int64_t head_since_ms; /* a request's head is awaited since; 0: none is */
    int64_t left_at_ms;    /* the peer stopped sending; 0: it did not */
    int64_t idle_since_ms;
    uint64_t written, sent; /* bytes put into the stream, and handed to the kernel */
    struct deferred settle, bury;
    union {
        struct http1 *h1;
        struct http2 *h2;
    } as;
    uint8_t sniffed_n; /* clear text: bytes that may be HTTP/2's preface */
    uint8_t sniffed[24];
};

enum body_mode {
    BODY_UNASKED, /* the handler has not said what to do with it */
    BODY_COLLECT,
    BODY_STREAM,
    BODY_DISCARD /* told, refused or not wanted any more */
};

struct http_exchange {
    struct http_conn *conn;
    struct list_node node;
    struct arena *arena;
    struct http_request req;
    bool dead;
    int64_t moved_ms; /* last progress, for the stall limit */
    void (*on_closed)(struct http_exchange *x, bool complete, void *arg);
    void *closed_arg;
    struct deferred pump, bury;

    /* the request's body */
    enum body_mode mode;
    bool expects_continue, body_ended, paused, stalled;
    struct err *body_why; /* how it ended; NULL: complete */
    int body_within_ms;   /* 0: no limit */
    int64_t body_until_ms;
    size_t body_max, body_got;
    struct buf held; /* arrived before it was asked for, or while paused */
    struct buf body; /* collected so far */
    http_on_body on_body;
    struct http_body_events body_events;
    void *body_arg;

    /* the answer */
    bool head_sent, finished, ended, no_body, chunked, sent_owed;
    int64_t left; /* of a declared Content-Length; -1: not declared */
    struct http_header *headers, *trailers;
    size_t n_headers, n_trailers;
    struct chunks out; /* HTTP/2: waits for the peer's window */
    uint64_t wire_end; /* conn->written after our last byte */
    void (*on_sent)(struct http_exchange *x, void *arg);
    void *sent_arg;

    int watch_ms; /* 0: nobody asked */
    bool told_silent;
    void (*on_change)(struct http_exchange *x, bool silent, void *arg);
    void *change_arg;

    int32_t stream_id; /* HTTP/2 */
    bool is_deferred;  /* HTTP/2: nghttp2 waits to be told of more bytes */
    size_t n_room;     /* HTTP/2: headers that fit */
    size_t head_bytes;
    bool head_done;
    int refuse_status; /* HTTP/2: its head broke a limit; 0: fine */
};

/* --- connections (http_server.c) --- */

void conn_write(struct http_conn *c, struct slice bytes);
void conn_write_blob(struct http_conn *c, struct blob *b, struct slice part);
void conn_settle_soon(struct http_conn *c);     /* look whether an exchange is done */
void conn_close(struct http_conn *c);           /* at once; exchanges end incomplete */
void conn_close_when_sent(struct http_conn *c); /* exchanges must be over */
void conn_set_idle(struct http_conn *c);
void conn_set_busy(struct http_conn *c);
int64_t conn_now_ms(const struct http_conn *c);

bool http1_start(struct http_conn *c);
bool http2_start(struct http_conn *c);

/* --- exchanges (http_server_exchange.c) --- */

struct http_exchange *exchange_new(struct http_conn *c);
void exchange_begin(struct http_exchange *x); /* the head is complete: the handler's turn */
void exchange_set_target(struct http_exchange *x, struct slice target);
void exchange_read_headers(struct http_exchange *x); /* what the server itself wants to know */
bool exchange_body(struct http_exchange *x, struct slice bytes); /* false: held */
void exchange_body_end(struct http_exchange *x, const struct err *why);
bool exchange_wants_body(const struct http_exchange *x);
void exchange_refuse(struct http_exchange *x, int status, const char *sentence);
bool exchange_stalled(struct http_exchange *x, int64_t now_ms);
void exchange_stop(struct http_exchange *x); /* it stalled */
size_t exchange_unsent(const struct http_exchange *x);
void exchange_close(struct http_exchange *x, bool complete);

#endif
