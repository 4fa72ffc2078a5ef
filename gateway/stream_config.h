/* gateway/stream_config.h: the Livepeer-Transcode-Configuration header of a push: the object
 * an auth webhook would answer. Source: video.md 9.3, 9.5. */
#ifndef LEAT_GATEWAY_STREAM_CONFIG_H
#define LEAT_GATEWAY_STREAM_CONFIG_H

#include "base/err.h"
#include "base/slice.h"
#include "gateway/names.h"
#include "media/profile.h"

struct stream_config {
    char manifest_id[STREAM_NAME_MAX + 1]; /* "": the URL decides */
    bool has_profiles;                     /* false: the gateway's own */
    struct profile profiles[MAX_PROFILES]; /* presets first, then profiles */
    size_t n_profiles;                     /* 0 with has_profiles: do not transcode */
};

/* An absent or empty header gives the zero value. */
MUST_CHECK enum rc stream_config_read(struct slice header, struct stream_config *out, struct err *err);

#endif
