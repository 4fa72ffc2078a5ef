#include "codec/program/muxer.h"

#include <stdlib.h>
#include <string.h>

#include <libavformat/avformat.h>
#include <libavutil/opt.h>

#include "codec/message.h"
#include "codec/program/av_err.h"

enum { IO_BUFFER_BYTES = 32 * 1024 };

/* MPEG-TS, where the clock is filled in. FFmpeg gives the first stream this PID. */
enum {
    TS_PACKET = 188,
    VIDEO_PID = 0x100,
    PCR_STEP = 8100,     /* 90 ms: 13818-1 2.7.2 allows 100 */
    PCR_GAP_MAX = 900000 /* beyond, the source jumped and nothing is filled in */
};

static const AVRational clock_90k = {1, 90000};

struct track {
    AVStream *stream;
    int64_t last_dts;
};

struct muxer {
    AVFormatContext *fmt;
    AVPacket *scratch;
    struct track video, audio;
    bool fills_clock; /* MPEG-TS */
    int64_t frame_step;
    struct buf out;
    size_t at;      /* where the next byte goes */
    size_t read_at; /* of the second pass that moves an MP4's index to the front */
};

/* ---- the file is memory ---- */

static int on_write(void *opaque, uint8_t *p, int n)
{
    struct muxer *m = opaque;
    size_t end = m->at + (size_t)n;

    if (end > m->out.n) {
        if (!buf_reserve(&m->out, end - m->out.n))
            return AVERROR(ENOMEM);
        m->out.n = end;
    }
    memcpy(m->out.p + m->at, p, (size_t)n);
    m->at = end;
    return n;
}

/* Positions beyond the end are refused: no muxer of ours leaves holes. */
static int64_t seek(const struct muxer *m, size_t *at, int64_t offset, int whence)
{
    int64_t base = whence == SEEK_CUR ? (int64_t)*at : whence == SEEK_END ? (int64_t)m->out.n : 0;

    if (whence == AVSEEK_SIZE)
        return (int64_t)m->out.n;
    if (base + offset < 0 || base + offset > (int64_t)m->out.n)
        return AVERROR(EINVAL);
    *at = (size_t)(base + offset);
    return (int64_t)*at;
}

static int64_t on_seek(void *opaque, int64_t offset, int whence)
{
    struct muxer *m = opaque;

    return seek(m, &m->at, offset, whence & ~AVSEEK_FORCE);
}

static int on_read_back(void *opaque, uint8_t *p, int n)
{
    struct muxer *m = opaque;
    size_t have = MIN((size_t)n, m->out.n - m->read_at);

    if (have == 0)
        return AVERROR_EOF;
    memcpy(p, m->out.p + m->read_at, have);
    m->read_at += have;
    return (int)have;
}

static int64_t on_seek_back(void *opaque, int64_t offset, int whence)
{
    struct muxer *m = opaque;

    return seek(m, &m->read_at, offset, whence & ~AVSEEK_FORCE);
}

static AVIOContext *io_new(struct muxer *m, bool writes)
{
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    AVIOContext *io = NULL;

    if (buffer)
        io = avio_alloc_context(buffer, IO_BUFFER_BYTES, writes, m, writes ? NULL : on_read_back,
                                writes ? on_write : NULL, writes ? on_seek : on_seek_back);
    if (!io)
        av_free(buffer);
    return io;
}

static void io_free(AVIOContext *io)
{
    if (!io)
        return;
    av_freep(&io->buffer);
    avio_context_free(&io);
}

/* The MP4 muxer opens its own output for reading when it moves the index. */
static int on_io_open(AVFormatContext *fmt, AVIOContext **io, const char *url, int flags,
                      AVDictionary **options)
{
    struct muxer *m = fmt->opaque;

    if (flags != AVIO_FLAG_READ)
        return AVERROR(EACCES);
    m->read_at = 0;
    *io = io_new(m, false);
    return *io ? 0 : AVERROR(ENOMEM);
}

static int on_io_close(AVFormatContext *fmt, AVIOContext *io)
{
    io_free(io);
    return 0;
}

