/* POST /segment: credentials, body, queue, answer (video.md 4.2). The bytes are hashed as they
 * arrive and are never copied again: the one blob goes to the worker. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/admission.h"
#include "orchestrator/metrics.h"
#include "wire/profiles.h"

enum {
    REQUEST_ARENA = 256 * 1024,
    MAX_RESULT_BYTES = 512 * 1024,
    FETCH_MS = 4000, /* of a URI body, video.md 1.5 */
    MAX_FETCHED_URI = 8192,
    UPLOAD_MIN_MS = 8000,            /* when these have passed no gateway waits for the result */
    UPLOAD_FACTOR = 4,               /* any more (the whole exchange, video.md 1.5) */
    TRUSTED_LENGTH = 8 * 1024 * 1024 /* room made on a Content-Length's word alone */
};

/* One request, until its exchange is closed and its work is done. */
struct request {
    struct orchestrator *o;
    struct http_exchange *x; /* NULL once the gateway has gone */
    struct arena *arena;
    struct seg_data seg;
    char session_id[SESSION_ID_MAX + 1];
    bool holds_session;
    struct buf body;
    size_t held; /* of o->held_bytes */
    struct keccak hash;
    struct blob *source;
    struct http_call *fetch; /* of a URI body */
    bool is_uri, in_queue;
    struct work work;
    int64_t came_ms;
};

static struct session *session_of(const struct request *r)
{
    return session_find(r->o, slice_str(r->session_id));
}

static void release_session(struct request *r)
{
    struct session *s = session_of(r);

    if (r->holds_session && s)
        session_release(s);
    r->holds_session = false;
}

static void request_free(struct request *r)
{
    if (r->x || r->in_queue)
        return; /* somebody will still call us */
    if (r->fetch)
        http_call_cancel(r->fetch);
    release_session(r);
    r->o->held_bytes -= r->held;
    blob_unref(&r->source);
    buf_cleanup(&r->body);
    arena_free(r->arena);
    free(r);
}

static void refuse(struct request *r, int status, const char *text)
{
    release_session(r);
    answer_text(r->x, status, text);
}

static bool hold(struct request *r, size_t n)
{
    if (n > MAX_HELD_BYTES - MIN(r->o->held_bytes, MAX_HELD_BYTES))
        return false;
    r->o->held_bytes += n;
    r->held += n;
    return true;
}

/* --- the answer --- */

static const char *result_url(struct request *r, const struct profile *p, const char *ext)
{
    struct buf name;
    const char *url;

    buf_init(&name, 3 * PROFILE_NAME_MAX + 1);
    percent_encode(&name, slice_str(p->name));
    url = arena_printf(r->arena, "%s/stream/%s/%s/%" PRId64 "%s%s", r->o->service_uri,
                       r->session_id, buf_cstr(&name), r->seg.seq, container_ext(p->container),
                       ext);
    buf_cleanup(&name);
    return url;
}

static void fill_segments(struct request *r, const struct task_result *t,
                          struct transcode_result *out)
{
    for (size_t i = 0; i < t->n; i++) {
        out->segments[i].pixels = t->pixels[i];
        out->segments[i].url = result_url(r, &r->seg.profiles[i], "");
        out->segments[i].perceptual_hash_url = t->phash[i]
                                                   ? result_url(r, &r->seg.profiles[i], ".phash")
                                                   : "";
    }
    out->has_data = true;
    out->n_segments = t->n;
}

static void send_result(struct request *r, const struct task_result *t)
{
    struct transcode_result *out = xcalloc(1, sizeof(*out));
    struct buf message;

    out->seq = r->seg.seq;
    if (t->rc == RC_OK)
        fill_segments(r, t, out);
    else
        out->error = t->err.text;
    out->has_info = true;
    quote_fill(r->o, &r->seg.token, &out->info);
    buf_init(&message, MAX_RESULT_BYTES);
    transcode_result_encode(out, &message);
    http_write(r->x, buf_slice(&message));
    http_finish(r->x);
    buf_cleanup(&message);
    free(out);
}

static void keep_renditions(struct request *r, const struct task_result *t)
{
    struct session *s = session_of(r);

    for (size_t i = 0; s && i < t->n; i++)
        session_keep(s, &r->seg.profiles[i], r->seg.seq, t->media[i], t->phash[i]);
}

static void on_work_done(struct work *w, const struct task_result *t)
{
    struct request *r = CONTAINER_OF(w, struct request, work);

    r->in_queue = false;
    if (t->rc == RC_OK)
        keep_renditions(r, t);
    if (r->x)
        send_result(r, t);
    request_free(r);
}

static void answer_error(struct request *r, const char *text)
{
    struct task_result t = {.rc = RC_BUSY};

    (void)err_set(&t.err, RC_BUSY, "%s", text);
    send_result(r, &t);
}

/* --- the whole body is here --- */

static void enqueue(struct request *r)
{
    struct session *s = session_of(r);

    http_start(r->x, 200, NULL, -1); /* "upload complete", before any work (step 9) */
    metric_segment_came((double)(clock_mono_ms() - r->came_ms) / 1000);
    r->work = (struct work){.seg = &r->seg, .source = r->source, .on_done = on_work_done};
    r->in_queue = s && session_put(s, &r->work);
    if (!r->in_queue)
        answer_error(r, s ? "OrchestratorBusy" : "TranscoderStopped");
    release_session(r);
}

