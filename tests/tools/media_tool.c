/* tests/tools/media_tool.c: the media core from a shell, so that FFmpeg can judge it.
 *
 *   media_tool frames FILE             what the demuxer (.ts) or FLV reader (.flv) makes of it
 *   media_tool times FILE              the same behind a timeline
 *   media_tool probe FILE.ts           ts_probe
 *   media_tool segments FILE PREFIX    behind a timeline, as PREFIX0.ts, PREFIX1.ts, ...
 *   media_tool segments FILE -         the same work without writing, to time it
 *
 * A line a frame: kind dts pts duration bytes flags (k key, d discontinuity) Adler-32
 * of the bytes. A line a track: track kind codec size rate fps config. Exit status 1 with a
 * sentence on bad input.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/flv.h"
#include "media/timeline.h"
#include "media/ts/ts_demux.h"
#include "media/ts/ts_mux.h"

enum { READ_BYTES = 64 * 1024, SEGMENT_TICKS = 2 * TICKS_PER_SECOND };
enum { LOOK_AHEAD = 4 * 1024 * 1024 };
enum { MAX_SEGMENT_BYTES = 256 * 1024 * 1024, START = 900000 };

static const char *const kind_name[] = {"video", "audio"};

/* ---- printing ---- */

static void print_track(enum track_kind kind, const struct track *t, void *arg)
{
    char codec[CODEC_STRING_MAX];

    (void)arg;
    track_codec_string(t, codec);
    printf("track %s %s %dx%d %d/%d %.5f ", kind_name[kind], codec[0] ? codec : "none", t->width,
           t->height, t->sample_rate, t->channels, t->fps);
    for (size_t i = 0; i < blob_slice(t->config).n; i++)
        printf("%02x", t->config->p[i]);
    printf("\n");
}

