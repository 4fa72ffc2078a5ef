#include "orchestrator/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/answer.h"
#include "orchestrator/metrics.h"
#include "orchestrator/results.h"

enum {
    RENEW_SLACK_S = 60,     /* of clocks, and of gateways that are late */
    UNUSED_MS = 10 * 1000,  /* a stream's session without work is replaced after it */
    RETIRED_MS = 10 * 1000, /* results of a replaced session are kept so long */
    MIN_DEADLINE_MS = 8000, /* video.md 11.5 */
    DEADLINE_FACTOR = 4
};

struct session {
    struct orchestrator *o;
    struct log_tag log;
    char id[SESSION_ID_MAX + 1];
    char *manifest_id;
    char peer[64];        /* address without the port */
    int64_t expiration_s; /* of its token */
    bool begun;           /* a whole segment came: worth a line of log */
    bool retired;         /* replaced: has no place, only results */
    size_t uploads;       /* held by so many */
    struct list waiting;  /* of struct work; the first runs while task is set */
    struct task *task;
    struct deferred next; /* begins the next one */
    struct timer *idle;
    int64_t used_ms; /* monotonic */
    struct results results;
    int64_t since_ms, segments, failures, last_took_ms, last_duration_ms;
    double last_ratio;
    char worker[64];
};

static void peer_address(const char *peer, char out[64])
{
    const char *colon = strrchr(peer, ':');

    snprintf(out, 64, "%.*s", colon ? (int)(colon - peer) : 63, peer);
}

/* --- places --- */

int64_t sessions_limit(const struct orchestrator *o)
{
    int64_t capacity = pool_capacity(o->pool);

    return o->conf.max_sessions < 0 ? capacity : MIN((int64_t)o->conf.max_sessions, capacity);
}

int64_t sessions_live(const struct orchestrator *o)
{
    int64_t n = 0;
    size_t at = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        n += !((struct session *)s)->retired;
    return n;
}

static void tell_metrics(const struct orchestrator *o)
{
    metric_sessions(sessions_live(o), sessions_limit(o));
}

static bool is_of_peer(const struct session *s, const char *peer)
{
    char address[64];

    peer_address(peer, address);
    return strcmp(s->peer, address) == 0;
}

static bool is_about_to_expire(const struct session *s)
{
    return s->expiration_s - clock_wall_ms() / 1000 <= AUTH_TOKEN_REFRESH_S + RENEW_SLACK_S;
}

bool sessions_may_renew(const struct orchestrator *o, const char *peer)
{
    size_t at = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        if (!((struct session *)s)->retired && is_of_peer(s, peer) && is_about_to_expire(s))
            return true;
    return false;
}

static bool is_unused(const struct session *s)
{
    return list_is_empty(&s->waiting) && !s->uploads && clock_mono_ms() - s->used_ms >= UNUSED_MS;
}

/* The same stream under a new id. Two gateways behind one address may both have a stream of
 * this name, so a session that is at work under a fresh token is left alone. */
static struct session *find_replaced(const struct orchestrator *o, struct slice manifest_id,
                                     const char *peer)
{
    size_t at = 0;
    void *value;

    while (manifest_id.n && map_next(o->sessions, &at, NULL, &value)) {
        struct session *s = value;

        if (!s->retired && slice_eq_str(manifest_id, s->manifest_id) && is_of_peer(s, peer) &&
            (is_about_to_expire(s) || is_unused(s)))
            return s;
    }
    return NULL;
}

/* --- life --- */

struct session *session_find(struct orchestrator *o, struct slice id)
{
    return map_get(o->sessions, id);
}

const struct log_tag *session_log(const struct session *s)
{
    return &s->log;
}

static void on_idle(void *arg)
{
    struct session *s = arg;

    session_end(s, s->retired ? "replaced" : "idle for 70 s");
}

static void wait_idle(struct session *s)
{
    s->used_ms = clock_mono_ms();
    if (list_is_empty(&s->waiting) && !s->uploads)
        timer_start(s->idle, s->retired ? RETIRED_MS : SESSION_IDLE_MS);
    else
        timer_stop(s->idle);
}

static struct session *session_new(struct orchestrator *o, const struct auth_token *token,
                                   struct slice manifest_id, const char *peer)
{
    struct session *s = xcalloc(1, sizeof(*s));
    char shown[256];