static void take_media(struct request *r, struct blob *TAKES media, const struct hash *hash)
{
    r->source = media;
    if (memcmp(hash, &r->seg.hash, sizeof(*hash)) == 0) {
        enqueue(r);
        return;
    }
    refused(r->o->refusals, NULL, http_request(r->x)->peer,
            "session=%s segment=%" PRId64 ": its %zu bytes are not those that the credentials name",
            r->session_id, r->seg.seq, media->n);
    refuse(r, 403, "Forbidden");
}

#define OVERFULL                                                                                   \
    "the segments held here have 1 GiB together: gateways send faster than the workers work"

static void stop_reading(struct request *r, enum rc rc, const char *why)
{
    refused(r->o->refusals, NULL, http_request(r->x)->peer, "session=%s segment=%" PRId64 ": %s",
            r->session_id, r->seg.seq, why);
    buf_cleanup(&r->body);
    if (rc == RC_TIMEOUT)
        refuse(r, 408, "Request Timeout");
    else
        refuse(r, 500, "Internal Server Error");
}

/* --- a URI instead of media --- */

static void on_fetched(int status, const struct http_headers *h, struct blob *body,
                       const struct err *err, void *arg)
{
    struct request *r = arg;
    struct hash hash;

    (void)h;
    r->fetch = NULL;
    if (err || status != 200) {
        refused(r->o->refusals, NULL, http_request(r->x)->peer,
                "session=%s segment=%" PRId64 ": its URI could not be fetched: status %d %s",
                r->session_id, r->seg.seq, status, err ? err->text : "");
        refuse(r, 400, "BadRequest");
        return;
    }
    hash = keccak_done(&r->hash);
    take_media(r, blob_ref(body), &hash);
}

static void on_fetched_bytes(struct slice bytes, void *arg)
{
    struct request *r = arg;

    if (hold(r, bytes.n)) {
        keccak_add(&r->hash, bytes);
        return;
    }
    http_call_cancel(r->fetch);
    r->fetch = NULL;
    stop_reading(r, RC_LIMIT, OVERFULL);
}

static void fetch(struct request *r)
{
    const struct http_call_conf conf = {.method = "GET",
                                        .url = buf_cstr(&r->body),
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = FETCH_MS,
                                        .max_body = MAX_SEGMENT_BYTES,
                                        .collect = true,
                                        .on_bytes = on_fetched_bytes,
                                        .on_done = on_fetched,
                                        .arg = r};

    r->fetch = http_call_start(r->o->client, &conf);
}

/* --- the body --- */

static void on_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    struct request *r = arg;

    (void)x;
    if (!r->holds_session)
        return; /* refused already, the rest is thrown away */
    if (!hold(r, bytes.n)) {
        stop_reading(r, RC_LIMIT, OVERFULL);
        return;
    }
    buf_add_slice(&r->body, bytes);
    if (!r->is_uri)
        keccak_add(&r->hash, bytes);
}

static void on_end(struct http_exchange *x, const struct err *why, void *arg)
{
    struct request *r = arg;
    struct hash hash;

    (void)x;
    if (!r->holds_session)
        return; /* refused already */
    if (why) {
        if (why->code != RC_CLOSED)
            stop_reading(r, why->code, why->text);
        return;
    }
    if (r->is_uri) {
        fetch(r);
        return;
    }
    hash = keccak_done(&r->hash);
    take_media(r, blob_of_buf(&r->body), &hash);
}

static void on_closed(struct http_exchange *x, bool complete, void *arg)
{
    struct request *r = arg;
    struct session *s = session_of(r);

    (void)x;
    r->x = NULL;
    if (!complete && r->in_queue && s) {
        session_drop(s, &r->work);
        r->in_queue = false;
    }
    request_free(r);
}

static struct request *request_new(struct orchestrator *o, struct http_exchange *x)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->o = o;
    r->x = x;
    r->came_ms = clock_mono_ms();
    r->arena = arena_new(REQUEST_ARENA);
    keccak_init(&r->hash);
    http_on_closed(x, on_closed, r);
    return r;
}

void segment_take(struct orchestrator *o, struct http_exchange *x)
{
    static const struct http_body_events ev = {.on_bytes = on_bytes, .on_end = on_end};
    const struct http_request *q = http_request(x);
    struct request *r = request_new(o, x);
    struct err err;
    int status;

    buf_init(&r->body, MAX_SEGMENT_BYTES);
    if (admission_check(o, q, r->arena, &r->seg, &status, &err) != RC_OK) {
        answer_text(x, status, err.text);
        return;
    }
    r->holds_session = true;
    snprintf(r->session_id, sizeof(r->session_id), "%s", r->seg.token.session_id);
    r->is_uri = slice_eq_str(http_header_get(&q->headers, "content-type"),
                             "application/vnd+livepeer.uri");
    if (q->content_length > 0)
        (void)buf_reserve(&r->body, (size_t)MIN(q->content_length, (int64_t)TRUSTED_LENGTH));
    http_body_within(x, MAX(UPLOAD_MIN_MS, UPLOAD_FACTOR * task_duration_ms(&r->seg)));
    http_stream_body(x, r->is_uri ? MAX_FETCHED_URI : MAX_SEGMENT_BYTES, &ev, r);
}
