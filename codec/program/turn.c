#include "codec/program/turn.h"

#include <math.h>

#include <libavutil/display.h>

#include "codec/program/av_err.h"

enum turn turn_of_matrix(const int32_t matrix[9])
{
    int64_t determinant = (int64_t)matrix[0] * matrix[4] / 65536 -
                          (int64_t)matrix[1] * matrix[3] / 65536;
    double degrees = av_display_rotation_get(matrix); /* against the clock */

    if (determinant <= 0 || isnan(degrees))
        return TURN_NONE;
    return (enum turn)((4 - lrint(degrees / 90)) % 4);
}

bool turn_is_sideways(enum turn t)
{
    return t == TURN_RIGHT || t == TURN_LEFT;
}

/* Where a turned plane's pixel comes from: start, and steps to the right and downwards. */
struct walk {
    const uint8_t *from;
    ptrdiff_t right, down;
};

static struct walk walk_of(const uint8_t *p, ptrdiff_t stride, int width, int height, enum turn how)
{
    const uint8_t *last_row = p + stride * (height - 1);

    switch (how) {
    case TURN_NONE:
        break;
    case TURN_RIGHT:
        return (struct walk){last_row, -stride, 1};
    case TURN_AROUND:
        return (struct walk){last_row + width - 1, -1, -stride};
    case TURN_LEFT:
        return (struct walk){p + width - 1, stride, -1};
    }
    return (struct walk){p, 1, stride};
}

static void turn_plane(AVFrame *out, const AVFrame *in, int plane, enum turn how)
{
    int shift = plane ? 1 : 0, width = in->width >> shift, height = in->height >> shift;
    int out_width = out->width >> shift, out_height = out->height >> shift;
    struct walk w = walk_of(in->data[plane], in->linesize[plane], width, height, how);

    for (int y = 0; y < out_height; y++) {
        uint8_t *to = out->data[plane] + (ptrdiff_t)y * out->linesize[plane];
        for (int x = 0; x < out_width; x++)
            to[x] = w.from[y * w.down + x * w.right];
    }
}

static enum rc prepare(struct turner *t, int width, int height, struct err *err)
{
    if (t->out && t->out->width == width && t->out->height == height)
        return RC_OK;
    turner_cleanup(t);
    t->out = av_frame_alloc();
    if (!t->out)
        return av_err(err, RC_LIMIT, AVERROR(ENOMEM), "turning");
    t->out->width = width;
    t->out->height = height;
    t->out->format = AV_PIX_FMT_YUV420P;
    int r = av_frame_get_buffer(t->out, 0);
    if (r >= 0)
        return RC_OK;
    turner_cleanup(t);
    return av_err(err, RC_LIMIT, r, "turning");
}

AVFrame *turner_run(struct turner *t, AVFrame *in, enum turn how, struct err *err)
{
    bool sideways = turn_is_sideways(how);

    if (how == TURN_NONE)
        return in;
    if (prepare(t, sideways ? in->height : in->width, sideways ? in->width : in->height, err) !=
        RC_OK)
        return NULL;
    for (int plane = 0; plane < 3; plane++)
        turn_plane(t->out, in, plane, how);
    return t->out;
}

void turner_cleanup(struct turner *t)
{
    av_frame_free(&t->out);
}
