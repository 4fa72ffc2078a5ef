#include "codec/program/input.h"

#include <stdlib.h>
#include <string.h>

#include <libavformat/avformat.h>

#include "codec/program/av_err.h"
#include "codec/program/nal.h"
#include "media/aac.h"

enum { IO_BUFFER_BYTES = 32 * 1024 };

/* Times beyond this are no times (1/90000 s): 2^50 is 400 years. */
static const int64_t MAX_TIME = INT64_C(1) << 50;

static const AVRational clock_90k = {1, CLOCK_HZ};

/* How a segment is read. MPEG-TS as encoders and leat's gateway write it has one picture
 * in each PES packet, so it needs no parser: the cheap way, and the only one where data
 * behind the last slice of a picture stays with that picture. */
enum reading { AS_PACKETIZED, PARSED };

struct source {
    struct slice bytes;
    size_t at;
    AVIOContext *io;
    AVFormatContext *fmt;
    AVStream *video, *audio;
};

/* ---- the file is memory ---- */

static int on_read(void *opaque, uint8_t *p, int n)
{
    struct source *s = opaque;
    size_t have = MIN((size_t)n, s->bytes.n - s->at);

    if (have == 0)
        return AVERROR_EOF;
    memcpy(p, s->bytes.p + s->at, have);
    s->at += have;
    return (int)have;
}

static int64_t on_seek(void *opaque, int64_t offset, int whence)
{
    struct source *s = opaque;

    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return (int64_t)s->bytes.n;
    int64_t base = whence == SEEK_CUR   ? (int64_t)s->at
                   : whence == SEEK_END ? (int64_t)s->bytes.n
                                        : 0;
    if (offset < -base || offset > (int64_t)s->bytes.n - base)
        return AVERROR(EINVAL);
    s->at = (size_t)(base + offset);
    return (int64_t)s->at;
}

/* A container that names other files (MP4 data references) gets none. */
static int on_io_open(AVFormatContext *fmt, AVIOContext **io, const char *url, int flags,
                      AVDictionary **options)
{
    return AVERROR(EACCES);
}

static void source_close(struct source *s)
{
    avformat_close_input(&s->fmt);
    if (s->io)
        av_freep(&s->io->buffer);
    avio_context_free(&s->io);
}

static enum rc source_new(struct source *s, struct slice bytes, struct err *err)
{
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);

    *s = (struct source){.bytes = bytes};
    if (buffer)
        s->io = avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, s, on_read, NULL, on_seek);
    s->fmt = avformat_alloc_context();
    if (s->io && s->fmt)
        return RC_OK;
    if (!s->io)
        av_free(buffer);
    return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "reading the segment");
}

/* The containers by their first bytes; FFmpeg's own guess needs more than a short segment
 * has. NULL: let it guess. */
static const AVInputFormat *container_of(struct slice s)
{
    enum { TS_PACKET = 188 };

    if (s.n >= TS_PACKET && s.p[0] == 0x47 && (s.n == TS_PACKET || s.p[TS_PACKET] == 0x47))
        return av_find_input_format("mpegts");
    if (slice_has_prefix(s, "FLV"))
        return av_find_input_format("flv");
    if (s.n >= 8 && slice_has_prefix(slice_skip(s, 4), "ftyp"))
        return av_find_input_format("mov");
    if (slice_has_prefix(s, "\x1a\x45\xdf\xa3"))
        return av_find_input_format("matroska");
    return NULL;
}

static enum rc source_open(struct source *s, struct slice bytes, enum reading how, struct err *err)
{
    enum rc rc = source_new(s, bytes, err);

    if (rc != RC_OK)
        return rc;
    s->fmt->pb = s->io;
    s->fmt->io_open = on_io_open;
    s->fmt->correct_ts_overflow = 0; /* wraps are undone below, around the first time seen */
    if (how == AS_PACKETIZED)
        s->fmt->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    s->fmt->format_whitelist = av_strdup("mpegts,mov,mp4,flv,matroska");
    int r = avformat_open_input(&s->fmt, "", container_of(bytes), NULL);
    if (r == AVERROR(ENOMEM))
        return av_err(err, RC_LIMIT, r, "reading the segment");
    if (r < 0)
        return err_set(err, RC_BAD_INPUT,
                       "TranscoderInvalidVideo: %zu bytes that are no MPEG-TS, MP4, Matroska or "
                       "FLV",
                       bytes.n);
    return RC_OK;
}

/* ---- packets ---- */

static enum rc packets_add(struct packets *ps, AVPacket **pkt, struct err *err)
{
    if (ps->n == ps->room) {
        ps->room = ps->room ? 2 * ps->room : 256;
        ps->at = xrealloc(ps->at, ps->room * sizeof(*ps->at));
    }
    ps->at[ps->n++] = *pkt;
    *pkt = av_packet_alloc();
    return *pkt ? RC_OK : av_err(err, RC_LIMIT, AVERROR(ENOMEM), "reading the segment");
}

