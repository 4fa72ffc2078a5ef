#include "codec/program/transcode.h"

#include <stdlib.h>
#include <string.h>

#include "codec/program/av_err.h"
#include "codec/program/cadence.h"
#include "codec/program/decoder.h"
#include "codec/program/input.h"

enum { MS = CLOCK_HZ / 1000, DEFAULT_FRAME_90K = CLOCK_HZ / 30 };

struct transcoder {
    struct decoder decoder;
    struct rendition *renditions[MSG_MAX_RENDITIONS];
    size_t n_renditions;
    AVFrame *frame;
};

/* One segment on its way through. */
struct run {
    struct transcoder *t;
    struct input input;
    struct cadence cadence; /* of the frames that are kept */
    int64_t from, to;       /* which frames are kept, in the source's times */
    int64_t shift;          /* taken off each time */
    int64_t last_time;      /* of the frame before, INT64_MIN before the first */
    bool started;
    size_t frames; /* in the segment, by its packets */
    size_t decoded_frames;
    int64_t decoded_pixels;
};

struct transcoder *transcoder_new(void)
{
    struct transcoder *t = xcalloc(1, sizeof(*t));

    t->frame = av_frame_alloc();
    return t;
}

/* Encoders go; the next segment opens new ones. */
static void forget_renditions(struct transcoder *t)
{
    for (size_t i = 0; i < t->n_renditions; i++)
        rendition_free(t->renditions[i]);
    t->n_renditions = 0;
}

void transcoder_free(struct transcoder *t)
{
    if (!t)
        return;
    forget_renditions(t);
    decoder_cleanup(&t->decoder);
    av_frame_free(&t->frame);
    free(t);
}

/* ---- the job ---- */

static const char *encoder_name(enum video_encoder e)
{
    switch (e) {
    case VIDEO_H264:
        return "H.264";
    case VIDEO_H265:
        return "HEVC";
    case VIDEO_VP8:
        return "VP8";
    case VIDEO_VP9:
        return "VP9";
    }
    return "an unknown codec";
}

static enum rc check_profile(const struct profile *p, struct err *err)
{
    if (p->width <= 0 || p->height <= 0)
        return err_set(err, RC_UNSUPPORTED, "TranscoderInvalidResolution: %dx%d for %s", p->width,
                       p->height, p->name);
    if (p->gop_ms < GOP_INTRA)
        return err_set(err, RC_UNSUPPORTED, "TranscoderInvalidGOP: %d ms for %s", p->gop_ms,
                       p->name);
    if (p->encoder != VIDEO_H264)
        return err_set(err, RC_UNSUPPORTED,
                       "Encoder not found: %s asks for %s, only H.264 is made here", p->name,
                       encoder_name(p->encoder));
    return RC_OK;
}

static bool same_profile(const struct profile *a, const struct profile *b)
{
    return a->width == b->width && a->height == b->height && a->bitrate == b->bitrate &&
           a->fps == b->fps && a->fps_den == b->fps_den && a->gop_ms == b->gop_ms &&
           a->container == b->container && a->profile == b->profile && a->encoder == b->encoder &&
           a->quality == b->quality;
}

static enum rc prepare_renditions(struct transcoder *t, const struct msg_job *job, struct err *err)
{
    if (job->reinit) {
        forget_renditions(t);
        decoder_cleanup(&t->decoder);
    }
    while (t->n_renditions > job->n_profiles)
        rendition_free(t->renditions[--t->n_renditions]);
    for (size_t i = 0; i < job->n_profiles; i++) {
        enum rc rc = check_profile(&job->profiles[i], err);
        if (rc != RC_OK)
            return rc;
        if (i < t->n_renditions) {
            if (same_profile(rendition_profile(t->renditions[i]), &job->profiles[i]))
                continue;
            rendition_free(t->renditions[i]);
        }
        t->renditions[i] = rendition_new(&job->profiles[i]);
        t->n_renditions = MAX(t->n_renditions, i + 1);
    }
    return RC_OK;
}

/* MP4 holds frames of audio, and a clip cuts between them; else audio may stay as it is
 * packed. */
static bool needs_audio_frames(const struct msg_job *job)
{
    if (job->clip_from_ms || job->clip_to_ms)
        return true;
    for (size_t i = 0; i < job->n_profiles; i++)
        if (job->profiles[i].container == CONTAINER_MP4)
            return true;
    return false;
}

