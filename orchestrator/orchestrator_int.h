/* orchestrator/orchestrator_int.h: what the orchestrator's own files share. */
#ifndef LEAT_ORCHESTRATOR_ORCHESTRATOR_INT_H
#define LEAT_ORCHESTRATOR_ORCHESTRATOR_INT_H

#include "base/json.h"
#include "base/map.h"
#include "net/http_client.h"
#include "orchestrator/local_worker.h"
#include "orchestrator/orchestrator.h"
#include "orchestrator/pool.h"
#include "wire/messages.h"

enum { TOKEN_KEY_BYTES = 32, MAX_SEGMENT_BYTES = 300 * 1000 * 1000 };

/* A port through which workers may come: its secret, NULL when none may. */
struct door {
    struct orchestrator *o;
    const char *secret;
    bool local;                     /* the Unix socket of local workers */
    struct http_server *server;
};

struct orchestrator {
    struct loop *loop;
    struct orchestrator_conf conf;
    struct tls_server *tls;
    struct door service, local;
    char local_secret[2 * 16 + 1];
    struct http_client *client;
    uint8_t token_key[TOKEN_KEY_BYTES]; /* of this process: a restart ends all tokens */
    struct map *sessions;               /* session id -> struct session */
    struct pool *pool;
    struct local_worker *local_worker;
    struct timer *startup_check;
    char self_check[ERR_TEXT_MAX];      /* why gateways may not reach us; "" all is well */
    bool draining;
    struct timer *drain_timer;
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* quote.c: what a gateway is told; token: the one to name. */
void quote_fill(struct orchestrator *o, const struct auth_token *token,
                struct orchestrator_info *out);
void quote_answer(struct orchestrator *o, struct http_exchange *x, struct blob *message);

/* segment.c */
void segment_take(struct orchestrator *o, struct http_exchange *x);

/* worker_door.c */
void door_register(struct door *d, struct http_exchange *x, struct blob *message);
void door_results(struct door *d, struct http_exchange *x);

/* orchestrator.c: the drain may be over. */
void orchestrator_session_ended(struct orchestrator *o);

#endif
