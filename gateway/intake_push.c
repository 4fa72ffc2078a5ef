/* HTTP push: a client sends whole segments and may take the renditions back in the answer.
 * Order of checks, statuses and texts: video.md 9.3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "gateway/auth.h"
#include "gateway/live.h"
#include "gateway/metrics.h"
#include "gateway/stream_config.h"
#include "media/ts/ts_demux.h"
#include "wire/multipart.h"
#include "wire/profiles.h"

enum { PUSH_MAX_BYTES = 300 * 1000 * 1000, DEFAULT_DURATION_MS = 2000, MAX_DURATION_MS = 300000 };

/* One request, from its headers to its answer. Lives until the exchange is closed and, when it
 * has a job, the job is over. */
struct push {
    struct gateway *g;
    struct http_exchange *x; /* NULL once the client has gone */
    char url[256];           /* for messages */
    struct stream_name name; /* of the URL */
    uint64_t seq;
    enum container container;
    int64_t duration_ms, from_ms, to_ms;
    bool wants_multipart, skip_transcode;
    struct stream_config config; /* the header's, and where that is silent the webhook's */
    bool named_by_header;        /* its manifestID came with the request */
    struct auth *auth;           /* the webhook is asked */
    struct buf body;
    size_t held; /* of g->pushed_bytes: the body, until the answer is out */
    struct keccak hash;

    struct live *live;
    struct live_waiter waiter;
    struct segment *segment;
    bool waiting, in_job, answered;
};

static bool hold(struct push *p, size_t n)
{
    if (n > p->g->conf.max_pushed_bytes - p->g->pushed_bytes)
        return false;
    p->g->pushed_bytes += n;
    p->held += n;
    return true;
}

static void release_body(struct push *p)
{
    buf_cleanup(&p->body);
    p->g->pushed_bytes -= p->held;
    p->held = 0;
}

static void push_free(struct push *p)
{
    if (p->x || p->in_job)
        return; /* somebody will still call us */
    auth_cancel(p->auth);
    if (p->waiting)
        live_stop_waiting(p->live, &p->waiter);
    segment_unref(&p->segment);
    release_body(p);
    free(p);
}

static void answer_text(struct push *p, int status, const char *text)
{
    char line[ERR_TEXT_MAX + 320];

    if (!p->x || p->answered)
        return;
    p->answered = true;
    snprintf(line, sizeof(line), "%s\n", text);
    http_answer(p->x, status, "text/plain; charset=utf-8", slice_str(line));
}

static void answer_error(struct push *p, int status, const char *why)
{
    char text[ERR_TEXT_MAX + 300];

    snprintf(text, sizeof(text),
             "http push error processing segment url=%s manifestID=%s err=\"%s\"", p->url,
             p->live ? p->live->name : p->name.name, why);
    answer_text(p, status, text);
}

/* --- the answer with renditions --- */

static void write_part(struct push *p, const char *boundary, bool first, const char *name,
                       struct blob *media)
{
    const char *ext = container_ext(p->container), *mime = container_mime(p->container);
    char file[PROFILE_NAME_MAX + 48], disposition[PROFILE_NAME_MAX + 96], length[24],
        type[PROFILE_NAME_MAX + 96];
    struct buf head;

    snprintf(file, sizeof(file), "%s_%llu%s", name, (unsigned long long)p->seq, ext);
    snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"", file);
    snprintf(length, sizeof(length), "%zu", media->n);
    snprintf(type, sizeof(type), "%s; name=\"%s\"", mime, file);
    const struct http_header headers[] = {
        {SLICE_LIT("Content-Disposition"), slice_str(disposition)},
        {SLICE_LIT("Content-Length"), slice_str(length)},
        {SLICE_LIT("Content-Type"), slice_str(type)},
        {SLICE_LIT("Rendition-Name"), slice_str(name)},
    };
    buf_init(&head, 4096);
    multipart_part_head(&head, boundary, first, headers, ARRAY_LEN(headers));
    http_write(p->x, buf_slice(&head));
    http_write_blob(p->x, media, 0, media->n);
    buf_cleanup(&head);
}