/* ---- the segment's times, before anything is decoded ---- */

static int64_t packet_time(const AVPacket *p)
{
    return p->pts != AV_NOPTS_VALUE ? p->pts : p->dts;
}

/* VP8 keeps pictures that others refer to, but nobody sees, in packets of their own (RFC 6386
 * 9.1: show_frame). */
static bool is_shown(const AVPacket *p, enum AVCodecID codec)
{
    if (codec == AV_CODEC_ID_VP8 && p->size > 0 && !(p->data[0] & 0x10))
        return false;
    return !(p->flags & AV_PKT_FLAG_DISCARD);
}

/* Times of the packets that become frames; the caller frees them. */
static int64_t *video_times(const struct input *in, size_t *n, bool *has_key)
{
    const struct packets *video = &in->video;
    int64_t *times = xmalloc(MAX(video->n, 1) * sizeof(*times));

    *n = 0;
    *has_key = false;
    for (size_t i = 0; i < video->n; i++) {
        const AVPacket *p = video->at[i];
        *has_key |= (p->flags & AV_PKT_FLAG_KEY) != 0;
        if (is_shown(p, in->video_format->codec_id) && packet_time(p) != AV_NOPTS_VALUE)
            times[(*n)++] = packet_time(p);
    }
    return times;
}

static void set_clip(struct run *run, const struct msg_job *job, int64_t first)
{
    run->from = job->clip_from_ms > 0 ? first + job->clip_from_ms * MS : INT64_MIN;
    run->to = job->clip_to_ms > 0 ? first + job->clip_to_ms * MS : INT64_MAX;
    run->shift = job->clip_from_ms > 0 ? run->from : 0;
}

static size_t keep_clipped(const struct run *run, int64_t *times, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (times[i] >= run->from && times[i] <= run->to)
            times[kept++] = times[i] - run->shift;
    return kept;
}

static enum rc measure(struct run *run, const struct msg_job *job, size_t bytes, struct err *err)
{
    size_t n;
    bool has_key;
    int64_t *times = video_times(&run->input, &n, &has_key);
    struct cadence all = cadence_measure(times, n, DEFAULT_FRAME_90K);
    enum rc rc = RC_OK;

    if (n == 0)
        rc = err_set(err, RC_BAD_INPUT, "TranscoderInvalidVideo: no video frame in %zu bytes",
                     bytes);
    else if (all.end - all.first > (int64_t)MSG_MAX_DURATION_MS * MS)
        rc = err_set(err, RC_BAD_INPUT, "TranscoderInvalidDuration: %lld ms, at most %d are taken",
                     (long long)((all.end - all.first) / MS), (int)MSG_MAX_DURATION_MS);
    else if (!has_key)
        rc = err_set(err, RC_BAD_INPUT, "No keyframes in input: %zu frames, none is a key frame",
                     n);
    if (rc == RC_OK) {
        run->frames = n;
        set_clip(run, job, all.first);
        n = keep_clipped(run, times, n);
        run->cadence = cadence_measure(times, n,
                                       all.frames > 1
                                           ? (all.last - all.first) / (int64_t)(all.frames - 1)
                                           : DEFAULT_FRAME_90K);
        if (n == 0)
            rc = err_set(err, RC_BAD_INPUT,
                         "TranscoderInvalidVideo: no frame between %lld and "
                         "%lld ms",
                         (long long)job->clip_from_ms, (long long)job->clip_to_ms);
    }
    free(times);
    return rc;
}

/* A clip's audio starts with its first picture; without a clip all of it is kept. */
static void clip_audio(struct run *run)
{
    struct packets *audio = &run->input.audio;
    size_t kept = 0;

    for (size_t i = 0; i < audio->n; i++) {
        AVPacket *p = audio->at[i];
        int64_t time = packet_time(p);

        if (time != AV_NOPTS_VALUE && (time < run->from || time > run->to)) {
            av_packet_free(&p);
            continue;
        }
        if (p->pts != AV_NOPTS_VALUE)
            p->pts -= run->shift;
        if (p->dts != AV_NOPTS_VALUE)
            p->dts -= run->shift;
        audio->at[kept++] = p;
    }
    audio->n = kept;
}

