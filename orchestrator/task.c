/* One segment on its way through the workers: given, given again, answered. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/pool_int.h"
#include "wire/faults.h"

enum {
    MAX_GIVEN = 4, /* workers that one segment is given to, at most */
    OVERDUE_MIN_MS = 1000,
    OVERDUE_FACTOR = 3,       /* times the usual */
    SPARE_SHARE = 8,          /* of the running tasks one in so many may have two workers
                                 that both answer: more would double an overload */
    FULL_WAIT_MS = 2000,      /* all workers are full: one may get room */
    RETRY_MIN_MS = 500,       /* a second try needs as much of the deadline */
    RENDITION_MIN_BYTES = 25, /* less is no rendition (video.md 4.5) */
    MAX_ATTEMPTS = 4096       /* never answered ones are forgotten above this */
};

struct task {
    struct list_node node; /* in pool->tasks */
    struct pool *pool;
    struct task_conf conf;
    int given;                      /* to so many workers */
    bool forgiven;                  /* a worker's failure was answered by another try */
    const struct worker *failed_at; /* only compared */
    struct timer *deadline, *overdue, *patience;
    int64_t started_ms, deadline_ms; /* monotonic */
    bool over;                       /* told soon */
    struct deferred tell;
    struct task_result result;
    char worker_name[64];
};

int32_t task_duration_ms(const struct seg_data *seg)
{
    return seg->duration_ms ? seg->duration_ms : 2000;
}

/* --- attempts --- */

bool task_knows(const struct task *t, const struct worker *w)
{
    LIST_EACH (&t->pool->attempts, struct attempt, node, a)
        if (a->task == t && a->worker == w)
            return true;
    return t->failed_at == w;
}

/* Workers that are here and have it. */
static size_t running_at(const struct task *t)
{
    size_t n = 0;

    LIST_EACH (&t->pool->attempts, struct attempt, node, a)
        n += a->task == t && a->worker;
    return n;
}

static void attempt_free(struct pool *p, struct attempt *a)
{
    list_remove(&p->attempts, &a->node);
    free(a);
}

static struct attempt *attempt_new(struct task *t, struct worker *w)
{
    struct pool *p = t->pool;
    struct attempt *a = xcalloc(1, sizeof(*a)), *oldest;

    a->id = p->next_attempt++;
    a->given_ms = clock_mono_ms();
    a->task = t;
    a->worker = w;
    snprintf(a->worker_name, sizeof(a->worker_name), "%s", w->name);
    list_push(&p->attempts, &a->node);
    oldest = LIST_FIRST(&p->attempts, struct attempt, node);
    if (p->attempts.n > MAX_ATTEMPTS && !oldest->task)
        attempt_free(p, oldest);
    return a;
}

static struct attempt *find_attempt(const struct pool *p, int64_t id)
{
    LIST_EACH (&p->attempts, struct attempt, node, a)
        if (a->id == id)
            return a;
    return NULL;
}

/* The task is over for all who still have it: they need not keep a codec for its session,
 * but for the one that has it now. */
static void release_attempts(struct task *t)
{
    const struct worker *stays = pool_sticky(t->pool, t->conf.session_id);

    LIST_EACH (&t->pool->attempts, struct attempt, node, a) {
        if (a->task != t)
            continue;
        a->task = NULL;
        if (!a->worker)
            attempt_free(t->pool, a);
        else if (a->worker != stays)
            worker_end_session(a->worker, t->conf.session_id);
    }
}

/* --- the end --- */

static void task_free(struct task *t)
{
    list_remove(&t->pool->tasks, &t->node);
    loop_defer_cancel(t->pool->conf.loop, &t->tell);
    timer_free(t->deadline);
    timer_free(t->overdue);
    timer_free(t->patience);
    for (size_t i = 0; i < t->result.n; i++) {
        blob_unref(&t->result.media[i]);
        blob_unref(&t->result.phash[i]);
    }
    blob_unref(&t->conf.source);
    free(t);
}

