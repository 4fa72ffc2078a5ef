/* tests/unit/ts_test.h: frames made of counted bytes, and a sink that compares them. */
#ifndef LEAT_TESTS_TS_TEST_H
#define LEAT_TESTS_TS_TEST_H

#include "media_test.h"

#include "media/aac.h"
#include "media/ts/ts_demux.h"
#include "media/ts/ts_mux.h"

enum { PACKET = 188, MAX_FRAMES = 4000 };
static const int64_t WRAP = (int64_t)1 << 33;

static inline struct track aac_track(const char *asc_hex)
{
    struct blob *asc = from_hex(asc_hex);
    struct track t;

    assert_int_equal(aac_track_from_config(blob_slice(asc), &t, NULL), RC_OK);
    blob_unref(&asc);
    return t;
}

/* One slice of n bytes that look random but hold no start code. */
static inline struct frame picture(int64_t dts, int64_t pts, bool key, size_t n)
{
    struct frame f = {.kind = TRACK_VIDEO, .key = key, .dts = dts, .pts = pts};
    uint8_t *p;

    f.data = blob_new(n + 5);
    p = blob_bytes(f.data);
    p[0] = (uint8_t)((n + 1) >> 24);
    p[1] = (uint8_t)((n + 1) >> 16);
    p[2] = (uint8_t)((n + 1) >> 8);
    p[3] = (uint8_t)(n + 1);
    p[4] = key ? 0x65 : 0x41;
    for (size_t i = 0; i < n; i++)
        p[5 + i] = (uint8_t)(1 + (i * 7 + n + (size_t)dts) % 255);
    return f;
}

static inline struct frame sound(int64_t dts, size_t n)
{
    struct frame f = {.kind = TRACK_AUDIO, .key = true, .dts = dts, .pts = dts};

    f.data = blob_new(n);
    for (size_t i = 0; i < n; i++)
        blob_bytes(f.data)[i] = (uint8_t)(i * 5 + n);
    return f;
}

/* Frames in, in the order of a segment; one reference each. */
struct clip {
    struct frame f[MAX_FRAMES];
    int n;
};

static inline void clip_add(struct clip *c, struct frame f)
{
    assert_true(c->n < MAX_FRAMES);
    c->f[c->n++] = f;
}

static inline void clip_clear(struct clip *c)
{
    for (int i = 0; i < c->n; i++)
        frame_cleanup(&c->f[i]);
    c->n = 0;
}

/* A demuxer's output. */
struct seen {
    struct clip clip;
    int tracks[TRACK_KINDS];
    struct track track[TRACK_KINDS];
};

static inline void see_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct seen *s = arg;

    track_cleanup(&s->track[kind]);
    s->track[kind] = track_ref(t);
    s->tracks[kind]++;
}

static inline void see_frame(const struct frame *f, void *arg)
{
    struct seen *s = arg;

    clip_add(&s->clip, frame_ref(f));
}

static inline void seen_free(struct seen *s)
{
    clip_clear(&s->clip);
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        track_cleanup(&s->track[kind]);
    free(s);
}

/* Bytes through a demuxer in pieces of up to `step`, at its end a flush. */
static inline struct seen *demux(struct slice bytes, size_t step, enum rc want)
{
    struct seen *s = xcalloc(1, sizeof(*s));
    struct frame_sink sink = {see_track, see_frame, s};
    struct ts_demux *d = ts_demux_new(&sink);
    enum rc rc = RC_OK;

    while (bytes.n && rc == RC_OK) {
        struct blob *part = blob_copy(slice_sub(bytes, 0, step)); /* ASan sees overreads */

        rc = ts_demux_feed(d, blob_slice(part), NULL);
        bytes = slice_skip(bytes, part->n);
        blob_unref(&part);
    }
    assert_int_equal(rc, want);
    ts_demux_flush(d);
    ts_demux_free(d);
    return s;
}

static inline bool same_frame(const struct frame *a, const struct frame *b)
{
    return a->kind == b->kind && a->key == b->key && ((a->dts - b->dts) & (WRAP - 1)) == 0 &&
           ((a->pts - b->pts) & (WRAP - 1)) == 0 &&
           slice_eq(blob_slice(a->data), blob_slice(b->data));
}

/* All frames of one kind came back, in order, but those marked in `lost` (NULL: none). */
static inline void assert_same(const struct clip *in, const struct clip *out, enum track_kind kind,
                               const bool *lost)
{
    int at = 0;

    for (int i = 0; i < in->n; i++) {
        if (in->f[i].kind != kind || (lost && lost[i]))
            continue;
        while (at < out->n && out->f[at].kind != kind)
            at++;
        assert_true(at < out->n);
        assert_true(same_frame(&in->f[i], &out->f[at]));
        at++;
    }
    while (at < out->n && out->f[at].kind != kind)
        at++;
    assert_int_equal(at, out->n);
}

#endif
