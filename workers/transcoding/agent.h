/* workers/transcoding/agent.h: a transcoding worker: registers with an orchestrator,
 * fetches the segments it is told of, has leat-codec transcode them, posts the results.
 *
 * Reconnects with back-off (0.5 s, x 1.5, +-50 %, at most 60 s). A wrong secret or a
 * refused capacity ends the process with a status and a reason.
 * Source: video.md 11.   Threads: loop.
 */
#ifndef LEAT_WORKERS_TRANSCODING_AGENT_H
#define LEAT_WORKERS_TRANSCODING_AGENT_H

#include "base/buf.h"
#include "base/err.h"
#include "codec/codec.h"
#include "net/loop.h"

struct agent;

struct agent_conf {
    const char *orch_addr; /* "host:port", "https://host:port", or "unix:/path" (local) */
    const char *secret;
    int capacity; /* -maxSessions */
    const char *version;
    struct codec_conf codec;
    /* The agent cannot go on: wrong secret, zero capacity. Once. */
    void (*on_fatal)(const struct err *err, void *arg);
    void *arg;
};

struct agent *agent_start(struct loop *l, const struct agent_conf *conf, struct err *err);
/* Leaves the orchestrator, finishes and posts what runs (at most within_ms), then on_done. */
void agent_drain(struct agent *a, int within_ms, void (*on_done)(void *arg), void *arg);
void agent_stop(struct agent *a);
void agent_status(struct agent *a, struct buf *json);
bool agent_is_ready(struct agent *a, struct buf *why);

#endif
