/* orchestrator/pool.h: the workers that are here, and who works on what.
 *
 * A session stays with its worker (stickiness); a new one goes to the least loaded
 * compatible worker. A worker that vanishes loses nothing: its tasks go to another at
 * once. One that is silent for three times the usual gets company: the task is given to
 * another too, and the first result wins. Without any worker a task waits POOL_WAIT_MS
 * for one to come (back).
 *
 * Source: video.md 11.5.   Threads: loop.
 */
#ifndef LEAT_ORCHESTRATOR_POOL_H
#define LEAT_ORCHESTRATOR_POOL_H

#include "base/blob.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "net/http_server.h"
#include "wire/messages.h"

enum { POOL_WAIT_MS = 3000, TASK_MAX_WORKERS = 2, OVERDUE_MIN_MS = 1000, OVERDUE_FACTOR = 3 };

struct pool;
struct worker;
struct task;

struct pool_conf {
    struct loop *loop;
    const char *service_uri;     /* sources are fetched under it by remote workers */
    const char *version;
    bool has_own_set;            /* advertise the default set without workers too */
};

struct pool *pool_new(const struct pool_conf *conf);
void pool_free(struct pool *p);

/* --- workers --- */

/* x is the register stream: it stays open; the pool forgets the worker when it closes. */
struct worker *pool_join(struct pool *p, struct http_exchange *x, bool local,
                         const struct register_request *r);
size_t pool_workers(const struct pool *p);
int64_t pool_capacity(const struct pool *p);     /* sum over workers */
const struct caps *pool_caps(const struct pool *p);
void pool_status(struct pool *p, struct json_out *j);     /* "workers":[...] */

/* --- tasks --- */

struct task_result {
    enum rc rc;                  /* RC_OK, or err holds the network's text (video.md 4.5) */
    struct err err;
    struct blob *media[MAX_PROFILES];   /* the callee's to ref */
    int64_t pixels[MAX_PROFILES];
    size_t n;
    int64_t took_ms;
    char worker[64];             /* its name */
};

struct task_conf {
    const struct seg_data *seg;  /* borrowed until on_done */
    struct blob *source;         /* a reference is kept */
    const char *session_id;
    const struct log_tag *log;
    int deadline_ms;
    void (*on_done)(const struct task_result *r, void *arg);   /* once, from the loop */
    void *arg;
};

struct task *pool_submit(struct pool *p, const struct task_conf *conf);
void pool_cancel(struct pool *p, struct task *t);      /* on_done is not called */

/* The source of a running task: "/stream/SESSION/SEQ.tempfile". Borrowed, or NULL. */
struct blob *pool_source(const struct pool *p, struct slice session_id, int64_t seq);

/* From /transcodeResults. False: the id is not known (finished, or never ours). */
bool pool_result(struct pool *p, int64_t task_id, const struct task_result *r);
bool pool_knows(const struct pool *p, int64_t task_id, size_t *n_profiles);

/* The session is over: its worker is told, and has room for another. */
void pool_end_session(struct pool *p, const char *session_id);

#endif
