/* codec/program/size.h: how large a rendition becomes. Threads: pure.
 *
 * A rendition keeps the source's aspect ratio and orientation. The larger of the two
 * sides asked is its larger side, the other follows; 640x360 of a 4:3 source is 640x480.
 * Source: video.md 12.2.
 */
#ifndef LEAT_CODEC_PROGRAM_SIZE_H
#define LEAT_CODEC_PROGRAM_SIZE_H

#include "base/err.h"

struct size {
    int width, height;
};

/* RC_UNSUPPORTED: the source's shape leads outside what a codec takes. */
MUST_CHECK enum rc size_fit(struct size source, struct size asked, struct size *out,
                            struct err *err);

#endif
