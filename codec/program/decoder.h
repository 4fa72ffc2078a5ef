/* codec/program/decoder.h: the decoder of one session, for whichever codec comes.
 *
 * Frames come in the order they are shown. Segments are closed: at the end of each the
 * decoder is emptied, and knows the stream's parameters still when the next one comes.
 *
 * Ownership: init (zeroed) / cleanup on the caller's memory.
 */
#ifndef LEAT_CODEC_PROGRAM_DECODER_H
#define LEAT_CODEC_PROGRAM_DECODER_H

#include <libavcodec/avcodec.h>

#include "base/err.h"

struct decoder {
    AVCodecContext *ctx;
};

/* Opens, or reopens where the codec or the container's parameter sets are others. */
MUST_CHECK enum rc decoder_prepare(struct decoder *d, const AVCodecParameters *format,
                                   struct err *err);
void decoder_cleanup(struct decoder *d);

/* Is there memory for a few more pictures of the stream? Where there is none, FFmpeg drops
 * pictures as if they were damaged, and goes on. */
bool decoder_has_memory(const struct decoder *d);

/* Decodes the packet (NULL: the segment's end, gives what is left) and calls on_frame for
 * each frame; the frame is the callback's to ref. Damaged packets are skipped: only memory
 * that ran out and the callback's own failure are errors. */
typedef enum rc (*decoder_on_frame)(AVFrame *frame, void *arg, struct err *err);
MUST_CHECK enum rc decoder_decode(struct decoder *d, const AVPacket *pkt, AVFrame *scratch,
                                  decoder_on_frame on_frame, void *arg, struct err *err);

#endif
