/* codec/codec.h: the client of leat-codec, the only program that runs codecs.
 *
 * A `struct codec` owns one template process (leat-codec, exec'd once, warm,
 * single-threaded). Each `struct codec_session` is one sandboxed child forked from
 * it on first use, which keeps decoder and encoders (and so the rate control's
 * state) from segment to segment. A child that crashes, hangs past its deadline or
 * outgrows its memory takes only the segment it was working on; the next one, or
 * the retry, gets a fresh child. After any crash the template re-executes itself.
 *
 * Segments of one session are transcoded strictly in the order given, one at a
 * time; sessions run in parallel. All calls on the loop thread; no callback runs
 * inside the call that registered it.
 *
 * Source: video.md 12 (options and results), design.md 2 and 4.
 */
#ifndef LEAT_CODEC_CODEC_H
#define LEAT_CODEC_CODEC_H

#include "base/blob.h"
#include "base/err.h"
#include "media/profile.h"
#include "net/loop.h"

struct codec;
struct codec_session;

struct codec_conf {
    const char *program;         /* path of leat-codec; NULL: beside our own executable */
    const char *failed_dir;      /* where segments that crashed a codec are kept; NULL: nowhere */
    size_t failed_dir_max_bytes; /* oldest are removed above this */
    size_t memory_limit_bytes;   /* each child; 0: 768 MiB */
    int max_sessions;            /* children alive at once */
};

/* Starts the template. NULL and *err when leat-codec cannot be run (says where it looked). */
struct codec *codec_new(struct loop *loop, const struct codec_conf *conf, struct err *err);

/* Ends all sessions (their jobs finish with RC_CANCELLED) and the template. */
void codec_free(struct codec *c);

/* `id` is for logs and process titles. Never fails: the child is forked by the first job. */
struct codec_session *codec_session_open(struct codec *c, const char *id);
void codec_session_close(struct codec_session *s);

enum { CODEC_MAX_RENDITIONS = 10, CODEC_MAX_SEGMENT_BYTES = 300 * 1000 * 1000 };

struct codec_job {
    struct blob *segment;           /* borrowed for the call; a reference is kept */
    const struct profile *profiles; /* copied */
    size_t n_profiles;
    int64_t seq;
    int32_t duration_ms;              /* declared by the sender */
    int32_t deadline_ms;              /* from now; then the child is killed: RC_TIMEOUT */
    bool reinit;                      /* drop encoder state first (ForceSessionReinit) */
    int64_t clip_from_ms, clip_to_ms; /* SegParameters; both 0: whole segment */
};

struct codec_rendition {
    struct blob *media; /* the callback's to ref */
    int64_t pixels;     /* width * height summed over encoded frames */
    int width, height, frames;
};

struct codec_result {
    enum rc rc;     /* RC_OK; RC_BAD_INPUT and RC_UNSUPPORTED: this input can never work;
                       RC_CRASHED, RC_TIMEOUT, RC_LIMIT: the child died on it */
    struct err err; /* err.text begins with the network's error text (video.md 4.5), e.g.
                       "TranscoderInvalidVideo" */
    struct codec_rendition renditions[CODEC_MAX_RENDITIONS];
    size_t n_renditions;
    int64_t decoded_pixels;
    int64_t first_byte_us, last_byte_us; /* monotonic: first byte into the codec, last byte out */
};

typedef void (*codec_on_result)(const struct codec_result *r, void *arg); /* r valid in the call */

/* Queues one segment. on_result is called exactly once, also when closed or crashed. A
 * crash is retried once in a fresh child when the deadline leaves room. */
void codec_transcode(struct codec_session *s, const struct codec_job *job,
                     codec_on_result on_result, void *arg);

/* For status pages and tests. */
struct codec_stats {
    int sessions, children, jobs_waiting, jobs_running;
    int64_t jobs_done, jobs_failed, children_crashed, template_restarts;
};
void codec_stats_get(const struct codec *c, struct codec_stats *out);

#endif
