/* workers/transcoding/task.h: one notified segment: fetch, transcode, post (video.md 11.3).
 * Ends by itself; its owner may wait for none to be left. */
#ifndef LEAT_WORKERS_TRANSCODING_TASK_H
#define LEAT_WORKERS_TRANSCODING_TASK_H

#include "base/list.h"
#include "base/log.h"
#include "codec/codec.h"
#include "net/http_client.h"
#include "wire/messages.h"

enum { FETCH_TIMEOUT_MS = 4000, POST_TIMEOUT_MS = 10000, POST_TRIES = 3, POST_AGAIN_MS = 300 };

struct worker_task;

struct worker_task_conf {
    struct loop *loop;
    struct http_client *client;
    const char *base;             /* of the orchestrator: "https://host:8935", or "http://local" */
    const char *unix_path;        /* of a local orchestrator; NULL otherwise */
    const char *secret;
    struct codec_session *session;/* of this stream; outlives the task */
    const struct caps *have;
    void (*on_end)(struct worker_task *t, bool ok, void *arg);   /* t is gone afterwards */
    void *arg;
};

/* The message's parts are copied. */
struct worker_task *worker_task_start(const struct worker_task_conf *conf,
                                      const struct notify_segment *m);
/* Without on_end. */
void worker_task_cancel(struct worker_task *t);

#endif
