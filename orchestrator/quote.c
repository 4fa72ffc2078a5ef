/* What a gateway is told: GetOrchestrator, and the refreshed info in each answer.
 * Source: video.md 2.1, 2.2, 3.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/grpc.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"

enum { REQUEST_ARENA = 64 * 1024, MAX_INFO_BYTES = 256 * 1024 };

/* Price and ticket parameters stay out: off-chain nobody pays. */
void quote_fill(struct orchestrator *o, const struct auth_token *token,
                struct orchestrator_info *out)
{
    memset(out, 0, sizeof(*out));
    out->transcoder = o->service_uri;
    out->has_caps = true;
    out->caps = *pool_caps(o->pool);
    out->has_token = true;
    out->token = *token;
    for (size_t i = 0; o->conf.nodes && o->conf.nodes[i] && i < MAX_NODES; i++)
        out->nodes[out->n_nodes++] = o->conf.nodes[i];
}

static void reply(struct orchestrator *o, struct http_exchange *x)
{
    struct orchestrator_info *info = xcalloc(1, sizeof(*info));
    struct auth_token token;
    struct buf out;

    token_make(o->token_key, clock_wall_ms() / 1000, &token);
    quote_fill(o, &token, info);
    buf_init(&out, MAX_INFO_BYTES);
    orchestrator_info_encode(info, &out);
    grpc_reply(x, buf_slice(&out));
    buf_cleanup(&out);
    free(info);
}

/* The request names no session, so a renewal cannot be told from a new stream. Where all places
 * are taken, a gateway whose stream here has a token about to expire is answered all the same:
 * the reference refuses it, and its stream loses its orchestrator every half hour. */
static enum rc check_room(struct orchestrator *o, const char *peer, struct err *err)
{
    int64_t live = sessions_live(o), limit = sessions_limit(o);

    if (o->draining) {
        refused(o->refusals, NULL, peer, "a quote, but this node is stopping");
        return err_set(err, RC_BUSY,
                       "Invalid orchestrator request: draining: this orchestrator "
                       "takes no new sessions");
    }
    if (live < limit || sessions_may_renew(o, peer))
        return RC_OK;
    if (!pool_workers(o->pool))
        refused(o->refusals, NULL, peer,
                "a quote, but no worker is here: start one with "
                "`leat transcoder`, or give -transcoder");
    else
        refused(o->refusals, NULL, peer,
                "a quote, but %" PRId64 " sessions run and %" PRId64
                " are allowed: raise -maxSessions (%d) or add workers (they take %" PRId64 ")",
                live, limit, o->conf.max_sessions, pool_capacity(o->pool));
    return err_set(err, RC_BUSY, "Invalid orchestrator request: OrchestratorCapped");
}

void quote_answer(struct orchestrator *o, struct http_exchange *x, struct blob *message)
{
    struct orchestrator_request *request = xcalloc(1, sizeof(*request));
    struct arena *a = arena_new(REQUEST_ARENA);
    struct err err;
    enum rc rc = orchestrator_request_decode(blob_slice(message), a, request, &err);

    if (rc == RC_OK)
        rc = check_room(o, http_request(x)->peer, &err);
    if (rc == RC_OK)
        reply(o, x);
    else
        grpc_fail(x, GRPC_UNKNOWN, err.text);
    arena_free(a);
    free(request);
}
