/* POST /segment: credentials, body, queue, answer. The order of the checks and every text are
 * the network's (video.md 3.5, 4.2, 4.5); the log says more. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/metrics.h"
#include "orchestrator/session.h"
#include "orchestrator/token.h"
#include "wire/profiles.h"

enum { REQUEST_ARENA = 1024 * 1024, MAX_RESULT_BYTES = 512 * 1024, FETCH_MS = 4000,
       MAX_PAYMENT_BYTES = 64 * 1024 };

/* One request, until its exchange is closed and its work is done. */
struct request {
    struct orchestrator *o;
    struct http_exchange *x;        /* NULL once the gateway has gone */
    struct arena *arena;
    struct seg_data seg;
    struct buf body;
    struct keccak hash;
    struct blob *source;
    struct work work;
    char session_id[SESSION_ID_MAX + 1];
    struct http_call *fetch;        /* of a URI body */
    bool is_uri, in_queue;
};

static void request_free(struct request *r)
{
    if (r->x || r->in_queue)
        return; /* somebody will still call us */
    if (r->fetch)
        http_call_cancel(r->fetch);
    blob_unref(&r->source);
    buf_cleanup(&r->body);
    arena_free(r->arena);
    free(r);
}

static void refuse(struct request *r, int status, const char *text)
{
    char line[ERR_TEXT_MAX + 2];

    log_peer(NULL, "segment of %s refused with status %d: %s", http_request(r->x)->peer, status,
             text);
    snprintf(line, sizeof(line), "%s\n", text);
    http_answer(r->x, status, "text/plain; charset=utf-8", slice_str(line));
}

/* --- 1: payment, 2: credentials --- */