static void tell(void *arg)
{
    struct task *t = arg;

    list_remove(&t->pool->tasks, &t->node);
    t->conf.on_done(&t->result, t->conf.arg);
    task_free(t);
}

static void end(struct task *t)
{
    assert(!t->over);
    t->over = true;
    timer_stop(t->deadline);
    timer_stop(t->overdue);
    timer_stop(t->patience);
    release_attempts(t);
    t->result.worker = t->worker_name;
    t->result.took_ms = clock_mono_ms() - t->started_ms;
    loop_defer(t->pool->conf.loop, &t->tell, tell, t);
}

static void fail(struct task *t, enum rc rc, const char *text)
{
    t->result.n = 0;
    t->result.rc = err_set(&t->result.err, rc, "%s", text);
    end(t);
}

/* --- giving it to a worker --- */

static void notify(struct task *t, const struct attempt *a)
{
    struct notify_segment *m = xcalloc(1, sizeof(*m));
    char url[MAX_URI + SESSION_ID_MAX + 64];

    /* A local worker fetches over its Unix socket, whatever the host. */
    snprintf(url, sizeof(url), "%s/stream/%s/%" PRId64 ".tempfile",
             a->worker->local ? "http://local" : t->pool->conf.service_uri, t->conf.session_id,
             t->conf.seg->seq);
    m->url = url;
    m->task_id = a->id;
    m->orch_id = "offchain";
    m->has_seg = true;
    m->seg = *t->conf.seg;
    memset(&m->seg.hash, 0, sizeof(m->seg.hash)); /* hash and signature are not passed on (11.2) */
    m->seg.sig = slice_of(NULL, 0);
    worker_send(a->worker, m);
    free(m);
}

static int64_t usual_ms(const struct task *t)
{
    int64_t duration = task_duration_ms(t->conf.seg);

    return t->pool->usual_permille ? duration * t->pool->usual_permille / 1000 : duration;
}

static int64_t left_ms(const struct task *t)
{
    return MAX(t->deadline_ms - clock_mono_ms(), (int64_t)0);
}

static bool give(struct task *t)
{
    struct worker *w = t->given < MAX_GIVEN ? pool_pick(t->pool, t, t->conf.session_id, t->conf.seg)
                                            : NULL;
    struct attempt *a;

    if (!w)
        return false;
    t->given++;
    timer_stop(t->patience);
    timer_start(t->overdue, MAX(OVERDUE_FACTOR * usual_ms(t), (int64_t)OVERDUE_MIN_MS));
    if (!pool_sticky(t->pool, t->conf.session_id))
        pool_stick(t->pool, t->conf.session_id, w);
    a = attempt_new(t, w);
    log_debug(t->conf.log, "given to worker %s as task %" PRId64, w->name, a->id);
    notify(t, a);
    return true;
}

/* --- waiting for a worker --- */

static bool anybody_can(const struct task *t)
{
    LIST_EACH (&t->pool->workers, struct worker, node, w)
        if (worker_can(w, t->conf.seg))
            return true;
    return false;
}

static void refuse(struct task *t)
{
    const struct pool *p = t->pool;
    bool can = !p->workers.n || anybody_can(t);

    log_peer(t->conf.log,
             "not transcoded: %zu workers are here, with room for %" PRId64
             " sessions together%s: start another with `leat transcoder`, or raise its "
             "-maxSessions",
             p->workers.n, pool_capacity(p), can ? "" : ", none with what this job needs");
    fail(t, RC_BUSY,
         can ? "no transcoders available" : "no transcoders can provide requested capabilities");
}

static void on_patience_over(void *arg)
{
    refuse(arg);
}

/* Nobody has it. A worker that was lost comes back within a second; the deadline leaves time
 * for that, and for its work. */
