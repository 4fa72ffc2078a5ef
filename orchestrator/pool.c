#include "orchestrator/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "net/grpc.h"
#include "orchestrator/metrics.h"

struct worker {
    struct list_node node;
    struct pool *pool;
    struct http_exchange *x;        /* NULL once it has left */
    char name[64];
    struct log_tag log;
    struct caps caps;
    int64_t capacity;
    int sessions;                   /* that stick to it */
    bool local, silent;             /* silent: overdue, and nothing heard since */
    int64_t done, failed, joined_ms;
    char last_failure[200];
};

struct task {
    struct list_node node;
    struct pool *pool;
    struct task_conf conf;
    int64_t id;
    struct worker *workers[TASK_MAX_WORKERS];  /* that were told of it */
    size_t n_workers;
    bool failed_once;
    struct timer *deadline, *overdue, *patience;
    int64_t started_ms;
    struct deferred tell;
    struct task_result result;
};

struct pool {
    struct pool_conf conf;
    struct list workers, tasks;
    struct map *sticky;             /* session id -> struct worker */
    struct caps caps;
    int64_t next_id, next_worker;
    int64_t usual_permille;         /* of a segment's duration; 0: not known */
};

struct pool *pool_new(const struct pool_conf *conf)
{
    struct pool *p = xcalloc(1, sizeof(*p));

    p->conf = *conf;
    list_init(&p->workers);
    list_init(&p->tasks);
    p->sticky = map_new();
    if (conf->has_own_set)
        caps_of_orchestrator(&p->caps);
    p->caps.has_constraints = true;
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

static void update_metrics(struct pool *p)
{
    int64_t load = 0;

    LIST_EACH (&p->workers, struct worker, node, w)
        load += w->sessions;
    metric_workers((int64_t)p->workers.n, pool_capacity(p), load);
}

/* --- sticking --- */

static struct worker *sticky_worker(struct pool *p, const char *session_id)
{
    return map_get(p->sticky, slice_str(session_id));
}

static void unstick(struct pool *p, const char *session_id)
{
    struct worker *w = map_remove(p->sticky, slice_str(session_id));

    if (w)
        w->sessions--;
}

static void stick(struct pool *p, const char *session_id, struct worker *w)
{
    unstick(p, session_id);
    map_put(p->sticky, slice_str(session_id), w);
    w->sessions++;
    update_metrics(p);
}

/* --- tasks --- */

static bool has_worker(const struct task *t, const struct worker *w)
{
    for (size_t i = 0; i < t->n_workers; i++)
        if (t->workers[i] == w)
            return true;
    return false;
}

static void task_free(struct task *t)
{
    list_remove(&t->pool->tasks, &t->node);
    loop_defer_cancel(t->pool->conf.loop, &t->tell);
    timer_free(t->deadline);
    timer_free(t->overdue);
    timer_free(t->patience);
    for (size_t i = 0; i < t->result.n; i++)
        blob_unref(&t->result.media[i]);
    blob_unref(&t->conf.source);
    free(t);
}

static void tell(void *arg)
{
    struct task *t = arg;
    struct task_conf conf = t->conf;

    conf.on_done(&t->result, conf.arg);
    task_free(t);
}

static void end(struct task *t)
{
    timer_stop(t->deadline);
    timer_stop(t->overdue);
    timer_stop(t->patience);
    t->n_workers = 0;
    t->id = -1; /* a late second result is of nobody */
    loop_defer(t->pool->conf.loop, &t->tell, tell, t);
}

static void fail(struct task *t, enum rc rc, const char *text)
{
    t->result.rc = err_set(&t->result.err, rc, "%s", text);
    end(t);
}

static void notify(struct task *t, struct worker *w)
{
    char url[MAX_URI + 128];
    struct notify_segment *m = xcalloc(1, sizeof(*m));
    struct buf message;

    /* A local worker has no other way in than its Unix socket; it takes the path alone. */
    snprintf(url, sizeof(url), "%s/stream/%s/%" PRId64 ".tempfile",
             w->local ? "http://local" : t->pool->conf.service_uri, t->conf.session_id,
             t->conf.seg->seq);
    m->url = url;
    m->task_id = t->id;
    m->orch_id = "offchain";
    m->has_seg = true;
    m->seg = *t->conf.seg;
    memset(&m->seg.hash, 0, sizeof(m->seg.hash));
    m->seg.sig = slice_of(NULL, 0);
    buf_init(&message, 64 * 1024);
    notify_segment_encode(m, &message);
    grpc_send(w->x, buf_slice(&message));
    buf_cleanup(&message);
    free(m);
}

static bool is_compatible(const struct task *t, const struct worker *w)
{
    return !t->conf.seg->has_caps || caps_compatible(&t->conf.seg->caps, &w->caps, NULL) == RC_OK;
}

static struct worker *least_loaded(struct task *t)
{
    struct worker *best = NULL;

