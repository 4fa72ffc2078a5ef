#include "gateway/segmenter.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "media/ts/ts_mux.h"

enum { RESERVED_BYTES = 128 * 1024 }; /* for a segment, at least */

/* Audio that came while a video track might still appear. */
struct held_frame {
    struct list_node node;
    struct frame frame;
    int64_t wall_ms;
};

struct segmenter {
    struct segmenter_conf conf;
    struct ts_mux *mux;
    struct track tracks[TRACK_KINDS];
    bool tracks_changed; /* since the open segment began */
    bool config_changed; /* a track was replaced, not only added: decoders must know */

    bool open;
    struct track held[TRACK_KINDS]; /* what the open segment holds: the next may differ already */
    struct buf bytes;               /* of the open segment */
    struct keccak hash;
    size_t hashed;              /* bytes of it already in the hash */
    int64_t start_pts, end_pts; /* 90 kHz; of the leading track */
    int64_t last_duration;
    size_t last_bytes;                  /* of the segment before */
    int64_t longest;                    /* 0: no limit */
    bool continues;                     /* the open segment began without a key frame */
    int64_t last_key_pts, key_distance; /* as the source had it last */
    int64_t wall_ms;
    int frames; /* of the leading track */
    bool discontinuity;
    bool audio_leads;  /* no video came for so long that none is expected */
    struct list early; /* audio held until then */
    size_t early_bytes;
};

struct segmenter *segmenter_new(const struct segmenter_conf *conf)
{
    struct segmenter *s = xcalloc(1, sizeof(*s));

    s->conf = *conf;
    s->mux = ts_mux_new();
    buf_init(&s->bytes, SEGMENT_MAX_BYTES);
    list_init(&s->early);
    return s;
}

static void drop_held(struct segmenter *s, struct held_frame *h)
{
    list_remove(&s->early, &h->node);
    s->early_bytes -= h->frame.data->n;
    frame_cleanup(&h->frame);
    free(h);
}

static void drop_all_held(struct segmenter *s)
{
    LIST_EACH (&s->early, struct held_frame, node, h)
        drop_held(s, h);
}

void segmenter_free(struct segmenter *s)
{
    if (!s)
        return;
    drop_all_held(s);
    ts_mux_free(s->mux);
    buf_cleanup(&s->bytes);
    for (int k = 0; k < TRACK_KINDS; k++) {
        track_cleanup(&s->tracks[k]);
        track_cleanup(&s->held[k]);
    }
    free(s);
}

static bool has_video(const struct segmenter *s)
{
    return s->tracks[TRACK_VIDEO].codec != CODEC_NONE;
}

/* The track that decides where segments begin and how long they are. */
static enum track_kind leader(const struct segmenter *s)
{
    return has_video(s) ? TRACK_VIDEO : TRACK_AUDIO;
}

void segmenter_track(struct segmenter *s, enum track_kind kind, const struct track *t)
{
    if (track_same(&s->tracks[kind], t))
        return;
    s->tracks_changed = true;
    if (s->tracks[kind].codec != CODEC_NONE || (kind == TRACK_VIDEO && s->open))
        s->config_changed = true;
    track_cleanup(&s->tracks[kind]);
    s->tracks[kind] = track_ref(t);
}

void segmenter_limit(struct segmenter *s, int64_t longest)
{
    s->longest = longest;
}

/* Hashing follows the muxer, so no call ever runs over a whole segment. */
static void hash_what_is_new(struct segmenter *s)
{
    if (!s->conf.hash)
        return;
    keccak_add(&s->hash, slice_skip(buf_slice(&s->bytes), s->hashed));
    s->hashed = s->bytes.n;
}

/* Room that is not written to costs nothing, since so much is mapped by itself; growing to it step
 * by step would leave holes in the heap. */
static void reserve_like_the_last(struct segmenter *s)
{
    size_t room = MAX(s->last_bytes + s->last_bytes / 4, (size_t)RESERVED_BYTES);

    (void)buf_reserve(&s->bytes, MIN(room, (size_t)SEGMENT_MAX_BYTES));
}

static void begin(struct segmenter *s, const struct frame *f, int64_t wall_ms)
{
    for (int k = 0; k < TRACK_KINDS; k++) {
        ts_mux_track(s->mux, (enum track_kind)k, &s->tracks[k]);
        track_cleanup(&s->held[k]);
        s->held[k] = track_ref(&s->tracks[k]);
    }
    buf_clear(&s->bytes);
    reserve_like_the_last(s);
    s->continues = !f->key;
    if (!s->continues)
        keccak_init(&s->hash);
    s->hashed = 0;
    s->discontinuity = f->discontinuity || s->config_changed;
    s->tracks_changed = s->config_changed = false;
    s->start_pts = f->pts;
    s->end_pts = f->pts;
    s->frames = 0;
    s->wall_ms = wall_ms;
    s->open = true;
    ts_mux_begin(s->mux, &s->bytes, s->discontinuity);
}