/* media(i): the blob of rendition i. */
static void answer_renditions(struct push *p, const struct live *l, struct blob *const *media)
{
    char boundary[2 * MULTIPART_BOUNDARY_BYTES + 1], type[128];
    struct buf tail;

    p->answered = true;
    multipart_boundary(boundary);
    snprintf(type, sizeof(type), "multipart/mixed; boundary=%s", boundary);
    http_start(p->x, 200, type, -1);
    for (size_t i = 0; i < l->n_profiles; i++)
        write_part(p, boundary, i == 0, l->profiles[i].name, media[i]);
    buf_init(&tail, 256);
    multipart_end(&tail, boundary);
    http_write(p->x, buf_slice(&tail));
    buf_cleanup(&tail);
    http_finish(p->x);
}

static void answer_done(struct push *p, const struct live *l, struct blob *const *media)
{
    if (!p->x || p->answered)
        return;
    if (p->wants_multipart && l->n_profiles) {
        answer_renditions(p, l, media);
        return;
    }
    p->answered = true;
    http_answer(p->x, 200, NULL, slice_of(NULL, 0));
}

/* --- the job's end --- */

static int status_of(const struct err *err)
{
    if (err->code == RC_UNSUPPORTED || err->code == RC_LIMIT) /* RC_LIMIT: attempts used up */
        return 422;
    return err->code == RC_UNAVAILABLE || err->code == RC_BUSY ? 503 : 500;
}

static void on_over(struct job *j, void *arg)
{
    struct push *p = arg;
    struct blob *media[MAX_PROFILES];
    char text[ERR_TEXT_MAX + 64];

    p->in_job = false;
    for (size_t i = 0; i < j->conf.n_profiles; i++)
        media[i] = j->renditions[i].media;
    if (j->state == JOB_DONE) {
        metric_push_answered((double)p->segment->duration / TICKS_PER_SECOND,
                             (double)(clock_mono_ms() - p->segment->closed_ms) / 1000);
        answer_done(p, p->live, media);
    } else if (status_of(&j->err) == 503) {
        snprintf(text, sizeof(text), "No sessions available: %s", j->err.text);
        answer_text(p, 503, text);
    } else {
        answer_error(p, status_of(&j->err), j->err.text);
    }
    push_free(p);
}

/* --- the segment --- */

static bool same_size(const struct track *a, const struct track *b)
{
    return a->codec == b->codec && a->width == b->width && a->height == b->height;
}

static void note_change(struct live *l, struct segment *s)
{
    bool first = l->last_push_seq < 0;

    s->reinit = !first &&
                (!same_size(&l->last_video, &s->video) || !same_size(&l->last_audio, &s->audio));
    s->discontinuity = s->reinit || (!first && llabs(ticks_apart(s->first_pts, l->last_end_pts)) >
                                                   TICKS_PER_SECOND / 5);
    track_cleanup(&l->last_video);
    track_cleanup(&l->last_audio);
    l->last_video = track_ref(&s->video);
    l->last_audio = track_ref(&s->audio);
    l->last_end_pts = s->first_pts + s->duration;
    l->last_push_seq = s->seq;
}

