#include "workers/transcoding/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/multipart.h"
#include "wire/profiles.h"
#include "workers/transcoding/metrics.h"

enum {
    DEFAULT_DURATION_MS = 2000, /* video.md 2.5 */
    MIN_DEADLINE_MS = 8000,     /* 11.5 */
    DEADLINE_FACTOR = 4,
    LEAST_LEFT_MS = 500,
    FETCH_MS = 4000,
    FETCH_TRIES = 2,
    POST_MS = 8000,
    POST_TRIES = 4,
    POST_AGAIN_MS = 250, /* times the tries so far */
    MAX_ANSWER_BYTES = 4096,
    MAX_HEAD_BYTES = 1024
};

struct worker_task {
    struct worker_task_conf conf;
    struct codec_session *session;
    struct log_tag log;
    int64_t id, started_ms;
    char *url;
    struct notify_segment m; /* profiles, needs, clip; its slices and texts are not kept */
    struct deferred next;
    struct http_call *call;
    struct timer *again;
    int fetches, posts;
    bool in_codec, posting, aborted, cancelled;

    /* what is posted: heads of our own, media by reference */
    struct blob *parts[2 * MAX_PROFILES + 1];
    size_t n_parts;
    char content_type[128];
    int64_t pixels;
    bool ok;
};

static void task_free(struct worker_task *t)
{
    for (size_t i = 0; i < t->n_parts; i++)
        blob_unref(&t->parts[i]);
    loop_defer_cancel(t->conf.loop, &t->next);
    timer_free(t->again);
    free(t->url);
    free(t);
}

static void end(struct worker_task *t, bool ok)
{
    t->conf.on_end(t, ok, t->conf.arg);
    task_free(t);
}

/* --- 4: post --- */

static bool may_post_again(const struct worker_task *t, int status, const struct err *err)
{
    return t->posts < POST_TRIES && (err || status >= 500);
}

static void on_posted(int status, const struct http_headers *h, struct blob *body,
                      const struct err *err, void *arg)
{
    struct worker_task *t = arg;
    char text[256] = "";

    (void)h;
    t->call = NULL;
    if (!err && status == 200) {
        worker_metric_posted((double)(clock_mono_ms() - t->started_ms) / 1000);
        log_debug(&t->log, "posted %" PRId64 " ms after its notification",
                  clock_mono_ms() - t->started_ms);
        end(t, t->ok);
        return;
    }
    if (body)
        (void)text_printable(slice_trim(blob_slice(body)), text);
    log_peer(&t->log, "its %s not taken (try %d of %d): status %d %s",
             t->ok ? "renditions were" : "error was", t->posts, POST_TRIES, status,
             err ? err->text : text);
    if (may_post_again(t, status, err))
        timer_start(t->again, POST_AGAIN_MS * t->posts);
    else
        end(t, false);
}

static void post(void *arg)
{
    struct worker_task *t = arg;
    char *url = xasprintf("%s/transcodeResults", t->conf.base);
    char id[24], pixels[24];

    snprintf(id, sizeof(id), "%" PRId64, t->id);
    snprintf(pixels, sizeof(pixels), "%" PRId64, t->pixels);
    const struct http_header headers[] = {
        {SLICE_LIT("authorization"), SLICE_LIT("Livepeer-Transcoder-1.0")},
        {SLICE_LIT("credentials"), slice_str(t->conf.secret)},
        {SLICE_LIT("content-type"), slice_str(t->content_type)},
        {SLICE_LIT("taskid"), slice_str(id)},
        {SLICE_LIT("pixels"), slice_str(pixels)},
    };
    const struct http_call_conf conf = {.method = "POST",
                                        .url = url,
                                        .unix_path = t->conf.unix_path,
                                        .speak = HTTP_SPEAK_2,
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers),
                                        .body_parts = t->parts,
                                        .n_body_parts = t->n_parts,
                                        .timeout_ms = POST_MS,
                                        .max_body = MAX_ANSWER_BYTES,
                                        .collect = true,
                                        .on_done = on_posted,
                                        .arg = t};

    t->posts++;
    t->call = http_call_start(t->conf.client, &conf);
    free(url);
}