static uint32_t adler(struct slice s)
{
    uint32_t a = 1, b = 0;

    for (size_t i = 0; i < s.n; i++) {
        a = (a + s.p[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void print_frame(const struct frame *f, void *arg)
{
    (void)arg;
    printf("%s %" PRId64 " %" PRId64 " %" PRId64 " %zu %s%s %08x\n", kind_name[f->kind], f->dts,
           f->pts, f->duration, f->data->n, f->key ? "k" : "-", f->discontinuity ? "d" : "",
           adler(blob_slice(f->data)));
}

/* ---- into a timeline ---- */

static void into_track(enum track_kind kind, const struct track *t, void *arg)
{
    timeline_track(arg, kind, t);
}

static void into_frame(const struct frame *f, void *arg)
{
    timeline_frame(arg, f);
}

/* ---- segments ---- */

struct segmenter {
    struct ts_mux *mux;
    struct buf out;
    const char *prefix; /* "-": nowhere */
    struct track track[TRACK_KINDS];
    bool open;
    int number;
    int64_t began;
};

static void segment_close(struct segmenter *s)
{
    char name[4096];
    FILE *f;

    if (!s->open)
        return;
    ts_mux_end(s->mux, &s->out);
    assert(buf_ok(&s->out));
    if (strcmp(s->prefix, "-")) {
        snprintf(name, sizeof(name), "%s%d.ts", s->prefix, s->number);
        f = fopen(name, "wb");
        if (!f || fwrite(s->out.p, 1, s->out.n, f) != s->out.n || fclose(f)) {
            perror(name);
            exit(1);
        }
    }
    s->number++;
    buf_clear(&s->out);
    s->open = false;
}

static void segment_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct segmenter *s = arg;

    if (track_same(&s->track[kind], t))
        return;
    segment_close(s); /* what changes, changes between segments */
    track_cleanup(&s->track[kind]);
    s->track[kind] = track_ref(t);
    ts_mux_track(s->mux, kind, t);
}

/* Looking ahead: which tracks will there be? The first segment should have them all. */
static void foresee_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct segmenter *s = arg;

    if (s->track[kind].codec == CODEC_NONE)
        segment_track(kind, t, arg);
}

static void foresee_frame(const struct frame *f, void *arg)
{
    (void)f;
    (void)arg;
}

static void segment_frame(const struct frame *f, void *arg)
{
    struct segmenter *s = arg;
    bool has_video = s->track[TRACK_VIDEO].codec != CODEC_NONE;
    bool may_cut = has_video ? f->kind == TRACK_VIDEO && f->key : true;

    if (may_cut && (!s->open || f->dts - s->began >= SEGMENT_TICKS || f->discontinuity)) {
        segment_close(s);
        ts_mux_begin(s->mux, &s->out, f->discontinuity);
        s->open = true;
        s->began = f->dts;
    }
    if (s->open)
        ts_mux_frame(s->mux, f, &s->out);
}

/* ---- reading ---- */

struct source {
    const struct frame_sink *sink;
    struct ts_demux *ts;
    struct flv_file *flv;
    int length_size;
    struct err err;
};

static void on_tag(const struct flv_tag *tag, void *arg)
{
    struct source *s = arg;
    struct blob *body = blob_copy(tag->body);
    struct flv_item item;

    if (flv_read(tag->type, body, tag->time_ms, &s->length_size, &item, &s->err) != RC_OK)
        fprintf(stderr, "%s\n", s->err.text);
    else if (item.what == FLV_TRACK)
        s->sink->on_track(item.kind, &item.track, s->sink->arg);
    else if (item.what == FLV_FRAME)
        s->sink->on_frame(&item.frame, s->sink->arg);
    flv_item_cleanup(&item);
    blob_unref(&body);
}

static enum rc feed(struct source *s, struct slice bytes)
{
    return s->flv ? flv_file_feed(s->flv, bytes, on_tag, s, &s->err)
                  : ts_demux_feed(s->ts, bytes, &s->err);
}

static bool is_flv(const char *path)
{
    return slice_has_suffix(slice_str(path), ".flv");
}

static int read_some(const char *path, const struct frame_sink *sink, size_t max_bytes)
{
    static uint8_t bytes[READ_BYTES];
    struct source s = {.sink = sink};
    enum rc rc = RC_OK;
    FILE *f = fopen(path, "rb");

    if (!f) {
        perror(path);
        return 1;
    }
    if (is_flv(path))
        s.flv = flv_file_new();
    else
        s.ts = ts_demux_new(sink);
    for (size_t at = 0, n;
         rc == RC_OK && at < max_bytes && (n = fread(bytes, 1, sizeof(bytes), f)) > 0; at += n)
        rc = feed(&s, slice_of(bytes, n));
    if (s.ts)
        ts_demux_flush(s.ts);
    ts_demux_free(s.ts);
    flv_file_free(s.flv);
    fclose(f);
    if (rc != RC_OK)
        fprintf(stderr, "%s: %s\n", path, s.err.text);
    return rc != RC_OK;
}

static int read_all(const char *path, const struct frame_sink *sink)
{
    return read_some(path, sink, SIZE_MAX);
}

static int read_times(const char *path, const struct frame_sink *sink)
{
    struct timeline_conf conf = {.in_rate = 90000, .in_bits = 33};
    struct timeline_stats stats;

    if (is_flv(path))
        conf = (struct timeline_conf){.in_rate = 1000, .in_bits = 32};
    struct timeline *t = timeline_new(&conf, START, sink);
    struct frame_sink into = {.on_track = into_track, .on_frame = into_frame, .arg = t};
    int status = read_all(path, &into);
    timeline_flush(t);
    timeline_stats_get(t, &stats);
    fprintf(stderr, "wraps %" PRId64 " jumps %" PRId64 " repeats %" PRId64 " late %" PRId64 "\n",
            stats.wraps, stats.jumps, stats.repeats, stats.late_audio_ms_max);
    timeline_free(t);
    return status;
}

static int segments(const char *path, const char *prefix)
{
    struct segmenter s = {.mux = ts_mux_new(), .prefix = prefix};
    struct frame_sink ahead = {.on_track = foresee_track, .on_frame = foresee_frame, .arg = &s};
    struct frame_sink sink = {.on_track = segment_track, .on_frame = segment_frame, .arg = &s};

    buf_init(&s.out, MAX_SEGMENT_BYTES);
    int status = read_some(path, &ahead, LOOK_AHEAD) || read_times(path, &sink);
    segment_close(&s);
    track_cleanup(&s.track[TRACK_VIDEO]);
    track_cleanup(&s.track[TRACK_AUDIO]);
    buf_cleanup(&s.out);
    ts_mux_free(s.mux);
    return status;
}

static int probe(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct ts_probe p;
    struct buf b;
    struct err err;
    size_t n;

    if (!f) {
        perror(path);
        return 1;
    }
    buf_init(&b, MAX_SEGMENT_BYTES);
    do {
        uint8_t *to = buf_reserve(&b, READ_BYTES);
        n = to ? fread(to, 1, READ_BYTES, f) : 0;
        b.n += n;
    } while (n);
    fclose(f);
    enum rc rc = ts_probe(buf_slice(&b), &p, &err);
    if (rc == RC_OK)
        printf("video %d %s %dx%d frames %d keys %d audio %d %d/%d frames %d first %" PRId64
               " duration %" PRId64 "\n",
               p.has_video, p.video_codec[0] ? p.video_codec : "-", p.video.width, p.video.height,
               p.video_frames, p.key_frames, p.has_audio, p.audio.sample_rate, p.audio.channels,
               p.audio_frames, p.first_pts, p.duration);
    else
        fprintf(stderr, "%s: %s\n", path, err.text);
    ts_probe_cleanup(&p);
    buf_cleanup(&b);
    return rc != RC_OK;
}

int main(int argc, char **argv)
{
    const struct frame_sink print = {.on_track = print_track, .on_frame = print_frame};

    if (argc == 3 && !strcmp(argv[1], "frames"))
        return read_all(argv[2], &print);
    if (argc == 3 && !strcmp(argv[1], "times"))
        return read_times(argv[2], &print);
    if (argc == 3 && !strcmp(argv[1], "probe"))
        return probe(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "segments"))
        return segments(argv[2], argv[3]);
    fprintf(stderr, "usage: media_tool frames|times|probe FILE, media_tool segments FILE PREFIX\n");
    return 2;
}
