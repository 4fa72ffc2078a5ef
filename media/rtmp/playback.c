/* Media to a player: metadata and sequence headers, then frames from a key frame on. Times
 * begin at zero for each player. */
#include <stdlib.h>

#include "media/flv.h"
#include "media/rtmp/rtmp_int.h"

enum { TICKS_PER_MS = TICKS_PER_SECOND / 1000 };

struct playback {
    struct track tracks[TRACK_KINDS];
    bool started[TRACK_KINDS];
    bool has_base;
    int64_t base; /* 90 kHz, the player's zero */
};

struct playback *rtmp_playback_new(void)
{
    return xcalloc(1, sizeof(struct playback));
}

void rtmp_playback_free(struct playback *p)
{
    if (!p)
        return;
    for (int k = 0; k < TRACK_KINDS; k++)
        track_cleanup(&p->tracks[k]);
    free(p);
}

static int64_t to_ms(const struct playback *p, int64_t ticks)
{
    return (ticks - p->base + TICKS_PER_MS / 2) / TICKS_PER_MS;
}

static struct chunk_to media_to(const struct rtmp_session *s, enum track_kind kind,
                                uint32_t time_ms)
{
    return (struct chunk_to){
        .lane = kind == TRACK_AUDIO ? LANE_AUDIO : LANE_VIDEO,
        .type = kind == TRACK_AUDIO ? RTMP_AUDIO : RTMP_VIDEO,
        .time_ms = time_ms,
        .stream_id = s->stream_id,
    };
}

static void send_config(struct rtmp_session *s, enum track_kind kind, uint32_t time_ms)
{
    const struct track *t = &s->playback->tracks[kind];
    const struct chunk_to to = media_to(s, kind, time_ms);
    uint8_t head[5];

    if (t->codec != CODEC_NONE && t->config)
        chunk_write(&s->out, &to, slice_of(head, flv_config_header(kind, head)), t->config);
}

static void put_number(struct buf *b, const char *key, double v)
{
    amf_put_key(b, key);
    amf_put_number(b, v);
}

static void send_metadata(struct rtmp_session *s)
{
    enum { AVC = 7, AAC = 10, MEMBERS_VIDEO = 4, MEMBERS_AUDIO = 4, METADATA_MAX = 1024 };
    const struct track *video = &s->playback->tracks[TRACK_VIDEO];
    const struct track *audio = &s->playback->tracks[TRACK_AUDIO];
    bool has_video = video->codec != CODEC_NONE, has_audio = audio->codec != CODEC_NONE;
    const struct chunk_to to = {.lane = LANE_DATA, .type = RTMP_DATA, .stream_id = s->stream_id};
    struct buf b;

    buf_init(&b, METADATA_MAX);
    amf_put_text(&b, SLICE_LIT("onMetaData"));
    amf_open_map(&b, (has_video ? MEMBERS_VIDEO : 0) + (has_audio ? MEMBERS_AUDIO : 0));
    if (has_video) {
        put_number(&b, "videocodecid", AVC);
        put_number(&b, "width", video->width);
        put_number(&b, "height", video->height);
        put_number(&b, "framerate", video->fps);
    }
    if (has_audio) {
        put_number(&b, "audiocodecid", AAC);
        put_number(&b, "audiosamplerate", audio->sample_rate);
        put_number(&b, "audiochannels", audio->channels);
        amf_put_key(&b, "stereo");
        amf_put_flag(&b, audio->channels > 1);
    }
    amf_close(&b);
    chunk_write(&s->out, &to, buf_slice(&b), NULL);
    buf_cleanup(&b);
}

static bool may_play(const struct rtmp_session *s)
{
    return s->state == RTMP_PLAYING && !s->doom;
}

void rtmp_send_track(struct rtmp_session *s, enum track_kind kind, const struct track *t)
{
    struct playback *p = s->playback;

    if (!may_play(s))
        return;
    track_cleanup(&p->tracks[kind]);
    p->tracks[kind] = track_ref(t);
    p->started[kind] = false;
}

/* May this frame be the first of its track? Video begins with a key frame, audio with the
 * video where there is one. */
static bool can_start(const struct playback *p, const struct frame *f)
{
    if (p->tracks[f->kind].codec == CODEC_NONE)
        return false;
    if (f->kind == TRACK_VIDEO)
        return f->key;
    return p->tracks[TRACK_VIDEO].codec == CODEC_NONE || p->started[TRACK_VIDEO];
}

static void start_track(struct rtmp_session *s, const struct frame *f)
{
    struct playback *p = s->playback;

    if (!p->has_base) {
        p->has_base = true;
        p->base = f->dts;
        send_metadata(s);
    }
    p->started[f->kind] = true;
    send_config(s, f->kind, (uint32_t)MAX(to_ms(p, f->dts), 0));
}

void rtmp_send_frame(struct rtmp_session *s, const struct frame *f)
{
    struct playback *p = s->playback;
    struct chunk_to to;
    int64_t dts_ms;
    uint8_t head[5];
    size_t n;

    if (!may_play(s) || (!p->started[f->kind] && !can_start(p, f)))
        return;
    if (s->host.queued(s->host.arg) > RTMP_VIEWER_BEHIND_BYTES) {
        rtmp_session_doom(s, RC_LIMIT, "the player fell more than 8 MiB behind");
        return;
    }
    if (p->has_base && f->dts < p->base)
        return; /* audio from before the player's first picture */
    if (!p->started[f->kind])
        start_track(s, f);
    dts_ms = to_ms(p, f->dts);
    to = media_to(s, f->kind, (uint32_t)dts_ms);
    n = flv_frame_header(f, (int32_t)(to_ms(p, f->pts) - dts_ms), head);
    chunk_write(&s->out, &to, slice_of(head, n), f->data);
}