/* end_pts: where the next segment begins. False: it was dropped. */
static bool end(struct segmenter *s, int64_t end_pts, bool cut_short)
{
    struct keccak so_far;
    struct segment *seg;

    s->open = false;
    ts_mux_end(s->mux, &s->bytes);
    if (!buf_ok(&s->bytes)) {
        log_peer(NULL, "a segment above %d bytes was dropped: the source sends no key frame",
                 SEGMENT_MAX_BYTES);
        return false;
    }
    hash_what_is_new(s);
    seg = segment_new();
    so_far = s->hash;
    seg->hash = keccak_done(&so_far);
    seg->first_pts = s->start_pts;
    seg->duration = MAX(end_pts - s->start_pts, (int64_t)1);
    seg->discontinuity = s->discontinuity;
    seg->continues = s->continues;
    seg->cut_short = cut_short;
    seg->wall_ms = s->wall_ms;
    seg->closed_ms = clock_mono_ms();
    seg->container = CONTAINER_TS;
    seg->video = track_ref(&s->held[TRACK_VIDEO]);
    seg->audio = track_ref(&s->held[TRACK_AUDIO]);
    if (segment_has_video(seg))
        seg->fps = (double)s->frames * TICKS_PER_SECOND / (double)seg->duration;
    s->last_bytes = s->bytes.n;
    seg->media = blob_of_buf(&s->bytes);
    buf_init(&s->bytes, SEGMENT_MAX_BYTES);
    s->conf.on_segment(seg, s->conf.arg);
    return true;
}

/* The next key frame, when it comes as the last one did, would be beyond what may be listed. */
static bool next_key_is_too_far(const struct segmenter *s, int64_t lasts)
{
    return s->longest && lasts >= s->conf.target / 2 && lasts + s->key_distance > s->longest;
}

/* Does this frame close the open segment? */
static bool closes(const struct segmenter *s, const struct frame *f)
{
    /* Key frames of a 2 s cadence arrive a rounding early now and then. */
    const int64_t slack = s->conf.target / 20;
    int64_t lasts = f->pts - s->start_pts;

    if (!s->open || f->kind != leader(s) || !f->key)
        return false;
    return f->discontinuity || s->config_changed || s->continues ||
           lasts >= s->conf.target - slack || next_key_is_too_far(s, lasts);
}

/* One more picture like this one would make it too long, and no key frame came. Only where times
 * rise: pictures that are shown before an earlier one stay with it. */
static bool must_be_cut(const struct segmenter *s, const struct frame *f)
{
    int64_t step = f->pts - s->end_pts;

    return s->open && s->longest && f->kind == TRACK_VIDEO && leader(s) == TRACK_VIDEO && !f->key &&
           step > 0 && f->pts + step - s->start_pts > s->longest;
}

static void note_key(struct segmenter *s, const struct frame *f)
{
    if (f->kind != TRACK_VIDEO || !f->key)
        return;
    s->key_distance = f->pts - s->last_key_pts;
    s->last_key_pts = f->pts;
}

static bool begins(const struct segmenter *s, const struct frame *f)
{
    return !s->open && f->kind == leader(s) && f->key;
}

/* A video track that appears in an audio-only stream takes the lead at its first key frame. */
static bool video_takes_over(const struct segmenter *s, const struct frame *f)
{
    return s->open && s->tracks_changed && f->kind == TRACK_VIDEO && f->key;
}

static void take_frame(struct segmenter *s, const struct frame *f, int64_t wall_ms)
{
    int64_t end_pts = f->discontinuity ? s->end_pts + s->last_duration : f->pts;
    bool goes_on = false;

    note_key(s, f);
    if (closes(s, f) || video_takes_over(s, f))
        (void)end(s, end_pts, false); /* what was dropped was told */
    else if (must_be_cut(s, f))
        goes_on = end(s, end_pts, true);
    if (goes_on || begins(s, f))
        begin(s, f, wall_ms);
    if (!s->open)
        return;
    ts_mux_frame(s->mux, f, &s->bytes);
    hash_what_is_new(s);
    if (f->kind != leader(s))
        return;
    s->frames++;
    s->end_pts = MAX(s->end_pts, f->pts);
    if (f->duration > 0)
        s->last_duration = f->duration;
}

/* --- audio until it is known whether it is alone --- */

static void let_audio_lead(struct segmenter *s)
{
    s->audio_leads = true;
    LIST_EACH (&s->early, struct held_frame, node, h) {
        take_frame(s, &h->frame, h->wall_ms);
        drop_held(s, h);
    }
}

static void hold(struct segmenter *s, const struct frame *f)
{
    struct held_frame *h = xcalloc(1, sizeof(*h)), *first;

    h->frame = frame_ref(f);
    h->wall_ms = clock_wall_ms();
    list_push(&s->early, &h->node);
    s->early_bytes += f->data->n;
    first = LIST_FIRST(&s->early, struct held_frame, node);
    if (f->pts - first->frame.pts >= AUDIO_ONLY_AFTER_TICKS || s->early.n >= HELD_MAX_FRAMES ||
        s->early_bytes >= HELD_MAX_BYTES)
        let_audio_lead(s);
}

void segmenter_frame(struct segmenter *s, const struct frame *f)
{
    if (f->kind == TRACK_AUDIO && !has_video(s) && !s->audio_leads) {
        hold(s, f);
        return;
    }
    if (f->kind == TRACK_VIDEO)
        drop_all_held(s); /* pictures lead: what sounded before the first is not shown */
    take_frame(s, f, clock_wall_ms());
}

void segmenter_flush(struct segmenter *s)
{
    if (!has_video(s))
        let_audio_lead(s);
    drop_all_held(s);
    if (s->open && s->frames > 0)
        (void)end(s, s->end_pts + s->last_duration, false);
    s->open = false;
}
