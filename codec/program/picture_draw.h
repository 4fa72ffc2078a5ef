/* codec/program/picture_draw.h: what the test picture shows.
 *
 * A pattern that moves all over, so that a bitrate is used as by a camera; in the middle
 * the frame number and the wall clock for people; along the top the frame number for
 * programs:
 *
 *   40 blocks over the whole width, each as high as it is wide, white is 1, black is 0:
 *   8 blocks 10110010, then the frame number in 24 bits, highest first, then 8 check bits,
 *   the exclusive or of its three bytes.
 *
 * So in a picture of any size scaled from it, block i is read at x = (i + 0.5) * width / 40
 * and y = width / 80.
 *
 * Ownership: _new/_free.   Drawn by us: no font, no library.
 */
#ifndef LEAT_CODEC_PROGRAM_PICTURE_DRAW_H
#define LEAT_CODEC_PROGRAM_PICTURE_DRAW_H

#include <libavutil/frame.h>

#include "base/base.h"

struct drawing;

struct drawing *drawing_new(int width, int height);
void drawing_free(struct drawing *d);

/* Fills a writable yuv420p frame of the drawing's size. */
void drawing_frame(const struct drawing *d, AVFrame *frame, uint32_t number, int64_t wall_ms);

#endif
