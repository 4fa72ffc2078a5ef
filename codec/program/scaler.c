#include "codec/program/scaler.h"

#include <stdlib.h>

#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "codec/program/av_err.h"

/* What a scaling context was made for. */
struct shape {
    int from_width, from_height, from_format;
    int to_width, to_height;
    bool full_range;
    int colorspace;
};

struct scaler {
    struct SwsContext *sws;
    struct shape made_for;
    AVFrame *out;
};

struct scaler *scaler_new(void)
{
    return xcalloc(1, sizeof(struct scaler));
}

void scaler_free(struct scaler *s)
{
    if (!s)
        return;
    sws_freeContext(s->sws);
    av_frame_free(&s->out);
    free(s);
}

static bool is_full_range(const AVFrame *f)
{
    return f->color_range == AVCOL_RANGE_JPEG || f->format == AV_PIX_FMT_YUVJ420P ||
           f->format == AV_PIX_FMT_YUVJ422P || f->format == AV_PIX_FMT_YUVJ444P;
}

static bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->from_width == b->from_width && a->from_height == b->from_height &&
           a->from_format == b->from_format && a->to_width == b->to_width &&
           a->to_height == b->to_height && a->full_range == b->full_range &&
           a->colorspace == b->colorspace;
}

/* MPEG-2 chroma position for 4:2:0, which swscale does not assume by itself. */
static int chroma_row(int format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);

    return d && d->log2_chroma_h == 1 ? 128 : -513;
}

static void set_options(struct SwsContext *c, const struct shape *k)
{
    av_opt_set_int(c, "srcw", k->from_width, 0);
    av_opt_set_int(c, "srch", k->from_height, 0);
    av_opt_set_int(c, "src_format", k->from_format, 0);
    av_opt_set_int(c, "src_range", k->full_range, 0);
    av_opt_set_int(c, "src_v_chr_pos", chroma_row(k->from_format), 0);
    av_opt_set_int(c, "dstw", k->to_width, 0);
    av_opt_set_int(c, "dsth", k->to_height, 0);
    av_opt_set_int(c, "dst_format", AV_PIX_FMT_YUV420P, 0);
    av_opt_set_int(c, "dst_range", 0, 0);
    av_opt_set_int(c, "dst_v_chr_pos", 128, 0);
    av_opt_set_int(c, "sws_flags", SWS_BICUBIC, 0);
}

static enum rc make_context(struct scaler *s, const struct shape *k, struct err *err)
{
    const int *matrix = sws_getCoefficients(k->colorspace);

    sws_freeContext(s->sws);
    s->sws = sws_alloc_context();
    if (!s->sws)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "scaler");
    set_options(s->sws, k);
    int r = sws_init_context(s->sws, NULL, NULL);
    if (r < 0)
        return av_err(err, RC_UNSUPPORTED, r, "Error initializing filtergraph");
    sws_setColorspaceDetails(s->sws, matrix, k->full_range, matrix, 0, 0, 1 << 16, 1 << 16);
    s->made_for = *k;
    return RC_OK;
}

static enum rc make_frame(struct scaler *s, const struct shape *k, struct err *err)
{
    av_frame_free(&s->out);
    s->out = av_frame_alloc();
    if (!s->out)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "scaler");
    s->out->width = k->to_width;
    s->out->height = k->to_height;
    s->out->format = AV_PIX_FMT_YUV420P;
    int r = av_frame_get_buffer(s->out, 0);
    return r < 0 ? av_err(err, RC_INTERNAL, r, "scaler") : RC_OK;
}

static enum rc prepare(struct scaler *s, const struct shape *k, struct err *err)
{
    if (s->sws && s->out && shape_equal(&s->made_for, k))
        return RC_OK;
    s->made_for = (struct shape){0};
    enum rc rc = make_context(s, k, err);
    return rc == RC_OK ? make_frame(s, k, err) : rc;
}

enum AVColorSpace scaler_colorspace(const AVFrame *in)
{
    return in->colorspace == AVCOL_SPC_RGB ? AVCOL_SPC_BT709 : in->colorspace;
}

AVFrame *scaler_run(struct scaler *s, AVFrame *in, struct size to, struct err *err)
{
    struct shape k = {in->width, in->height,        in->format,           to.width,
                      to.height, is_full_range(in), scaler_colorspace(in)};

    if (in->format == AV_PIX_FMT_YUV420P && !k.full_range && in->width == to.width &&
        in->height == to.height)
        return in;
    if (prepare(s, &k, err) != RC_OK)
        return NULL;
    int r = sws_scale(s->sws, (const uint8_t *const *)in->data, in->linesize, 0, in->height,
                      s->out->data, s->out->linesize);
    if (r < 0) {
        av_err(err, RC_INTERNAL, r, "scaling");
        return NULL;
    }
    return s->out;
}
