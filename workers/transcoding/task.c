#include "workers/transcoding/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "wire/multipart.h"
#include "wire/profiles.h"

enum { DEFAULT_DURATION_MS = 2000 };

struct worker_task {
    struct worker_task_conf conf;
    struct log_tag log;
    int64_t id, seq, started_ms;
    int32_t duration_ms;
    char *url;
    struct profile profiles[MAX_PROFILES];
    size_t n_profiles;
    struct caps need;
    bool reinit;
    int64_t clip_from_ms, clip_to_ms;

    struct http_call *call;
    bool fetched_once, in_codec, cancelled;

    /* what is posted */
    struct blob *parts[2 * MAX_PROFILES + 1];
    size_t n_parts;
    char content_type[128];
    int64_t pixels;
    int posts;
    bool ok;
    struct timer *again;
    struct deferred next;
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

/* --- 6: post --- */

static void post(void *arg);

static void on_posted(int status, const struct http_headers *h, struct blob *body,
                      const struct err *err, void *arg)
{
    struct worker_task *t = arg;
    char text[256] = "";

    (void)h;
    t->call = NULL;
    if (!err && status == 200) {
        log_debug(&t->log, "task %" PRId64 " posted after %" PRId64 " ms", t->id,
                  clock_mono_ms() - t->started_ms);
        end(t, t->ok);
        return;
    }
    if (body)
        text_printable(slice_trim(blob_slice(body)), text);
    log_peer(&t->log, "results of task %" PRId64 " were not taken: status %d %s", t->id, status,
             err ? err->text : text);
    if (t->posts < POST_TRIES && (err || status >= 500))
        timer_start(t->again, POST_AGAIN_MS);
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
                                        .timeout_ms = POST_TIMEOUT_MS,
                                        .max_body = 4096,
                                        .collect = true,
                                        .on_done = on_posted,
                                        .arg = t};

    t->posts++;
    t->call = http_call_start(t->conf.client, &conf);
    free(url);
}

static void fail(struct worker_task *t, const char *text)
{
    log_peer(&t->log, "task %" PRId64 " failed: %s", t->id, text);
    snprintf(t->content_type, sizeof(t->content_type), "livepeer/transcoding-error");
    t->pixels = 0;
    t->parts[t->n_parts++] = blob_copy(slice_str(text));
    loop_defer(t->conf.loop, &t->next, post, t);
}

/* --- the multipart body: heads of our own, media by reference --- */

static void add_text(struct worker_task *t, struct buf *TAKES text)
{
    t->parts[t->n_parts++] = blob_of_buf(text);
}

static void add_rendition(struct worker_task *t, const char *boundary, size_t i,
                          const struct codec_rendition *r)
{
    char length[24], pixels[24];
    struct buf head;

    snprintf(length, sizeof(length), "%zu", r->media->n);
    snprintf(pixels, sizeof(pixels), "%" PRId64, r->pixels);
    const struct http_header headers[] = {
        {SLICE_LIT("Content-Length"), slice_str(length)},
        {SLICE_LIT("Content-Type"), slice_str(container_mime(t->profiles[i].container))},
        {SLICE_LIT("Pixels"), slice_str(pixels)},
    };
    buf_init(&head, 4096);
    multipart_part_head(&head, boundary, i == 0, headers, ARRAY_LEN(headers));
    add_text(t, &head);
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
    buf_init(&tail, 256);
    multipart_end(&tail, boundary);
    add_text(t, &tail);
    t->pixels = r->decoded_pixels;
    t->ok = true;
}

/* --- 4: transcode --- */

static void on_transcoded(const struct codec_result *r, void *arg)
{
    struct worker_task *t = arg;

    t->in_codec = false;
    if (t->cancelled) {
        task_free(t);
        return;
    }
    if (r->rc != RC_OK) {
        fail(t, r->err.text);
        return;
    }
    if (r->n_renditions != t->n_profiles) {
        fail(t, "segment / profile mismatch");
        return;
    }
    log_debug(&t->log, "task %" PRId64 " transcoded in %" PRId64 " ms", t->id,
              (r->last_byte_us - r->first_byte_us) / 1000);
    build_answer(t, r);
    loop_defer(t->conf.loop, &t->next, post, t);
}

static int deadline_ms(const struct worker_task *t)
{
    int64_t whole = MAX(8000, 4 * t->duration_ms);

    return (int)MAX(whole - (clock_mono_ms() - t->started_ms), (int64_t)500);
}

static void transcode(struct worker_task *t, struct blob *segment)
{
    const struct codec_job job = {.segment = segment,
                                  .profiles = t->profiles,
                                  .n_profiles = t->n_profiles,
                                  .seq = t->seq,
                                  .duration_ms = t->duration_ms,
                                  .deadline_ms = deadline_ms(t),
                                  .reinit = t->reinit,
                                  .clip_from_ms = t->clip_from_ms,
                                  .clip_to_ms = t->clip_to_ms};

    t->in_codec = true;
    codec_transcode(t->conf.session, &job, on_transcoded, t);
}

/* --- 3: fetch --- */

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
    } else if (err && !t->fetched_once) {
        t->fetched_once = true;
        fetch(t);
    } else {
        snprintf(text, sizeof(text), "source could not be fetched: %.300s (status %d)",
                 err ? err->text : "", status);
        fail(t, text);
    }
}

static void fetch(struct worker_task *t)
{
    const struct http_call_conf conf = {.method = "GET",
                                        .url = t->url,
                                        .unix_path = t->conf.unix_path,
                                        .speak = HTTP_SPEAK_1,
                                        .timeout_ms = FETCH_TIMEOUT_MS,
                                        .max_body = CODEC_MAX_SEGMENT_BYTES,
                                        .collect = true,
                                        .on_done = on_fetched,
                                        .arg = t};

    t->call = http_call_start(t->conf.client, &conf);
}

static void begin(void *arg)
{
    struct worker_task *t = arg;

    if (caps_compatible(&t->need, t->conf.have, NULL) != RC_OK)
        fail(t, "incompatible segment capabilities");
    else
        fetch(t);
}

struct worker_task *worker_task_start(const struct worker_task_conf *conf,
                                      const struct notify_segment *m)
{
    struct worker_task *t = xcalloc(1, sizeof(*t));
    const struct seg_data *s = &m->seg;

    t->conf = *conf;
    t->id = m->task_id;
    t->seq = s->seq;
    t->started_ms = clock_mono_ms();
    t->duration_ms = s->duration_ms ? s->duration_ms : DEFAULT_DURATION_MS;
    t->url = xstrdup(m->url);
    memcpy(t->profiles, s->profiles, s->n_profiles * sizeof(s->profiles[0]));
    t->n_profiles = s->n_profiles;
    t->need = s->caps;
    t->reinit = s->force_session_reinit;
    if (s->has_clip) {
        t->clip_from_ms = (int64_t)s->clip_from_ms;
        t->clip_to_ms = (int64_t)s->clip_to_ms;
    }
    t->again = timer_new(conf->loop, post, t);
    log_tag(&t->log, "stream=" SLICE_FMT " session=%s segment=%" PRId64,
            SLICE_ARG(slice_sub(s->manifest_id, 0, 60)), s->token.session_id, s->seq);
    loop_defer(conf->loop, &t->next, begin, t);
    return t;
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
