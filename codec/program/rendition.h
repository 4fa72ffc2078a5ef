/* codec/program/rendition.h: one output of a session, segment by segment.
 *
 * Scaler, encoder and muxer in a row, and the decision which frame is shown when. The
 * encoder stays open from segment to segment; the muxer is one segment's.
 *
 * Ownership: _new/_free; frames and packets are borrowed.   Times: 1/90000 s.
 */
#ifndef LEAT_CODEC_PROGRAM_RENDITION_H
#define LEAT_CODEC_PROGRAM_RENDITION_H

#include "base/err.h"
#include "base/slice.h"
#include "codec/program/cadence.h"
#include "codec/program/input.h"
#include "media/profile.h"

struct rendition;

struct rendition *rendition_new(const struct profile *p);
void rendition_free(struct rendition *r);
const struct profile *rendition_profile(const struct rendition *r);

/* Begins a segment. `cadence` and `input` stay valid until rendition_finish; `first` (the
 * first frame) decides the size of the whole segment. */
MUST_CHECK enum rc rendition_start(struct rendition *r, const struct cadence *cadence,
                                   const struct input *input, const AVFrame *first,
                                   struct err *err);

/* The next frame; `time` grows from call to call. */
MUST_CHECK enum rc rendition_frame(struct rendition *r, AVFrame *frame, int64_t time,
                                   struct err *err);

struct rendition_result {
    struct slice media; /* valid until the next start or free */
    int width, height, frames;
    int64_t pixels;
};
MUST_CHECK enum rc rendition_finish(struct rendition *r, struct rendition_result *out,
                                    struct err *err);

#endif
