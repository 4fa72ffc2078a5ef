/* Do gateways reach us under the address that we tell them? (video.md 2.7) The reference ends
 * its process when not; we say so in the log and at /readyz, and try again. */
#include <stdio.h>

#include "base/rand.h"
#include "net/grpc.h"
#include "orchestrator/orchestrator_int.h"

enum { FIRST_AFTER_MS = 2000, AGAIN_AFTER_MS = 15000, PING_MS = 8000, PING_BYTES = 32 };

static void on_pinged(int status, const struct err *err, void *arg)
{
    struct orchestrator *o = arg;
    bool was_well = !o->self_check[0];

    if (err && err->code == RC_CANCELLED)
        return; /* stopped */
    o->self_check[0] = '\0';
    if (status == GRPC_OK) {
        if (!was_well)
            log_info(NULL, "gateways reach this node at %s again", o->service_uri);
        return;
    }
    snprintf(o->self_check, sizeof(o->self_check),
             "gateways cannot reach this node at %s: %.240s; is -serviceAddr right and its port "
             "open? (-startupAvailabilityCheck=false stops this check)",
             o->service_uri, err ? err->text : "no answer");
    if (was_well)
        log_peer(NULL, "%s", o->self_check);
    timer_start(o->self_check_timer, AGAIN_AFTER_MS);
}

static void ping(void *arg)
{
    struct orchestrator *o = arg;
    struct grpc_call_conf call = {.url = o->service_uri,
                                  .path = PATH_PING,
                                  .timeout_ms = PING_MS,
                                  .on_done = on_pinged,
                                  .arg = o};
    uint8_t value[PING_BYTES];
    struct buf message;

    rand_bytes(value, sizeof(value));
    buf_init(&message, 2 * PING_BYTES);
    ping_encode(slice_of(value, sizeof(value)), &message);
    call.message = buf_slice(&message);
    grpc_call(o->self_client, &call);
    buf_cleanup(&message);
}

void self_check_start(struct orchestrator *o)
{
    o->self_client = http_client_new(o->loop);
    o->self_check_timer = timer_new(o->loop, ping, o);
    if (o->conf.startup_check)
        timer_start(o->self_check_timer, FIRST_AFTER_MS);
}

void self_check_stop(struct orchestrator *o)
{
    timer_free(o->self_check_timer);
    o->self_check_timer = NULL;
    http_client_free(o->self_client);
    o->self_client = NULL;
}
