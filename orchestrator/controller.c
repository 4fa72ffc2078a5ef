/* Which request goes where: gateways and remote workers at the service port, local workers at
 * the Unix socket (video.md 1.3). */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/grpc.h"
#include "net/health.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"
#include "wire/profiles.h"

/* --- HTTP: results and sources --- */

/* "SESSION/SEQ.tempfile" is a source, "SESSION/PROFILE/SEQ.ts" a rendition. */
static struct blob *find_stored(struct orchestrator *o, struct slice path)
{
    struct slice id, second, seq, ext;
    const struct session *s;
    uint64_t n;

    slice_split(&path, '/', &id);
    slice_split(&path, '/', &second);
    if (path.n) {
        s = session_find(o, id);
        return s ? session_result(s, second, path) : NULL;
    }
    ext = second;
    slice_split(&ext, '.', &seq);
    if (slice_eq_str(ext, "tempfile") && slice_u64(seq, INT64_MAX, &n))
        return pool_source(o->pool, id, (int64_t)n);
    return NULL;
}

static const char *type_of(struct slice path)
{
    if (slice_has_suffix(path, container_ext(CONTAINER_MP4)))
        return container_mime(CONTAINER_MP4);
    if (slice_has_suffix(path, container_ext(CONTAINER_TS)))
        return container_mime(CONTAINER_TS);
    return "application/octet-stream";
}

static void answer_stored(struct door *d, struct http_exchange *x)
{
    struct blob *media = NULL;
    struct buf path;

    buf_init(&path, HTTP_MAX_TARGET);
    if (percent_decode(&path, slice_skip(http_request(x)->path, strlen("/stream/")), NULL) == RC_OK)
        media = find_stored(d->o, buf_slice(&path));
    http_set_header(x, "Access-Control-Allow-Origin", "*");
    http_set_header(x, "Access-Control-Expose-Headers", "Content-Length");
    http_set_header(x, "Cache-Control", "max-age=5");
    if (media)
        http_answer_blob(x, 200, type_of(buf_slice(&path)), media);
    else
        answer_text(x, 404, "ErrNotFound");
    buf_cleanup(&path);
}

static void answer_health(struct door *d, struct http_exchange *x)
{
    (void)d;
    http_answer(x, 200, NULL, slice_of(NULL, 0));
}

static void answer_ready(struct door *d, struct http_exchange *x)
{
    struct buf why;

    buf_init(&why, HEALTH_WHY_MAX);
    (void)orchestrator_is_ready(d->o, &why); /* empty when it is */
    health_answer_ready(x, &why);
    buf_cleanup(&why);
}

static void answer_segment(struct door *d, struct http_exchange *x)
{
    segment_take(d->o, x);
}

/* A node without remote workers has no such page, as in the reference. */
static void answer_results(struct door *d, struct http_exchange *x)
{
    if (d->secret)
        door_results(d, x);
    else
        answer_not_found(x);
}

static void http_dispatch(struct door *d, struct http_exchange *x)
{
    static const struct {
        const char *path;
        bool is_prefix, at_local_door;
        void (*fn)(struct door *d, struct http_exchange *x);
    } routes[] = {
        {"/stream/", true, true, answer_stored},
        {"/segment", false, false, answer_segment},
        {"/transcodeResults", false, true, answer_results},
        {"/healthz", false, false, answer_health},
        {"/readyz", false, false, answer_ready},
    };
    struct slice path = http_request(x)->path;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        bool is_it = routes[i].is_prefix ? slice_has_prefix(path, routes[i].path)
                                         : slice_eq_str(path, routes[i].path);

        if (is_it && (routes[i].at_local_door || !d->local)) {
            routes[i].fn(d, x);
            return;
        }
    }
    answer_not_found(x);
}

/* --- gRPC --- */

static void on_get_orchestrator(struct http_exchange *x, struct blob *message, void *arg)
{
    if (message)
        quote_answer(((struct door *)arg)->o, x, message);
}

static void on_register(struct http_exchange *x, struct blob *message, void *arg)
{
    if (message)
        door_register(arg, x, message);
}

/* Off-chain nothing is signed: the value comes back empty (video.md 2.7). */
static void on_ping(struct http_exchange *x, struct blob *message, void *arg)
{
    (void)arg;
    if (message)
        grpc_reply(x, slice_of(NULL, 0));
}

static void on_end_session(struct http_exchange *x, struct blob *message, void *arg)
{
    struct orchestrator *o = ((struct door *)arg)->o;
    struct auth_token token;
    struct session *s;

    if (!message)
        return;
    if (end_session_decode(blob_slice(message), &token, NULL) != RC_OK ||
        !token_is_ours(o->token_key, &token)) {
        refused(o->refusals, NULL, http_request(x)->peer, "the end of session %.16s: not our token",
                token.session_id);
        grpc_fail(x, GRPC_UNKNOWN, "Invalid auth token");
        return;
    }
    s = session_find(o, slice_str(token.session_id));
    if (s)
        session_end(s, "its gateway said so");
    grpc_reply(x, slice_of(NULL, 0));
}

static void grpc_dispatch(struct door *d, struct http_exchange *x)
{
    static const struct {
        const char *path;
        bool at_local_door;
        grpc_on_message fn;
    } calls[] = {
        {PATH_GET_ORCHESTRATOR, false, on_get_orchestrator},
        {PATH_END_SESSION, false, on_end_session},
        {PATH_PING, false, on_ping},
        {PATH_REGISTER_TRANSCODER, true, on_register},
    };

    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (slice_eq_str(http_request(x)->path, calls[i].path) &&
            (calls[i].at_local_door || !d->local)) {
            grpc_read(x, calls[i].fn, d);
            return;
        }
    grpc_fail(x, GRPC_UNIMPLEMENTED, "unknown method");
}

void controller_on_request(struct http_exchange *x, void *arg)
{
    if (grpc_is_request(http_request(x)))
        grpc_dispatch(arg, x);
    else
        http_dispatch(arg, x);
}
