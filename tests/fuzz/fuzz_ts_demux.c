/* MPEG-TS of a stranger, in pieces. What the demuxer makes of it goes through the muxer and a
 * second demuxer, and is the same. */
#include <assert.h>
#include <stdlib.h>

#include "media/ts/ts_demux.h"
#include "media/ts/ts_mux.h"

enum { MAX_FRAMES = 2000, MAX_OUT = 64 * 1024 * 1024, AUDIO_SLACK = 4 };

struct frames {
    struct frame f[TRACK_KINDS][MAX_FRAMES];
    int n[TRACK_KINDS];
};

static void keep_frame(struct frames *to, const struct frame *f)
{
    if (to->n[f->kind] < MAX_FRAMES)
        to->f[f->kind][to->n[f->kind]++] = frame_ref(f);
}

static void frames_cleanup(struct frames *f)
{
    for (int kind = 0; kind < TRACK_KINDS; kind++)
        for (int i = 0; i < f->n[kind]; i++)
            frame_cleanup(&f->f[kind][i]);
}

/* The first demuxer's sink: writes what it gets into segments, from the first key frame on. */
struct remux {
    struct ts_mux *mux;
    struct buf out;
    bool open, keyed;
    struct frames frames;
};

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct remux *r = arg;

    if (r->open)
        ts_mux_end(r->mux, &r->out);
    r->open = false;
    ts_mux_track(r->mux, kind, t);
    if (t->codec == CODEC_NONE && kind == TRACK_VIDEO)
        r->keyed = false;
}

static void on_frame(const struct frame *f, void *arg)
{
    struct remux *r = arg;

    assert(f->dts >= 0 && f->dts < (int64_t)1 << 33 && f->pts >= 0 && f->pts < (int64_t)1 << 33);
    assert(f->data->n && f->data->n <= MAX_FRAME_BYTES);
    r->keyed = r->keyed || (f->kind == TRACK_VIDEO && f->key);
    if (f->kind == TRACK_VIDEO && !r->keyed)
        return;
    if (r->frames.n[f->kind] == MAX_FRAMES || r->out.n > MAX_OUT / 2)
        return;
    if (!r->open)
        ts_mux_begin(r->mux, &r->out, false);
    r->open = true;
    ts_mux_frame(r->mux, f, &r->out);
    keep_frame(&r->frames, f);
}

static void again_track(enum track_kind kind, const struct track *t, void *arg)
{
    assert(t->codec != CODEC_NONE || kind < TRACK_KINDS);
    (void)arg;
}

static void again_frame(const struct frame *f, void *arg)
{
    keep_frame(arg, f);
}

static bool same_time(int64_t a, int64_t b, int64_t slack)
{
    int64_t d = (int64_t)((uint64_t)(a - b) << 31) >> 31;

    return d >= -slack && d <= slack;
}

static void compare(const struct frames *a, const struct frames *b)
{
    for (int kind = 0; kind < TRACK_KINDS; kind++) {
        int64_t slack = kind == TRACK_AUDIO ? AUDIO_SLACK : 0; /* frames share a PES */

        assert(a->n[kind] == b->n[kind]);
        for (int i = 0; i < a->n[kind]; i++) {
            const struct frame *x = &a->f[kind][i], *y = &b->f[kind][i];

            assert(x->key == y->key && slice_eq(blob_slice(x->data), blob_slice(y->data)));
            assert(same_time(x->dts, y->dts, slack) && same_time(x->pts, y->pts, slack));
        }
    }
}

static void demux_again(struct slice bytes, const struct frames *want)
{
    struct frames *got = xcalloc(1, sizeof(*got));
    struct frame_sink sink = {again_track, again_frame, got};
    struct ts_demux *d = ts_demux_new(&sink);

    assert(ts_demux_feed(d, bytes, NULL) == RC_OK);
    ts_demux_flush(d);
    compare(want, got);
    ts_demux_free(d);
    frames_cleanup(got);
    free(got);
}

/* The first byte tells in which pieces the rest comes. */
static void feed(struct ts_demux *d, struct slice in)
{
    size_t step = in.n ? 1 + (size_t)in.p[0] * 7 : 1;

    for (in = slice_skip(in, 1); in.n; in = slice_skip(in, step))
        if (ts_demux_feed(d, slice_sub(in, 0, step), NULL) != RC_OK)
            break;
    ts_demux_flush(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct remux *r = xcalloc(1, sizeof(*r));
    struct frame_sink sink = {on_track, on_frame, r};
    struct ts_demux *d = ts_demux_new(&sink);

    r->mux = ts_mux_new();
    buf_init(&r->out, MAX_OUT);
    feed(d, slice_of(p, n));
    if (r->open)
        ts_mux_end(r->mux, &r->out);
    assert(r->out.n % 188 == 0);
    if (buf_ok(&r->out))
        demux_again(buf_slice(&r->out), &r->frames);
    ts_demux_free(d);
    ts_mux_free(r->mux);
    buf_cleanup(&r->out);
    frames_cleanup(&r->frames);
    free(r);
    return 0;
}
