#include "media/timeline.h"

#include <assert.h>
#include <stdlib.h>

#include "media/aac.h"
#include "media/cadence.h"

enum {
    JUMP_AHEAD = 10 * TICKS_PER_SECOND,
    JUMP_BACK = TICKS_PER_SECOND,        /* less is a repeat */
    MAX_REORDER = 10 * TICKS_PER_SECOND, /* pts - dts beyond is garbage */
    MAX_LAG = TICKS_PER_SECOND,          /* dts - pts likewise */
    MAX_NOMINAL = TICKS_PER_SECOND,
    NOMINAL_VIDEO = TICKS_PER_SECOND / 30,
    NOMINAL_AUDIO = TICKS_PER_SECOND * AAC_FRAME_SAMPLES / 48000,
};

/* One track on its way through. */
struct lane {
    struct track track;
    bool seen;
    int64_t raw;     /* counter of the last frame, as sent */
    int64_t in;      /* the same, unwrapped, in ticks */
    int64_t offset;  /* in + offset is the time on our clock */
    int epoch;       /* lanes of one epoch share their offset */
    int64_t lag;     /* video: dts are this much earlier than sent, so that pts >= dts */
    int64_t last;    /* dts given last */
    int64_t nominal; /* ticks from frame to frame, about */
    int64_t wraps;
    struct video_cadence video;
    struct audio_cadence audio;
};

struct timeline {
    struct timeline_conf conf;
    int64_t scale; /* ticks of 90 kHz in one of the sender's */
    int64_t start;
    struct frame_sink out;
    struct lane lane[TRACK_KINDS];
    int epochs;
    bool holding; /* a frame that seems to jump waits for a second opinion */
    struct frame held;
    struct timeline_stats stats;
};

struct timeline *timeline_new(const struct timeline_conf *conf, int64_t start,
                              const struct frame_sink *out)
{
    struct timeline *t = xcalloc(1, sizeof(*t));

    assert(conf->in_rate > 0 && TICKS_PER_SECOND % conf->in_rate == 0);
    assert(conf->in_bits == 32 || conf->in_bits == 33);
    t->conf = *conf;
    t->scale = TICKS_PER_SECOND / conf->in_rate;
    t->start = start;
    t->out = *out;
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        struct lane *l = &t->lane[kind];

        l->last = start - 1;
        l->nominal = kind == TRACK_VIDEO ? NOMINAL_VIDEO : NOMINAL_AUDIO;
        video_cadence_init(&l->video, t->scale);
        audio_cadence_init(&l->audio, t->scale);
    }
    return t;
}

void timeline_free(struct timeline *t)
{
    if (!t)
        return;
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        track_cleanup(&t->lane[kind].track);
    if (t->holding)
        frame_cleanup(&t->held);
    free(t);
}

/* ---- the sender's counter ---- */

static int64_t modulo(int64_t v, int bits)
{
    return v & (((int64_t)1 << bits) - 1);
}

static int64_t signed_bits(int64_t v, int bits)
{
    return (int64_t)((uint64_t)v << (64 - bits)) >> (64 - bits);
}

/* From counter b to counter a in ticks, the short way round. Some senders count in 31 bits:
 * a step of nearly 2^31 is a wrap of theirs (delivery.md a.4). */
static int64_t counter_diff(const struct timeline *t, int64_t a, int64_t b)
{
    int64_t d = signed_bits(a - b, t->conf.in_bits), half = (int64_t)1 << 31;
    int64_t near = 10 * t->conf.in_rate;

    if (t->conf.in_bits == 32 && d <= -half + near)
        d += half;
    else if (t->conf.in_bits == 32 && d >= half - near)
        d -= half;
    return d * t->scale;
}

static bool continues(int64_t d)
{
    return d >= -JUMP_BACK && d <= JUMP_AHEAD;
}

static bool is_near(int64_t d)
{
    return d >= -JUMP_AHEAD && d <= JUMP_AHEAD;
}

/* ---- placing a frame ---- */

static int64_t composition(const struct timeline *t, const struct frame *f)
{
    int64_t c = signed_bits(f->pts - f->dts, t->conf.in_bits) * t->scale;

    return c > MAX_REORDER || c < -MAX_LAG ? 0 : c;
}

/* Encoders that count dts from the first pts send negative compositions. Their dts are moved
 * back once by the most that is seen, for good; pts stay. */
static void make_room_for_reorder(struct lane *l, int64_t composition)
{
    if (composition + l->lag < 0)
        l->lag += video_cadence_delay(&l->video, -(composition + l->lag));
}

static void note_late_audio(struct timeline *t, int64_t dts)
{
    const struct lane *video = &t->lane[TRACK_VIDEO];
    int64_t late_ms = video->seen ? (video->last - dts) * 1000 / TICKS_PER_SECOND : 0;

    t->stats.late_audio_ms_max = MAX(t->stats.late_audio_ms_max, late_ms);
}

/* Hands a frame out whose lane knows `in` and `offset`. */
static void place(struct timeline *t, struct lane *l, const struct frame *f, bool discontinuity)
{
    struct frame out = *f;
    int64_t sent = l->in + l->offset, c = composition(t, f);

    out.discontinuity = discontinuity;
    if (f->kind == TRACK_VIDEO) {
        make_room_for_reorder(l, c);
        out.dts = video_cadence_next(&l->video, sent - l->lag, &out.duration);
        out.pts = video_cadence_snap(&l->video, sent + c);
    } else {
        out.dts = out.pts = audio_cadence_next(&l->audio, sent, &out.duration);
    }
    out.dts = MAX(out.dts, l->last + 1);
    out.pts = MAX(out.pts, out.dts);
    if (f->kind == TRACK_AUDIO)
        note_late_audio(t, out.dts);
    if (out.duration)
        l->nominal = MIN(out.duration, MAX_NOMINAL);
    else if (l->seen && !discontinuity)
        l->nominal = MIN(out.dts - l->last, MAX_NOMINAL);
    l->last = out.dts;
    l->seen = true;
    t->out.on_frame(&out, t->out.arg);
}

