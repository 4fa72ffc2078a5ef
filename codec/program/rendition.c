#include "codec/program/rendition.h"

#include <assert.h>
#include <stdlib.h>

#include "codec/program/av_err.h"
#include "codec/program/encoder.h"
#include "codec/program/muxer.h"
#include "codec/program/scaler.h"
#include "codec/program/size.h"
#include "codec/program/turn.h"

enum { MAX_REPEATS = 25 }; /* encoded frames for each decoded one; video.md 12.1 */

struct rendition {
    struct profile profile;
    struct rate asked;
    struct scaler *scaler;
    struct turner turner;
    AVPacket *packet;

    /* across segments */
    struct encoder *encoder;
    struct size size;
    AVRational pixel_aspect;

    /* of this segment */
    const struct cadence *cadence;
    const struct input *input;
    size_t audio_at; /* the next audio packet to write */
    struct muxer *muxer;
    bool one_to_one;
    AVFrame *held; /* on the grid a frame is shown until the next one's tick */
    int64_t held_tick;
    int frames;
};

struct rendition *rendition_new(const struct profile *p)
{
    struct rendition *r = xcalloc(1, sizeof(*r));

    r->profile = *p;
    r->asked = (struct rate){p->fps, MAX(p->fps_den, 1)};
    r->scaler = scaler_new();
    r->packet = av_packet_alloc();
    r->held = av_frame_alloc();
    return r;
}

void rendition_free(struct rendition *r)
{
    if (!r)
        return;
    muxer_free(r->muxer);
    encoder_free(r->encoder);
    scaler_free(r->scaler);
    turner_cleanup(&r->turner);
    av_packet_free(&r->packet);
    av_frame_free(&r->held);
    free(r);
}

const struct profile *rendition_profile(const struct rendition *r)
{
    return &r->profile;
}

/* ---- a segment's start ---- */

static struct size turned(struct size s, enum turn t)
{
    return turn_is_sideways(t) ? (struct size){s.height, s.width} : s;
}

/* Pixels are mostly square. Where the source's are not, ours make the same picture. */
static AVRational pixel_aspect(const AVFrame *f, struct size made, enum turn t)
{
    struct size to = turned(made, t);
    AVRational sar = f->sample_aspect_ratio;

    if (sar.num <= 0 || sar.den <= 0 || sar.num == sar.den)
        return (AVRational){0, 1};
    av_reduce(&sar.num, &sar.den, (int64_t)sar.num * to.height * f->width,
              (int64_t)sar.den * to.width * f->height, 1 << 16);
    return turn_is_sideways(t) ? av_inv_q(sar) : sar;
}

static enum rc open_encoder(struct rendition *r, const AVFrame *first, struct err *err)
{
    AVFrame looks = *first; /* the scalar fields are read, nothing is referenced */
    struct encoder_conf conf = {&r->profile, r->size, r->asked, &looks};

    looks.sample_aspect_ratio = r->pixel_aspect;
    looks.colorspace = scaler_colorspace(first);
    if (conf.rate.num == 0)
        conf.rate = cadence_rate(r->cadence);
    encoder_free(r->encoder);
    r->encoder = encoder_new(&conf, err);
    return r->encoder ? RC_OK : err->code;
}

/* Keeps the encoder unless the source's shape changed. */
static enum rc prepare_encoder(struct rendition *r, const AVFrame *first, struct err *err)
{
    struct size source = {first->width, first->height}, size;
    struct size asked = {r->profile.width, r->profile.height};
    enum rc rc = size_fit(turned(source, r->input->turn), asked, &size, err);

    if (rc != RC_OK)
        return rc;
    AVRational aspect = pixel_aspect(first, size, r->input->turn);
    if (r->encoder && size.width == r->size.width && size.height == r->size.height &&
        !av_cmp_q(aspect, r->pixel_aspect)) {
        encoder_start_segment(r->encoder);
        return RC_OK;
    }
    r->size = size;
    r->pixel_aspect = aspect;
    return open_encoder(r, first, err);
}

static enum rc open_muxer(struct rendition *r, struct err *err)
{
    struct muxer_conf conf = {r->profile.container, encoder_context(r->encoder),
                              r->input->audio_format};

    muxer_free(r->muxer);
    r->muxer = muxer_new(&conf, err);
    return r->muxer ? RC_OK : err->code;
}

