/* wire/caps.h: what a node can do and what a job needs, as bit sets.
 * Source: video.md 2.4 and 6; vectors in tests/vectors/capabilities/. Plain value, pure. */
#ifndef LEAT_WIRE_CAPS_H
#define LEAT_WIRE_CAPS_H

#include "base/buf.h"
#include "base/err.h"
#include "media/profile.h"

/* id, name (video.md 6.2). Names stand in refusals: "lacks HEVC decode". */
#define CAP_LIST(X)                                                                                \
    X(CAP_H264, 0, "H.264")                                                                        \
    X(CAP_MPEGTS, 1, "MPEGTS")                                                                     \
    X(CAP_MP4, 2, "MP4")                                                                           \
    X(CAP_FRACTIONAL_FPS, 3, "Fractional framerates")                                              \
    X(CAP_STORAGE_DIRECT, 4, "Storage direct")                                                     \
    X(CAP_STORAGE_S3, 5, "Storage S3")                                                             \
    X(CAP_STORAGE_GCS, 6, "Storage GCS")                                                           \
    X(CAP_PROFILE_BASELINE, 7, "H264 Baseline profile")                                            \
    X(CAP_PROFILE_MAIN, 8, "H264 Main profile")                                                    \
    X(CAP_PROFILE_HIGH, 9, "H264 High profile")                                                    \
    X(CAP_PROFILE_CONSTRAINED_HIGH, 10, "H264 Constrained, Contained High profile")                \
    X(CAP_GOP, 11, "GOP")                                                                          \
    X(CAP_AUTH_TOKEN, 12, "Auth token")                                                            \
    X(CAP_MPEG7_SIGNATURE, 14, "MPEG7 signature")                                                  \
    X(CAP_HEVC_DECODE, 15, "HEVC decode")                                                          \
    X(CAP_HEVC_ENCODE, 16, "HEVC encode")                                                          \
    X(CAP_VP8_DECODE, 17, "VP8 decode")                                                            \
    X(CAP_VP9_DECODE, 18, "VP9 decode")                                                            \
    X(CAP_VP8_ENCODE, 19, "VP8 encode")                                                            \
    X(CAP_VP9_ENCODE, 20, "VP9 encode")                                                            \
    X(CAP_DECODE_444_8, 21, "H264 Decode YUV444 8-bit")                                            \
    X(CAP_DECODE_422_8, 22, "H264 Decode YUV422 8-bit")                                            \
    X(CAP_DECODE_444_10, 23, "H264 Decode YUV444 10-bit")                                          \
    X(CAP_DECODE_422_10, 24, "H264 Decode YUV422 10-bit")                                          \
    X(CAP_DECODE_420_10, 25, "H264 Decode YUV420 10-bit")                                          \
    X(CAP_SEGMENT_SLICING, 26, "Segment slicing")                                                  \
    X(CAP_AV1_DECODE, 63, "AV1 decode") /* leat's own: the network has no number for it */

enum cap {
#define X(id, bit, name) id = bit,
    CAP_LIST(X)
#undef X
};

enum { CAPS_MAX_WORDS = 8, CAPS_MAX_CAPACITIES = 128, CAPS_VERSION_MAX = 128 };

struct caps {
    uint64_t words[CAPS_MAX_WORDS];
    size_t n_words;
    uint64_t mandatories[CAPS_MAX_WORDS];
    size_t n_mandatories;
    struct {
        uint32_t cap, capacity;
    } capacities[CAPS_MAX_CAPACITIES];
    size_t n_capacities;
    char version[CAPS_VERSION_MAX];     /* of the node; empty in a job's need */
    char min_version[CAPS_VERSION_MAX]; /* constraints.minVersion */
    bool has_constraints;               /* an empty Constraints message is sent too */
};

void caps_add(struct caps *c, unsigned id);
bool caps_has(const struct caps *c, unsigned id);

/* What leat's software transcoder was tested to do: advertised by workers, and by an
 * orchestrator with -transcoder. Capacity 1 each. */
void caps_of_software_worker(struct caps *c);
/* Default set of an orchestrator without workers (video.md 6.2). */
void caps_of_orchestrator(struct caps *c);

/* Adds (or takes away) a worker's bits and capacities to an orchestrator's. */
void caps_join(struct caps *total, const struct caps *worker);
void caps_leave(struct caps *total, const struct caps *worker);

/* The codec of a stream's pictures as it comes in. */
enum video_input { INPUT_H264, INPUT_HEVC, INPUT_VP8, INPUT_VP9, INPUT_AV1 };

/* Need of a job (video.md 6.3). pushed: HTTP push asks for segment slicing always. */
struct caps_job {
    bool pushed;
    int chroma_format_idc, bit_depth; /* of H.264; 0, 0: not known (RTMP) */
    enum video_input input;
    const struct profile *profiles;
    size_t n_profiles;
};
void caps_for_job(struct caps *c, const struct caps_job *job);

/* video.md 6.5, rules 1, 2, 4. RC_UNSUPPORTED lists what is missing by
 * name, or the two versions. */
MUST_CHECK enum rc caps_compatible(const struct caps *need, const struct caps *have,
                                   struct err *err);

const char *cap_name(unsigned id); /* "capability 77" is made for unknown ones (static) */

#endif