static void post_soon(struct worker_task *t)
{
    t->posting = true;
    loop_defer(t->conf.loop, &t->next, post, t);
}

static void fail(struct worker_task *t, const char *text)
{
    log_peer(&t->log, "failed: %s", text);
    snprintf(t->content_type, sizeof(t->content_type), "livepeer/transcoding-error");
    t->parts[t->n_parts++] = blob_copy(slice_str(text));
    post_soon(t);
}

/* --- the multipart body --- */

static void add_rendition(struct worker_task *t, const char *boundary, size_t i,
                          const struct codec_rendition *r)
{
    char length[24], pixels[24];
    struct buf head;

    snprintf(length, sizeof(length), "%zu", r->media->n);
    snprintf(pixels, sizeof(pixels), "%" PRId64, r->pixels);
    const struct http_header headers[] = {
        {SLICE_LIT("Content-Length"), slice_str(length)},
        {SLICE_LIT("Content-Type"), slice_str(container_mime(t->m.seg.profiles[i].container))},
        {SLICE_LIT("Pixels"), slice_str(pixels)},
    };
    buf_init(&head, MAX_HEAD_BYTES);
    multipart_part_head(&head, boundary, i == 0, headers, ARRAY_LEN(headers));
    t->parts[t->n_parts++] = blob_of_buf(&head);
    t->parts[t->n_parts++] = blob_ref(r->media);
}

static void build_answer(struct worker_task *t, const struct codec_result *r)
{
    char boundary[2 * MULTIPART_BOUNDARY_BYTES + 1];
    struct buf tail;

    multipart_boundary(boundary);
    snprintf(t->content_type, sizeof(t->content_type), "multipart/mixed; boundary=%s", boundary);
    for (size_t i = 0; i < r->n_renditions; i++)
        add_rendition(t, boundary, i, &r->renditions[i]);
    buf_init(&tail, MAX_HEAD_BYTES);
    multipart_end(&tail, boundary);
    t->parts[t->n_parts++] = blob_of_buf(&tail);
    t->pixels = r->decoded_pixels;
    t->ok = true;
}

/* --- 3: transcode --- */

static void on_transcoded(const struct codec_result *r, void *arg)
{
    struct worker_task *t = arg;

    t->in_codec = false;
    if (t->cancelled) {
        task_free(t);
    } else if (t->aborted) {
        fail(t, "TranscoderStopped");
    } else if (r->rc != RC_OK) {
        fail(t, r->err.text);
    } else if (r->n_renditions != t->m.seg.n_profiles) {
        fail(t, "segment / profile mismatch");
    } else {
        worker_metric_transcoded((double)(r->last_byte_us - r->first_byte_us) / 1e6);
        log_debug(&t->log, "transcoded in %" PRId64 " ms",
                  (r->last_byte_us - r->first_byte_us) / 1000);
        build_answer(t, r);
        post_soon(t);
    }
}

static int32_t duration_ms(const struct worker_task *t)
{
    return t->m.seg.duration_ms ? t->m.seg.duration_ms : DEFAULT_DURATION_MS;
}

static int32_t left_ms(const struct worker_task *t)
{
    int32_t whole = MAX(MIN_DEADLINE_MS, DEADLINE_FACTOR * duration_ms(t));
    int64_t gone = clock_mono_ms() - t->started_ms;

    return (int32_t)MAX(whole - gone, (int64_t)LEAST_LEFT_MS);
}

