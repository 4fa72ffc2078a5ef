/* Where workers come in: RegisterTranscoder and POST /transcodeResults (video.md 11). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/grpc.h"
#include "orchestrator/orchestrator_int.h"
#include "wire/multipart.h"

enum { REGISTER_ARENA = 256 * 1024, MAX_RESULTS_BYTES = 600 * 1000 * 1000,
       MAX_ERROR_TEXT = 1024 };

static bool knows_secret(const struct door *d, struct slice given)
{
    return d->secret && slice_eq_secret(slice_str(d->secret), given);
}

void door_register(struct door *d, struct http_exchange *x, struct blob *message)
{
    struct arena *a = arena_new(REGISTER_ARENA);
    struct register_request r;
    struct err err;

    if (register_request_decode(blob_slice(message), a, &r, &err) != RC_OK) {
        grpc_fail(x, GRPC_UNKNOWN, err.text);
    } else if (!knows_secret(d, slice_str(r.secret))) {
        log_peer(NULL, "worker %s was refused: its -orchSecret is not ours", http_request(x)->peer);
        grpc_fail(x, GRPC_UNKNOWN, "invalid secret");
    } else if (r.capacity <= 0) {
        log_peer(NULL, "worker %s was refused: its capacity is %" PRId64, http_request(x)->peer,
                 r.capacity);
        grpc_fail(x, GRPC_UNKNOWN, "zero capacity");
    } else {
        pool_join(d->o->pool, x, d->local, &r);
    }
    arena_free(a);
}

/* --- results --- */

struct results {
    struct door *door;
    int64_t task_id;
    bool is_error;
    char content_type[256];
};

static void answer(struct http_exchange *x, int status, const char *text)
{
    char line[ERR_TEXT_MAX + 2];

    if (status != 200)
        log_peer(NULL, "results of worker %s refused with status %d: %s", http_request(x)->peer,
                 status, text);
    snprintf(line, sizeof(line), "%s\n", text);
    http_answer(x, status, "text/plain; charset=utf-8", slice_str(line));
}

static enum rc take_part(struct task_result *t, struct blob *body,
                         const struct multipart_part *part, struct err *err)
{
    const struct http_headers h = {part->headers, part->n_headers};
    struct slice pixels = http_header_get(&h, "Pixels");
    uint64_t n;

    if (!pixels.p)
        return RC_OK; /* a perceptual hash: it follows its rendition and has no pixels */
    if (!slice_u64(pixels, INT64_MAX, &n))
        return err_set(err, RC_BAD_INPUT, "part %zu: Pixels is no number", t->n);
    if (t->n == MAX_PROFILES)
        return err_set(err, RC_LIMIT, "more than %d renditions", MAX_PROFILES);
    t->pixels[t->n] = (int64_t)n;
    t->media[t->n++] = blob_sub(body, part->offset, part->length);
    return RC_OK;
}

static enum rc read_renditions(const struct results *r, struct blob *body, struct task_result *t,
                               struct err *err)
{
    struct multipart_part parts[MULTIPART_MAX_PARTS];
    size_t n = 0;
    enum rc rc = multipart_parse(slice_str(r->content_type), blob_slice(body), parts, &n, err);

    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = take_part(t, body, &parts[i], err);
    return rc;
}

/* What the pool would pass on as a result, judged here: counts and sizes (video.md 4.5). */
static void judge(const struct results *r, struct task_result *t)
{
    size_t wanted = 0;

    if (!pool_knows(r->door->o->pool, r->task_id, &wanted))
        return;
    if (t->n != wanted)
        t->rc = err_set(&t->err, RC_BAD_INPUT, "MismatchedSegments");
    for (size_t i = 0; t->rc == RC_OK && i < t->n; i++)
        if (t->media[i]->n < 25)
            t->rc = err_set(&t->err, RC_BAD_INPUT, "ZeroSegments");
}

static void on_results_body(struct http_exchange *x, struct blob *body, const struct err *why,
                            void *arg)
{
    struct results *r = arg;
    struct task_result t = {.rc = RC_OK};
    struct err err;

    if (!body) {
        answer(x, rc_http_status(why->code), why->text);
        return;
    }
    if (r->is_error) {
        t.rc = err_set(&t.err, RC_UNAVAILABLE, SLICE_FMT,
                       SLICE_ARG(slice_sub(blob_slice(body), 0, MAX_ERROR_TEXT)));
    } else if (read_renditions(r, body, &t, &err) != RC_OK) {
        answer(x, 500, err.text);
        goto out;
    } else {
        judge(r, &t);
    }
    pool_result(r->door->o->pool, r->task_id, &t);
    answer(x, 200, "OK");
out:
    for (size_t i = 0; i < t.n; i++)
        blob_unref(&t.media[i]);
}

/* The answer of a refusal that says nothing: 0. */
static int check_head(struct results *r, const struct http_headers *h, const char **text)
{
    struct slice type = http_header_get(h, "content-type");
    uint64_t id, pixels;

    if (!slice_eq_str(http_header_get(h, "authorization"), "Livepeer-Transcoder-1.0") ||
        !knows_secret(r->door, http_header_get(h, "credentials"))) {
        *text = "Unauthorized";
        return 401;
    }
    if (!type.n || type.n >= sizeof(r->content_type)) {
        *text = "mime: no media type";
        return 415;
    }
    snprintf(r->content_type, sizeof(r->content_type), SLICE_FMT, SLICE_ARG(type));
    r->is_error = slice_eq_str(type, "livepeer/transcoding-error");
    if (!slice_u64(http_header_get(h, "taskid"), INT64_MAX, &id)) {
        *text = "Invalid Task ID";
        return 400;
    }
    if (!r->is_error && !slice_u64(http_header_get(h, "pixels"), INT64_MAX, &pixels)) {
        *text = "Invalid Pixels";
        return 400;
    }
    r->task_id = (int64_t)id;
    return 0;
}

void door_results(struct door *d, struct http_exchange *x)
{
    struct results *r = arena_alloc(http_arena(x), sizeof(*r));
    const char *text = "";
    int status;

    r->door = d;
    status = check_head(r, &http_request(x)->headers, &text);
    if (status)
        answer(x, status, text);
    else
        http_read_body(x, MAX_RESULTS_BYTES, on_results_body, r);
}
