/* wire/profiles.h: video profiles by preset name and from JSON.
 * Source: video.md 5.   Threads: pure. */
#ifndef LEAT_WIRE_PROFILES_H
#define LEAT_WIRE_PROFILES_H

#include "base/err.h"
#include "base/json.h"
#include "media/profile.h"

enum { PROFILE_MAX_SIDE = 16384 }; /* pixels */

/* False for an unknown name. P144p25fps16x9 exists but is not selectable, as in the reference. */
bool profile_preset(struct slice name, struct profile *out);

/* The i-th selectable name; NULL behind the last. */
const char *profile_preset_name(size_t i);

/* -transcodingOptions: a JSON array, a readable file with one, or preset names separated by
 * commas (unknown and repeated ones are skipped and listed in *skipped, which the caller frees;
 * skipped may be NULL).
 * RC_BAD_INPUT: `No transcoding profiles found` or the JSON's fault by index and field. */
MUST_CHECK enum rc profiles_from_option(const char *value, struct profile out[MAX_PROFILES],
                                        size_t *n, char **skipped, struct err *err);

/* Fields and defaults of video.md 5.2. Two renditions of one name are refused, and one that is
 * called "source": they would be one URL. */
MUST_CHECK enum rc profiles_from_json(json_t *array, struct profile out[MAX_PROFILES], size_t *n,
                                      struct err *err);

/* A name becomes a part of URLs and of multipart headers. RC_BAD_INPUT: it cannot. */
MUST_CHECK enum rc profile_name_check(const char *name, struct err *err);

/* "video/mp2t", ".ts" */
const char *container_mime(enum container c);
const char *container_ext(enum container c);

#endif
