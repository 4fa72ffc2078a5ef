#include "orchestrator/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/metrics.h"
#include "wire/profiles.h"

struct result {
    int64_t seq;
    struct blob *media;
};

struct shelf {                      /* of one rendition */
    char name[PROFILE_NAME_MAX + 1];
    const char *ext;
    struct result ring[RESULTS_KEPT];
    size_t n;                       /* ever kept */
};

struct session {
    struct orchestrator *o;
    struct log_tag log;
    char id[SESSION_ID_MAX + 1];
    char manifest_id[128];
    char peer[64];                  /* address without the port */
    struct list waiting;            /* of struct work; the first runs while task is set */
    struct task *task;
    struct timer *idle;
    struct shelf shelves[MAX_PROFILES];
    size_t n_shelves;
    int64_t since_ms, segments, failures, last_took_ms;
    double last_ratio;
    char worker[64];
};

static void peer_address(const char *peer, char out[64])
{
    const char *colon = strrchr(peer, ':');

    snprintf(out, 64, "%.*s", colon ? (int)(colon - peer) : 63, peer);
}

/* --- the limit --- */

int64_t sessions_limit(const struct orchestrator *o)
{
    return o->conf.max_sessions >= 0 ? o->conf.max_sessions : pool_capacity(o->pool);
}

bool sessions_are_full(const struct orchestrator *o)
{
    return (int64_t)map_count(o->sessions) >= sessions_limit(o);
}

bool sessions_have_peer(struct orchestrator *o, const char *peer)
{
    char address[64];
    size_t at = 0;
    void *value;

    peer_address(peer, address);
    while (map_next(o->sessions, &at, NULL, &value))
        if (strcmp(((struct session *)value)->peer, address) == 0)
            return true;
    return false;
}

/* --- life --- */

static void on_idle(void *arg)
{
    session_end(arg, "idle for 70 s");
}

struct session *session_find(struct orchestrator *o, struct slice id)
{
    return map_get(o->sessions, id);
}

/* A renewed token has a new id: the stream's session under the old one is over (video.md 3.4). */
static struct session *same_stream(struct orchestrator *o, struct slice manifest_id,
                                   const char *peer)
{
    char address[64];
    size_t at = 0;
    void *value;

    peer_address(peer, address);
    while (map_next(o->sessions, &at, NULL, &value)) {
        struct session *s = value;

        if (manifest_id.n && slice_eq_str(manifest_id, s->manifest_id) &&
            strcmp(s->peer, address) == 0 && list_is_empty(&s->waiting))
            return s;
    }
    return NULL;
}

static struct session *session_new(struct orchestrator *o, const char *id,
                                   struct slice manifest_id, const char *peer)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->o = o;
    snprintf(s->id, sizeof(s->id), "%s", id);
    snprintf(s->manifest_id, sizeof(s->manifest_id), SLICE_FMT,
             SLICE_ARG(slice_sub(manifest_id, 0, 127)));
    peer_address(peer, s->peer);
    log_tag(&s->log, "stream=%.60s session=%s", s->manifest_id, s->id);
    list_init(&s->waiting);
    s->since_ms = clock_wall_ms();
    s->idle = timer_new(o->loop, on_idle, s);
    map_put(o->sessions, slice_str(s->id), s);
    metric_sessions((int64_t)map_count(o->sessions), sessions_limit(o));
    log_info(&s->log, "begun by gateway %s (%zu of %" PRId64 " sessions)", peer,
             map_count(o->sessions), sessions_limit(o));
    return s;
}

struct session *session_use(struct orchestrator *o, const struct auth_token *token,
                            struct slice manifest_id, const char *peer, struct err *err)
{
    struct session *s = session_find(o, slice_str(token->session_id)), *old;

    if (!s && o->draining) {
        log_info(NULL, "gateway %s was refused: the node is stopping", peer);
        err_set(err, RC_BUSY, "OrchestratorCapped");
        return NULL;
    }
    if (!s) {
        old = same_stream(o, manifest_id, peer);
        if (old)
            session_end(old, "renewed");
        if (sessions_are_full(o)) {
            log_peer(NULL, "gateway %s was refused: %zu sessions run, -maxSessions allows %" PRId64,
                     peer, map_count(o->sessions), sessions_limit(o));
            err_set(err, RC_BUSY, "OrchestratorCapped");
            return NULL;
        }
        s = session_new(o, token->session_id, manifest_id, peer);
    }
    timer_start(s->idle, SESSION_IDLE_MS);
    return s;
}

const struct log_tag *session_log(const struct session *s)
{
    return &s->log;
}

static void shelves_cleanup(struct session *s)
{
    for (size_t i = 0; i < s->n_shelves; i++)
        for (size_t k = 0; k < RESULTS_KEPT; k++)
            blob_unref(&s->shelves[i].ring[k].media);
}

/* Work that still waits is answered before the session goes. */
static void refuse_waiting(struct session *s)
{
    struct task_result r = {.rc = RC_CANCELLED};
    struct work *w;

    err_set(&r.err, RC_CANCELLED, "TranscoderStopped");
    if (s->task)
        pool_cancel(s->o->pool, s->task);
    s->task = NULL;
    while ((w = LIST_FIRST(&s->waiting, struct work, node))) {
        list_remove(&s->waiting, &w->node);
        w->on_done(w, &r);
    }
}