static bool skip_varint(struct slice *s, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && s->n; shift += 7) {
        uint8_t b = s->p[0];

        *s = slice_skip(*s, 1);
        *out |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

/* Off-chain a payment is taken unread; it must still be a protobuf message. */
static bool is_protobuf(struct slice s)
{
    static const size_t fixed[] = {[1] = 8, [5] = 4};
    uint64_t key, n;

    while (s.n) {
        if (!skip_varint(&s, &key) || key >> 3 == 0)
            return false;
        switch (key & 7) {
        case 0:
            if (!skip_varint(&s, &n))
                return false;
            break;
        case 1:
        case 5:
            if (s.n < fixed[key & 7])
                return false;
            s = slice_skip(s, fixed[key & 7]);
            break;
        case 2:
            if (!skip_varint(&s, &n) || n > s.n)
                return false;
            s = slice_skip(s, n);
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool check_payment(struct request *r, const struct http_headers *h)
{
    struct buf payment;
    struct err err;
    char text[ERR_TEXT_MAX + 32] = "";

    buf_init(&payment, MAX_PAYMENT_BYTES);
    if (base64_decode(&payment, slice_trim(http_header_get(h, "livepeer-payment")), &err) != RC_OK)
        snprintf(text, sizeof(text), "base64 decode error: %s", err.text);
    else if (!is_protobuf(buf_slice(&payment)))
        snprintf(text, sizeof(text),
                 "protobuf unmarshal error: proto: cannot parse invalid wire-format data");
    buf_cleanup(&payment);
    if (text[0])
        refuse(r, 402, text);
    return !text[0];
}

static enum rc check_credentials(struct request *r, const struct http_headers *h, struct err *err)
{
    enum rc rc = segment_header_decode(http_header_get(h, "livepeer-segment"), r->arena, &r->seg,
                                       err);
    struct session *s;

    if (rc == RC_OK && caps_compatible(&r->seg.caps, pool_caps(r->o->pool), err) != RC_OK) {
        log_peer(NULL, "segment of %s: this node %s", http_request(r->x)->peer, err->text);
        rc = err_set(err, RC_DENIED, "incompatible capabilities");
    }
    if (rc == RC_OK)
        rc = token_check(r->o->token_key, clock_wall_ms() / 1000,
                         r->seg.has_token ? &r->seg.token : NULL, err);
    if (rc != RC_OK)
        return rc;
    s = session_use(r->o, &r->seg.token, r->seg.manifest_id, http_request(r->x)->peer, err);
    if (!s)
        return err->code;
    snprintf(r->session_id, sizeof(r->session_id), "%s", r->seg.token.session_id);
    return RC_OK;
}

/* --- 10: the answer --- */

static void fill_segments(struct request *r, const struct task_result *t,
                          struct transcode_result *out)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct profile *p = &r->seg.profiles[i];

        out->segments[i].pixels = t->pixels[i];
        out->segments[i].url =
            arena_printf(r->arena, "%s/stream/%s/%s/%" PRId64 "%s", r->o->conf.service_uri,
                         r->session_id, p->name, r->seg.seq, container_ext(p->container));
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
    struct session *s = session_find(r->o, slice_str(r->session_id));

    for (size_t i = 0; s && i < t->n; i++)
        session_keep_result(s, &r->seg.profiles[i], r->seg.seq, t->media[i]);
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

    err_set(&t.err, RC_BUSY, "%s", text);
    send_result(r, &t);
}

/* --- 8, 9: the whole body is here --- */

static void enqueue(struct request *r)
{
    struct session *s = session_find(r->o, slice_str(r->session_id));

    http_start(r->x, 200, NULL, -1); /* "upload complete", before any work */
    metric_segment_came();
    r->work = (struct work){.seg = &r->seg, .source = r->source, .on_done = on_work_done};
    r->in_queue = true;
    if (s && session_put(s, &r->work))
        return;
    r->in_queue = false;
    answer_error(r, s ? "OrchestratorBusy" : "TranscoderStopped");
}

static void take_media(struct request *r, struct blob *TAKES media, const struct hash *hash)
{
    r->source = media;
    if (memcmp(hash, &r->seg.hash, sizeof(*hash)) != 0) {
        refuse(r, 403, "Forbidden");
        return;
    }
    enqueue(r);
}

/* --- 7: a URI instead of media --- */

static void on_fetched(int status, const struct http_headers *h, struct blob *body,
                       const struct err *err, void *arg)
{
    struct request *r = arg;
    struct hash hash;

    (void)h;
    r->fetch = NULL;
    if (err || status != 200) {
        log_peer(NULL, "segment by URI could not be fetched: %s", err ? err->text : "bad status");
        refuse(r, 400, "BadRequest");
        return;
    }
    hash = keccak_of(blob_slice(body));
    take_media(r, blob_ref(body), &hash);
}

static void fetch(struct request *r)
{
    const struct http_call_conf conf = {.method = "GET",
                                        .url = buf_cstr(&r->body),
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = FETCH_MS,
                                        .max_body = MAX_SEGMENT_BYTES,
                                        .collect = true,
                                        .on_done = on_fetched,
                                        .arg = r};

    r->fetch = http_call_start(r->o->client, &conf);
}

/* --- 6: the body --- */

static void on_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    struct request *r = arg;

    (void)x;
    buf_add_slice(&r->body, bytes);
    keccak_add(&r->hash, bytes);
}

static void on_end(struct http_exchange *x, const struct err *why, void *arg)
{
    struct request *r = arg;
    struct hash hash;

    (void)x;
    if (why) {
        log_peer(NULL, "segment body: %s", why->text);
        if (why->code != RC_CLOSED)
            refuse(r, 500, "Internal Server Error");
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
    struct session *s = session_find(r->o, slice_str(r->session_id));

    (void)x;
    r->x = NULL;
    if (!complete && r->in_queue && s) {
        log_info(session_log(s), "segment %" PRId64 " is not wanted any more: its gateway left",
                 r->seg.seq);
        session_drop(s, &r->work);
        r->in_queue = false;
    }
    request_free(r);
}

void segment_take(struct orchestrator *o, struct http_exchange *x)
{
    static const struct http_body_events ev = {.on_bytes = on_bytes, .on_end = on_end};
    const struct http_headers *h = &http_request(x)->headers;
    struct request *r = xcalloc(1, sizeof(*r));
    struct err err;

    r->o = o;
    r->x = x;
    r->arena = arena_new(REQUEST_ARENA);
    buf_init(&r->body, MAX_SEGMENT_BYTES);
    keccak_init(&r->hash);
    http_on_closed(x, on_closed, r);
    if (!check_payment(r, h))
        return;
    if (check_credentials(r, h, &err) != RC_OK) {
        refuse(r, 403, err.text);
        return;
    }
    r->is_uri = slice_eq_str(http_header_get(h, "content-type"), "application/vnd+livepeer.uri");
    http_stream_body(x, MAX_SEGMENT_BYTES, &ev, r);
}
