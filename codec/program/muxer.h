/* codec/program/muxer.h: one rendition's container, written to memory.
 *
 * Video is stream 0, audio stream 1 (a copy). Times are in 1/90000 s and come out as
 * they went in. MPEG-TS with a PCR at least each 100 ms, or MP4 with its index in front.
 *
 * Ownership: _new/_free; the result belongs to the caller.   Source: video.md 12.4.
 */
#ifndef LEAT_CODEC_PROGRAM_MUXER_H
#define LEAT_CODEC_PROGRAM_MUXER_H

#include <libavcodec/avcodec.h>

#include "base/buf.h"
#include "base/err.h"
#include "media/profile.h"

struct muxer;

struct muxer_conf {
    enum container container;
    const AVCodecContext *video;    /* borrowed for the call: the encoder */
    const AVCodecParameters *audio; /* borrowed for the call; NULL: no audio */
};

struct muxer *muxer_new(const struct muxer_conf *conf, struct err *err);
void muxer_free(struct muxer *m);

/* The packet is left as it was. Decoding times that do not grow are moved by one. */
MUST_CHECK enum rc muxer_video(struct muxer *m, const AVPacket *pkt, struct err *err);
MUST_CHECK enum rc muxer_audio(struct muxer *m, const AVPacket *pkt, struct err *err);

/* Completes the file; the bytes stay in the muxer until muxer_free. */
MUST_CHECK enum rc muxer_finish(struct muxer *m, struct slice *media, struct err *err);

#endif