    s->o = o;
    snprintf(s->id, sizeof(s->id), "%s", token->session_id);
    s->expiration_s = token->expiration;
    s->manifest_id = slice_dup(manifest_id);
    peer_address(peer, s->peer);
    log_tag(&s->log, "stream=%.60s session=%s", text_printable(manifest_id, shown), s->id);
    list_init(&s->waiting);
    s->since_ms = clock_wall_ms();
    s->idle = timer_new(o->loop, on_idle, s);
    map_put(o->sessions, slice_str(s->id), s);
    tell_metrics(o);
    return s;
}

/* A replaced session gives its worker back once its work is done. */
static void give_back_worker(struct session *s)
{
    if (s->retired && list_is_empty(&s->waiting))
        pool_end_session(s->o->pool, s->id);
}

static void retire(struct session *s, const char *successor)
{
    log_info(&s->log, "goes on as session %s", successor);
    s->retired = true;
    give_back_worker(s);
    wait_idle(s);
    tell_metrics(s->o);
}

static bool find_place(struct orchestrator *o, const struct auth_token *token,
                       struct slice manifest_id, const char *peer, struct err *err)
{
    struct session *old = find_replaced(o, manifest_id, peer);

    if (o->draining) {
        refused(o->refusals, NULL, peer, "a new session, but this node is stopping");
        (void)err_set(err, RC_BUSY, "draining: this orchestrator takes no new sessions");
        return false;
    }
    if (old) {
        retire(old, token->session_id);
        return true;
    }
    if (sessions_live(o) < sessions_limit(o))
        return true;
    refused(o->refusals, NULL, peer,
            "%" PRId64 " sessions run and %" PRId64 " are allowed: raise "
            "-maxSessions (%d) or add workers (they take %" PRId64 ")",
            sessions_live(o), sessions_limit(o), o->conf.max_sessions, pool_capacity(o->pool));
    (void)err_set(err, RC_BUSY, "OrchestratorCapped");
    return false;
}

struct session *session_use(struct orchestrator *o, const struct auth_token *token,
                            struct slice manifest_id, const char *peer, struct err *err)
{
    struct session *s = session_find(o, slice_str(token->session_id));

    if (!s || s->retired) {
        if (!find_place(o, token, manifest_id, peer, err))
            return NULL;
        if (!s)
            s = session_new(o, token, manifest_id, peer);
        s->retired = false;
    }
    s->uploads++;
    wait_idle(s);
    return s;
}

void session_release(struct session *s)
{
    if (s->uploads)
        s->uploads--;
    if (!s->uploads && list_is_empty(&s->waiting) && !s->segments && !s->failures)
        session_end(s, "no whole segment came");
    else
        wait_idle(s);
}

/* Work that still waits is answered before the session goes. */
static void answer_waiting(struct session *s)
{
    struct task_result r = {.rc = RC_CANCELLED, .worker = ""};
    struct work *w;

    (void)err_set(&r.err, RC_CANCELLED, "TranscoderStopped");
    if (s->task)
        pool_cancel(s->task);
    s->task = NULL;
    while ((w = LIST_FIRST(&s->waiting, struct work, node))) {
        list_remove(&s->waiting, &w->node);
        w->on_done(w, &r);
    }
}

void session_end(struct session *s, const char *why)
{
    struct orchestrator *o = s->o;

    if (s->begun)
        log_info(&s->log, "ended (%s) after %" PRId64 " segments and %" PRId64 " failures", why,
                 s->segments, s->failures);
    map_remove(o->sessions, slice_str(s->id));
    answer_waiting(s);
    pool_end_session(o->pool, s->id);
    results_cleanup(&s->results);
    loop_defer_cancel(o->loop, &s->next);
    timer_free(s->idle);
    free(s->manifest_id);
    free(s);
    tell_metrics(o);
}

void sessions_end_all(struct orchestrator *o)
{
    size_t at = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        session_end(s, "the node stops");
}

/* --- the queue --- */

static void run_next(void *arg);

/* From the loop: a gateway that leaves may take several waiting segments with it. */
static void run_next_soon(struct session *s)
{
    loop_defer(s->o->loop, &s->next, run_next, s);
}

static void note_result(struct session *s, const struct work *w, const struct task_result *r)
{
    int64_t duration_ms = task_duration_ms(w->seg), pixels = 0;

    if (r->rc != RC_OK) {
        s->failures++;
        metric_segment_failed(r->rc == RC_BUSY ? "NoOrchestrators" : "Transcode");
        return;
    }
    s->segments++;
    s->last_duration_ms = duration_ms;
    s->last_took_ms = r->took_ms;
    s->last_ratio = (double)r->took_ms / (double)duration_ms;
    snprintf(s->worker, sizeof(s->worker), "%s", r->worker);
    for (size_t i = 0; i < r->n; i++)
        pixels += r->pixels[i];
    metric_segment_done((double)r->took_ms / 1000, (double)duration_ms / 1000, pixels);
    log_info(&s->log,
             "segment=%" PRId64 " transcoded in %" PRId64 " ms (%.2f of its length) by "
             "worker %s",
             w->seg->seq, r->took_ms, s->last_ratio, r->worker);
}

