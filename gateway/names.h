/* gateway/names.h: stream names and keys out of paths.
 * Source: video.md 9.1, without its defect: "live/" is taken off the front only, so a
 * stream named `live` plays. */
#ifndef LEAT_GATEWAY_NAMES_H
#define LEAT_GATEWAY_NAMES_H

#include "base/err.h"
#include "base/slice.h"

enum { STREAM_NAME_MAX = 128, STREAM_KEY_MAX = 256 };

struct stream_name {
    char name[STREAM_NAME_MAX + 1]; /* manifest id; "" when the path holds none */
    char key[STREAM_KEY_MAX + 1];   /* what follows it; "" when none */
};

/* path: decoded, with or without leading '/'. with_extension: the last element's ".xyz" is
 * dropped (push and playback URLs). RC_BAD_INPUT: "..", control bytes, over-long. */
MUST_CHECK enum rc stream_name_parse(struct slice path, bool with_extension,
                                     struct stream_name *out, struct err *err);

#endif