static void packets_free(struct packets *ps)
{
    for (size_t i = 0; i < ps->n; i++)
        av_packet_free(&ps->at[i]);
    free(ps->at);
    *ps = (struct packets){0};
}

/* The value congruent to t (of `bits` bits) that is nearest to `near`. */
static int64_t unwrap(int64_t t, int64_t near, int bits)
{
    int64_t period = INT64_C(1) << bits;

    while (t - near > period / 2)
        t -= period;
    while (near - t > period / 2)
        t += period;
    return t;
}

/* MPEG-TS clocks have 33 bits; `near` is the segment's first time. */
static int64_t ts_clock(int64_t t, int64_t *near)
{
    if (t == AV_NOPTS_VALUE)
        return t;
    if (*near == AV_NOPTS_VALUE)
        *near = t;
    return unwrap(t & ((INT64_C(1) << 33) - 1), *near, 33);
}

static int64_t plausible(int64_t t)
{
    return t > -MAX_TIME && t < MAX_TIME ? t : AV_NOPTS_VALUE;
}

static void set_times(const struct source *s, AVPacket *pkt, int64_t *near)
{
    const AVStream *st = s->fmt->streams[pkt->stream_index];

    if (st->pts_wrap_bits == 33) {
        pkt->pts = ts_clock(pkt->pts, near);
        pkt->dts = ts_clock(pkt->dts, near);
    }
    av_packet_rescale_ts(pkt, st->time_base, clock_90k);
    pkt->pts = plausible(pkt->pts);
    pkt->dts = plausible(pkt->dts);
}

/* FFmpeg cuts PES packets of more than 200 KiB; the later pieces have no time. */
static bool is_continuation(const AVPacket *pkt, const struct packets *to)
{
    return to->n && pkt->pts == AV_NOPTS_VALUE && pkt->dts == AV_NOPTS_VALUE;
}

static enum rc append_to_last(struct packets *ps, AVPacket *pkt, struct err *err)
{
    AVPacket *last = ps->at[ps->n - 1];
    int before = last->size, r = av_grow_packet(last, pkt->size);

    if (r < 0)
        return av_err(err, RC_LIMIT, r, "reading the segment");
    memcpy(last->data + before, pkt->data, (size_t)pkt->size);
    av_packet_unref(pkt);
    return RC_OK;
}

static enum rc read_packets(struct source *s, struct input *in, enum reading how, struct err *err)
{
    AVPacket *pkt = av_packet_alloc();
    enum rc rc = pkt ? RC_OK : av_err(err, RC_LIMIT, AVERROR(ENOMEM), "reading the segment");
    int64_t near = AV_NOPTS_VALUE;

    while (rc == RC_OK) {
        int r = av_read_frame(s->fmt, pkt);
        if (r == AVERROR(ENOMEM))
            rc = av_err(err, RC_LIMIT, r, "reading the segment");
        if (r < 0)
            break; /* the end, or damage: what came before it counts */
        const AVStream *st = s->fmt->streams[pkt->stream_index];
        struct packets *to = st == s->video ? &in->video : st == s->audio ? &in->audio : NULL;
        if (!to || pkt->size == 0) {
            av_packet_unref(pkt);
            continue;
        }
        set_times(s, pkt, &near);
        rc = how == AS_PACKETIZED && is_continuation(pkt, to) ? append_to_last(to, pkt, err)
                                                              : packets_add(to, &pkt, err);
    }
    av_packet_free(&pkt);
    return rc;
}

/* ---- which tracks, and whether the cheap way is right for them ---- */

static AVStream *first_of(const AVFormatContext *fmt, enum AVMediaType type)
{
    for (unsigned i = 0; i < fmt->nb_streams; i++)
        if (fmt->streams[i]->codecpar->codec_type == type)
            return fmt->streams[i];
    return NULL;
}

static AVStream *best_of(AVFormatContext *fmt, enum AVMediaType type)
{
    int i = av_find_best_stream(fmt, type, -1, -1, NULL, 0);

    return i >= 0 ? fmt->streams[i] : NULL;
}

static bool may_stay_packetized(const struct source *s)
{
    return !strcmp(s->fmt->iformat->name, "mpegts") && s->video &&
           s->video->codecpar->codec_id == AV_CODEC_ID_H264 &&
           (!s->audio || s->audio->codecpar->codec_id == AV_CODEC_ID_AAC);
}

static struct slice packet_bytes(const AVPacket *pkt)
{
    return slice_of(pkt->data, (size_t)pkt->size);
}

/* One picture in each packet, each with its time. */
static bool video_is_packetized(struct packets *video)
{
    for (size_t i = 0; i < video->n; i++) {
        AVPacket *pkt = video->at[i];
        struct nal_summary sum = nal_summarize(packet_bytes(pkt));

        if (!sum.annex_b || sum.pictures != 1 || pkt->pts == AV_NOPTS_VALUE)
            return false;
        if (sum.key)
            pkt->flags |= AV_PKT_FLAG_KEY;
    }
    return video->n > 0;
}

