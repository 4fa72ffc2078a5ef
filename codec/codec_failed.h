/* codec/codec_failed.h: keeps the segments that a codec died on, for whoever mends it.
 *
 * Files failed-STREAM-SEQ-TIME.ts (.mp4, .flv, .bin) in one folder; when they are more
 * than so many bytes, the oldest go. Nothing else in the folder is touched.
 */
#ifndef LEAT_CODEC_CODEC_FAILED_H
#define LEAT_CODEC_CODEC_FAILED_H

#include "base/blob.h"
#include "net/loop.h"

/* Writes on a helper thread; what goes wrong is logged. */
void codec_failed_keep(struct loop *l, const char *dir, size_t max_bytes, const char *stream,
                       int64_t seq, struct blob *segment);

#endif