/* ---- opening ---- */

static enum rc add_track(struct muxer *m, struct track *t, struct err *err)
{
    t->stream = avformat_new_stream(m->fmt, NULL);
    if (!t->stream)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "muxer");
    t->stream->time_base = clock_90k;
    t->last_dts = INT64_MIN;
    return RC_OK;
}

static enum rc add_tracks(struct muxer *m, const struct muxer_conf *conf, struct err *err)
{
    enum rc rc = add_track(m, &m->video, err);

    if (rc != RC_OK)
        return rc;
    int r = avcodec_parameters_from_context(m->video.stream->codecpar, conf->video);
    m->video.stream->avg_frame_rate = conf->video->framerate;
    m->video.stream->sample_aspect_ratio = conf->video->sample_aspect_ratio;
    if (r >= 0 && conf->audio) {
        rc = add_track(m, &m->audio, err);
        if (rc != RC_OK)
            return rc;
        r = avcodec_parameters_copy(m->audio.stream->codecpar, conf->audio);
        m->audio.stream->codecpar->codec_tag = 0; /* the source container's, not this one's */
    }
    return r < 0 ? av_err(err, RC_INTERNAL, r, "muxer tracks") : RC_OK;
}

/* MPEG-TS: times are kept (copyts), no delay is added, tables once a second instead of
 * ten times: a segment is read from its start, where they stand anyway. */
static void set_options(struct muxer *m, enum container c, AVDictionary **o)
{
    m->fmt->avoid_negative_ts = 0; /* disabled: they would be shifted to zero */
    m->fmt->max_delay = 0;
    if (c == CONTAINER_MP4) {
        av_dict_set(o, "movflags", "faststart", 0);
        av_dict_set(o, "video_track_timescale", "90000", 0);
    } else {
        av_dict_set(o, "mpegts_copyts", "1", 0);
        av_dict_set(o, "pat_period", "1", 0);
        av_dict_set(o, "sdt_period", "10", 0);
        av_dict_set(o, "pcr_period", "60", 0);
    }
    av_dict_set(&m->fmt->metadata, "service_provider",
                "Livepeer Transcoder " LEAT_VERSION " (leat)", 0);
    av_dict_set(&m->fmt->metadata, "comment",
                "Processed by Livepeer Transcoder " LEAT_VERSION " (leat)", 0);
}

static enum rc write_header(struct muxer *m, const struct muxer_conf *conf, struct err *err)
{
    AVDictionary *options = NULL;

    set_options(m, conf->container, &options);
    int r = avformat_write_header(m->fmt, &options);
    av_dict_free(&options);
    return r < 0 ? av_err(err, RC_UNSUPPORTED, r, "Invalid argument: container header") : RC_OK;
}

struct muxer *muxer_new(const struct muxer_conf *conf, struct err *err)
{
    struct muxer *m = xcalloc(1, sizeof(*m));
    const char *name = conf->container == CONTAINER_MP4 ? "mp4" : "mpegts";

    buf_init(&m->out, MSG_MAX_SEGMENT);
    m->scratch = av_packet_alloc();
    int r = avformat_alloc_output_context2(&m->fmt, NULL, name, NULL);
    if (r < 0 || !m->scratch || !(m->fmt->pb = io_new(m, true))) {
        av_err(err, RC_LIMIT, r < 0 ? r : AVERROR(ENOMEM), "muxer");
        goto fail;
    }
    m->fills_clock = conf->container == CONTAINER_TS;
    if (conf->video->framerate.num > 0)
        m->frame_step = av_rescale_q(1, av_inv_q(conf->video->framerate), clock_90k);
    m->fmt->opaque = m;
    m->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
    m->fmt->io_open = on_io_open;
    m->fmt->io_close2 = on_io_close;
    if (add_tracks(m, conf, err) != RC_OK || write_header(m, conf, err) != RC_OK)
        goto fail;
    return m;
fail:
    muxer_free(m);
    return NULL;
}

