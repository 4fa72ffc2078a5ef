#include "codec/program/encoder.h"

#include <assert.h>
#include <stdlib.h>

#include <libavutil/opt.h>

#include "codec/program/av_err.h"

enum {
    GOP_UNLIMITED = 250,    /* x264's own default */
    MAX_QUALITY = 63,       /* video.md 12.3; larger values are ignored */
    MAX_STEP_90K = CLOCK_HZ /* a longer pause fills the buffer anyway */
};

struct encoder {
    AVCodecContext *ctx;
    int64_t gop_90k;   /* forced key frames this far apart; 0: x264 counts frames */
    int64_t frame_90k; /* a frame's usual length */
    bool at_start;     /* the next frame is the first of its segment */
    bool in_use;       /* has encoded before */
    int64_t last_time; /* of the source's clock */
    int64_t last_key_time;
    int64_t clock; /* the encoder's own clock never jumps and never goes back */
};

static const char *profile_name(enum encoder_profile p)
{
    switch (p) {
    case ENCODER_DEFAULT:
        return NULL;
    case ENCODER_H264_BASELINE:
        return "baseline";
    case ENCODER_H264_MAIN:
        return "main";
    case ENCODER_H264_HIGH:
    case ENCODER_H264_CONSTRAINED_HIGH:
        return "high";
    }
    return NULL;
}

/* With a rate, a GOP is counted in frames, without its denominator, as the network does;
 * as the source, key frames are forced by time. */
static void set_gop(struct encoder *e, const struct profile *p)
{
    e->ctx->gop_size = GOP_UNLIMITED;
    if (p->gop_ms == GOP_INTRA)
        e->ctx->gop_size = 1;
    else if (p->gop_ms > 0 && p->fps > 0)
        e->ctx->gop_size = (int)MIN(MAX((int64_t)p->gop_ms * p->fps / 1000, 1), INT32_MAX);
    else if (p->gop_ms > 0)
        e->gop_90k = (int64_t)p->gop_ms * (CLOCK_HZ / 1000);
}

static void set_rate_control(AVCodecContext *c, const struct profile *p)
{
    if (p->bitrate > 0) {
        c->bit_rate = c->rc_max_rate = c->rc_min_rate = c->rc_buffer_size = p->bitrate;
        /* The first seconds may not spend a whole buffer that nobody has filled yet. */
        c->rc_initial_buffer_occupancy = p->bitrate / 2;
    }
    if (p->quality > 0 && p->quality <= MAX_QUALITY)
        av_opt_set_double(c->priv_data, "crf", p->quality, 0);
}

static void set_picture(AVCodecContext *c, const struct encoder_conf *conf)
{
    const AVFrame *f = conf->looks;

    c->width = conf->size.width;
    c->height = conf->size.height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->sample_aspect_ratio = f->sample_aspect_ratio;
    c->color_range = AVCOL_RANGE_MPEG;
    c->color_primaries = f->color_primaries;
    c->color_trc = f->color_trc;
    c->colorspace = f->colorspace;
    c->chroma_sample_location = f->chroma_location;
    c->time_base = (AVRational){1, CLOCK_HZ};
    c->framerate = (AVRational){(int)conf->rate.num, (int)conf->rate.den};
}

static void set_x264(AVCodecContext *c, const struct encoder_conf *conf)
{
    char fps[48];

    av_opt_set(c->priv_data, "preset", "faster", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
    if (profile_name(conf->profile->profile))
        av_opt_set(c->priv_data, "profile", profile_name(conf->profile->profile), 0);
    /* the clock is 90 kHz, the rate control must not take it for the frame rate */
    snprintf(fps, sizeof(fps), "fps=%u/%u", conf->rate.num, conf->rate.den);
    av_opt_set(c->priv_data, "x264-params", fps, 0);
    if (conf->profile->container == CONTAINER_MP4)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    else
        av_opt_set_int(c->priv_data, "aud", 1, 0);
    c->thread_count = 1;
}

static enum rc open_encoder(struct encoder *e, const struct encoder_conf *conf, struct err *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");

    if (!codec || conf->profile->encoder != VIDEO_H264)
        return err_set(err, RC_UNSUPPORTED, "Encoder not found: only H.264 is made here");
    e->ctx = avcodec_alloc_context3(codec);
    if (!e->ctx)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "encoder");
    set_picture(e->ctx, conf);
    set_gop(e, conf->profile);
    set_rate_control(e->ctx, conf->profile);
    set_x264(e->ctx, conf);
    int r = avcodec_open2(e->ctx, codec, NULL);
    return r < 0 ? av_err(err, RC_LIMIT, r, "opening the encoder") : RC_OK;
}

struct encoder *encoder_new(const struct encoder_conf *conf, struct err *err)
{
    struct encoder *e = xcalloc(1, sizeof(*e));

    assert(conf->rate.num > 0 && conf->rate.den > 0);
    e->frame_90k = MAX(1, (int64_t)conf->rate.den * CLOCK_HZ / conf->rate.num);
    e->at_start = true;
    if (open_encoder(e, conf, err) == RC_OK)
        return e;
    encoder_free(e);
    return NULL;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    avcodec_free_context(&e->ctx);
    free(e);
}

const AVCodecContext *encoder_context(const struct encoder *e)
{
    return e->ctx;
}

void encoder_start_segment(struct encoder *e)
{
    e->at_start = true;
}

/* Between two segments the source's clock may jump; a step that no frame takes is
 * replaced by a usual one. */
static void advance_clock(struct encoder *e, int64_t time)
{
    int64_t step = time - e->last_time;

    if (step <= 0 || (e->at_start && step > MAX_STEP_90K))
        step = e->frame_90k;
    if (e->in_use)
        e->clock += MIN(step, MAX_STEP_90K);
    e->in_use = true;
    e->last_time = time;
}

static bool must_be_key(struct encoder *e, int64_t time)
{
    bool key = e->at_start || (e->gop_90k && time >= e->last_key_time + e->gop_90k);

    if (key)
        e->last_key_time = time;
    return key;
}

enum rc encoder_encode(struct encoder *e, AVFrame *frame, int64_t time_90k, AVPacket *out,
                       struct err *err)
{
    advance_clock(e, time_90k);
    frame->pts = e->clock;
    frame->pict_type = must_be_key(e, time_90k) ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    e->at_start = false;

    int r = avcodec_send_frame(e->ctx, frame);
    if (r >= 0)
        r = avcodec_receive_packet(e->ctx, out);
    if (r < 0)
        return av_err(err, r == AVERROR_EXTERNAL ? RC_LIMIT : RC_INTERNAL, r, "encoding");
    assert(out->pts == e->clock && out->dts == e->clock); /* zero latency, no B-frames */
    out->pts = out->dts = time_90k;
    return RC_OK;
}