void session_end(struct session *s, const char *why)
{
    struct orchestrator *o = s->o;

    log_info(&s->log, "ended (%s) after %" PRId64 " segments, %" PRId64 " failed", why,
             s->segments, s->failures);
    map_remove(o->sessions, slice_str(s->id));
    refuse_waiting(s);
    pool_end_session(o->pool, s->id);
    shelves_cleanup(s);
    timer_free(s->idle);
    free(s);
    metric_sessions((int64_t)map_count(o->sessions), sessions_limit(o));
    orchestrator_session_ended(o);
}

void sessions_end_all(struct orchestrator *o)
{
    size_t at = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        session_end(s, "the node stops");
}

bool sessions_are_idle(struct orchestrator *o)
{
    size_t at = 0;
    void *s;

    while (map_next(o->sessions, &at, NULL, &s))
        if (!list_is_empty(&((struct session *)s)->waiting))
            return false;
    return true;
}

/* --- the queue --- */

static void run_next(struct session *s);

static void note_result(struct session *s, const struct work *w, const struct task_result *r)
{
    int64_t duration = w->seg->duration_ms ? w->seg->duration_ms : 2000, pixels = 0;

    if (r->rc != RC_OK) {
        s->failures++;
        metric_segment_failed("Transcode");
        return;
    }
    s->segments++;
    s->last_took_ms = r->took_ms;
    s->last_ratio = (double)r->took_ms / (double)duration;
    snprintf(s->worker, sizeof(s->worker), "%s", r->worker);
    for (size_t i = 0; i < r->n; i++)
        pixels += r->pixels[i];
    metric_segment_done((double)r->took_ms / 1000, (double)duration / 1000, pixels);
}

static void on_task_done(const struct task_result *r, void *arg)
{
    struct session *s = arg;
    struct work *w = LIST_FIRST(&s->waiting, struct work, node);

    s->task = NULL;
    list_remove(&s->waiting, &w->node);
    note_result(s, w, r);
    w->on_done(w, r);
    timer_start(s->idle, SESSION_IDLE_MS);
    run_next(s);
    orchestrator_session_ended(s->o); /* a drain waits for idle sessions */
}

static void run_next(struct session *s)
{
    struct work *w = LIST_FIRST(&s->waiting, struct work, node);
    struct task_conf conf;
    int duration;

    if (!w || s->task)
        return;
    duration = w->seg->duration_ms ? w->seg->duration_ms : 2000;
    conf = (struct task_conf){.seg = w->seg,
                              .source = w->source,
                              .session_id = s->id,
                              .log = &s->log,
                              .deadline_ms = MAX(8000, 4 * duration),
                              .on_done = on_task_done,
                              .arg = s};
    s->task = pool_submit(s->o->pool, &conf);
}

bool session_put(struct session *s, struct work *w)
{
    if (s->waiting.n > SESSION_QUEUE) {
        log_peer(&s->log, "segment %" PRId64 " was refused: %d wait already", w->seg->seq,
                 SESSION_QUEUE);
        metric_segment_failed("OrchestratorBusy");
        return false;
    }
    list_push(&s->waiting, &w->node);
    timer_stop(s->idle);
    run_next(s);
    return true;
}

void session_drop(struct session *s, struct work *w)
{
    if (s->task && LIST_FIRST(&s->waiting, struct work, node) == w) {
        pool_cancel(s->o->pool, s->task);
        s->task = NULL;
    }
    list_remove(&s->waiting, &w->node);
    run_next(s);
    if (list_is_empty(&s->waiting))
        timer_start(s->idle, SESSION_IDLE_MS);
}

/* --- results --- */

static struct shelf *shelf_of(struct session *s, const struct profile *p)
{
    struct shelf *shelf;

    for (size_t i = 0; i < s->n_shelves; i++)
        if (strcmp(s->shelves[i].name, p->name) == 0)
            return &s->shelves[i];
    if (s->n_shelves == MAX_PROFILES)
        return NULL;
    shelf = &s->shelves[s->n_shelves++];
    snprintf(shelf->name, sizeof(shelf->name), "%s", p->name);
    shelf->ext = container_ext(p->container);
    return shelf;
}

void session_keep_result(struct session *s, const struct profile *p, int64_t seq,
                         struct blob *media)
{
    struct shelf *shelf = shelf_of(s, p);
    struct result *to;

    if (!shelf)
        return; /* more names than profiles: a gateway that changes its ladder at each segment */
    to = &shelf->ring[shelf->n++ % RESULTS_KEPT];
    blob_unref(&to->media);
    *to = (struct result){seq, blob_ref(media)};
}

struct blob *session_result(struct session *s, struct slice profile, struct slice file)
{
    uint64_t seq;

    if (!slice_u64(slice_sub(file, 0, slice_find(file, '.')), INT64_MAX, &seq))
        return NULL;
    for (size_t i = 0; i < s->n_shelves; i++) {
        const struct shelf *shelf = &s->shelves[i];

        if (!slice_eq_str(profile, shelf->name) || !slice_has_suffix(file, shelf->ext))
            continue;
        for (size_t k = 0; k < RESULTS_KEPT; k++)
            if (shelf->ring[k].media && shelf->ring[k].seq == (int64_t)seq)
                return shelf->ring[k].media;
    }
    return NULL;
}

void sessions_status(struct orchestrator *o, struct json_out *j)
{
    size_t at = 0;
    void *value;

    jo_open(j, "sessions", '[');
    while (map_next(o->sessions, &at, NULL, &value)) {
        const struct session *s = value;

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
    jo_close(j, ']');
}
