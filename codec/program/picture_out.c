#include "codec/program/picture_out.h"

#include <math.h>
#include <stdlib.h>

#include <libavformat/avformat.h>
#include <libavutil/opt.h>

#include "codec/program/av_err.h"

enum { SAMPLE_RATE = 48000, AUDIO_BITRATE = 64000 };
enum { TONE_HZ = 440, BEEP_HZ = 1000, BEEP_SAMPLES = SAMPLE_RATE / 10 };

struct stream {
    AVCodecContext *encoder;
    AVStream *track;
    AVFrame *frame;
};

struct picture_out {
    AVFormatContext *fmt;
    AVPacket *packet;
    struct stream video, audio;
    int64_t samples; /* of tone, so far */
};

static enum rc add_stream(struct picture_out *o, struct stream *s, const char *name,
                          struct err *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);

    if (!codec)
        return err_set(err, RC_UNSUPPORTED, "FFmpeg's libraries have no %s", name);
    s->encoder = avcodec_alloc_context3(codec);
    s->track = avformat_new_stream(o->fmt, NULL);
    s->frame = av_frame_alloc();
    if (!s->encoder || !s->track || !s->frame)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "test picture");
    s->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    s->encoder->thread_count = 1;
    return RC_OK;
}

static enum rc start_stream(struct stream *s, struct err *err)
{
    int r = avcodec_open2(s->encoder, NULL, NULL);

    if (r >= 0)
        r = avcodec_parameters_from_context(s->track->codecpar, s->encoder);
    s->track->time_base = s->encoder->time_base;
    if (r >= 0)
        r = av_frame_get_buffer(s->frame, 0);
    return r < 0 ? av_err(err, RC_UNSUPPORTED, r, "test picture's encoder") : RC_OK;
}

static enum rc open_video(struct picture_out *o, const struct picture_conf *conf, struct err *err)
{
    enum rc rc = add_stream(o, &o->video, "libx264", err);

    if (rc != RC_OK)
        return rc;
    AVCodecContext *c = o->video.encoder;
    c->width = o->video.frame->width = conf->width;
    c->height = o->video.frame->height = conf->height;
    c->pix_fmt = o->video.frame->format = AV_PIX_FMT_YUV420P;
    c->time_base = av_inv_q(conf->fps);
    c->framerate = conf->fps;
    c->bit_rate = c->rc_max_rate = c->rc_buffer_size = conf->bitrate;
    c->gop_size = c->keyint_min = (int)fmax(1, lrint(conf->gop_s * av_q2d(conf->fps)));
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set_int(c->priv_data, "sc_threshold", 0, 0);
    return start_stream(&o->video, err);
}

static enum rc open_audio(struct picture_out *o, struct err *err)
{
    enum rc rc = add_stream(o, &o->audio, "aac", err);

    if (rc != RC_OK)
        return rc;
    AVCodecContext *c = o->audio.encoder;
    c->sample_fmt = o->audio.frame->format = AV_SAMPLE_FMT_FLTP;
    c->sample_rate = o->audio.frame->sample_rate = SAMPLE_RATE;
    c->bit_rate = AUDIO_BITRATE;
    c->time_base = (AVRational){1, SAMPLE_RATE};
    av_channel_layout_default(&c->ch_layout, 1);
    av_channel_layout_default(&o->audio.frame->ch_layout, 1);
    o->audio.frame->nb_samples = 1024;
    return start_stream(&o->audio, err);
}

static enum rc open_output(struct picture_out *o, struct err *err)
{
    AVDictionary *options = NULL;
    int r = avio_open(&o->fmt->pb, "pipe:1", AVIO_FLAG_WRITE);

    if (r < 0)
        return av_err(err, RC_IO, r, "standard output");
    o->fmt->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    av_dict_set(&options, "flvflags", "no_duration_filesize", 0);
    r = avformat_write_header(o->fmt, &options);
    av_dict_free(&options);
    return r < 0 ? av_err(err, RC_IO, r, "standard output") : RC_OK;
}

struct picture_out *picture_out_new(const struct picture_conf *conf, struct err *err)
{
    struct picture_out *o = xcalloc(1, sizeof(*o));

    o->packet = av_packet_alloc();
    int r = avformat_alloc_output_context2(&o->fmt, NULL, "flv", NULL);
    if (r < 0 || !o->packet) {
        av_err(err, RC_LIMIT, AVERROR(ENOMEM), "test picture");
        goto fail;
    }
    if (open_video(o, conf, err) == RC_OK && open_audio(o, err) == RC_OK &&
        open_output(o, err) == RC_OK)
        return o;
fail:
    picture_out_free(o);
    return NULL;
}

static void stream_cleanup(struct stream *s)
{
    avcodec_free_context(&s->encoder);
    av_frame_free(&s->frame);
}

void picture_out_free(struct picture_out *o)
{
    if (!o)
        return;
    stream_cleanup(&o->video);
    stream_cleanup(&o->audio);
    if (o->fmt && o->fmt->pb)
        avio_closep(&o->fmt->pb);
    avformat_free_context(o->fmt);
    av_packet_free(&o->packet);
    free(o);
}

static enum rc encode(struct picture_out *o, struct stream *s, struct err *err)
{
    int r = avcodec_send_frame(s->encoder, s->frame);

    while (r >= 0) {
        r = avcodec_receive_packet(s->encoder, o->packet);
        if (r == AVERROR(EAGAIN))
            return RC_OK;
        if (r < 0)
            break;
        o->packet->stream_index = s->track->index;
        av_packet_rescale_ts(o->packet, s->encoder->time_base, s->track->time_base);
        if (av_write_frame(o->fmt, o->packet) < 0 || o->fmt->pb->error < 0)
            return err_set(err, RC_CLOSED, "nobody reads the test picture any more");
        av_packet_unref(o->packet);
    }
    return av_err(err, RC_INTERNAL, r, "test picture");
}

/* 440 Hz, and a beep at each full second. */
static float tone(int64_t sample)
{
    int64_t in_second = sample % SAMPLE_RATE;
    bool beep = in_second < BEEP_SAMPLES;
    double angle = 2 * M_PI * (double)in_second / SAMPLE_RATE * (beep ? BEEP_HZ : TONE_HZ);

    return (float)((beep ? 0.3 : 0.1) * sin(angle));
}

static enum rc send_tone(struct picture_out *o, struct err *err)
{
    AVFrame *f = o->audio.frame;
    int r = av_frame_make_writable(f);

    if (r < 0)
        return av_err(err, RC_LIMIT, r, "test picture");
    /* The encoder dates its first packet earlier by its padding: so that is 0, as the video. */
    f->pts = o->samples + o->audio.encoder->initial_padding;
    for (int i = 0; i < f->nb_samples; i++)
        ((float *)f->data[0])[i] = tone(f->pts + i);
    o->samples += f->nb_samples;
    return encode(o, &o->audio, err);
}

AVFrame *picture_out_frame(struct picture_out *o, struct err *err)
{
    int r = av_frame_make_writable(o->video.frame);

    if (r < 0) {
        av_err(err, RC_LIMIT, r, "test picture");
        return NULL;
    }
    return o->video.frame;
}

enum rc picture_out_send(struct picture_out *o, int64_t number, struct err *err)
{
    AVRational samples = {1, SAMPLE_RATE};
    enum rc rc = RC_OK;

    while (rc == RC_OK &&
           av_compare_ts(o->samples, samples, number, o->video.encoder->time_base) <= 0)
        rc = send_tone(o, err);
    if (rc != RC_OK)
        return rc;
    o->video.frame->pts = number;
    return encode(o, &o->video, err);
}
