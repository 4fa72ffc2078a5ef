#include "output/playback.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "output/deliver.h"
#include "output/multivariant.h"
#include "output/playlist.h"

#define DEFAULT_MAX_BYTES (256u * 1024 * 1024)

enum {
    MAX_WAITERS = 1000,     /* of a stream; the next hears 503 at once */
    MAX_WAIT_MS = 8000,     /* players give up at 10 s */
    FIRST_WAIT_MS = 9500,   /* an encoder left alone sends a key frame every 8.4 s */
    SEGMENT_AGE_S = 86400,  /* its URL names it for good */
    REUSED_URL_TARGETS = 6, /* of a pushed number, which tomorrow's stream uses again */
    MULTIVARIANT = -1       /* in place of a rendition's index */
};

/* A request for a playlist that is not there yet. */
struct waiter {
    struct list_node node;
    struct playback_stream *stream; /* NULL: answered */
    struct http_exchange *x;
    int rendition;
    int64_t until_ms;
};

struct playback_stream {
    struct playback *playback;
    char *name, *path; /* path: "/stream/NAME", escaped */
    int64_t first_msn;
    struct history history;
    struct playlist *renditions[HLS_MAX_RENDITIONS];
    int n;
    struct shared_text multivariant;
    bool independent; /* every segment so far begins with a key frame */
    bool ended;
    struct list waiters; /* in the order they came, so the first gives up first */
    struct timer *timer; /* the first waiter gives up; after the end: the stream is forgotten */
};

struct playback {
    struct loop *loop;
    struct playback_conf conf;
    struct map *streams;
};

struct playback *playback_new(struct loop *l, const struct playback_conf *conf)
{
    struct playback *p = xcalloc(1, sizeof(*p));