/* ---- frames ---- */

/* video.md 12.1: the best guess, else one frame after the last; always later than it. */
static int64_t frame_time(struct run *run, const AVFrame *f)
{
    int64_t time = f->best_effort_timestamp;
    bool is_first = run->last_time == INT64_MIN;

    if (time == AV_NOPTS_VALUE) {
        struct rate rate = cadence_rate(&run->cadence);
        time = is_first ? run->cadence.first + run->shift
                        : run->last_time + (int64_t)CLOCK_HZ * rate.den / rate.num;
    }
    if (!is_first && time <= run->last_time)
        time = run->last_time + 1;
    run->last_time = time;
    return time;
}

static enum rc start_renditions(struct run *run, const AVFrame *first, struct err *err)
{
    for (size_t i = 0; i < run->t->n_renditions; i++) {
        enum rc rc = rendition_start(run->t->renditions[i], &run->cadence, &run->input, first, err);
        if (rc != RC_OK)
            return rc;
    }
    run->started = true;
    return RC_OK;
}

static enum rc on_frame(AVFrame *frame, void *arg, struct err *err)
{
    struct run *run = arg;
    int64_t time = frame_time(run, frame);
    enum rc rc = RC_OK;

    run->decoded_frames++;
    run->decoded_pixels += (int64_t)frame->width * frame->height;
    if (time < run->from || time > run->to)
        return RC_OK;
    if (!run->started)
        rc = start_renditions(run, frame, err);
    for (size_t i = 0; rc == RC_OK && i < run->t->n_renditions; i++)
        rc = rendition_frame(run->t->renditions[i], frame, time - run->shift, err);
    return rc;
}

/* Each packet is freed as soon as it is decoded: a long segment does not stay in memory. */
static enum rc decode_all(struct run *run, struct err *err)
{
    struct packets *video = &run->input.video;
    struct transcoder *t = run->t;

    for (size_t i = 0; i < video->n; i++) {
        enum rc rc = decoder_decode(&t->decoder, video->at[i], t->frame, on_frame, run, err);
        av_packet_free(&video->at[i]);
        if (rc != RC_OK)
            return rc;
    }
    return decoder_decode(&t->decoder, NULL, t->frame, on_frame, run, err);
}

static enum rc finish_renditions(struct run *run, on_rendition give, void *arg, struct err *err)
{
    for (size_t i = 0; i < run->t->n_renditions; i++) {
        struct rendition_result result;
        enum rc rc = rendition_finish(run->t->renditions[i], &result, err);

        if (rc == RC_OK)
            rc = give(i, &result, arg, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc transcode(struct run *run, const struct msg_job *job, struct slice segment,
                         struct err *err)
{
    enum rc rc = prepare_renditions(run->t, job, err);

    if (rc == RC_OK)
        rc = input_open(&run->input, segment, needs_audio_frames(job), err);
    if (rc == RC_OK)
        rc = measure(run, job, segment.n, err);
    if (rc == RC_OK)
        rc = decoder_prepare(&run->t->decoder, run->input.video_format, err);
    if (rc != RC_OK)
        return rc;
    clip_audio(run);
    rc = decode_all(run, err);
    if (rc == RC_OK && run->decoded_frames < run->frames && !decoder_has_memory(&run->t->decoder))
        rc = av_err(err, RC_LIMIT, AVERROR(ENOMEM), "decoding");
    if (rc == RC_OK && !run->started)
        rc = err_set(err, RC_BAD_INPUT, "TranscoderInvalidVideo: none of %zu frames decodes",
                     run->frames);
    return rc;
}

enum rc transcoder_run(struct transcoder *t, const struct msg_job *job, struct slice segment,
                       on_rendition give, void *arg, int64_t *decoded_pixels, struct err *err)
{
    struct run run = {.t = t, .last_time = INT64_MIN};
    enum rc rc = transcode(&run, job, segment, err);

    if (rc == RC_OK)
        rc = finish_renditions(&run, give, arg, err);
    /* what half a segment leaves in decoder and encoders is not carried on */
    if (rc != RC_OK && run.started) {
        forget_renditions(t);
        decoder_cleanup(&t->decoder);
    }
    input_close(&run.input);
    *decoded_pixels = run.decoded_pixels;
    return rc;
}