static void transcode(struct worker_task *t, struct blob *segment)
{
    const struct seg_data *s = &t->m.seg;
    const struct codec_job job = {.segment = segment,
                                  .profiles = s->profiles,
                                  .n_profiles = s->n_profiles,
                                  .seq = s->seq,
                                  .duration_ms = duration_ms(t),
                                  .deadline_ms = left_ms(t),
                                  .reinit = s->force_session_reinit,
                                  .clip_from_ms = s->has_clip ? (int64_t)s->clip_from_ms : 0,
                                  .clip_to_ms = s->has_clip ? (int64_t)s->clip_to_ms : 0};

    t->in_codec = true;
    codec_transcode(t->session, &job, on_transcoded, t);
}

/* --- 2: fetch --- */

static void fetch(struct worker_task *t);

static void on_fetched(int status, const struct http_headers *h, struct blob *body,
                       const struct err *err, void *arg)
{
    struct worker_task *t = arg;
    char text[ERR_TEXT_MAX];

    (void)h;
    t->call = NULL;
    if (!err && status == 200) {
        transcode(t, body);
    } else if (err && t->fetches < FETCH_TRIES) {
        fetch(t);
    } else if (err) {
        snprintf(text, sizeof(text), "source could not be fetched: %.400s", err->text);
        fail(t, text);
    } else {
        snprintf(text, sizeof(text), "source could not be fetched: status %d", status);
        fail(t, text);
    }
}

static void fetch(struct worker_task *t)
{
    const struct http_call_conf conf = {.method = "GET",
                                        .url = t->url,
                                        .unix_path = t->conf.unix_path,
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = FETCH_MS,
                                        .max_body = CODEC_MAX_SEGMENT_BYTES,
                                        .collect = true,
                                        .on_done = on_fetched,
                                        .arg = t};

    t->fetches++;
    t->call = http_call_start(t->conf.client, &conf);
}

/* --- 1: begin --- */

static void begin(void *arg)
{
    struct worker_task *t = arg;
    struct err lacks;

    if (t->m.seg.has_caps && caps_compatible(&t->m.seg.caps, t->conf.have, &lacks) != RC_OK) {
        log_peer(&t->log, "this worker %s", lacks.text);
        fail(t, "incompatible segment capabilities");
    } else if (!t->m.seg.n_profiles) {
        fail(t, "TranscoderUnrecognizedProfile");
    } else {
        fetch(t);
    }
}

static struct worker_task *task_new(const struct worker_task_conf *conf, int64_t id)
{
    struct worker_task *t = xcalloc(1, sizeof(*t));

    t->conf = *conf;
    t->id = id;
    t->started_ms = clock_mono_ms();
    t->again = timer_new(conf->loop, post, t);
    return t;
}

struct worker_task *worker_task_start(const struct worker_task_conf *conf,
                                      const struct notify_segment *m, struct codec_session *session)
{
    struct worker_task *t = task_new(conf, m->task_id);
    char shown[256];

    t->session = session;
    t->url = xstrdup(m->url);
    t->m = *m;
    log_tag(&t->log, "stream=%.60s session=%s segment=%" PRId64 " task=%" PRId64,
            text_printable(m->seg.manifest_id, shown), m->seg.token.session_id, m->seg.seq, t->id);
    loop_defer(conf->loop, &t->next, begin, t);
    return t;
}

struct worker_task *worker_task_refuse(const struct worker_task_conf *conf, int64_t task_id,
                                       const char *why)
{
    struct worker_task *t = task_new(conf, task_id);

    log_tag(&t->log, "task=%" PRId64, task_id);
    fail(t, why);
    return t;
}

void worker_task_abort(struct worker_task *t)
{
    if (t->posting || t->aborted)
        return;
    t->aborted = true;
    if (t->in_codec)
        return; /* the end of its session brings us to on_transcoded */
    if (t->call)
        http_call_cancel(t->call);
    t->call = NULL;
    loop_defer_cancel(t->conf.loop, &t->next);
    fail(t, "TranscoderStopped");
}

void worker_task_cancel(struct worker_task *t)
{
    if (t->call)
        http_call_cancel(t->call);
    t->call = NULL;
    if (t->in_codec)
        t->cancelled = true; /* the codec still answers, to on_transcoded */
    else
        task_free(t);
}