    p->loop = l;
    p->conf = *conf;
    if (!p->conf.max_bytes_per_stream)
        p->conf.max_bytes_per_stream = DEFAULT_MAX_BYTES;
    if (!p->conf.first_wait_ms)
        p->conf.first_wait_ms = FIRST_WAIT_MS;
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

/* --- playlists, as they are now --- */

/* NULL: nothing to list yet. */
static struct shared_text *text_of(struct playback_stream *s, int rendition)
{
    if (rendition != MULTIVARIANT)
        return playlist_text(s->renditions[rendition]);
    if (!s->multivariant.plain)
        s->multivariant.plain = multivariant_render(s->renditions, s->n, s->independent);
    return s->multivariant.plain ? &s->multivariant : NULL;
}

/* False: it is not there yet, and x is not answered. */
static bool try_answer(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    struct shared_text *text = text_of(s, rendition);

    if (text)
        deliver_playlist(x, text, s->history.target_s);
    return text != NULL;
}

/* --- waiting for the first segment (delivery.md b.3, first row) --- */

static void on_waiter_closed(struct http_exchange *x, bool complete, void *arg)
{
    struct waiter *w = arg;

    (void)x;
    (void)complete;
    if (w->stream)
        list_remove(&w->stream->waiters, &w->node);
    free(w);
}

static void waiter_leave(struct waiter *w)
{
    list_remove(&w->stream->waiters, &w->node);
    w->stream = NULL;
}

static void refuse_all(struct playback_stream *s, int status, const char *why)
{
    LIST_EACH (&s->waiters, struct waiter, node, w) {
        waiter_leave(w);
        deliver_refusal(w->x, status, why);
    }
}

static void watch_waiters(struct playback_stream *s)
{
    struct waiter *first = LIST_FIRST(&s->waiters, struct waiter, node);

    if (s->ended)
        return; /* the timer is for the end */
    if (first)
        timer_start(s->timer, MAX(first->until_ms - loop_now_ms(s->playback->loop), (int64_t)1));
    else
        timer_stop(s->timer);
}

/* A stream that has shown nothing is none yet; a rendition may still come. */
static void refuse_waiter(const struct playback_stream *s, struct waiter *w)
{
    if (!s->history.n)
        deliver_refusal(w->x, 404,
                        "the publisher is there, its first segment is not: it begins with a key "
                        "frame and ends with another. Does the encoder send one every 2 s?");
    else
        deliver_refusal(w->x, 503, "no orchestrator has returned a segment of this rendition yet");
}

static void give_up_waiting(struct playback_stream *s)
{
    int64_t now = loop_now_ms(s->playback->loop);

    LIST_EACH (&s->waiters, struct waiter, node, w) {
        if (w->until_ms > now)
            break;
        waiter_leave(w);
        refuse_waiter(s, w);
    }
    watch_waiters(s);
}

static int64_t longest_wait_ms(const struct playback_stream *s)
{
    return s->history.n ? MIN(3000 * (int64_t)s->history.target_s, (int64_t)MAX_WAIT_MS)
                        : s->playback->conf.first_wait_ms;
}

static void wait_for_segment(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    struct waiter *w;

    if (s->waiters.n >= MAX_WAITERS) {
        deliver_refusal(x, 503, "too many wait for the first segment of this stream");
        return;
    }
    w = xcalloc(1, sizeof(*w));
    w->stream = s;
    w->x = x;
    w->rendition = rendition;
    w->until_ms = loop_now_ms(s->playback->loop) + longest_wait_ms(s);
    http_on_closed(x, on_waiter_closed, w);
    list_push(&s->waiters, &w->node);
    watch_waiters(s);
}

/* Who waited for the stream's first segment and wants a rendition waits as long as others from
 * now on, so the list stays in the order in which they give up. */
static void answer_waiters(struct playback_stream *s)
{
    int64_t until_ms = loop_now_ms(s->playback->loop) + longest_wait_ms(s);

    LIST_EACH (&s->waiters, struct waiter, node, w)
        if (text_of(s, w->rendition)) {
            waiter_leave(w);
            (void)try_answer(s, w->x, w->rendition);
        } else {
            w->until_ms = MIN(w->until_ms, until_ms);
        }
    watch_waiters(s);
}

/* --- streams --- */

static void on_timer(void *arg)
{
    struct playback_stream *s = arg;

    if (s->ended)
        playback_stream_close(s);
    else
        give_up_waiting(s);
}

static char *path_of(const char *name)
{
    struct buf path;
    uint8_t *text;
    size_t n;

    buf_init(&path, 3 * strlen(name) + 16);
    buf_str(&path, "/stream/");
    percent_encode(&path, slice_str(name));
    buf_u8(&path, 0);
    text = buf_take(&path, &n);
    return (char *)text;
}

struct playback_stream *playback_stream_open(struct playback *p,
                                             const struct playback_stream_conf *conf)
{
    struct playback_stream *s = map_get(p->streams, slice_str(conf->name));

    if (s && !s->ended)
        return NULL;
    if (s)
        playback_stream_close(s);
    s = xcalloc(1, sizeof(*s));
    s->playback = p;
    s->name = xstrdup(conf->name);
    s->path = path_of(conf->name);
    s->history.target_s = MAX((int)lround(conf->target_duration_s), 1);
    s->first_msn = conf->first_msn;
    s->independent = true;
    s->history.discontinuities = conf->discontinuity_sequence;
    list_init(&s->waiters);
    s->timer = timer_new(p->loop, on_timer, s);
    map_put(p->streams, slice_str(s->name), s);
    return s;
}

int playback_rendition_add(struct playback_stream *s, const struct playback_rendition_conf *conf)
{
    struct playlist *p = xcalloc(1, sizeof(*p));

    assert(s->n < HLS_MAX_RENDITIONS);
    playlist_init(p, &s->history, s->path, conf);
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

/* Whatever the bitrate, a stream's memory has an end. */
static void keep_within_limit(struct playback_stream *s)
{
    bool dropped = true;

    while (dropped && bytes_kept(s) > s->playback->conf.max_bytes_per_stream) {
        dropped = false;
        for (int i = 0; i < s->n; i++)
            dropped |= playlist_drop_oldest(s->renditions[i]);
    }
}

enum rc playback_segment_add(struct playback_stream *s, int rendition,
                             const struct playback_segment *seg, struct err *err)
{
    const struct moment *at;
    enum rc rc;

    if (s->ended)
        return err_set(err, RC_CLOSED, "the stream has ended");
    at = seg->msn >= s->first_msn ? history_note(&s->history, seg) : NULL;
    if (!at)
        return err_set(err, RC_STALE, "segment %lld is older than all that is kept",
                       (long long)seg->msn);
    rc = playlist_add(s->renditions[rendition], seg, at, err);
    if (rc != RC_OK)
        return rc;
    s->independent = s->independent && !seg->continues;
    shared_text_cleanup(&s->multivariant);
    keep_within_limit(s);
    answer_waiters(s);
    return RC_OK;
}

int playback_target_s(const struct playback_stream *s)
{
    return s->history.target_s;
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
    refuse_all(s, 404, "the stream ended before it had a segment");
    s->ended = true;
    /* Viewers fetch the rest: for the list's length and as long again for those who lag. */
    timer_start(s->timer, (int64_t)2000 * HLS_WINDOW * s->history.target_s);
}

void playback_stream_close(struct playback_stream *s)
{
    refuse_all(s, 404, "the stream has ended");
    map_remove(s->playback->streams, slice_str(s->name));
    for (int i = 0; i < s->n; i++) {
        playlist_cleanup(s->renditions[i]);
        free(s->renditions[i]);
    }
    shared_text_cleanup(&s->multivariant);
    timer_free(s->timer);
    free(s->name);
    free(s->path);
    free(s);
}

/* --- requests --- */

/* What a path below /stream/ names: "NAME.m3u8", "NAME/RENDITION.m3u8", "NAME/RENDITION/SEQ.ts". */
struct target {
    struct playback_stream *stream; /* NULL: none of that name */
    int rendition;                  /* or MULTIVARIANT */
    bool is_segment;
    int64_t url_seq;
    const char *missing; /* why it names nothing; NULL: it does */
};

static bool take_suffix(struct slice *s, const char *suffix)
{
    if (!slice_has_suffix(*s, suffix))
        return false;
    s->n -= strlen(suffix);
    return true;
}

static int find_rendition(const struct playback_stream *s, struct slice name)
{
    for (int i = 0; i < s->n; i++)
        if (slice_eq_str(name, s->renditions[i]->name))
            return i;
    return MULTIVARIANT;
}

/* One that has something to show is worth more than one about to begin, that more than a past one.
 */
static int worth_as_current(const struct playback_stream *s)
{
    return s->ended ? 0 : s->history.n ? 2 : 1;
}

static struct playback_stream *newest(const struct playback *p)
{
    struct playback_stream *found = NULL;
    size_t at = 0;
    void *value;

    while (map_next(p->streams, &at, NULL, &value)) {
        struct playback_stream *s = value;

        if (!found || worth_as_current(s) >= worth_as_current(found))
            found = s;
    }
    return found;
}

static struct playback_stream *find_stream(const struct playback *p, struct slice name,
                                           bool is_multivariant)
{
    struct playback_stream *s = map_get(p->streams, name);

    if (!s && is_multivariant && p->conf.current_manifest && slice_eq_nocase(name, "current"))
        return newest(p);
    return s;
}

static void resolve_segment(struct target *t, struct slice file)
{
    uint64_t seq;

    if (!take_suffix(&file, t->stream->renditions[t->rendition]->ext) ||
        !slice_u64(file, INT64_MAX, &seq)) {
        t->missing = "a segment's name is a number and the stream's ending";
        return;
    }
    t->is_segment = true;
    t->url_seq = (int64_t)seq;
}

static struct target resolve(const struct playback *p, struct slice path)
{
    struct target t = {.rendition = MULTIVARIANT, .missing = "no such stream"};
    struct slice name, rendition;
    bool more;

    if (!slice_split(&path, '/', &name))
        return t;
    more = path.p != NULL;
    if (!more && !take_suffix(&name, ".m3u8"))
        return t;
    t.stream = find_stream(p, name, !more);
    if (t.stream)
        t.missing = NULL;
    if (!t.stream || !more)
        return t;
    if (!slice_split(&path, '/', &rendition))
        rendition = slice_of(NULL, 0);
    more = path.p != NULL;
    if (more || take_suffix(&rendition, ".m3u8"))
        t.rendition = find_rendition(t.stream, rendition);
    if (t.rendition == MULTIVARIANT)
        t.missing = "no such rendition of this stream";
    else if (more)
        resolve_segment(&t, path);
    return t;
}

static void answer_playlist(struct playback_stream *s, struct http_exchange *x, int rendition)
{
    if (try_answer(s, x, rendition))
        return;
    if (s->ended)
        deliver_refusal(x, 404, "the stream ended before this had a segment");
    else
        wait_for_segment(s, x, rendition);
}

static void answer_segment(struct playback_stream *s, struct http_exchange *x, int rendition,
                           int64_t url_seq)
{
    const struct playlist *p = s->renditions[rendition];
    const struct entry *e = playlist_segment(p, url_seq);

    if (e)
        deliver_segment(x, e->media, p->ext,
                        e->at.url_seq == e->at.msn ? (int)SEGMENT_AGE_S
                                                   : REUSED_URL_TARGETS * s->history.target_s);
    else
        deliver_refusal(x, 404, "no such segment: it has left memory, or never came");
}

static void answer(struct playback *p, struct http_exchange *x, struct slice path)
{
    struct target t = resolve(p, path);

    if (t.missing)
        deliver_refusal(x, 404, t.missing);
    else if (t.is_segment)
        answer_segment(t.stream, x, t.rendition, t.url_seq);
    else
        answer_playlist(t.stream, x, t.rendition);
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
            *msn = p->kept[i - 1].at.msn;
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
        out[n++] = (struct playback_rendition_stats){.name = p->name,
                                                     .width = p->video.width,
                                                     .height = p->video.height,
                                                     .fps = p->fps,
                                                     .peak_bps = p->peak_bps,
                                                     .average_bps = playlist_average_bps(p),
                                                     .last_msn = p->kept[p->n - 1].at.msn,
                                                     .gaps = p->gaps,
                                                     .bytes_kept = p->bytes};
    }
    return n;
}

bool playback_text(struct playback *p, const char *path, struct buf *out)
{
    struct target t = resolve(p, slice_skip(slice_str(path), strlen("/stream/")));
    struct shared_text *text = t.missing || t.is_segment ? NULL : text_of(t.stream, t.rendition);

    if (text)
        buf_add_slice(out, blob_slice(text->plain));
    return text != NULL;
}
