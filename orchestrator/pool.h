/* orchestrator/pool.h: the workers that are here, and who works on what.
 *
 * A session stays with its worker (stickiness); a new one goes to the least loaded
 * compatible worker. Nothing is lost with a worker: when its connection closes its tasks go
 * to another at once, and when it is silent for three times the usual the task is given to
 * another too and the first result wins. A worker that left may still answer: it may have
 * been told to stop, and finishes what it has.
 *
 * pool.c holds the workers, task.c the tasks.
 *
 * Source: video.md 11.5.   Threads: loop.
 */
#ifndef LEAT_ORCHESTRATOR_POOL_H
#define LEAT_ORCHESTRATOR_POOL_H

#include "base/blob.h"
#include "base/json.h"
#include "base/log.h"
#include "net/http_server.h"
#include "wire/messages.h"

struct pool;
struct task;

struct pool_conf {
    struct loop *loop;
    const char *service_uri; /* borrowed; remote workers fetch sources under it */
    const char *version;
    const struct caps *own;       /* advertised also while no worker is here; copied */
    void (*on_change)(void *arg); /* workers came or went, so the session limit moved */
    void (*on_silent_local)(void *arg, bool dead); /* the child process does not answer; dead:
                                                      its deadline has passed */
    void *arg;
};

struct pool *pool_new(const struct pool_conf *conf);
/* After the servers of the register streams are closed. Tasks end without on_done. */
void pool_free(struct pool *p);

/* --- workers --- */

/* x is the register stream: it stays open, and the worker is gone when it closes. */
void pool_join(struct pool *p, struct http_exchange *x, bool local,
               const struct register_request *r);
size_t pool_workers(const struct pool *p);
int64_t pool_capacity(const struct pool *p); /* sessions that all workers take together */
const struct caps *pool_caps(const struct pool *p);
void pool_status(struct pool *p, struct json_out *j); /* "workers":[...] */

/* --- tasks --- */

struct task_result {
    enum rc rc; /* RC_OK, or err holds the network's text (video.md 4.5) */
    struct err err;
    struct blob *media[MAX_PROFILES]; /* borrowed for the call */
    int64_t pixels[MAX_PROFILES];
    struct blob *phash[MAX_PROFILES]; /* NULL: none came */
    size_t n;
    int64_t took_ms;    /* from the first notification */
    const char *worker; /* its name; "" when nobody had it */
};

struct task_conf {
    const struct seg_data *seg; /* borrowed until on_done */
    struct blob *source;        /* a reference is kept */
    const char *session_id;     /* borrowed likewise */
    const struct log_tag *log;
    int deadline_ms;
    void (*on_done)(const struct task_result *r, void *arg); /* once, from the loop */
    void *arg;
};

struct task *pool_submit(struct pool *p, const struct task_conf *conf);
void pool_cancel(struct task *t); /* on_done is not called */

/* The source of a running task: "/stream/SESSION/SEQ.tempfile". Borrowed, or NULL. */
struct blob *pool_source(const struct pool *p, struct slice session_id, int64_t seq);

/* From /transcodeResults; the blobs are referenced. False: nobody waits for this id. */
bool pool_result(struct pool *p, int64_t id, const struct task_result *r);

/* The session is over: its worker is told, and has room for another. */
void pool_end_session(struct pool *p, const char *session_id);

/* Length that a segment is taken to have: 0 on the wire means 2000 (video.md 2.5). */
int32_t task_duration_ms(const struct seg_data *seg);

#endif
