#include <stdio.h>

#include "media/ts/ts_int.h"

/* What people send by mistake, by its first bytes. */
static const struct {
    size_t at;
    const char *magic;
    size_t n;
    const char *name;
} others[] = {
    {0, "FLV\1", 4, "FLV"},
    {4, "ftyp", 4, "MP4"},
    {4, "styp", 4, "MP4"},
    {4, "moof", 4, "MP4"},
    {0, "\x1a\x45\xdf\xa3", 4, "Matroska"},
    {0, "#EXTM3U", 7, "a playlist"},
    {0, "RIFF", 4, "RIFF"},
    {0, "\xff\xd8\xff", 3, "JPEG"},
    {0, "\x89PNG", 4, "PNG"},
    {0, "\0\0\0\1", 4, "H.264 without a container"},
    {0, "\0\0\1\xba", 4, "an MPEG programme stream"},
};

static bool looks_like_text(struct slice s)
{
    for (size_t i = 0; i < MIN(s.n, (size_t)64); i++)
        if ((s.p[i] < 0x20 && !memchr("\t\r\n", s.p[i], 3)) || s.p[i] == 0x7f)
            return false;
    return s.n > 0;
}

void ts_name_other(struct slice bytes, char out[TS_OTHER_MAX])
{
    const char *name = bytes.n ? NULL : "nothing";

    for (size_t i = 0; i < ARRAY_LEN(others) && !name; i++)
        if (slice_eq(slice_sub(bytes, others[i].at, others[i].n),
                     slice_of(others[i].magic, others[i].n)))
            name = others[i].name;
    if (!name && looks_like_text(bytes))
        name = "text";
    if (name)
        snprintf(out, TS_OTHER_MAX, "it is %s", name);
    else
        snprintf(out, TS_OTHER_MAX, "it begins with bytes %02x %02x %02x %02x", bytes.p[0],
                 bytes.n > 1 ? bytes.p[1] : 0, bytes.n > 2 ? bytes.p[2] : 0,
                 bytes.n > 3 ? bytes.p[3] : 0);
}

static void on_track(enum track_kind kind, const struct track *t, void *arg)
{
    struct ts_probe *p = arg;
    struct track *to = kind == TRACK_VIDEO ? &p->video : &p->audio;

    if (t->codec == CODEC_NONE || to->codec != CODEC_NONE)
        return; /* the first is what the segment is announced with */
    *to = track_ref(t);
}

static void on_frame(const struct frame *f, void *arg)
{
    struct ts_probe *p = arg;

    if (f->kind == TRACK_AUDIO) {
        p->audio_frames++;
        return;
    }
    p->video_frames++;
    p->key_frames += f->key;
}

static void name_video(unsigned type, char out[16])
{
    if (type == TS_TYPE_H264)
        snprintf(out, 16, "h264");
    else if (type == TS_TYPE_HEVC)
        snprintf(out, 16, "hevc");
    else
        snprintf(out, 16, "type 0x%02x", type & 0xff);
}

/* From the first time to the last and one frame more: of as many frames as the times span. */
static int64_t duration(const struct ts_seen *seen, int frames, const struct track *t)
{
    int64_t span = ts_time_diff(seen->last_pts, seen->first_pts);

    if (frames > 1 && seen->pes == frames)
        return span + span / (frames - 1);
    return t->fps > 0 ? span + (int64_t)(TICKS_PER_SECOND / t->fps) : span;
}

static void fill_times(struct ts_probe *p, const struct ts_seen *video, const struct ts_seen *audio)
{
    p->first_pts = p->duration = p->first_video_pts = -1;
    if (p->video_frames) {
        p->first_pts = p->first_video_pts = video->first_pts;
        p->duration = duration(video, p->video_frames, &p->video);
    } else if (p->audio_frames) {
        p->first_pts = audio->first_pts;
        p->duration = (int64_t)p->audio_frames * 1024 * TICKS_PER_SECOND / p->audio.sample_rate;
    }
}

static void fill(struct ts_probe *p, const struct ts_demux *d)
{
    const struct ts_seen *video = ts_demux_seen(d, TRACK_VIDEO);
    const struct ts_seen *audio = ts_demux_seen(d, TRACK_AUDIO);

    p->has_video = video->type != 0;
    p->has_audio = audio->type != 0;
    if (p->has_video)
        name_video(video->type, p->video_codec);
    if (p->has_video && video->type != TS_TYPE_H264)
        p->video_frames = video->pes; /* not ours to read: a PES is taken for a picture */
    fill_times(p, video, audio);
}

enum rc ts_probe(struct slice segment, struct ts_probe *out, struct err *err)
{
    struct frame_sink sink = {.on_track = on_track, .on_frame = on_frame, .arg = out};
    struct ts_demux *d = ts_demux_new(&sink);
    char other[TS_OTHER_MAX];

    *out = (struct ts_probe){.first_pts = -1};
    enum rc rc = ts_demux_feed(d, segment, err);
    ts_demux_flush(d);
    if (rc == RC_OK && !ts_demux_is_ts(d)) {
        ts_name_other(segment, other);
        rc = err_set(err, RC_BAD_INPUT, "no MPEG-TS: %s", other);
    }
    fill(out, d);
    ts_demux_free(d);
    return rc;
}

void ts_probe_cleanup(struct ts_probe *p)
{
    track_cleanup(&p->video);
    track_cleanup(&p->audio);
}
