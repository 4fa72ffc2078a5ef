#include "orchestrator/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/grpc.h"
#include "orchestrator/metrics.h"
#include "orchestrator/pool_int.h"

enum {
    MAX_NOTIFY_BYTES = 64 * 1024,
    PING_MS = 500 /* without a word; as long again without an answer is silence */
};

struct pool *pool_new(const struct pool_conf *conf)
{
    struct pool *p = xcalloc(1, sizeof(*p));

    p->conf = *conf;
    list_init(&p->workers);
    list_init(&p->tasks);
    list_init(&p->attempts);
    p->sticky = map_new();
    p->caps = *conf->own;
    p->caps.has_constraints = true;
    /* The reference names its own version here too, and no gateway reads it. */
    snprintf(p->caps.version, sizeof(p->caps.version), "%s", conf->version);
    snprintf(p->caps.min_version, sizeof(p->caps.min_version), "%s", conf->version);
    return p;
}

size_t pool_workers(const struct pool *p)
{
    return p->workers.n;
}

int64_t pool_capacity(const struct pool *p)
{
    int64_t n = 0;

    LIST_EACH (&p->workers, struct worker, node, w)
        n += w->capacity;
    return n;
}

const struct caps *pool_caps(const struct pool *p)
{
    return &p->caps;
}

static void tell_metrics(const struct pool *p)
{
    int64_t load = 0;

    LIST_EACH (&p->workers, struct worker, node, w)
        load += w->sessions;
    metric_workers((int64_t)p->workers.n, pool_capacity(p), load);
}

/* --- what a worker is told --- */

void worker_send(struct worker *w, const struct notify_segment *m)
{
    struct buf message;

    buf_init(&message, MAX_NOTIFY_BYTES);
    notify_segment_encode(m, &message);
    if (buf_ok(&message))
        grpc_send(w->x, buf_slice(&message));
    else
        log_bug(&w->log, "a notification is larger than %d bytes", MAX_NOTIFY_BYTES);
    buf_cleanup(&message);
}

/* An empty URL and a session id say it (video.md 11.2). */
void worker_end_session(struct worker *w, const char *session_id)
{
    struct notify_segment *m = xcalloc(1, sizeof(*m));

    m->url = "";
    m->orch_id = "";
    m->has_seg = m->seg.has_token = true;
    snprintf(m->seg.token.session_id, sizeof(m->seg.token.session_id), "%s", session_id);
    worker_send(w, m);
    free(m);
}

/* --- stickiness --- */

struct worker *pool_sticky(const struct pool *p, const char *session_id)
{
    return map_get(p->sticky, slice_str(session_id));
}

void pool_unstick(struct pool *p, const char *session_id)
{
    struct worker *w = map_remove(p->sticky, slice_str(session_id));

    if (w)
        w->sessions--;
    tell_metrics(p);
}

void pool_stick(struct pool *p, const char *session_id, struct worker *w)
{
    struct worker *old = pool_sticky(p, session_id);

    if (old == w)
        return;
    if (old)
        worker_end_session(old, session_id);
    pool_unstick(p, session_id);
    map_put(p->sticky, slice_str(session_id), w);
    w->sessions++;
    tell_metrics(p);
}

void pool_end_session(struct pool *p, const char *session_id)
{
    struct worker *w = pool_sticky(p, session_id);

    if (!w)
        return;
    worker_end_session(w, session_id);
    pool_unstick(p, session_id);
    tasks_serve_waiting(p);
}

/* --- choosing --- */

bool worker_can(const struct worker *w, const struct seg_data *seg)
{
    return !seg->has_caps || caps_compatible(&seg->caps, &w->caps, NULL) == RC_OK;
}

/* Those that answer come before those that do not, the least loaded first. */
static bool is_better(const struct worker *a, const struct worker *b)
{
    if (a->silent != b->silent)
        return !a->silent;
    return a->sessions * b->capacity < b->sessions * a->capacity;
}

struct worker *pool_pick(struct pool *p, const struct task *t, const char *session_id,
                         const struct seg_data *seg)
{
    struct worker *sticky = pool_sticky(p, session_id), *best = NULL;

    if (sticky && task_knows(t, sticky))
        sticky = NULL;
    if (sticky && !sticky->silent)
        return sticky;
    LIST_EACH (&p->workers, struct worker, node, w) {
        bool has_room = w == sticky || w->sessions < w->capacity;

        if (has_room && !task_knows(t, w) && worker_can(w, seg) && (!best || is_better(w, best)))
            best = w;
    }
    return best;
}

