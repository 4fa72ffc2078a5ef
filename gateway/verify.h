/* gateway/verify.h: does a rendition belong to its source segment?
 *
 * Checked on every result, cheaply: it is MPEG-TS with decodable-looking video, begins
 * with a key frame at the source's first picture (within one frame) and lasts as long
 * (within one frame, delivery.md b.8). Pixel counts against an own decode are a later
 * policy. Threads: pure.
 */
#ifndef LEAT_GATEWAY_VERIFY_H
#define LEAT_GATEWAY_VERIFY_H

#include "base/err.h"
#include "gateway/segment.h"

struct verified {
    struct track video, audio; /* for the playlist; cleaned up by the caller */
    double fps;
};

/* RC_BAD_INPUT: the two figures that differ. */
MUST_CHECK enum rc verify_rendition(const struct segment *source, struct slice rendition,
                                    struct verified *out, struct err *err);

#endif
