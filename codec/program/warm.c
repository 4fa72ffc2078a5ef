#include "codec/program/warm.h"

#include <string.h>

#include "codec/program/encoder.h"
#include "codec/program/muxer.h"
#include "codec/program/transcode.h"

enum { WIDTH = 320, HEIGHT = 180, FRAMES = 3, FRAME_90K = CLOCK_HZ / 30 };

static const struct profile source_profile = {
    .name = "source", .width = WIDTH, .height = HEIGHT, .bitrate = 500000, .fps = 30, .fps_den = 1};

static AVFrame *grey_frame(void)
{
    AVFrame *f = av_frame_alloc();

    f->width = WIDTH;
    f->height = HEIGHT;
    f->format = AV_PIX_FMT_YUV420P;
    if (av_frame_get_buffer(f, 0) < 0) {
        av_frame_free(&f);
        return NULL;
    }
    memset(f->data[0], 128, (size_t)f->linesize[0] * HEIGHT);
    memset(f->data[1], 128, (size_t)f->linesize[1] * HEIGHT / 2);
    memset(f->data[2], 128, (size_t)f->linesize[2] * HEIGHT / 2);
    return f;
}

static enum rc write_frames(struct encoder *e, struct muxer *m, AVFrame *frame, struct err *err)
{
    AVPacket *pkt = av_packet_alloc();
    enum rc rc = RC_OK;

    for (int i = 0; rc == RC_OK && i < FRAMES; i++) {
        rc = encoder_encode(e, frame, (int64_t)i * FRAME_90K, pkt, err);
        if (rc == RC_OK)
            rc = muxer_video(m, pkt, err);
        av_packet_unref(pkt);
    }
    av_packet_free(&pkt);
    return rc;
}

static enum rc drop(size_t index, const struct rendition_result *r, void *arg, struct err *err)
{
    return RC_OK;
}

/* Two renditions, so that the scaler runs too. */
static enum rc transcode(struct slice segment, struct err *err)
{
    struct msg_job job = {.n_profiles = 2, .profiles = {source_profile, source_profile}};
    struct transcoder *t = transcoder_new();
    int64_t pixels;

    job.profiles[1].width = WIDTH / 2;
    job.profiles[1].height = HEIGHT / 2;
    enum rc rc = transcoder_run(t, &job, segment, drop, NULL, &pixels, err);
    transcoder_free(t);
    return rc;
}

enum rc warm_up(struct err *err)
{
    AVFrame *frame = grey_frame();
    struct encoder_conf conf = {&source_profile, {WIDTH, HEIGHT}, {30, 1}, frame};
    struct encoder *e = frame ? encoder_new(&conf, err) : NULL;
    struct muxer *m = NULL;
    struct slice segment;
    enum rc rc = RC_UNSUPPORTED;

    if (e)
        m = muxer_new(&(struct muxer_conf){CONTAINER_TS, encoder_context(e), NULL}, err);
    if (m)
        rc = write_frames(e, m, frame, err);
    if (rc == RC_OK)
        rc = muxer_finish(m, &segment, err);
    if (rc == RC_OK)
        rc = transcode(segment, err);
    muxer_free(m);
    encoder_free(e);
    av_frame_free(&frame);
    return rc;
}
