#include "output/playback.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/text.h"
#include "output/deliver.h"
#include "output/playlist.h"

#define DEFAULT_MAX_BYTES (256u * 1024 * 1024)

enum { MAX_MASTER = 64 * 1024 };

/* A request for a playlist that is not there yet. */
struct waiter {
    struct list_node node;
    struct playback_stream *stream;
    struct http_exchange *x;
    int rendition;              /* -1: the multivariant playlist */
    bool gone;
};

struct playback_stream {
    struct playback *playback;
    char *name, *path;          /* path: "/stream/NAME", escaped */
    int target_duration;
    int64_t discontinuities;
    struct playlist *renditions[HLS_MAX_RENDITIONS];
    int n;
    bool ended;
    struct list waiters;
    struct timer *timer;        /* waiters give up; after the end: the stream is forgotten */
};

struct playback {
    struct loop *loop;
    struct playback_conf conf;
    struct map *streams;
    struct playback_stream *newest;
};

struct playback *playback_new(struct loop *l, const struct playback_conf *conf)
{
    struct playback *p = xcalloc(1, sizeof(*p));

    p->loop = l;
    p->conf = *conf;
    if (!p->conf.max_bytes_per_stream)
        p->conf.max_bytes_per_stream = DEFAULT_MAX_BYTES;
    p->streams = map_new();
    return p;
}

void playback_free(struct playback *p)
{
    size_t at = 0;
    void *s;

    if (!p)
        return;
    while (map_next(p->streams, &at, NULL, &s))
        playback_stream_close(s);
    map_free(p->streams);
    free(p);
}

/* --- waiting for the first segment --- */

static void answer_waiters(struct playback_stream *s);

static void on_waiter_closed(struct http_exchange *x, bool complete, void *arg)
{
    struct waiter *w = arg;

    (void)x;
    (void)complete;
    if (!w->gone)
        list_remove(&w->stream->waiters, &w->node);
    free(w);
}

static void forget(struct playback_stream *s);

static void on_timer(void *arg)
{
    struct playback_stream *s = arg;

    if (s->ended) {
        forget(s);
        return;
    }
    LIST_EACH (&s->waiters, struct waiter, node, w) {
        struct http_exchange *x = w->x;

        list_remove(&s->waiters, &w->node);
        w->gone = true;
        deliver_refusal(x, 503, "no segment came yet: is the publisher sending key frames?");
    }
}

/* Held up to three target durations, then 503 (delivery.md b.3, first row). */
static void wait_for_segment(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    struct waiter *w = xcalloc(1, sizeof(*w));

    w->stream = s;
    w->x = x;
    w->rendition = rendition;
    http_on_closed(x, on_waiter_closed, w);
    list_push(&s->waiters, &w->node);
    if (!timer_is_armed(s->timer))
        timer_start(s->timer, 3000 * (int64_t)s->target_duration);
}

/* --- streams --- */

struct playback_stream *playback_stream_open(struct playback *p,
                                             const struct playback_stream_conf *conf)
{
    struct playback_stream *s = map_get(p->streams, slice_str(conf->name));
    struct buf escaped;

    if (s && !s->ended)
        return NULL;
    if (s)
        playback_stream_close(s);
    s = xcalloc(1, sizeof(*s));
    s->playback = p;
    s->name = xstrdup(conf->name);
    buf_init(&escaped, 4096);
    percent_encode(&escaped, slice_str(conf->name));
    s->path = xasprintf("/stream/%s", buf_cstr(&escaped));
    buf_cleanup(&escaped);
    /* Durations round to the nearest second (HLS 4.4.3.1). */
    s->target_duration = MAX((int)lround(conf->target_duration_s), 1);
    s->discontinuities = conf->discontinuity_sequence;
    list_init(&s->waiters);
    s->timer = timer_new(p->loop, on_timer, s);
    map_put(p->streams, slice_str(s->name), s);
    p->newest = s;
    return s;
}

int playback_rendition_add(struct playback_stream *s, const struct playback_rendition_conf *conf)
{
    struct playlist *p = xcalloc(1, sizeof(*p));

    assert(s->n < HLS_MAX_RENDITIONS);
    playlist_init(p, s->path, conf->name, conf->container, conf->bitrate, s->target_duration,
                  s->discontinuities);
    s->renditions[s->n] = p;
    return s->n++;
}

static size_t bytes_kept(const struct playback_stream *s)
{
    size_t n = 0;

    for (int i = 0; i < s->n; i++)
        n += s->renditions[i]->bytes;
    return n;
}

/* Whatever the bitrate, a stream's memory has an end: what no playlist lists goes first. */
static void keep_within_limit(struct playback_stream *s)
{
    for (int round = 0; round < PLAYLIST_KEPT - HLS_WINDOW; round++) {
        if (bytes_kept(s) <= s->playback->conf.max_bytes_per_stream)
            return;
        for (int i = 0; i < s->n; i++)
            playlist_drop_oldest(s->renditions[i]);
    }
}

