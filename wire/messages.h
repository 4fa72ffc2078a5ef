/* wire/messages.h: the network's protobuf messages as plain values.
 *
 * Each has _encode (appends to a buf) and _decode (RC_BAD_INPUT names the field and the
 * limit). Variable-length parts point into an arena given to _decode, or are borrowed
 * from the caller for _encode. Generated protobuf-c code stays inside wire/.
 * Source: video.md 2, vectors in tests/vectors/offchain/ and capabilities/.
 */
#ifndef LEAT_WIRE_MESSAGES_H
#define LEAT_WIRE_MESSAGES_H

#include "base/arena.h"
#include "base/keccak.h"
#include "wire/caps.h"

enum {
    ADDRESS_BYTES = 20,
    AUTH_TOKEN_MAX = 128,
    SESSION_ID_MAX = 64,
    MAX_URI = 2048,
    MAX_NODES = 32,
    AUTH_TOKEN_LIFE_S = 1800,
    AUTH_TOKEN_REFRESH_S = 180
};

struct auth_token {
    uint8_t token[AUTH_TOKEN_MAX];
    size_t token_n;
    char session_id[SESSION_ID_MAX + 1];
    int64_t expiration; /* Unix seconds */
};

struct orchestrator_request {
    uint8_t address[ADDRESS_BYTES]; /* zeros off-chain */
    struct slice sig;               /* empty off-chain */
    bool has_caps;
    struct caps caps;
    bool ignore_capacity_check;
};

struct orchestrator_info {
    const char *transcoder;         /* base URI; never NULL, may be "" */
    uint8_t address[ADDRESS_BYTES]; /* always sent, zeros off-chain (7.4 quirk) */
    bool has_caps;
    struct caps caps;
    bool has_token;
    struct auth_token token;
    const char *nodes[MAX_NODES];
    size_t n_nodes;
    struct slice ticket_params; /* serialised, opaque here; empty off-chain */
    struct slice price_info;
};

struct seg_data {
    struct slice manifest_id;
    int64_t seq;
    struct hash hash;
    struct slice sig;
    int32_t duration_ms; /* as on the wire; 0 means 2000 */
    bool has_caps;
    struct caps caps;
    bool has_token;
    struct auth_token token;
    bool calc_perceptual_hash;
    bool force_session_reinit;
    bool has_clip;
    uint64_t clip_from_ms, clip_to_ms;
    struct profile profiles[MAX_PROFILES]; /* encode chooses field 33, 34 or 35 (2.5) */
    size_t n_profiles;
};

struct transcoded_segment {
    const char *url;
    int64_t pixels;
    const char *perceptual_hash_url; /* "" when none */
};

struct transcode_result {
    int64_t seq;
    const char *error; /* NULL unless the result is an error */
    bool has_data;
    struct transcoded_segment segments[MAX_PROFILES];
    size_t n_segments;
    struct slice sig;
    bool has_info;
    struct orchestrator_info info;
};

struct register_request {
    const char *secret;
    int64_t capacity;
    bool has_caps;
    struct caps caps;
};

struct notify_segment {
    const char *url; /* "" with a token: teardown of that session */
    bool has_seg;
    struct seg_data seg;
    int64_t task_id;
    const char *orch_id;
};

#define WIRE_MESSAGE(name)                                                                         \
    void name##_encode(const struct name *m, struct buf *out);                                     \
    MUST_CHECK enum rc name##_decode(struct slice in, struct arena *a, struct name *out,           \
                                     struct err *err)
WIRE_MESSAGE(orchestrator_request);
WIRE_MESSAGE(orchestrator_info);
WIRE_MESSAGE(seg_data);
WIRE_MESSAGE(transcode_result);
WIRE_MESSAGE(register_request);
WIRE_MESSAGE(notify_segment);
#undef WIRE_MESSAGE

/* EndTranscodingSessionRequest is one AuthToken; PingPong is one bytes field. */
void end_session_encode(const struct auth_token *t, struct buf *out);
MUST_CHECK enum rc end_session_decode(struct slice in, struct auth_token *out, struct err *err);
void ping_encode(struct slice value, struct buf *out);
MUST_CHECK enum rc ping_decode(struct slice in, struct slice *value, struct arena *a,
                               struct err *err);

/* The Livepeer-Segment header: base64 of SegData. Decode gives the refusal texts of video.md
 * 3.5: "ErrorSegEncoding", "unrecognized ...", "invalid duration". */
void segment_header_encode(const struct seg_data *m, struct buf *out);
MUST_CHECK enum rc segment_header_decode(struct slice header, struct arena *a, struct seg_data *out,
                                         struct err *err);

/* What a segment signature covers (video.md 3.3). */
void segment_flatten(const struct seg_data *m, struct buf *out);

/* gRPC paths */
#define PATH_GET_ORCHESTRATOR "/net.Orchestrator/GetOrchestrator"
#define PATH_END_SESSION "/net.Orchestrator/EndTranscodingSession"
#define PATH_PING "/net.Orchestrator/Ping"
#define PATH_REGISTER_TRANSCODER "/net.Transcoder/RegisterTranscoder"

#endif