static void wait_for_worker(struct task *t)
{
    timer_stop(t->overdue);
    if (t->pool->workers.n && !anybody_can(t))
        refuse(t);
    else if (t->pool->workers.n)
        timer_start(t->patience, MIN(left_ms(t), (int64_t)FULL_WAIT_MS));
    else
        timer_start(t->patience, MAX(left_ms(t) - usual_ms(t), left_ms(t) / 2));
}

static bool is_waiting(const struct task *t)
{
    return !t->over && timer_is_armed(t->patience);
}

void tasks_serve_waiting(struct pool *p)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        if (is_waiting(t))
            give(t);
}

/* --- silence --- */

static bool was_heard_since(const struct attempt *a)
{
    return a->worker && a->worker->heard_ms > a->given_ms;
}

/* Of the tasks that more than one worker has, those whose workers all answer. */
static bool may_have_second(const struct pool *p)
{
    size_t doubled = 0;

    LIST_EACH (&p->tasks, struct task, node, t)
        doubled += !t->over && running_at(t) > 1;
    return doubled <= p->tasks.n / SPARE_SHARE;
}

void tasks_worker_silent(struct pool *p, struct worker *w, int64_t for_ms)
{
    if (w->silent)
        return;
    w->silent = true;
    log_peer(&w->log, "is silent since %" PRId64 " ms: its segments go to others too", for_ms);
    if (w->local)
        p->conf.on_silent_local(p->conf.arg, false);
    LIST_EACH (&p->attempts, struct attempt, node, a)
        if (a->worker == w && a->task && running_at(a->task) == 1)
            give(a->task);
}

static void on_overdue(void *arg)
{
    struct task *t = arg;
    bool silent = false;

    LIST_EACH (&t->pool->attempts, struct attempt, node, a) {
        if (a->task != t || !a->worker || was_heard_since(a))
            continue;
        silent = true;
        tasks_worker_silent(t->pool, a->worker, clock_mono_ms() - a->worker->heard_ms);
    }
    if (running_at(t) == 1 && (silent || may_have_second(t->pool)) && give(t))
        log_peer(t->conf.log,
                 "overdue after %" PRId64 " ms (usual: %" PRId64 "): given to a second worker",
                 clock_mono_ms() - t->started_ms, usual_ms(t));
}

static void on_deadline(void *arg)
{
    struct task *t = arg;

    log_peer(t->conf.log, "no worker answered within %d ms", t->conf.deadline_ms);
    LIST_EACH (&t->pool->attempts, struct attempt, node, a)
        if (a->task == t && a->worker && !was_heard_since(a))
            worker_drop(a->worker);
    fail(t, RC_TIMEOUT, "Remote transcoder took too long");
}

/* --- a worker leaves --- */

static void move_on(struct task *t, const struct worker *w)
{
    if (give(t)) {
        log_peer(t->conf.log, "worker %s left: the segment goes to another", w->name);
    } else {
        log_peer(t->conf.log, "worker %s left and no other is free: waiting for one", w->name);
        wait_for_worker(t);
    }
}

void tasks_worker_left(struct pool *p, struct worker *w)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        if (t->failed_at == w)
            t->failed_at = NULL;
    LIST_EACH (&p->attempts, struct attempt, node, a) {
        if (a->worker != w)
            continue;
        a->worker = NULL;
        if (!a->task)
            attempt_free(p, a);
    }
    LIST_EACH (&p->tasks, struct task, node, t)
        if (!t->over && !is_waiting(t) && running_at(t) == 0)
            move_on(t, w);
}

/* --- results --- */

static enum rc check(const struct task *t, struct task_result *r)
{
    if (r->rc == RC_OK && r->n != t->conf.seg->n_profiles)
        r->rc = err_set(&r->err, RC_BAD_INPUT, "MismatchedSegments");
    for (size_t i = 0; r->rc == RC_OK && i < r->n; i++)
        if (r->media[i]->n < RENDITION_MIN_BYTES)
            r->rc = err_set(&r->err, RC_BAD_INPUT, "ZeroSegments");
    return r->rc;
}