/* Looks into an MPEG-TS push. False: answered. */
static bool look_inside(struct push *p, struct segment *s)
{
    struct ts_probe probe;
    struct err err;
    char text[ERR_TEXT_MAX + 320];

    if (ts_probe(blob_slice(s->media), &probe, &err) != RC_OK) {
        snprintf(text, sizeof(text), "Error getting codec info url=%s: %s", p->url, err.text);
        answer_text(p, 422, text);
        return false;
    }
    if (probe.duration > MAX_DURATION_MS * 90) {
        snprintf(text, sizeof(text), "the media lasts %lld ms, at most %d are taken url=%s",
                 (long long)probe.duration / 90, MAX_DURATION_MS, p->url);
        answer_text(p, 422, text);
        ts_probe_cleanup(&probe);
        return false;
    }
    if (probe.has_video && strcmp(probe.video_codec, "h264") != 0) {
        snprintf(text, sizeof(text), "Unknown input stream codec=%s", probe.video_codec);
        answer_text(p, 422, text);
        ts_probe_cleanup(&probe);
        return false;
    }
    /* Sound alone, also with a declared video that holds no picture, is passed on as it is. */
    p->skip_transcode = probe.video.codec == CODEC_NONE;
    s->video = track_ref(&probe.video);
    s->audio = track_ref(&probe.audio);
    s->first_pts = probe.first_video_pts >= 0 ? probe.first_video_pts
                                              : MAX(probe.first_pts, (int64_t)0);
    /* The pusher's word for the length is what the reference goes by; the media's is exact. */
    if (probe.duration > 0)
        s->duration = probe.duration;
    if (probe.video_frames > 0)
        s->fps = (double)probe.video_frames * TICKS_PER_SECOND / (double)s->duration;
    ts_probe_cleanup(&probe);
    return true;
}

static struct segment *make_segment(struct push *p)
{
    struct segment *s = segment_new();

    s->seq = (int64_t)p->seq;
    s->container = p->container;
    s->duration = p->duration_ms * 90;
    s->hash = keccak_done(&p->hash);
    s->media = blob_of_buf(&p->body);
    s->clip_from_ms = p->from_ms;
    s->clip_to_ms = p->to_ms;
    s->wall_ms = clock_wall_ms();
    s->closed_ms = clock_mono_ms();
    return s;
}

static void answer_copies(struct push *p)
{
    struct blob *media[MAX_PROFILES];

    for (size_t i = 0; i < p->live->n_profiles; i++)
        media[i] = p->segment->media;
    answer_done(p, p->live, media);
}

static void on_ready(struct live *l, void *arg)
{
    struct push *p = arg;
    struct pushed pushed = {
        .segment = p->segment, .skip_transcode = p->skip_transcode, .on_over = on_over, .arg = p};

    p->waiting = false;
    if (!l) {
        p->live = NULL;
        answer_error(p, 500, "the gateway stops");
    } else {
        note_change(l, p->segment);
        p->segment->reinit |= p->config.reinit;
        p->in_job = l->routing && !pushed.skip_transcode;
        live_push(l, &pushed);
        if (!p->in_job)
            answer_copies(p);
    }
    push_free(p);
}

/* --- the stream --- */

static void answer_no_stream(struct push *p, int status, const char *why)
{
    char text[ERR_TEXT_MAX + 320];

    snprintf(text, sizeof(text), "Could not create stream ID: url=%s: %s", p->url, why);
    answer_text(p, status, text);
}

/* Another URL comes under the name of a stream that is pushed: the new one has it, as encoders
 * begin anew under a URL of their own. But where a webhook guards names, a header alone takes no
 * running stream from another. */
static bool make_way(struct push *p, struct live *l)
{
    if (l->ingest != INGEST_PUSH)
        answer_no_stream(p, 500, "the name is in use by an RTMP publisher");
    else if (p->g->conf.auth_webhook_url && p->named_by_header)
        answer_no_stream(p, 500, "the manifestID of the header is in use by another URL's stream");
    else if (l->state == LIVE_OPENING)
        answer_no_stream(p, 500, "another URL's stream of this name is just beginning; push again");
    else
        live_event(l, LIVE_GOODBYE);
    return l->state == LIVE_ENDED;
}

/* The stream this push belongs to; NULL: answered. */
static struct live *find_or_make(struct push *p)
{
    struct stream_name name = p->name;
    const struct live_conf conf = {.name = &name,
                                   .pushed_as = p->name.name,
                                   .ingest = INGEST_PUSH,
                                   .container = p->container,
                                   .config = &p->config};
    struct live *l = live_find_pushed(p->g, p->name.name);
    struct err why;