void muxer_free(struct muxer *m)
{
    if (!m)
        return;
    if (m->fmt)
        io_free(m->fmt->pb);
    avformat_free_context(m->fmt);
    av_packet_free(&m->scratch);
    buf_cleanup(&m->out);
    free(m);
}

/* ---- the clock ---- */

/* Of the last video packet; those without payload repeat it. */
static uint8_t video_counter(const struct muxer *m)
{
    for (size_t at = m->at - m->at % TS_PACKET; at >= TS_PACKET; at -= TS_PACKET) {
        const uint8_t *p = m->out.p + at - TS_PACKET;

        if (((p[1] & 0x1f) << 8 | p[2]) == VIDEO_PID)
            return p[3] & 0x0f;
    }
    return 0;
}

static void write_pcr(struct muxer *m, uint8_t counter, int64_t pcr)
{
    uint64_t base = (uint64_t)pcr & 0x1ffffffff;
    uint8_t p[TS_PACKET];

    memset(p, 0xff, sizeof(p));
    p[0] = 0x47;
    p[1] = VIDEO_PID >> 8;
    p[2] = VIDEO_PID & 0xff;
    p[3] = 0x20 | counter; /* adaptation field, no payload */
    p[4] = TS_PACKET - 5;  /* its length */
    p[5] = 0x10;           /* holds a PCR: 33 bits of base, 6 reserved, 9 of extension */
    p[6] = (uint8_t)(base >> 25);
    p[7] = (uint8_t)(base >> 17);
    p[8] = (uint8_t)(base >> 9);
    p[9] = (uint8_t)(base >> 1);
    p[10] = (uint8_t)(base << 7 | 0x7e);
    p[11] = 0;
    avio_write(m->fmt->pb, p, sizeof(p));
}

/* FFmpeg puts the PCR on pictures only, and slow ones leave holes: they are filled up to dts. */
static void fill_clock(struct muxer *m, int64_t dts)
{
    int64_t at = m->video.last_dts;
    uint8_t counter;

    if (!m->fills_clock || at == INT64_MIN || dts - at <= PCR_STEP || dts - at > PCR_GAP_MAX)
        return;
    avio_flush(m->fmt->pb);
    counter = video_counter(m);
    for (at += PCR_STEP; at < dts; at += PCR_STEP)
        write_pcr(m, counter, at);
}

/* ---- writing ---- */

static enum rc put(struct muxer *m, struct track *t, const AVPacket *pkt, struct err *err)
{
    int r = av_packet_ref(m->scratch, pkt);

    if (r < 0)
        return av_err(err, RC_INTERNAL, r, "muxer");
    AVPacket *p = m->scratch;
    p->stream_index = t->stream->index;
    if (p->dts == AV_NOPTS_VALUE)
        p->dts = p->pts;
    if (p->dts != AV_NOPTS_VALUE && p->dts <= t->last_dts) {
        p->dts = t->last_dts + 1;
        p->pts = MAX(p->pts, p->dts);
    }
    if (p->dts != AV_NOPTS_VALUE) {
        if (t == &m->video)
            fill_clock(m, p->dts);
        t->last_dts = p->dts;
    }
    av_packet_rescale_ts(p, clock_90k, t->stream->time_base);
    r = av_write_frame(m->fmt, p);
    av_packet_unref(p);
    return r < 0 ? av_err(err, RC_INTERNAL, r, "muxer") : RC_OK;
}

enum rc muxer_video(struct muxer *m, const AVPacket *pkt, struct err *err)
{
    return put(m, &m->video, pkt, err);
}

enum rc muxer_audio(struct muxer *m, const AVPacket *pkt, struct err *err)
{
    return put(m, &m->audio, pkt, err);
}

enum rc muxer_finish(struct muxer *m, struct slice *media, struct err *err)
{
    int r = av_write_trailer(m->fmt);

    if (r < 0)
        return av_err(err, RC_INTERNAL, r, "container trailer");
    fill_clock(m, m->video.last_dts + m->frame_step); /* where the next segment begins */
    avio_flush(m->fmt->pb);
    *media = buf_slice(&m->out);
    return RC_OK;
}
