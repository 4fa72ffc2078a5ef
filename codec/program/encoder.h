/* codec/program/encoder.h: one rendition's H.264 encoder, open across segments.
 *
 * x264, preset faster, zero latency: each frame gives its packet at once, so nothing is
 * ever held back at the end of a segment and nothing has to be flushed. Kept open, its
 * rate control sees one long stream: the bitrate asked is what all segments together
 * have, and a player's buffer that was full at the start never runs dry.
 *
 * Ownership: _new/_free; frames and packets are the caller's.   Times: 1/90000 s.
 * Source: video.md 12.3, issue of the first node section 4 (bitrate).
 */
#ifndef LEAT_CODEC_PROGRAM_ENCODER_H
#define LEAT_CODEC_PROGRAM_ENCODER_H

#include <libavcodec/avcodec.h>

#include "base/err.h"
#include "codec/program/cadence.h"
#include "codec/program/size.h"
#include "media/profile.h"

struct encoder;

struct encoder_conf {
    const struct profile *profile;
    struct size size;
    struct rate rate;     /* of the frames it will get; for the rate control */
    const AVFrame *looks; /* aspect of a pixel, colour description */
};

struct encoder *encoder_new(const struct encoder_conf *conf, struct err *err);
void encoder_free(struct encoder *e);
const AVCodecContext *encoder_context(const struct encoder *e);

/* A new segment: its first frame becomes an IDR picture, and its clock may be anywhere. */
void encoder_start_segment(struct encoder *e);

/* frame: yuv420p of the encoder's size, its pict_type is overwritten. time_90k grows
 * within a segment. *out is the frame's packet, with time_90k as pts and dts. */
MUST_CHECK enum rc encoder_encode(struct encoder *e, AVFrame *frame, int64_t time_90k,
                                  AVPacket *out, struct err *err);

#endif
