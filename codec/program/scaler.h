/* codec/program/scaler.h: a decoded picture in a rendition's size, as 8 bit 4:2:0.
 * Ownership: _new/_free.   Source: video.md 12.2 (bicubic, as the network's workers). */
#ifndef LEAT_CODEC_PROGRAM_SCALER_H
#define LEAT_CODEC_PROGRAM_SCALER_H

#include <libavutil/frame.h>

#include "base/err.h"
#include "codec/program/size.h"

struct scaler;

struct scaler *scaler_new(void);
void scaler_free(struct scaler *s);

/* The scaled picture, or `in` itself where nothing is to be done. Valid until the next
 * call; the caller may overwrite its pts and pict_type. NULL with *err. */
AVFrame *scaler_run(struct scaler *s, AVFrame *in, struct size to, struct err *err);

/* Of the pictures made from `in`: its own, only RGB becomes YUV, by BT.709. */
enum AVColorSpace scaler_colorspace(const AVFrame *in);

#endif