enum rc playback_segment_add(struct playback_stream *s, int rendition,
                             const struct playback_segment *seg, struct err *err)
{
    enum rc rc = playlist_add(s->renditions[rendition], seg, err);

    if (rc != RC_OK)
        return rc;
    keep_within_limit(s);
    answer_waiters(s);
    return RC_OK;
}

void playback_rendition_end(struct playback_stream *s, int rendition)
{
    playlist_end(s->renditions[rendition]);
}

void playback_stream_end(struct playback_stream *s)
{
    if (s->ended)
        return;
    for (int i = 0; i < s->n; i++)
        playlist_end(s->renditions[i]);
    answer_waiters(s);
    s->ended = true;
    /* Viewers fetch the rest: as long as the longest playlist that listed it (HLS 6.2.2). */
    timer_start(s->timer, (int64_t)2000 * HLS_WINDOW * s->target_duration);
}

static void forget(struct playback_stream *s)
{
    playback_stream_close(s);
}

void playback_stream_close(struct playback_stream *s)
{
    struct playback *p = s->playback;

    LIST_EACH (&s->waiters, struct waiter, node, w) {
        list_remove(&s->waiters, &w->node);
        w->gone = true;
        deliver_refusal(w->x, 404, "the stream has ended");
    }
    if (map_get(p->streams, slice_str(s->name)) == s)
        map_remove(p->streams, slice_str(s->name));
    if (p->newest == s)
        p->newest = NULL;
    for (int i = 0; i < s->n; i++) {
        playlist_cleanup(s->renditions[i]);
        free(s->renditions[i]);
    }
    timer_free(s->timer);
    free(s->name);
    free(s->path);
    free(s);
}

/* --- the multivariant playlist (delivery.md b.7) --- */

static void write_codecs(const struct playlist *p, struct buf *out)
{
    char video[CODEC_STRING_MAX], audio[CODEC_STRING_MAX];

    track_codec_string(&p->video, video);
    track_codec_string(&p->audio, audio);
    if (video[0] || audio[0])
        buf_printf(out, ",CODECS=\"%s%s%s\"", video, video[0] && audio[0] ? "," : "", audio);
}

static void write_variant(const struct playback_stream *s, const struct playlist *p,
                          struct buf *out)
{
    const char *file = strrchr(p->path, '/'), *stream = strrchr(s->path, '/') + 1;
    int64_t peak, average;

    playlist_bandwidth(p, &peak, &average);
    buf_printf(out, "#EXT-X-STREAM-INF:PROGRAM-ID=0,BANDWIDTH=%" PRId64
                    ",AVERAGE-BANDWIDTH=%" PRId64, peak, average);
    write_codecs(p, out);
    if (p->video.width)
        buf_printf(out, ",RESOLUTION=%dx%d", p->video.width, p->video.height);
    if (p->video.width && p->fps > 0)
        buf_printf(out, ",FRAME-RATE=%.3f", p->fps);
    buf_printf(out, "\n%s%s.m3u8\n", stream, file);
}

