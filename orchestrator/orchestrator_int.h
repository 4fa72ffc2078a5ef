/* orchestrator/orchestrator_int.h: what the orchestrator's own files share. */
#ifndef LEAT_ORCHESTRATOR_ORCHESTRATOR_INT_H
#define LEAT_ORCHESTRATOR_ORCHESTRATOR_INT_H

#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "net/http_client.h"
#include "orchestrator/answer.h"
#include "orchestrator/local_worker.h"
#include "orchestrator/orchestrator.h"
#include "orchestrator/pool.h"
#include "wire/messages.h"

enum { TOKEN_KEY_BYTES = 32, MAX_SEGMENT_BYTES = 300 * 1000 * 1000 };

/* Segments being received, waiting and running, together. */
#define MAX_HELD_BYTES ((size_t)1 << 30)

/* A port: the service's, or the Unix socket of local workers. */
struct door {
    struct orchestrator *o;
    const char *secret; /* of workers that may come in here; NULL: none may */
    bool local;
    struct http_server *server;
};

struct orchestrator {
    struct loop *loop;
    struct orchestrator_conf conf;
    char *service_uri; /* with the real port */
    struct tls_server *tls;
    struct door service, local;
    char local_secret[2 * 16 + 1];
    char *socket_dir; /* of our own making, to be removed; NULL: none */
    struct http_client *client;
    uint8_t token_key[TOKEN_KEY_BYTES]; /* of this process: a restart ends all tokens */
    struct map *sessions;               /* session id -> struct session */
    struct pool *pool;
    struct local_worker *local_worker;
    struct refusals *refusals;
    size_t held_bytes; /* against MAX_HELD_BYTES */
    struct http_client *self_client;
    struct timer *self_check_timer;
    char self_check[ERR_TEXT_MAX]; /* why gateways may not reach us; "" all is well */

    bool draining; /* no new sessions */
    bool closing;  /* no new segments either */
    int64_t drain_until_ms, drain_closing_ms;
    struct timer *drain_timer;
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* controller.c: all requests of a door; arg is the door. */
void controller_on_request(struct http_exchange *x, void *arg);

/* quote.c: what a gateway is told; token: the one to name. */
void quote_fill(struct orchestrator *o, const struct auth_token *token,
                struct orchestrator_info *out);
void quote_answer(struct orchestrator *o, struct http_exchange *x, struct blob *message);

/* segment.c: POST /segment */
void segment_take(struct orchestrator *o, struct http_exchange *x);

/* worker_door.c: RegisterTranscoder and /transcodeResults */
void door_register(struct door *d, struct http_exchange *x, struct blob *message);
void door_results(struct door *d, struct http_exchange *x);

/* self_check.c: pings our own service address, as gateways would. */
void self_check_start(struct orchestrator *o);
void self_check_stop(struct orchestrator *o); /* twice is fine */

#endif