    LIST_EACH (&t->pool->workers, struct worker, node, w) {
        if (has_worker(t, w) || w->sessions >= w->capacity || !is_compatible(t, w))
            continue;
        if (!best || best->silent > w->silent ||
            (best->silent == w->silent &&
             w->sessions * best->capacity < best->sessions * w->capacity))
            best = w;
    }
    return best;
}

static struct worker *pick(struct task *t)
{
    struct worker *w = sticky_worker(t->pool, t->conf.session_id);

    if (w && !has_worker(t, w) && !w->silent)
        return w;
    return least_loaded(t);
}

static int64_t overdue_after(const struct task *t)
{
    int64_t duration = t->conf.seg->duration_ms ? t->conf.seg->duration_ms : 2000;
    int64_t usual = t->pool->usual_permille ? duration * t->pool->usual_permille / 1000 : duration;

    return MAX(OVERDUE_FACTOR * usual, (int64_t)OVERDUE_MIN_MS);
}

static bool give(struct task *t)
{
    struct worker *w = t->n_workers < TASK_MAX_WORKERS ? pick(t) : NULL;

    if (!w)
        return false;
    timer_stop(t->patience);
    t->workers[t->n_workers++] = w;
    if (sticky_worker(t->pool, t->conf.session_id) != w)
        stick(t->pool, t->conf.session_id, w);
    timer_start(t->overdue, overdue_after(t));
    log_debug(t->conf.log, "given to worker %s as task %" PRId64, w->name, t->id);
    notify(t, w);
    return true;
}

static void on_overdue(void *arg)
{
    struct task *t = arg;

    for (size_t i = 0; i < t->n_workers; i++) {
        t->workers[i]->silent = true;
        log_peer(&t->workers[i]->log, "silent for %" PRId64 " ms on task %" PRId64,
                 clock_mono_ms() - t->started_ms, t->id);
    }
    if (give(t))
        log_peer(t->conf.log, "the segment goes to a second worker too");
}

static void on_deadline(void *arg)
{
    struct task *t = arg;

    log_peer(t->conf.log, "no worker answered within %d ms", t->conf.deadline_ms);
    fail(t, RC_TIMEOUT, "Remote transcoder took too long");
}

static const char *why_nobody(struct task *t)
{
    LIST_EACH (&t->pool->workers, struct worker, node, w)
        if (is_compatible(t, w))
            return "no transcoders available";
    return t->pool->workers.n ? "no transcoders can provide requested capabilities"
                              : "no transcoders available";
}

static void on_patience_over(void *arg)
{
    struct task *t = arg;
    const char *why = why_nobody(t);

    log_peer(t->conf.log, "refused: %s (%zu workers, capacity %" PRId64 "): start another with "
                          "`leat transcoder`, or raise its -maxSessions",
             why, t->pool->workers.n, pool_capacity(t->pool));
    fail(t, RC_BUSY, why);
}

struct task *pool_submit(struct pool *p, const struct task_conf *conf)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->pool = p;
    t->conf = *conf;
    t->conf.source = blob_ref(conf->source);
    t->id = p->next_id++;
    t->started_ms = clock_mono_ms();
    t->deadline = timer_new(p->conf.loop, on_deadline, t);
    t->overdue = timer_new(p->conf.loop, on_overdue, t);
    t->patience = timer_new(p->conf.loop, on_patience_over, t);
    list_push(&p->tasks, &t->node);
    timer_start(t->deadline, conf->deadline_ms);
    if (!give(t))
        timer_start(t->patience, MIN(conf->deadline_ms, POOL_WAIT_MS));
    return t;
}

void pool_cancel(struct pool *p, struct task *t)
{
    (void)p;
    task_free(t);
}

static struct task *find_task(const struct pool *p, int64_t id)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        if (t->id == id)
            return t;
    return NULL;
}

bool pool_knows(const struct pool *p, int64_t task_id, size_t *n_profiles)
{
    struct task *t = find_task(p, task_id);

    if (t)
        *n_profiles = t->conf.seg->n_profiles;
    return t != NULL;
}

struct blob *pool_source(const struct pool *p, struct slice session_id, int64_t seq)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        if (t->conf.seg->seq == seq && slice_eq_str(session_id, t->conf.session_id))
            return t->conf.source;
    return NULL;
}

/* --- results --- */

static void note_usual(struct pool *p, const struct task *t, int64_t took_ms)
{
    int64_t duration = t->conf.seg->duration_ms ? t->conf.seg->duration_ms : 2000;
    int64_t permille = MAX(took_ms * 1000 / duration, (int64_t)1);

    p->usual_permille = p->usual_permille ? (3 * p->usual_permille + permille) / 4 : permille;
}

static void succeed(struct task *t, const struct task_result *r)
{
    struct worker *w = sticky_worker(t->pool, t->conf.session_id);

    t->result = *r;
    for (size_t i = 0; i < r->n; i++)
        blob_ref(r->media[i]);
    t->result.took_ms = clock_mono_ms() - t->started_ms;
    note_usual(t->pool, t, t->result.took_ms);
    if (w) {
        w->done++;
        w->silent = false;
        snprintf(t->result.worker, sizeof(t->result.worker), "%s", w->name);
    }
    end(t);
}