    if (l)
        return l;
    if (p->config.manifest_id[0])
        snprintf(name.name, sizeof(name.name), "%s", p->config.manifest_id);
    l = live_find(p->g, name.name);
    if (l && !make_way(p, l))
        return NULL;
    if (!gateway_has_room(p->g, &why)) {
        answer_no_stream(p, 500, why.text);
        return NULL;
    }
    return live_new(p->g, &conf);
}

static void go_on(struct push *p)
{
    p->live = find_or_make(p);
    if (!p->live)
        return;
    p->waiter.fn = on_ready;
    p->waiter.arg = p;
    p->waiting = true;
    if (p->live->state == LIVE_ON)
        on_ready(p->live, p);
    else
        live_when_ready(p->live, &p->waiter);
}

static void on_auth(const struct stream_config *config, const struct err *why, void *arg)
{
    struct push *p = arg;
    struct err err;

    p->auth = NULL;
    if (!config)
        answer_no_stream(p, 403, why->text);
    else if (stream_config_merge(&p->config, config, &err) != RC_OK)
        answer_no_stream(p, 500, err.text);
    else
        go_on(p);
}

/* As the pusher wrote it, without a query (video.md 9.5). */
static void ask_webhook(struct push *p)
{
    const struct http_request *r = http_request(p->x);
    struct buf url;

    buf_init(&url, 64 * 1024);
    buf_str(&url, "http://");
    buf_add_slice(&url, r->authority);
    buf_add_slice(&url, r->path);
    p->auth = auth_ask(p->g, p->name.name, buf_slice(&url), on_auth, p);
    buf_cleanup(&url);
}

/* --- the request --- */

/* Of all pushes together, so that many large ones at once cost a wait and not the process. */
static void refuse_full(struct push *p, size_t more)
{
    char text[320];

    snprintf(text, sizeof(text),
             "http push refused url=%.100s: pushes without an answer hold %zu bytes here, at most "
             "%zu are held together and %zu more came; push again when others have their answer",
             p->url, p->g->pushed_bytes, p->g->conf.max_pushed_bytes, more);
    if (log_allowed(&p->g->refused, REFUSED_LOGGED_A_MINUTE))
        log_peer(NULL, "stream=%s %s", p->name.name, text);
    http_set_header(p->x, "retry-after", "2");
    answer_text(p, 503, text);
    release_body(p);
}

static void on_body_bytes(struct http_exchange *x, struct slice bytes, void *arg)
{
    struct push *p = arg;

    (void)x;
    if (p->answered)
        return; /* refused, the rest is thrown away */
    if (!hold(p, bytes.n)) {
        refuse_full(p, bytes.n);
        return;
    }
    buf_add_slice(&p->body, bytes);
    keccak_add(&p->hash, bytes);
}

static void on_body_end(struct http_exchange *x, const struct err *why, void *arg)
{
    struct push *p = arg;
    char text[ERR_TEXT_MAX + 64];

    (void)x;
    if (p->answered)
        return;
    if (why) {
        snprintf(text, sizeof(text), "Error reading http request body: %s", why->text);
        answer_text(p, 500, text);
        return;
    }
    if (!p->body.n) {
        answer_error(p, 422, "the body is empty; a segment of MPEG-TS or MP4 is expected");
        return;
    }
    p->segment = make_segment(p);
    if (p->container == CONTAINER_TS && !look_inside(p, p->segment))
        return;
    if (p->g->conf.auth_webhook_url && !live_find_pushed(p->g, p->name.name))
        ask_webhook(p);
    else
        go_on(p);
}

static void on_closed(struct http_exchange *x, bool complete, void *arg)
{
    struct push *p = arg;

    (void)x;
    if (!complete && !p->answered && log_allowed(&p->g->refused, REFUSED_LOGGED_A_MINUTE))
        log_peer(NULL, "stream=%s segment=%llu the pusher left before its answer", p->name.name,
                 (unsigned long long)p->seq);
    if (!complete && (p->answered || p->in_job))
        metric_pusher_left(p->answered);
    p->x = NULL;
    push_free(p);
}

