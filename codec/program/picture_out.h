/* codec/program/picture_out.h: the test stream's encoders and its FLV on standard output.
 * Ownership: _new/_free. */
#ifndef LEAT_CODEC_PROGRAM_PICTURE_OUT_H
#define LEAT_CODEC_PROGRAM_PICTURE_OUT_H

#include <libavcodec/avcodec.h>

#include "base/err.h"

struct picture_conf {
    int width, height;
    AVRational fps;
    int64_t bitrate;
    double gop_s;
    double duration_s; /* 0: endless */
};

struct picture_out;

struct picture_out *picture_out_new(const struct picture_conf *conf, struct err *err);
void picture_out_free(struct picture_out *o);

/* To draw into; then picture_out_send gives it to the encoder as frame `number`, with the
 * tone up to its time. RC_CLOSED: nobody reads our output any more. */
AVFrame *picture_out_frame(struct picture_out *o, struct err *err);
MUST_CHECK enum rc picture_out_send(struct picture_out *o, int64_t number, struct err *err);

#endif
