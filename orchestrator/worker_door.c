/* Where workers come in: RegisterTranscoder and POST /transcodeResults (video.md 11). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/grpc.h"
#include "orchestrator/orchestrator_int.h"
#include "wire/multipart.h"

enum { REGISTER_ARENA = 64 * 1024, MAX_RESULTS_BYTES = 1000 * 1000 * 1000, MAX_CONTENT_TYPE = 256 };

static bool knows_secret(const struct door *d, struct slice given)
{
    return d->secret && slice_eq_secret(slice_str(d->secret), given);
}

static void turn_away(struct door *d, struct http_exchange *x, const char *text, const char *why)
{
    refused(d->o->refusals, NULL, http_request(x)->peer, "as a worker: %s: %s", text, why);
    grpc_fail(x, GRPC_UNKNOWN, text);
}

void door_register(struct door *d, struct http_exchange *x, struct blob *message)
{
    struct register_request *r = xcalloc(1, sizeof(*r));
    struct arena *a = arena_new(REGISTER_ARENA);
    struct err err;

    if (register_request_decode(blob_slice(message), a, r, &err) != RC_OK)
        turn_away(d, x, err.text, "not a registration that we understand");
    else if (!knows_secret(d, slice_str(r->secret)))
        turn_away(d, x, "invalid secret", "its -orchSecret is not ours");
    else if (r->capacity <= 0)
        turn_away(d, x, "zero capacity", "its -maxSessions must be above 0");
    else
        pool_join(d->o->pool, x, d->local, r);
    arena_free(a);
    free(r);
}

/* --- results --- */

struct results_post {
    struct door *door;
    int64_t task_id;
    struct slice content_type; /* of the request, valid as long as its exchange */
};

static void turn_away_results(struct results_post *p, struct http_exchange *x, int status,
                              const char *text)
{
    refused(p->door->o->refusals, NULL, http_request(x)->peer, "results of task %" PRId64 ": %s",
            p->task_id, text);
    answer_text(x, status, text);
}

/* A part with Pixels is a rendition, one without is the perceptual hash of the one before it. */
static enum rc take_part(struct task_result *t, struct blob *body,
                         const struct multipart_part *part, struct err *err)
{
    const struct http_headers h = {part->headers, part->n_headers};
    struct slice pixels = http_header_get(&h, "Pixels");
    uint64_t n;

    if (!pixels.p) {
        if (t->n && !t->phash[t->n - 1])
            t->phash[t->n - 1] = blob_sub(body, part->offset, part->length);
        return RC_OK;
    }
    if (!slice_u64(pixels, INT64_MAX, &n))
        return err_set(err, RC_BAD_INPUT, "part %zu: Pixels is no number", t->n);
    if (t->n == MAX_PROFILES)
        return err_set(err, RC_LIMIT, "more than %d renditions", MAX_PROFILES);
    t->pixels[t->n] = (int64_t)n;
    t->media[t->n++] = blob_sub(body, part->offset, part->length);
    return RC_OK;
}

static enum rc read_renditions(const struct results_post *p, struct blob *body,
                               struct task_result *t, struct err *err)
{
    struct multipart_part parts[MULTIPART_MAX_PARTS];
    size_t n = 0;
    enum rc rc = multipart_parse(p->content_type, blob_slice(body), parts, &n, err);

    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = take_part(t, body, &parts[i], err);
    return rc;
}

static enum rc read_results(const struct results_post *p, struct blob *body, struct task_result *t,
                            struct err *err)
{
    char shown[256];

    if (slice_eq_str(p->content_type, "livepeer/transcoding-error")) {
        t->rc = err_set(&t->err, RC_UNAVAILABLE, "%s",
                        text_printable(slice_trim(blob_slice(body)), shown));
        return RC_OK;
    }
    if (!slice_has_prefix(p->content_type, "multipart/"))
        return RC_OK; /* a result without renditions: the task is told of the mismatch */
    return read_renditions(p, body, t, err);
}

static void on_results_body(struct http_exchange *x, struct blob *body, const struct err *why,
                            void *arg)
{
    struct results_post *p = arg;
    struct task_result t = {.rc = RC_OK};
    struct err err;

    if (!body) {
        if (why->code != RC_CLOSED)
            turn_away_results(p, x, 500, why->text);
        return;
    }
    if (read_results(p, body, &t, &err) != RC_OK) {
        turn_away_results(p, x, 500, err.text);
        t.rc = err.code;
        t.err = err;
    } else {
        http_answer(x, 200, "text/plain; charset=utf-8", SLICE_LIT("OK"));
    }
    if (!pool_result(p->door->o->pool, p->task_id, &t))
        log_debug(NULL, "nobody waits for results of task %" PRId64, p->task_id);
    for (size_t i = 0; i < t.n; i++) {
        blob_unref(&t.media[i]);
        blob_unref(&t.phash[i]);
    }
}

/* The checks of video.md 11.4 in their order; 0 when all is well. */
static int check_head(struct results_post *p, const struct http_headers *h, const char **text)
{
    uint64_t id, pixels;

    if (!slice_eq_str(http_header_get(h, "authorization"), "Livepeer-Transcoder-1.0") ||
        !knows_secret(p->door, http_header_get(h, "credentials"))) {
        *text = "Unauthorized";
        return 401;
    }
    p->content_type = http_header_get(h, "content-type");
    if (!p->content_type.n || p->content_type.n > MAX_CONTENT_TYPE) {
        *text = "mime: no media type";
        return 415;
    }
    if (!slice_u64(http_header_get(h, "taskid"), INT64_MAX, &id)) {
        *text = "Invalid Task ID";
        return 400;
    }
    p->task_id = (int64_t)id;
    if (!slice_u64(http_header_get(h, "pixels"), INT64_MAX, &pixels)) {
        *text = "Invalid Pixels";
        return 400;
    }
    return 0;
}

void door_results(struct door *d, struct http_exchange *x)
{
    struct results_post *p = arena_alloc(http_arena(x), sizeof(*p));
    const char *text = "";
    int status;

    p->door = d;
    p->task_id = -1;
    status = check_head(p, &http_request(x)->headers, &text);
    if (status)
        turn_away_results(p, x, status, text);
    else
        http_read_body(x, MAX_RESULTS_BYTES, on_results_body, p);
}
