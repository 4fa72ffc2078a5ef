#include "codec/program/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "codec/program/av_err.h"

static bool same_stream(const AVCodecContext *c, const AVCodecParameters *p)
{
    return c->codec_id == p->codec_id && c->extradata_size == p->extradata_size &&
           (p->extradata_size == 0 ||
            !memcmp(c->extradata, p->extradata, (size_t)p->extradata_size));
}

enum rc decoder_prepare(struct decoder *d, const AVCodecParameters *format, struct err *err)
{
    const AVCodec *codec = avcodec_find_decoder(format->codec_id);

    if (d->ctx && same_stream(d->ctx, format))
        return RC_OK;
    decoder_cleanup(d);
    if (!codec)
        return err_set(err, RC_UNSUPPORTED, "Decoder not found: this FFmpeg has none for %s",
                       avcodec_get_name(format->codec_id));
    d->ctx = avcodec_alloc_context3(codec);
    if (!d->ctx || avcodec_parameters_to_context(d->ctx, format) < 0)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "decoder");
    d->ctx->thread_count = 1;
    d->ctx->pkt_timebase = (AVRational){1, 90000};
    /* Where H.264 does not say how far its frames are reordered, assume the most its level
     * allows: guessing from the first frames would lose some of them. */
    if (format->codec_id == AV_CODEC_ID_H264)
        d->ctx->strict_std_compliance = FF_COMPLIANCE_STRICT;
    int r = avcodec_open2(d->ctx, codec, NULL);
    return r < 0 ? av_err(err, RC_BAD_INPUT, r, "TranscoderInvalidVideo: decoder") : RC_OK;
}

void decoder_cleanup(struct decoder *d)
{
    avcodec_free_context(&d->ctx);
}

bool decoder_has_memory(const struct decoder *d)
{
    size_t picture = (size_t)d->ctx->coded_width * (size_t)d->ctx->coded_height * 2;
    void *volatile probe = malloc(2 * picture + 1); /* volatile: else it is optimised away */

    free(probe);
    return probe != NULL;
}

static enum rc receive(struct decoder *d, AVFrame *scratch, decoder_on_frame on_frame, void *arg,
                       struct err *err)
{
    for (;;) {
        int r = avcodec_receive_frame(d->ctx, scratch);

        if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
            return RC_OK;
        if (r == AVERROR(ENOMEM))
            return av_err(err, RC_LIMIT, r, "decoding");
        if (r < 0)
            continue; /* a damaged picture: the next call gives the one after it */
        enum rc rc = on_frame(scratch, arg, err);
        av_frame_unref(scratch);
        if (rc != RC_OK)
            return rc;
    }
}

enum rc decoder_decode(struct decoder *d, const AVPacket *pkt, AVFrame *scratch,
                       decoder_on_frame on_frame, void *arg, struct err *err)
{
    int r = avcodec_send_packet(d->ctx, pkt);

    enum rc rc = receive(d, scratch, on_frame, arg, err);
    if (!pkt)
        avcodec_flush_buffers(d->ctx);
    if (rc == RC_OK && r == AVERROR(ENOMEM))
        rc = av_err(err, RC_LIMIT, r, "decoding");
    return rc;
}
