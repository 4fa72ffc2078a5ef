/* What a gateway is told: GetOrchestrator, and the refreshed info in each answer.
 * Source: video.md 2.1, 2.2, 3.4. */
#include <string.h>

#include "base/clock.h"
#include "net/grpc.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"

enum { MAX_REQUEST_ARENA = 1024 * 1024, MAX_INFO_BYTES = 256 * 1024 };

void quote_fill(struct orchestrator *o, const struct auth_token *token,
                struct orchestrator_info *out)
{
    memset(out, 0, sizeof(*out));
    out->transcoder = o->conf.service_uri;
    out->has_caps = true;
    out->caps = *pool_caps(o->pool);
    out->has_token = true;
    out->token = *token;
    for (size_t i = 0; o->conf.nodes && o->conf.nodes[i] && i < MAX_NODES; i++)
        out->nodes[out->n_nodes++] = o->conf.nodes[i];
}

static void reply(struct orchestrator *o, struct http_exchange *x)
{
    struct orchestrator_info info;
    struct auth_token token;
    struct buf out;

    token_make(o->token_key, clock_wall_ms() / 1000, &token);
    quote_fill(o, &token, &info);
    buf_init(&out, MAX_INFO_BYTES);
    orchestrator_info_encode(&info, &out);
    grpc_reply(x, buf_slice(&out));
    buf_cleanup(&out);
}

void quote_answer(struct orchestrator *o, struct http_exchange *x, struct blob *message)
{
    struct orchestrator_request request;
    struct arena *a = arena_new(MAX_REQUEST_ARENA);
    const char *peer = http_request(x)->peer;
    struct err err;

    if (orchestrator_request_decode(blob_slice(message), a, &request, &err) != RC_OK)
        grpc_fail(x, GRPC_UNKNOWN, err.text);
    else if (o->draining && !sessions_have_peer(o, peer))
        grpc_fail(x, GRPC_UNKNOWN, "Invalid orchestrator request: OrchestratorCapped");
    else if (sessions_are_full(o) && !sessions_have_peer(o, peer)) {
        /* A gateway with streams here may renew them: the reference refuses that too. */
        log_peer(NULL, "gateway %s was refused: %zu sessions run, the limit is %lld", peer,
                 map_count(o->sessions), (long long)sessions_limit(o));
        grpc_fail(x, GRPC_UNKNOWN, "Invalid orchestrator request: OrchestratorCapped");
    } else {
        reply(o, x);
    }
    arena_free(a);
}
