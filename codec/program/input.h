/* codec/program/input.h: one segment taken apart into packets.
 *
 * Reads MPEG-TS, MP4, Matroska (WebM) or FLV from memory, picks one video and one audio track and
 * keeps their packets in the order of the file. Times are 1/90000 s, unwrapped, else as in the
 * file.
 *
 * Ownership: _open/_close; packets belong to the input.   Source: video.md 12.1.
 */
#ifndef LEAT_CODEC_PROGRAM_INPUT_H
#define LEAT_CODEC_PROGRAM_INPUT_H

#include <libavcodec/avcodec.h>

#include "base/err.h"
#include "base/slice.h"
#include "codec/program/cadence.h"
#include "codec/program/turn.h"

struct packets {
    AVPacket **at;
    size_t n, room;
};

struct input {
    struct packets video, audio;
    AVCodecParameters *video_format; /* the decoder's start; extradata where the file has it */
    AVCodecParameters *audio_format; /* NULL: no audio */
    enum turn turn;                  /* what makes the pictures upright */
};

/* whole_frames_of_audio: each audio packet must be one frame (MP4 output).
 * RC_BAD_INPUT, RC_UNSUPPORTED: err begins with the network's text. */
MUST_CHECK enum rc input_open(struct input *in, struct slice segment, bool whole_frames_of_audio,
                              struct err *err);
void input_close(struct input *in); /* zeroed or half-opened is fine */

#endif