static int64_t header_ms(const struct http_request *r, const char *name, int64_t otherwise,
                         uint64_t max)
{
    uint64_t v;

    return slice_u64(http_header_get(&r->headers, name), max, &v) ? (int64_t)v : otherwise;
}

/* "/live/NAME/12.ts": number and container. False: another extension. */
static bool read_file_name(struct slice path, uint64_t *seq, enum container *container)
{
    struct slice file = path;

    while (slice_find(file, '/') < file.n)
        file = slice_skip(file, slice_find(file, '/') + 1);
    if (slice_has_suffix(file, ".ts"))
        *container = CONTAINER_TS;
    else if (slice_has_suffix(file, ".mp4"))
        *container = CONTAINER_MP4;
    else
        return false;
    if (!slice_u64(slice_sub(file, 0, slice_find(file, '.')), INT64_MAX / 2, seq))
        *seq = 0;
    return true;
}

static enum rc read_target(struct push *p, const struct http_request *r, struct err *err)
{
    struct buf path;
    enum rc rc;

    buf_init(&path, 2048);
    rc = percent_decode(&path, r->path, err);
    if (rc == RC_OK)
        rc = stream_name_parse(buf_slice(&path), true, &p->name, err);
    buf_cleanup(&path);
    return rc;
}

/* Everything the headers tell. False: refused. */
static bool read_head(struct push *p, const struct http_request *r)
{
    char text[ERR_TEXT_MAX + 320];
    struct err err;

    if (!slice_eq_str(r->method, "POST") && !slice_eq_str(r->method, "PUT")) {
        snprintf(text, sizeof(text), "http push request wrong method=" SLICE_FMT,
                 SLICE_ARG(slice_sub(r->method, 0, 32)));
        answer_text(p, 405, text);
    } else if (stream_config_read(http_header_get(&r->headers, "livepeer-transcode-configuration"),
                                  &p->config, &err) != RC_OK) {
        snprintf(text, sizeof(text), "failed to parse transcode config header: \"%s\"", err.text);
        answer_text(p, 400, text);
    } else if (!read_file_name(r->path, &p->seq, &p->container)) {
        snprintf(text, sizeof(text), "ignoring file extension: %s", p->url);
        answer_text(p, 400, text);
    } else if (p->from_ms > 0 && p->to_ms > 0 && p->from_ms > p->to_ms) {
        snprintf(text, sizeof(text), "Invalid slice config from=%lldms to=%lldms",
                 (long long)p->from_ms, (long long)p->to_ms);
        answer_text(p, 400, text);
    } else if (read_target(p, r, &err) != RC_OK || !p->name.name[0]) {
        snprintf(text, sizeof(text), "Bad URL url=%s", p->url);
        answer_text(p, 400, text);
    } else {
        return true;
    }
    return false;
}

void intake_push(struct gateway *g, struct http_exchange *x)
{
    static const struct http_body_events ev = {.on_bytes = on_body_bytes, .on_end = on_body_end};
    const struct http_request *r = http_request(x);
    struct push *p = xcalloc(1, sizeof(*p));
    char shown[256];

    p->g = g;
    p->x = x;
    buf_init(&p->body, PUSH_MAX_BYTES);
    keccak_init(&p->hash);
    snprintf(p->url, sizeof(p->url), "%s", text_printable(r->path, shown));
    p->duration_ms = header_ms(r, "content-duration", DEFAULT_DURATION_MS, MAX_DURATION_MS);
    if (p->duration_ms == 0)
        p->duration_ms = DEFAULT_DURATION_MS;
    p->from_ms = header_ms(r, "content-slice-from", 0, MAX_DURATION_MS);
    p->to_ms = header_ms(r, "content-slice-to", 0, MAX_DURATION_MS);
    p->wants_multipart = slice_eq_str(http_header_get(&r->headers, "accept"), "multipart/mixed");
    http_on_closed(x, on_closed, p);
    if (!read_head(p, r))
        return;
    p->named_by_header = p->config.manifest_id[0];
    http_stream_body(x, PUSH_MAX_BYTES, &ev, p);
}