static void note_usual(struct pool *p, const struct task *t, int64_t took_ms)
{
    int64_t permille = MAX(took_ms * 1000 / task_duration_ms(t->conf.seg), (int64_t)1);

    p->usual_permille = p->usual_permille ? (3 * p->usual_permille + permille) / 4 : permille;
}

static void succeed(struct task *t, struct worker *w, const struct task_result *r)
{
    t->result = *r;
    for (size_t i = 0; i < r->n; i++) {
        blob_ref(r->media[i]);
        blob_ref(r->phash[i]);
    }
    if (w) {
        w->done++;
        pool_stick(t->pool, t->conf.session_id, w);
    }
    end(t);
}

static void note_failure(struct worker *w, const char *text)
{
    if (!w)
        return;
    w->failed++;
    snprintf(w->last_failure, sizeof(w->last_failure), "%.199s", text);
}

static void failed_at_worker(struct task *t, struct worker *w, const struct task_result *r)
{
    bool final = fault_is_the_inputs(slice_str(r->err.text));

    log_peer(t->conf.log, "worker %s answered: %s", t->worker_name, r->err.text);
    note_failure(w, r->err.text);
    if (!final && w && pool_sticky(t->pool, t->conf.session_id) == w)
        pool_unstick(t->pool, t->conf.session_id);
    if (!final && (running_at(t) || is_waiting(t)))
        return; /* another has it, or may get it */
    t->failed_at = w;
    if (!final && !t->forgiven && left_ms(t) > RETRY_MIN_MS) {
        t->forgiven = true;
        if (give(t)) {
            log_info(t->conf.log, "tried once more at another worker");
            return;
        }
    }
    fail(t, r->rc, r->err.text);
}

bool pool_result(struct pool *p, int64_t id, const struct task_result *given)
{
    struct attempt *a = find_attempt(p, id);
    struct task_result r = *given;
    struct worker *w;
    struct task *t;

    if (!a)
        return false;
    w = a->worker;
    t = a->task;
    if (w)
        worker_heard(w);
    if (t) {
        snprintf(t->worker_name, sizeof(t->worker_name), "%s", a->worker_name);
        if (r.rc == RC_OK)
            note_usual(p, t, clock_mono_ms() - a->given_ms);
    }
    attempt_free(p, a);
    if (!t)
        return false;
    if (check(t, &r) == RC_OK)
        succeed(t, w, &r);
    else
        failed_at_worker(t, w, &r);
    return true;
}

/* --- from outside --- */

struct task *pool_submit(struct pool *p, const struct task_conf *conf)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->pool = p;
    t->conf = *conf;
    t->conf.source = blob_ref(conf->source);
    t->started_ms = clock_mono_ms();
    t->deadline_ms = t->started_ms + conf->deadline_ms;
    t->deadline = timer_new(p->conf.loop, on_deadline, t);
    t->overdue = timer_new(p->conf.loop, on_overdue, t);
    t->patience = timer_new(p->conf.loop, on_patience_over, t);
    list_push(&p->tasks, &t->node);
    timer_start(t->deadline, conf->deadline_ms);
    if (!give(t))
        wait_for_worker(t);
    return t;
}

void pool_cancel(struct task *t)
{
    if (!t->over)
        release_attempts(t);
    task_free(t);
}

struct blob *pool_source(const struct pool *p, struct slice session_id, int64_t seq)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        if (!t->over && t->conf.seg->seq == seq && slice_eq_str(session_id, t->conf.session_id))
            return t->conf.source;
    return NULL;
}

void tasks_free(struct pool *p)
{
    LIST_EACH (&p->tasks, struct task, node, t)
        task_free(t);
    LIST_EACH (&p->attempts, struct attempt, node, a)
        attempt_free(p, a);
}
