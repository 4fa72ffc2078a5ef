/* net/grpc.h: gRPC over the HTTP server and client: unary calls and server streams.
 *
 * Messages are opaque here; wire/ reads and writes them. Handler errors are status 2
 * (Unknown) with the sentence as grpc-message, as the reference answers.
 * Source: video.md 1.3 and 2; https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
#ifndef LEAT_NET_GRPC_H
#define LEAT_NET_GRPC_H

#include "net/http_client.h"
#include "net/http_server.h"

enum {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14
};
enum { GRPC_MAX_MESSAGE = 4 * 1024 * 1024 };

/* --- server --- */

/* HTTP/2 and Content-Type beginning "application/grpc" (video.md 1.3). */
bool grpc_is_request(const struct http_request *r);

/* Reads the one request message. On NULL the call was already answered with an error. */
typedef void (*grpc_on_message)(struct http_exchange *x, struct blob *message, void *arg);
void grpc_read(struct http_exchange *x, grpc_on_message fn, void *arg);

void grpc_reply(struct http_exchange *x, struct slice message);        /* unary: message, OK */
void grpc_fail(struct http_exchange *x, int status, const char *text); /* any time before the end */
void grpc_send(struct http_exchange *x, struct slice message);         /* server stream */
void grpc_end(struct http_exchange *x);                                /* server stream: OK */

/* --- client --- */

struct grpc_call_conf {
    const char *url;        /* "https://host:8935" of the peer */
    const char *unix_path;  /* as http_call_conf */
    const char *path;       /* "/net.Orchestrator/GetOrchestrator" */
    struct slice message;   /* copied */
    int connect_timeout_ms; /* 0: 3000 */
    int timeout_ms;         /* whole call; 0: none (server streams) */
    int ping_every_ms;      /* HTTP/2 PING while nothing else moves; a peer that does not
                               answer within as long again ends the call; 0: none */
    void (*on_message)(struct slice message, void *arg);
    /* Once. status GRPC_OK, the peer's status, or -1 when it never said one (see err->code). */
    void (*on_done)(int status, const struct err *err, void *arg);
    void *arg;
};

struct http_call *grpc_call(struct http_client *c, const struct grpc_call_conf *conf);
/* cancel with http_call_cancel() */

#endif