/* Appends nothing when no rendition has a segment yet. */
static void write_master(const struct playback_stream *s, struct buf *out)
{
    bool any = false;

    for (int i = 0; i < s->n; i++)
        any |= s->renditions[i]->sum_ticks > 0;
    if (!any)
        return;
    buf_str(out, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for (int i = 0; i < s->n; i++)
        if (s->renditions[i]->sum_ticks > 0)
            write_variant(s, s->renditions[i], out);
}

static struct blob *master_text(const struct playback_stream *s)
{
    struct buf out;

    buf_init(&out, MAX_MASTER);
    write_master(s, &out);
    if (out.n)
        return blob_of_buf(&out);
    buf_cleanup(&out);
    return NULL;
}

/* --- requests --- */

static bool try_playlist(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    struct playlist *p = rendition >= 0 ? s->renditions[rendition] : NULL;
    struct blob *text = p ? blob_ref(playlist_text(p)) : master_text(s);
    struct blob *none = NULL;

    if (!text)
        return false;
    deliver_playlist(x, text, p ? &p->gzip : &none, s->target_duration);
    blob_unref(&none);
    blob_unref(&text);
    return true;
}

static void answer_waiters(struct playback_stream *s)
{
    LIST_EACH (&s->waiters, struct waiter, node, w) {
        struct http_exchange *x = w->x;

        list_remove(&s->waiters, &w->node);
        w->gone = true;
        if (!try_playlist(s, x, w->rendition)) {
            w->gone = false;
            list_push_front(&s->waiters, &w->node);
        }
    }
    if (list_is_empty(&s->waiters) && !s->ended)
        timer_stop(s->timer);
}

static void answer_playlist(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    if (try_playlist(s, x, rendition))
        return;
    if (s->ended)
        deliver_refusal(x, 404, "the stream ended before this rendition had a segment");
    else
        wait_for_segment(s, x, rendition);
}

static int find_rendition(const struct playback_stream *s, struct slice name)
{
    for (int i = 0; i < s->n; i++)
        if (slice_eq_str(name, s->renditions[i]->name))
            return i;
    return -1;
}

static bool take_suffix(struct slice *s, const char *suffix)
{
    if (!slice_has_suffix(*s, suffix))
        return false;
    s->n -= strlen(suffix);
    return true;
}

static void answer_segment(struct playback_stream *s, struct http_exchange *x, int rendition,
                           struct slice file)
{
    struct blob *media = NULL;
    uint64_t seq;

    if (take_suffix(&file, s->renditions[rendition]->ext) && slice_u64(file, INT64_MAX, &seq))
        media = playlist_segment(s->renditions[rendition], (int64_t)seq);
    if (media)
        deliver_segment(x, media, s->renditions[rendition]->ext);
    else
        deliver_refusal(x, 404, "no such segment: it has left memory, or never came");
}

/* path: "NAME.m3u8", "NAME/RENDITION.m3u8", "NAME/RENDITION/SEQ.ts", decoded. */
static void answer(struct playback *p, struct http_exchange *x, struct slice path)
{
    struct slice name, rendition;
    struct playback_stream *s;
    int index;

    slice_split(&path, '/', &name);
    if (!path.p && !take_suffix(&name, ".m3u8"))
        name = slice_of(NULL, 0);
    s = map_get(p->streams, name);
    if (!path.p && p->conf.current_manifest && slice_eq_nocase(name, "current") && !s)
        s = p->newest;
    if (!s) {
        deliver_refusal(x, 404, "no such stream");
        return;
    }
    if (!path.p) {
        answer_playlist(s, x, -1);
        return;
    }
    slice_split(&path, '/', &rendition);
    if (!path.p && !take_suffix(&rendition, ".m3u8"))
        rendition = slice_of(NULL, 0);
    index = find_rendition(s, rendition);
    if (index < 0)
        deliver_refusal(x, 404, "no such rendition");
    else if (!path.p)
        answer_playlist(s, x, index);
    else
        answer_segment(s, x, index, path);
}

bool playback_handle(struct playback *p, struct http_exchange *x)
{
    const struct http_request *r = http_request(x);
    struct buf path;
    struct err err;

    if (!slice_has_prefix(r->path, "/stream/"))
        return false;
    if (deliver_method(x))
        return true;
    buf_init(&path, HTTP_MAX_TARGET);
    if (percent_decode(&path, slice_skip(r->path, strlen("/stream/")), &err) != RC_OK)
        deliver_refusal(x, 400, err.text);
    else
        answer(p, x, buf_slice(&path));
    buf_cleanup(&path);
    return true;
}

/* --- for pages and tests --- */

struct blob *playback_latest(struct playback_stream *s, int rendition, int64_t *msn)
{
    const struct playlist *p = s->renditions[rendition];

    for (size_t i = p->n; i > 0; i--)
        if (p->kept[i - 1].media) {
            *msn = p->kept[i - 1].msn;
            return p->kept[i - 1].media;
        }
    return NULL;
}

size_t playback_stats(const struct playback_stream *s,
                      struct playback_rendition_stats out[HLS_MAX_RENDITIONS])
{
    size_t n = 0;

    for (int i = 0; i < s->n; i++) {
        const struct playlist *p = s->renditions[i];

        if (!p->n)
            continue;
        out[n++] = (struct playback_rendition_stats){
            .name = p->name,
            .width = p->video.width,
            .height = p->video.height,
            .fps = p->fps,
            .peak_bps = p->peak_bps,
            .average_bps = p->sum_ticks ? p->sum_bits * TICKS_PER_SECOND / p->sum_ticks : 0,
            .last_msn = p->kept[p->n - 1].msn,
            .gaps = p->gaps,
            .bytes_kept = p->bytes};
    }
    return n;
}

bool playback_text(struct playback *p, const char *path, struct buf *out)
{
    struct slice rest = slice_str(path), name, rendition;
    struct playback_stream *s;
    struct blob *text;
    int index;

    rest = slice_skip(rest, strlen("/stream/"));
    slice_split(&rest, '/', &name);
    if (!rest.p)
        (void)take_suffix(&name, ".m3u8");
    s = map_get(p->streams, name);
    if (!s)
        return false;
    if (!rest.p) {
        write_master(s, out);
        return out->n > 0;
    }
    rendition = rest;
    (void)take_suffix(&rendition, ".m3u8");
    index = find_rendition(s, rendition);
    text = index >= 0 ? playlist_text(s->renditions[index]) : NULL;
    buf_add_slice(out, blob_slice(text));
    return text != NULL;
}
