#include "orchestrator/admission.h"

#include "base/clock.h"
#include "orchestrator/payment.h"
#include "orchestrator/token.h"

static enum rc check_capabilities(struct orchestrator *o, const char *peer,
                                  const struct seg_data *seg, struct err *err)
{
    struct err lacks;

    if (caps_compatible(&seg->caps, pool_caps(o->pool), &lacks) == RC_OK)
        return RC_OK;
    refused(o->refusals, NULL, peer, "incompatible capabilities: this node %s", lacks.text);
    return err_set(err, RC_DENIED, "incompatible capabilities");
}

static enum rc check_token(struct orchestrator *o, const char *peer, const struct seg_data *seg,
                           struct err *err)
{
    enum rc rc = token_check(o->token_key, clock_wall_ms() / 1000,
                             seg->has_token ? &seg->token : NULL, err);

    if (rc != RC_OK)
        refused(o->refusals, NULL, peer, "%s: tokens last %d s and end with this process",
                err->text, AUTH_TOKEN_LIFE_S);
    return rc;
}

/* Off-chain no signature is needed, and none is checked (video.md 3.1). */
static enum rc check_credentials(struct orchestrator *o, const struct http_request *r,
                                 struct arena *a, struct seg_data *seg, struct err *err)
{
    enum rc rc = segment_header_decode(http_header_get(&r->headers, "livepeer-segment"), a, seg,
                                       err);

    if (rc != RC_OK) {
        refused(o->refusals, NULL, r->peer, "Livepeer-Segment: %s", err->text);
        return rc;
    }
    rc = check_capabilities(o, r->peer, seg, err);
    if (rc == RC_OK)
        rc = check_token(o, r->peer, seg, err);
    if (rc == RC_OK && !session_use(o, &seg->token, seg->manifest_id, r->peer, err))
        rc = err->code;
    return rc;
}

enum rc admission_check(struct orchestrator *o, const struct http_request *r, struct arena *a,
                        struct seg_data *seg, int *status, struct err *err)
{
    enum rc rc = payment_check(http_header_get(&r->headers, "livepeer-payment"), err);

    *status = 402;
    if (rc != RC_OK) {
        refused(o->refusals, NULL, r->peer, "Livepeer-Payment: %s", err->text);
        return rc;
    }
    *status = 403;
    if (o->closing)
        return err_set(err, RC_BUSY, "draining: this orchestrator takes no more segments");
    return check_credentials(o, r, a, seg, err);
}