enum rc rendition_start(struct rendition *r, const struct cadence *cadence,
                        const struct input *input, const AVFrame *first, struct err *err)
{
    r->cadence = cadence;
    r->input = input;
    r->audio_at = 0;
    r->frames = 0;
    r->held_tick = 0;
    r->one_to_one = cadence_passes(cadence, r->asked);
    av_frame_unref(r->held);

    enum rc rc = prepare_encoder(r, first, err);
    return rc == RC_OK ? open_muxer(r, err) : rc;
}

/* ---- frames ---- */

/* Audio goes into the file in front of the first picture that is later than it. */
static enum rc write_audio_until(struct rendition *r, int64_t time, struct err *err)
{
    const struct packets *audio = &r->input->audio;

    for (; r->audio_at < audio->n; r->audio_at++) {
        const AVPacket *pkt = audio->at[r->audio_at];
        int64_t dts = pkt->dts != AV_NOPTS_VALUE ? pkt->dts : pkt->pts;

        if (dts != AV_NOPTS_VALUE && dts > time)
            break;
        enum rc rc = muxer_audio(r->muxer, pkt, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* In the rendition's size and upright; NULL with *err. */
static AVFrame *shape(struct rendition *r, AVFrame *frame, struct err *err)
{
    AVFrame *scaled = scaler_run(r->scaler, frame, turned(r->size, r->input->turn), err);

    return scaled ? turner_run(&r->turner, scaled, r->input->turn, err) : NULL;
}

static enum rc encode(struct rendition *r, AVFrame *scaled, int64_t time, struct err *err)
{
    enum rc rc = encoder_encode(r->encoder, scaled, time, r->packet, err);

    if (rc == RC_OK)
        rc = write_audio_until(r, time, err);
    if (rc == RC_OK)
        rc = muxer_video(r->muxer, r->packet, err);
    av_packet_unref(r->packet);
    r->frames++;
    return rc;
}

/* Shows the held frame from its tick up to `until`: not at all, once or several times. */
static enum rc show_held(struct rendition *r, int64_t until, struct err *err)
{
    if (!r->held->buf[0] || until <= r->held_tick)
        return RC_OK;
    if ((uint64_t)(r->frames + until - r->held_tick) > (uint64_t)MAX_REPEATS * r->cadence->frames)
        return err_set(err, RC_UNSUPPORTED, "Encoded frames runaway: more than %d for each of %zu",
                       (int)MAX_REPEATS, r->cadence->frames);
    AVFrame *scaled = shape(r, r->held, err);
    enum rc rc = scaled ? RC_OK : err->code;
    while (rc == RC_OK && r->held_tick < until)
        rc = encode(r, scaled, grid_time_of(r->cadence, r->asked, r->held_tick++), err);
    return rc;
}

static enum rc hold(struct rendition *r, AVFrame *frame, int64_t time, struct err *err)
{
    int64_t tick = grid_tick_of(r->cadence, r->asked, time);
    enum rc rc = show_held(r, tick, err);

    if (rc != RC_OK)
        return rc;
    av_frame_unref(r->held);
    int e = av_frame_ref(r->held, frame);
    r->held_tick = MAX(tick, r->held_tick);
    return e < 0 ? av_err(err, RC_LIMIT, e, "holding a frame") : RC_OK;
}

enum rc rendition_frame(struct rendition *r, AVFrame *frame, int64_t time, struct err *err)
{
    if (!r->one_to_one)
        return hold(r, frame, time, err);
    AVFrame *scaled = shape(r, frame, err);
    if (!scaled)
        return err->code;
    return encode(r, scaled, time, err);
}

enum rc rendition_finish(struct rendition *r, struct rendition_result *out, struct err *err)
{
    enum rc rc = r->one_to_one ? RC_OK : show_held(r, grid_ticks(r->cadence, r->asked), err);

    av_frame_unref(r->held);
    if (rc == RC_OK)
        rc = write_audio_until(r, INT64_MAX, err);
    if (rc == RC_OK)
        rc = muxer_finish(r->muxer, &out->media, err);
    out->width = r->size.width;
    out->height = r->size.height;
    out->frames = r->frames;
    out->pixels = (int64_t)r->frames * r->size.width * r->size.height;
    return rc;
}
