/* gateway/stream_config.h: what a stream shall be, as its operator's webhook or the header
 * Livepeer-Transcode-Configuration of a push says: the same JSON object.
 *
 * Fields without a meaning here (streamID, sessionID, previousSessions, recordObjectStoreUrl) and
 * unknown ones are not looked at. Stores are refused by name: a stream that its operator wants
 * kept must not look as if it were.
 * Source: video.md 9.3, 9.5.   Ownership: plain value.   Threads: pure.
 */
#ifndef LEAT_GATEWAY_STREAM_CONFIG_H
#define LEAT_GATEWAY_STREAM_CONFIG_H

#include "base/err.h"
#include "base/slice.h"
#include "gateway/names.h"
#include "media/profile.h"

enum { MAX_TIMEOUT_MULTIPLIER = 10 };

struct stream_config {
    bool given;                            /* false: nothing was said, all else is zero */
    char manifest_id[STREAM_NAME_MAX + 1]; /* "": the URL decides */
    char stream_key[STREAM_KEY_MAX + 1];   /* RTMP; "": the URL's */
    bool has_profiles;                     /* false: the gateway's own */
    struct profile profiles[MAX_PROFILES]; /* presets first, then profiles */
    size_t n_presets, n_profiles;          /* 0 profiles with has_profiles: do not transcode */
    char unknown_preset[64];               /* the first one that was skipped, printable */
    uint32_t timeout_multiplier;           /* 0: not given; of a header only */
    bool reinit;                           /* encoders start anew; of a header only */
    uint32_t verification_freq;            /* asked for, not done yet */
};

/* An absent or empty text gives the zero value. Errors name field, value and expectation. */
MUST_CHECK enum rc stream_config_read(struct slice text, struct stream_config *out,
                                      struct err *err);

/* config: the header's, becomes what holds. A header replaces the webhook's object as a whole, but
 * where both were given their lists "profiles" must be equal: RC_DENIED. */
MUST_CHECK enum rc stream_config_merge(struct stream_config *config,
                                       const struct stream_config *webhook, struct err *err);

#endif