static void restart_cadence(struct lane *l)
{
    video_cadence_start(&l->video, l->track.fps);
    audio_cadence_start(&l->audio, l->track.sample_rate, AAC_FRAME_SAMPLES);
    l->lag = 0;
}

/* The counter moved within the lane's own sequence. */
static void go_on(struct timeline *t, struct lane *l, const struct frame *f, int64_t d)
{
    if (d > 0 && f->dts < l->raw && ++l->wraps > t->stats.wraps)
        t->stats.wraps = l->wraps;
    if (d <= 0)
        t->stats.repeats++;
    l->in += d;
    l->raw = f->dts;
    place(t, l, f, false);
}

/* The lane takes over the other one's clock, which f's counter is near to. */
static void join(struct timeline *t, struct lane *l, const struct lane *other,
                 const struct frame *f)
{
    bool moved = l->seen && l->epoch != other->epoch;

    l->in = other->in + counter_diff(t, f->dts, other->raw);
    l->raw = f->dts;
    l->offset = other->offset;
    l->epoch = other->epoch;
    restart_cadence(l);
    place(t, l, f, moved);
}

static int64_t next_free(const struct timeline *t)
{
    int64_t free_at = t->start;

    for (int kind = 0; kind < TRACK_KINDS; kind++)
        if (t->lane[kind].seen)
            free_at = MAX(free_at, t->lane[kind].last + t->lane[kind].nominal);
    return free_at;
}

/* A clock that continues nothing: it goes on one frame after the last. */
static void begin_epoch(struct timeline *t, struct lane *l, const struct frame *f)
{
    bool moved = l->seen;

    if (t->epochs++)
        t->stats.jumps++;
    l->in = f->dts * t->scale;
    l->raw = f->dts;
    l->offset = next_free(t) - l->in;
    l->epoch = t->epochs;
    restart_cadence(l);
    place(t, l, f, moved);
}

/* ---- deciding ---- */

static struct lane *other_lane(struct timeline *t, enum track_kind kind)
{
    return &t->lane[kind == TRACK_VIDEO ? TRACK_AUDIO : TRACK_VIDEO];
}

static void release_as_jump(struct timeline *t)
{
    struct frame f = t->held;
    struct lane *l = &t->lane[f.kind];

    t->holding = false;
    begin_epoch(t, l, &f);
    frame_cleanup(&f);
}

/* Only its time was wrong: it stands between its neighbours. */
static void release_as_stray(struct timeline *t, const struct frame *next)
{
    struct frame f = t->held;
    struct lane *l = &t->lane[f.kind];

    t->holding = false;
    t->stats.repeats++;
    int64_t before = l->in;
    l->in += counter_diff(t, next->dts, l->raw) / 2;
    place(t, l, &f, false);
    l->in = before;
    frame_cleanup(&f);
}

/* A second frame has come: does it speak for the jump or against it? */
static void judge_held(struct timeline *t, const struct frame *f)
{
    const struct lane *l = &t->lane[f->kind];
    int64_t from_held = counter_diff(t, f->dts, t->held.dts);
    int64_t d = counter_diff(t, f->dts, l->raw);

    if (f->kind != t->held.kind) {
        if (is_near(from_held) && !(l->seen && continues(d)))
            release_as_jump(t);
    } else if (continues(d) && llabs(d) < llabs(from_held)) {
        release_as_stray(t, f);
    } else {
        release_as_jump(t);
    }
}

static void hold(struct timeline *t, const struct frame *f)
{
    if (t->holding)
        release_as_jump(t);
    t->held = frame_ref(f);
    t->holding = true;
}

static bool can_join(struct timeline *t, const struct lane *l, const struct lane *other,
                     const struct frame *f)
{
    int64_t d = counter_diff(t, f->dts, other->raw);

    return other->seen && is_near(d) && (!l->seen || other->in + other->offset + d > l->last);
}

void timeline_frame(struct timeline *t, const struct frame *sent)
{
    struct lane *l = &t->lane[sent->kind], *other = other_lane(t, sent->kind);
    struct frame f = *sent;

    f.dts = modulo(sent->dts, t->conf.in_bits);
    f.pts = f.dts + signed_bits(modulo(sent->pts, t->conf.in_bits) - f.dts, t->conf.in_bits);
    f.duration = 0;
    if (t->holding)
        judge_held(t, &f);
    int64_t d = counter_diff(t, f.dts, l->raw);
    if (l->seen && continues(d))
        go_on(t, l, &f, d);
    else if (can_join(t, l, other, &f))
        join(t, l, other, &f);
    else if (!l->seen)
        begin_epoch(t, l, &f);
    else
        hold(t, &f);
}

void timeline_track(struct timeline *t, enum track_kind kind, const struct track *track)
{
    struct lane *l = &t->lane[kind];

    if (track_same(&l->track, track))
        return;
    if (t->holding && t->held.kind == kind)
        release_as_jump(t);
    track_cleanup(&l->track);
    l->track = track_ref(track);
    restart_cadence(l);
    t->out.on_track(kind, &l->track, t->out.arg);
}

void timeline_flush(struct timeline *t)
{
    if (t->holding)
        release_as_jump(t);
}

void timeline_stats_get(const struct timeline *t, struct timeline_stats *out)
{
    *out = t->stats;
}
