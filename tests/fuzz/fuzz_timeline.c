/* Times of a hostile sender. Whatever comes in: every frame comes out, each track's dts rise, no
 * step is longer than a gap that is kept plus what a jump adds, pts are never before dts. */
#include <assert.h>

#include "base/reader.h"
#include "media/timeline.h"

enum { MAX_STEP = 40 * TICKS_PER_SECOND };

struct seen {
    int64_t last[TRACK_KINDS];
    int in, out;
};

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    (void)kind, (void)t, (void)arg;
}

static void on_frame(const struct frame *f, void *arg)
{
    struct seen *s = arg;
    int64_t other = s->last[f->kind == TRACK_VIDEO ? TRACK_AUDIO : TRACK_VIDEO];

    assert(f->dts > s->last[f->kind] && f->pts >= f->dts && f->duration >= 0);
    assert(f->dts <= MAX(s->last[f->kind], other) + MAX_STEP);
    assert(f->data);
    s->last[f->kind] = f->dts;
    s->out++;
}

/* One step: a new track, or a frame whose time is near the last, far, or anything. */
static void step(struct timeline *t, struct reader *r, struct frame *f, struct seen *s)
{
    unsigned op = rd_u8(r);

    f->kind = op & 1 ? TRACK_AUDIO : TRACK_VIDEO;
    switch (op >> 1 & 7) {
    case 0:
        f->dts = (int64_t)rd_be64(r);
        f->pts = (int64_t)rd_be64(r);
        break;
    case 1:
        f->dts = (int64_t)((uint64_t)f->dts - rd_be16(r));
        break;
    case 2:
        f->dts = rd_be32(r);
        f->pts = f->dts + (int8_t)rd_u8(r);
        break;
    case 3: {
        struct blob *config = blob_copy(rd_bytes(r, 2));
        struct track track = {.codec = f->kind == TRACK_VIDEO ? CODEC_H264 : CODEC_AAC,
                              .config = config,
                              .fps = rd_u8(r),
                              .sample_rate = rd_be16(r)};

        timeline_track(t, f->kind, &track);
        blob_unref(&config);
        return;
    }
    default:
        f->dts = (int64_t)((uint64_t)f->dts + rd_u8(r));
        f->pts = (int64_t)((uint64_t)f->dts + op / 16);
        break;
    }
    s->in++;
    timeline_frame(t, f);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct reader r = reader_of(slice_of(p, n));
    bool ms = rd_u8(&r) & 1;
    struct timeline_conf conf = {.in_rate = ms ? 1000 : 90000, .in_bits = ms ? 32 : 33};
    struct seen seen = {.last = {-1, -1}};
    struct frame_sink sink = {on_track, on_frame, &seen};
    struct timeline *t = timeline_new(&conf, 0, &sink);
    struct frame f = {.data = blob_copy(SLICE_LIT("x"))};

    while (r.left)
        step(t, &r, &f, &seen);
    timeline_flush(t);
    assert(seen.in == seen.out);
    timeline_free(t);
    frame_cleanup(&f);
    return 0;
}
