/* orchestrator/pool_int.h: what pool.c (workers) and task.c (tasks) share. */
#ifndef LEAT_ORCHESTRATOR_POOL_INT_H
#define LEAT_ORCHESTRATOR_POOL_INT_H

#include "base/list.h"
#include "base/map.h"
#include "orchestrator/pool.h"

struct worker {
    struct list_node node; /* in pool->workers */
    struct pool *pool;
    struct http_exchange *x; /* the register stream */
    char name[64];
    struct log_tag log;
    struct caps caps;
    int64_t capacity, sessions; /* sessions that stick to it */
    bool local;
    bool silent;      /* overdue or without answer to PING, nothing heard since: others first */
    int64_t heard_ms; /* monotonic: when it joined or last answered */
    struct deferred drop;
    int64_t done, failed, joined_ms;
    char last_failure[200];
};

/* One telling of one task to one worker, under an id of its own: the network's taskId. Lives
 * until the worker answers, or until both have gone. */
struct attempt {
    struct list_node node; /* in pool->attempts, oldest first */
    int64_t id, given_ms;
    struct worker *worker; /* NULL: has left; its answer is welcome all the same */
    struct task *task;     /* NULL: over */
    char worker_name[64];
};

struct pool {
    struct pool_conf conf;
    struct list workers, tasks, attempts;
    struct map *sticky; /* session id -> struct worker */
    struct caps caps;
    int64_t next_attempt, next_worker;
    int64_t usual_permille; /* time taken per duration; 0: not known yet */
};

/* --- pool.c --- */

struct worker *pool_sticky(const struct pool *p, const char *session_id);
void pool_stick(struct pool *p, const char *session_id, struct worker *w);
void pool_unstick(struct pool *p, const char *session_id);
bool worker_can(const struct worker *w, const struct seg_data *seg);
/* A worker that is not `avoid` and has no attempt of t. NULL: none is free. */
struct worker *pool_pick(struct pool *p, const struct task *t, const char *session_id,
                         const struct seg_data *seg);
void worker_heard(struct worker *w);
void worker_send(struct worker *w, const struct notify_segment *m);
/* Its codec for this session is not needed any more. */
void worker_end_session(struct worker *w, const char *session_id);
/* It did not answer in time and is taken for dead: its stream is cut, soon. */
void worker_drop(struct worker *w);

/* --- task.c --- */

bool task_knows(const struct task *t, const struct worker *w);
/* for_ms: since when nothing was heard. */
void tasks_worker_silent(struct pool *p, struct worker *w, int64_t for_ms);
void tasks_worker_left(struct pool *p, struct worker *w);
void tasks_serve_waiting(struct pool *p);
void tasks_free(struct pool *p);

#endif