/* --- life of a worker --- */

void worker_heard(struct worker *w)
{
    w->heard_ms = clock_mono_ms();
    if (w->silent)
        log_info(&w->log, "answers again");
    w->silent = false;
}

static void cut(void *arg)
{
    struct worker *w = arg;

    http_abort(w->x); /* comes back as on_register_closed */
}

void worker_drop(struct worker *w)
{
    struct pool *p = w->pool;

    log_peer(&w->log, "is taken for dead: cut off; it may register again");
    loop_defer(p->conf.loop, &w->drop, cut, w);
    if (w->local)
        p->conf.on_silent_local(p->conf.arg, true);
}

static void unstick_all(struct pool *p, const struct worker *w)
{
    size_t at = 0;
    struct slice id;
    void *value;

    while (map_next(p->sticky, &at, &id, &value))
        if (value == w)
            map_remove(p->sticky, id);
}

static void on_register_closed(struct http_exchange *x, bool complete, void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;

    (void)x, (void)complete;
    loop_defer_cancel(p->conf.loop, &w->drop);
    list_remove(&p->workers, &w->node);
    caps_leave(&p->caps, &w->caps);
    unstick_all(p, w);
    log_info(&w->log, "left after %" PRId64 " segments; %zu workers remain", w->done, p->workers.n);
    tasks_worker_left(p, w);
    free(w);
    tell_metrics(p);
    p->conf.on_change(p->conf.arg);
}

/* A frozen worker has no work that could be overdue, or will be told of some. */
static void on_ping_change(struct http_exchange *x, bool silent, void *arg)
{
    struct worker *w = arg;

    (void)x;
    if (silent)
        tasks_worker_silent(w->pool, w, 2 * PING_MS);
    else
        worker_heard(w);
}

static struct worker *worker_new(struct pool *p, struct http_exchange *x, bool local,
                                 const struct register_request *r)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->pool = p;
    w->x = x;
    w->local = local;
    w->capacity = r->capacity;
    w->joined_ms = clock_wall_ms();
    w->heard_ms = clock_mono_ms();
    if (r->has_caps)
        w->caps = r->caps;
    else
        caps_of_orchestrator(&w->caps); /* video.md 11.1: the default set is assumed */
    snprintf(w->name, sizeof(w->name), "%s-%" PRId64, local ? "local" : http_request(x)->peer,
             ++p->next_worker);
    log_tag(&w->log, "worker=%s", w->name);
    return w;
}

void pool_join(struct pool *p, struct http_exchange *x, bool local,
               const struct register_request *r)
{
    struct worker *w = worker_new(p, x, local, r);

    http_on_closed(x, on_register_closed, w);
    http_watch(x, PING_MS, on_ping_change, w);
    list_push(&p->workers, &w->node);
    caps_join(&p->caps, &w->caps);
    log_info(&w->log, "joined with capacity %" PRId64 ", version %s; %zu workers are here",
             w->capacity, w->caps.version[0] ? w->caps.version : "not told", p->workers.n);
    tell_metrics(p);
    tasks_serve_waiting(p);
    p->conf.on_change(p->conf.arg);
}

/* --- telling --- */

static void worker_status(const struct worker *w, struct json_out *j)
{
    jo_open(j, NULL, '{');
    jo_text(j, "name", w->name);
    jo_text(j, "state", w->silent ? "silent" : "ready");
    jo_flag(j, "local", w->local);
    jo_int(j, "capacity", w->capacity);
    jo_int(j, "sessions", w->sessions);
    jo_int(j, "done", w->done);
    jo_int(j, "failed", w->failed);
    jo_text(j, "last_failure", w->last_failure);
    jo_int(j, "since_ms", w->joined_ms);
    jo_text(j, "version", w->caps.version);
    jo_close(j, '}');
}

void pool_status(struct pool *p, struct json_out *j)
{
    jo_open(j, "workers", '[');
    LIST_EACH (&p->workers, struct worker, node, w)
        worker_status(w, j);
    jo_close(j, ']');
    jo_int(j, "tasks", (int64_t)p->tasks.n);
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    tasks_free(p);
    map_free(p->sticky);
    free(p);
}
