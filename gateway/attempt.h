/* gateway/attempt.h: one segment sent once to one orchestrator, renditions fetched.
 *
 * POST /segment with credentials (video.md 4.1), the two-phase answer (4.2), all
 * renditions downloaded in parallel over HTTP/1.1 (4.4), verified. Ends once, in
 * on_done; knows nothing of retries.
 */
#ifndef LEAT_GATEWAY_ATTEMPT_H
#define LEAT_GATEWAY_ATTEMPT_H

#include "base/err.h"
#include "base/log.h"
#include "gateway/segment.h"
#include "gateway/session.h"
#include "gateway/verify.h"
#include "media/profile.h"

enum {
    DOWNLOAD_TIMEOUT_MS = 4000,
    SEGMENT_CONNECT_MS = 2000,
    MAX_RESULT_BYTES = 4 * 1024 * 1024,
    MAX_RENDITION_BYTES = 300 * 1000 * 1000
};

struct attempt;

struct rendition {
    struct blob *media;
    struct verified is;
    int64_t pixels;
};

struct attempt_result {
    enum rc rc; /* RC_UNSUPPORTED: the segment's own fault, no retry helps */
    struct err err;
    struct rendition *renditions; /* as many as profiles on RC_OK; the callee may take media
                                     (set it NULL) */
    size_t n;
    int64_t pixels;
    int64_t round_trip_ms; /* request sent to last byte of the answer, without downloads */
};

struct attempt_conf {
    struct loop *loop;
    struct http_client *client;
    const struct log_tag *log;
    const char *manifest_id;
    struct segment *segment;        /* a reference is kept */
    const struct profile *profiles; /* borrowed, outlives the attempt */
    size_t n_profiles;
    const struct caps *need;
    int timeout_multiplier;  /* of the waits for the answer; 0: 1 */
    struct session *session; /* in flight: outlives the attempt */
    void (*on_done)(struct attempt *a, struct attempt_result *r, void *arg);
    void *arg;
};

struct attempt *attempt_start(const struct attempt_conf *conf);
struct session *attempt_session(const struct attempt *a);
int64_t attempt_age_ms(const struct attempt *a);
void attempt_free(struct attempt *a); /* cancels what runs; NULL and inside on_done are fine */

#endif
