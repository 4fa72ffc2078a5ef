/* codec/program/turn.h: a picture turned upright.
 *
 * Telephones write the picture as the sensor sees it and a matrix beside it that says how to
 * hold it. MPEG-TS has no place for the matrix, so the picture itself is turned.
 *
 * Ownership: init (zeroed) / cleanup on the caller's memory.
 */
#ifndef LEAT_CODEC_PROGRAM_TURN_H
#define LEAT_CODEC_PROGRAM_TURN_H

#include <libavutil/frame.h>

#include "base/err.h"

/* How far to turn, clockwise. */
enum turn { TURN_NONE, TURN_RIGHT, TURN_AROUND, TURN_LEFT };

/* Of FFmpeg's display matrix: the nearest quarter; mirrored pictures stay as they are. */
enum turn turn_of_matrix(const int32_t matrix[9]);

/* Do width and height change places? */
bool turn_is_sideways(enum turn t);

struct turner {
    AVFrame *out;
};

/* `in` (yuv420p, even sides) turned, or `in` itself for TURN_NONE. Valid until the next
 * call. NULL with *err. */
AVFrame *turner_run(struct turner *t, AVFrame *in, enum turn how, struct err *err);
void turner_cleanup(struct turner *t);

#endif