/* ADTS frames from each packet's start; whole_frames: one in each. */
static bool audio_is_packetized(const struct packets *audio, AVCodecParameters *format,
                                bool whole_frames)
{
    for (size_t i = 0; i < audio->n; i++) {
        struct slice s = packet_bytes(audio->at[i]);
        struct adts_frame frame;

        if (aac_adts_parse(s, &frame, NULL) != RC_OK || (whole_frames && frame.length != s.n))
            return false;
        format->sample_rate = frame.sample_rate;
        av_channel_layout_default(&format->ch_layout, frame.channels ? frame.channels : 2);
        format->frame_size = AAC_FRAME_SAMPLES;
    }
    return true;
}

static enum turn turn_of(const AVStream *video)
{
    size_t n = 0;
    const uint8_t *matrix = av_stream_get_side_data(video, AV_PKT_DATA_DISPLAYMATRIX, &n);
    int32_t values[9];

    if (!matrix || n < sizeof(values))
        return TURN_NONE;
    memcpy(values, matrix, sizeof(values));
    return turn_of_matrix(values);
}

static enum rc keep_formats(struct input *in, const struct source *s, struct err *err)
{
    in->turn = turn_of(s->video);
    in->video_format = avcodec_parameters_alloc();
    if (!in->video_format || avcodec_parameters_copy(in->video_format, s->video->codecpar) < 0)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "reading the segment");
    if (!s->audio || in->audio.n == 0)
        return RC_OK;
    in->audio_format = avcodec_parameters_alloc();
    if (!in->audio_format || avcodec_parameters_copy(in->audio_format, s->audio->codecpar) < 0)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "reading the segment");
    return RC_OK;
}

/* RC_STALE: read it the other way. */
static enum rc read_packetized(struct input *in, struct source *s, bool whole_frames,
                               struct err *err)
{
    s->video = first_of(s->fmt, AVMEDIA_TYPE_VIDEO);
    s->audio = first_of(s->fmt, AVMEDIA_TYPE_AUDIO);
    if (!may_stay_packetized(s))
        return RC_STALE;
    enum rc rc = read_packets(s, in, AS_PACKETIZED, err);
    if (rc != RC_OK)
        return rc;
    if (!video_is_packetized(&in->video))
        return RC_STALE;
    if (s->audio && !audio_is_packetized(&in->audio, s->audio->codecpar, whole_frames))
        return RC_STALE;
    return keep_formats(in, s, err);
}

static bool is_readable(enum AVCodecID codec)
{
    static const enum AVCodecID readable[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_VP8,
                                              AV_CODEC_ID_VP9, AV_CODEC_ID_AV1};

    for (size_t i = 0; i < ARRAY_LEN(readable); i++)
        if (readable[i] == codec)
            return true;
    return false;
}

static enum rc read_parsed(struct input *in, struct source *s, struct err *err)
{
    int r = avformat_find_stream_info(s->fmt, NULL);

    if (r == AVERROR(ENOMEM))
        return av_err(err, RC_LIMIT, r, "reading the segment");
    s->video = best_of(s->fmt, AVMEDIA_TYPE_VIDEO);
    s->audio = best_of(s->fmt, AVMEDIA_TYPE_AUDIO);
    if (!s->video)
        return err_set(err, RC_BAD_INPUT, "TranscoderInvalidVideo: no video track in %zu bytes",
                       s->bytes.n);
    if (!is_readable(s->video->codecpar->codec_id))
        return err_set(err, RC_UNSUPPORTED,
                       "Unsupported input codec: %s, read are H.264, HEVC, VP8, VP9 and AV1",
                       avcodec_get_name(s->video->codecpar->codec_id));
    enum rc rc = read_packets(s, in, PARSED, err);
    return rc == RC_OK ? keep_formats(in, s, err) : rc;
}

static enum rc read_as(struct input *in, struct slice segment, enum reading how, bool whole_frames,
                       struct err *err)
{
    struct source s;
    enum rc rc = source_open(&s, segment, how, err);

    if (rc == RC_OK)
        rc = how == PARSED ? read_parsed(in, &s, err) : read_packetized(in, &s, whole_frames, err);
    source_close(&s);
    if (rc != RC_OK)
        input_close(in);
    return rc;
}

enum rc input_open(struct input *in, struct slice segment, bool whole_frames_of_audio,
                   struct err *err)
{
    *in = (struct input){0};
    enum rc rc = read_as(in, segment, AS_PACKETIZED, whole_frames_of_audio, err);
    if (rc == RC_STALE)
        rc = read_as(in, segment, PARSED, whole_frames_of_audio, err);
    return rc;
}

void input_close(struct input *in)
{
    packets_free(&in->video);
    packets_free(&in->audio);
    avcodec_parameters_free(&in->video_format);
    avcodec_parameters_free(&in->audio_format);
}