static void on_task_done(const struct task_result *r, void *arg)
{
    struct session *s = arg;
    struct work *w = LIST_FIRST(&s->waiting, struct work, node);

    s->task = NULL;
    list_remove(&s->waiting, &w->node);
    note_result(s, w, r);
    w->on_done(w, r);
    wait_idle(s);
    give_back_worker(s);
    run_next_soon(s);
}

static void run_next(void *arg)
{
    struct session *s = arg;
    struct work *w = LIST_FIRST(&s->waiting, struct work, node);

    if (!w || s->task)
        return;
    const struct task_conf conf = {
        .seg = w->seg,
        .source = w->source,
        .session_id = s->id,
        .log = &s->log,
        .deadline_ms = MAX(MIN_DEADLINE_MS, DEADLINE_FACTOR * task_duration_ms(w->seg)),
        .on_done = on_task_done,
        .arg = s,
    };
    s->task = pool_submit(s->o->pool, &conf);
}

bool session_put(struct session *s, struct work *w)
{
    if (s->waiting.n > SESSION_QUEUE) {
        refused(s->o->refusals, &s->log, s->peer,
                "segment=%" PRId64 ": %d wait already; the "
                "workers are too slow for this stream",
                w->seg->seq, SESSION_QUEUE);
        metric_segment_failed("OrchestratorBusy");
        return false;
    }
    if (!s->begun)
        log_info(&s->log, "begun by gateway %s, %" PRId64 " of %" PRId64 " sessions", s->peer,
                 sessions_live(s->o), sessions_limit(s->o));
    s->begun = true;
    list_push(&s->waiting, &w->node);
    wait_idle(s);
    run_next_soon(s);
    return true;
}

void session_drop(struct session *s, struct work *w)
{
    log_info(&s->log, "segment=%" PRId64 " is not wanted any more: its gateway left", w->seg->seq);
    if (s->task && LIST_FIRST(&s->waiting, struct work, node) == w) {
        pool_cancel(s->task);
        s->task = NULL;
        /* Nothing takes back one segment (video.md 11.2), but the end of its session does: the
         * worker has no other of it. The next segment begins with a fresh codec, somewhere. */
        pool_end_session(s->o->pool, s->id);
    }
    list_remove(&s->waiting, &w->node);
    wait_idle(s);
    give_back_worker(s);
    run_next_soon(s);
}

/* --- results --- */

void session_keep(struct session *s, const struct profile *p, int64_t seq, struct blob *media,
                  struct blob *phash)
{
    results_keep(&s->results, p, seq, media, phash);
}

struct blob *session_result(const struct session *s, struct slice profile, struct slice file)
{
    return results_find(&s->results, profile, file);
}

/* --- telling --- */

size_t sessions_working(const struct orchestrator *o)
{
    size_t at = 0, n = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        n += ((struct session *)s)->waiting.n + ((struct session *)s)->uploads;
    return n;
}

bool sessions_go_on(const struct orchestrator *o, int64_t least_ms, int factor)
{
    size_t at = 0;
    void *value;

    while (map_next(o->sessions, &at, NULL, &value)) {
        const struct session *s = value;
        int64_t pause_ms = MAX(least_ms, factor * s->last_duration_ms);

        if (clock_mono_ms() - s->used_ms < pause_ms)
            return true;
    }
    return false;
}

static void session_status(const struct session *s, struct json_out *j)
{
    jo_open(j, NULL, '{');
    jo_text(j, "id", s->id);
    jo_text(j, "manifest", s->manifest_id);
    jo_text(j, "gateway", s->peer);
    jo_text(j, "worker", s->worker);
    jo_int(j, "waiting", (int64_t)s->waiting.n);
    jo_int(j, "segments", s->segments);
    jo_int(j, "failures", s->failures);
    jo_int(j, "took_ms", s->last_took_ms);
    jo_real(j, "ratio", s->last_ratio, 3);
    jo_int(j, "since_ms", s->since_ms);
    jo_close(j, '}');
}

void sessions_status(const struct orchestrator *o, struct json_out *j)
{
    size_t at = 0;
    void *s;

    jo_open(j, "sessions", '[');
    while (map_next(o->sessions, &at, NULL, &s))
        if (!((struct session *)s)->retired)
            session_status(s, j);
    jo_close(j, ']');
}
