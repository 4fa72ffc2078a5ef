/* workers/transcoding/task.h: one notified segment: fetch, transcode, post (video.md 11.3).
 *
 * It ends by itself, always with a post: the orchestrator must hear of failures too. A post
 * that fails is tried again on a fresh connection.
 *
 * Ownership: its own; gone after on_end.   Threads: loop.
 */
#ifndef LEAT_WORKERS_TRANSCODING_TASK_H
#define LEAT_WORKERS_TRANSCODING_TASK_H

#include "codec/codec.h"
#include "net/http_client.h"
#include "wire/messages.h"

struct worker_task;

struct worker_task_conf {
    struct loop *loop;
    struct http_client *client;
    const char *base;      /* of the orchestrator: "https://host:8935", or "http://local" */
    const char *unix_path; /* of a local orchestrator; NULL otherwise */
    const char *secret;
    const struct caps *have;
    void (*on_end)(struct worker_task *t, bool ok, void *arg);
    void *arg;
};

/* What of the message is needed is copied; conf's texts are borrowed until on_end. session: of
 * this stream; it must live until the task has ended or was aborted. */
struct worker_task *worker_task_start(const struct worker_task_conf *conf,
                                      const struct notify_segment *m,
                                      struct codec_session *session);
/* Only tells the orchestrator why this task is not done. */
struct worker_task *worker_task_refuse(const struct worker_task_conf *conf, int64_t task_id,
                                       const char *why);

/* Its session is over: what is not posted yet ends with an error, which is posted. */
void worker_task_abort(struct worker_task *t);
/* At once, without a post and without on_end. */
void worker_task_cancel(struct worker_task *t);

#endif
