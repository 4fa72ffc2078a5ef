/* codec/program/transcode.h: one session's segments, each decoded once for all renditions.
 *
 * Knows no socket and no sandbox: bytes in, bytes out. What is kept from segment to
 * segment is the decoder and, for each rendition, the encoder.
 *
 * Ownership: _new/_free.   Source: video.md 12.
 */
#ifndef LEAT_CODEC_PROGRAM_TRANSCODE_H
#define LEAT_CODEC_PROGRAM_TRANSCODE_H

#include "base/err.h"
#include "base/slice.h"
#include "codec/message.h"
#include "codec/program/rendition.h"

struct transcoder;

struct transcoder *transcoder_new(void);
void transcoder_free(struct transcoder *t);

/* Called for each rendition as soon as it is complete, in the order of the profiles. */
typedef enum rc (*on_rendition)(size_t index, const struct rendition_result *r, void *arg,
                                struct err *err);

/* err (not NULL) begins with the network's error text (video.md 4.5) and ": " where there
 * is one. *decoded_pixels is set in any case. */
MUST_CHECK enum rc transcoder_run(struct transcoder *t, const struct msg_job *job,
                                  struct slice segment, on_rendition give, void *arg,
                                  int64_t *decoded_pixels, struct err *err);

#endif
