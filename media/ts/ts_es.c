#include "base/reader.h"
#include "media/aac.h"
#include "media/h264.h"
#include "media/ts/ts_int.h"

enum {
    MAX_SETS = 32, /* of a kind; avcC counts SPS in 5 bits */
    MAX_SETS_BYTES = 32 * 1024,
};

void ts_es_init(struct ts_es *es, enum track_kind kind, const struct frame_sink *sink)
{
    *es = (struct ts_es){.kind = kind, .sink = sink};
    buf_init(&es->bytes, MAX_FRAME_BYTES);
    buf_init(&es->sps, MAX_SETS_BYTES);
    buf_init(&es->pps, MAX_SETS_BYTES);
}

void ts_es_cleanup(struct ts_es *es)
{
    track_cleanup(&es->track);
    buf_cleanup(&es->bytes);
    buf_cleanup(&es->sps);
    buf_cleanup(&es->pps);
}

void ts_es_lost(struct ts_es *es)
{
    buf_clear(&es->bytes);
    es->has_base = false;
}

static void tell_track(struct ts_es *es, struct track *t)
{
    track_cleanup(&es->track);
    es->track = *t;
    es->sink->on_track(es->kind, &es->track, es->sink->arg);
}

void ts_es_reset(struct ts_es *es, unsigned type)
{
    struct track none = {.codec = CODEC_NONE};

    ts_es_lost(es);
    buf_clear(&es->sps);
    buf_clear(&es->pps);
    es->type = type;
    if (es->track.codec != CODEC_NONE && !type)
        tell_track(es, &none);
}

static void emit(struct ts_es *es, bool key, int64_t pts, int64_t dts, struct slice data)
{
    struct frame f = {.kind = es->kind, .key = key, .pts = ts_time(pts), .dts = ts_time(dts)};

    f.data = blob_copy(data);
    es->sink->on_frame(&f, es->sink->arg);
    frame_cleanup(&f);
}

/* ---- H.264 ---- */

static size_t list_sets(const struct buf *b, struct slice sets[MAX_SETS])
{
    size_t n = 0;

    for (size_t at = 0; at + 2 <= b->n && n < MAX_SETS; n++) {
        size_t size = (size_t)(b->p[at] << 8 | b->p[at + 1]);

        sets[n] = slice_of(b->p + at + 2, size);
        at += 2 + size;
    }
    return n;
}

static void add_set(struct buf *b, struct slice nal)
{
    struct slice sets[MAX_SETS];

    if (nal.n > UINT16_MAX || list_sets(b, sets) == MAX_SETS || b->n + 2 + nal.n > b->max)
        return;
    buf_be16(b, (uint16_t)nal.n);
    buf_add_slice(b, nal);
}

/* What one access unit brings. */
struct unit {
    bool key, picture;
    struct buf sps, pps;
};

/* Everything but delimiters and parameter sets goes into es->bytes, in AVC form. */
static void read_unit(struct ts_es *es, struct slice payload, struct unit *u)
{
    struct slice nal;

    buf_clear(&es->bytes);
    while (h264_next_annexb(&payload, &nal)) {
        unsigned type = nal.p[0] & 0x1f;

        if (type == H264_NAL_SPS) {
            add_set(&u->sps, nal);
        } else if (type == H264_NAL_PPS) {
            add_set(&u->pps, nal);
        } else if (type != H264_NAL_AUD) {
            buf_be32(&es->bytes, (uint32_t)nal.n);
            buf_add_slice(&es->bytes, nal);
            u->key = u->key || type == H264_NAL_IDR;
            u->picture = u->picture || (type >= H264_NAL_SLICE && type <= H264_NAL_IDR);
        }
    }
}

static bool replace(struct buf *old, const struct buf *now)
{
    if (!now->n || slice_eq(buf_slice(old), buf_slice(now)))
        return false;
    buf_clear(old);
    buf_add_slice(old, buf_slice(now));
    return true;
}

static uint32_t set_id(struct slice nal)
{
    struct bitreader r = bitreader_of(slice_skip(nal, 1));

    return rb_ue(&r);
}

static bool has_set(const struct buf *b, struct slice nal)
{
    struct slice sets[MAX_SETS];
    size_t n = list_sets(b, sets);

    for (size_t i = 0; i < n; i++)
        if (slice_eq(sets[i], nal))
            return true;
    return false;
}

/* Puts one set in, and the one that had its id out. */
static void swap_set(struct buf *b, struct slice nal)
{
    struct slice sets[MAX_SETS];
    size_t n = list_sets(b, sets);
    struct buf merged;

    buf_init(&merged, b->max);
    for (size_t i = 0; i < n; i++)
        if (set_id(sets[i]) != set_id(nal))
            add_set(&merged, sets[i]);
    add_set(&merged, nal);
    buf_cleanup(b);
    *b = merged;
}