/* An error is passed on, but for those of one process (a crash, a time-out): another worker may
 * do better, once. */
static bool may_be_the_workers_fault(const struct task_result *r)
{
    return strstr(r->err.text, "crashed") || strstr(r->err.text, "timed out") ||
           strstr(r->err.text, "memory");
}

static void fail_at_worker(struct task *t, const struct task_result *r)
{
    struct worker *w = sticky_worker(t->pool, t->conf.session_id);

    if (w) {
        w->failed++;
        w->silent = false;
        snprintf(w->last_failure, sizeof(w->last_failure), "%s", r->err.text);
    }
    unstick(t->pool, t->conf.session_id);
    log_peer(t->conf.log, "worker %s answered: %s", w ? w->name : "?", r->err.text);
    if (may_be_the_workers_fault(r) && !t->failed_once) {
        t->failed_once = true;
        if (give(t))
            return;
    }
    fail(t, r->rc, r->err.text);
}

bool pool_result(struct pool *p, int64_t task_id, const struct task_result *r)
{
    struct task *t = find_task(p, task_id);

    if (!t)
        return false;
    if (r->rc == RC_OK)
        succeed(t, r);
    else
        fail_at_worker(t, r);
    return true;
}

/* --- coming and going --- */

static void drop_from_task(struct task *t, const struct worker *w)
{
    for (size_t i = 0; i < t->n_workers; i++)
        if (t->workers[i] == w) {
            t->workers[i] = t->workers[--t->n_workers];
            return;
        }
}

static void move_task(struct task *t, struct worker *w)
{
    if (!has_worker(t, w))
        return;
    drop_from_task(t, w);
    if (t->n_workers)
        return;
    if (give(t)) {
        log_peer(t->conf.log, "worker %s left: the segment goes to another", w->name);
        return;
    }
    log_peer(t->conf.log, "worker %s left and there is no other: waiting for one", w->name);
    timer_stop(t->overdue);
    timer_start(t->patience, POOL_WAIT_MS);
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

static void leave(struct worker *w)
{
    struct pool *p = w->pool;

    list_remove(&p->workers, &w->node);
    caps_leave(&p->caps, &w->caps);
    unstick_all(p, w);
    log_info(&w->log, "left; %zu workers remain", p->workers.n);
    LIST_EACH (&p->tasks, struct task, node, t)
        move_task(t, w);
    update_metrics(p);
    free(w);
}

static void on_register_closed(struct http_exchange *x, bool complete, void *arg)
{
    (void)x;
    (void)complete;
    leave(arg);
}

struct worker *pool_join(struct pool *p, struct http_exchange *x, bool local,
                         const struct register_request *r)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->pool = p;
    w->x = x;
    w->local = local;
    w->capacity = r->capacity;
    w->joined_ms = clock_wall_ms();
    if (r->has_caps)
        w->caps = r->caps;
    else
        caps_of_orchestrator(&w->caps);
    snprintf(w->name, sizeof(w->name), "%s-%" PRId64, local ? "local" : http_request(x)->peer,
             ++p->next_worker);
    log_tag(&w->log, "worker=%s", w->name);
    http_on_closed(x, on_register_closed, w);
    list_push(&p->workers, &w->node);
    caps_join(&p->caps, &w->caps);
    update_metrics(p);
    log_info(&w->log, "joined with capacity %" PRId64 ", version %s", w->capacity, w->caps.version);
    LIST_EACH (&p->tasks, struct task, node, t)
        if (t->n_workers == 0 && t->id >= 0)
            give(t);
    return w;
}

void pool_end_session(struct pool *p, const char *session_id)
{
    struct worker *w = sticky_worker(p, session_id);
    struct notify_segment *m;
    struct buf message;

    if (!w)
        return;
    m = xcalloc(1, sizeof(*m));
    m->url = "";
    m->orch_id = "";
    m->has_seg = m->seg.has_token = true;
    snprintf(m->seg.token.session_id, sizeof(m->seg.token.session_id), "%s", session_id);
    buf_init(&message, 64 * 1024);
    notify_segment_encode(m, &message);
    grpc_send(w->x, buf_slice(&message));
    buf_cleanup(&message);
    free(m);
    unstick(p, session_id);
    update_metrics(p);
}

void pool_status(struct pool *p, struct json_out *j)
{
    jo_open(j, "workers", '[');
    LIST_EACH (&p->workers, struct worker, node, w) {
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
    jo_close(j, ']');
    jo_int(j, "tasks", (int64_t)p->tasks.n);
}

/* The register streams' exchanges are closed by their server, which calls leave(). */
void pool_free(struct pool *p)
{
    if (!p)
        return;
    LIST_EACH (&p->tasks, struct task, node, t)
        task_free(t);
    map_free(p->sticky);
    free(p);
}