/* PPS that come without an SPS add to those known. */
static bool merge(struct buf *old, const struct buf *now)
{
    struct slice sets[MAX_SETS];
    size_t n = list_sets(now, sets);
    bool changed = false;

    for (size_t i = 0; i < n; i++) {
        if (has_set(old, sets[i]))
            continue;
        swap_set(old, sets[i]);
        changed = true;
    }
    return changed;
}

static void update_sets(struct ts_es *es, const struct unit *u)
{
    struct slice sps[MAX_SETS], pps[MAX_SETS];
    struct track t = {.codec = CODEC_NONE};
    bool changed = replace(&es->sps, &u->sps);

    changed = (u->sps.n ? replace(&es->pps, &u->pps) : merge(&es->pps, &u->pps)) || changed;
    if (!changed || !es->pps.n)
        return;
    size_t n_sps = list_sets(&es->sps, sps), n_pps = list_sets(&es->pps, pps);
    struct blob *avcc = h264_avcc_from_sets(sps, MIN(n_sps, (size_t)31), pps, n_pps);
    if (avcc && h264_track_from_avcc(blob_slice(avcc), &t, NULL) == RC_OK)
        tell_track(es, &t);
    blob_unref(&avcc);
}

/* A PES may come without a time: one frame after the last then. */
static bool video_times(struct ts_es *es, const struct ts_pes *pes, int64_t *pts, int64_t *dts)
{
    if (!pes->has_times && !es->has_base)
        return false;
    *dts = pes->has_times ? pes->dts : ts_time(es->last_dts + es->step);
    *pts = pes->has_times ? pes->pts : *dts;
    if (es->has_base)
        es->step = ts_time_diff(*dts, es->last_dts);
    es->last_dts = *dts;
    es->has_base = true;
    return true;
}

static void video_pes(struct ts_es *es, const struct ts_pes *pes)
{
    struct unit u = {.key = false};
    int64_t pts, dts;

    buf_init(&u.sps, MAX_SETS_BYTES);
    buf_init(&u.pps, MAX_SETS_BYTES);
    read_unit(es, pes->payload, &u);
    update_sets(es, &u);
    buf_cleanup(&u.sps);
    buf_cleanup(&u.pps);
    if (u.picture && buf_ok(&es->bytes) && es->track.codec == CODEC_H264 &&
        video_times(es, pes, &pts, &dts))
        emit(es, u.key, pts, dts, buf_slice(&es->bytes));
    buf_clear(&es->bytes);
}

/* ---- AAC ---- */

static void audio_frame(struct ts_es *es, const struct adts_frame *a)
{
    struct track t;

    if (es->track.codec != CODEC_AAC || memcmp(es->asc, a->asc, sizeof(a->asc))) {
        if (aac_track_from_config(slice_of(a->asc, sizeof(a->asc)), &t, NULL) != RC_OK)
            return;
        memcpy(es->asc, a->asc, sizeof(a->asc));
        tell_track(es, &t);
    }
    int64_t samples = (int64_t)es->frames++ * AAC_FRAME_SAMPLES;
    int64_t at = es->base + (samples * TICKS_PER_SECOND + a->sample_rate / 2) / a->sample_rate;
    if (es->has_base)
        emit(es, true, at, at, a->raw);
}

/* After damage a sync word may be chance: the frame's end must show the next one. */
static bool confirmed(struct slice in, const struct adts_frame *a)
{
    return a->length + 1 < in.n && in.p[a->length] == 0xff && (in.p[a->length + 1] & 0xf6) == 0xf0;
}

static size_t to_next_sync(struct slice in)
{
    return in.n ? 1 + slice_find(slice_skip(in, 1), 0xff) : 0;
}

static void audio_pes(struct ts_es *es, const struct ts_pes *pes)
{
    size_t carried = es->bytes.n, at = 0;
    bool timed = false, sure = true;

    buf_add_slice(&es->bytes, pes->payload);
    if (!buf_ok(&es->bytes))
        ts_es_lost(es);
    while (at < es->bytes.n) {
        struct slice rest = slice_skip(buf_slice(&es->bytes), at);
        struct adts_frame a;
        enum rc rc = aac_adts_parse(rest, &a, NULL);

        if (rc == RC_NOT_FOUND && sure)
            break; /* the next PES has its end */
        if (rc != RC_OK || (!sure && !confirmed(rest, &a))) {
            sure = false;
            at += to_next_sync(rest);
            continue;
        }
        if (at >= carried && !timed && pes->has_times) {
            es->base = pes->pts;
            es->frames = 0;
            es->has_base = timed = true;
        }
        audio_frame(es, &a);
        sure = true;
        at += a.length;
    }
    buf_consume(&es->bytes, MIN(at, es->bytes.n));
}

void ts_es_pes(struct ts_es *es, const struct ts_pes *pes)
{
    if (es->type == TS_TYPE_H264)
        video_pes(es, pes);
    else if (es->type == TS_TYPE_AAC_ADTS)
        audio_pes(es, pes);
}
